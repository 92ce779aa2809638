// SPDX-License-Identifier: GPL-2.0

//! What the kernel counts for each user: in `struct ucounts`, by user namespace and user, and in `struct user_struct`,
//! by user.
//!
//! C headers: `include/linux/user_namespace.h`, `include/linux/sched/user.h`.

use super::{current_raw, global_mutex, rlimit, RLIMIT_NPROC};
use crate::{
    attach::kallsyms,
    bindings::{self, kuid_t},
};
use core::{
    mem::{self, ManuallyDrop},
    ptr::{self, NonNull},
};
use kernel::{
    alloc::flags,
    error::to_result,
    ffi::{c_int, c_long},
    prelude::*,
    sync::atomic::{Atomic, Relaxed, Release},
};

const ROOT: u32 = 0;
const NOBODY: u32 = u32::MAX;

/// The caller's credentials, which stay as long as it does not change them.
fn own_cred() -> *const bindings::cred {
    // SAFETY: The caller exists, and only the caller changes them.
    unsafe { (*current_raw()).cred }
}

/// The caller's user.
pub(crate) fn own_uid() -> u32 {
    // SAFETY: They stay during the call.
    unsafe { (*own_cred()).uid.val }
}

/// The caller's user namespace.
pub(crate) fn own_user_ns() -> *mut bindings::user_namespace {
    // SAFETY: They stay during the call.
    unsafe { (*own_cred()).user_ns }
}

/// Whether the caller may exceed the machine's limits (CAP_SYS_RESOURCE in the initial user namespace).
pub(crate) fn may_exceed_limits() -> bool {
    // SAFETY: Looks at the caller only.
    unsafe { bindings::capable(bindings::CAP_SYS_RESOURCE as c_int) }
}

fn host_user_ns() -> *mut bindings::user_namespace {
    &raw mut bindings::init_user_ns
}

/// A reference to the counters of a user in a user namespace.
///
/// # Invariants
///
/// The pointer owns a reference.
pub(crate) struct Ucounts(NonNull<bindings::ucounts>);

// SAFETY: The kernel counts references to them and changes them by atomics.
unsafe impl Send for Ucounts {}

impl Ucounts {
    /// `EAGAIN`: no memory, which is what setuid(2) says then.
    fn of(ns: *mut bindings::user_namespace, uid: u32) -> Result<Self> {
        // SAFETY: The callers hold `ns`. INVARIANT: The result is a reference.
        NonNull::new(unsafe { bindings::vserver_call_alloc_ucounts(ns, kuid_t { val: uid }) })
            .map(Self)
            .ok_or(EAGAIN)
    }

    fn get(ucounts: *mut bindings::ucounts) -> Result<Self> {
        // SAFETY: The callers own a reference. INVARIANT: The result is another one.
        NonNull::new(unsafe { bindings::vserver_inline_get_ucounts(ucounts) })
            .map(Self)
            .ok_or(EAGAIN)
    }

    fn of_caller() -> Result<Self> {
        // SAFETY: The caller's credentials stay during the call, and own a reference.
        Self::get(unsafe { (*own_cred()).ucounts })
    }

    /// # Safety
    ///
    /// The pointer must own a reference, which passes to the result.
    pub(super) unsafe fn from_raw(ucounts: *mut bindings::ucounts) -> Self {
        // INVARIANT: By contract.
        // SAFETY: What owns a reference is not null.
        Self(unsafe { NonNull::new_unchecked(ucounts) })
    }

    pub(super) fn into_raw(self) -> *mut bindings::ucounts {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// Adds a process, here and in the counters around, or takes one away.
    pub(super) fn count_process(&self, more: bool) {
        let (ucounts, kind) = (self.0.as_ptr(), bindings::rlimit_type_UCOUNT_RLIMIT_NPROC);
        if more {
            // SAFETY: Held by the reference.
            unsafe { bindings::vserver_call_inc_rlimit_ucounts(ucounts, kind, 1) };
        } else {
            // SAFETY: As above.
            unsafe { bindings::vserver_call_dec_rlimit_ucounts(ucounts, kind, 1) };
        }
    }

    /// Adds a user namespace, here and in the counters around, whatever the limit: what the kernel takes away when it
    /// frees that namespace.
    fn count_namespace(&self) {
        let mut each = self.0.as_ptr();
        while !each.is_null() {
            // SAFETY: Held by the reference; counters hold their namespace, and that holds those around it. They are
            // changed by atomics only.
            each = unsafe {
                let count =
                    &raw mut (*each).ucount[bindings::ucount_type_UCOUNT_USER_NAMESPACES as usize];
                Atomic::from_ptr(&raw mut (*count).counter).add(1, Relaxed);
                (*(*each).ns).ucounts
            };
        }
    }

    /// Makes room below: from now on no counter of these comes to its end by what is taken away, and none is added that
    /// has a limit.
    fn fill(&self) {
        const FULL: c_long = 1 << 60;
        let ucounts = self.0.as_ptr();
        // SAFETY: Held by the reference, and changed by atomics only.
        unsafe {
            for count in 0..(*ucounts).ucount.len() {
                let count = &raw mut (*ucounts).ucount[count];
                Atomic::from_ptr(&raw mut (*count).counter).store(FULL as i64, Relaxed);
            }
            for count in 0..(*ucounts).rlimit.len() {
                let count = &raw mut (*ucounts).rlimit[count];
                Atomic::from_ptr(&raw mut (*count).counter).store(FULL as i64, Relaxed);
            }
        }
    }
}

impl Drop for Ucounts {
    fn drop(&mut self) {
        // SAFETY: By the invariant of the type.
        unsafe { bindings::vserver_call_put_ucounts(self.0.as_ptr()) }
    }
}

/// A user namespace that nobody is in: the kernel counts there what users do, as it does for the processes of a user
/// namespace, and nothing else looks at it. It is one of the kernel's own (see `create_user_ns`), so what is counted in it
/// may outlive the module: with the last counter the kernel frees it. User space finds no namespace without processes.
///
/// # Invariants
///
/// The pointer owns a reference, and what it points to has all that `free_user_ns` takes apart.
pub(crate) struct Account(NonNull<bindings::user_namespace>);

// SAFETY: The kernel counts references to it. What is changed in it are limits, numbers of one word.
unsafe impl Send for Account {}
// SAFETY: As above.
unsafe impl Sync for Account {}

impl Account {
    /// An account below another one's counters, for the processes of a user namespace. `EAGAIN`, `ENOMEM`, `ENOSPC`.
    fn new(
        around: Option<Ucounts>,
        below: *mut bindings::user_namespace,
        rlimits: [c_long; bindings::rlimit_type_UCOUNT_RLIMIT_COUNTS as usize],
    ) -> Result<Self> {
        let mut memory = KBox::<bindings::user_namespace>::new_uninit(
            flags::GFP_KERNEL_ACCOUNT | flags::__GFP_ZERO,
        )?;
        let ns = memory.as_mut_ptr();
        // SAFETY: Memory of this size, zeroed, that nobody else knows. The operations and the parent are the kernel's, and
        // the latter stays because the caller is in it, or has it.
        unsafe {
            let common = &raw mut (*ns).ns;
            let operations = bindings::init_user_ns.ns.ops;
            to_result(bindings::vserver_call___ns_common_init(
                common,
                bindings::CLONE_NEWUSER,
                operations,
                0,
            ))?;
            if !bindings::vserver_call_setup_userns_sysctls(ns) {
                bindings::vserver_call___ns_common_free(common);
                return Err(ENOMEM);
            }
            #[cfg(CONFIG_KEYS)]
            {
                let keyrings = &raw mut (*ns).keyring_name_list;
                (*keyrings).next = keyrings;
                (*keyrings).prev = keyrings;
            }
            (*ns).level = (*below).level + 1;
            (*ns).owner = (*own_cred()).euid;
            (*ns).group = (*own_cred()).egid;
            (*ns).ucount_max = (*below).ucount_max;
            (*ns).rlimit_max = rlimits;
            bindings::init_work_with_key(
                &raw mut (*ns).work,
                mem::transmute::<usize, bindings::work_func_t>(kallsyms::FREE_USER_NS.address()),
                false,
                c"user_ns".as_char_ptr(),
                no_lock_class(),
            );
            bindings::vserver_inline_get_user_ns(below);
            (*ns).parent = below;
            (*ns).ucounts = match around {
                Some(around) => {
                    around.count_namespace();
                    around.into_raw()
                }
                None => ptr::null_mut(),
            };
            bindings::vserver_call___ns_tree_gen_id(common, 0);
            bindings::vserver_call___ns_tree_add_raw(
                common,
                bindings::vserver_inline_user_ns_tree(),
            );
        }
        // From now on the kernel frees it.
        let _ = KBox::into_raw(memory);
        // INVARIANT: The reference that `__ns_common_init` has begun with.
        Ok(Self(NonNull::new(ns).ok_or(ENOMEM)?))
    }

    /// For a context that the host has made: nothing outside counts what is counted here.
    pub(crate) fn apart() -> Result<Self> {
        let around = match &*TOP.lock() {
            Some(top) => Ucounts::get(top.ucounts.0.as_ptr())?,
            None => return Err(EAGAIN),
        };
        Self::new(Some(around), own_user_ns(), [c_long::MAX; 4])
    }

    /// Below the caller's counters, within the caller's limits.
    pub(crate) fn below_caller() -> Result<Self> {
        let limit = |limit| rlimit(limit).try_into().unwrap_or(c_long::MAX);
        let processes = if own_uid() == ROOT && own_user_ns() == host_user_ns() {
            c_long::MAX
        } else {
            limit(RLIMIT_NPROC)
        };
        let others = [
            bindings::RLIMIT_MSGQUEUE,
            bindings::RLIMIT_SIGPENDING,
            bindings::RLIMIT_MEMLOCK,
        ]
        .map(limit);
        Self::new(
            Some(Ucounts::of_caller()?),
            own_user_ns(),
            [processes, others[0], others[1], others[2]],
        )
    }

    /// The namespace whose users are counted here instead.
    pub(crate) fn stands_for(&self, ns: *mut bindings::user_namespace) -> bool {
        // SAFETY: Held; the parent never changes.
        ns == host_user_ns() || ns == unsafe { (*self.0.as_ptr()).parent }
    }

    pub(crate) fn as_ptr(&self) -> *mut bindings::user_namespace {
        self.0.as_ptr()
    }

    /// The counters of a user.
    pub(crate) fn of_user(&self, uid: u32) -> Result<Ucounts> {
        Ucounts::of(self.0.as_ptr(), uid)
    }

    /// Takes a limit over from the namespace that it stands for, where it may have changed (`sysctl fs.inotify`).
    pub(crate) fn renew_limit(&self, kind: bindings::ucount_type) {
        let (ns, kind) = (self.0.as_ptr(), kind as usize);
        // SAFETY: Held, and it holds its parent. Limits are read and written at once.
        unsafe {
            if kind < (*ns).ucount_max.len() {
                let limit = (&raw const (*(*ns).parent).ucount_max[kind]).read_volatile();
                (&raw mut (*ns).ucount_max[kind]).write_volatile(limit);
            }
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        // SAFETY: By the invariant of the type.
        unsafe { bindings::vserver_inline_put_user_ns(self.0.as_ptr()) }
    }
}

/// The kernel may run the work when the module has gone, and lockdep then wants a class that is the kernel's.
fn no_lock_class() -> *mut bindings::lock_class_key {
    #[cfg(CONFIG_LOCKDEP)]
    return &raw mut bindings::__lockdep_no_validate__;
    #[cfg(not(CONFIG_LOCKDEP))]
    ptr::null_mut()
}

/// Around the accounts of the host's contexts: it has no limits, and nothing is around it.
struct Top {
    account: Account,
    ucounts: Ucounts,
}

global_mutex! {
    static TOP: Option<Top> = None; init init_top
}
global_mutex! {
    /// Held while a `struct user_struct` is made that belongs to a context.
    static MAKING: () = (); init init_making
}

/// In module init, before there is a context.
pub(crate) fn open_accounts() -> Result {
    init_top();
    init_making();
    let account = Account::new(None, host_user_ns(), [c_long::MAX; 4])?;
    let ns = account.as_ptr();
    // SAFETY: Held.
    for limit in unsafe { &mut (*ns).ucount_max } {
        *limit = c_long::MAX;
    }
    match account.of_user(ROOT) {
        Ok(ucounts) => {
            *TOP.lock() = Some(Top { account, ucounts });
            Ok(())
        }
        Err(error) => {
            // Without counters around, the kernel cannot free it.
            mem::forget(account);
            Err(error)
        }
    }
}

/// At module exit, when there is no context any more. What is still counted (a descriptor that has been passed out of a
/// context, for example) stays with the kernel, which frees a namespace together with the counters around it. The topmost
/// has none, so it gets some: those of nobody, which never come to zero.
pub(crate) fn close_accounts() {
    let Some(Top { account, ucounts }) = TOP.lock().take() else {
        return;
    };
    let Ok(nobody) = Ucounts::of(host_user_ns(), NOBODY) else {
        pr_warn!("no memory: some is not given back\n");
        mem::forget((account, ucounts));
        return;
    };
    nobody.fill();
    // SAFETY: Held. Whoever walks by meanwhile sees none or these.
    unsafe { Atomic::from_ptr(&raw mut (*account.as_ptr()).ucounts) }
        .store(nobody.into_raw(), Release);
}

/// A reference to a user, for whom the kernel counts what it does not count by user namespaces.
///
/// # Invariants
///
/// The pointer owns a reference.
pub(crate) struct User(NonNull<bindings::user_struct>);

// SAFETY: The kernel counts references to it, and changes it by atomics and under locks.
unsafe impl Send for User {}
// SAFETY: As above.
unsafe impl Sync for User {}

/// Who makes one now.
static MAKER: Atomic<*mut bindings::task_struct> = Atomic::new(ptr::null_mut());

impl User {
    /// Whether the caller is about to call the kernel's function for [`Self::apart`].
    pub(crate) fn is_being_made() -> bool {
        MAKER.load(Relaxed) == current_raw()
    }

    /// The caller's.
    pub(crate) fn of_caller() -> Self {
        // SAFETY: The caller's credentials stay during the call, and own a reference.
        let user = unsafe { NonNull::new_unchecked((*own_cred()).user) };
        // SAFETY: As above. INVARIANT: It is taken here.
        unsafe { bindings::vserver_inline_get_uid(user.as_ptr()) };
        Self(user)
    }

    /// One that nobody finds by its number. `EAGAIN`: no memory.
    ///
    /// The kernel makes it under a number that no user has, and only then it gets the right one. So it is in the wrong
    /// chain of the kernel's table; the kernel removes it from any.
    pub(crate) fn apart(uid: u32) -> Result<Self> {
        let _making = MAKING.lock();
        // As in kernel/user.c; in the chain of its own number it would be found.
        const BITS: u32 = if cfg!(CONFIG_BASE_SMALL) { 3 } else { 7 };
        let chain = |uid: u32| ((uid >> BITS).wrapping_add(uid)) & ((1 << BITS) - 1);
        let unused = if chain(uid) == chain(NOBODY) {
            NOBODY - 1
        } else {
            NOBODY
        };
        MAKER.store(current_raw(), Relaxed);
        // SAFETY: Process context.
        let user = unsafe { bindings::vserver_call_alloc_uid(kuid_t { val: unused }) };
        MAKER.store(ptr::null_mut(), Relaxed);
        // INVARIANT: The result is a reference.
        let user = Self(NonNull::new(user).ok_or(EAGAIN)?);
        if user.is_used() {
            // Somebody on the host is called so.
            return Err(EAGAIN);
        }
        // SAFETY: Nobody else has it.
        unsafe { (*user.0.as_ptr()).uid.val = uid };
        Ok(user)
    }

    /// Whether there are more references than this one.
    pub(crate) fn is_used(&self) -> bool {
        // SAFETY: Held; changed by atomics only.
        unsafe { Atomic::from_ptr(&raw mut (*self.0.as_ptr()).__count.refs.counter) }.load(Relaxed)
            > 1
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::user_struct {
        self.0.as_ptr()
    }

    pub(crate) fn into_raw(self) -> *mut bindings::user_struct {
        ManuallyDrop::new(self).0.as_ptr()
    }

    /// # Safety
    ///
    /// The pointer must own a reference, which passes to the result.
    pub(super) unsafe fn from_raw(user: *mut bindings::user_struct) -> Self {
        // INVARIANT: By contract.
        // SAFETY: What owns a reference is not null.
        Self(unsafe { NonNull::new_unchecked(user) })
    }
}

impl Clone for User {
    fn clone(&self) -> Self {
        // SAFETY: By the invariant of the type. INVARIANT: The result owns what is taken here.
        unsafe { bindings::vserver_inline_get_uid(self.0.as_ptr()) };
        Self(self.0)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // SAFETY: By the invariant of the type.
        unsafe { bindings::free_uid(self.0.as_ptr()) }
    }
}
