// SPDX-License-Identifier: GPL-2.0

//! Messages of rtnetlink(7) about the addresses of devices.

use netlink_packet_core::DecodeError;
use netlink_packet_core::Emitable;
use netlink_packet_core::NetlinkDeserializable;
use netlink_packet_core::NetlinkHeader;
use netlink_packet_core::NetlinkMessage;
use netlink_packet_core::NetlinkPayload;
use netlink_packet_core::NetlinkSerializable;
use netlink_packet_core::Parseable;
use netlink_packet_core::NLM_F_ACK;
use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_core::NLM_F_DUMP;
use netlink_packet_core::NLM_F_DUMP_INTR;
use netlink_packet_core::NLM_F_EXCL;
use netlink_packet_core::NLM_F_REQUEST;
use netlink_packet_route::address::AddressMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::Socket;
use netlink_sys::SocketAddr;
use std::io;

/// `RTM_NEWADDR`
const NEW: u16 = 20;

/// `RTM_DELADDR`
const DELETE: u16 = 21;

/// `RTM_GETADDR`
const GET: u16 = 22;

/// The one kind of message that is exchanged here.
#[derive(Debug, Default)]
struct Message {
    /// What is asked; of what comes it is not needed.
    kind: u16,
    address: AddressMessage,
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.address.buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        self.address.emit(buffer);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(_: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: 0,
            address: AddressMessage::parse(payload)?,
        })
    }
}

/// A socket and a question that has been asked there.
fn ask(kind: u16, flags: u16, address: AddressMessage) -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let question = NetlinkPayload::InnerMessage(Message { kind, address });
    let mut request = NetlinkMessage::new(header, question);
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    Ok(socket)
}

/// All addresses of all devices, in the kernel's order.
pub(crate) fn addresses() -> io::Result<Vec<AddressMessage>> {
    loop {
        match dump() {
            // They changed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn dump() -> io::Result<Vec<AddressMessage>> {
    let socket = ask(GET, NLM_F_DUMP, AddressMessage::default())?;
    let mut messages = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        if collect(&datagram, &mut messages)? {
            return Ok(messages);
        }
    }
}

/// Adds an address to a device that has not got it.
pub(crate) fn add(address: AddressMessage) -> io::Result<()> {
    confirmed(ask(NEW, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, address)?)
}

/// Takes an address off its device.
pub(crate) fn remove(address: AddressMessage) -> io::Result<()> {
    confirmed(ask(DELETE, NLM_F_ACK, address)?)
}

/// The kernel answers with an error, which may be none.
fn confirmed(socket: Socket) -> io::Result<()> {
    let (datagram, _) = socket.recv_from_full()?;
    collect(&datagram, &mut Vec::new()).map(drop)
}

/// Takes the messages out of a datagram; true after the last of all.
fn collect(datagram: &[u8], messages: &mut Vec<AddressMessage>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkMessage::<Message>::deserialize(rest)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
        if message.header.flags & NLM_F_DUMP_INTR != 0 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match message.payload {
            NetlinkPayload::InnerMessage(Message { address, .. }) => messages.push(address),
            NetlinkPayload::Done(_) => return Ok(true),
            NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
            _ => {}
        }
        // Messages start at multiples of four.
        let length = (message.header.length as usize).next_multiple_of(4);
        rest = rest.get(length.max(4)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::DoneMessage;

    fn some() -> Vec<AddressMessage> {
        use netlink_packet_route::address::AddressAttribute::{Label, Local};
        [5, 6, 7]
            .map(|last| {
                let mut message = AddressMessage::default();
                message.header.index = 2;
                message.attributes = vec![
                    Local([10, 0, 0, last].into()),
                    Label("eth0".repeat(usize::from(last) - 4)),
                ];
                message
            })
            .to_vec()
    }

    /// As the kernel sends it: several messages in one datagram.
    fn datagram(payloads: Vec<NetlinkPayload<Message>>, flags: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        for payload in payloads {
            let mut header = NetlinkHeader::default();
            header.flags = flags;
            let mut message = NetlinkMessage::new(header, payload);
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..start + message.buffer_len()]);
        }
        bytes
    }

    fn payloads() -> Vec<NetlinkPayload<Message>> {
        some()
            .into_iter()
            .map(|message| {
                NetlinkPayload::InnerMessage(Message {
                    kind: NEW,
                    address: message,
                })
            })
            .collect()
    }

    #[test]
    fn datagrams_until_the_last() {
        let mut messages = Vec::new();
        assert!(!collect(&datagram(payloads(), 0), &mut messages).unwrap());
        assert_eq!(messages, some());
        let done = datagram(vec![NetlinkPayload::Done(DoneMessage::default())], 0);
        assert!(collect(&done, &mut messages).unwrap());
        let changed = collect(&datagram(payloads(), NLM_F_DUMP_INTR), &mut messages);
        assert_eq!(changed.unwrap_err().kind(), io::ErrorKind::Interrupted);
        let rubbish = collect(&[1, 2, 3], &mut messages);
        assert_eq!(rubbish.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
