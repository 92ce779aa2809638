// SPDX-License-Identifier: GPL-2.0

//! Network namespaces.

use super::{current_raw, kernel_types, read_once};
use crate::bindings;
use core::ptr;

kernel_types! {
    /// A network namespace.
    Net = net;
}

impl Net {
    /// The caller's, null on its way out.
    pub(super) fn own_raw() -> *const bindings::net {
        // SAFETY: Only the caller itself changes its set of namespaces, and that keeps this one.
        unsafe {
            let spaces = (*current_raw()).nsproxy;
            if spaces.is_null() {
                ptr::null()
            } else {
                (*spaces).net_ns
            }
        }
    }

    /// The caller's, for the time of a call.
    pub(crate) fn own<'a>() -> Option<&'a Self> {
        // SAFETY: See `own_raw`.
        unsafe { Self::from_nullable(Self::own_raw()) }
    }

    /// Its number, which no other ever has.
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: Valid by the type's invariant.
        unsafe { super::namespace(self.as_ptr()) }
    }

    /// Whether it is one of the first user namespace.
    pub(crate) fn is_of_first_user_namespace(&self) -> bool {
        ptr::eq(read_once!(self, user_ns), &raw const bindings::init_user_ns)
    }

    /// The most memory that an option of a socket may take.
    pub(crate) fn most_option_memory(&self) -> u32 {
        read_once!(self, core.sysctl_optmem_max) as u32
    }

    /// Whether an IPv4 address, in network byte order, is local to the host.
    pub(crate) fn is_local_v4(&self, address: u32) -> bool {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::inet_addr_type(self.as_ptr(), address) == bindings::RTN_LOCAL }
    }
}
