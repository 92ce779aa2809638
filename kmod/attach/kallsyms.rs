// SPDX-License-Identifier: GPL-2.0

//! Functions of the kernel that it does not export. [`resolve`] finds their addresses before anything calls them; after that
//! `bindings::vserver_call_NAME(…)` is `NAME(…)`. `unexported.h` declares them.

use super::entry::{endbr, jump_through};
use crate::bindings;
use core::mem::MaybeUninit;
use kernel::{error::to_result, ffi::c_char, prelude::*};

/// A function that is called through an address.
struct Unexported {
    name: &'static str,
    /// The same, with a NUL at the end.
    c_name: *const c_char,
    address: *mut usize,
}

// SAFETY: The name is constant, and only `resolve` writes to the address, in module init.
unsafe impl Sync for Unexported {}

/// Where a function is, to compare a function pointer of the kernel with it.
pub(crate) struct Place(*const usize);

// SAFETY: Only read, and changed by `resolve` only, in module init.
unsafe impl Sync for Place {}

impl Place {
    /// The address.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        // SAFETY: A static of this module, which `resolve` wrote in module init.
        unsafe { *self.0 }
    }

    /// Whether `function` is that one.
    #[inline]
    pub(crate) fn is<F: Copy>(&self, function: Option<F>) -> bool {
        const { assert!(size_of::<Option<F>>() == size_of::<usize>()) };
        // SAFETY: A function pointer is as large as an address (see above), and null is `None`.
        let address = unsafe { core::mem::transmute_copy::<Option<F>, usize>(&function) };
        self.address() == address
    }
}

macro_rules! unexported {
    ($($(#[cfg($cfg:meta)])? $name:ident)*) => {
        $(
            $(#[cfg($cfg)])?
            mod $name {
                super::jump_through!(
                    ["vserver_call_", stringify!($name)],
                    ["vserver_at_", stringify!($name)],
                    [super::endbr!()]
                );
            }
        )*

        static ALL: &[Unexported] = &[$(
            $(#[cfg($cfg)])?
            Unexported {
                name: stringify!($name),
                c_name: concat!(stringify!($name), "\0").as_ptr().cast(),
                address: &raw mut $name::ADDRESS,
            }
        ),*];
    };
}

unexported! {
    // The first one finds the others.
    kallsyms_lookup_name
    __ns_common_free
    __ns_common_init
    __ns_tree_add_raw
    __ns_tree_gen_id
    __udp_enqueue_schedule_skb
    add_ftrace_hash_entry_direct
    alloc_ftrace_hash
    alloc_ucounts
    alloc_uid
    copy_ipcs
    copy_utsname
    create_new_namespaces
    current_chrooted
    current_is_single_threaded
    dec_rlimit_ucounts
    do_file_open_root
    exit_sem
    exit_shm
    free_ftrace_hash
    free_user_ns
    free_uts_ns
    ftrace_location
    inc_rlimit_ucounts
    inet6_mc_check
    inet_bhash2_update_saddr
    #[cfg(CONFIG_IO_URING)]
    io_is_uring_fops
    ip_mc_sf_allow
    lock_task_sighand
    ptrace_may_access
    put_ipc_ns
    put_ucounts
    setup_userns_sysctls
    switch_task_namespaces
    tty_ioctl
    udp_rcv
    udpv6_rcv
    update_ftrace_direct_add
    update_ftrace_direct_del
    vfs_dentry_acceptable
    walk_process_tree
}

/// `free_user_ns()`: how a user namespace is freed when nobody holds it any more.
pub(crate) static FREE_USER_NS: Place = Place(&raw const free_user_ns::ADDRESS);

/// `tty_ioctl()`: what the operations of every terminal begin with.
pub(crate) static TTY_IOCTL: Place = Place(&raw const tty_ioctl::ADDRESS);

/// `vfs_dentry_acceptable()`: how open_by_handle_at(2) asks whether a file may be opened.
pub(crate) static VFS_DENTRY_ACCEPTABLE: Place = Place(&raw const vfs_dentry_acceptable::ADDRESS);

/// The address of `kallsyms_lookup_name()`, by a probe there: that is exported.
fn first_address() -> Result<usize> {
    let mut probe = MaybeUninit::<bindings::kprobe>::zeroed();
    let raw = probe.as_mut_ptr();
    // SAFETY: Of zeroes, which are a value of each member.
    unsafe { (*raw).symbol_name = ALL[0].c_name };
    // SAFETY: It stays where it is until it is unregistered below. Process context.
    to_result(unsafe { bindings::register_kprobe(raw) }).inspect_err(|error| {
        pr_err!(
            "{} cannot be found ({error:?}): the kernel needs CONFIG_KPROBES and CONFIG_KALLSYMS\n",
            ALL[0].name
        );
    })?;
    // SAFETY: Registered, so the kernel has found the address.
    let address = unsafe { (*raw).addr } as usize;
    // SAFETY: Registered above.
    unsafe { bindings::unregister_kprobe(raw) };
    Ok(address)
}

/// Finds all of them. For module init, once. `ENOENT`: the log names the one that the kernel lacks.
pub(crate) fn resolve() -> Result {
    let address = first_address()?;
    // SAFETY: Nothing reads it yet: this is module init.
    unsafe { *ALL[0].address = address };
    for one in &ALL[1..] {
        // SAFETY: Found above; the name ends with a NUL.
        let address = unsafe { bindings::vserver_call_kallsyms_lookup_name(one.c_name) };
        if address == 0 {
            pr_err!("this kernel has no {}\n", one.name);
            return Err(ENOENT);
        }
        // SAFETY: As above.
        unsafe { *one.address = address as usize };
    }
    Ok(())
}
