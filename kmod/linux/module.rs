// SPDX-License-Identifier: GPL-2.0

//! The module itself: what keeps it loaded, and when none of its code runs any more.
//!
//! C headers: `include/linux/{module,rcupdate}.h`.

use crate::bindings;
use kernel::ModuleMetadata;

/// Keeps the module loaded until [`module_put`]. For callers inside an ioctl, whose open file holds the module already.
pub(crate) fn module_get() {
    // SAFETY: The module is there as long as its code runs.
    unsafe { bindings::__module_get(crate::LocalModule::THIS_MODULE.as_ptr()) }
}

/// Gives back what [`module_get`] took. Module exit waits for its callers, as for all of ours.
pub(crate) fn module_put() {
    // SAFETY: As above.
    unsafe { bindings::module_put(crate::LocalModule::THIS_MODULE.as_ptr()) }
}

/// Any number, as nobody can guess it.
pub(crate) fn random_u64() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::get_random_u64() }
}
