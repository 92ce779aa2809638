// SPDX-License-Identifier: GPL-2.0

//! Who exists for whom. Atomic context; RCU or tasklist_lock is held.

use crate::{ffi, policy::visibility, task};
use kernel::{current, task::Task};

/// Whether the caller sees the task.
#[inline]
pub(crate) fn task_in_view(target: &Task) -> bool {
    let current = current!();
    let (viewer, context) = task::numbers(current, target);
    visibility::visible(viewer, context) || ffi::same_process(current, target)
}

/// As [`task_in_view`], for listings: tools expect a process 1, so one is shown.
#[inline]
pub(crate) fn task_listed(target: &Task) -> bool {
    task_in_view(target) || ffi::is_shown_init(target)
}
