// SPDX-License-Identifier: GPL-2.0

//! The `stock` lane: wrappers of kernel functions, same signature, called in their place. The
//! list of wrapped functions is in `ftrace_glue.c`; the files here are named after the subsystem
//! that each wraps, as those of `hooks/`, and may contain `unsafe`.
//!
//! `vserver_orig_NAME` is the original function. Wrappers of functions that may sleep hold
//! [`Inside`]; the others run under RCU, a lock or with preemption only (see `attach/mod.rs`).

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.
#![expect(clippy::missing_safety_doc)] // All wrappers have one contract: see "SAFETY of all" below.

mod cgroup;
mod pid;
mod pidfd;
mod proc;
mod ptrace;
mod sched;
mod scm;
mod signal;
mod task;

use super::{as_task, errno, Inside};
use crate::hooks;
use core::{
    ffi::{c_int, c_long, c_uint, c_ulong, c_void},
    mem::offset_of,
    ptr,
};
use kernel::{bindings, error::code::*, seq_file::SeqFile, sync::rcu, task::Task};

/// The task that a pid names as a process or thread, as `pid_task`, which is on the way of every
/// signal, but inline.
///
/// # Safety
///
/// `pid` must be valid; under RCU or tasklist_lock, or with preemption off.
#[inline]
unsafe fn task_of<'a>(pid: *mut bindings::pid) -> Option<&'a Task> {
    // SAFETY: By contract; the list's head is changed as a whole only.
    let first = unsafe { (&raw const (*pid).tasks[0].first).read_volatile() };
    if first.is_null() {
        return None;
    }
    let task = first.wrapping_byte_sub(offset_of!(bindings::task_struct, pid_links));
    // SAFETY: The lists of this kind link tasks by the first of their `pid_links`.
    Some(unsafe { as_task(task.cast()) })
}

// SAFETY of all wrappers: each is called in place of the kernel function in its name, by that
// function's callers, so its arguments satisfy that function's contract; each passes them on
// unchanged to the original.
