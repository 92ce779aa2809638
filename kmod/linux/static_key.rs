// SPDX-License-Identifier: GPL-2.0

//! A static key: a test that costs a NOP while it is false.
//!
//! C header: `include/linux/jump_label.h`.

use crate::bindings;
use core::mem::MaybeUninit;

/// What [`kernel::jump_label::static_branch_unlikely`] wants around a key.
#[repr(C)]
struct Key {
    key: bindings::static_key_false,
}

/// On while the hooks that a process 1 of a context needs are attached.
#[no_mangle]
#[allow(non_upper_case_globals)] // Its name in C.
static mut vserver_has_inits: Key = Key {
    // SAFETY: Zeroes are a value of each member, and mean that it is off.
    key: unsafe { MaybeUninit::zeroed().assume_init() },
};

/// Whether there may be a process 1 of a context.
#[inline(always)]
pub(crate) fn has_inits() -> bool {
    // SAFETY: The key has the layout of C, and only the kernel changes it, together with this code.
    unsafe { kernel::jump_label::static_branch_unlikely!(vserver_has_inits, Key, key) }
}

/// Turns the key on. Sleeps.
pub(crate) fn note_inits() {
    // SAFETY: Process context; the key is one of this module's, which the kernel has prepared when it was loaded.
    unsafe { bindings::static_key_enable(&raw mut vserver_has_inits.key.key) }
}

/// Turns the key off. Sleeps.
pub(crate) fn forget_inits() {
    // SAFETY: As in `note_inits`.
    unsafe { bindings::static_key_disable(&raw mut vserver_has_inits.key.key) }
}
