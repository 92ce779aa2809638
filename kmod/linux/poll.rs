// SPDX-License-Identifier: GPL-2.0

//! A wait queue for poll.
//!
//! Not `PollCondVar`, whose end waits for RCU each time: contexts end by the thousand. That wait is
//! for queues that go while somebody is still polling. Ours belongs to a context, and the files
//! that are polled hold that until they are released, when nobody polls them any more.

use core::{marker::PhantomPinned, ptr};
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// Where pollers wait. It must outlive the files that they poll.
///
/// # Invariants
///
/// `head` is initialised, and pinned.
#[pin_data]
pub(crate) struct PollQueue {
    #[pin]
    head: Opaque<bindings::wait_queue_head>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: A wait queue has a lock of its own and may be used on any thread.
unsafe impl Send for PollQueue {}
// SAFETY: As above.
unsafe impl Sync for PollQueue {}

impl PollQueue {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            head <- Opaque::ffi_init(|slot| {
                // SAFETY: The slot is ours to initialise; name and class are static.
                unsafe {
                    bindings::__init_waitqueue_head(
                        slot,
                        c"vserver::ended".as_char_ptr(),
                        kernel::static_lock_class!().as_ptr(),
                    )
                }
            }),
            _pin: PhantomPinned,
        })
    }

    /// Wakes all.
    pub(crate) fn wake(&self) {
        // SAFETY: Initialised and pinned.
        unsafe { bindings::__wake_up(self.head.get(), bindings::TASK_NORMAL, 0, ptr::null_mut()) };
    }

    /// Has the poller wait here too.
    ///
    /// # Safety
    ///
    /// Both pointers must be what a `poll` file operation was given, and the file must keep this
    /// queue until its release.
    pub(crate) unsafe fn wait(
        &self,
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) {
        // SAFETY: By contract; initialised and pinned.
        unsafe { bindings::poll_wait(file, self.head.get(), table) }
    }
}
