// SPDX-License-Identifier: GPL-2.0

//! The two ways in which the module attaches to the kernel.

use vserver_uapi as uapi;

/// A lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Attached through ftrace to an unmodified kernel.
    Stock,
    /// Attached to the hook points of a patched kernel.
    Patched,
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Stock, Self::Patched];

    /// The lane by its number in the ABI.
    pub fn from_abi(lane: u32) -> Option<Self> {
        match lane {
            uapi::LANE_STOCK => Some(Self::Stock),
            uapi::LANE_PATCHED => Some(Self::Patched),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Patched => "patched",
        }
    }

    /// The kernel that it is for.
    pub fn kernel(self) -> &'static str {
        match self {
            Self::Stock => "unmodified",
            Self::Patched => "with the patches",
        }
    }

    /// How the module attaches in it.
    pub fn attaches_by(self) -> &'static str {
        match self {
            Self::Stock => "ftrace",
            Self::Patched => "static calls",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_abi() {
        assert_eq!(Lane::from_abi(0), Some(Lane::Stock));
        assert_eq!(Lane::from_abi(1), Some(Lane::Patched));
        assert_eq!(Lane::from_abi(2), None);
    }
}
