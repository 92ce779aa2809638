// SPDX-License-Identifier: GPL-2.0

//! Netlink as one asks for things: a context sees its own sockets by sock_diag, and by rtnetlink only those links, addresses,
//! routes and neighbours that a network has which confines it, whether asked for or as news. Each message is received into a
//! buffer of the module's, and what is not to be seen is left out of the copy that the program gets. Sockets of others are
//! not concerned.

use super::{
    netlink_message::{aligned, length_of_first, Message, NOT_THERE},
    rtnetlink, sock_diag,
};
use crate::{
    bindings::{NETLINK_ROUTE, NLMSG_MIN_TYPE},
    linux::{NetlinkReader, Socket, SocketOps},
    uapi::CONTEXT_SPECTATOR,
};
use kernel::prelude::*;

pub(crate) use super::netlink_message::Reader;

/// Whether something may be told. Corrects what is told of a socket.
fn sees(reader: &Reader<'_>, message: &mut Message<'_>) -> bool {
    if reader.is_diag() {
        sock_diag::is_seen(reader, message)
    } else {
        rtnetlink::is_seen(reader, message)
    }
}

impl<'a> NetlinkReader<'a> for Reader<'a> {
    fn told(socket: &'a Socket, ops: &'a SocketOps) -> Option<Self> {
        let reader = Self::of(socket, ops)?;
        let is_told_less =
            reader.is_diag() || reader.protocol == NETLINK_ROUTE && reader.is_confined();
        (is_told_less && reader.network.context() != CONTEXT_SPECTATOR).then_some(reader)
    }

    fn asking(socket: &'a Socket, ops: &'a SocketOps) -> Option<Self> {
        Self::of(socket, ops).filter(Self::is_diag)
    }

    fn check(&self, messages: &mut [u8]) -> Result {
        sock_diag::check(self, messages)
    }

    fn strike(&self, port: u32, messages: &mut [u8]) -> usize {
        let (mut from, mut to) = (0, 0);
        while let Some(length) = length_of_first(&messages[from..]) {
            let size = aligned(length).min(messages.len() - from);
            let mut message = Message::new(&mut messages[from..from + length]);
            if message.kind() < NLMSG_MIN_TYPE || sees(self, &mut message) {
                messages.copy_within(from..from + size, to);
                to += size;
            } else if message.port() == Some(port) && !message.is_one_of_many() && size >= NOT_THERE
            {
                let answer = message.not_there();
                messages[to..to + NOT_THERE].copy_from_slice(&answer);
                to += NOT_THERE;
            }
            from += size;
        }
        to
    }
}
