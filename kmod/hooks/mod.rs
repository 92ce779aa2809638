// SPDX-License-Identifier: GPL-2.0

//! The handlers, named after the kernel subsystem that each guards. They convert arguments, ask
//! the policy and return its answer. Both lanes call the same ones.

pub(crate) mod pid;
pub(crate) mod proc;
pub(crate) mod ptrace;
pub(crate) mod signal;
pub(crate) mod task;
