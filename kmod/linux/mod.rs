// SPDX-License-Identifier: GPL-2.0

//! The kernel's structures as safe Rust, as far as the hooks look at them and the `kernel` crate does not. One of the
//! folders that may contain `unsafe`.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use crate::bindings::list_head;
use core::ptr;
use kernel::sync::{
    atomic::{Atomic, AtomicType, Full, Relaxed},
    Refcount,
};

mod anonymous_file;
mod any;
mod cred;
mod credentials;
mod datagram;
mod directories;
mod directory;
mod exclusive_socket;
mod fs;
mod genetlink;
mod global;
mod inet;
mod inet_sock;
mod kernfs;
#[cfg(CONFIG_KEYS)]
mod key;
mod lives;
mod lookup;
mod marks;
mod message;
mod misc_device;
mod module;
mod namespaces;
mod net;
mod net_device;
mod netlink_messages;
mod netlink_ops;
mod network_socket;
mod parameter;
mod pid;
mod poll;
mod proc;
mod rcu_counted;
mod rcu_table;
mod registers;
mod route;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
mod scm;
mod seq;
mod shared_resources;
mod siphash;
mod skb;
mod sock;
mod sock_option;
mod socket_address;
mod socket_entries;
mod socket_marks;
mod socket_ops;
mod spin_lock;
mod static_key;
mod task;
mod task_map;
mod tty;
mod ucounts;
mod udp_receiver;
mod unix_name;
#[cfg(CONFIG_KEYS)]
mod user_keyrings;
mod work;

#[cfg(CONFIG_KEYS)]
pub(crate) use self::key::*;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) use self::scm::*;
#[cfg(CONFIG_KEYS)]
pub(crate) use self::user_keyrings::*;
pub(crate) use self::{
    anonymous_file::*, cred::*, credentials::*, datagram::*, directories::*, directory::*,
    exclusive_socket::*, fs::*, genetlink::*, global::*, inet::*, kernfs::*, lives::*, lookup::*,
    marks::*, message::*, misc_device::*, module::*, namespaces::*, net::*, net_device::*,
    netlink_messages::*, network_socket::*, parameter::*, pid::*, poll::*, proc::*, rcu_counted::*,
    rcu_table::*, registers::*, route::*, seq::*, shared_resources::*, siphash::*, skb::*, sock::*,
    sock_option::*, socket_address::*, socket_entries::*, socket_ops::*, spin_lock::*,
    static_key::*, task::*, task_map::*, tty::*, ucounts::*, udp_receiver::*, unix_name::*,
    work::*,
};

/// Types that are seen by reference only: `&Inode` is a pointer to a live `struct inode`.
macro_rules! kernel_types {
    ($($(#[$meta:meta])* $name:ident = $raw:ident;)*) => {$(
        $(#[$meta])*
        ///
        /// # Invariants
        ///
        /// A reference is made of a pointer to a live structure, and is not used for longer than that lives.
        #[repr(transparent)]
        pub(crate) struct $name(kernel::types::Opaque<crate::bindings::$raw>);

        #[allow(dead_code)]
        impl $name {
            #[inline(always)]
            pub(crate) fn as_ptr(&self) -> *mut crate::bindings::$raw {
                self.0.get()
            }

            /// # Safety
            ///
            /// `raw` must be valid as long as the result is used.
            #[inline(always)]
            pub(crate) unsafe fn from_ptr<'a>(raw: *const crate::bindings::$raw) -> &'a Self {
                // INVARIANT: By contract.
                // SAFETY: By contract; the type is transparent.
                unsafe { &*raw.cast() }
            }

            /// `None` for a null pointer.
            ///
            /// # Safety
            ///
            /// As [`Self::from_ptr`], unless `raw` is null.
            #[inline(always)]
            pub(crate) unsafe fn from_nullable<'a>(
                raw: *const crate::bindings::$raw,
            ) -> Option<&'a Self> {
                // INVARIANT: By contract.
                // SAFETY: By contract; the type is transparent.
                unsafe { raw.cast::<Self>().as_ref() }
            }
        }

        $crate::attach::hook::argument!($name, $raw);
    )*};
}
use kernel_types;

/// A field of one of [`kernel_types`], read once (`READ_ONCE`).
macro_rules! read_once {
    ($this:expr, $($field:tt).+) => {{
        let raw = $this.as_ptr();
        // SAFETY: Valid by the invariant of the type. The types of fields that are read are numbers and pointers, of which
        // any value will do, and a concurrent change is what reading once is for.
        #[allow(unused_unsafe, clippy::undocumented_unsafe_blocks)] // Also read where other things are unsafe; see above.
        unsafe {
            (&raw const (*raw).$($field).+).read_volatile()
        }
    }};
}
use read_once;

/// A field that points to what is kept by RCU (`rcu_dereference`): with its type, for a pointer that is not of [`kernel_types`].
/// What is read through it comes after the reading of it, as the address depends on that.
macro_rules! rcu_dereference {
    ($raw:expr, $field:ident) => {
        (&raw const (*$raw).$field).read_volatile()
    };
}
use rcu_dereference;

/// What is behind `node` on a list that is read under RCU; `None` at its end, which is its `head` (`list_next_or_null_rcu`).
///
/// # Safety
///
/// Both must be of one list. Whatever is on it stays for a grace period after it has left it, and still leads back into it.
#[inline]
unsafe fn next_on_list(head: *const list_head, node: *const list_head) -> Option<*const list_head> {
    // SAFETY: By contract.
    let next = unsafe { rcu_dereference!(node, next) };
    (!ptr::eq(next, head)).then_some(next.cast_const())
}

/// As `load(Relaxed)`, which is a call of a function of the kernel's: inline, for what every caller of a hook comes by.
#[inline(always)]
pub(crate) fn peek<T: AtomicType>(value: &Atomic<T>) -> T {
    // SAFETY: Of the type of the value, which lives as long as the reference; only changed atomically.
    unsafe { value.as_ptr().read_volatile() }
}

/// One reference more to what is found without one; `false`: the last one is gone. A count that is saturated stays so.
#[inline]
pub(crate) fn inc_not_zero(count: &Refcount) -> bool {
    let count = count.as_atomic();
    let mut now = count.load(Relaxed);
    while now > 0 {
        match count.cmpxchg(now, now.saturating_add(1), Full) {
            Ok(_) => return true,
            Err(other) => now = other,
        }
    }
    now != 0
}
