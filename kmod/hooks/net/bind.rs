// SPDX-License-Identifier: GPL-2.0

//! Binding IPv4 and IPv6 sockets of processes with addresses of their own: the network decides what
//! an address becomes, and the kernel's operations are called with the result.
//!
//! A socket bound to "any" is bound to the loopback address of its network instead, where it does not
//! conflict with other sockets, and marked: packets to the network's addresses find it by
//! `lookup.rs`. IPv6 sockets are bound to an IPv4 loopback address mapped into IPv6, as IPv6 has
//! only one loopback address. For that they have to take IPv4, so the module keeps IPV6_V6ONLY
//! itself.

use super::network::OfNetwork;
use super::{
    decisions::{mapped, unmapped, v4, v6, Be32},
    multicast,
    route::Way,
};
use crate::{
    bindings::{
        sock_type_SOCK_DGRAM, sock_type_SOCK_RAW, sock_type_SOCK_STREAM, AF_INET, AF_INET6,
        AF_UNSPEC,
    },
    context::network::Network,
    hooks::net::any,
    linux::{Address, ExclusiveSocket, InetSocketAddress, LockedSock, NetworkSocket, Sock},
    policy::address::Bind,
};
use kernel::{error::to_result, ffi::c_int, prelude::*};

/// To be called whenever a socket gets a source. With each route, the kernel checks whether the
/// source is the host's. For an address of 127.0.0.0/8 that no device has, as those of a network's
/// loopback, this takes a second search for a route. IP_TRANSPARENT turns the check off. It is set
/// for these sources only, and hidden from the program (`sockopt.rs`).
pub(super) fn trust_source(sock: NetworkSocket<'_>, source: Be32) {
    sock.sock().set_transparent(sock.is_own_loopback(source));
}

/// Sets the source of all messages that do not choose one. In a network of several addresses each message chooses one; the
/// source is one of them nevertheless, and never none: for that the kernel would take the host's, in a call that another thread
/// overtakes.
pub(super) fn preset_source(sk: &LockedSock<'_>, network: &Network) {
    sk.put_source(network.choose_v4(0, 0), network.choose_v6([0; 16], [0; 16]));
}

/// The address that a socket is bound to in place of "any".
pub(super) fn place_of_any(sk: &Sock, network: &Network) -> Be32 {
    network.place_of_any(sk.is_v6() && !sk.is_v4only())
}

/// Marks a socket that is about to be bound to the loopback of its network in place of "any".
fn mark_any(sock: NetworkSocket<'_>, only_v4: bool) -> Result {
    let sk = sock.sock();
    let only_v6 = sk.is_v6() && sock.socket().is_v6only();
    let locked = sk.lock();
    if !sk.is_closed() || sk.has_port() {
        return Err(EINVAL);
    }
    if !sk.is_of_any() {
        any::add(sk.inode_number(), only_v4, only_v6)?;
        locked.mark_any(only_v4, only_v6);
    }
    Ok(())
}

fn unmark(sk: &LockedSock<'_>) {
    any::remove(sk.sock().inode_number());
    sk.unmark_any();
}

/// A socket is bound to "any" no more.
pub(super) fn leave_any(sock: NetworkSocket<'_>, sk: &LockedSock<'_>) {
    unmark(sk);
    sock.socket().set_of_any(false);
}

/// Packets to the addresses of its network find the socket no more. Sleeps.
pub(crate) fn forget(sk: &Sock) {
    multicast::leave_all(sk);
    if sk.is_of_any() {
        unmark(&sk.lock());
    }
}

/// Binds to "any" in the sense of the network: to its loopback, found by its addresses. With the mark,
/// `hooks/net/ports.rs` decides whether another socket has the port.
pub(crate) fn bind_any(sock: &ExclusiveSocket<'_>, port: u16, only_v4: bool) -> Result {
    mark_any(**sock, only_v4)?;
    let (sk, network) = (sock.sock(), sock.network());
    let place = place_of_any(sk, network);
    let (mut address, length) = if sk.is_v6() {
        let address = InetSocketAddress::of_v6(mapped(place));
        (address, InetSocketAddress::LENGTH_V6)
    } else {
        let address = InetSocketAddress::of_v4(place);
        (address, InetSocketAddress::LENGTH_V4)
    };
    address.set_port(port);
    let result = to_result(sock.bind(address.address(length)));
    let locked = sk.lock();
    if result.is_err() {
        // Unless it is a stream that another thread has bound meanwhile.
        if !sk.has_port() {
            unmark(&locked);
        }
    } else if sk.is_of_any() {
        sk.set_transparent(false);
        if sk.kind() == sock_type_SOCK_DGRAM {
            preset_source(&locked, network);
        }
        sock.socket().set_of_any(true);
    }
    drop(locked);
    result?;
    multicast::update(sock)
}

/// The address to bind to, its length, and the decision of the network. `None`: the kernel reports
/// what is wrong with the address.
fn decide(
    sock: NetworkSocket<'_>,
    given: Address<'_>,
) -> Result<Option<(InetSocketAddress, usize, Bind)>> {
    let (sk, network, bytes) = (sock.sock(), sock.network(), given.bytes());
    if sk.is_v6() {
        if bytes.len() < InetSocketAddress::SHORTEST_V6 || given.family() != Some(AF_INET6) {
            return Ok(None);
        }
        let mut address = InetSocketAddress::copy_of(bytes);
        let how = network.bind_v6(address.v6(), sock.socket().is_v6only())?;
        if let Bind::Exact(ip) = how {
            address.set_v6(v6(ip));
        }
        let length = bytes.len().min(InetSocketAddress::LENGTH_V6);
        return Ok(Some((address, length, how)));
    }
    let length = InetSocketAddress::LENGTH_V4;
    let Some(bytes) = bytes.get(..length) else {
        return Ok(None);
    };
    let mut address = InetSocketAddress::copy_of(bytes);
    match address.family() {
        AF_INET => (),
        AF_UNSPEC if address.v4() == 0 => (),
        AF_UNSPEC => return Err(EAFNOSUPPORT),
        _ => return Ok(None),
    }
    let how = network.bind_v4(address.v4())?;
    if let Bind::Exact(ip) = how {
        address.set_v4(v4(ip));
    }
    Ok(Some((address, length, how)))
}

/// bind(2).
pub(crate) fn bind(sock: NetworkSocket<'_>, given: Address<'_>) -> Result {
    let sk = sock.sock();
    let sock = sock.exclusively()?;
    let Some((mut address, length, how)) = decide(*sock, given)? else {
        return to_result(sock.bind(given));
    };
    // No stream reaches a group, and a stream with a group as its source could come from anywhere.
    if sk.kind() == sock_type_SOCK_STREAM
        && !sk.is_v6()
        && address.v4() != 0
        && !sock.net().is_local_v4(address.v4())
    {
        return Err(EADDRNOTAVAIL);
    }
    if matches!(how, Bind::Any | Bind::AnyV4) {
        if sk.has_ports() {
            return bind_any(&sock, address.port(), how == Bind::AnyV4);
        }
        // The source is chosen with each message, or was chosen when the socket was made.
        if sk.kind() != sock_type_SOCK_RAW {
            return to_result(sock.bind(given));
        }
        return Ok(());
    }
    trust_source(*sock, 0);
    let result = to_result(sock.bind(address.address(length)));
    trust_source(*sock, sk.source_v4());
    result
}

/// Binds without a port, as the kernel does, but without its check that the source is the host's.
fn take_source(sk: &Sock, source: Be32) -> Result {
    let locked = sk.lock();
    if !sk.is_closed() || sk.has_port() {
        return Err(EINVAL);
    }
    locked.bind_v4(source);
    locked.keep_address(true);
    Ok(())
}

/// Binds to the source of a way without a port. A disconnect does not undo it before [`release_source`]: another thread's would
/// take the source away before the kernel has used it.
pub(crate) fn bind_source(sock: NetworkSocket<'_>, way: &mut Way) -> Result {
    let sk = sock.sock();
    trust_source(sock, way.source4);
    if !sk.is_v6() && sock.is_own_loopback(way.source4) {
        return take_source(sk, way.source4);
    }
    let had = sk.binds_without_port();
    sk.set_binds_without_port(true);
    let length = if sk.is_v6() {
        InetSocketAddress::LENGTH_V6
    } else {
        InetSocketAddress::LENGTH_V4
    };
    let result = to_result(sock.bind(way.source.address(length)));
    if !had {
        sk.set_binds_without_port(false);
    }
    // Other protocols keep their addresses elsewhere, too.
    if result.is_ok() && !sk.has_ports() {
        sk.lock().keep_address(false);
    }
    result
}

/// To be called when the kernel has used the source that [`bind_source`] has bound to: from now on a disconnect undoes it. If it
/// `failed`, that is done now.
pub(crate) fn release_source(sock: NetworkSocket<'_>, failed: bool) {
    let sk = sock.sock();
    let locked = sk.lock();
    // Another thread has bound it to a port meanwhile. A socket that has lost its address and not its port would listen at all
    // addresses of the host.
    if sk.has_chosen_port() || sk.is_of_any() {
        return;
    }
    locked.keep_address(false);
    if failed && sk.has_ports() && sk.is_closed() && !sk.has_port() {
        locked.put_source(0, [0; 16]);
        locked.put_bound(0, [0; 16]);
    }
}

/// Calls the kernel for a stream that was connecting or connected a moment ago. Another thread may have disconnected it since: it
/// keeps its address, so that the kernel connects it from there, if it does.
pub(crate) fn with_source_kept(
    sock: NetworkSocket<'_>,
    call: impl FnOnce() -> c_int,
) -> Result<c_int> {
    let sk = sock.sock();
    if !sk.has_ports() {
        return Ok(call());
    }
    let keeps = {
        let locked = sk.lock();
        if sk.bound_v4() == 0 {
            return Err(EINVAL);
        }
        let keeps = locked.keeps_address();
        locked.keep_address(true);
        keeps
    };
    let result = call();
    if !keeps {
        release_source(sock, result < 0 && result != EINPROGRESS.to_errno());
    }
    Ok(result)
}

/// A stream bound to "any" and a port is about to connect: it leaves "any" for good.
pub(crate) fn move_stream(sock: NetworkSocket<'_>, source: &InetSocketAddress) -> Result {
    let sk = sock.sock();
    let locked = sk.lock();
    if !sk.is_closed() {
        return Err(EINVAL);
    }
    let v4 = if source.family() == AF_INET6 {
        unmapped(source.v6())
    } else {
        Some(source.v4())
    };
    match v4 {
        Some(address) => {
            // Of an IPv6 socket, too, the mapped address follows.
            locked.move_to_v4(address)?;
            locked.follow_v4(mapped(address));
        }
        None => locked.move_to_v6(source.v6())?,
    }
    // Until now it had its port at all addresses of the network.
    leave_any(sock, &locked);
    Ok(())
}

/// listen(2).
pub(crate) fn listen(sock: NetworkSocket<'_>, backlog: c_int) -> Result {
    let sk = sock.sock();
    if sk.has_ports() && sk.bound_v4() == 0 {
        // It would listen at all addresses of the host.
        if sk.has_port() {
            return Err(EINVAL);
        }
        bind_any(&sock.exclusively()?, 0, false)?;
    }
    to_result(sock.listen(backlog))
}
