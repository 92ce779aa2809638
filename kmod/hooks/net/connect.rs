// SPDX-License-Identifier: GPL-2.0

//! Connecting and disconnecting IPv4 and IPv6 sockets of processes with addresses of their own.

use super::network::OfNetwork;
use super::{
    bind::{
        bind_any, bind_source, leave_any, move_stream, place_of_any, preset_source, release_source,
        trust_source, with_source_kept,
    },
    decisions::{mapped, Be32, In6},
    multicast,
    route::{check_way, find_way, has_source, is_bound, set_source},
};
use crate::{
    bindings::{sock_type_SOCK_DGRAM, sock_type_SOCK_STREAM, AF_UNSPEC, IPPROTO_UDP},
    linux::{Address, ExclusiveSocket, LockedSock, NetworkSocket},
};
use kernel::{error::to_result, ffi::c_int, prelude::*};

/// To be called when a datagram socket bound to "any" has got a peer: from then on packets find it by
/// its source address only.
fn settle(sock: &ExclusiveSocket<'_>, v4: Be32, v6: In6) {
    let locked = sock.sock().lock();
    if sock.sock().is_connected() {
        locked.put_source(v4, v6);
        locked.put_bound(v4, v6);
        locked.rehash();
    }
}

/// To be called when a datagram socket has lost its port: it is as new, and has a source, as another thread may be sending.
fn lose_address(sock: NetworkSocket<'_>, locked: &LockedSock<'_>) {
    locked.keep_address(false);
    locked.put_bound(0, [0; 16]);
    preset_source(locked, sock.network());
}

/// To be called when one of "any" has lost the peer: back to "any", or if its port is lost, too, to nothing.
fn unsettle(sock: &ExclusiveSocket<'_>) {
    let (sk, socket, network) = (sock.sock(), sock.socket(), sock.network());
    let locked = sk.lock();
    if !sk.has_port() {
        // The program has not chosen the port, so that the kernel took it back with the peer.
        leave_any(**sock, &locked);
        lose_address(**sock, &locked);
    } else {
        let place = place_of_any(sk, network);
        locked.put_bound(place, mapped(place));
        preset_source(&locked, network);
        locked.rehash();
    }
    drop(locked);
    // It got what is sent to its groups by its port.
    if !socket.is_of_any() {
        multicast::leave_all(sk);
    }
}

/// Disconnects a datagram socket. Its address goes, unless the program has bound it, but never its source: another thread may be
/// sending.
fn disconnect_datagrams(sock: &ExclusiveSocket<'_>, given: Address<'_>, flags: c_int) -> Result {
    let sk = sock.sock();
    let keeps = {
        let locked = sk.lock();
        let keeps = locked.keeps_address();
        locked.keep_address(true);
        keeps
    };
    let result = to_result(sock.connect(given, flags));
    if sock.socket().is_of_any() {
        if result.is_ok() {
            unsettle(sock);
        }
        return result;
    }
    let locked = sk.lock();
    if !keeps {
        locked.keep_address(false);
        if result.is_ok() && !sk.has_port() {
            lose_address(**sock, &locked);
        }
    }
    result
}

fn disconnect(sock: &ExclusiveSocket<'_>, given: Address<'_>, flags: c_int) -> Result {
    if sock.sock().kind() == sock_type_SOCK_DGRAM {
        disconnect_datagrams(sock, given, flags)?;
    } else {
        to_result(sock.connect(given, flags))?;
    }
    trust_source(**sock, sock.sock().source_v4());
    Ok(())
}

/// connect(2).
pub(crate) fn connect(sock: NetworkSocket<'_>, given: Address<'_>, flags: c_int) -> Result {
    let (sk, socket) = (sock.sock(), sock.socket());
    let is_stream = sk.kind() == sock_type_SOCK_STREAM;
    let exclusive = sock.exclusively()?;
    if given.family().is_none_or(|family| family == AF_UNSPEC) {
        return disconnect(&exclusive, given, flags);
    }
    // Connecting or connected: the kernel answers.
    if is_stream && (!socket.is_unconnected() || !sk.is_closed()) {
        return to_result(with_source_kept(sock, || sock.connect(given, flags))?);
    }
    let Some(mut way) = find_way(sock, given.bytes())? else {
        // Before the kernel looks at the address, it binds a socket of datagrams.
        if !is_stream && sk.has_ports() && sk.is_unbound() {
            bind_any(&exclusive, 0, false)?;
        }
        return to_result(sock.connect(given, flags));
    };
    check_way(sock, &way)?;
    // A pending message would get addresses from the route to the new peer.
    if sk.kind() == sock_type_SOCK_DGRAM && sk.protocol() == IPPROTO_UDP && sk.has_pending_message()
    {
        return Err(EINVAL);
    }

    let source6 = if sk.is_v6() { sk.source_v6() } else { [0; 16] };
    let before = (sk.source_v4(), source6);
    let mut is_released = true;
    if socket.is_of_any() {
        if is_stream {
            move_stream(sock, &way.source)?;
        } else {
            set_source(sk, &way);
        }
    } else if is_bound(sock) {
        if !has_source(sock, &way) {
            set_source(sk, &way);
        }
    } else if is_stream && sk.has_port() {
        // It has kept the port of a failed attempt.
        move_stream(sock, &way.source)?;
    } else if let Err(error) = bind_source(sock, &mut way) {
        // Neither bound nor connected. Sockets that are not found by their port may have one already;
        // for them, the source is enough.
        if sk.has_ports() {
            return Err(error);
        }
        set_source(sk, &way);
    } else {
        is_released = false;
    }
    let length = way.length();
    let result = to_result(sock.connect(way.dest.address(length), flags));
    if !is_released {
        let failed = result.is_err_and(|error| error != EINPROGRESS);
        release_source(sock, is_stream && failed);
    }
    if !is_stream && socket.is_of_any() {
        if result.is_ok() {
            settle(&exclusive, way.source4, way.source6);
        } else if sk.is_connected() {
            // It keeps its peer.
            settle(&exclusive, before.0, before.1);
        } else {
            unsettle(&exclusive);
        }
    }
    // The kernel may have reset the source.
    if result.is_err_and(|error| error != EINPROGRESS) {
        trust_source(sock, sk.source_v4());
    }
    result
}
