// SPDX-License-Identifier: GPL-2.0

//! Packets for sockets that are bound to "any" in a network (`bind.rs`): they are bound to the network's loopback, so
//! the kernel does not find them by the addresses of the network. Here it is asked a second time, with the loopback, when
//! it has found nobody: for TCP when a connection comes in, for UDP when it is about to report an unreachable port. Who is
//! found the first time pays nothing, and without any network there is no second time.

use crate::{
    attach::hook::hooks,
    bindings::{
        inet6_skb_parm, inet_skb_parm, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, ICMP_DEST_UNREACH,
        ICMP_PORT_UNREACH,
    },
    context::{
        addresses::{find_loopback, is_in_use},
        network::Network,
    },
    linux::{In6Addr, Lookup, Net, Quoted, SkBuff, Sock, Udp},
    policy::address::{places_of_any, Ip},
};
use kernel::{
    ffi::{c_int, c_ushort},
    sync::rcu,
};

/// What is looked for a second time.
struct Query<'a> {
    lookup: Lookup<'a>,
    is_udp: bool,
    /// Where the packet goes to.
    address: Ip,
}

/// Whether a socket is bound to "any" of a network that has an address.
fn takes(sk: &Sock, address: Ip, guard: &rcu::Guard) -> bool {
    // Without one it is being released.
    let Some(set) = sk.network_of_any::<Network>(guard).and_then(Network::set) else {
        return false;
    };
    match address {
        Ip::V6(_) => !sk.is_any_of_v4() && set.has(address),
        // That is ::1.
        Ip::V4(_) if set.is_own_v6(address) => sk.is_v6() && !sk.is_any_of_v4(),
        Ip::V4(_) => !sk.is_any_of_v6() && (set.is_own_v4(address) || set.has(address)),
    }
}

/// `place`: where sockets of "any" of a network are bound.
fn look_at<'a>(query: &Query<'a>, place: u32, guard: &'a rcu::Guard) -> Option<&'a Sock> {
    let lookup = &query.lookup;
    let place = place.to_be();
    let found = if !query.is_udp {
        lookup.listener(place, guard)
    } else if lookup.net.has_udp4(place, lookup.dport, guard) {
        lookup.udp4(place, guard)
    } else {
        None
    };
    found.filter(|sk| sk.rcv_saddr() == place && takes(sk, query.address, guard))
}

fn look_in<'a>(query: &Query<'a>, loopback: u16, guard: &'a rcu::Guard) -> Option<&'a Sock> {
    let (place_v4, place_v6) = places_of_any(loopback);
    let of_v4 = match query.address {
        Ip::V4(_) => look_at(query, place_v4, guard),
        Ip::V6(_) => None,
    };
    of_v4.or_else(|| look_at(query, place_v6, guard))
}

/// Who takes what nobody is bound to.
fn look_again<'a>(query: &Query<'a>, guard: &'a rcu::Guard) -> Option<&'a Sock> {
    match query.address.loopback() {
        Some(loopback) => look_in(query, loopback, guard),
        None => find_loopback(
            query.lookup.net.number(),
            query.address,
            guard,
            |loopback| look_in(query, loopback, guard),
        ),
    }
}

/// The same for TCP, and a caller that is under RCU.
#[cold]
fn listener(lookup: Lookup<'_>, address: Ip) -> Option<&'static Sock> {
    let query = Query {
        lookup,
        is_udp: false,
        address,
    };
    look_again(&query, &rcu::read_lock()).map(Sock::handed_on)
}

/// Whether a socket was found that has no business with an address, which is in network byte order: one of the host, of
/// any address, for a network's own loopback.
#[inline(always)]
fn is_foreign(sk: &Sock, daddr: u32) -> bool {
    Ip::V4(u32::from_be(daddr))
        .loopback()
        .is_some_and(|loopback| sk.rcv_saddr() == 0 && is_in_use(loopback))
}

/// Gives a packet that nobody took to a socket, the way that it came.
#[cold]
fn pass_on(skb: &SkBuff, unclaimed: Option<(Lookup<'_>, Ip)>, kind: Udp) -> bool {
    let Some((lookup, address)) = unclaimed else {
        return false;
    };
    let query = Query {
        lookup,
        is_udp: true,
        address,
    };
    let guard = rcu::read_lock();
    let is_given = look_again(&query, &guard).is_some_and(|sk| skb.give_copy(sk, kind, &guard));
    if is_given {
        lookup.net.uncount_no_port(matches!(kind, Udp::V6));
    }
    is_given
}

/// Where the sender of a datagram is bound that an ICMP error is about, if that is a socket of "any", which the kernel does not
/// find by the source of the datagram. An IPv4 address in network byte order.
#[cold]
pub(crate) fn place_of_sender(quoted: &Quoted<'_>) -> Option<u32> {
    let guard = rcu::read_lock();
    if quoted.is_found(&guard) {
        return None;
    }
    let query = Query {
        lookup: quoted.back,
        is_udp: true,
        address: quoted.source(),
    };
    look_again(&query, &guard).map(Sock::rcv_saddr)
}

/// Whether what is sent by UDP to a network's loopback would come to a socket of the host; the address and the port are in
/// network byte order. (The reception of UDP is not asked about that: everybody would pay for it.)
pub(crate) fn leads_out(sk: &Sock, dest: u32, port: u16) -> bool {
    // Nobody has the port of any address: so it is nearly always.
    if !sk.net().may_have_udp4(0, port) {
        return false;
    }
    let guard = rcu::read_lock();
    sk.to_lo(port)
        .udp4(dest, &guard)
        .is_some_and(|other| is_foreign(other, dest))
}

hooks! {
    /// In softirq, or for a program of BPF.
    wrap_atomic(original) fn __inet_lookup_listener(
        net: &Net, skb: Option<&SkBuff>, doff: c_int, saddr: u32, sport: u16, daddr: u32, hnum: c_ushort, dif: c_int,
        sdif: c_int,
    ) -> Option<&'static Sock> {
        match original() {
            Some(sk) if !is_foreign(sk, daddr) => Some(sk),
            None if !Network::any() => None,
            _ => {
                let lookup = Lookup { net, skb, doff, saddr, sport, dport: hnum.to_be(), dif, sdif };
                listener(lookup, Ip::V4(u32::from_be(daddr)))
            }
        }
    }

    /// Sockets of one port that share it are told apart by the ports alone.
    wrap_atomic(original) fn inet6_lookup_listener(
        net: &Net, _skb: Option<&SkBuff>, doff: c_int, _saddr: &In6Addr, sport: u16, daddr: &In6Addr, hnum: c_ushort,
        dif: c_int, sdif: c_int,
    ) -> Option<&'static Sock> {
        match original() {
            None if Network::any() => {
                let lookup = Lookup { net, skb: None, doff, saddr: 0, sport, dport: hnum.to_be(), dif, sdif };
                listener(lookup, daddr.ip())
            }
            found => found,
        }
    }

    wrap_atomic(original) fn __icmp_send(
        skb: &SkBuff, kind: c_int, code: c_int, _info: u32, _parm: *const inet_skb_parm,
    ) {
        let is_unclaimed = kind as u32 == ICMP_DEST_UNREACH && code as u32 == ICMP_PORT_UNREACH;
        if !(is_unclaimed && Network::any() && pass_on(skb, skb.unclaimed_v4(), Udp::V4)) {
            original();
        }
    }

    /// TCP has no unreachable ports; of the extension headers none leads here from UDP's.
    wrap_atomic(original) fn icmp6_send(
        skb: &SkBuff, kind: u8, code: u8, _info: u32, _force_saddr: Option<&In6Addr>, _parm: *const inet6_skb_parm,
    ) {
        let is_unclaimed = u32::from(kind) == ICMPV6_DEST_UNREACH && u32::from(code) == ICMPV6_PORT_UNREACH;
        if !(is_unclaimed && Network::any() && pass_on(skb, skb.unclaimed_v6(), Udp::V6)) {
            original();
        }
    }
}
