// SPDX-License-Identifier: GPL-2.0

//! Sets of capabilities, and the set that `--secure` gives up.

use crate::Error;
use caps::Capability;
use std::collections::HashSet;

/// A set of capabilities; bit N is capability N, as in the ABI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

/// What a server in a context has no business with: it reaches beyond the context. The first lines
/// are those of 2002, the last ones capabilities that were invented since.
const SECURE: [Capability; 25] = [
    Capability::CAP_LINUX_IMMUTABLE,
    Capability::CAP_NET_BROADCAST,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_NET_RAW,
    Capability::CAP_IPC_LOCK,
    Capability::CAP_IPC_OWNER,
    Capability::CAP_SYS_MODULE,
    Capability::CAP_SYS_RAWIO,
    Capability::CAP_SYS_PACCT,
    Capability::CAP_SYS_ADMIN,
    Capability::CAP_SYS_BOOT,
    Capability::CAP_SYS_NICE,
    Capability::CAP_SYS_RESOURCE,
    Capability::CAP_SYS_TIME,
    Capability::CAP_MKNOD,
    Capability::CAP_AUDIT_CONTROL,
    Capability::CAP_AUDIT_READ,
    Capability::CAP_MAC_ADMIN,
    Capability::CAP_MAC_OVERRIDE,
    Capability::CAP_SYSLOG,
    Capability::CAP_WAKE_ALARM,
    Capability::CAP_BLOCK_SUSPEND,
    Capability::CAP_BPF,
    Capability::CAP_PERFMON,
    Capability::CAP_CHECKPOINT_RESTORE,
];

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// What `--secure` gives up.
    pub fn secure() -> Self {
        SECURE.into_iter().collect()
    }

    /// The bits, as the ABI wants them.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether the capability is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bitmask() != 0
    }

    /// Whether the set is empty.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set with this capability too.
    #[must_use]
    pub fn with(self, capability: Capability) -> Self {
        Self(self.0 | capability.bitmask())
    }

    /// The set without this capability.
    #[must_use]
    pub fn without(self, capability: Capability) -> Self {
        Self(self.0 & !capability.bitmask())
    }

    /// What remains on a kernel that knows only this many capabilities.
    #[must_use]
    pub fn known_to(self, capabilities: u32) -> Self {
        let mask = 1_u64
            .checked_shl(capabilities)
            .map_or(u64::MAX, |bit| bit - 1);
        Self(self.0 & mask)
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        capabilities.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl From<&HashSet<Capability>> for CapabilitySet {
    fn from(capabilities: &HashSet<Capability>) -> Self {
        capabilities.iter().copied().collect()
    }
}

/// All 41 capabilities, in the kernel's order.
pub fn all() -> Vec<Capability> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_by_key(Capability::index);
    all
}

/// A capability by its name: in any case, with `CAP_`.
pub fn parse(name: &str) -> Result<Capability, Error> {
    name.to_ascii_uppercase()
        .parse()
        .map_err(|_| Error::BadCapability(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_41_can_be_named() {
        let all = all();
        assert_eq!(all.len(), 41);
        for (bit, capability) in all.into_iter().enumerate() {
            assert_eq!(usize::from(capability.index()), bit);
            let name = capability.to_string();
            assert_eq!(parse(&name).unwrap(), capability);
            assert_eq!(parse(&name.to_lowercase()).unwrap(), capability);
        }
    }

    #[test]
    fn wrong_names_are_refused() {
        for name in [
            "",
            "CAP_",
            "CAP_FOO",
            "NET_RAW",
            "cap_net_raw ",
            "!CAP_NET_RAW",
        ] {
            assert!(parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn secure_is_what_2002_and_we_say() {
        let secure = CapabilitySet::secure();
        assert_eq!(secure.bits().count_ones(), 25);
        assert!(secure.contains(Capability::CAP_SYS_ADMIN));
        assert!(secure.contains(Capability::CAP_BPF));
        assert!(!secure.contains(Capability::CAP_CHOWN));
        assert!(!secure.contains(Capability::CAP_SYS_CHROOT));
        assert!(!secure.contains(Capability::CAP_AUDIT_WRITE));
        assert!(!secure.contains(Capability::CAP_SYS_PTRACE));
    }

    #[test]
    fn sets_add_and_remove() {
        let set = CapabilitySet::EMPTY
            .with(Capability::CAP_CHOWN)
            .with(Capability::CAP_BPF);
        assert_eq!(set.bits(), 1 | (1 << 39));
        assert_eq!(set.without(Capability::CAP_CHOWN).bits(), 1 << 39);
        assert_eq!(set.known_to(39).bits(), 1);
        assert_eq!(set.known_to(64), set);
    }
}
