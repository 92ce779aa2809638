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
    let (actor, context) = task::numbers(current, target);
    match touch(actor, context) {
        Touch::Allowed => Ok(()),
        Touch::Refused | Touch::Absent if ffi::same_process(current, target) => Ok(()),
        // Never ESRCH, which the lookups give: `kill_pid_info_type` takes it from here to mean
        // that the task was changing its identity, and tries again for ever; and kill(-1)
        // reports the last error that is not EPERM, even when it reached someone.
        Touch::Refused | Touch::Absent => Err(EPERM),
    }
}

/// Whether the caller's context has no process but the caller's (and inner contexts none either).
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn alone() -> bool {
    task::own_context().is_some_and(|context| context.tasks() <= ffi::threads().into())
}
