// SPDX-License-Identifier: GPL-2.0

//! Messages of netlink, and who reads them.

use super::network::OfNetwork;
use crate::{
    bindings::{
        nlattr, nlmsgerr, nlmsghdr, NETLINK_SOCK_DIAG, NLA_TYPE_MASK, NLMSG_ERROR, NLM_F_CAPPED,
        NLM_F_MULTI,
    },
    context::network::Network,
    linux::{Net, Socket, SocketOps},
};
use core::{mem::offset_of, ops::Range};
use kernel::prelude::*;

/// The length of the head of a message.
const HEAD: usize = size_of::<nlmsghdr>();
const ATTRIBUTE: usize = size_of::<nlattr>();

/// Messages and attributes begin at multiples of four bytes.
pub(super) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A number in the host's byte order.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// As [`u16_at`].
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// One message, from its head to its end.
pub(super) struct Message<'a>(&'a mut [u8]);

impl<'a> Message<'a> {
    /// These bytes, as long as the head says.
    pub(super) fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    fn head(&self, at: usize) -> u16 {
        u16_at(self.0, at).unwrap_or(0)
    }

    pub(super) fn kind(&self) -> u32 {
        self.head(offset_of!(nlmsghdr, nlmsg_type)).into()
    }

    pub(super) fn is_one_of_many(&self) -> bool {
        u32::from(self.head(offset_of!(nlmsghdr, nlmsg_flags))) & NLM_F_MULTI != 0
    }

    /// By what the one whom it is for is addressed. News are addressed to nobody.
    pub(super) fn port(&self) -> Option<u32> {
        u32_at(self.0, offset_of!(nlmsghdr, nlmsg_pid))
    }

    /// What is behind the head.
    pub(super) fn body(&self) -> &[u8] {
        &self.0[HEAD..]
    }

    pub(super) fn body_mut(&mut self) -> &mut [u8] {
        &mut self.0[HEAD..]
    }

    /// Where an attribute is in the body, behind the structure of `fixed` bytes that begins it.
    fn find(&self, fixed: usize, kind: u32) -> Option<Range<usize>> {
        let body = self.body();
        let mut at = aligned(fixed);
        if body.len() < fixed {
            return None;
        }
        loop {
            let length = usize::from(u16_at(body, at + offset_of!(nlattr, nla_len))?);
            let found = u16_at(body, at + offset_of!(nlattr, nla_type))? & NLA_TYPE_MASK as u16;
            if length < ATTRIBUTE || length > body.len() - at {
                return None;
            }
            if u32::from(found) == kind {
                return Some(at + ATTRIBUTE..at + length);
            }
            at += aligned(length);
        }
    }

    pub(super) fn attribute(&self, fixed: usize, kind: u32) -> Option<&[u8]> {
        Some(&self.body()[self.find(fixed, kind)?])
    }

    pub(super) fn attribute_mut(&mut self, fixed: usize, kind: u32) -> Option<&mut [u8]> {
        let place = self.find(fixed, kind)?;
        Some(&mut self.body_mut()[place])
    }

    /// What takes its place when it is the answer to a question about a single thing: `ENODEV`.
    pub(super) fn not_there(&self) -> [u8; NOT_THERE] {
        let mut answer = [0; NOT_THERE];
        let head = &self.0[..HEAD];
        answer[..HEAD].copy_from_slice(head);
        let mut put = |at: usize, bytes: &[u8]| answer[at..at + bytes.len()].copy_from_slice(bytes);
        put(
            offset_of!(nlmsghdr, nlmsg_len),
            &(NOT_THERE as u32).to_ne_bytes(),
        );
        put(
            offset_of!(nlmsghdr, nlmsg_type),
            &(NLMSG_ERROR as u16).to_ne_bytes(),
        );
        put(
            offset_of!(nlmsghdr, nlmsg_flags),
            &(NLM_F_CAPPED as u16).to_ne_bytes(),
        );
        put(
            HEAD + offset_of!(nlmsgerr, error),
            &ENODEV.to_errno().to_ne_bytes(),
        );
        put(HEAD + offset_of!(nlmsgerr, msg), head);
        answer
    }
}

/// A multiple of four, so that the next message can be behind it.
pub(super) const NOT_THERE: usize = HEAD + size_of::<nlmsgerr>();

/// The length of the message at the beginning of some.
pub(super) fn length_of_first(messages: &[u8]) -> Option<usize> {
    let length = u32_at(messages, offset_of!(nlmsghdr, nlmsg_len))? as usize;
    (messages.len() >= HEAD && (HEAD..=messages.len()).contains(&length)).then_some(length)
}

/// Has `check` look at each of some messages, until one is refused.
pub(super) fn each_message(
    messages: &mut [u8],
    mut check: impl FnMut(&Message<'_>) -> Result,
) -> Result {
    let mut rest = messages;
    while let Some(length) = length_of_first(rest) {
        let size = aligned(length).min(rest.len());
        let (first, others) = rest.split_at_mut(size);
        check(&Message(&mut first[..length]))?;
        rest = others;
    }
    Ok(())
}

/// Who is told.
pub(crate) struct Reader<'a> {
    pub(super) network: &'a Network,
    pub(super) net: &'a Net,
    pub(super) protocol: u32,
}

impl<'a> Reader<'a> {
    pub(super) fn of(socket: &'a Socket, ops: &'a SocketOps) -> Option<Self> {
        let sk = socket.sock()?;
        Some(Self {
            network: ops.network(),
            net: sk.net(),
            protocol: sk.protocol(),
        })
    }

    pub(super) fn is_diag(&self) -> bool {
        self.protocol == NETLINK_SOCK_DIAG
    }

    pub(super) fn is_confined(&self) -> bool {
        self.network.confines(self.net.number())
    }
}
