// SPDX-License-Identifier: GPL-2.0

//! What atomic context leaves to a kernel thread: a static that is queued. (The kernel crate's work items are allocated, and
//! cannot be waited for.)
//!
//! C header: `include/linux/workqueue.h`.

use crate::bindings;
use core::{cell::UnsafeCell, mem::offset_of};
use kernel::{time::msecs_to_jiffies, types::Opaque};

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

/// A function that runs later in process context, and may take long there.
///
/// # Invariants
///
/// As those of [`Work`].
#[repr(C)]
pub(crate) struct DelayedWork {
    work: Opaque<bindings::delayed_work>,
    run: UnsafeCell<fn()>,
}

// SAFETY: The kernel's own queue and timer are all that changes it after `init`.
unsafe impl Sync for DelayedWork {}

impl DelayedWork {
    pub(crate) const fn new() -> Self {
        Self {
            work: Opaque::uninit(),
            run: UnsafeCell::new(|| ()),
        }
    }

    /// As [`Work::init`].
    pub(crate) fn init(&'static self, what: fn()) {
        // INVARIANT: By contract, this is before all uses.
        // SAFETY: Nothing reads it yet: it is read when the work runs, and nobody has queued that.
        unsafe { *self.run.get() = what };
        // SAFETY: It lives as long as the module, and is not queued yet.
        unsafe { bindings::vserver_inline_init_delayed_work(self.work.get(), Some(run_delayed)) };
    }

    /// From any context: so many milliseconds from now, and not before, if it was waiting already.
    pub(crate) fn queue_after(&'static self, milliseconds: u32) {
        let delay = msecs_to_jiffies(milliseconds);
        // SAFETY: Initialised by the type's invariant; the module cancels it before it goes.
        unsafe { bindings::vserver_inline_mod_delayed_work(self.work.get(), delay) };
    }

    /// It does not run after this, unless it is queued again. Waits for one that runs. Sleeps.
    pub(crate) fn cancel(&'static self) {
        // SAFETY: Initialised by the type's invariant.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
    }
}

const _: () = assert!(offset_of!(bindings::delayed_work, work) == 0);

/// # Safety
///
/// As a function of a work item that begins a `delayed_work`, which is the first field of a [`DelayedWork`] in a static.
unsafe extern "C" fn run_delayed(work: *mut bindings::work_struct) {
    // SAFETY: By contract.
    let this = unsafe { &*work.cast_const().cast::<DelayedWork>() };
    // SAFETY: By the type's invariant, nothing writes it any more.
    let run = unsafe { *this.run.get() };
    run();
}
