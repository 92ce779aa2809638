// SPDX-License-Identifier: GPL-2.0

//! Terminals.

pub(crate) mod devpts;
pub(crate) mod pty;
