// SPDX-License-Identifier: GPL-2.0

//! Which process has the number 1 for the caller.

use crate::{
    context::membership::{self, has_no_network},
    linux::{self, is_in_task, Pid, PidNs, TaskRef},
};
use kernel::sync::rcu;

/// Process 1 of a task's context, or else of the next one around it.
#[inline(always)]
pub(super) fn init_of<'a>(task: &TaskRef, guard: &'a rcu::Guard) -> Option<&'a Pid> {
    if task.is_marked() {
        membership::init_of(task.as_task(), guard)
    } else {
        None
    }
}

/// The pid with the number 1 for the caller in a pid namespace, whether or not the hooks are
/// attached. `None`: the kernel's.
pub(crate) fn init_of_caller<'a>(ns: &PidNs, guard: &'a rcu::Guard) -> Option<&'a Pid> {
    // An interrupt does not act for the task that it interrupts.
    if !is_in_task() {
        return None;
    }
    init_of(TaskRef::current(), guard).filter(|init| init.namespace().is(ns))
}

/// Whether 1 may mean another process to the caller than to the kernel. False for most callers.
#[inline(always)]
pub(crate) fn may_have_init() -> bool {
    linux::has_inits() && !has_no_network()
}

/// The pid with the number 1 for the caller in a pid namespace. `None`: the kernel's.
#[inline(always)]
pub(crate) fn own_init<'a>(ns: Option<&PidNs>, guard: &'a rcu::Guard) -> Option<&'a Pid> {
    if may_have_init() {
        init_of_caller(ns?, guard)
    } else {
        None
    }
}

/// The same in the caller's own pid namespace.
pub(crate) fn init_in_own_ns(guard: &rcu::Guard) -> Option<&Pid> {
    own_init(PidNs::own(), guard)
}
