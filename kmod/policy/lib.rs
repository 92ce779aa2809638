// SPDX-License-Identifier: GPL-2.0

//! The pure decisions of vserver as a crate, so that they are tested on the host.
//!
//! The kernel module compiles the same `mod.rs`.

#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

// The policy says `crate::uapi`, which in the kernel module is a module and here a crate.
use vserver_uapi as uapi;

#[path = "mod.rs"]
mod policy;

pub use policy::*;

#[cfg(test)]
mod tests;
