// SPDX-License-Identifier: GPL-2.0

//! The network of a socket.

use crate::{
    context::network::Network,
    linux::{the_network, NetworkSocket, SocketNetwork, SocketOps},
    policy::address::Set,
    uapi::CONTEXT_ROOT,
};

the_network!(Network);

impl SocketNetwork for Network {
    fn is_of_context(&self) -> bool {
        self.context() != CONTEXT_ROOT
    }

    fn outer_localhost(&self) -> u32 {
        self.place_of_localhost()
    }

    fn set(&self) -> Option<Set<'_>> {
        Network::set(self)
    }
}

/// What is of a network.
pub(crate) trait OfNetwork<'a> {
    /// That one.
    fn network(self) -> &'a Network;
}

impl<'a> OfNetwork<'a> for NetworkSocket<'a> {
    #[inline(always)]
    fn network(self) -> &'a Network {
        self.network_as()
    }
}

impl<'a> OfNetwork<'a> for &'a SocketOps {
    #[inline(always)]
    fn network(self) -> &'a Network {
        self.network_as()
    }
}
