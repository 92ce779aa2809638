// SPDX-License-Identifier: GPL-2.0

//! The ioctl ABI of `/dev/vserver` as a crate for user space.
//!
//! The kernel module compiles the same `mod.rs`; there is no second definition.

#![no_std]

#[path = "mod.rs"]
mod abi;

pub use abi::*;
