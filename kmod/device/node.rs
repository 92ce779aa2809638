// SPDX-License-Identifier: GPL-2.0

//! The registration of `/dev/vserver`. It is open to everyone, because entering a new context needs no privilege.

use crate::{device::requests::Device, linux::MiscNode};
use kernel::prelude::*;

/// The device is there as long as this lives.
pub(crate) type Node = MiscNode<Device>;

/// Makes the device.
pub(crate) fn register() -> impl PinInit<Node, Error> {
    Node::register(c"vserver", 0o666)
}
