// SPDX-License-Identifier: GPL-2.0

//! What atomic context leaves to a kernel thread: a static that is queued. (The kernel crate's work items are allocated, and
//! cannot be waited for.)
//!
//! C header: `include/linux/workqueue.h`.

use crate::bindings;
use core::cell::UnsafeCell;
use kernel::types::Opaque;

/// A function that runs soon in process context, not beside itself.
///
/// # Invariants
///
/// `work` and `run` are initialised by [`Self::init`] before the first use, and `run` is not changed after that.
#[repr(C)]
pub(crate) struct Work {
    work: Opaque<bindings::work_struct>,
    run: UnsafeCell<fn()>,
}

// SAFETY: The kernel's own queue is all that changes it after `init`.
unsafe impl Sync for Work {}

impl Work {
    pub(crate) const fn new() -> Self {
        Self {
            work: Opaque::uninit(),
            run: UnsafeCell::new(|| ()),
        }
    }

    /// Once, in module init, before any other use: what is to run.
    pub(crate) fn init(&'static self, what: fn()) {
        // INVARIANT: By contract, this is before all uses.
        // SAFETY: Nothing reads it yet: it is read when the work runs, and nobody has queued that.
        unsafe { *self.run.get() = what };
        // SAFETY: It lives as long as the module, and is not queued yet.
        unsafe { bindings::vserver_inline_init_work(self.work.get(), Some(run)) }
    }

    /// From any context. Once more when it is running already, not when it is queued already.
    pub(crate) fn queue(&'static self) {
        // SAFETY: Initialised by the type's invariant; the module waits for it before it goes.
        unsafe { bindings::vserver_inline_schedule_work(self.work.get()) };
    }

    /// Waits until what was queued has run. Sleeps.
    pub(crate) fn flush(&'static self) {
        // SAFETY: Initialised by the type's invariant.
        unsafe { bindings::flush_work(self.work.get()) };
    }
}

/// # Safety
///
/// As a function of a work item that is the first field of a [`Work`] in a static.
unsafe extern "C" fn run(work: *mut bindings::work_struct) {
    // SAFETY: By contract.
    let this = unsafe { &*work.cast_const().cast::<Work>() };
    // SAFETY: By the type's invariant, nothing writes it any more.
    let run = unsafe { *this.run.get() };
    run();
}
