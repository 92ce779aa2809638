// SPDX-License-Identifier: GPL-2.0

//! The addresses of a network device, asked of the kernel through rtnetlink.

use crate::rtnetlink;
use crate::{Address, Error, Result};
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::address::AddressScope;
use std::net::IpAddr;
use std::net::Ipv4Addr;

/// The addresses of a device that programs use: all of IPv4, the global ones of IPv6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// In the kernel's order, those of IPv4 first.
    pub addresses: Vec<Address>,
    /// The first broadcast address among them.
    pub broadcast: Option<Ipv4Addr>,
}

impl Interface {
    /// The device of this name, or the part of a device's addresses with this label (`eth0:web`);
    /// `None` when there is no such device or label.
    pub fn find(name: &str) -> Result<Option<Self>> {
        // No device has a colon in its name; what is before one would be found.
        let index = match name.contains(':') {
            true => None,
            false => match nix::net::if_::if_nametoindex(name) {
                Ok(index) => Some(index),
                Err(_) => return Ok(None),
            },
        };
        let messages = rtnetlink::addresses().map_err(|source| Error::Interface {
            device: name.to_owned(),
            source,
        })?;
        let found = Self::of(&messages, |message| {
            index.map_or_else(
                || has_label(message, name),
                |index| message.header.index == index,
            )
        });
        Ok(Some(found).filter(|found| index.is_some() || !found.addresses.is_empty()))
    }

    fn of(messages: &[AddressMessage], is_meant: impl Fn(&AddressMessage) -> bool) -> Self {
        let mut interface = Self::default();
        for message in messages.iter().filter(|message| is_meant(message)) {
            let Some(address) = usable(message) else {
                continue;
            };
            interface.addresses.push(address);
            if interface.broadcast.is_none() {
                interface.broadcast = told_broadcast(message).or(address.broadcast());
            }
        }
        interface
    }
}

fn has_label(message: &AddressMessage, name: &str) -> bool {
    message
        .attributes
        .iter()
        .any(|attribute| matches!(attribute, AddressAttribute::Label(label) if label == name))
}

fn told_broadcast(message: &AddressMessage) -> Option<Ipv4Addr> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            AddressAttribute::Broadcast(broadcast) => Some(*broadcast),
            _ => None,
        })
}

fn usable(message: &AddressMessage) -> Option<Address> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => own = Some(*ip),
            // On a point-to-point device the other end's, if there is a local one too.
            AddressAttribute::Address(ip) => own = own.or(Some(*ip)),
            _ => {}
        }
    }
    match own? {
        IpAddr::V6(_) if message.header.scope != AddressScope::Universe => None,
        ip => Some(Address::one(ip, message.header.prefix_len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(
        index: u32,
        prefix: u8,
        scope: AddressScope,
        of: &[AddressAttribute],
    ) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = index;
        message.header.prefix_len = prefix;
        message.header.scope = scope;
        message.attributes = of.to_vec();
        message
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn some() -> Vec<AddressMessage> {
        use AddressAttribute::{Address, Broadcast, Label, Local};
        vec![
            message(
                2,
                24,
                AddressScope::Universe,
                &[
                    Address(ip("10.0.0.5")),
                    Local(ip("10.0.0.5")),
                    Broadcast([10, 0, 0, 200].into()),
                    Label("eth0".to_owned()),
                ],
            ),
            message(
                2,
                32,
                AddressScope::Universe,
                &[
                    Address(ip("10.0.9.9")),
                    Local(ip("10.0.0.6")),
                    Label("eth0:web".to_owned()),
                ],
            ),
            message(2, 64, AddressScope::Universe, &[Address(ip("2001:db8::5"))]),
            message(2, 64, AddressScope::Link, &[Address(ip("fe80::5"))]),
            message(3, 16, AddressScope::Universe, &[Address(ip("10.1.0.5"))]),
        ]
    }

    #[test]
    fn all_ipv4_and_global_ipv6_of_the_device() {
        let eth0 = Interface::of(&some(), |message| message.header.index == 2);
        assert_eq!(
            eth0.addresses,
            [
                Address::one(ip("10.0.0.5"), 24),
                Address::one(ip("10.0.0.6"), 32),
                Address::one(ip("2001:db8::5"), 64),
            ]
        );
        assert_eq!(eth0.broadcast, Some([10, 0, 0, 200].into()));
        let web = Interface::of(&some(), |message| has_label(message, "eth0:web"));
        assert_eq!(web.addresses, [Address::one(ip("10.0.0.6"), 32)]);
        assert_eq!(web.broadcast, None);
        let other = Interface::of(&some(), |message| message.header.index == 3);
        assert_eq!(other.broadcast, Some([10, 1, 255, 255].into()));
    }

    #[test]
    fn the_loopback_of_this_machine() {
        if let Some(lo) = Interface::find("lo").unwrap() {
            assert!(lo.addresses.iter().all(|address| !address.is_whole()));
        }
        assert_eq!(Interface::find("nosuchdevice").unwrap(), None);
        assert_eq!(Interface::find("lo:nosuchlabel").unwrap(), None);
    }
}
