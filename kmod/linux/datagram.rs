// SPDX-License-Identifier: GPL-2.0

//! Packets of UDP that the kernel has found no socket for, and those that an ICMP error is about.

use super::{Lookup, Net, SkBuff, Sock, Udp};
use crate::{
    bindings::{self, iphdr, ipv6hdr, udphdr},
    policy::address::Ip,
};
use kernel::{ffi::c_int, sync::rcu};

impl SkBuff {
    /// Whether the caller is the reception of UDP, which is at the header of UDP. A firewall that refuses a packet is at the
    /// header of IP.
    fn comes_from_udp(&self) -> bool {
        let raw = self.as_ptr();
        // SAFETY: Valid by the type's invariant; each looks at fields of the packet only.
        unsafe {
            bindings::vserver_inline_skb_transport_header_was_set(raw)
                && bindings::vserver_inline_skb_transport_offset(raw) == 0
                && u32::from(self.packet_type()) == bindings::PACKET_HOST
                && !(*self.device_place()).is_null()
                && !bindings::vserver_inline_skb_dst(raw).is_null()
                && ((*raw).len - (*raw).data_len) as usize >= size_of::<udphdr>()
        }
    }

    /// `PACKET_HOST` and the like.
    fn packet_type(&self) -> u8 {
        let headers = &raw const self.fields().__bindgen_anon_4.headers;
        // SAFETY: Valid by the type's invariant. All variants of the union are the same bytes.
        unsafe { bindings::sk_buff__bindgen_ty_4__bindgen_ty_2::pkt_type_raw(headers.cast()) }
    }

    fn fields(&self) -> &bindings::sk_buff {
        // SAFETY: Valid by the type's invariant.
        unsafe { &*self.as_ptr() }
    }

    /// Where its device is. To be followed as long as the packet is not in a queue.
    pub(super) fn device_place(&self) -> *mut *mut bindings::net_device {
        let raw = self.as_ptr();
        // SAFETY: Valid by the type's invariant; nothing is read.
        unsafe {
            let links = &raw mut (*raw).__bindgen_anon_1.__bindgen_anon_1;
            (&raw mut (*links).__bindgen_anon_1.dev).cast()
        }
    }

    /// The network namespace of its device.
    ///
    /// # Safety
    ///
    /// It must have a device.
    unsafe fn net_of_device(&self) -> &Net {
        // SAFETY: By contract. A packet that is being received keeps its device, and that its namespace.
        unsafe {
            let device: *const bindings::net_device = (*self.device_place()).cast();
            Net::from_ptr((*device).nd_net.net)
        }
    }

    /// Of a packet that the reception of UDP has over IPv4: what is known of it, and its destination.
    pub(crate) fn unclaimed_v4(&self) -> Option<(Lookup<'_>, Ip)> {
        if !self.comes_from_udp() {
            return None;
        }
        let raw = self.as_ptr();
        // SAFETY: A packet that the reception of UDP has been given, see above: with a device, and whole headers.
        unsafe {
            let ip = bindings::vserver_inline_ip_hdr(raw).read_unaligned();
            let addresses = ip.__bindgen_anon_1.__bindgen_anon_1.as_ref();
            let ports = bindings::vserver_inline_udp_hdr(raw).read_unaligned();
            let lookup = Lookup {
                net: self.net_of_device(),
                skb: Some(self),
                doff: 0,
                saddr: addresses.saddr,
                sport: ports.source,
                dport: ports.dest,
                dif: bindings::vserver_inline_inet_iif(raw),
                sdif: bindings::vserver_inline_inet_sdif(raw),
            };
            (u32::from(ip.protocol) == bindings::IPPROTO_UDP)
                .then(|| (lookup, Ip::V4(u32::from_be(addresses.daddr))))
        }
    }

    /// The same over IPv6. Sockets of one port that share it are told apart by the ports alone.
    pub(crate) fn unclaimed_v6(&self) -> Option<(Lookup<'_>, Ip)> {
        if !self.comes_from_udp() {
            return None;
        }
        let raw = self.as_ptr();
        // SAFETY: As above.
        unsafe {
            let ip = bindings::vserver_inline_ipv6_hdr(raw).read_unaligned();
            let addresses = ip.__bindgen_anon_1.__bindgen_anon_1.as_ref();
            let ports = bindings::vserver_inline_udp_hdr(raw).read_unaligned();
            let lookup = Lookup {
                net: self.net_of_device(),
                skb: None,
                doff: 0,
                saddr: 0,
                sport: ports.source,
                dport: ports.dest,
                dif: bindings::vserver_inline_inet6_iif(raw),
                sdif: bindings::vserver_inline_inet6_sdif(raw),
            };
            Some((lookup, Ip::of_v6(number(&addresses.daddr))))
        }
    }

    /// Gives a copy to a socket of UDP, the way that the packet came. `false`: the socket is on its way out.
    pub(crate) fn give_copy(&self, sk: &Sock, kind: Udp, _guard: &rcu::Guard) -> bool {
        let sk = sk.as_ptr();
        // SAFETY: Valid by the invariants of both types. The copy holds the socket, and the function that receives it owns it,
        // but when that asks for another protocol by a positive answer, as the original's caller is told, too.
        unsafe {
            if !bindings::vserver_inline_refcount_inc_not_zero(
                &raw mut (*sk).__sk_common.skc_refcnt,
            ) {
                return false;
            }
            let copy = bindings::skb_clone(self.as_ptr(), bindings::GFP_ATOMIC);
            if copy.is_null() {
                bindings::vserver_inline_sock_put(sk);
                return true;
            }
            bindings::vserver_inline_skb_orphan(copy);
            (*copy).sk = sk.cast();
            (*copy).__bindgen_anon_3.__bindgen_anon_1.destructor = Some(bindings::sock_edemux);
            let answer = match kind {
                Udp::V4 => bindings::vserver_call_udp_rcv(copy),
                Udp::V6 => bindings::vserver_call_udpv6_rcv(copy),
            };
            if answer > 0 {
                kfree_skb(copy);
            }
        }
        true
    }
}

/// Drops a packet.
///
/// # Safety
///
/// It must be the caller's.
pub(super) unsafe fn kfree_skb(skb: *mut bindings::sk_buff) {
    let reason = bindings::skb_drop_reason_SKB_DROP_REASON_NOT_SPECIFIED;
    // SAFETY: By contract.
    unsafe { bindings::sk_skb_reason_drop(core::ptr::null(), skb, reason) }
}

fn number(address: &bindings::in6_addr) -> u128 {
    // SAFETY: All kinds of writing an address are as large, and of any value.
    u128::from_be_bytes(unsafe { address.in6_u.u6_addr8 })
}

/// A datagram that an ICMP error is about, sent from here.
pub(crate) struct Quoted<'a> {
    /// What a lookup of its sender is about: that of a datagram on the way back.
    pub(crate) back: Lookup<'a>,
    source: Ip,
    /// Of IPv6: the source and the destination as numbers.
    v6: Option<(u128, u128)>,
}

impl Quoted<'_> {
    /// The address that it was sent from.
    pub(crate) fn source(&self) -> Ip {
        self.source
    }

    /// Whether the kernel finds the socket that has sent it.
    pub(crate) fn is_found(&self, guard: &rcu::Guard) -> bool {
        let back = self.back;
        match (self.v6, self.source) {
            (Some((source, dest)), _) => back.udp6(dest, source, guard).is_some(),
            (None, Ip::V4(source)) => back.udp4(source.to_be(), guard).is_some(),
            (None, Ip::V6(_)) => false,
        }
    }
}

/// Of ICMP errors as `udp_err` and `udpv6_err` get them: they begin with the header of the datagram.
impl SkBuff {
    /// What one is about; behind the header of IPv4 there are eight bytes.
    pub(crate) fn quoted_v4(&self) -> Quoted<'_> {
        let raw = self.as_ptr();
        // SAFETY: A packet of that form, in softirq, with a device.
        unsafe {
            let ip = (*raw).data.cast::<iphdr>().read_unaligned();
            let length = usize::from((*raw).data.read() & 0xf) * 4;
            let ports = (*raw).data.add(length).cast::<udphdr>().read_unaligned();
            let addresses = ip.__bindgen_anon_1.__bindgen_anon_1.as_ref();
            Quoted {
                back: Lookup {
                    net: self.net_of_device(),
                    skb: None,
                    doff: 0,
                    saddr: addresses.daddr,
                    sport: ports.dest,
                    dport: ports.source,
                    dif: (*(*self.device_place()).cast::<bindings::net_device>()).ifindex,
                    sdif: bindings::vserver_inline_inet_sdif(raw),
                },
                source: Ip::V4(u32::from_be(addresses.saddr)),
                v6: None,
            }
        }
    }

    /// The same of IPv6; the header of UDP is at `offset`.
    pub(crate) fn quoted_v6(&self, offset: c_int) -> Quoted<'_> {
        let raw = self.as_ptr();
        // SAFETY: As above.
        unsafe {
            let ip = (*raw).data.cast::<ipv6hdr>().read_unaligned();
            let at = (*raw).data.add(offset as usize);
            let ports = at.cast::<udphdr>().read_unaligned();
            let addresses = ip.__bindgen_anon_1.__bindgen_anon_1.as_ref();
            let (source, dest) = (number(&addresses.saddr), number(&addresses.daddr));
            Quoted {
                back: Lookup {
                    net: self.net_of_device(),
                    skb: None,
                    doff: 0,
                    saddr: 0,
                    sport: ports.dest,
                    dport: ports.source,
                    dif: bindings::vserver_inline_inet6_iif(raw),
                    sdif: bindings::vserver_inline_inet6_sdif(raw),
                },
                source: Ip::of_v6(source),
                v6: Some((source, dest)),
            }
        }
    }
}
