// SPDX-License-Identifier: GPL-2.0

//! Routes, and the source addresses of IPv4 and IPv6 sockets. Addresses are in network byte order;
//! zero means none.

use super::{
    read_once,
    socket_marks::socket_bit::{ANY, V6ONLY},
    Net, NetDevice, Sock, Socket,
};
use crate::bindings::{self, dst_entry, flowi4, flowi6};
use core::ptr::NonNull;
use kernel::{ffi::c_int, sync::rcu};

/// Whether an IPv4 address is a group.
pub(crate) fn is_multicast_v4(address: u32) -> bool {
    u32::from_be(address) >> 28 == 0xe
}

/// A route.
///
/// # Invariants
///
/// Owns one reference.
pub(crate) struct Route(NonNull<dst_entry>);

impl Drop for Route {
    fn drop(&mut self) {
        // SAFETY: Gives up the reference of the type's invariant.
        unsafe { bindings::dst_release(self.0.as_ptr()) }
    }
}

impl Route {
    /// The device that the route leads to.
    pub(crate) fn device<'a>(&'a self, _guard: &'a rcu::Guard) -> Option<&'a NetDevice> {
        // SAFETY: A device stays for a grace period after a route has let go of it, and the caller
        // reads under RCU.
        unsafe { NetDevice::from_nullable(bindings::vserver_inline_dst_dev(self.0.as_ptr())) }
    }
}

impl Net {
    /// Looks up the route of a flow, and sets the source of the flow.
    fn route_v4(&self, flow: &mut flowi4) -> Option<Route> {
        // SAFETY: `self` is live, and the call does not keep the flow.
        let route =
            unsafe { bindings::ip_route_output_flow(self.as_ptr(), flow, core::ptr::null()) };
        // A `struct rtable` begins with its `struct dst_entry`.
        let route: *mut dst_entry = kernel::error::from_err_ptr(route).ok()?.cast();
        NonNull::new(route).map(Route)
    }

    /// The same for IPv6. There always is a route, but it may be one that rejects packets.
    fn route_v6(&self, flow: &mut flowi6) -> Option<Route> {
        // SAFETY: As above.
        let route =
            unsafe { bindings::ip6_route_output_flags(self.as_ptr(), core::ptr::null(), flow, 0) };
        NonNull::new(route).map(Route)
    }

    /// The route of the host to an IPv4 address.
    pub(crate) fn route_to_v4(&self, dest: u32) -> Option<Route> {
        let mut flow = flowi4 {
            daddr: dest,
            ..flowi4::default()
        };
        self.route_v4(&mut flow)
    }

    /// The route of the host to an IPv6 address.
    pub(crate) fn route_to_v6(&self, dest: [u8; 16]) -> Option<Route> {
        let mut flow = flowi6::default();
        flow.daddr.in6_u.u6_addr8 = dest;
        self.route_v6(&mut flow)
    }
}

impl Sock {
    /// The source that routing proposes for an IPv4 destination; zero without a route.
    pub(crate) fn proposed_v4(&self, dest: u32) -> u32 {
        let mut flow = flowi4 {
            daddr: dest,
            ..flowi4::default()
        };
        flow.__fl_common.flowic_oif = self.bound_device();
        flow.__fl_common.flowic_proto = self.protocol() as u8;
        if is_multicast_v4(dest) && flow.__fl_common.flowic_oif == 0 {
            // SAFETY: `self` is a live IPv4 or IPv6 socket; read once.
            let index = unsafe { (&raw const (*self.as_inet()).mc_index).read_volatile() };
            flow.__fl_common.flowic_oif = index;
        }
        self.net().route_v4(&mut flow).map_or(0, |_| flow.saddr)
    }

    /// The same for an IPv6 destination; `scope` is the number of its device, or zero.
    pub(crate) fn proposed_v6(&self, dest: [u8; 16], scope: u32) -> [u8; 16] {
        let mut flow = flowi6::default();
        flow.daddr.in6_u.u6_addr8 = dest;
        let device = self.bound_device();
        flow.__fl_common.flowic_oif = if device != 0 { device } else { scope as c_int };
        flow.__fl_common.flowic_proto = self.protocol() as u8;
        drop(self.net().route_v6(&mut flow));
        // SAFETY: All variants of the union are the same initialised bytes.
        unsafe { flow.saddr.in6_u.u6_addr8 }
    }

    /// The number of the device that the socket is bound to, or zero.
    pub(crate) fn bound_device(&self) -> c_int {
        read_once!(self, __sk_common.skc_bound_dev_if)
    }

    /// The IPv4 address that the socket is bound to.
    #[inline(always)]
    pub(crate) fn bound_v4(&self) -> u32 {
        let addresses = &raw const self.as_common().__bindgen_anon_1.__bindgen_anon_1;
        // SAFETY: `self` is live, and every value of the field is valid.
        unsafe { (&raw const (*addresses).as_ref().skc_rcv_saddr).read_volatile() }
    }

    /// The IPv4 source of the socket.
    pub(crate) fn source_v4(&self) -> u32 {
        // SAFETY: `self` is a live IPv4 or IPv6 socket; read once.
        unsafe { (&raw const (*self.as_inet()).inet_saddr).read_volatile() }
    }

    /// The IPv6 source of an IPv6 socket.
    pub(crate) fn source_v6(&self) -> [u8; 16] {
        // SAFETY: `self` is a live IPv6 socket, which has that part. All variants of the union are the same bytes.
        unsafe { (*(*self.as_inet()).pinet6).saddr.in6_u.u6_addr8 }
    }

    /// Changes the source of the socket. Sleeps.
    pub(crate) fn set_source(&self, v4: u32, v6: [u8; 16]) {
        self.lock().put_source(v4, v6);
    }

    /// Whether packets find the socket by its port. Other sockets take any source and cannot be
    /// bound to "any".
    pub(crate) fn has_ports(&self) -> bool {
        self.kind() != bindings::sock_type_SOCK_RAW
            && matches!(
                self.protocol(),
                bindings::IPPROTO_TCP | bindings::IPPROTO_UDP
            )
    }

    /// Takes the lock of the socket. Sleeps.
    pub(crate) fn lock(&self) -> LockedSock<'_> {
        // SAFETY: `self` is live, and the operations of sockets run in process context without a
        // spinlock.
        unsafe { bindings::lock_sock_nested(self.as_ptr(), 0) };
        LockedSock(self)
    }
}

/// The lock of a sock.
pub(crate) struct LockedSock<'a>(&'a Sock);

impl<'a> LockedSock<'a> {
    pub(crate) fn sock(&self) -> &'a Sock {
        self.0
    }
}

impl Drop for LockedSock<'_> {
    fn drop(&mut self) {
        // SAFETY: `Sock::lock` took it.
        unsafe { bindings::release_sock(self.0.as_ptr()) }
    }
}

impl Socket {
    /// Whether the socket is bound to "any": to all that the network has.
    #[inline(always)]
    pub(crate) fn is_of_any(&self) -> bool {
        read_once!(self, flags) & 1 << ANY != 0
    }

    /// IPV6_V6ONLY, as the program sees it.
    pub(crate) fn is_v6only(&self) -> bool {
        read_once!(self, flags) & 1 << V6ONLY != 0
    }

    pub(crate) fn set_v6only(&self, on: bool) {
        // SAFETY: `self` is live, and the bits are changed atomically.
        unsafe {
            let flags = &raw mut (*self.as_ptr()).flags;
            if on {
                bindings::set_bit(V6ONLY as usize, flags);
            } else {
                bindings::clear_bit(V6ONLY as usize, flags);
            }
        }
    }
}
