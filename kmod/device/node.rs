// SPDX-License-Identifier: GPL-2.0

//! The registration of `/dev/vserver`. One of the files that may contain `unsafe`.
//!
//! `kernel::miscdevice` registers devices for root only; ours is open to everyone (mode 0666),
//! because entering a new context needs no privilege.

use crate::device::requests::Device;
use kernel::{
    bindings,
    error::to_result,
    miscdevice::MiscDeviceOptions,
    prelude::*,
    types::Opaque, //
};

/// The device is there as long as this lives.
///
/// # Invariants
///
/// `node` is registered. It has the layout of `MiscDeviceRegistration<Device>`, which is a
/// transparent wrapper of the same structure: `Device`'s operations rely on that.
#[pin_data(PinnedDrop)]
pub(crate) struct Node {
    #[pin]
    node: Opaque<bindings::miscdevice>,
}

// SAFETY: `misc_deregister` may be called from any thread.
unsafe impl Send for Node {}
// SAFETY: There is no method that takes `&self`.
unsafe impl Sync for Node {}

impl Node {
    pub(crate) fn register() -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            node <- Opaque::try_ffi_init(|slot: *mut bindings::miscdevice| {
                let options = MiscDeviceOptions { name: c"vserver" };
                let mut node = options.into_raw::<Device>();
                node.mode = 0o666;
                // SAFETY: The slot is ours to initialise.
                unsafe { slot.write(node) };
                // SAFETY: Just initialised; pinned until `drop` deregisters it.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
        })
    }
}

#[pinned_drop]
impl PinnedDrop for Node {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { bindings::misc_deregister(self.node.get()) }
    }
}
