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
    ptr,
};
use kernel::{bindings, error::code::*, seq_file::SeqFile, sync::rcu};

// SAFETY of all wrappers: each is called in place of the kernel function in its name, by that
// function's callers, so its arguments satisfy that function's contract; each passes them on
// unchanged to the original.
