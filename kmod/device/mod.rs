// SPDX-License-Identifier: GPL-2.0

//! `/dev/vserver`, and the descriptors that it gives.

mod context_fd;
mod ioctl;
mod node;
mod requests;

pub(crate) use self::node::{register, Node};
