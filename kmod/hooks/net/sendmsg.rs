// SPDX-License-Identifier: GPL-2.0

//! Messages of IPv4 and IPv6 sockets of processes that are confined to addresses: the source of
//! outgoing messages, and the addresses that incoming messages show.

use super::network::OfNetwork;
use super::{
    bind,
    decisions::{Be32, In6, LOCALHOST},
    device::check_index,
    route::{check_way, find_way, has_source, Way},
};
use super::{lookup, name};
use crate::{
    bindings::{
        in_addr, sock_extended_err, IPPROTO_UDP, IPV6_2292PKTINFO, IPV6_2292RTHDR,
        IPV6_ORIGDSTADDR, IPV6_PKTINFO, IPV6_RECVERR, IPV6_RTHDR, IP_ORIGDSTADDR, IP_PKTINFO,
        IP_RECVERR, IP_RETOPTS, MSG_CMSG_COMPAT, MSG_FASTOPEN, SOL_IP, SOL_IPV6,
    },
    linux::{ControlHead, InetSocketAddress, NetworkSocket, SocketMessage, PKTINFO_V4, PKTINFO_V6},
};
use kernel::{
    ffi::{c_int, c_uint},
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// The offset of the index of a device in an IP_PKTINFO message.
const INDEX_V4: usize = ControlHead::LENGTH;
/// The offset of the source, behind that.
const SOURCE_V4: usize = INDEX_V4 + 4;
/// The offset of the other address there: the one that a datagram was sent to.
const DEST_V4: usize = SOURCE_V4 + 4;
/// The offset of the only address in an IPV6_PKTINFO message.
const SOURCE_V6: usize = ControlHead::LENGTH;
/// The offset of the index of a device, behind that.
const INDEX_V6: usize = SOURCE_V6 + 16;

/// The address at an offset of a control message.
fn read<const LENGTH: usize>(message: &[u8], at: usize) -> [u8; LENGTH] {
    *message[at..].first_chunk().unwrap_or(&[0; LENGTH])
}

/// Translates the source that one control message chooses, in place; returns whether it chooses
/// one. To the kernel, zero means the source of the route, which here is `source`. `v4`: the packet
/// is IPv4. Of the messages for IPv6, such a packet obeys only IPV6_PKTINFO, and only on an IPv6
/// socket.
fn check_control_message(
    sock: NetworkSocket<'_>,
    head: ControlHead,
    message: &mut [u8],
    v4: bool,
    source: Be32,
) -> Result<bool> {
    let network = sock.network();
    match (head.level, head.kind) {
        (SOL_IP, IP_PKTINFO) => {
            if head.length != ControlHead::length_of(PKTINFO_V4) {
                return Err(EINVAL);
            }
            let chosen = match Be32::from_ne_bytes(read(message, SOURCE_V4)) {
                0 => source,
                chosen => network.source_v4(chosen)?,
            };
            check_index(sock, c_int::from_ne_bytes(read(message, INDEX_V4)))?;
            message[SOURCE_V4..][..4].copy_from_slice(&chosen.to_ne_bytes());
            Ok(v4)
        }
        (SOL_IPV6, IPV6_PKTINFO | IPV6_2292PKTINFO) => {
            if head.length < ControlHead::length_of(PKTINFO_V6) {
                return Err(EINVAL);
            }
            check_index(sock, c_int::from_ne_bytes(read(message, INDEX_V6)))?;
            let chosen: In6 = read(message, SOURCE_V6);
            if chosen == [0; 16] {
                return Ok(false);
            }
            message[SOURCE_V6..][..16].copy_from_slice(&network.source_v6(chosen)?);
            Ok(!v4 || (sock.sock().is_v6() && head.kind == IPV6_PKTINFO))
        }
        (SOL_IP, IP_RETOPTS) | (SOL_IPV6, IPV6_RTHDR | IPV6_2292RTHDR) => Err(EPERM),
        _ => Ok(false),
    }
}

/// Does that for all control messages. `EPERM`: the network does not have the source.
fn check_control(
    sock: NetworkSocket<'_>,
    control: &mut [u8],
    v4: bool,
    source: Be32,
) -> Result<bool> {
    let (mut rest, mut chosen) = (control, false);
    while let Some(head) = rest.first_chunk() {
        let head = ControlHead::of_bytes(head);
        if !head.is_whole(rest.len()) {
            return Err(EINVAL);
        }
        let all = core::mem::take(&mut rest);
        chosen |= check_control_message(sock, head, &mut all[..head.length], v4, source)?;
        rest = all.get_mut(head.space()..).unwrap_or_default();
    }
    Ok(chosen)
}

/// The space of the longest control message that names a source.
const ROOM: usize = ControlHead::space_of(PKTINFO_V6);

/// A buffer for that, aligned as control messages are.
#[repr(align(8))]
struct Room([u8; ROOM]);

impl Room {
    /// A control message that names the source of a way, and its length.
    fn naming(way: &Way) -> (Self, usize) {
        let mut room = Self([0; ROOM]);
        let (size, level, kind) = if way.is_v4() {
            room.0[SOURCE_V4..][..4].copy_from_slice(&way.source4.to_ne_bytes());
            (PKTINFO_V4, SOL_IP, IP_PKTINFO)
        } else {
            room.0[SOURCE_V6..][..16].copy_from_slice(&way.source6);
            (PKTINFO_V6, SOL_IPV6, IPV6_PKTINFO)
        };
        let head = ControlHead {
            length: ControlHead::length_of(size),
            level,
            kind,
        };
        room.0[..ControlHead::LENGTH].copy_from_slice(&head.bytes());
        (room, ControlHead::space_of(size))
    }
}

/// Whether the source of a way is the socket's source anyway.
fn sends_from(sock: NetworkSocket<'_>, way: &Way) -> bool {
    let sk = sock.sock();
    if way.is_v4() {
        return sk.source_v4() == way.source4;
    }
    sk.is_v6() && sk.source_v6() == way.source6
}

/// Copies the program's control messages, because they are changed and the caller may send the
/// message again. In front of them is room for one more.
fn copy_of_control(message: &SocketMessage) -> Result<Option<KVec<u8>>> {
    let Some(control) = message.control() else {
        return Ok(None);
    };
    let mut copy = KVec::with_capacity(ROOM + control.len(), GFP_KERNEL)?;
    copy.extend_from_slice(&[0; ROOM], GFP_KERNEL)?;
    copy.extend_from_slice(control, GFP_KERNEL)?;
    Ok(Some(copy))
}

#[inline(never)]
fn send_datagram(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> Result<c_int> {
    let mut way = match message.name() {
        Some(name) => find_way(sock, name.bytes())?,
        None => None,
    };
    if let Some(way) = &way {
        check_way(sock, way)?;
    }
    let mut room = Room([0; ROOM]);
    let mut copy = copy_of_control(message)?;
    let mut chosen = false;
    if let Some(copy) = &mut copy {
        let (v4, source) = match &way {
            Some(way) if !has_source(sock, way) => (way.is_v4(), way.source4),
            Some(way) => (way.is_v4(), sock.sock().source_v4()),
            None => (false, sock.sock().source_v4()),
        };
        chosen = check_control(sock, &mut copy[ROOM..], v4, source)?;
    }
    if sock.sock().has_ports() && sock.sock().is_unbound() {
        match bind::bind_any(&sock.exclusively()?, 0, false) {
            Err(error) if error != EINVAL => return Err(error),
            _ => (),
        }
    }
    let changes = message.changes();
    let names_source = way
        .as_ref()
        .is_some_and(|way| !chosen && !has_source(sock, way) && !sends_from(sock, way));
    let mut used = 0;
    if let (true, Some(way)) = (names_source, &way) {
        (room, used) = Room::naming(way);
    }
    match &mut copy {
        Some(copy) => {
            // Directly in front of the program's messages.
            let start = ROOM - used;
            copy[start..ROOM].copy_from_slice(&room.0[..used]);
            changes.set_control(&mut copy[start..]);
        }
        None if names_source => changes.set_control(&mut room.0[..used]),
        None => (),
    }
    if let Some(way) = &mut way {
        let length = way.length();
        changes.set_name(way.dest.address(length));
    }
    Ok(sock.sendmsg(message, size))
}

/// Whether an IPv4 socket that is bound to the loopback of its network sends to 127.0.0.1, without
/// control messages.
#[inline(always)]
fn stays_on_loopback(sock: NetworkSocket<'_>, message: &SocketMessage) -> bool {
    sock.has_operations_v4()
        && message.control_length() == 0
        && message
            .name_v4()
            .is_some_and(|dest| dest.sin_addr.s_addr == LOCALHOST)
        && sock.is_own_loopback(sock.sock().bound_v4())
        && !sock.socket().is_of_any()
}

/// The fast path for that: there is nothing to choose.
#[inline(never)]
fn send_on_loopback(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> c_int {
    let Some(dest) = message.name_v4() else {
        return EINVAL.to_errno();
    };
    let sk = sock.sock();
    let localhost = sock.localhost();
    if sk.protocol() == IPPROTO_UDP && lookup::leads_out(sk, localhost, dest.sin_port) {
        return ECONNREFUSED.to_errno();
    }
    message.set_name_v4(in_addr { s_addr: localhost });
    let error = sock.sendmsg(message, size);
    // The caller may send the message again.
    message.set_name_v4(dest.sin_addr);
    error
}

/// sendmsg(2) of sockets that are no streams.
#[inline(always)]
pub(crate) fn send(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> c_int {
    // Without a port the kernel would bind it, to all addresses of the host.
    if !message.has_name() && message.control_length() == 0 && sock.sock().has_port() {
        return sock.sendmsg(message, size);
    }
    if stays_on_loopback(sock, message) {
        return send_on_loopback(sock, message, size);
    }
    send_datagram(sock, message, size).unwrap_or_else(Error::to_errno)
}

#[inline(never)]
fn send_fast_open(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> Result<c_int> {
    let name = message
        .name()
        .filter(|_| sock.socket().is_unconnected() && sock.sock().is_closed());
    let Some(name) = name else {
        return bind::with_source_kept(sock, || sock.sendmsg(message, size));
    };
    let Some(mut way) = find_way(sock, name.bytes())? else {
        return Ok(sock.sendmsg(message, size));
    };
    check_way(sock, &way)?;
    let binds = sock.sock().is_unbound();
    if binds {
        bind::bind_source(sock, &mut way)?;
    } else if sock.socket().is_of_any() {
        bind::move_stream(sock, &way.source)?;
    }
    let changes = message.changes();
    let length = way.length();
    changes.set_name(way.dest.address(length));
    let sent = sock.sendmsg(message, size);
    if binds {
        bind::release_source(sock, sent < 0 && sent != EINPROGRESS.to_errno());
    }
    Ok(sent)
}

/// sendmsg(2) of streams. Only with TCP Fast Open does a message bind and connect a stream.
#[inline(always)]
pub(crate) fn send_stream(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> c_int {
    if message.flags() & MSG_FASTOPEN == 0 {
        return sock.sendmsg(message, size);
    }
    send_fast_open(sock, message, size).unwrap_or_else(Error::to_errno)
}

/// The offset of the socket address in a control message that has one.
fn address_in(head: ControlHead) -> Option<usize> {
    let at = match (head.level, head.kind) {
        (SOL_IP, IP_ORIGDSTADDR) | (SOL_IPV6, IPV6_ORIGDSTADDR) => ControlHead::LENGTH,
        // The address of the node that reported an error.
        (SOL_IP, IP_RECVERR) | (SOL_IPV6, IPV6_RECVERR) => {
            ControlHead::length_of(size_of::<sock_extended_err>())
        }
        _ => return None,
    };
    (at < head.length).then_some(at)
}

/// Changes the first `length` of some bytes in user memory.
fn change<const LENGTH: usize>(
    at: usize,
    length: usize,
    by: impl FnOnce(&mut [u8; LENGTH]),
) -> Result {
    let mut bytes = [0; LENGTH];
    let place = |length| UserSlice::new(UserPtr::from_addr(at), length);
    place(length).reader().read_slice(&mut bytes[..length])?;
    by(&mut bytes);
    place(length).writer().write_slice(&bytes[..length])
}

fn translate_pktinfo_v4(sock: NetworkSocket<'_>, info: &mut [u8; PKTINFO_V4]) {
    const SOURCE: usize = SOURCE_V4 - ControlHead::LENGTH;
    const DEST: usize = DEST_V4 - ControlHead::LENGTH;
    let network = sock.network();
    let inward = |at| network.inward_v4(Be32::from_ne_bytes(read(info, at)));
    let (mut source, dest) = (inward(SOURCE), inward(DEST));
    // For a datagram to a group, the kernel names the host's source on the route to the sender.
    if source != 0 && network.source_v4(source).is_err() {
        source = network.choose_v4(dest, 0);
    }
    info[SOURCE..][..4].copy_from_slice(&source.to_ne_bytes());
    info[DEST..][..4].copy_from_slice(&dest.to_ne_bytes());
}

fn translate_pktinfo_v6(sock: NetworkSocket<'_>, info: &mut [u8; PKTINFO_V6]) {
    let address = sock.network().inward_v6(read(info, 0));
    info[..16].copy_from_slice(&address);
}

/// Translates the addresses in control messages that the kernel has just written to user memory.
fn translate_control(sock: NetworkSocket<'_>, start: usize, length: usize) -> Result {
    let mut at = 0;
    while at + ControlHead::LENGTH <= length {
        let message = start.wrapping_add(at);
        let mut head = [0; ControlHead::LENGTH];
        UserSlice::new(UserPtr::from_addr(message), head.len())
            .reader()
            .read_slice(&mut head)?;
        let head = ControlHead::of_bytes(&head);
        if !head.is_whole(length - at) {
            return Ok(());
        }
        let data = message.wrapping_add(ControlHead::LENGTH);
        let has = |size| head.length >= ControlHead::length_of(size);
        match (head.level, head.kind) {
            (SOL_IP, IP_PKTINFO) if has(PKTINFO_V4) => {
                change(data, PKTINFO_V4, |info| translate_pktinfo_v4(sock, info))?;
            }
            (SOL_IPV6, IPV6_PKTINFO | IPV6_2292PKTINFO) if has(PKTINFO_V6) => {
                change(data, PKTINFO_V6, |info| translate_pktinfo_v6(sock, info))?;
            }
            _ => {
                if let Some(place) = address_in(head) {
                    let size = (head.length - place).min(InetSocketAddress::LENGTH_V6);
                    change(message.wrapping_add(place), size, |bytes| {
                        let mut address = InetSocketAddress::copy_of(bytes);
                        name::inward(sock, address.bytes_mut());
                        *bytes = *address.bytes();
                    })?;
                }
            }
        }
        at += head.space();
    }
    Ok(())
}

/// Translates the source of a message.
#[inline(always)]
fn translate_name(sock: NetworkSocket<'_>, message: &SocketMessage) {
    if message.name_length() >= InetSocketAddress::LENGTH_V4 as c_int {
        message.with_source(|source| name::inward(sock, source));
    }
}

/// Whether a message is received for a program of 32 bits.
#[allow(clippy::bad_bit_mask)] // The bit is zero in a kernel without such programs.
fn is_compat(flags: c_int) -> bool {
    flags as c_uint & MSG_CMSG_COMPAT != 0
}

#[inline(never)]
fn receive_control(
    sock: NetworkSocket<'_>,
    message: &SocketMessage,
    size: usize,
    flags: c_int,
) -> c_int {
    let (control, length) = (message.control_place(), message.control_length());
    let result = sock.recvmsg(message, size, flags);
    if result < 0 {
        return result;
    }
    if message.has_name() {
        translate_name(sock, message);
    }
    let left = message.control_length();
    if message.control_is_user() && !is_compat(flags) && length > left {
        // Control messages that cannot be read again stay as they are.
        let _ = translate_control(sock, control, length - left);
    }
    result
}

#[inline(never)]
fn receive_name(
    sock: NetworkSocket<'_>,
    message: &SocketMessage,
    size: usize,
    flags: c_int,
) -> c_int {
    let result = sock.recvmsg(message, size, flags);
    if result >= 0 {
        translate_name(sock, message);
    }
    result
}

/// recvmsg(2) of sockets that are no streams of TCP.
#[inline(always)]
pub(crate) fn receive(
    sock: NetworkSocket<'_>,
    message: &SocketMessage,
    size: usize,
    flags: c_int,
) -> c_int {
    if message.control_length() != 0 {
        return receive_control(sock, message, size, flags);
    }
    if !message.has_name() {
        return sock.recvmsg(message, size, flags);
    }
    receive_name(sock, message, size, flags)
}
