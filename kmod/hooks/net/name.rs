// SPDX-License-Identifier: GPL-2.0

//! The addresses that programs see of IPv4 and IPv6 sockets in a network: those inside.

use super::decisions::{mapped, LOCALHOST};
use super::network::OfNetwork;
use crate::{
    bindings::{AF_INET, AF_INET6},
    linux::NetworkSocket,
};

/// The offset of the address in a `struct sockaddr_in`, and in a `struct sockaddr_in6`.
const V4: usize = 4;
const V6: usize = 8;

/// Translates an address outside to the one inside, in place.
#[inline(always)]
pub(crate) fn inward(sock: NetworkSocket<'_>, address: &mut [u8]) {
    let Some(family) = address.first_chunk() else {
        return;
    };
    match u16::from_ne_bytes(*family).into() {
        AF_INET => {
            if let Some(v4) = address.get_mut(V4..).and_then(<[u8]>::first_chunk_mut) {
                let outside = u32::from_ne_bytes(*v4);
                let inside = if outside == sock.localhost() {
                    LOCALHOST
                } else {
                    sock.network().inward_v4(outside)
                };
                *v4 = inside.to_ne_bytes();
            }
        }
        AF_INET6 => {
            if let Some(v6) = address.get_mut(V6..).and_then(<[u8]>::first_chunk_mut) {
                *v6 = sock.network().inward_v6(*v6);
            }
        }
        _ => (),
    }
}

/// Replaces an address by "any".
fn show_any(address: &mut [u8], is_v4only: bool) {
    let Some(family) = address.first_chunk() else {
        return;
    };
    if u32::from(u16::from_ne_bytes(*family)) == AF_INET {
        if let Some(v4) = address.get_mut(V4..V4 + 4) {
            v4.fill(0);
        }
    } else if let Some(v6) = address.get_mut(V6..V6 + 16) {
        let any = if is_v4only { mapped(0) } else { [0; 16] };
        v6.copy_from_slice(&any);
    }
}

/// Translates the result of getsockname(2) or getpeername(2), in place.
pub(crate) fn translate(sock: NetworkSocket<'_>, address: &mut [u8], of_peer: bool) {
    let sk = sock.sock();
    let is_any = sock.socket().is_of_any()
        && sock.network().is_on_loopback(sk.bound_v4())
        && !sk.is_connected();
    // One that has lost its port keeps a source, which is none of the program's business.
    let is_unbound = sk.has_ports() && sk.is_unbound();
    if !of_peer && (is_any || is_unbound) {
        show_any(address, sk.is_v4only());
    } else {
        inward(sock, address);
    }
}
