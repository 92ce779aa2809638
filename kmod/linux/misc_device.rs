// SPDX-License-Identifier: GPL-2.0

//! A character device that is open to everyone. (`kernel::miscdevice` registers devices for root only.)
//!
//! C header: `include/linux/miscdevice.h`.

use crate::bindings::umode_t;
use core::{ffi::CStr, marker::PhantomData};
use kernel::{
    bindings,
    error::to_result,
    miscdevice::{MiscDevice, MiscDeviceOptions},
    prelude::*,
    types::Opaque,
};

/// The device is there as long as this lives.
///
/// # Invariants
///
/// `node` is registered. This has the layout of `MiscDeviceRegistration<T>`, which is a transparent wrapper of the same
/// structure: the operations of `T` rely on that.
#[repr(transparent)]
#[pin_data(PinnedDrop)]
pub(crate) struct MiscNode<T: MiscDevice> {
    #[pin]
    node: Opaque<bindings::miscdevice>,
    device: PhantomData<T>,
}

// SAFETY: `misc_deregister` may be called from any thread.
unsafe impl<T: MiscDevice> Send for MiscNode<T> {}
// SAFETY: There is no method that takes `&self`.
unsafe impl<T: MiscDevice> Sync for MiscNode<T> {}

impl<T: MiscDevice> MiscNode<T> {
    /// Makes the device, with these permission bits.
    pub(crate) fn register(name: &'static CStr, mode: umode_t) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            node <- Opaque::try_ffi_init(move |slot: *mut bindings::miscdevice| {
                let mut node = MiscDeviceOptions { name }.into_raw::<T>();
                node.mode = mode;
                // SAFETY: The slot is ours to initialise.
                unsafe { slot.write(node) };
                // INVARIANT: Nobody has it when this fails.
                // SAFETY: Just initialised; pinned until `drop` deregisters it.
                to_result(unsafe { bindings::misc_register(slot) })
            }),
            device: PhantomData,
        })
    }
}

#[pinned_drop]
impl<T: MiscDevice> PinnedDrop for MiscNode<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: Registered, by the type's invariant.
        unsafe { bindings::misc_deregister(self.node.get()) }
    }
}
