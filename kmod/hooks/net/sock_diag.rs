// SPDX-License-Identifier: GPL-2.0

//! What sock_diag tells a context of sockets, and which ones it ends: see `netlink.rs`.

use super::unix;
use super::{
    netlink_message::{each_message, u32_at, Message, Reader},
    owner,
};
use crate::{
    bindings::{
        inet_diag_msg, inet_diag_req_v2, netlink_diag_msg, packet_diag_msg, unix_diag_msg, AF_INET,
        AF_INET6, AF_NETLINK, AF_PACKET, AF_UNIX, INET_DIAG_SKV6ONLY, SOCK_DESTROY,
        TCP_ESTABLISHED, UNIX_DIAG_NAME,
    },
    hooks::net::any,
    linux::UnixName,
    policy::address::{Ip, Set},
    uapi::{CONTEXT_ROOT, CONTEXT_SPECTATOR},
};
use core::mem::offset_of;
use kernel::prelude::*;

const INET: usize = size_of::<inet_diag_msg>();
const SOURCE: usize = offset_of!(inet_diag_msg, id.idiag_src);
const DEST: usize = offset_of!(inet_diag_msg, id.idiag_dst);
const REQUESTED: usize = offset_of!(inet_diag_req_v2, id.idiag_src);

/// The first four bytes at a place as an address of IPv4.
fn v4_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Sixteen bytes as an address of IPv6.
fn v6_at(bytes: &[u8], at: usize) -> u128 {
    bytes[at..]
        .first_chunk()
        .map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

fn ip_at(bytes: &[u8], is_v6: bool, at: usize) -> Ip {
    if is_v6 {
        Ip::of_v6(v6_at(bytes, at))
    } else {
        Ip::V4(v4_at(bytes, at))
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn make_inward(set: &Set<'_>, body: &mut [u8], is_v6: bool, at: usize) {
    if is_v6 {
        let inside = set.inward_v6(v6_at(body, at));
        put(body, at, &inside.to_be_bytes());
    } else if let Ip::V4(inside) = set.inward(Ip::V4(v4_at(body, at))) {
        put(body, at, &inside.to_be_bytes());
    }
}

/// One that is bound to "any" is told of as that, as long as it is not connected.
fn correct_any(set: &Set<'_>, message: &mut Message<'_>, inode: u32, is_v6: bool) {
    let body = message.body_mut();
    let Some(how) = any::how(inode.into()) else {
        return;
    };
    let place = Ip::V4(v4_at(body, if is_v6 { SOURCE + 12 } else { SOURCE }));
    let is_connected = u32::from(body[offset_of!(inet_diag_msg, idiag_state)]) == TCP_ESTABLISHED;
    if place.loopback() != Some(set.loopback) || is_connected {
        return;
    }
    if !is_v6 {
        put(body, SOURCE, &[0; 4]);
        return;
    }
    let any = if how.only_v4 { Ip::V4(0) } else { Ip::V6(0) };
    put(body, SOURCE, &any.mapped().to_be_bytes());
    if let Some([only]) = message.attribute_mut(INET, INET_DIAG_SKV6ONLY) {
        *only = how.only_v6.into();
    }
}

fn sees_inet(reader: &Reader<'_>, message: &mut Message<'_>, is_v6: bool) -> bool {
    let body = message.body();
    if body.len() < INET {
        return false;
    }
    let inode = u32_at(body, offset_of!(inet_diag_msg, idiag_inode)).unwrap_or(0);
    let local = ip_at(body, is_v6, SOURCE);
    if !owner::is_seen(Some(reader.network), reader.net, inode.into(), Some(local)) {
        return false;
    }
    if let Some(set) = reader.network.set().filter(|_| reader.is_confined()) {
        correct_any(&set, message, inode, is_v6);
        make_inward(&set, message.body_mut(), is_v6, SOURCE);
        make_inward(&set, message.body_mut(), is_v6, DEST);
    }
    true
}

/// Of a message with a structure of `fixed` bytes, which has the number of an inode at `at`.
fn sees_inode(reader: &Reader<'_>, body: &[u8], fixed: usize, at: usize) -> bool {
    body.len() >= fixed
        && u32_at(body, at).is_some_and(|inode| {
            owner::is_seen(Some(reader.network), reader.net, inode.into(), None)
        })
}

/// An abstract name as the context has it; as long as before, so that nothing has to move, with zeroes behind it.
fn correct_name(reader: &Reader<'_>, message: &mut Message<'_>) {
    // Outside of contexts names are what they are.
    if reader.network.context() == CONTEXT_ROOT {
        return;
    }
    let attribute = message.attribute_mut(size_of::<unix_diag_msg>(), UNIX_DIAG_NAME);
    if let Some(path) = attribute.filter(|path| path.first() == Some(&0)) {
        if let Some(name) = UnixName::new(path) {
            let name = name.change(|name| unix::inward(reader.network, name));
            path.fill(0);
            path.iter_mut()
                .zip(name.path())
                .for_each(|(to, from)| *to = *from);
        }
    }
}

/// Whether a socket may be told of. What is told is corrected.
pub(super) fn is_seen(reader: &Reader<'_>, message: &mut Message<'_>) -> bool {
    let body = message.body();
    let Some(family) = body.first() else {
        return false;
    };
    match u32::from(*family) {
        AF_INET => sees_inet(reader, message, false),
        AF_INET6 => sees_inet(reader, message, true),
        AF_UNIX => {
            let is_seen = sees_inode(
                reader,
                body,
                size_of::<unix_diag_msg>(),
                offset_of!(unix_diag_msg, udiag_ino),
            );
            if is_seen {
                correct_name(reader, message);
            }
            is_seen
        }
        AF_NETLINK => sees_inode(
            reader,
            body,
            size_of::<netlink_diag_msg>(),
            offset_of!(netlink_diag_msg, ndiag_ino),
        ),
        AF_PACKET => sees_inode(
            reader,
            body,
            size_of::<packet_diag_msg>(),
            offset_of!(packet_diag_msg, pdiag_ino),
        ),
        // Of other kinds nobody knows whose they are.
        _ => reader.network.context() == CONTEXT_ROOT,
    }
}

/// A context may end connections of its own: those of its addresses. The spectator may end any.
fn check_request(reader: &Reader<'_>, message: &Message<'_>) -> Result {
    let context = reader.network.context();
    if message.kind() != SOCK_DESTROY || context == CONTEXT_SPECTATOR {
        return Ok(());
    }
    let body = message.body();
    if body.len() < size_of::<inet_diag_req_v2>() {
        return Err(EINVAL);
    }
    let family = u32::from(body[offset_of!(inet_diag_req_v2, sdiag_family)]);
    let local = ip_at(body, family != AF_INET, REQUESTED);
    let is_own = if context == CONTEXT_ROOT && !reader.is_confined() {
        !reader.net.is_taken(local)
    } else {
        reader.network.set().is_some_and(|set| set.has(local))
    };
    if is_own {
        Ok(())
    } else {
        Err(EPERM)
    }
}

/// Whether what is asked for may be done.
pub(super) fn check(reader: &Reader<'_>, messages: &mut [u8]) -> Result {
    each_message(messages, |message| check_request(reader, message))
}
