// SPDX-License-Identifier: GPL-2.0

//! IPv4 and IPv6 sockets that are new to a network that confines them: which kinds are refused, and
//! what is set from the start.

use super::network::OfNetwork;
use crate::{
    bindings::{
        sock_type_SOCK_RAW, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP,
    },
    linux::{InetSocketAddress, NetworkSocket},
};
use kernel::{error::to_result, prelude::*};

/// Binds a raw socket to the one address that it receives at and sends from.
fn prepare_raw(sock: NetworkSocket<'_>) -> Result {
    let (sk, network) = (sock.sock(), sock.network());
    // With its own headers, it could send from any address.
    if sk.has_own_headers() {
        return Err(EPERM);
    }
    let (mut address, length) = if sk.is_v6() {
        let source = network.choose_v6([0; 16], [0; 16]);
        if source == [0; 16] {
            return Err(EADDRNOTAVAIL);
        }
        let address = InetSocketAddress::of_v6(source);
        (address, InetSocketAddress::LENGTH_V6)
    } else {
        let source = network.choose_v4(0, 0);
        if source == 0 {
            return Err(EADDRNOTAVAIL);
        }
        let address = InetSocketAddress::of_v4(source);
        (address, InetSocketAddress::LENGTH_V4)
    };
    to_result(sock.bind(address.address(length)))?;
    // It keeps the address when it is disconnected.
    sk.lock().keep_address(true);
    Ok(())
}

/// `was_confined`: the socket comes from another network that confined it.
pub(crate) fn prepare(sock: NetworkSocket<'_>, was_confined: bool) -> Result {
    let sk = sock.sock();
    sock.socket().take_all_options();
    if sk.kind() == sock_type_SOCK_RAW {
        return prepare_raw(sock);
    }
    match sk.protocol() {
        IPPROTO_TCP | IPPROTO_UDP | IPPROTO_ICMP | IPPROTO_ICMPV6 => (),
        // See `sctp.rs`.
        IPPROTO_SCTP if sk.is_v6() => return Err(EAFNOSUPPORT),
        IPPROTO_SCTP if sock.is_sctp() => (),
        // Other protocols may carry addresses in unknown ways.
        _ => return Err(EPROTONOSUPPORT),
    }
    // A socket from such a network has its own IPV6_V6ONLY already.
    if sk.is_v6() && !was_confined {
        let v6only = sk.lock().take_v6only();
        sock.socket().set_v6only(v6only);
    }
    Ok(())
}
