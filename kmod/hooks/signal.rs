// SPDX-License-Identifier: GPL-2.0

//! Signals. Called for those from user space only; atomic context.

use crate::{
    ffi,
    policy::visibility::{touch, Touch},
    task, //
};
use kernel::{current, prelude::*, task::Task};

/// Whether the caller may signal `target`, which the kernel's own rules already allow.
pub(crate) fn task_kill(target: &Task) -> Result {
    let current = current!();
    if ffi::same_process(current, target) {
        return Ok(());
    }
    match touch(task::number(current), task::number(target)) {
        Touch::Allowed => Ok(()),
        // Never ESRCH, which the lookups give: `kill_pid_info_type` takes it from here to mean
        // that the task was changing its identity, and tries again for ever; and kill(-1)
        // reports the last error that is not EPERM, even when it reached someone.
        Touch::Refused | Touch::Absent => Err(EPERM),
    }
}
