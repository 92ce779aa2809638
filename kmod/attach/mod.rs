// SPDX-License-Identifier: GPL-2.0

//! Attachment: from the kernel's functions to the handlers in `hooks/`.
//!
//! The lane is fixed when the module is built: `native` for a kernel with CONFIG_SECURITY_VSERVER,
//! `ftrace` for any other.
//!
//! # Leaving
//!
//! After detaching, a task may still be inside one of our functions. Handlers that cannot sleep
//! are left when an RCU-tasks grace period has passed, because a task in them is at most preempted.
//! Wrappers that call something that may sleep count themselves in [`Inside`]. So removal is: one
//! grace period (whoever had jumped in has counted), wait until the count is zero, one more
//! grace period (whoever had counted down has returned).

use crate::{ffi, registry, task};
use kernel::{
    bindings,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
    time::{delay::fsleep, Delta},
};

#[cfg(not(CONFIG_SECURITY_VSERVER))]
mod ftrace;
#[cfg(CONFIG_SECURITY_VSERVER)]
mod native;

/// The lane of this build, as the ABI names it.
pub(crate) const LANE: u32 = if cfg!(CONFIG_SECURITY_VSERVER) {
    crate::uapi::LANE_PATCHED
} else {
    crate::uapi::LANE_STOCK
};

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

fn rcu_tasks_grace_period() {
    // SAFETY: Process context; no preconditions.
    unsafe { bindings::synchronize_rcu_tasks() }
}

/// The hooks are attached as long as this lives.
pub(crate) struct Attached(());

impl Attached {
    /// Attaches all or nothing.
    pub(crate) fn new() -> Result<Self> {
        // Dropped on failure, which detaches what was attached.
        let attached = Self(());
        ffi::attach()?;
        let (count, total) = ffi::hooks();
        pr_info!("{} of {} hooks attached\n", count, total);
        Ok(attached)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        task::purge();
        ffi::detach();
        rcu_tasks_grace_period();
        while INSIDE.load(Relaxed) != 0 {
            fsleep(Delta::from_millis(1));
        }
        rcu_tasks_grace_period();
        registry::exit();
    }
}
