// SPDX-License-Identifier: GPL-2.0

//! What the sockets of networks do in the place of the kernel's operations: a table for each family and kind.

use super::{
    bind, connect, events, name, netlink, network::OfNetwork, owner, sctp, sendmsg, sockopt, unix,
};
use crate::{
    bindings::{PF_INET, PF_INET6, PF_NETLINK, PF_UNIX},
    context::network::Network,
    linux::{
        NetlinkOperations, NetworkSocket, Operations, OptionValue, Sock, Socket, SocketOperations,
        SocketOps, Table, WrittenAddress,
    },
};
use kernel::{ffi::c_int, prelude::*, sync::aref::ARef};

/// Sockets of networks.
pub(crate) struct OfNetworks;

impl SocketOperations for OfNetworks {
    type Network = Network;

    fn of_host() -> Result<ARef<Network>> {
        Network::of_host()
    }

    fn fill(table: &mut Table<'_>) {
        table.accept::<Self>();
        match table.family() {
            PF_INET | PF_INET6 if !table.is_confined => table.options::<Free>(),
            PF_INET | PF_INET6 if table.is_of_sctp() => {
                table.bind::<Self, _>(sctp::bind);
                table.connect::<Self, _>(sctp::connect);
                table.associations::<Sctp, _, _>(sctp::send, sendmsg::receive);
            }
            PF_INET | PF_INET6 => {
                table.bind::<Self, _>(|sock, address| errno(bind::bind(sock, address)));
                table.connect::<Self, _>(|sock, address, flags| {
                    errno(connect::connect(sock, address, flags))
                });
                if table.listens() {
                    table.streams::<Inet, _>(sendmsg::send_stream);
                } else {
                    table.datagrams::<Inet, _, _>(sendmsg::send, sendmsg::receive);
                }
            }
            PF_UNIX if table.is_of_context => {
                table.bind::<Self, _>(unix::bind);
                table.connect::<Self, _>(unix::connect);
                table.unix::<Unix, _, _>(unix::sendmsg, unix::recvmsg);
            }
            PF_NETLINK => table.netlink::<Netlink>(),
            _ => (),
        }
    }

    fn inherit(ops: ARef<SocketOps>, child: &Socket) -> Result {
        owner::inherit(ops, child)
    }

    fn forget(sock: &Sock) {
        bind::forget(sock);
    }
}

fn errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// Sockets of IPv4 and IPv6 that are not confined to addresses.
struct Free;

impl Operations for Free {
    type Of = OfNetworks;
}

/// Sockets of IPv4 and IPv6 that are.
struct Inet;

impl Operations for Inet {
    type Of = OfNetworks;

    fn listen(sock: NetworkSocket<'_>, backlog: c_int) -> c_int {
        errno(bind::listen(sock, backlog))
    }

    fn name(sock: NetworkSocket<'_>, name: &mut WrittenAddress<'_>, is_peer: bool) {
        name::translate(sock, name.bytes_mut(), is_peer);
    }

    fn setsockopt(
        sock: NetworkSocket<'_>,
        level: c_int,
        name: c_int,
        value: &OptionValue<'_>,
    ) -> Result<c_int> {
        sockopt::set(sock, level, name, value)
    }

    fn getsockopt(sock: NetworkSocket<'_>, level: c_int, name: c_int) -> Result<Option<c_int>> {
        Ok(sockopt::get(sock, level, name))
    }
}

/// SCTP.
struct Sctp;

impl Operations for Sctp {
    type Of = OfNetworks;

    fn listen(sock: NetworkSocket<'_>, backlog: c_int) -> c_int {
        sctp::listen(sock, backlog)
    }

    fn name(sock: NetworkSocket<'_>, name: &mut WrittenAddress<'_>, is_peer: bool) {
        name::translate(sock, name.bytes_mut(), is_peer);
    }

    fn setsockopt(
        sock: NetworkSocket<'_>,
        level: c_int,
        name: c_int,
        value: &OptionValue<'_>,
    ) -> Result<c_int> {
        sctp::set(sock, level, name, value)
    }

    fn getsockopt(sock: NetworkSocket<'_>, level: c_int, name: c_int) -> Result<Option<c_int>> {
        if sctp::lacks(level, name) {
            Err(ENOPROTOOPT)
        } else {
            Ok(sockopt::get(sock, level, name))
        }
    }
}

/// Unix sockets of contexts.
struct Unix;

impl Operations for Unix {
    type Of = OfNetworks;

    fn name(sock: NetworkSocket<'_>, name: &mut WrittenAddress<'_>, _is_peer: bool) {
        unix::inward(sock.network(), name);
    }
}

/// Sockets of netlink.
struct Netlink;

impl NetlinkOperations for Netlink {
    type Of = OfNetworks;
    type Reader<'a> = netlink::Reader<'a>;

    fn is_deaf(sock: &Sock) -> bool {
        events::is_deaf(sock)
    }
}
