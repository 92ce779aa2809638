// SPDX-License-Identifier: GPL-2.0

//! The addresses that processes are confined to.

pub use crate::fault::address::Fault;

use crate::Error;
use std::fmt;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::str::FromStr;
use vserver_uapi as uapi;

/// One address with the prefix of its network, or all addresses of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    ip: IpAddr,
    prefix: u8,
    whole: bool,
}

impl Address {
    /// One address, in a network of this prefix.
    pub fn one(ip: IpAddr, prefix: u8) -> Self {
        Self {
            ip,
            prefix: prefix.min(bits(ip)),
            whole: false,
        }
    }

    /// One address, of whose network nothing is known.
    pub fn alone(ip: IpAddr) -> Self {
        Self::one(ip, bits(ip))
    }

    /// The address; of a whole network its first.
    pub fn ip(self) -> IpAddr {
        self.ip
    }

    /// Bits of the network's prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether every address of the network is meant.
    pub fn is_whole(self) -> bool {
        self.whole
    }

    /// The broadcast address of its network, when it is of IPv4 and there is one.
    pub fn broadcast(self) -> Option<Ipv4Addr> {
        match self.ip {
            IpAddr::V4(ip) if self.prefix <= 30 && !ip.is_loopback() => {
                Some(Ipv4Addr::from(ip.to_bits() | !mask_v4(self.prefix)))
            }
            _ => None,
        }
    }

    /// Whether all of the other is in this one.
    pub fn covers(self, other: Self) -> bool {
        let same_network = match (self.ip, other.ip) {
            (IpAddr::V4(own), IpAddr::V4(its)) => {
                (own.to_bits() ^ its.to_bits()) & mask_v4(self.prefix) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(its)) => {
                (own.to_bits() ^ its.to_bits()) & mask_v6(self.prefix) == 0
            }
            _ => false,
        };
        if self.whole {
            same_network && (!other.whole || other.prefix >= self.prefix)
        } else {
            self.ip == other.ip && !other.whole
        }
    }

    pub(crate) fn to_abi(self) -> uapi::Address {
        let mut address = [0; 16];
        let family = match self.ip {
            IpAddr::V4(ip) => {
                address[..4].copy_from_slice(&ip.octets());
                uapi::FAMILY_IPV4
            }
            IpAddr::V6(ip) => {
                address = ip.octets();
                uapi::FAMILY_IPV6
            }
        };
        uapi::Address {
            family,
            prefix: self.prefix,
            flags: if self.whole { uapi::ADDRESS_PREFIX } else { 0 },
            reserved: 0,
            address,
        }
    }

    /// `None` for a family that this ABI does not have.
    fn from_abi(told: &uapi::Address) -> Option<Self> {
        let [a, b, c, d, ..] = told.address;
        let ip = match told.family {
            uapi::FAMILY_IPV4 => IpAddr::from([a, b, c, d]),
            uapi::FAMILY_IPV6 => IpAddr::from(told.address),
            _ => return None,
        };
        Some(Self {
            whole: told.flags & uapi::ADDRESS_PREFIX != 0,
            ..Self::one(ip, told.prefix)
        })
    }

    fn parse(text: &str) -> Result<Self, Fault> {
        let (ip, rest) = match text.split_once('/') {
            Some((ip, rest)) => (ip, Some(rest)),
            None => (text, None),
        };
        let ip: IpAddr = ip.parse().map_err(|_| Fault::Address)?;
        let prefix = match rest {
            Some(rest) => parse_prefix(ip, rest)?,
            None => bits(ip),
        };
        if ip.is_unspecified() {
            return Err(Fault::Unspecified);
        }
        if ip.is_multicast() {
            return Err(Fault::Multicast);
        }
        let whole = match ip {
            IpAddr::V4(ip) => ip.to_bits() & !mask_v4(prefix) == 0,
            IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some() => return Err(Fault::Mapped),
            IpAddr::V6(ip) => ip.to_bits() & !mask_v6(prefix) == 0,
        };
        Ok(Self {
            ip,
            prefix,
            whole: whole && prefix < bits(ip),
        })
    }
}

impl FromStr for Address {
    type Err = Error;

    /// `IP`, `IP/BITS`, or for IPv4 `IP/MASK`. A network's own address, whose bits behind the prefix
    /// are all zero, stands for every address of the network.
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text).map_err(|fault| Error::BadAddress {
            text: text.to_owned(),
            fault,
        })
    }
}

/// An address alone, a whole network with its prefix.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole {
            true => write!(f, "{}/{}", self.ip, self.prefix),
            false => write!(f, "{}", self.ip),
        }
    }
}

fn bits(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn mask_v4(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(Ipv4Addr::BITS - u32::from(prefix))
        .unwrap_or(0)
}

fn mask_v6(prefix: u8) -> u128 {
    u128::MAX
        .checked_shl(Ipv6Addr::BITS - u32::from(prefix))
        .unwrap_or(0)
}

fn parse_prefix(ip: IpAddr, text: &str) -> Result<u8, Fault> {
    let most = bits(ip);
    let fault = Fault::Prefix {
        most,
        mask: ip.is_ipv4(),
    };
    if ip.is_ipv4() && text.contains('.') {
        let mask: Ipv4Addr = text.parse().map_err(|_| fault)?;
        let ones = mask.to_bits().leading_ones() as u8;
        return if mask.to_bits() == mask_v4(ones) {
            Ok(ones)
        } else {
            Err(Fault::Mask)
        };
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault);
    }
    match text.parse() {
        Ok(prefix) if prefix <= most => Ok(prefix),
        _ => Err(fault),
    }
}

/// What a process is confined to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipv4root {
    /// Its addresses, in the order in which they were told.
    pub addresses: Vec<Address>,
    /// The broadcast address that may be bound.
    pub broadcast: Option<Ipv4Addr>,
    /// What 127.0.0.1 is outside, when it has a loopback of its own.
    pub loopback: Option<Ipv4Addr>,
}

impl Ipv4root {
    pub(crate) fn from_abi(answer: &uapi::Addresses, addresses: &[uapi::Address]) -> Self {
        let told =
            |octets| Some(Ipv4Addr::from(octets)).filter(|ip: &Ipv4Addr| !ip.is_unspecified());
        Self {
            addresses: addresses.iter().filter_map(Address::from_abi).collect(),
            broadcast: told(answer.broadcast),
            loopback: told(answer.loopback),
        }
    }

    /// The first of these addresses that it does not have.
    pub fn lacks(&self, addresses: &[Address]) -> Option<Address> {
        let has = |address: &Address| self.addresses.iter().any(|own| own.covers(*address));
        addresses.iter().find(|address| !has(address)).copied()
    }
}

/// The addresses on one line, those of IPv4 first.
impl fmt::Display for Ipv4root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for v4 in [true, false] {
            for address in self.addresses.iter().filter(|one| one.ip.is_ipv4() == v4) {
                write!(f, "{space}{address}")?;
                space = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn parse(text: &str) -> Address {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_or_a_whole_network() {
        for (text, ip, prefix, whole) in [
            ("10.0.0.5", "10.0.0.5", 32, false),
            ("10.0.0.5/24", "10.0.0.5", 24, false),
            ("10.0.0.5/255.255.255.0", "10.0.0.5", 24, false),
            ("10.0.0.5/255.255.255.255", "10.0.0.5", 32, false),
            ("10.0.0.5/0", "10.0.0.5", 0, false),
            ("10.0.0.5/0.0.0.0", "10.0.0.5", 0, false),
            ("10.0.0.0/24", "10.0.0.0", 24, true),
            ("10.0.0.0/255.255.255.0", "10.0.0.0", 24, true),
            ("10.0.0.0/32", "10.0.0.0", 32, false),
            ("10.0.0.0", "10.0.0.0", 32, false),
            ("10.0.0.4/31", "10.0.0.4", 31, true),
            ("127.0.0.1", "127.0.0.1", 32, false),
            ("2001:db8::5", "2001:db8::5", 128, false),
            ("2001:db8::5/64", "2001:db8::5", 64, false),
            ("2001:db8::/64", "2001:db8::", 64, true),
            ("2001:db8::/128", "2001:db8::", 128, false),
            ("::1", "::1", 128, false),
        ] {
            let address = parse(text);
            assert_eq!(address.ip().to_string(), ip, "{text}");
            assert_eq!(address.prefix(), prefix, "{text}");
            assert_eq!(address.is_whole(), whole, "{text}");
        }
    }

    #[test]
    fn errors_say_what_is_wrong_and_what_would_be_right() {
        for (text, reason, hint) in [
            ("", "is not an IP address", "10.0.0.5/24"),
            ("10.0.0", "is not an IP address", "10.0.0.5/24"),
            ("10.0.0.300", "is not an IP address", "10.0.0.5/24"),
            ("10.0.0.5 ", "is not an IP address", "10.0.0.5/24"),
            ("010.0.0.5", "is not an IP address", "10.0.0.5/24"),
            ("/24", "is not an IP address", "10.0.0.5/24"),
            ("2001:db8::g", "is not an IP address", "2001:db8::5/64"),
            ("10.0.0.5/", "0 to 32 bits or a mask", "/24"),
            ("10.0.0.5/33", "0 to 32 bits or a mask", "/24"),
            ("10.0.0.5/+8", "0 to 32 bits or a mask", "/24"),
            ("10.0.0.5/24/7", "0 to 32 bits or a mask", "/24"),
            ("10.0.0.5/255.255.0", "0 to 32 bits or a mask", "/24"),
            ("10.0.0.5/255.0.255.0", "ones followed by zeros", "/24"),
            ("10.0.0.5/0.0.0.255", "ones followed by zeros", "/24"),
            ("2001:db8::5/129", "0 to 128 bits after", "/64"),
            ("2001:db8::5/255.0.0.0", "0 to 128 bits after", "/64"),
            ("0.0.0.0", "stands for any", "do without"),
            ("0.0.0.0/0", "stands for any", "do without"),
            ("::", "stands for any", "do without"),
            ("::/0", "stands for any", "do without"),
            ("224.0.0.1", "multicast", "machine's"),
            ("ff02::1", "multicast", "machine's"),
            ("::ffff:10.0.0.5", "IPv4 address written as IPv6", "IPv4"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            let said = error.to_string();
            assert!(said.starts_with(&format!("\"{text}\" ")), "{said}");
            assert!(said.contains(reason), "{said}");
            assert!(error.hint().unwrap().contains(hint), "{said}");
            assert_eq!(error.kind(), Kind::Usage);
        }
    }

    #[test]
    fn broadcast_of_the_network() {
        for (text, broadcast) in [
            ("10.0.0.5/24", Some([10, 0, 0, 255])),
            ("10.0.0.0/24", Some([10, 0, 0, 255])),
            ("10.0.0.5/30", Some([10, 0, 0, 7])),
            ("10.0.0.5/0", Some([255; 4])),
            ("10.0.0.5/31", None),
            ("10.0.0.5", None),
            ("127.0.0.1/8", None),
            ("2001:db8::5/64", None),
        ] {
            assert_eq!(
                parse(text).broadcast(),
                broadcast.map(Ipv4Addr::from),
                "{text}"
            );
        }
    }

    #[test]
    fn the_abi_and_back() {
        for text in [
            "10.0.0.5/24",
            "10.0.0.0/24",
            "2001:db8::5/64",
            "2001:db8::/64",
        ] {
            let address = parse(text);
            assert_eq!(Address::from_abi(&address.to_abi()), Some(address));
        }
        let abi = parse("10.1.2.0/24").to_abi();
        assert_eq!(
            (abi.family, abi.prefix, abi.flags, abi.reserved),
            (2, 24, 1, 0)
        );
        assert_eq!(abi.address[..5], [10, 1, 2, 0, 0]);
        let abi = parse("2001:db8::5").to_abi();
        assert_eq!((abi.family, abi.prefix, abi.flags), (10, 128, 0));
        assert_eq!((abi.address[0], abi.address[15]), (0x20, 5));
        let other = uapi::Address {
            family: 1,
            ..uapi::Address::default()
        };
        assert_eq!(Address::from_abi(&other), None);
    }

    fn root(texts: &[&str]) -> Ipv4root {
        Ipv4root {
            addresses: texts.iter().map(|text| parse(text)).collect(),
            ..Ipv4root::default()
        }
    }

    #[test]
    fn one_line_with_ipv4_first() {
        let mixed = root(&["2001:db8::5/64", "10.0.0.6/24", "10.1.0.0/16", "10.0.0.5"]);
        assert_eq!(
            mixed.to_string(),
            "10.0.0.6 10.1.0.0/16 10.0.0.5 2001:db8::5"
        );
    }

    #[test]
    fn what_is_not_among_them() {
        let held = root(&["10.0.0.5/24", "10.1.0.0/16", "2001:db8::/64"]);
        let lacks = |texts: &[&str]| {
            held.lacks(&root(texts).addresses)
                .map(|one| one.to_string())
        };
        assert_eq!(lacks(&["10.0.0.5", "10.1.2.3/8", "2001:db8::9"]), None);
        assert_eq!(lacks(&["10.1.4.0/24", "2001:db8::/80"]), None);
        assert_eq!(lacks(&["10.0.0.5", "10.0.0.6"]).unwrap(), "10.0.0.6");
        assert_eq!(lacks(&["10.0.0.0/24"]).unwrap(), "10.0.0.0/24");
        assert_eq!(lacks(&["10.0.0.0/8"]).unwrap(), "10.0.0.0/8");
        assert_eq!(lacks(&["2001:db8:1::9"]).unwrap(), "2001:db8:1::9");
    }

    #[test]
    fn the_kernel_s_answer() {
        let told = [parse("10.0.0.5/24").to_abi()];
        let answer = uapi::Addresses {
            broadcast: [10, 0, 0, 255],
            loopback: [127, 1, 2, 1],
            ..uapi::Addresses::default()
        };
        assert_eq!(
            Ipv4root::from_abi(&answer, &told),
            Ipv4root {
                addresses: vec![parse("10.0.0.5/24")],
                broadcast: Some([10, 0, 0, 255].into()),
                loopback: Some([127, 1, 2, 1].into()),
            }
        );
        let none = Ipv4root::from_abi(&uapi::Addresses::default(), &[]);
        assert_eq!(none, Ipv4root::default());
    }
}
