// SPDX-License-Identifier: GPL-2.0

//! Safe access to security contexts through `/dev/vserver`.
//!
//! [`Device`] is the entry: it opens the device, agrees on the ABI version once, and has one method
//! per ioctl. The only files with `unsafe` are `ioctl.rs` and `syscall.rs`.

#![deny(unsafe_code)]

pub mod account;
pub mod addresses;
pub mod alias;
mod beneath;
pub mod capability;
pub mod config;
pub mod context;
pub mod context_fd;
mod dev_nodes;
pub mod device;
pub mod error;
mod fault;
pub mod flags;
#[cfg(test)]
mod fuzz;
pub mod guest;
pub mod handover;
pub mod helper;
pub mod init_system;
pub mod interface;
mod ioctl;
pub mod lane;
pub mod module;
pub mod names;
pub mod process;
pub mod root;
mod rtnetlink;
pub mod spectator;
mod syscall;
pub mod tree;

pub use account::Account;
pub use addresses::Address;
pub use addresses::Ipv4root;
pub use capability::CapabilitySet;
pub use config::Config;
pub use context::Request;
pub use context_fd::ContextFd;
pub use device::Device;
pub use error::{Error, Kind, Result};
pub use flags::Flags;
pub use guest::Guest;
pub use init_system::InitSystem;
pub use interface::Interface;
pub use lane::Lane;
pub use names::Names;
pub use root::Root;
pub use spectator::Spectator;
pub use vserver_uapi as uapi;
