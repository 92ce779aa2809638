// SPDX-License-Identifier: GPL-2.0

//! Attachment: from the kernel's functions to the handlers in `hooks/`.
//!
//! The lane is fixed when the module is built: `native` for a kernel with CONFIG_SECURITY_VSERVER,
//! `ftrace` for any other. What both lanes wrap by ftrace, the network's functions, is in C.
//!
//! # Leaving
//!
//! After detaching, a task may still be inside one of our functions. Handlers that cannot sleep
//! are left when an RCU-tasks grace period has passed, because a task in them is at most preempted.
//! Wrappers that call something that may sleep count themselves in [`Inside`]. So removal is: one
//! grace period (whoever had jumped in has counted), wait until the count is zero, one more
//! grace period (whoever had counted down has returned). Around the latter the entries of terminals
//! and the roots of /proc forget us, see `devpts.c` and `proc_root.c`.

use crate::{ffi, registry, task};
use core::ffi::c_int;
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    task::Task,
    time::{delay::fsleep, Delta},
};

#[cfg(not(CONFIG_SECURITY_VSERVER))]
mod ftrace;
#[cfg(CONFIG_SECURITY_VSERVER)]
mod native;

#[cfg(CONFIG_SECURITY_VSERVER)]
use self::native as lane;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
use crate::ffi::ftrace as lane;

pub(crate) use lane::hooks;

/// The lane of this build, as the ABI names it.
pub(crate) const LANE: u32 = if cfg!(CONFIG_SECURITY_VSERVER) {
    crate::uapi::LANE_PATCHED
} else {
    crate::uapi::LANE_STOCK
};

/// What this build can do, as the ABI names it.
pub(crate) const FEATURES: u64 = crate::uapi::FEATURE_ADDRESSES
    | crate::uapi::FEATURE_FAKEINIT
    | if cfg!(CONFIG_SECURITY_VSERVER) {
        crate::uapi::FEATURE_ORPHANS
    } else {
        0
    };

/// Attaches what a context's process 1 needs, before there is the first one. Sleeps.
pub(crate) fn inits() -> Result {
    ffi::ftrace::attach_inits()
}

static INSIDE: Atomic<i64> = Atomic::new(0);

/// Held by wrappers around code that may sleep.
pub(crate) struct Inside(());

impl Inside {
    #[inline]
    pub(crate) fn enter() -> Self {
        INSIDE.add(1, Relaxed);
        Self(())
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.add(-1, Relaxed);
    }
}

/// [`Inside`] for C: 1 on the way in, -1 on the way out.
#[no_mangle]
extern "C" fn vserver_inside(change: c_int) {
    INSIDE.add(change.into(), Relaxed);
}

/// The answer of a kernel function that is 0 or a negative errno.
fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// # Safety
///
/// `task` must be valid as long as the result is used.
unsafe fn as_task<'a>(task: *mut bindings::task_struct) -> &'a Task {
    // SAFETY: By contract; `Task` is a transparent wrapper of `task_struct`.
    unsafe { &*task.cast::<Task>() }
}

/// The hooks are attached as long as this lives.
pub(crate) struct Attached(());

impl Attached {
    /// Attaches all or nothing.
    pub(crate) fn new() -> Result<Self> {
        // Dropped on failure, which detaches what was attached.
        let attached = Self(());
        lane::attach()?;
        ffi::ptys::begin();
        let (count, total) = hooks();
        pr_info!("{} of {} hooks attached\n", count, total);
        Ok(attached)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        task::purge();
        lane::detach();
        ffi::rcu_tasks_grace_period();
        while INSIDE.load(Relaxed) != 0 {
            fsleep(Delta::from_millis(1));
        }
        ffi::ptys::unmark();
        ffi::proc_roots::unmark();
        ffi::rcu_tasks_grace_period();
        ffi::ptys::end();
        ffi::proc_roots::end();
        ffi::rcu_tasks_grace_period();
        registry::exit();
    }
}
