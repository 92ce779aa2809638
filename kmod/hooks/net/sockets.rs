// SPDX-License-Identifier: GPL-2.0

//! Which sockets get operations of ours: only those made in a context or by a process with addresses of its own, so
//! that all others are as fast as ever. No policy about addresses here.
//!
//! A socket has a network from before its operations are ours until its inode goes: see `linux/socket_ops.rs`.

use super::network::OfNetwork;
use super::{bind, events, multicast, ops::OfNetworks, owner, prepare, unix};
use crate::{
    attach::hook::hooks,
    bindings::{
        sock_type_SOCK_DGRAM, sock_type_SOCK_RAW, AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC,
        IPPROTO_SCTP, NETLINK_SOCK_DIAG, PF_ALG, PF_INET, PF_INET6, PF_NETLINK, PF_PACKET, PF_UNIX,
    },
    context::{
        membership::{has_no_network, with_own_network},
        network::Network,
    },
    linux::{self, File, Inode, KernelName, OpenFile, Sock, SockAddr, Socket, SocketOps},
    uapi::CONTEXT_ROOT,
};
use kernel::{
    ffi::{c_int, c_uint},
    prelude::*,
};

linux::global_mutex! {
    static ULP: () = (); init init_ulp
}

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    init_ulp();
    linux::init_socket_ops();
    owner::init();
    unix::init();
    multicast::init();
}

fn confines(network: &Network, sock: &Sock) -> bool {
    network.confines(sock.namespace())
}

/// Puts a socket that is not bound to anything under a network. One that comes from another network goes on holding
/// that, as somebody may be in its operations.
fn adopt(sock: &Socket, sk: &Sock, family: u32, network: &Network) -> Result {
    if !matches!(
        family,
        PF_UNIX | PF_PACKET | PF_NETLINK | PF_INET | PF_INET6
    ) {
        return Ok(());
    }
    let place = owner::Place::new()?;
    let confined = confines(network, sk);
    let before = sock.record();
    let ops = SocketOps::get::<OfNetworks>(network, sock.original(), confined)?;
    if !sock.put_under(ops, before)? {
        return Ok(());
    }
    owner::note(sock, place);
    if confined && matches!(family, PF_INET | PF_INET6) {
        // On failure the caller lets the socket go.
        if let Some(sock) = sock.as_network_socket() {
            prepare::prepare(sock, before.is_some_and(SocketOps::is_confined))?;
        }
    }
    Ok(())
}

/// Whether a socket can still be put under a network: nothing of it is the host's yet.
fn is_free(sock: &Socket, sk: &Sock) -> bool {
    match sk.family() {
        // A stream that is connected or listens has no use for names any more.
        AF_UNIX => sock.kind() == sock_type_SOCK_DGRAM || sock.is_unconnected() && sk.is_closed(),
        AF_INET | AF_INET6 => sk.is_unbound(),
        _ => false,
    }
}

fn is_of(sock: &Socket, network: &Network) -> bool {
    sock.record()
        .is_some_and(|record| core::ptr::eq(record.network(), network))
}

fn adopt_file(file: &File, network: &Network) -> Result {
    let Some(sock) = Socket::of_file(file) else {
        return Ok(());
    };
    match sock.sock() {
        Some(sk) if !is_of(sock, network) && is_free(sock, sk) => {
            adopt(sock, sk, sk.family(), network)
        }
        _ => Ok(()),
    }
}

/// Puts the caller's open sockets under its network, as far as they are not bound yet, and notes which terminals it has
/// been given. On an error only some sockets are.
pub(crate) fn adopt_files() -> Result {
    with_own_network(|network| {
        let Some(network) = network else {
            return Ok(());
        };
        let (mut descriptor, mut result) = (0, Ok(()));
        while let Some(file) = OpenFile::at_or_after(&mut descriptor) {
            result = adopt_file(&file, network).and(result);
            crate::hooks::tty::pty::borrow(&file);
            descriptor += 1;
        }
        result
    })
}

/// A socket that the caller has just made.
fn made(sock: &Socket, family: u32) -> Result {
    let Some(sk) = sock.sock() else {
        return Ok(());
    };
    with_own_network(|network| {
        let Some(network) = network else {
            // The host does not see the sockets of others either.
            if family != PF_NETLINK || sk.protocol() != NETLINK_SOCK_DIAG || !Network::any() {
                return Ok(());
            }
            return adopt(sock, sk, family, &*Network::of_host()?);
        };
        if family == PF_NETLINK
            && network.context() != CONTEXT_ROOT
            && !events::is_for_contexts(sk.protocol())
        {
            return Err(EPROTONOSUPPORT);
        }
        if confines(network, sk) {
            match family {
                PF_UNIX | PF_INET | PF_INET6 | PF_NETLINK | PF_ALG => (),
                // Sends what it likes, from whom it likes.
                PF_PACKET => return Err(EPERM),
                // Others have addresses that these rules know nothing of.
                _ => return Err(EAFNOSUPPORT),
            }
        }
        adopt(sock, sk, family, network)
    })
}

/// A socket that the kernel makes: in the name of the caller when that peels off an association.
fn made_by_kernel(sock: &Socket, protocol: c_int) -> Result {
    if protocol as c_uint != IPPROTO_SCTP {
        return Ok(());
    }
    let Some(ops) = linux::peeled_from() else {
        return Ok(());
    };
    if ops.is_confined() {
        sock.set_custom_options();
    }
    owner::inherit(ops, sock)
}

/// The caller binds or connects a socket that may be another's: made before it was confined, or passed to it. It keeps
/// what it has; it gets nothing new but from the caller's network.
#[inline(always)]
fn touched(sock: &Socket, connects: bool) -> Result {
    if has_no_network() {
        return Ok(());
    }
    touched_by_network(sock, connects)
}

#[cold]
fn touched_by_network(sock: &Socket, connects: bool) -> Result {
    with_own_network(|network| {
        let (Some(network), Some(sk)) = (network, sock.sock()) else {
            return Ok(());
        };
        if is_of(sock, network) {
            return Ok(());
        }
        if is_free(sock, sk) {
            return adopt(sock, sk, sk.family(), network);
        }
        if !matches!(sk.family(), AF_INET | AF_INET6) || !confines(network, sk) {
            return Ok(());
        }
        // One that has a port already: the kernel's own answer.
        if !connects && sk.has_port() && sk.kind() != sock_type_SOCK_RAW {
            return Ok(());
        }
        Err(EPERM)
    })
}

#[cold]
fn released(sock: &Socket) {
    if let Some(sk) = sock.sock() {
        bind::forget(sk);
    }
}

#[cold]
fn gone(inode: &Inode) {
    owner::forget(inode.number());
    linux::give_up_record(inode);
}

/// An upper layer protocol of TCP for a socket of a network. TLS takes the operations of the socket that comes first for
/// the base of all its own, so one of the kernel's comes first. Others replace more than the operations: they are not
/// known inside.
fn set_ulp(sk: &Sock, name: &KernelName, original: impl FnOnce() -> c_int) -> Result<c_int> {
    if !name.is(c"tls") {
        return Err(ENOENT);
    }
    // It gets no other.
    if sk.has_ulp() {
        return Ok(original());
    }
    let _guard = ULP.lock();
    linux::build_tables_of_ulp(sk, c"tls")?;
    Ok(original())
}

hooks! {
    wrap(original) fn security_socket_post_create(
        sock: &Socket, family: c_int, _kind: c_int, protocol: c_int, kern: c_int,
    ) -> c_int {
        let error = original();
        if error != 0 {
            error
        } else if kern == 0 {
            errno(made(sock, family as c_uint))
        } else {
            errno(made_by_kernel(sock, protocol))
        }
    }

    mediate_anyone fn security_socket_bind(sock: &Socket, _address: &SockAddr, _length: c_int) -> c_int {
        touched(sock, false)
    }

    /// To give up a peer is no way anywhere.
    mediate_anyone fn security_socket_connect(sock: &Socket, address: &SockAddr, length: c_int) -> c_int {
        if address.family(length) == Some(AF_UNSPEC) {
            Ok(())
        } else {
            touched(sock, true)
        }
    }

    /// A descriptor comes from elsewhere: by SCM_RIGHTS, or by pidfd_getfd().
    wrap(original) fn security_file_receive(file: &File) -> c_int {
        let error = match original() {
            0 => errno(with_own_network(|network| network.map_or(Ok(()), |network| adopt_file(file, network)))),
            error => error,
        };
        if error == 0 {
            crate::hooks::tty::pty::borrow(file);
        }
        error
    }

    /// Every operation that releases a socket of IPv4 or IPv6 ends here, whatever has become of the socket's operations.
    mediate_anyone fn inet_release(sock: &Socket) -> c_int {
        if sock.record().is_some() {
            released(sock);
        }
        Ok(())
    }

    mediate_anyone fn sock_evict_inode(inode: &Inode) {
        if inode.private() != 0 {
            gone(inode);
        }
        Ok(())
    }

    /// Called with the sock locked. The tables are the kernel's for all who come by here with a protocol of their own.
    wrap(original) fn tcp_set_ulp(sk: &Sock, name: &KernelName) -> c_int {
        match sk.socket() {
            Some(sock) if sock.record().is_some() => set_ulp(sk, name, original).unwrap_or_else(|error| error.to_errno()),
            _ if sk.has_own_protocol() => original(),
            _ => {
                let _guard = ULP.lock();
                original()
            }
        }
    }
}

fn errno(result: Result) -> c_int {
    result.map_or_else(|error| error.to_errno(), |()| 0)
}
