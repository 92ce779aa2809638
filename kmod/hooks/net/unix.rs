// SPDX-License-Identifier: GPL-2.0

//! Unix sockets of contexts. Abstract names belong to a context: outside, such a name begins with
//! the context's tag, which is random and secret. So the names of two contexts never collide, and
//! no name can be guessed.
//!
//! The tag is followed by the number of zero bytes at the end of the name, then by the name without
//! them. If the name is too long for that, the tag is followed by 0xff and the hash of the name.

use super::network::OfNetwork;
use crate::{
    bindings::AF_UNIX,
    context::network::Network,
    linux::{
        cond_resched, global_mutex, random, AbstractAddress, Address, NetworkSocket, SipHash,
        SocketMessage, WrittenAddress, PATH, PATH_AT,
    },
};
use kernel::{ffi::c_int, prelude::*, sync::SetOnce};

const TAG: usize = size_of::<u64>();
/// Bytes of the path before the name: the zero of every abstract name, the tag, the count.
const BEFORE: usize = 1 + TAG + 1;
const HASHED: u8 = 0xff;

static HASHES: SetOnce<[SipHash; 2]> = SetOnce::new();

global_mutex! {
    static MAKING_HASHES: () = (); init init_making_hashes
}

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    init_making_hashes();
}

/// The two halves of the hash of a name. The first call makes the keys. May sleep.
fn hash(name: &[u8]) -> [u64; 2] {
    loop {
        if let Some(hashes) = HASHES.as_ref() {
            return [hashes[0].of(name), hashes[1].of(name)];
        }
        let _making = MAKING_HASHES.lock();
        HASHES.populate([SipHash::random(), SipHash::random()]);
    }
}

/// The abstract name in an address, without its leading zero.
fn abstract_name(address: Address<'_>) -> Option<&[u8]> {
    let path = address.bytes().get(PATH_AT..)?;
    let (zero, name) = path.split_first()?;
    (path.len() <= PATH && address.family() == Some(AF_UNIX) && *zero == 0).then_some(name)
}

/// Translates a name inside to the address outside.
fn outward(network: &Network, name: &[u8]) -> AbstractAddress {
    let mut outside = AbstractAddress::new();
    outside.push(&network.tag().to_ne_bytes());
    let stripped = name
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    if stripped <= PATH - BEFORE {
        outside.push(&[(name.len() - stripped) as u8]);
        outside.push(&name[..stripped]);
    } else {
        outside.push(&[HASHED]);
        for half in hash(name) {
            outside.push(&half.to_ne_bytes());
        }
    }
    outside
}

/// Translates the path of an abstract name outside to the one inside, in place, and returns its new
/// length. A name of another context is of no use here: it becomes the empty path.
fn path_inward(network: &Network, path: &mut [u8; PATH], length: usize) -> usize {
    let count = match length.checked_sub(BEFORE) {
        Some(count) if path[1..1 + TAG] == network.tag().to_ne_bytes() => count,
        _ => return 0,
    };
    let zeros = usize::from(path[1 + TAG]);
    path.copy_within(BEFORE..BEFORE + count, 1);
    let zeros = if zeros == usize::from(HASHED) || count + zeros > PATH - 1 {
        0
    } else {
        zeros
    };
    path[1 + count..][..zeros].fill(0);
    1 + count + zeros
}

/// Translates an address that the kernel has written to the one inside, in place, if it is an abstract name.
pub(crate) fn inward(network: &Network, address: &mut WrittenAddress<'_>) {
    if abstract_name(address.address()).is_some() {
        address.change_path(|path, length| path_inward(network, path, length));
    }
}

/// Five hexadecimal digits.
fn digits(number: u32) -> [u8; 5] {
    core::array::from_fn(|place| b"0123456789abcdef"[(number >> (16 - 4 * place) & 0xf) as usize])
}

/// Does what the kernel does for an address without a name: chooses a free name, here among those
/// of the context.
fn autobind(sock: NetworkSocket<'_>) -> c_int {
    if sock.sock().has_unix_name() {
        return 0;
    }
    let first = random();
    let mut error = ENOSPC.to_errno();
    for tries in 0..=0xf_ffff {
        let name = digits(first.wrapping_add(tries));
        error = sock.bind(outward(sock.network(), &name).address());
        if error != EADDRINUSE.to_errno() {
            break;
        }
        cond_resched();
    }
    // Another thread has bound the socket meanwhile.
    if error == EINVAL.to_errno() && sock.sock().has_unix_name() {
        0
    } else {
        error
    }
}

/// bind(2).
pub(crate) fn bind(sock: NetworkSocket<'_>, address: Address<'_>) -> c_int {
    if address.bytes().len() == PATH_AT && address.family() == Some(AF_UNIX) {
        return autobind(sock);
    }
    match abstract_name(address) {
        Some(name) => sock.bind(outward(sock.network(), name).address()),
        None => sock.bind(address),
    }
}

/// With SO_PASSCRED and similar options, the kernel binds an unbound sender to a name.
fn name_sender(sock: NetworkSocket<'_>) -> c_int {
    let sk = sock.sock();
    if sk.names_sender() && !sk.has_unix_name() {
        autobind(sock)
    } else {
        0
    }
}

/// connect(2).
pub(crate) fn connect(sock: NetworkSocket<'_>, address: Address<'_>, flags: c_int) -> c_int {
    let error = name_sender(sock);
    if error != 0 {
        return error;
    }
    match abstract_name(address) {
        Some(name) => sock.connect(outward(sock.network(), name).address(), flags),
        None => sock.connect(address, flags),
    }
}

/// sendmsg(2), of datagram sockets.
pub(crate) fn sendmsg(sock: NetworkSocket<'_>, message: &SocketMessage, size: usize) -> c_int {
    let error = name_sender(sock);
    if error != 0 {
        return error;
    }
    let Some(name) = message.name().and_then(abstract_name) else {
        return sock.sendmsg(message, size);
    };
    let mut outside = outward(sock.network(), name);
    let changes = message.changes();
    changes.set_name(outside.address());
    sock.sendmsg(message, size)
}

/// recvmsg(2).
pub(crate) fn recvmsg(
    sock: NetworkSocket<'_>,
    message: &SocketMessage,
    size: usize,
    flags: c_int,
) -> c_int {
    let result = sock.recvmsg(message, size, flags);
    if result >= 0 {
        message.with_source_address(|source| inward(sock.network(), source));
    }
    result
}
