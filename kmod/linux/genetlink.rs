// SPDX-License-Identifier: GPL-2.0

//! Generic netlink.

use super::{kernel_types, read_once, Net, Sock};
use crate::bindings;
use kernel::ffi::c_int;

kernel_types! {
    /// A packet; here, one of netlink.
    Packet = sk_buff;
    /// The head of a message of netlink, with the message behind it.
    Message = nlmsghdr;
    /// A question to a family, with its attributes.
    Question = genl_info;
    /// A long answer that is under way.
    Dump = netlink_callback;
}

/// The attributes by which a question to the family of families names one. Its policy has checked
/// them.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) number: Option<u16>,
    pub(crate) name: Option<&'a [u8]>,
}

const HEAD: usize = size_of::<bindings::nlattr>();

impl Packet {
    /// The network namespace of the socket that it is for.
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: A packet that netlink hands on has a socket, and that a namespace.
        unsafe { Sock::from_ptr((*self.as_ptr()).sk.cast()) }.net()
    }

    /// Has `fill` put messages behind those that there are, and takes out again those that
    /// `is_kept` does not say.
    pub(crate) fn filled(
        &self,
        fill: impl FnOnce() -> c_int,
        is_kept: impl Fn(&[u8]) -> bool,
    ) -> c_int {
        let raw = self.as_ptr();
        // SAFETY: Valid by the type's invariant; the answer is being made by the caller alone.
        let before = unsafe { (*raw).len } as usize;
        let answer = fill();
        // SAFETY: As above. Netlink packets are in one piece, `len` bytes from `data`, which its
        // messages fill.
        unsafe {
            let all = core::slice::from_raw_parts_mut((*raw).data, (*raw).len as usize);
            let (mut from, mut to) = (before.min(all.len()), before.min(all.len()));
            while let Some(length) = length_of_message(&all[from..]) {
                if is_kept(&all[from..from + length]) {
                    all.copy_within(from..from + length, to);
                    to += length;
                }
                from += length;
            }
            bindings::skb_trim(raw, to as u32);
        }
        answer
    }
}

/// How far it is to the next message.
fn length_of_message(rest: &[u8]) -> Option<usize> {
    let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
    (length >= size_of::<bindings::nlmsghdr>() && length <= rest.len())
        .then(|| length.next_multiple_of(4).min(rest.len()))
}

/// The number of the family that a message of the family of families is about.
pub(crate) fn family_in(message: &[u8]) -> Option<u16> {
    let mut rest =
        message.get(size_of::<bindings::nlmsghdr>() + size_of::<bindings::genlmsghdr>()..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        if u32::from(kind) == bindings::CTRL_ATTR_FAMILY_ID {
            return Some(u16::from_ne_bytes(*rest.get(HEAD..length)?.first_chunk()?));
        }
        rest = rest.get(length.max(HEAD).next_multiple_of(4)..)?;
    }
}

impl Message {
    /// The number of the family that it is for.
    pub(crate) fn family(&self) -> u16 {
        read_once!(self, nlmsg_type)
    }
}

/// # Safety
///
/// `attributes` are those that the policy of the family of families has sorted.
unsafe fn asked<'a>(attributes: *const *mut bindings::nlattr) -> Asked<'a> {
    // SAFETY: By contract: null, or an attribute that is as long as it says.
    let value = |kind: u32| unsafe {
        attributes
            .add(kind as usize)
            .read()
            .cast::<u8>()
            .as_ref()
            .map(|first| {
                let first: *const u8 = first;
                let length = usize::from((*first.cast::<bindings::nlattr>()).nla_len);
                core::slice::from_raw_parts(first.add(HEAD), length.saturating_sub(HEAD))
            })
    };
    Asked {
        number: value(bindings::CTRL_ATTR_FAMILY_ID)
            .and_then(|value| Some(u16::from_ne_bytes(*value.first_chunk()?))),
        name: value(bindings::CTRL_ATTR_FAMILY_NAME)
            .map(|value| value.split(|byte| *byte == 0).next().unwrap_or(&[])),
    }
}

impl Question {
    /// Whether it has an attribute of a kind that the policy of its family knows.
    pub(crate) fn has(&self, kind: u32) -> bool {
        // SAFETY: By the meaning of the type, there is a place for each of those.
        unsafe { !(*(*self.as_ptr()).attrs.add(kind as usize)).is_null() }
    }

    /// Of which family it asks.
    pub(crate) fn asked(&self) -> Asked<'_> {
        // SAFETY: By the meaning of the type.
        unsafe { asked((*self.as_ptr()).attrs) }
    }
}

impl Dump {
    /// Of which family it is asked.
    pub(crate) fn asked(&self) -> Asked<'_> {
        // SAFETY: A dump of generic netlink has its question as its data.
        unsafe {
            let info = (*self.as_ptr()).data.cast::<bindings::genl_dumpit_info>();
            asked((*info).info.attrs)
        }
    }

    /// The network namespace of the socket that asked.
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: A dump keeps the packet that asked for it.
        unsafe { Packet::from_ptr((*self.as_ptr()).skb) }.net()
    }
}
