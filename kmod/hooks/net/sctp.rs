// SPDX-License-Identifier: GPL-2.0

//! SCTP of processes that are confined to addresses. An association has several addresses at each
//! end, and announces to its peer those that its socket is bound to. So no socket is ever bound to
//! "any". Instead, it is bound one by one to all addresses of the network that devices have, and to
//! its loopback. An unbound socket is bound to them before it connects, listens or sends. The
//! kernel sends from bound addresses, and finds a socket by them.
//!
//! That is true of IPv4 sockets. An IPv6 socket may have peers of both protocols, whatever it is
//! bound to. If it has no address of the protocol of a peer, it sends from an address of the host.
//! So contexts get no IPv6 sockets of SCTP.

use super::network::OfNetwork;
use super::{
    route::{check_way, find_way, Way},
    sockopt,
};
use crate::{
    bindings::{
        sctp_cmsg_type_SCTP_DSTADDRV4, sctp_cmsg_type_SCTP_DSTADDRV6, sock_type_SOCK_STREAM,
        AF_INET, AF_UNSPEC, IPPROTO_SCTP, SCTP_AUTO_ASCONF, SCTP_SOCKOPT_BINDX_ADD,
        SCTP_SOCKOPT_BINDX_REM, SCTP_SOCKOPT_CONNECTX, SCTP_SOCKOPT_CONNECTX3,
        SCTP_SOCKOPT_CONNECTX_OLD, SOL_SCTP,
    },
    linux::{Address, ControlHead, InetSocketAddress, NetworkSocket, OptionValue, SocketMessage},
    policy::address::{Bind, Ip},
};
use kernel::{
    alloc::{flags::GFP_KERNEL_ACCOUNT, KVVec},
    ffi::c_int,
    prelude::*,
    sync::rcu,
};

const LENGTH: usize = InetSocketAddress::LENGTH_V4;

/// An IPv4 address in a list, where SCTP packs addresses without gaps.
type Listed = [u8; LENGTH];

fn listed(address: &InetSocketAddress) -> Listed {
    *address.bytes().first_chunk().unwrap_or(&[0; LENGTH])
}

/// Calls `tell` for every address of the network that a device of the host has, then for the first
/// one of its loopback.
fn each_address(sock: NetworkSocket<'_>, mut tell: impl FnMut(u32)) {
    let network = sock.network();
    let guard = rcu::read_lock();
    let mut any = false;
    for device in sock.net().devices(&guard) {
        for address in device.addresses(&guard) {
            if network.has_v4(address.local()) {
                any = true;
                tell(address.local());
            }
        }
    }
    if any {
        tell(network.first_of_loopback());
    }
}

/// Binds a socket to all addresses of its network. Sleeps.
fn bind_all(sock: NetworkSocket<'_>, port: u16) -> c_int {
    try_bind_all(sock, port).unwrap_or_else(Error::to_errno)
}

fn try_bind_all(sock: NetworkSocket<'_>, port: u16) -> Result<c_int> {
    let mut count = 0;
    each_address(sock, |_| count += 1);
    if count == 0 {
        return Err(EADDRNOTAVAIL);
    }
    // An address that comes up between the two passes is left out, like one that comes up later.
    let mut list: KVVec<Listed> = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
    each_address(sock, |address| {
        if list.len() < count {
            // There is room.
            let _ = list.push_within_capacity(listed(&InetSocketAddress::of_v4(address)));
        }
    });
    let Some((first, others)) = list.split_first_mut() else {
        return Err(EADDRNOTAVAIL);
    };
    let mut first = InetSocketAddress::copy_of(first);
    first.set_port(port);
    let error = sock.bind(first.address(LENGTH));
    if error != 0 || others.is_empty() {
        return Ok(error);
    }
    let port = sock.sock().port().to_be_bytes();
    for other in others.iter_mut() {
        other[2..4].copy_from_slice(&port);
    }
    let value = OptionValue::of_kernel(others.as_flattened_mut());
    Ok(sock.setsockopt(SOL_SCTP as c_int, SCTP_SOCKOPT_BINDX_ADD as c_int, &value))
}

/// Translates an address that a program binds to, in place. `None`: it is "any". It must be an
/// address of the host: packets have no group or broadcast address as a source, so the kernel would
/// send from another one. Sleeps.
fn check_bound(sock: NetworkSocket<'_>, address: &mut InetSocketAddress) -> Result<Option<()>> {
    match sock.network().bind_v4(address.v4())? {
        Bind::Exact(Ip::V4(outside)) => {
            address.set_v4(outside.to_be());
            if sock.net().is_local_v4(outside.to_be()) {
                Ok(Some(()))
            } else {
                Err(EADDRNOTAVAIL)
            }
        }
        _ => Ok(None),
    }
}

fn try_bind(sock: NetworkSocket<'_>, address: Address<'_>) -> Result<c_int> {
    let bytes = address.bytes();
    if bytes.len() < LENGTH || address.family() != Some(AF_INET) {
        return Err(EINVAL);
    }
    let mut place = InetSocketAddress::copy_of(&bytes[..LENGTH]);
    Ok(match check_bound(sock, &mut place)? {
        Some(()) => sock.bind(place.address(LENGTH)),
        None => bind_all(sock, place.port()),
    })
}

/// bind(2).
pub(crate) fn bind(sock: NetworkSocket<'_>, address: Address<'_>) -> c_int {
    try_bind(sock, address).unwrap_or_else(Error::to_errno)
}

fn bind_if_unbound(sock: NetworkSocket<'_>) -> c_int {
    if sock.sock().is_unbound() {
        bind_all(sock, 0)
    } else {
        0
    }
}

/// The way to an address. Sleeps.
fn check_dest(sock: NetworkSocket<'_>, address: &[u8]) -> Result<Way> {
    let way = find_way(sock, address)?.ok_or(EINVAL)?;
    check_way(sock, &way)?;
    Ok(way)
}

/// Binds an unbound socket that is about to connect. A stream to the loopback of its network is
/// bound to that alone: otherwise the answer would go to an address of a wider scope than its own
/// source, which SCTP does not do.
fn bind_for(sock: NetworkSocket<'_>, way: &Way) -> c_int {
    let dest = way.dest.v4();
    if sock.socket().kind() != sock_type_SOCK_STREAM
        || !sock.sock().is_unbound()
        || !sock.network().is_on_loopback(dest)
    {
        return bind_if_unbound(sock);
    }
    sock.bind(InetSocketAddress::of_v4(dest).address(LENGTH))
}

fn try_connect(sock: NetworkSocket<'_>, address: Address<'_>, flags: c_int) -> Result<c_int> {
    if matches!(address.family(), None | Some(AF_UNSPEC)) {
        return Ok(sock.connect(address, flags));
    }
    let mut way = check_dest(sock, address.bytes())?;
    Ok(match bind_for(sock, &way) {
        0 => {
            let length = way.length();
            sock.connect(way.dest.address(length), flags)
        }
        error => error,
    })
}

/// connect(2).
pub(crate) fn connect(sock: NetworkSocket<'_>, address: Address<'_>, flags: c_int) -> c_int {
    try_connect(sock, address, flags).unwrap_or_else(Error::to_errno)
}

/// listen(2).
pub(crate) fn listen(sock: NetworkSocket<'_>, backlog: c_int) -> c_int {
    match bind_if_unbound(sock) {
        0 => sock.listen(backlog),
        error => error,
    }
}

/// Refuses control messages with further addresses of the peer: sctp_connectx(3) is for these.
fn check_control(message: &SocketMessage) -> Result {
    let mut rest = message.control().unwrap_or_default();
    while let Some(head) = rest.first_chunk() {
        let head = ControlHead::of_bytes(head);
        if !head.is_whole(rest.len()) {
            return Err(EINVAL);
        }
        if head.is(IPPROTO_SCTP, sctp_cmsg_type_SCTP_DSTADDRV4)
            || head.is(IPPROTO_SCTP, sctp_cmsg_type_SCTP_DSTADDRV6)
        {
            return Err(EPERM);
        }
        rest = rest.get(head.space()..).unwrap_or_default();
    }
    Ok(())
}

fn try_send(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> Result<c_int> {
    check_control(message)?;
    let Some(name) = message.name() else {
        return Ok(sock.sendmsg(message, size));
    };
    let mut way = check_dest(sock, name.bytes())?;
    let error = bind_if_unbound(sock);
    if error != 0 {
        return Ok(error);
    }
    let length = way.length();
    let changes = message.changes();
    changes.set_name(way.dest.address(length));
    Ok(sock.sendmsg(message, size))
}

/// sendmsg(2).
pub(crate) fn send(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> c_int {
    try_send(sock, message, size).unwrap_or_else(Error::to_errno)
}

/// Sets an option whose value is a list of own addresses or of addresses of the peer.
fn set_list(sock: NetworkSocket<'_>, name: u32, value: &OptionValue<'_>) -> Result<c_int> {
    let binds = matches!(name, SCTP_SOCKOPT_BINDX_ADD | SCTP_SOCKOPT_BINDX_REM);
    if value.length() == 0 || value.length() > sock.net().most_option_memory() {
        return Err(EINVAL);
    }
    let mut list = value.to_vec()?;
    let mut places = list.chunks_exact_mut(LENGTH);
    for place in &mut places {
        let mut address = InetSocketAddress::copy_of(place);
        if address.family() != AF_INET {
            return Err(EINVAL);
        }
        if binds {
            check_bound(sock, &mut address)?.ok_or(EINVAL)?;
        } else {
            address = check_dest(sock, place)?.dest;
        }
        place.copy_from_slice(&listed(&address));
    }
    if !places.into_remainder().is_empty() {
        return Err(EINVAL);
    }
    if !binds {
        let error = bind_if_unbound(sock);
        if error != 0 {
            return Ok(error);
        }
    }
    Ok(sock.setsockopt(
        SOL_SCTP as c_int,
        name as c_int,
        &OptionValue::of_kernel(&mut list),
    ))
}

/// setsockopt(2); the result of the kernel's function.
pub(crate) fn set(
    sock: NetworkSocket<'_>,
    level: c_int,
    name: c_int,
    value: &OptionValue<'_>,
) -> Result<c_int> {
    match (level as u32, name as u32) {
        (
            SOL_SCTP,
            option @ (SCTP_SOCKOPT_BINDX_ADD
            | SCTP_SOCKOPT_BINDX_REM
            | SCTP_SOCKOPT_CONNECTX_OLD
            | SCTP_SOCKOPT_CONNECTX),
        ) => set_list(sock, option, value),
        // It would add every address that the host gets.
        (SOL_SCTP, SCTP_AUTO_ASCONF) => Err(EPERM),
        _ => sockopt::set(sock, level, name, value),
    }
}

/// Whether getsockopt(2) has no such option here. Programs then use the variant that is set by
/// setsockopt(2).
pub(crate) fn lacks(level: c_int, name: c_int) -> bool {
    (level as u32, name as u32) == (SOL_SCTP, SCTP_SOCKOPT_CONNECTX3)
}
