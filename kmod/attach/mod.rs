// SPDX-License-Identifier: GPL-2.0

//! Attachment: from the kernel's functions to the handlers in `hooks/`.
//!
//! The lane is fixed when the module is built. `engine` attaches by ftrace; in a kernel with
//! CONFIG_SECURITY_VSERVER, `native` attaches what its patches ask for.
//!
//! # Leaving
//!
//! A kernel function that may sleep for as long as it likes, in a caller's memory or in a file server, never runs
//! below a function of the module: the hook tests, and jumps (`mediate`, `relay`, `wrap_inside`, `instead`,
//! `answer`). If the answer
//! has to be changed nevertheless, that is only for callers in a context or with addresses of their own,
//! which hold the module, so `delete_module(2)` refuses while they live.
//!
//! When the hooks are detached, a task may still be inside a function of the module. Functions that do not sleep
//! are left when an RCU-tasks grace period has passed, because a task in them is at most preempted.
//! Those that may sleep for a short time, as to allocate, count themselves as [`Inside`]. So removal is: one
//! grace period (all tasks that had jumped in have counted), wait until the count is zero, one more
//! grace period (all that had counted down have returned). Around the latter the entries of terminals
//! and the roots of /proc forget the module ([`Handlers`]).
//!
//! Hooks that are detached while the module stays (`detach_inits`) need none of that. A task that is inside one of them
//! finishes there, in code and by an address of the kernel's (`vserver_addr_NAME`) that both stay as they are, and what it
//! finds is that there is no process 1. Attaching again meets it without harm. If the module goes next, the grace period above
//! begins after that, so it waits for this task, too.

use crate::bindings;
use core::marker::PhantomData;
use kernel::{
    prelude::*,
    time::{delay::fsleep, Delta},
};

pub(crate) mod answer;
pub(crate) mod argument;
mod engine;
pub(crate) mod entry;
mod handlers;
pub(crate) mod hook;
mod inside;
pub(crate) mod kallsyms;
#[cfg(CONFIG_SECURITY_VSERVER)]
mod native;
pub(crate) mod prototype;
pub(crate) mod row;

#[cfg(not(CONFIG_SECURITY_VSERVER))]
use self::engine as lane;
#[cfg(CONFIG_SECURITY_VSERVER)]
use self::native as lane;

pub(crate) use self::{
    handlers::Handlers,
    inside::{Caller, Inside, IsInside, PF_IN_CONTEXT},
};

/// How many hooks are attached, and how many are to be attached by now.
pub(crate) fn hooks() -> (u32, u32) {
    lane::hooks()
}

/// What the ABI tells of a hook, by its place in the list of all. `None`: behind the last one.
pub(crate) fn hook_info<H: Handlers>(index: usize) -> Option<crate::uapi::HookInfo> {
    #[cfg(CONFIG_SECURITY_VSERVER)]
    let found = native::hook_at(H::ALWAYS, index);
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    let found = engine::hook_at(index);
    found.map(|(hook, attached)| hook.info(attached))
}

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

/// Attaches what a context's process 1 needs, all or nothing: before there is one, and not when it is attached. The caller
/// sees to it that this and [`detach_inits`] do not run side by side. Sleeps.
pub(crate) fn attach_inits() -> Result {
    engine::attach_inits()
}

/// Detaches what [`attach_inits`] has attached, when there is no process 1 any more and before the module begins to go. Sleeps.
pub(crate) fn detach_inits() {
    engine::detach_inits();
}

/// The hooks are attached as long as this lives.
pub(crate) struct Attached<H: Handlers>(PhantomData<H>);

impl<H: Handlers> Attached<H> {
    /// Attaches all or nothing.
    pub(crate) fn new() -> Result<Self> {
        engine::init();
        // Dropped on failure, which detaches what was attached.
        let attached = Self(PhantomData);
        #[cfg(CONFIG_SECURITY_VSERVER)]
        native::register::<H>()?;
        engine::attach(H::ALWAYS, H::WITH_INITS)?;
        H::attached();
        let (count, total) = lane::hooks();
        pr_info!("{} of {} hooks attached\n", count, total);
        Ok(attached)
    }
}

/// Waits until every task that was preempted inside a function of ours has left it. Where a task cannot be preempted there,
/// this is plain RCU. Sleeps.
fn rcu_tasks_grace_period() {
    // SAFETY: Process context; no other precondition.
    unsafe { bindings::vserver_inline_synchronize_rcu_tasks() }
}

impl<H: Handlers> Drop for Attached<H> {
    fn drop(&mut self) {
        H::leaving();
        lane::detach();
        rcu_tasks_grace_period();
        while inside::count() != 0 {
            fsleep(Delta::from_millis(1));
        }
        H::silence();
        rcu_tasks_grace_period();
        H::forget();
        rcu_tasks_grace_period();
        H::gone();
    }
}
