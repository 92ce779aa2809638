// SPDX-License-Identifier: GPL-2.0

//! Which addresses a process may use, and what an address inside is outside.
//!
//! Every network that is confined to addresses has a loopback of its own: 256 addresses of
//! 127.0.0.0/8, outside of 127.0.0.0/16. Inside, 127.0.0.1 stands for one of them, and ::1 for another
//! one, mapped into IPv6. The other addresses of 127.0.0.0/8 inside get one of the block when a program uses them. Only when the network has been given addresses of the host's loopback are
//! these what they are.

use crate::uapi::{
    Address,
    ADDRESS_PREFIX,
    FAMILY_IPV4,
    FAMILY_IPV6, //
};
use core::{
    cmp::Ordering,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

const LOOPBACK_V4: u8 = 1;
const LOOPBACK_V6: u8 = 255;
/// The last byte of what is 127.0.1.1 inside, Debian's address of a host's own name.
const LOOPBACK_NAME: u8 = 254;

/// From here to [`LOOPBACK_NAME`] are those that stand for any others of 127.0.0.0/8.
const FIRST_NAMED: u8 = 128;
/// How many of these there are.
pub const NAMED: usize = (LOOPBACK_NAME - FIRST_NAMED) as usize;
/// For how long one is kept after its last use, in seconds. Between being named and being in a table of sockets, nothing
/// else keeps it.
const KEPT: u32 = 2;

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

    /// Whether a socket that is bound to it may be one of "any" in a network.
    pub fn is_place_of_any(self) -> bool {
        matches!(self, Self::V4(address) if address >> 24 == 127
            && address & 0x00ff_0000 != 0
            && [LOOPBACK_V4, LOOPBACK_V6].contains(&(address as u8)))
    }

    /// The number of the loopback of a network that it is in.
    #[inline]
    pub fn loopback(self) -> Option<u16> {
        match self {
            Self::V4(address) if is_loopback_v4(address) => {
                (((address >> 8) & 0xffff) as u16).checked_sub(256)
            }
            _ => None,
        }
    }

    fn is_multicast(self) -> bool {
        match self {
            Self::V4(address) => address >> 28 == 0xe,
            Self::V6(address) => address >> 120 == 0xff,
        }
    }

    /// Whether it is one of IPv4.
    pub fn is_v4(self) -> bool {
        matches!(self, Self::V4(_))
    }

    fn is_unspecified(self) -> bool {
        matches!(self, Self::V4(0) | Self::V6(0))
    }
}

/// How many loopbacks there are: 127.1.0.0/24 is the first one.
pub const LOOPBACKS: usize = 255 * 256;

/// An address of a loopback.
fn of_loopback(loopback: u16, last: u8) -> u32 {
    (127 << 24) | ((u32::from(loopback) + 256) << 8) | u32::from(last)
}

/// Where sockets of "any" in a network with that loopback are bound: those of IPv4, and those of IPv6.
pub fn places_of_any(loopback: u16) -> (u32, u32) {
    (
        of_loopback(loopback, LOOPBACK_V4),
        of_loopback(loopback, LOOPBACK_V6),
    )
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

    /// Whether an address, as IPv6 has it, is in it.
    pub fn contains(self, address: u128) -> bool {
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
        Ip::of_v6(self.first).is_v4()
    }

    fn last(self) -> u128 {
        self.first | !self.mask()
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

/// What the addresses of a loopback stand for inside that have no fixed meaning.
#[derive(Debug)]
pub struct Names {
    /// The address inside; zero for none.
    inside: [AtomicU32; NAMED],
    /// The second of the last use.
    used: [AtomicU32; NAMED],
}

impl Names {
    /// None is named.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            inside: [const { AtomicU32::new(0) }; NAMED],
            used: [const { AtomicU32::new(0) }; NAMED],
        }
    }

    fn find(&self, address: u32) -> Option<u8> {
        let found = self
            .inside
            .iter()
            .position(|one| one.load(Relaxed) == address)?;
        Some(FIRST_NAMED + found as u8)
    }

    fn of(&self, last: u8) -> Option<u32> {
        let name = self
            .inside
            .get(usize::from(last.checked_sub(FIRST_NAMED)?))?
            .load(Relaxed);
        (name != 0).then_some(name)
    }

    /// Names one that is free. By one caller at a time. `false`: there is none.
    pub fn name(&self, address: u32, now: u32) -> bool {
        if self.find(address).is_some() {
            return true;
        }
        let Some(free) = self.inside.iter().position(|one| one.load(Relaxed) == 0) else {
            return false;
        };
        self.used[free].store(now, Relaxed);
        self.inside[free].store(address, Relaxed);
        true
    }

    /// It has just been used.
    pub fn touch(&self, ip: Ip, now: u32) {
        if let Ip::V4(address) = ip {
            if let Some(used) = (address as u8)
                .checked_sub(FIRST_NAMED)
                .and_then(|index| self.used.get(usize::from(index)))
            {
                used.store(now, Relaxed);
            }
        }
    }

    /// Frees those that were not used lately, and are not in use as addresses with that last byte. By one caller at a time.
    pub fn free(&self, now: u32, is_in_use: impl Fn(u8) -> bool) {
        for index in 0..NAMED {
            let idle = now.wrapping_sub(self.used[index].load(Relaxed)) > KEPT;
            if idle && !is_in_use(FIRST_NAMED + index as u8) {
                self.inside[index].store(0, Relaxed);
            }
        }
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
    /// The names of what is in that.
    pub names: &'a Names,
}

/// How a socket is to be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// To this address.
    Exact(Ip),
    /// To all addresses of the network.
    Any,
    /// A socket of IPv6, to all IPv4 addresses of the network.
    AnyV4,
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
    /// This address of 127.0.0.0/8 has to be named first ([`Names::name`]). `ENOBUFS`: it cannot be.
    Unnamed(u32),
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

    /// Whether an IPv6 address is there to be seen: one of the set, or ::1.
    pub fn shows_v6(&self, address: u128) -> bool {
        self.has(Ip::of_v6(address)) || address == LOCALHOST_V6
    }

    /// Whether an address outside is what the network has as 127.0.0.0/8.
    pub fn is_own_v4(&self, ip: Ip) -> bool {
        matches!(ip, Ip::V4(address) if address & !0xff == self.own_loopback(0))
            && !self.is_own_v6(ip)
    }

    /// Whether an address outside is what the network has as ::1.
    pub fn is_own_v6(&self, ip: Ip) -> bool {
        ip == Ip::V4(self.own_loopback(LOOPBACK_V6))
    }

    /// Whether two sets have an address in common, of the families that are asked for.
    ///
    /// Ranges are prefixes: of two that meet, one has the first address of the other. So all are gone through in the order of
    /// their first addresses, and two of different sets meet if one begins before the other has ended.
    pub fn overlaps(&self, other: &Set<'_>, v4: bool, v6: bool) -> bool {
        let halves = |ranges: &[Range]| {
            let singles = ranges.partition_point(|range| range.prefix == 128);
            (singles, ranges.len())
        };
        // The rest of each of the four lists, each ordered by the first address.
        let (own_singles, own_all) = halves(self.ranges);
        let (its_singles, its_all) = halves(other.ranges);
        let mut at = [0, own_singles, 0, its_singles];
        let ends = [own_singles, own_all, its_singles, its_all];
        let list = |which: usize| if which < 2 { self.ranges } else { other.ranges };
        // Up to where the one that goes furthest of each set goes.
        let mut reached: [Option<u128>; 2] = [None; 2];
        loop {
            let next = (0..4)
                .filter(|which| at[*which] < ends[*which])
                .min_by_key(|which| list(*which)[at[*which]].first);
            let Some(which) = next else {
                return false;
            };
            let range = list(which)[at[which]];
            at[which] += 1;
            if !if range.is_v4() { v4 } else { v6 } {
                continue;
            }
            let (own, its) = (which / 2, 1 - which / 2);
            if reached[its].is_some_and(|last| last >= range.first) {
                return true;
            }
            reached[own] = reached[own].max(Some(range.last()));
        }
    }

    /// What a socket that is bound to "any" is bound to instead; of IPv6, mapped.
    pub fn place_of_any(&self, v6: bool) -> u32 {
        self.own_loopback(if v6 { LOOPBACK_V6 } else { LOOPBACK_V4 })
    }

    fn own_loopback(&self, last: u8) -> u32 {
        of_loopback(self.loopback, last)
    }

    /// What a loopback address inside is outside. Others than loopback addresses are what they are.
    fn outward_v4(&self, address: u32, refusal: Refusal) -> Result<u32, Refusal> {
        if !is_loopback_v4(address) || self.has(Ip::V4(address)) {
            return Ok(address);
        }
        let last = match address & 0x00ff_ffff {
            0x00_01_01 => LOOPBACK_NAME,
            last if last > 0 && last < u32::from(FIRST_NAMED) => last as u8,
            // The broadcast address.
            0xff_ff_ff => return Err(refusal),
            _ => self.names.find(address).ok_or(Refusal::Unnamed(address))?,
        };
        Ok(self.own_loopback(last))
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
            last => Ip::V4(self.names.of(last).unwrap_or((127 << 24) | u32::from(last))),
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
        self.outward_v4(address, Refusal::NotAvailable)
            .map(|outside| Bind::Exact(Ip::V4(outside)))
    }

    /// How an IPv6 socket that is to be bound to `address` is.
    pub fn bind_v6(&self, address: u128, v6only: bool) -> Result<Bind, Refusal> {
        match Ip::of_v6(address) {
            // As the kernel has it: an IPv4 address on an IPv6-only socket.
            Ip::V4(_) if v6only => Err(Refusal::NotAvailable),
            Ip::V4(0) => Ok(Bind::AnyV4),
            Ip::V4(v4) => self.bind_v4(v4),
            // There always is ::1.
            Ip::V6(0) => Ok(Bind::Any),
            ip @ Ip::V6(LOCALHOST_V6) if !self.has(ip) => {
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
            dest: Ip::V4(self.outward_v4(address, Refusal::Unreachable)?),
            source: Some(Ip::V4(self.own_loopback(LOOPBACK_V4))),
        })
    }

    /// Where a packet of an IPv6 socket to `address` goes.
    pub fn dest_v6(&self, address: u128) -> Result<Way, Refusal> {
        let own = Ip::V4(self.own_loopback(LOOPBACK_V6));
        match Ip::of_v6(address) {
            Ip::V4(v4) => self.dest_v4(v4),
            ip @ Ip::V6(LOCALHOST_V6) if self.has(ip) => Ok(Way {
                dest: ip,
                source: Some(ip),
            }),
            Ip::V6(0 | LOCALHOST_V6) => Ok(Way {
                dest: own,
                source: Some(own),
            }),
            Ip::V6(_) if !self.has_v6() => Err(Refusal::NotAvailable),
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
        // One that nobody is bound to or has sent to is nobody's.
        self.outward_v4(address, Refusal::Foreign)
            .map_err(|_| Refusal::Foreign)
    }

    /// The same for an IPv6 socket.
    pub fn source_v6(&self, address: u128) -> Result<u128, Refusal> {
        match Ip::of_v6(address) {
            Ip::V4(v4) => self.source_v4(v4).map(|v4| Ip::V4(v4).mapped()),
            ip if self.has(ip) => Ok(ip.mapped()),
            Ip::V6(LOCALHOST_V6) => Ok(Ip::V4(self.own_loopback(LOOPBACK_V6)).mapped()),
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
