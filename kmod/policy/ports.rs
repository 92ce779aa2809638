// SPDX-License-Identifier: GPL-2.0

//! Which sockets stand in each other's way at a port.
//!
//! The kernel compares what sockets are bound to. A socket bound to "any" in a network is bound to that network's loopback
//! for the kernel, but holds all addresses of the network. Pairs with such a socket are judged here, by the kernel's rules
//! for sockets that are bound to the real addresses.

use crate::policy::address::{Ip, Set};

/// The addresses at which a socket holds its port.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// As the kernel has it: one address, or with zero all of the family; `::` without `v6only` also all of IPv4.
    Plain {
        /// Zero: all of the family.
        address: Ip,
        /// IPV6_V6ONLY.
        v6only: bool,
    },
    /// All addresses of a network, of one family or both.
    Any {
        /// The network's.
        set: Set<'a>,
        /// Those of IPv4.
        v4: bool,
        /// Those of IPv6.
        v6: bool,
    },
}

impl Held<'_> {
    /// Whether a packet could be for both. Of two [`Held::Plain`] the kernel knows that itself: never here.
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain { .. }, Self::Plain { .. }) => false,
            (Self::Any { set, v4, v6 }, Self::Plain { address, v6only })
            | (Self::Plain { address, v6only }, Self::Any { set, v4, v6 }) => match address {
                Ip::V4(0) => *v4,
                Ip::V6(0) => (*v6 && set.has_v6()) || (*v4 && !v6only),
                ip => {
                    (set.has(*ip) && if ip.is_v4() { *v4 } else { *v6 })
                        || (*v4 && set.is_own_v4(*ip))
                        || (*v6 && set.is_own_v6(*ip))
                }
            },
            (
                Self::Any { set, v4, v6 },
                Self::Any {
                    set: set2,
                    v4: v4_2,
                    v6: v6_2,
                },
            ) => {
                let (v4, v6) = (*v4 && *v4_2, *v6 && *v6_2);
                // Each has 127.0.0.1 and ::1.
                (set.loopback == set2.loopback && (v4 || v6)) || set.overlaps(set2, v4, v6)
            }
        }
    }
}

/// How a socket shares its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// SO_REUSEADDR.
    pub reuse: bool,
    /// SO_REUSEPORT.
    pub reuseport: bool,
    /// The device that it is bound to, 0 for none.
    pub device: i32,
    /// Its owner's user, outside. Nothing for what is left of a connection (TIME_WAIT): that shares with everybody.
    pub user: Option<u32>,
    /// Whether it listens.
    pub listens: bool,
}

impl Sharing {
    fn may_meet(&self, other: &Self) -> bool {
        self.device == 0 || other.device == 0 || self.device == other.device
    }

    fn is_grouped(&self, other: &Self) -> bool {
        self.reuseport && other.reuseport && (other.user.is_none() || self.user == other.user)
    }

    /// Whether a socket of TCP that is about to get the port is refused because of another one: the kernel's
    /// `inet_bind_conflict`. `joins`: it may become one of a group that shares the port. `chosen`: the kernel
    /// chooses the port, and takes one that nobody shares.
    pub fn conflicts_tcp(&self, other: &Self, joins: bool, chosen: bool) -> bool {
        if !self.may_meet(other) {
            false
        } else if self.reuse && other.reuse && !other.listens {
            chosen
        } else {
            chosen || !joins || !self.is_grouped(other)
        }
    }

    /// The same of UDP: the kernel's `udp_lib_lport_inuse`.
    pub fn conflicts_udp(&self, other: &Self, joins: bool) -> bool {
        self.may_meet(other) && !(self.reuse && other.reuse) && !(joins && self.is_grouped(other))
    }
}
