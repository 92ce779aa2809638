// SPDX-License-Identifier: GPL-2.0

//! Source and destination of what a process sends that is confined to addresses.

use super::decisions::{mapped, unmapped, Be32, In6, LOCALHOST};
use super::device::check_index;
use super::lookup;
use super::network::OfNetwork;
use crate::{
    bindings::{AF_INET, AF_INET6, AF_UNSPEC, IPPROTO_UDP},
    context::network::Network,
    linux::{InetSocketAddress, NetworkSocket, Sock},
};
use kernel::{ffi::c_int, prelude::*};

/// LOOPBACK4_IPV6: the kernel notes it as the IPv4 address of a socket that has only an IPv6
/// address.
const LOOPBACK4_IPV6: Be32 = 0x7f00_0006_u32.to_be();

/// The destination and source of a connect() or a message.
pub(crate) struct Way {
    pub(crate) dest: InetSocketAddress,
    /// The length of the destination.
    length: usize,
    pub(crate) source: InetSocketAddress,
    /// The source as an IPv4 address and as an IPv6 address.
    pub(crate) source4: Be32,
    pub(crate) source6: In6,
}

impl Way {
    /// All zeroes.
    pub(crate) const NONE: Self = Self {
        dest: InetSocketAddress::new(),
        length: 0,
        source: InetSocketAddress::new(),
        source4: 0,
        source6: [0; 16],
    };

    /// The length of the destination.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// Whether the packets are IPv4.
    pub(crate) fn is_v4(&self) -> bool {
        unmapped(self.source6).is_some()
    }
}

const NONE: In6 = [0; 16];

/// The last four bytes of an IPv6 address.
fn last_word(address: In6) -> Be32 {
    u32::from_ne_bytes([address[12], address[13], address[14], address[15]])
}

/// The source for an IPv4 destination, if routing decides it.
fn route_v4(sk: &Sock, network: &Network, dest: Be32) -> Result<Be32> {
    let only = network.only_v4();
    if only != 0 {
        return Ok(only);
    }
    // Without a route, the kernel itself returns the error, whatever the source is.
    match network.choose_v4(dest, sk.proposed_v4(dest)) {
        0 => Err(EADDRNOTAVAIL),
        source => Ok(source),
    }
}

/// The same for an IPv6 destination.
fn route_v6(sk: &Sock, network: &Network, dest: In6, scope: u32) -> Result<In6> {
    let only = network.only_v6();
    if only != NONE {
        return Ok(only);
    }
    match network.choose_v6(dest, sk.proposed_v6(dest, scope)) {
        NONE => Err(EADDRNOTAVAIL),
        source => Ok(source),
    }
}

/// Whether an IPv6 address is that of a neighbour or a group at one device, which the scope names.
fn is_of_a_link(address: In6) -> bool {
    let [first, second, ..] = address;
    match first {
        0xfe => second & 0xc0 == 0x80,
        // The lower half is how far the group reaches: the interface, or the link.
        0xff => matches!(second & 0x0f, 1 | 2),
        _ => false,
    }
}

/// Finds the way to the address that a program gives. `None`: the address is malformed, and the
/// kernel will return the error. Sleeps.
pub(crate) fn find_way(sock: NetworkSocket<'_>, name: &[u8]) -> Result<Option<Way>> {
    let (sk, network) = (sock.sock(), sock.network());
    if name.len() < InetSocketAddress::LENGTH_V4 {
        return Ok(None);
    }
    let mut way = Way::NONE;
    way.dest = InetSocketAddress::copy_of(name);
    match way.dest.family() {
        AF_INET6 if sk.is_v6() => {
            if name.len() < InetSocketAddress::SHORTEST_V6 {
                return Ok(None);
            }
            let length = name.len().min(InetSocketAddress::LENGTH_V6);
            way.length = length;
            let mut dest = way.dest.v6();
            way.source6 = network.dest_v6(&mut dest)?;
            way.dest.set_v6(dest);
            if way.source6 != NONE {
                way.source4 = last_word(way.source6);
            } else if let Some(dest) = unmapped(dest) {
                way.source4 = route_v4(sk, network, dest)?;
                way.source6 = mapped(way.source4);
            } else {
                let has_scope = length == InetSocketAddress::LENGTH_V6;
                let scope = if has_scope { way.dest.scope() } else { 0 };
                if is_of_a_link(dest) {
                    check_index(sock, scope as c_int).map_err(|_| ENETUNREACH)?;
                }
                way.source6 = route_v6(sk, network, dest, scope)?;
                way.source.set_scope(way.dest.scope());
            }
        }
        AF_INET | AF_UNSPEC => {
            way.length = InetSocketAddress::LENGTH_V4;
            way.dest = InetSocketAddress::copy_of(&name[..InetSocketAddress::LENGTH_V4]);
            let mut dest = way.dest.v4();
            if dest == LOCALHOST {
                dest = sock.localhost();
                way.source4 = dest;
            } else {
                way.source4 = network.dest_v4(&mut dest)?;
            }
            way.dest.set_v4(dest);
            if way.source4 == 0 {
                way.source4 = route_v4(sk, network, dest)?;
            }
            way.source6 = mapped(way.source4);
        }
        _ => return Ok(None),
    }
    if sk.is_v6() {
        let scope = way.source.scope();
        way.source = InetSocketAddress::of_v6(way.source6);
        way.source.set_scope(scope);
    } else {
        way.source = InetSocketAddress::of_v4(way.source4);
    }
    if !way.is_v4() {
        way.source4 = LOOPBACK4_IPV6;
    }
    Ok(Some(way))
}

/// Whether a socket is bound to an address other than "any".
pub(crate) fn is_bound(sock: NetworkSocket<'_>) -> bool {
    sock.sock().bound_v4() != 0 && !sock.socket().is_of_any()
}

/// Whether a socket has a source because it is bound. One that is bound to a group or a broadcast
/// address has none.
pub(crate) fn has_source(sock: NetworkSocket<'_>, way: &Way) -> bool {
    let sk = sock.sock();
    if !is_bound(sock) {
        return false;
    }
    if way.is_v4() {
        return sk.source_v4() != 0;
    }
    sk.is_v6() && sk.source_v6() != NONE
}

/// Makes the source of a way the source of a socket. Sleeps.
pub(crate) fn set_source(sk: &Sock, way: &Way) {
    sk.set_source(way.source4, way.source6);
}

/// Refuses a way that the socket or the rules do not allow: from the loopback to anything but the
/// network itself, or by UDP to a socket of the host that is bound to all addresses.
pub(crate) fn check_way(sock: NetworkSocket<'_>, way: &Way) -> Result {
    let (sk, network) = (sock.sock(), sock.network());
    let dest = if way.dest.family() == AF_INET6 {
        match unmapped(way.dest.v6()) {
            Some(dest) => dest,
            None => return Ok(()),
        }
    } else {
        way.dest.v4()
    };
    // An IPv6 socket that is bound to an IPv6 address has no IPv4 address. The kernel notes that as
    // 127.0.0.6. It would send from there, and take it for the address that a stream is bound to.
    if sk.is_v6() && is_bound(sock) && sk.bound_v4() == LOOPBACK4_IPV6 {
        return Err(ENETUNREACH);
    }
    let inside = network.is_on_loopback(dest);
    if is_bound(sock) && !inside && !network.has_v4(dest) && network.is_on_loopback(sk.bound_v4()) {
        return Err(EINVAL);
    }
    if inside && sk.protocol() == IPPROTO_UDP && lookup::leads_out(sk, dest, way.dest.port()) {
        return Err(ECONNREFUSED);
    }
    Ok(())
}
