// SPDX-License-Identifier: GPL-2.0

//! vserver: security contexts on one kernel, as a module. See ARCHITECTURE.md.

use kernel::prelude::*;

mod attach;
#[allow(improper_ctypes)] // Kernel structures cross only as pointers.
mod bindings;
mod context;
mod device;
mod hooks;
mod linux;
#[path = "policy/mod.rs"]
#[expect(unreachable_pub)] // Public in the crate of the same source.
mod policy;
#[path = "uapi/mod.rs"]
#[allow(dead_code, unreachable_pub)] // The whole ABI, also what only user space needs.
mod uapi;

module! {
    type: Vserver,
    name: "vserver",
    authors: ["The vserver developers"],
    description: "Security contexts: virtual servers on one kernel and one network stack",
    license: "GPL",
}

/// What `modinfo` shows of the file, so that programs know its ABI before it is loaded.
#[used]
#[link_section = ".modinfo"]
static ABI: [u8; 14] = {
    let mut text = *b"vserver_abi=0\0";
    assert!(uapi::ABI_VERSION < 10);
    text[12] += uapi::ABI_VERSION as u8;
    text
};

/// The loaded module. Fields drop in order: no new callers, then no hooks, then no leftovers.
#[pin_data]
struct Vserver {
    #[pin]
    device: device::Node,
    #[pin]
    hooks: attach::Attached<hooks::All>,
}

impl kernel::InPlaceModule for Vserver {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            // The hooks first: the device must not accept a context before the walls stand.
            hooks: {
                attach::kallsyms::resolve()?;
                context::init::<hooks::All>()?;
                linux::init_names();
                hooks::init();
                attach::Attached::new()?
            },
            device <- device::register(),
        })
    }
}
