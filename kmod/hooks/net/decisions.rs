// SPDX-License-Identifier: GPL-2.0

//! Decisions of a network about addresses of its sockets, by the rules of `policy/address.rs`.
//! Here, addresses have the form of the kernel's structures: network byte order, and zero for none.

use crate::{
    context::network::{seconds, Network},
    policy::address::{Bind, Ip, Names, Refusal, Set},
};
use kernel::prelude::*;

/// An IPv4 address.
pub(crate) type Be32 = u32;
/// An IPv6 address.
pub(crate) type In6 = [u8; 16];

pub(crate) use crate::linux::{is_multicast_v4, LOCALHOST};

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotAvailable => EADDRNOTAVAIL,
            Refusal::Unreachable => ENETUNREACH,
            Refusal::Foreign => EPERM,
            Refusal::Unnamed(_) => ENOBUFS,
        }
    }
}

/// The address that a decision binds to; zero for "any".
pub(crate) fn place(bind: &Bind) -> Ip {
    match bind {
        Bind::Exact(ip) => *ip,
        Bind::Any | Bind::AnyV4 => Ip::V4(0),
    }
}

/// The IPv4 address; zero if it is an IPv6 address.
pub(crate) fn v4(ip: Ip) -> Be32 {
    match ip {
        Ip::V4(address) => address.to_be(),
        Ip::V6(_) => 0,
    }
}

/// The IPv6 address; an IPv4 address is mapped.
pub(crate) fn v6(ip: Ip) -> In6 {
    ip.mapped().to_be_bytes()
}

fn ip_v4(address: Be32) -> Ip {
    Ip::V4(u32::from_be(address))
}

/// Maps an IPv4 address into IPv6.
pub(crate) fn mapped(address: Be32) -> In6 {
    v6(ip_v4(address))
}

/// The IPv4 address that is mapped into an IPv6 address, if there is one.
pub(crate) fn unmapped(address: In6) -> Option<Be32> {
    match Ip::of_v6(u128::from_be_bytes(address)) {
        ip @ Ip::V4(_) => Some(v4(ip)),
        Ip::V6(_) => None,
    }
}

static NO_NAMES: Names = Names::new();

impl Network {
    /// The addresses of a confined network. Another network has none: its sockets do not ask.
    pub(crate) fn set_or_nothing(&self) -> Set<'_> {
        self.set().unwrap_or(Set {
            ranges: &[],
            broadcast: 0,
            loopback: 0,
            names: &NO_NAMES,
        })
    }

    /// Makes a decision; if that needs a name for an address of 127.0.0.0/8, after naming it.
    /// Sleeps.
    pub(crate) fn decide<T>(
        &self,
        decision: impl Fn(&Set<'_>) -> Result<T, Refusal>,
        outside: impl FnOnce(&T) -> Ip,
    ) -> Result<T, Refusal> {
        let set = self.set_or_nothing();
        let mut result = decision(&set);
        if let Err(Refusal::Unnamed(address)) = result {
            if self.name(address).is_ok() {
                result = decision(&set);
            }
        }
        if let Ok(found) = &result {
            let ip = outside(found);
            if set.is_own_v4(ip) {
                set.names.touch(ip, seconds());
            }
        }
        result
    }

    /// The address outside of 127.0.0.1 inside. Sleeps.
    pub(crate) fn place_of_localhost(&self) -> Be32 {
        let mut dest = LOCALHOST;
        // A refusal leaves it as it is.
        let _ = self.dest_v4(&mut dest);
        dest
    }

    /// The address that a socket is bound to in place of "any"; for an IPv6 socket, mapped.
    pub(crate) fn place_of_any(&self, v6: bool) -> Be32 {
        self.set_or_nothing().place_of_any(v6).to_be()
    }

    /// How to bind an IPv4 socket. Sleeps.
    pub(crate) fn bind_v4(&self, address: Be32) -> Result<Bind> {
        Ok(self.decide(|set| set.bind_v4(u32::from_be(address)), place)?)
    }

    /// The same for an IPv6 socket. `v6only`: it does not take IPv4. Sleeps.
    pub(crate) fn bind_v6(&self, address: In6, v6only: bool) -> Result<Bind> {
        let wanted = u128::from_be_bytes(address);
        Ok(self.decide(|set| set.bind_v6(wanted, v6only), place)?)
    }

    /// Translates the destination of an IPv4 socket to the one outside, in place. Returns the
    /// source if it follows from that. Sleeps.
    pub(crate) fn dest_v4(&self, dest: &mut Be32) -> Result<Be32> {
        let wanted = u32::from_be(*dest);
        let way = self.decide(|set| set.dest_v4(wanted), |way| way.dest)?;
        *dest = v4(way.dest);
        Ok(way.source.map_or(0, v4))
    }

    /// The same for an IPv6 socket. Sleeps.
    pub(crate) fn dest_v6(&self, dest: &mut In6) -> Result<In6> {
        let wanted = u128::from_be_bytes(*dest);
        let way = self.decide(|set| set.dest_v6(wanted), |way| way.dest)?;
        *dest = v6(way.dest);
        Ok(way.source.map_or([0; 16], v6))
    }

    /// Translates a source that a program chooses to the one outside.
    pub(crate) fn source_v4(&self, source: Be32) -> Result<Be32> {
        let outside = self.set_or_nothing().source_v4(u32::from_be(source))?;
        Ok(outside.to_be())
    }

    /// The same for an IPv6 socket.
    pub(crate) fn source_v6(&self, source: In6) -> Result<In6> {
        let wanted = u128::from_be_bytes(source);
        Ok(self.set_or_nothing().source_v6(wanted)?.to_be_bytes())
    }

    /// Whether the network has an address of the host.
    pub(crate) fn has_v4(&self, address: Be32) -> bool {
        self.set_or_nothing().has(ip_v4(address))
    }

    /// The same for IPv6.
    pub(crate) fn has_v6(&self, address: In6) -> bool {
        let ip = Ip::of_v6(u128::from_be_bytes(address));
        self.set_or_nothing().has(ip)
    }

    /// The source for a destination: the proposed one if the network has it, else the nearest to
    /// the destination.
    pub(crate) fn choose_v4(&self, dest: Be32, proposed: Be32) -> Be32 {
        self.set_or_nothing()
            .choose(ip_v4(dest), ip_v4(proposed))
            .map_or(0, v4)
    }

    /// The same for IPv6.
    pub(crate) fn choose_v6(&self, dest: In6, proposed: In6) -> In6 {
        self.set_or_nothing()
            .choose(
                Ip::V6(u128::from_be_bytes(dest)),
                Ip::V6(u128::from_be_bytes(proposed)),
            )
            .map_or([0; 16], v6)
    }

    /// The only IPv4 address of the network; zero if there are several, or none.
    pub(crate) fn only_v4(&self) -> Be32 {
        self.set_or_nothing().only(true).map_or(0, v4)
    }

    /// The same for IPv6.
    pub(crate) fn only_v6(&self) -> In6 {
        self.set_or_nothing().only(false).map_or([0; 16], v6)
    }

    /// Translates an address outside to the one inside.
    pub(crate) fn inward_v4(&self, address: Be32) -> Be32 {
        v4(self.set_or_nothing().inward(ip_v4(address)))
    }

    /// The same for an IPv6 socket.
    pub(crate) fn inward_v6(&self, address: In6) -> In6 {
        self.set_or_nothing()
            .inward_v6(u128::from_be_bytes(address))
            .to_be_bytes()
    }

    /// The first address of the network's loopback: 127.0.0.1 inside, unless the network has the
    /// host's 127.0.0.1.
    pub(crate) fn first_of_loopback(&self) -> Be32 {
        let loopback = u32::from(self.set_or_nothing().loopback);
        ((127 << 24) | ((loopback + 256) << 8) | 1).to_be()
    }

    /// Whether an address belongs to the network's loopback.
    pub(crate) fn is_on_loopback(&self, address: Be32) -> bool {
        let number = self.set().map_or(-1, |set| i32::from(set.loopback));
        loopback_of(address) == number
    }
}

/// The number of the loopback that an address belongs to; negative if it belongs to none.
fn loopback_of(address: Be32) -> i32 {
    let address = u32::from_be(address);
    if address >> 24 == 127 {
        (address >> 8 & 0xffff) as i32 - 256
    } else {
        -1
    }
}
