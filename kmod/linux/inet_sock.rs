// SPDX-License-Identifier: GPL-2.0

//! The fields of IPv4 and IPv6 sockets that binding and connecting in a network sets. Addresses are in
//! network byte order, and zero for none.

use super::{
    read_once,
    socket_marks::{sock_bit, socket_bit},
    LockedSock, Sock, Socket,
};
use crate::bindings;
use kernel::{error::to_result, prelude::*};

const ANY: usize = sock_bit::ANY as usize;
const V6ONLY: usize = sock_bit::V6ONLY as usize;
const V4ONLY: usize = sock_bit::V4ONLY as usize;

/// Sets or clears a bit atomically.
///
/// # Safety
///
/// `flags` must be those of a socket that is held.
unsafe fn assign(flags: *mut usize, bit: usize, on: bool) {
    if on {
        // SAFETY: By contract.
        unsafe { bindings::set_bit(bit, flags) };
    } else {
        // SAFETY: By contract.
        unsafe { bindings::clear_bit(bit, flags) };
    }
}

impl Socket {
    /// Notes whether the socket is bound to "any".
    pub(crate) fn set_of_any(&self, on: bool) {
        // SAFETY: Valid by the type's invariant.
        unsafe {
            assign(
                &raw mut (*self.as_ptr()).flags,
                socket_bit::ANY as usize,
                on,
            )
        }
    }

    /// From now on, the options that all sockets have come to the operations of this one, too.
    pub(crate) fn take_all_options(&self) {
        // SAFETY: Valid by the type's invariant.
        unsafe {
            assign(
                &raw mut (*self.as_ptr()).flags,
                bindings::socket_flags_SOCK_CUSTOM_SOCKOPT as usize,
                true,
            )
        }
    }
}

impl Sock {
    fn has_flag(&self, bit: usize) -> bool {
        // SAFETY: Valid by the type's invariant; it is a whole socket, which has flags.
        unsafe { bindings::vserver_inline_sk_flags(self.as_ptr()).read_volatile() & 1 << bit != 0 }
    }

    fn assign_flag(&self, bit: usize, on: bool) {
        // SAFETY: As above.
        unsafe { assign(bindings::vserver_inline_sk_flags(self.as_ptr()), bit, on) }
    }

    /// Whether an IPv6 socket is bound to "any" of IPv4.
    pub(crate) fn is_v4only(&self) -> bool {
        self.has_flag(V4ONLY)
    }

    /// What the kernel has of it as one of IPv4 or IPv6, which it has to be.
    pub(super) fn as_inet(&self) -> *mut bindings::inet_sock {
        self.as_ptr().cast()
    }

    /// For one of IPv4 or IPv6.
    fn has_inet_flag(&self, bit: u32) -> bool {
        // SAFETY: Valid by the type's invariant, of IPv4 or IPv6; read once.
        let flags = unsafe { (&raw const (*self.as_inet()).inet_flags).read_volatile() };
        flags & 1 << bit != 0
    }

    /// For one of IPv4 or IPv6.
    pub(super) fn assign_inet_flag(&self, bit: u32, on: bool) {
        // SAFETY: Valid by the type's invariant, of IPv4 or IPv6; a bit that is changed atomically.
        unsafe { assign(&raw mut (*self.as_inet()).inet_flags, bit as usize, on) }
    }

    /// Sets IP_TRANSPARENT: the kernel does not check that the source is the host's.
    pub(crate) fn set_transparent(&self, on: bool) {
        self.assign_inet_flag(bindings::INET_FLAGS_TRANSPARENT, on);
    }

    /// IP_HDRINCL: messages come with their own headers.
    pub(crate) fn has_own_headers(&self) -> bool {
        self.has_inet_flag(bindings::INET_FLAGS_HDRINCL)
    }

    /// IP_BIND_ADDRESS_NO_PORT: the socket gets its port when it connects, not when it is bound.
    pub(crate) fn binds_without_port(&self) -> bool {
        self.has_inet_flag(bindings::INET_FLAGS_BIND_ADDRESS_NO_PORT)
    }

    pub(crate) fn set_binds_without_port(&self, on: bool) {
        self.assign_inet_flag(bindings::INET_FLAGS_BIND_ADDRESS_NO_PORT, on);
    }

    /// Whether a UDP socket has a pending message.
    pub(crate) fn has_pending_message(&self) -> bool {
        let udp: *const bindings::udp_sock = self.as_ptr().cast();
        // SAFETY: Valid by the type's invariant, of UDP; read once.
        unsafe { (&raw const (*udp).pending).read_volatile() != 0 }
    }
}

impl Sock {
    /// For one of IPv6, to the owner of its lock.
    pub(super) fn set_ipv6only(&self, on: bool) {
        // SAFETY: Valid by the type's invariant. The lock guards the bits beside it, too.
        unsafe {
            let common = &raw mut (*self.as_ptr()).__sk_common;
            bindings::sock_common::set_skc_ipv6only_raw(common, on.into());
        }
    }
}

impl LockedSock<'_> {
    /// Clears the kernel's IPV6_V6ONLY of an IPv6 socket. Returns whether it was set.
    pub(crate) fn take_v6only(&self) -> bool {
        let sk = self.sock();
        let was_on = sk.is_v6only();
        sk.set_ipv6only(false);
        was_on
    }

    /// Packets to the addresses of its network find the socket from now on. An IPv6 socket may be found
    /// by IPv4 addresses only, or by IPv6 addresses only.
    pub(crate) fn mark_any(&self, only_v4: bool, only_v6: bool) {
        if only_v6 {
            self.sock().assign_flag(V6ONLY, true);
        }
        if only_v4 {
            self.sock().assign_flag(V4ONLY, true);
        }
        // After the other flags: RCU readers test this one first.
        // SAFETY: No preconditions.
        unsafe { bindings::vserver_inline_smp_mb__before_atomic() };
        self.sock().assign_flag(ANY, true);
    }

    /// Packets find the socket by them no more.
    pub(crate) fn unmark_any(&self) {
        for bit in [ANY, V6ONLY, V4ONLY] {
            self.sock().assign_flag(bit, false);
        }
    }

    /// Sets the source.
    pub(crate) fn put_source(&self, v4: u32, v6: [u8; 16]) {
        let sk = self.sock();
        // SAFETY: Of IPv4 or IPv6, and locked.
        unsafe { (*sk.as_inet()).inet_saddr = v4 };
        if sk.is_v6() {
            self.put_source_v6(v6);
        }
    }

    fn put_source_v6(&self, v6: [u8; 16]) {
        // SAFETY: Of IPv6, and locked.
        unsafe { (*(*self.sock().as_inet()).pinet6).saddr.in6_u.u6_addr8 = v6 }
    }

    /// Sets the address that the socket receives at.
    pub(crate) fn put_bound(&self, v4: u32, v6: [u8; 16]) {
        let sk = self.sock();
        // SAFETY: Of IPv4 or IPv6, and locked.
        unsafe { bindings::vserver_inline_set_rcv_saddr(sk.as_ptr(), v4) };
        if sk.is_v6() {
            // SAFETY: Of IPv6, and locked.
            unsafe { (*sk.as_ptr()).__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8 = v6 };
        }
    }

    /// Binds an IPv4 socket to an address, without a port.
    pub(crate) fn bind_v4(&self, address: u32) {
        let sk = self.sock().as_ptr();
        // SAFETY: Of IPv4, and locked.
        unsafe { (*self.sock().as_inet()).inet_saddr = address };
        // SAFETY: As above.
        unsafe { bindings::vserver_inline_set_rcv_saddr(sk, address) };
        // SAFETY: As above. The cached route was for another source.
        unsafe { bindings::vserver_inline_sk_dst_reset(sk) };
    }

    /// Moves a TCP socket to an IPv4 address, in the kernel's tables of ports, too.
    pub(crate) fn move_to_v4(&self, mut address: u32) -> Result {
        self.move_to((&raw mut address).cast(), bindings::AF_INET)
    }

    /// The same for an IPv6 address.
    pub(crate) fn move_to_v6(&self, mut address: [u8; 16]) -> Result {
        self.move_to((&raw mut address).cast(), bindings::AF_INET6)
    }

    fn move_to(&self, address: *mut core::ffi::c_void, family: u32) -> Result {
        // SAFETY: Of TCP, and locked; the address is of that family, and read during the call.
        to_result(unsafe {
            bindings::vserver_call_inet_bhash2_update_saddr(
                self.sock().as_ptr(),
                address,
                family as i32,
            )
        })
    }

    /// Sets the source of an IPv6 socket that has been moved to an IPv4 address, which is mapped here.
    pub(crate) fn follow_v4(&self, mapped: [u8; 16]) {
        if self.sock().is_v6() {
            self.put_source_v6(mapped);
        }
    }

    /// Puts a UDP socket where the kernel finds it by its present address.
    pub(crate) fn rehash(&self) {
        let sk = self.sock().as_ptr();
        // SAFETY: Locked, and so it keeps its protocol.
        let rehash = unsafe { (*(*sk).__sk_common.skc_prot).rehash };
        // Protocols of datagrams have it.
        if let Some(rehash) = rehash {
            // SAFETY: Locked.
            unsafe { rehash(sk) }
        }
    }

    /// Whether the socket keeps its address when it is disconnected.
    pub(crate) fn keeps_address(&self) -> bool {
        u32::from(read_once!(self.sock(), sk_userlocks)) & bindings::SOCK_BINDADDR_LOCK != 0
    }

    /// Sets whether the socket keeps its address when it is disconnected.
    pub(crate) fn keep_address(&self, keeps: bool) {
        const KEEPS: u8 = bindings::SOCK_BINDADDR_LOCK as u8;
        let sk = self.sock().as_ptr();
        if keeps {
            // SAFETY: Valid by the type's invariant, and locked.
            unsafe { (*sk).sk_userlocks |= KEEPS };
        } else {
            // SAFETY: As above.
            unsafe { (*sk).sk_userlocks &= !KEEPS };
        }
    }
}
