// SPDX-License-Identifier: GPL-2.0

//! Decisions without side effects: no kernel type, no allocation, no `unsafe`.

pub mod address;
pub mod caps;
pub mod enter;
pub mod limits;
pub mod visibility;
