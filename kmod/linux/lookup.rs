// SPDX-License-Identifier: GPL-2.0

//! The kernel's lookups of the socket that a packet is for.

use super::{inet::udp_table, kernel_types, Net, SkBuff, Sock};
use crate::{
    attach::prototype::original,
    bindings::{self, in6_addr, in6_addr__bindgen_ty_1},
    policy::address::Ip,
};
use kernel::{ffi::c_int, sync::rcu};

// Kernel structures cross only as pointers; the hooks name the same types in another way.

kernel_types! {
    /// An address of IPv6.
    In6Addr = in6_addr;
}

impl In6Addr {
    /// As a number, or as an address of IPv4 if it is one of those mapped into IPv6.
    pub(crate) fn ip(&self) -> Ip {
        Ip::of_v6(u128::from_be_bytes(super::read_once!(self, in6_u.u6_addr8)))
    }
}

/// What is known of a packet but for its destination. Addresses and ports are in network byte order.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'a> {
    pub(crate) net: &'a Net,
    /// The packet itself, for programs of BPF that choose among sockets.
    pub(crate) skb: Option<&'a SkBuff>,
    /// Where the data of TCP begins in the packet.
    pub(crate) doff: c_int,
    pub(crate) saddr: u32,
    pub(crate) sport: u16,
    pub(crate) dport: u16,
    /// The device that it has come by.
    pub(crate) dif: c_int,
    /// The same if that is part of another one (L3 slave), else zero.
    pub(crate) sdif: c_int,
}

impl<'a> Lookup<'a> {
    fn skb(&self) -> *mut bindings::sk_buff {
        self.skb.map_or(core::ptr::null_mut(), SkBuff::as_ptr)
    }

    /// The socket of TCP that listens at an address.
    pub(crate) fn listener(&self, daddr: u32, _guard: &'a rcu::Guard) -> Option<&'a Sock> {
        // SAFETY: The namespace and the packet are valid by the invariants of their types. The hook is attached while its
        // callers run, or it was and its text stays. What is found stays for a grace period.
        unsafe {
            Sock::from_nullable(original!(__inet_lookup_listener(
                self.net.as_ptr(),
                self.skb(),
                self.doff,
                self.saddr,
                self.sport,
                daddr,
                u16::from_be(self.dport),
                self.dif,
                self.sdif,
            )))
        }
    }

    /// The socket of UDP that gets what is sent to an address.
    pub(crate) fn udp4(&self, daddr: u32, _guard: &'a rcu::Guard) -> Option<&'a Sock> {
        // SAFETY: As above, but that there is no hook.
        unsafe {
            Sock::from_nullable(bindings::__udp4_lib_lookup(
                self.net.as_ptr(),
                self.saddr,
                self.sport,
                daddr,
                self.dport,
                self.dif,
                self.sdif,
                self.skb(),
            ))
        }
    }

    /// The same for IPv6.
    pub(crate) fn udp6(
        &self,
        saddr: u128,
        daddr: u128,
        _guard: &'a rcu::Guard,
    ) -> Option<&'a Sock> {
        let [saddr, daddr] = [saddr, daddr].map(|address| in6_addr {
            in6_u: in6_addr__bindgen_ty_1 {
                u6_addr8: address.to_be_bytes(),
            },
        });
        // SAFETY: As above; the addresses are read during the call.
        unsafe {
            Sock::from_nullable(bindings::__udp6_lib_lookup(
                self.net.as_ptr(),
                &saddr,
                self.sport,
                &daddr,
                self.dport,
                self.dif,
                self.sdif,
                self.skb(),
            ))
        }
    }
}

impl Net {
    /// The first socket in the chain of UDP's for an address and a port, which are in network byte order.
    fn first_udp4(&self, address: u32, port: u16) -> *mut bindings::hlist_node {
        // SAFETY: Valid by the type's invariant; a namespace keeps its tables.
        unsafe {
            let net = self.as_ptr();
            let port = u16::from_be(port).into();
            let hash = bindings::vserver_inline_ipv4_portaddr_hash(net, address, port);
            let slot = bindings::vserver_inline_udp_hashslot2(udp_table(net), hash);
            (&raw const (*slot).__bindgen_anon_1.head.as_ref().first).read_volatile()
        }
    }

    /// Whether there may be a socket of UDP bound to a port of an address, or of any if it is zero.
    pub(crate) fn may_have_udp4(&self, address: u32, port: u16) -> bool {
        !self.first_udp4(address, port).is_null()
    }

    /// Whether there is one. To be asked before [`Lookup::udp4`]: when that finds nobody, it goes on to all that have the port, of
    /// whatever address. In a thousand networks they are a thousand.
    pub(crate) fn has_udp4(&self, address: u32, port: u16, _guard: &rcu::Guard) -> bool {
        let mut node = self.first_udp4(address, port);
        while !node.is_null() {
            // SAFETY: On the chain are places in socks, which stay for a grace period.
            let (sk, next) = unsafe {
                (
                    Sock::from_ptr(bindings::vserver_inline_sk_of_portaddr_node(node)),
                    (&raw const (*node).next).read_volatile(),
                )
            };
            // SAFETY: A sock of UDP, valid by the type's invariant.
            let port_of = unsafe { bindings::vserver_inline_udp_port_hash(sk.as_ptr().cast()) };
            if port_of == u16::from_be(port)
                && sk.rcv_saddr() == address
                && core::ptr::eq(sk.net().as_ptr(), self.as_ptr())
            {
                return true;
            }
            node = next;
        }
        false
    }

    /// A datagram for nobody has been counted: it was for somebody.
    pub(crate) fn uncount_no_port(&self, is_v6: bool) {
        // SAFETY: Valid by the type's invariant; a namespace keeps its counters.
        unsafe {
            let counters = &raw const (*self.as_ptr()).mib;
            let counters = if is_v6 {
                (*counters).udp_stats_in6
            } else {
                (*counters).udp_statistics
            };
            // A place in what each processor has of it.
            let no_ports = &raw mut (*counters).mibs[bindings::UDP_MIB_NOPORTS as usize];
            bindings::vserver_inline_this_cpu_dec(no_ports);
        }
    }
}

impl Sock {
    /// The address of IPv4 that it is bound to, in network byte order; zero for none or any.
    pub(crate) fn rcv_saddr(&self) -> u32 {
        // SAFETY: Valid by the type's invariant; reads one field.
        unsafe { bindings::vserver_inline_sk_rcv_saddr(self.as_ptr()) }
    }

    /// For the caller of a lookup, which is under RCU itself for as long as it uses the sock.
    pub(crate) fn handed_on(&self) -> &'static Self {
        // SAFETY: Valid by the type's invariant, for as long as the caller uses it, see above.
        unsafe { Self::from_ptr(self.as_ptr()) }
    }

    /// What is known of a datagram that one of UDP is about to send by lo to a port.
    pub(crate) fn to_lo(&self, dport: u16) -> Lookup<'_> {
        let net = self.net();
        let (sport, dif) = (self.source_port(), net.loopback_device().index());
        Lookup {
            net,
            skb: None,
            doff: 0,
            saddr: self.rcv_saddr(),
            sport,
            dport,
            dif,
            sdif: 0,
        }
    }
}
