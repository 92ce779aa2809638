// SPDX-License-Identifier: GPL-2.0

//! vserver: security contexts on one kernel, as a module. See ARCHITECTURE.md.

use kernel::prelude::*;

mod attach;
mod context;
mod context_fd;
mod device;
mod device_node;
mod fakeinit;
mod ffi;
mod hooks;
mod net_ffi;
mod network;
#[path = "policy/mod.rs"]
#[expect(unreachable_pub)] // Public in the crate of the same source.
mod policy;
mod registry;
mod task;
#[path = "uapi/mod.rs"]
#[allow(dead_code, unreachable_pub)] // The whole ABI, also what only user space needs.
mod uapi;
mod wait;

module! {
    type: Vserver,
    name: "vserver",
    authors: ["The vserver developers"],
    description: "Security contexts: virtual servers on one kernel and one network stack",
    license: "GPL",
}

/// The loaded module. Fields drop in order: no new callers, then no hooks, then no leftovers.
#[pin_data]
struct Vserver {
    #[pin]
    device: device_node::Node,
    #[pin]
    hooks: attach::Attached,
}

impl kernel::InPlaceModule for Vserver {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // The hooks first: the device must not accept a context before the walls stand.
            hooks: {
                ffi::resolve()?;
                registry::init();
                attach::Attached::new()?
            },
            device <- device_node::Node::register(),
        })
    }
}
