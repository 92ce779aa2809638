// SPDX-License-Identifier: GPL-2.0

//! Process 1 of a context ("fakeinit"): from processes to numbers. Inside the context, its process 1
//! has the number 1 and no other, and a process out of view has no number, as with pid namespaces.
//! All other numbers are the machine's. `lookup.rs` has the other direction.
//!
//! Only three functions of kernel/pid.c make a number of a pid. Whether their hooks run inside one
//! another depends on what the compiler inlined, so a hook gives the same answer each time.
//!
//! Attached as long as there is a process 1 of a context.

use super::own_init::init_of;
use crate::{
    attach::hook::hooks,
    bindings::pid_t,
    linux::{self, is_in_task, Notice, Pid, PidNs, PidRole, TaskRef},
};
use kernel::{
    ffi::{c_int, c_uint},
    sync::rcu,
};

/// The notification of a parent of the end of a child. The kernel then asks for the number that the
/// parent sees. It holds tasklist_lock for writing, so there is at most one.
static NOTICE: Notice = Notice::new();

/// The hooks are attached.
pub(crate) fn begin() {
    linux::note_inits();
}

/// They are not attached any more.
pub(crate) fn end() {
    linux::forget_inits();
}

/// Whether the process of a pid is neither in view of the caller nor a child of the caller.
fn is_elsewhere(pid: &Pid, guard: &rcu::Guard) -> bool {
    pid.task(guard).is_some_and(|task| {
        !task.shares_namespaces()
            && !super::task_in_view(task.as_task())
            && !task.is_child_of_caller(guard)
    })
}

/// The number of a pid for the process that reads it. `None`: the kernel's number.
fn seen_number(pid: &Pid, ns: &PidNs, guard: &rcu::Guard) -> Option<pid_t> {
    if !is_in_task() {
        return None;
    }
    let told = NOTICE.told_by_caller();
    let init = init_of(told.unwrap_or(TaskRef::current()), guard)?;
    if !init.namespace().is(ns) {
        None
    } else if pid.is(init) {
        Some(1)
    } else {
        (told.is_none() && is_elsewhere(pid, guard)).then_some(0)
    }
}

/// The number of the owner of a lock for the caller. `owner` is the number in the first pid
/// namespace, which the kernel does not translate for callers in that namespace.
pub(crate) fn seen_owner(owner: pid_t) -> pid_t {
    if owner <= 0 {
        return owner;
    }
    let guard = rcu::read_lock();
    let first = PidNs::first();
    match first.find(owner, &guard) {
        Some(pid) if PidNs::own().is_some_and(|own| own.is(first)) => {
            if super::is_in_view_or_child(pid) {
                seen_number(pid, first, &guard).unwrap_or(owner)
            } else {
                0
            }
        }
        _ => owner,
    }
}

hooks! {
    instead(original) fn __task_pid_nr_ns(task: &TaskRef, role: c_uint, ns: Option<&PidNs>) -> pid_t {
        let _ = original;
        let guard = rcu::read_lock();
        let pid = task.pid(PidRole::of(role)?, &guard)?;
        seen_number(pid, ns.or_else(PidNs::own)?, &guard)
    }

    instead(original) fn pid_nr_ns(pid: Option<&Pid>, ns: Option<&PidNs>) -> pid_t {
        let _ = original;
        seen_number(pid?, ns?, &rcu::read_lock())
    }

    instead(original) fn pid_vnr(pid: Option<&Pid>) -> pid_t {
        let _ = original;
        seen_number(pid?, PidNs::own()?, &rcu::read_lock())
    }

    /// With tasklist_lock held for writing.
    wrap_atomic(original) fn do_notify_parent(child: &TaskRef, _signal: c_int) -> bool {
        NOTICE.during(child, original)
    }
}
