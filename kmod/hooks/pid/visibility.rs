// SPDX-License-Identifier: GPL-2.0

//! Who exists for whom. Atomic context; RCU or tasklist_lock is held.

use super::own_init::init_in_own_ns;
use crate::{
    context::membership::{self, has_no_network},
    linux::{self, pid_by_own_number, Pid, PidRole, TaskRef, TasksKept},
    policy::visibility::visible,
};
use kernel::{
    current,
    sync::{aref::ARef, rcu},
    task::Task,
};

/// Whether the caller sees the task.
#[inline]
pub(crate) fn task_in_view(target: &Task) -> bool {
    let current = current!();
    let (viewer, party) = membership::parties(current, target);
    visible(viewer, party) || linux::is_same_process(current, target)
}

/// As [`task_in_view`], for listings: tools expect a process 1, so one is shown.
#[inline]
pub(crate) fn task_listed(target: &Task) -> bool {
    task_in_view(target) || is_shown_init(TaskRef::of(target))
}

/// As [`task_in_view`], in a few instructions when neither task is in a context: then the caller
/// sees the other one.
#[inline(always)]
pub(crate) fn sees(target: &TaskRef) -> bool {
    has_no_network() && !target.is_marked() || member_sees(target)
}

/// Whether it is plain, without a look-up, that the caller may reach the task.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
#[inline(always)]
pub(crate) fn is_plainly_near(target: &TaskRef) -> bool {
    target.shares_namespaces() || has_no_network() && !target.is_marked()
}

/// Not inlined, so that the short path saves no registers for it.
#[inline(never)]
fn member_sees(target: &TaskRef) -> bool {
    task_in_view(target.as_task())
}

/// Whether a task is of the process 1 that everybody is shown, as tools expect one: that of the caller's context or of one
/// around it, or else the machine's.
pub(crate) fn is_shown_init(task: &TaskRef) -> bool {
    /// The number of the machine's.
    const FIRST: i32 = 1;
    let guard = rcu::read_lock();
    let number = task.first_number_of_process();
    match init_in_own_ns(&guard) {
        Some(init) => {
            number == init.first_number() && !membership::stands_apart(task.as_task(), &guard)
        }
        None => number == FIRST,
    }
}

/// Whether a process that a pid stands for, in any role, is in view.
pub(crate) fn is_in_view<'a>(pid: &Pid, kept: impl Into<TasksKept<'a>>) -> bool {
    let kept = kept.into();
    // A thread's context is its process's: one look is enough.
    let first = |role| pid.tasks(role, kept).next().is_some_and(sees);
    first(PidRole::THREAD)
        || first(PidRole::PROCESS)
        || pid.tasks(PidRole::GROUP, kept).any(sees)
        || pid.tasks(PidRole::SESSION, kept).any(sees)
}

/// Whether all tasks of a pid in one of its roles are in view.
pub(crate) fn is_all_in_view<'a>(pid: &Pid, role: PidRole, kept: impl Into<TasksKept<'a>>) -> bool {
    pid.tasks(role, kept).all(sees)
}

/// Whether the process that a pid names is in view. True when it names none any more.
pub(crate) fn is_process_in_view(pid: &Pid) -> bool {
    pid.task(&rcu::read_lock()).is_none_or(sees)
}

/// Whether a pid stands for a child of the caller, in any role: a parent waits for it wherever it went.
pub(crate) fn has_child_of_caller(pid: &Pid) -> bool {
    let guard = rcu::read_lock();
    [
        PidRole::THREAD,
        PidRole::PROCESS,
        PidRole::GROUP,
        PidRole::SESSION,
    ]
    .into_iter()
    .any(|role| {
        pid.tasks(role, &guard)
            .any(|task| task.is_child_of_caller(&guard))
    })
}

/// A process has descriptors of those in view, and of its children, wherever they went.
pub(crate) fn is_in_view_or_child(pid: &Pid) -> bool {
    is_process_in_view(pid) || has_child_of_caller(pid)
}

/// Whether a number is listed in /proc: for the process, or thread, that it names. That a group or a session of the same
/// number has members in view does not bring its dead or distant leader back. A process 1 is shown to everyone.
pub(crate) fn is_listed<'a>(pid: &Pid, kept: impl Into<TasksKept<'a>>) -> bool {
    pid.task(kept)
        .is_some_and(|task| sees(task) || is_shown_init(task))
}

/// The task that a number names for the caller. Not by `find_get_pid`, which also finds children that are out of view.
pub(crate) fn get_task(number: i32) -> Option<ARef<Task>> {
    let guard = rcu::read_lock();
    let task = pid_by_own_number(number, &guard)?.task(&guard)?;
    sees(task).then(|| task.as_task().into())
}
