// SPDX-License-Identifier: GPL-2.0

//! Which addresses a process may use, and what an address inside is outside.
//!
//! Every network that is confined to addresses has a loopback of its own: 256 addresses of
//! 127.0.0.0/8, outside of 127.0.0.0/16. Inside, 127.0.0.1 stands for one of them, and ::1 for another
//! one, mapped into IPv6. Only when the network has been given addresses of the host's loopback are
//! these what they are.

use crate::uapi::{
    Address,
    ADDRESS_PREFIX,
    FAMILY_IPV4,
    FAMILY_IPV6, //
};
use core::cmp::Ordering;

const LOOPBACK_V4: u8 = 1;
const LOOPBACK_V6: u8 = 255;
/// The last byte of what is 127.0.1.1 inside, Debian's address of a host's own name.
const LOOPBACK_NAME: u8 = 254;

/// What an IPv4 address looks like as one of IPv6.
const MAPPED: u128 = 0xffff_0000_0000;

/// ::1.
const LOCALHOST_V6: u128 = 1;

/// An IPv4 or an IPv6 address as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ip {
    /// IPv4.
    V4(u32),
    /// IPv6.
    V6(u128),
}

impl Ip {
    /// As IPv6 has it: IPv4 addresses mapped.
    pub fn mapped(self) -> u128 {
        match self {
            Self::V4(address) => MAPPED | u128::from(address),
            Self::V6(address) => address,
        }
    }

    /// An IPv4 address mapped into IPv6 is one of IPv4.
    pub fn of_v6(address: u128) -> Self {
        if address >> 32 == MAPPED >> 32 {
            Self::V4(address as u32)
        } else {
            Self::V6(address)
        }
    }

    fn is_multicast(self) -> bool {
        match self {
            Self::V4(address) => address >> 28 == 0xe,
            Self::V6(address) => address >> 120 == 0xff,
        }
    }

    fn is_unspecified(self) -> bool {
        matches!(self, Self::V4(0) | Self::V6(0))
    }
}

fn is_loopback_v4(address: u32) -> bool {
    address >> 24 == 127
}

/// Whether an IPv4 address can be a broadcast address, or is 0 for none.
pub fn may_be_broadcast(address: u32) -> bool {
    address == 0 || !(is_loopback_v4(address) || Ip::V4(address).is_multicast())
}

/// One address, or all that begin with a prefix; IPv4 as mapped. Ordered by the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: u128,
    /// Bits that all of it have in common: 128 for one address.
    prefix: u8,
}

impl Range {
    /// What the ABI says, or `None` when it is malformed.
    pub fn new(address: &Address) -> Option<Self> {
        if address.reserved != 0 || address.flags & !ADDRESS_PREFIX != 0 {
            return None;
        }
        let bytes = address.address;
        let (ip, bits) = match address.family {
            FAMILY_IPV4 if bytes[4..].iter().all(|byte| *byte == 0) => (
                Ip::V4(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
                32,
            ),
            FAMILY_IPV6 => {
                let ip = Ip::of_v6(u128::from_be_bytes(bytes));
                if matches!(ip, Ip::V4(_)) {
                    return None;
                }
                (ip, 128)
            }
            _ => return None,
        };
        if address.prefix > bits || ip.is_multicast() {
            return None;
        }
        if address.flags & ADDRESS_PREFIX == 0 {
            return (!ip.is_unspecified()).then_some(Self {
                first: ip.mapped(),
                prefix: 128,
            });
        }
        let range = Self {
            first: ip.mapped(),
            prefix: 128 - bits + address.prefix,
        };
        // No bits behind the prefix, and not everything there is.
        (address.prefix > 0 && range.first & range.mask() == range.first).then_some(range)
    }

    fn mask(self) -> u128 {
        match self.prefix {
            0 => 0,
            prefix => u128::MAX << (128 - u32::from(prefix)),
        }
    }

    fn contains(self, address: u128) -> bool {
        address & self.mask() == self.first
    }

    /// Whether all of `other` is in it.
    fn covers(self, other: Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.first)
    }

    /// The first address, as IPv6 has it, and the bits of the prefix.
    pub fn parts(self) -> (u128, u8) {
        (self.first, self.prefix)
    }

    /// The address, when it is one.
    pub fn single(self) -> Option<Ip> {
        (self.prefix == 128).then(|| Ip::of_v6(self.first))
    }

    fn is_v4(self) -> bool {
        matches!(Ip::of_v6(self.first), Ip::V4(_))
    }

    /// The order in which [`Set`] wants them: single addresses first, each kind by number.
    pub fn order(&self, other: &Self) -> Ordering {
        (self.prefix != 128)
            .cmp(&(other.prefix != 128))
            .then(self.first.cmp(&other.first))
    }
}

/// Brings ranges into [`Range::order`], by insertion: they are thousands at the most, and the sort of
/// `core` is more than the kernel's object checker understands.
pub fn sort(ranges: &mut [Range]) {
    for end in 1..ranges.len() {
        let last = ranges[end];
        let place = ranges[..end].partition_point(|range| range.order(&last).is_le());
        ranges.copy_within(place..end, place + 1);
        ranges[place] = last;
    }
}

/// The addresses of a network. Borrowed, so that it has no business with memory.
#[derive(Clone, Copy, Debug)]
pub struct Set<'a> {
    /// In [`Range::order`].
    pub ranges: &'a [Range],
    /// The IPv4 broadcast address, 0 for none.
    pub broadcast: u32,
    /// The number of its loopback.
    pub loopback: u16,
}

/// How a socket is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// To this address.
    Exact(Ip),
    /// To all addresses of the network.
    Any,
}

/// What a destination comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// Where to send.
    pub dest: Ip,
    /// From where, when the destination says it.
    pub source: Option<Ip>,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `EADDRNOTAVAIL`: not an address of the network.
    NotAvailable,
    /// `ENETUNREACH`: nothing that a loopback has.
    Unreachable,
    /// `EPERM`: a source that is not an address of the network.
    Foreign,
}

impl Set<'_> {
    /// Whether it has the address, as one of the host's.
    pub fn has(&self, ip: Ip) -> bool {
        let address = ip.mapped();
        let singles = self.ranges.partition_point(|range| range.prefix == 128);
        self.ranges[..singles]
            .binary_search_by(|range| range.first.cmp(&address))
            .is_ok()
            || self.ranges[singles..]
                .iter()
                .any(|range| range.contains(address))
    }

    /// Whether everything in `other` is in this one too.
    pub fn covers(&self, other: &[Range], broadcast: u32) -> bool {
        (broadcast == 0 || broadcast == self.broadcast)
            && other.iter().all(|part| match part.single() {
                Some(ip) => self.has(ip),
                None => self.ranges.iter().any(|range| range.covers(*part)),
            })
    }

    /// Whether it has any IPv6 address; without one it has no IPv6 at all.
    pub fn has_v6(&self) -> bool {
        self.ranges.iter().any(|range| !range.is_v4())
    }

    /// Whether an IPv6 address is there to be seen: one of the set, or ::1 if there is any IPv6.
    pub fn shows_v6(&self, address: u128) -> bool {
        self.has(Ip::of_v6(address)) || (address == LOCALHOST_V6 && self.has_v6())
    }

    fn own_loopback(&self, last: u8) -> u32 {
        (127 << 24) | ((u32::from(self.loopback) + 256) << 8) | u32::from(last)
    }

    /// What a loopback address inside is outside, `None` for one that is not there. Others than
    /// loopback addresses are what they are.
    fn outward_v4(&self, address: u32) -> Option<u32> {
        if !is_loopback_v4(address) || self.has(Ip::V4(address)) {
            return Some(address);
        }
        match address & 0x00ff_ffff {
            0x00_01_01 => Some(self.own_loopback(LOOPBACK_NAME)),
            last @ 1..=253 => Some(self.own_loopback(last as u8)),
            _ => None,
        }
    }

    /// What an address outside is inside: the way back.
    pub fn inward(&self, ip: Ip) -> Ip {
        let Ip::V4(address) = ip else {
            return ip;
        };
        if address & !0xff != self.own_loopback(0) {
            return ip;
        }
        match address as u8 {
            LOOPBACK_NAME => Ip::V4(0x7f00_0101),
            last => Ip::V4((127 << 24) | u32::from(last)),
        }
    }

    /// The same for what an IPv6 socket shows.
    pub fn inward_v6(&self, address: u128) -> u128 {
        match Ip::of_v6(address) {
            Ip::V4(v4) if v4 == self.own_loopback(LOOPBACK_V6) => LOCALHOST_V6,
            ip => self.inward(ip).mapped(),
        }
    }

    /// How an IPv4 socket that is to be bound to `address` is.
    pub fn bind_v4(&self, address: u32) -> Result<Bind, Refusal> {
        let ip = Ip::V4(address);
        if address == 0 {
            return Ok(Bind::Any);
        }
        if self.has(ip)
            || ip.is_multicast()
            || address == u32::MAX
            || (self.broadcast != 0 && address == self.broadcast)
        {
            return Ok(Bind::Exact(ip));
        }
        if !is_loopback_v4(address) {
            return Err(Refusal::NotAvailable);
        }
        self.outward_v4(address)
            .map(|outside| Bind::Exact(Ip::V4(outside)))
            .ok_or(Refusal::NotAvailable)
    }

    /// How an IPv6 socket that is to be bound to `address` is.
    pub fn bind_v6(&self, address: u128, v6only: bool) -> Result<Bind, Refusal> {
        match Ip::of_v6(address) {
            // As the kernel has it: an IPv4 address on an IPv6-only socket.
            Ip::V4(_) if v6only => Err(Refusal::NotAvailable),
            Ip::V4(v4) => self.bind_v4(v4),
            Ip::V6(0) if self.has_v6() || !v6only => Ok(Bind::Any),
            Ip::V6(LOCALHOST_V6) if !self.has(Ip::V6(LOCALHOST_V6)) && self.has_v6() => {
                Ok(Bind::Exact(Ip::V4(self.own_loopback(LOOPBACK_V6))))
            }
            ip if self.has(ip) || (ip.is_multicast() && self.has_v6()) => Ok(Bind::Exact(ip)),
            _ => Err(Refusal::NotAvailable),
        }
    }

    /// Where a packet of an IPv4 socket to `address` goes.
    pub fn dest_v4(&self, address: u32) -> Result<Way, Refusal> {
        // "Any" as a destination is the host itself.
        let address = if address == 0 { 0x7f00_0001 } else { address };
        if !is_loopback_v4(address) {
            return Ok(Way {
                dest: Ip::V4(address),
                source: None,
            });
        }
        if self.has(Ip::V4(address)) {
            return Ok(Way {
                dest: Ip::V4(address),
                source: Some(Ip::V4(address)),
            });
        }
        Ok(Way {
            dest: Ip::V4(self.outward_v4(address).ok_or(Refusal::Unreachable)?),
            source: Some(Ip::V4(self.own_loopback(LOOPBACK_V4))),
        })
    }

    /// Where a packet of an IPv6 socket to `address` goes.
    pub fn dest_v6(&self, address: u128) -> Result<Way, Refusal> {
        let own = Ip::V4(self.own_loopback(LOOPBACK_V6));
        match Ip::of_v6(address) {
            Ip::V4(v4) => self.dest_v4(v4),
            Ip::V6(_) if !self.has_v6() && address != 0 => Err(Refusal::NotAvailable),
            ip @ Ip::V6(LOCALHOST_V6) if self.has(ip) => Ok(Way {
                dest: ip,
                source: Some(ip),
            }),
            Ip::V6(0 | LOCALHOST_V6) if self.has_v6() => Ok(Way {
                dest: own,
                source: Some(own),
            }),
            Ip::V6(0) => self.dest_v4(0),
            ip => Ok(Way {
                dest: ip,
                source: None,
            }),
        }
    }

    /// What a source that a program names is outside.
    pub fn source_v4(&self, address: u32) -> Result<u32, Refusal> {
        if self.has(Ip::V4(address)) {
            return Ok(address);
        }
        if !is_loopback_v4(address) {
            return Err(Refusal::Foreign);
        }
        self.outward_v4(address).ok_or(Refusal::Foreign)
    }

    /// The same for an IPv6 socket.
    pub fn source_v6(&self, address: u128) -> Result<u128, Refusal> {
        match Ip::of_v6(address) {
            Ip::V4(v4) => self.source_v4(v4).map(|v4| Ip::V4(v4).mapped()),
            ip if self.has(ip) => Ok(ip.mapped()),
            Ip::V6(LOCALHOST_V6) if self.has_v6() => {
                Ok(Ip::V4(self.own_loopback(LOOPBACK_V6)).mapped())
            }
            _ => Err(Refusal::Foreign),
        }
    }

    /// The only address of a family that can be a source.
    pub fn only(&self, v4: bool) -> Option<Ip> {
        let mut of_family = self.ranges.iter().filter(|range| range.is_v4() == v4);
        let first = of_family.next()?;
        match of_family.next() {
            Some(_) => None,
            None => first.single(),
        }
    }

    /// The source for a destination: what routing proposes if the network has it, else the address
    /// that has the most leading bits in common with the destination (RFC 6724, rule 8).
    pub fn choose(&self, dest: Ip, proposed: Ip) -> Option<Ip> {
        if !proposed.is_unspecified() && self.has(proposed) {
            return Some(proposed);
        }
        let v4 = matches!(dest, Ip::V4(_));
        self.ranges
            .iter()
            .filter(|range| range.is_v4() == v4)
            .filter_map(|range| range.single())
            .filter(|ip| !matches!(ip, Ip::V4(address) if is_loopback_v4(*address)))
            .filter(|ip| *ip != Ip::V6(LOCALHOST_V6))
            // The first of the best, where `max_by_key` has the last.
            .fold(None, |best: Option<(u32, Ip)>, ip| {
                let common = (ip.mapped() ^ dest.mapped()).leading_zeros();
                match best {
                    Some((most, _)) if most >= common => best,
                    _ => Some((common, ip)),
                }
            })
            .map(|(_, ip)| ip)
    }
}
