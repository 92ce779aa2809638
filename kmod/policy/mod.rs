// SPDX-License-Identifier: GPL-2.0

//! Decisions without side effects: no kernel type, no allocation, no `unsafe`.

pub mod address;
pub mod caps;
pub mod counters;
pub mod enter;
pub mod limits;
pub mod locks;
pub mod machine_files;
pub mod network_files;
pub mod ports;
pub mod proc_net;
pub mod visibility;
