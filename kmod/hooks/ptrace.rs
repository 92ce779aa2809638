// SPDX-License-Identifier: GPL-2.0

//! Looking into other processes: ptrace, process_vm_*, kcmp, most of /proc/PID. Atomic context.

use crate::{
    ffi,
    policy::visibility::{touch, Touch},
    task,
    uapi::CONTEXT_ROOT, //
};
use kernel::{bindings, current, prelude::*, task::Task};

/// `mode`: `PTRACE_MODE_*`. The spectator may read what it otherwise may, and attach to nothing. Nobody
/// in a context gets by another process to files that are not below his own root: one that has just
/// entered may still have the host's.
pub(crate) fn access_check(target: &Task, mode: u32) -> Result {
    let (actor, context) = task::numbers(current!(), target);
    match touch(actor, context) {
        Touch::Allowed if context != CONTEXT_ROOT && ffi::root_is_wider(target) => Err(EPERM),
        Touch::Allowed => Ok(()),
        Touch::Refused if mode & bindings::PTRACE_MODE_ATTACH == 0 => Ok(()),
        Touch::Refused | Touch::Absent => Err(EPERM),
    }
}

/// The caller asks its parent to trace it.
pub(crate) fn traceme(parent: &Task) -> Result {
    let (own, context) = task::numbers(current!(), parent);
    if own == context {
        Ok(())
    } else {
        Err(EPERM)
    }
}
