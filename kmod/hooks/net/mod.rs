// SPDX-License-Identifier: GPL-2.0

//! The network: sockets of processes in contexts, and of those that are confined to addresses.

pub(crate) mod any;
pub(crate) mod bind;
pub(crate) mod connect;
pub(crate) mod decisions;
pub(crate) mod device;
pub(crate) mod events;
pub(crate) mod genetlink;
pub(crate) mod icmp;
pub(crate) mod lookup;
pub(crate) mod multicast;
pub(crate) mod name;
pub(crate) mod netlink;
mod netlink_message;
mod network;
pub(crate) mod network_files;
mod ops;
pub(crate) mod owner;
pub(crate) mod ports;
pub(crate) mod prepare;
pub(crate) mod procfs;
pub(crate) mod route;
mod rtnetlink;
pub(crate) mod sctp;
pub(crate) mod sendmsg;
mod sock_diag;
pub(crate) mod sockets;
pub(crate) mod sockopt;
pub(crate) mod unix;
