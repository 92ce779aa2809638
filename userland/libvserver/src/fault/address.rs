// SPDX-License-Identifier: GPL-2.0

//! What is wrong with the text of an address.

use std::fmt;

/// What is wrong with the text of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No address at all.
    Address,
    /// What follows the slash is no number of bits.
    Prefix {
        /// The most bits.
        most: u8,
        /// Whether a mask would do.
        mask: bool,
    },
    /// The mask has holes.
    Mask,
    /// 0.0.0.0 or ::.
    Unspecified,
    /// Not an address of one machine.
    Multicast,
    /// IPv4 in the guise of IPv6.
    Mapped,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => write!(f, "is not an IP address"),
            Self::Prefix { most, mask } => {
                let mask = if *mask { " or a mask" } else { "" };
                write!(f, "has no prefix of 0 to {most} bits{mask} after the slash")
            }
            Self::Mask => write!(f, "has a mask that is not ones followed by zeros"),
            Self::Unspecified => write!(f, "is no address but stands for any"),
            Self::Multicast => write!(f, "is a multicast address, which no machine has"),
            Self::Mapped => write!(f, "is an IPv4 address written as IPv6"),
        }
    }
}

impl Fault {
    /// What would be right.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Address => {
                "addresses look like 10.0.0.5, 10.0.0.5/24, 10.0.0.5/255.255.255.0 or 2001:db8::5/64"
            }
            Self::Prefix { mask: true, .. } | Self::Mask => {
                "masks look like /24 or /255.255.255.0"
            }
            Self::Prefix { mask: false, .. } => "IPv6 prefixes look like /64",
            Self::Unspecified => "name the addresses; to have them all, do without",
            Self::Multicast => "groups can be joined without being named; name the machine's address",
            Self::Mapped => "write it as IPv4, such as 10.0.0.5",
        }
    }
}
