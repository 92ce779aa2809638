// SPDX-License-Identifier: GPL-2.0

//! UDP sockets of the kernel, their datagrams, and the
//! groups that a socket has joined. Addresses and ports are in network byte order.

#![allow(clippy::missing_safety_doc)] // The kernel calls `arrived` as a function of its own.

use super::{
    datagram::kfree_skb, kernel_types, rcu_dereference, read_once, Credentials, InetSocketAddress,
    Net, SkBuff, Sock,
};
use crate::bindings;
use core::{iter::successors, ptr};
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint},
    prelude::*,
    sync::rcu,
};

kernel_types! {
    /// An IPv4 group that a socket has joined.
    GroupV4 = ip_mc_socklist;
    /// An IPv6 group that a socket has joined.
    GroupV6 = ipv6_mc_socklist;
}

/// A sock in a table that is read under RCU.
///
/// # Invariants
///
/// The sock is a UDP sock, and is removed from the table before its socket is released. The kernel
/// frees such a sock a grace period after that.
#[derive(Clone, Copy)]
pub(crate) struct ListedSock(ptr::NonNull<bindings::sock>);

// SAFETY: Only a pointer, which `get` follows under RCU.
unsafe impl Send for ListedSock {}
// SAFETY: As above.
unsafe impl Sync for ListedSock {}

impl ListedSock {
    /// A caller that puts the result into a table must remove it before the socket is released.
    pub(crate) fn new(sock: &Sock) -> Self {
        // INVARIANT: By the callers, all of which are in `multicast.rs`.
        Self(ptr::NonNull::from(sock).cast())
    }

    /// The key of the sock.
    pub(crate) fn address(self) -> u64 {
        self.0.as_ptr() as u64
    }

    /// The sock, for a caller that has found it in a table under this guard.
    pub(crate) fn get<'a>(self, _guard: &'a rcu::Guard) -> &'a Sock {
        // SAFETY: By the type's invariant, the sock stays at least until the guard is dropped.
        unsafe { Sock::from_ptr(self.0.as_ptr()) }
    }
}

/// The kernel socket of a receiver.
///
/// # Invariants
///
/// The socket is open until `release`, which is called once, under the mutex of the receivers.
#[derive(Clone, Copy)]
pub(crate) struct Receiver(ptr::NonNull<bindings::socket>);

// SAFETY: Only a pointer, which is followed by holders of the mutex of the receivers.
unsafe impl Send for Receiver {}
// SAFETY: As above.
unsafe impl Sync for Receiver {}

/// What is done when a receiver has something in its queue.
pub(crate) trait Arrival {
    /// In softirq.
    fn arrived(receiver: &Sock);
}

impl Receiver {
    /// A socket that is not bound and receives nothing yet. Sleeps.
    pub(crate) fn new<A: Arrival>(net: &Net, is_v4: bool) -> Result<Self> {
        let family = if is_v4 {
            bindings::PF_INET
        } else {
            bindings::PF_INET6
        };
        let mut socket = ptr::null_mut();
        // SAFETY: The namespace is live, and this is process context.
        to_result(unsafe {
            bindings::sock_create_kern(
                net.as_ptr(),
                family as c_int,
                bindings::sock_type_SOCK_DGRAM as c_int,
                bindings::IPPROTO_UDP as c_int,
                &mut socket,
            )
        })?;
        let socket = ptr::NonNull::new(socket).ok_or(ENOMEM)?;
        // INVARIANT: Just opened.
        let this = Self(socket);
        this.set_up::<A>(is_v4);
        Ok(this)
    }

    fn set_up<A: Arrival>(self, is_v4: bool) {
        let sock = self.sock();
        let raw = sock.as_ptr();
        let _locked = sock.lock();
        // So that it conflicts with no other socket, see hooks/net/ports.rs.
        // SAFETY: The sock is live, and its lock, which is held, guards the bits beside it, too.
        unsafe {
            let common = &raw mut (*raw).__sk_common;
            bindings::sock_common::set_skc_reuse_raw(common, bindings::SK_FORCE_REUSE as u8);
        }
        sock.set_ipv6only(!is_v4);
        // So that it never polls a device.
        // SAFETY: As above.
        unsafe { (&raw mut (*raw).sk_ll_usec).write_volatile(0) };
        // So that the kernel notes by which device a datagram came.
        sock.assign_inet_flag(bindings::INET_FLAGS_PKTINFO, true);
        // SAFETY: As above. The function is part of this module, which outlives all members, and so
        // all receivers.
        unsafe { (&raw mut (*raw).sk_data_ready).write_volatile(Some(arrived::<A>)) };
    }

    /// Binds the socket, with the kernel's credentials: the port belongs to the program already, so
    /// that needs no permission. Sleeps.
    pub(crate) fn bind(self, address: &mut InetSocketAddress, length: usize) -> Result {
        let address = address.address(length);
        let mut result = 0;
        Credentials::of_kernel()?.in_force_during(|| {
            // SAFETY: The socket is open, its operations are those of UDP, and the address lives
            // during the call.
            result = unsafe {
                let ops = (&raw const (*self.0.as_ptr()).ops).read_volatile();
                (*ops).bind.map_or(EOPNOTSUPP.to_errno(), |bind| {
                    bind(self.0.as_ptr().cast(), address.as_ptr(), address.length())
                })
            };
        });
        to_result(result)
    }

    /// The sock of the socket.
    pub(crate) fn sock<'a>(self) -> &'a Sock {
        // SAFETY: The socket is open by the type's invariant, so it has its sock.
        unsafe { Sock::from_ptr((*self.0.as_ptr()).sk.cast()) }
    }

    /// Closes the socket. Sleeps.
    pub(crate) fn release(self) {
        // SAFETY: The socket is open, and by the type's invariant nobody uses it afterwards.
        unsafe { bindings::sock_release(self.0.as_ptr()) }
    }
}

/// The kernel calls it in softirq, when there is something in the queue of a receiver.
unsafe extern "C" fn arrived<A: Arrival>(sk: *mut bindings::sock) {
    // SAFETY: The kernel passes the sock of the receiver, which is live.
    A::arrived(unsafe { Sock::from_ptr(sk) });
}

/// A datagram that was in the queue of a receiver.
///
/// # Invariants
///
/// Owns the packet.
pub(crate) struct Datagram(ptr::NonNull<bindings::sk_buff>);

impl Datagram {
    /// Takes the next datagram out of the queue of a receiver.
    pub(crate) fn next(receiver: &Sock) -> Option<Self> {
        let (mut offset, mut error) = (0, 0);
        // SAFETY: The receiver is a live UDP sock.
        let skb = unsafe {
            bindings::__skb_recv_udp(
                receiver.as_ptr(),
                bindings::MSG_DONTWAIT,
                &mut offset,
                &mut error,
            )
        };
        // INVARIANT: The call has removed it from the queue.
        ptr::NonNull::new(skb).map(Self)
    }

    /// Whether the checksum is right.
    pub(crate) fn has_right_checksum(&self) -> bool {
        // SAFETY: Owned by the type's invariant, and a UDP datagram.
        unsafe { bindings::vserver_inline_udp_lib_checksum_complete(self.0.as_ptr()) == 0 }
    }

    /// Sets the device by which the datagram came: the queue uses that field for something else.
    pub(crate) fn find_device(&self, receiver: &Sock, is_v4: bool, _guard: &rcu::Guard) {
        let skb = self.0.as_ptr();
        // SAFETY: Owned by the type's invariant. The kernel has noted the device, because the
        // receiver has PKTINFO.
        let index = unsafe {
            if is_v4 {
                let info: *const bindings::in_pktinfo = (&raw const (*skb).cb).cast();
                (*info).ipi_ifindex
            } else {
                bindings::vserver_inline_inet6_iif(skb)
            }
        };
        // SAFETY: The caller reads under RCU, and gives the datagram up before that ends.
        unsafe {
            let device = bindings::dev_get_by_index_rcu(receiver.net().as_ptr(), index);
            *self.packet().device_place() = device.cast();
        }
    }

    /// The packet.
    pub(crate) fn packet(&self) -> &SkBuff {
        // SAFETY: Owned by the type's invariant.
        unsafe { SkBuff::from_ptr(self.0.as_ptr()) }
    }

    /// Delivers a copy to a UDP socket. This is the part of the kernel's delivery that it has not
    /// done for the receiver yet.
    pub(crate) fn hand_to(&self, sock: &Sock) {
        const HEADER: c_uint = size_of::<bindings::udphdr>() as c_uint;
        let sk = sock.as_ptr();
        // SAFETY: Owned by the type's invariant.
        let copy = unsafe { bindings::skb_clone(self.0.as_ptr(), bindings::GFP_ATOMIC) };
        if copy.is_null() {
            return;
        }
        // A socket filter expects the UDP header.
        // SAFETY: The kernel has pulled the header, so there is room for it.
        unsafe { bindings::skb_push(copy, HEADER) };
        // SAFETY: This function owns the copy, which begins with its header.
        let reason = unsafe { bindings::sk_filter_trim_cap(sk, copy, HEADER) };
        if reason != 0 {
            // SAFETY: Gives up the copy.
            unsafe { bindings::sk_skb_reason_drop(sk, copy, reason) };
            return;
        }
        // SAFETY: Pushed above, and a filter keeps the header.
        unsafe { bindings::skb_pull(copy, HEADER) };
        // SAFETY: Gives the copy to the socket.
        if unsafe { bindings::vserver_call___udp_enqueue_schedule_skb(sk, copy) } < 0 {
            // SAFETY: The socket has not taken the copy.
            unsafe { kfree_skb(copy) };
        }
    }

    /// Frees a datagram that has been delivered.
    pub(crate) fn consume(self) {
        let skb = core::mem::ManuallyDrop::new(self).0.as_ptr();
        // SAFETY: Gives up the packet that the type owns.
        unsafe { bindings::consume_skb(skb) };
    }
}

impl Drop for Datagram {
    fn drop(&mut self) {
        // SAFETY: Gives up the packet that the type owns, as a dropped one.
        unsafe { kfree_skb(self.0.as_ptr()) };
    }
}

impl SkBuff {
    /// The device by which the packet came.
    pub(crate) fn device<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a super::NetDevice> {
        // SAFETY: `self` is live, and a device stays for a grace period.
        unsafe { super::NetDevice::from_nullable((*self.device_place()).cast()) }
    }

    /// The source in the IPv4 header.
    pub(crate) fn sender_v4(&self) -> u32 {
        // SAFETY: `self` is a live IPv4 packet.
        let ip = unsafe { bindings::vserver_inline_ip_hdr(self.as_ptr()).read_unaligned() };
        // SAFETY: All variants of the union are the same bytes.
        unsafe { ip.__bindgen_anon_1.__bindgen_anon_1.as_ref().saddr }
    }

    /// The source in the IPv6 header.
    pub(crate) fn sender_v6(&self) -> [u8; 16] {
        // SAFETY: `self` is a live IPv6 packet.
        let ip = unsafe { bindings::vserver_inline_ipv6_hdr(self.as_ptr()).read_unaligned() };
        // SAFETY: All variants of the unions are the same bytes.
        unsafe {
            ip.__bindgen_anon_1
                .__bindgen_anon_1
                .as_ref()
                .saddr
                .in6_u
                .u6_addr8
        }
    }
}

impl GroupV4 {
    /// The address of the group.
    pub(crate) fn address(&self) -> u32 {
        read_once!(self, multi.imr_multiaddr.s_addr)
    }

    /// The number of the device where the socket has joined.
    pub(crate) fn device(&self) -> c_int {
        read_once!(self, multi.imr_ifindex)
    }
}

impl GroupV6 {
    /// The address of the group.
    pub(crate) fn address(&self) -> [u8; 16] {
        read_once!(self, addr.in6_u.u6_addr8)
    }
}

impl Sock {
    /// The IPv4 groups that an IPv4 or IPv6 socket has joined.
    pub(crate) fn groups_v4<'a>(
        &self,
        _guard: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a GroupV4> {
        // SAFETY: `self` is live. A membership stays for a grace period after it has left the list,
        // and still points to the next.
        let first = unsafe { GroupV4::from_nullable(rcu_dereference!(self.as_inet(), mc_list)) };
        successors(first, |group| {
            // SAFETY: As above.
            unsafe { GroupV4::from_nullable(read_once!(group, next_rcu)) }
        })
    }

    /// The IPv6 groups that an IPv6 socket has joined.
    pub(crate) fn groups_v6<'a>(
        &self,
        _guard: &'a rcu::Guard,
    ) -> impl Iterator<Item = &'a GroupV6> {
        // SAFETY: As above.
        let first = unsafe {
            let own = (*self.as_inet()).pinet6;
            GroupV6::from_nullable(rcu_dereference!(own, ipv6_mc_list))
        };
        successors(first, |group| {
            // SAFETY: As above.
            unsafe { GroupV6::from_nullable(read_once!(group, next)) }
        })
    }

    /// Whether the socket accepts a sender in an IPv4 group that it has joined at a device.
    pub(crate) fn takes_sender_v4(
        &self,
        group: u32,
        sender: u32,
        device: c_int,
        _guard: &rcu::Guard,
    ) -> bool {
        // SAFETY: `self` is live, and the caller reads under RCU.
        unsafe {
            bindings::vserver_call_ip_mc_sf_allow(self.as_ptr(), group, sender, device, 0) != 0
        }
    }

    /// Whether the socket accepts a sender in an IPv6 group that it has joined.
    pub(crate) fn takes_sender_v6(
        &self,
        group: &[u8; 16],
        sender: &[u8; 16],
        _guard: &rcu::Guard,
    ) -> bool {
        // SAFETY: As above, and the call only reads the addresses.
        unsafe {
            bindings::vserver_call_inet6_mc_check(
                self.as_ptr(),
                ptr::from_ref(group).cast(),
                ptr::from_ref(sender).cast(),
            )
        }
    }

    /// The port of the socket, in network byte order.
    pub(crate) fn source_port(&self) -> u16 {
        // SAFETY: `self` is a live IPv4 or IPv6 socket; read once.
        unsafe { (&raw const (*self.as_inet()).inet_sport).read_volatile() }
    }

    /// Whether the program has chosen the port of the socket.
    pub(crate) fn has_chosen_port(&self) -> bool {
        u32::from(read_once!(self, sk_userlocks)) & bindings::SOCK_BINDPORT_LOCK != 0
    }
}
