// SPDX-License-Identifier: GPL-2.0

//! What networks have of a network namespace and its devices.

use super::{addresses, membership::with_own_network, network::Network};
use crate::{
    linux::{Net, NetDevice},
    policy::address::Ip,
};
use kernel::{ffi::c_int, sync::rcu};

impl Net {
    /// Whether some network has an address in it.
    pub(crate) fn is_taken(&self, address: Ip) -> bool {
        addresses::is_taken(self.number(), address)
    }

    /// Whether the caller is confined to some addresses in it.
    pub(crate) fn is_narrow(&self) -> bool {
        with_own_network(|network| network.is_some_and(|network| network.confines(self.number())))
    }

    /// Whether the caller, which is confined, sees the device of this name.
    pub(crate) fn shows_device(&self, name: &[u8]) -> bool {
        with_own_network(|network| network.is_some_and(|network| self.shows_to(network, name)))
    }

    /// Whether a network sees the device of this name.
    pub(crate) fn shows_to(&self, network: &Network, name: &[u8]) -> bool {
        let guard = rcu::read_lock();
        self.device(name, &guard)
            .is_some_and(|device| device.is_seen_by(network, &guard))
    }

    /// Whether a network sees the device of this number.
    pub(crate) fn shows_index_to(&self, network: &Network, index: c_int) -> bool {
        let guard = rcu::read_lock();
        self.device_at(index, &guard)
            .is_some_and(|device| device.is_seen_by(network, &guard))
    }
}

impl NetDevice {
    /// Whether a network sees it: one that has an address of it, or lo.
    pub(crate) fn is_seen_by(&self, network: &Network, guard: &rcu::Guard) -> bool {
        self.is_loopback()
            || network
                .set()
                .is_some_and(|set| self.has_address_of(&set, guard))
    }
}
