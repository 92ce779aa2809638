// SPDX-License-Identifier: GPL-2.0

//! `--ip` and `--bcast`: which addresses are meant, and confining the process to them.

use crate::announce;
use libvserver::Address;
use libvserver::Device;
use libvserver::Error;
use libvserver::Interface;
use libvserver::Ipv4root;
use libvserver::Kind;
use serde_json::json;
use serde_json::Value;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::ToSocketAddrs;
use std::net::UdpSocket;
use std::str::FromStr;

/// One `--ip`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ip {
    Address(Address),
    /// A device, a label of addresses of a device, or a host.
    Name(String),
}

impl FromStr for Ip {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(error) if looks_like_an_address(text) => Err(error),
            Err(_) => Ok(Self::Name(text.to_owned())),
        }
    }
}

/// A `--bcast`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broadcast {
    /// 0.0.0.0: there is none.
    Address(Ipv4Addr),
    Device(String),
}

impl FromStr for Broadcast {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.parse::<Ipv4Addr>() {
            Ok(ip) if !ip.is_loopback() && !ip.is_multicast() => Ok(Self::Address(ip)),
            Err(_) if !looks_like_an_address(text) => Ok(Self::Device(text.to_owned())),
            _ => Err(Error::BadBroadcast(text.to_owned())),
        }
    }
}

/// What can be meant as nothing else. A label such as `eth0:web` can.
fn looks_like_an_address(text: &str) -> bool {
    let numeric = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let v6 = |byte: u8| byte.is_ascii_hexdigit() || byte == b'.' || byte == b':';
    text.contains('/') || text.bytes().all(numeric) || (text.contains(':') && text.bytes().all(v6))
}

/// What the options come to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    addresses: Vec<Address>,
    broadcast: Option<Ipv4Addr>,
    /// Whether the user has chosen it.
    broadcast_is_told: bool,
    /// Those that may be on no device.
    doubtful: Vec<IpAddr>,
}

impl Wish {
    /// Looks up devices and hosts.
    pub(crate) fn new(ips: &[Ip], broadcast: Option<&Broadcast>) -> Result<Self, Error> {
        let mut wish = Self::default();
        for ip in ips {
            match ip {
                Ip::Address(address) => wish.add(*address, address.broadcast(), true),
                Ip::Name(name) => match Interface::find(name)? {
                    Some(interface) => wish.add_interface(name, &interface)?,
                    None => wish.add_host(name)?,
                },
            }
        }
        if let Some(told) = broadcast {
            wish.broadcast_is_told = true;
            wish.broadcast = match told {
                Broadcast::Address(ip) => Some(*ip).filter(|ip| !ip.is_unspecified()),
                Broadcast::Device(name) => Some(broadcast_of(name)?),
            };
        }
        Ok(wish)
    }

    fn add(&mut self, address: Address, broadcast: Option<Ipv4Addr>, doubtful: bool) {
        self.broadcast = self.broadcast.or(broadcast);
        if doubtful && !address.is_whole() && !self.doubtful.contains(&address.ip()) {
            self.doubtful.push(address.ip());
        }
        if !self.addresses.iter().any(|known| known.covers(address)) {
            self.addresses.push(address);
        }
    }

    fn add_interface(&mut self, name: &str, interface: &Interface) -> Result<(), Error> {
        if interface.addresses.is_empty() {
            return Err(Error::NoAddress(name.to_owned()));
        }
        for address in &interface.addresses {
            self.add(*address, interface.broadcast, false);
        }
        Ok(())
    }

    fn add_host(&mut self, name: &str) -> Result<(), Error> {
        let found = (name, 0)
            .to_socket_addrs()
            .map_err(|source| Error::UnknownName {
                name: name.to_owned(),
                source,
            })?;
        for socket in found {
            self.add(Address::alone(socket.ip()), None, true);
        }
        Ok(())
    }

    /// Confine the process.
    pub(crate) fn confine(&self, device: &Device) -> anyhow::Result<Ipv4root> {
        let error = match device.set_addresses(&self.addresses, self.broadcast) {
            Err(error) if error.kind() == Kind::Refused => error,
            result => return Ok(result?),
        };
        // Confined already. A broadcast address that nobody has asked for must not be the reason.
        let held = device.addresses(0)?.unwrap_or_default();
        if !self.broadcast_is_told && self.broadcast != held.broadcast {
            if let Ok(now) = device.set_addresses(&self.addresses, held.broadcast) {
                return Ok(now);
            }
        }
        let error = anyhow::Error::new(error);
        Err(match self.refused(&held) {
            Some(what) => error.context(what),
            None => error,
        })
    }

    /// What of it somebody who is confined to `held` cannot have.
    fn refused(&self, held: &Ipv4root) -> Option<String> {
        if let Some(address) = held.lacks(&self.addresses) {
            return Some(format!("{address} is not among the addresses held"));
        }
        let broadcast = self.broadcast.filter(|_| self.broadcast_is_told)?;
        (held.broadcast != Some(broadcast))
            .then(|| format!("{broadcast} is not the broadcast address held"))
    }

    /// After having entered a context, which may be confined itself: make sure of the addresses.
    pub(crate) fn keep(&self, device: &Device, before: &Ipv4root) -> anyhow::Result<Ipv4root> {
        match device.addresses(0)? {
            Some(now) if now.addresses == before.addresses && now.broadcast == before.broadcast => {
                Ok(now)
            }
            _ => self.confine(device),
        }
    }

    /// Tell which addresses no device has. Asked of the confined process itself: what is bound to
    /// an address that it has shows whether the host has it as well.
    pub(crate) fn warn(&self, program: &str) {
        for ip in self.doubtful.iter().filter(|ip| is_on_no_device(**ip)) {
            let prefix = self
                .addresses
                .iter()
                .find(|address| address.ip() == *ip)
                .map_or(0, |address| address.prefix());
            announce::warn(
                program,
                format_args!(
                    "{ip} is on no device of this host, or not ready, so nothing can use it; \
                     add it with \"ip address add {ip}/{prefix} dev DEVICE\""
                ),
            );
        }
    }
}

fn broadcast_of(name: &str) -> Result<Ipv4Addr, Error> {
    match Interface::find(name)? {
        Some(interface) => interface
            .broadcast
            .ok_or_else(|| Error::NoBroadcast(name.to_owned())),
        None => Err(Error::BadBroadcast(name.to_owned())),
    }
}

/// Whether the host has not this address, or not yet.
pub(crate) fn is_on_no_device(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// What `--json` shows.
pub(crate) fn to_json(now: &Ipv4root) -> Value {
    let addresses = now.addresses.iter().map(|address| {
        json!({
            "address": address.ip().to_string(),
            "prefix": address.prefix(),
            "whole": address.is_whole(),
        })
    });
    let text = |ip: Option<Ipv4Addr>| ip.map(|ip| ip.to_string());
    json!({
        "addresses": addresses.collect::<Value>(),
        "broadcast": text(now.broadcast),
        "loopback": text(now.loopback),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ip {
        text.parse().unwrap()
    }

    fn wish(ips: &[&str], broadcast: Option<&str>) -> Wish {
        let ips: Vec<Ip> = ips.iter().map(|text| ip(text)).collect();
        let broadcast = broadcast.map(|text| text.parse().unwrap());
        Wish::new(&ips, broadcast.as_ref()).unwrap()
    }

    fn texts(wish: &Wish) -> Vec<String> {
        wish.addresses.iter().map(Address::to_string).collect()
    }

    #[test]
    fn names_and_what_looks_like_an_address() {
        for name in ["eth0", "eth0:web", "www.example.org", "cafe", "br-1", "10g"] {
            assert_eq!(ip(name), Ip::Name(name.to_owned()));
        }
        for text in [
            "",
            "10.0.0",
            "10.0.0.300",
            "eth0/24",
            "1:2",
            "fe80::1::2",
            "7",
        ] {
            let error = text.parse::<Ip>().unwrap_err();
            assert_eq!(error.kind(), Kind::Usage, "{text}");
        }
        assert!(matches!(ip("10.0.0.5/24"), Ip::Address(_)));
        assert!(matches!(ip("2001:db8::5"), Ip::Address(_)));
    }

    #[test]
    fn broadcast_addresses() {
        let parse = |text: &str| text.parse::<Broadcast>();
        assert_eq!(
            parse("10.0.0.255").unwrap(),
            Broadcast::Address([10, 0, 0, 255].into())
        );
        assert_eq!(parse("eth0").unwrap(), Broadcast::Device("eth0".to_owned()));
        for text in [
            "",
            "10.0.0",
            "127.255.255.255",
            "224.0.0.1",
            "2001:db8::5",
            "10.0.0.255/24",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.hint().unwrap().contains("10.0.0.255"), "{error}");
        }
    }

    #[test]
    fn the_broadcast_address_is_told_or_that_of_the_first_mask() {
        let of = |ips: &[&str], told| wish(ips, told).broadcast.map(|ip| ip.to_string());
        assert_eq!(of(&["10.0.0.5"], None), None);
        assert_eq!(of(&["2001:db8::5/64"], None), None);
        assert_eq!(of(&["10.0.0.5/24"], None).unwrap(), "10.0.0.255");
        let two = ["2001:db8::5/64", "10.0.0.5", "10.1.0.5/16", "10.2.0.5/16"];
        assert_eq!(of(&two, None).unwrap(), "10.1.255.255");
        assert_eq!(of(&two, Some("10.9.9.9")).unwrap(), "10.9.9.9");
        assert_eq!(of(&two, Some("0.0.0.0")), None);
        assert!(wish(&two, Some("0.0.0.0")).broadcast_is_told);
    }

    #[test]
    fn each_address_once_in_the_order_given() {
        let twice = wish(
            &["10.0.0.6", "10.0.0.5/24", "10.0.0.6/24", "10.0.0.0/8"],
            None,
        );
        assert_eq!(texts(&twice), ["10.0.0.6", "10.0.0.5", "10.0.0.0/8"]);
        assert_eq!(twice.doubtful.len(), 2);
        assert_eq!(
            texts(&wish(&["10.0.0.0/8", "10.0.0.5"], None)),
            ["10.0.0.0/8"]
        );
    }

    #[test]
    fn names_that_nobody_has() {
        let error = Wish::new(&[ip("no such name")], None).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("\"no such name\" is no address, no device"),
            "{said}"
        );
        assert!(error.hint().unwrap().contains("/etc/hosts"));
        let error = Wish::new(&[], Some(&Broadcast::Device("nodevice0".to_owned()))).unwrap_err();
        assert!(error.to_string().contains("\"nodevice0\""), "{error}");
        assert_eq!(error.kind(), Kind::NotFound);
    }

    #[test]
    fn a_device_without_addresses() {
        let error = Wish::default()
            .add_interface("eth7", &Interface::default())
            .unwrap_err();
        assert_eq!(
            crate::report::message(&error.into()),
            "the device eth7 has no IPv4 and no global IPv6 address; add one with \
             \"ip address add 10.0.0.5/24 dev eth7\", or give the address itself"
        );
    }

    fn held(ips: &[&str], broadcast: [u8; 4]) -> Ipv4root {
        Ipv4root {
            addresses: wish(ips, None).addresses,
            broadcast: Some(broadcast.into()),
            loopback: Some([127, 1, 2, 1].into()),
        }
    }

    #[test]
    fn a_refusal_names_what_is_not_held() {
        let held = held(&["10.0.0.5/24", "10.0.0.6/24"], [10, 0, 0, 255]);
        let refused = |ips: &[&str], told| wish(ips, told).refused(&held);
        assert_eq!(
            refused(&["10.0.0.5", "10.0.0.7"], None).unwrap(),
            "10.0.0.7 is not among the addresses held"
        );
        assert_eq!(
            refused(&["10.0.0.5"], Some("10.0.0.127")).unwrap(),
            "10.0.0.127 is not the broadcast address held"
        );
        assert_eq!(refused(&["10.0.0.5/16"], None), None);
        assert_eq!(refused(&["10.0.0.6"], Some("10.0.0.255")), None);
    }

    #[test]
    fn what_no_device_has() {
        assert!(!is_on_no_device([127, 0, 0, 1].into()));
        assert!(is_on_no_device([192, 0, 2, 77].into()));
    }

    #[test]
    fn json() {
        let now = held(
            &["10.0.0.5/24", "10.1.0.0/16", "2001:db8::5"],
            [10, 0, 0, 255],
        );
        assert_eq!(
            to_json(&now),
            json!({
                "addresses": [
                    { "address": "10.0.0.5", "prefix": 24, "whole": false },
                    { "address": "10.1.0.0", "prefix": 16, "whole": true },
                    { "address": "2001:db8::5", "prefix": 128, "whole": false },
                ],
                "broadcast": "10.0.0.255",
                "loopback": "127.1.2.1",
            })
        );
        assert_eq!(to_json(&Ipv4root::default())["broadcast"], Value::Null);
    }
}
