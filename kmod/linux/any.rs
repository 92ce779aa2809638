// SPDX-License-Identifier: GPL-2.0

//! Sockets of IPv4 and IPv6 that a program has bound to "any" in a network: for the kernel they are bound to the loopback
//! of the network, and marks say the rest (`socket_marks.rs`).

use super::{
    socket_marks::sock_bit::{ANY, V4ONLY, V6ONLY},
    Sock, TheNetwork,
};
use crate::{bindings, policy::address::Ip};
use kernel::sync::rcu;

impl Sock {
    fn has_mark(&self, bit: u32) -> bool {
        self.is_whole() && self.flags() & 1 << bit != 0
    }

    /// The address that the program has bound it to, if that is an "any" of a network.
    pub(crate) fn any_as_bound(&self) -> Option<Ip> {
        self.has_mark(ANY).then(|| {
            if self.is_v6() && !self.has_mark(V4ONLY) {
                Ip::V6(0)
            } else {
                Ip::V4(0)
            }
        })
    }

    /// Whether one of "any" takes nothing of IPv6.
    pub(crate) fn is_any_of_v4(&self) -> bool {
        self.has_mark(V4ONLY)
    }

    /// Whether one of "any" takes nothing of IPv4.
    pub(crate) fn is_any_of_v6(&self) -> bool {
        self.has_mark(V6ONLY)
    }

    /// The network that it is bound to "any" of. For a whole one; `None` when it is being released.
    pub(crate) fn network_of_any<'a, N: TheNetwork>(&self, guard: &'a rcu::Guard) -> Option<&'a N> {
        // SAFETY: Valid by the type's invariant, and whole; looks at one word.
        let is_any = unsafe {
            let flags = bindings::vserver_inline_sk_flags(self.as_ptr());
            bindings::vserver_inline_test_bit_acquire(ANY as usize, flags)
        };
        if !is_any {
            return None;
        }
        self.network(guard)
    }
}
