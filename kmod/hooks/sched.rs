// SPDX-License-Identifier: GPL-2.0

//! Priorities of groups and users: walks without a look-up. (The stock lane; in the other one the kernel asks who is there.)

use super::pid::sees;
use crate::{
    attach::hook::{hooks, unless},
    bindings::{IOPRIO_WHO_USER, PRIO_PGRP, PRIO_USER},
    linux::{self, pid_by_own_number, PidRole, Registers, TaskRef},
};
use kernel::{
    error::code::ESRCH,
    ffi::{c_int, c_long, c_uint},
    sync::rcu,
};

/// getpriority() of a group or a user, but for the tasks in view only; `None`: of a process. tasklist_lock is not ours to take:
/// a walk under RCU may miss who is just leaving.
fn priority_of_many(which: c_uint, who: c_int) -> Option<c_long> {
    let guard = rcu::read_lock();
    let highest = match which {
        PRIO_PGRP => {
            let group = match who {
                0 => TaskRef::current().pid(PidRole::GROUP, &guard),
                who => pid_by_own_number(who, &guard),
            };
            let processes = group.map(|group| group.tasks(PidRole::GROUP, &guard));
            processes
                .into_iter()
                .flatten()
                .flat_map(|process| process.threads(&guard))
                .filter(|task| sees(task))
                .map(TaskRef::priority)
                .max()
        }
        PRIO_USER => {
            let user = match who {
                0 => linux::own_uid(),
                who => linux::kernel_uid(who),
            };
            linux::processes(&guard)
                .flat_map(|process| process.threads(&guard))
                .filter(|task| task.uid(&guard) == user && task.has_number(&guard) && sees(task))
                .map(TaskRef::priority)
                .max()
        }
        _ => return None,
    };
    Some(highest.unwrap_or(ESRCH.to_errno()) as c_long)
}

/// After ioprio_set(2), which tells no number of those whom it has met: a user is not there when none of its processes is
/// in view.
fn is_absent_user(which: c_uint, who: c_int) -> bool {
    if which != IOPRIO_WHO_USER || who == 0 {
        return false;
    }
    let guard = rcu::read_lock();
    let user = linux::kernel_uid(who);
    let mut tasks = linux::processes(&guard).flat_map(|process| process.threads(&guard));
    let is_there = tasks.any(|task| task.uid(&guard) == user && sees(task));
    !is_there
}

fn set_priority_of_many(which: c_uint, who: c_int, call: impl FnOnce() -> c_long) -> c_long {
    let result = call();
    if result == 0 && is_absent_user(which, who) {
        ESRCH.to_errno() as c_long
    } else {
        result
    }
}

hooks! {
    /// As if the walk had not met it.
    wrap_atomic(original) fn set_one_prio(task: &TaskRef, _nice: c_int, error: c_int) -> c_int {
        if sees(task) {
            original()
        } else {
            error
        }
    }

    /// Zero lets the walk go on.
    wrap_atomic(original) fn set_task_ioprio(task: &TaskRef, _priority: c_int) -> c_int {
        if sees(task) {
            original()
        } else {
            0
        }
    }

    /// An error makes the walk skip the task.
    mediate_anyone fn security_task_getioprio(task: &TaskRef) -> c_int {
        unless(!sees(task), ESRCH)
    }

    wrap_atomic(original) fn __x64_sys_getpriority(registers: &Registers) -> c_long {
        let arguments = registers.copy();
        priority_of_many(arguments.di as c_uint, arguments.si as c_int).unwrap_or_else(original)
    }

    #[cfg(CONFIG_IA32_EMULATION)]
    wrap_atomic(original) fn __ia32_sys_getpriority(registers: &Registers) -> c_long {
        let arguments = registers.copy();
        priority_of_many(arguments.bx as c_uint, arguments.cx as c_int).unwrap_or_else(original)
    }

    wrap(original) fn __x64_sys_ioprio_set(registers: &Registers) -> c_long {
        let arguments = registers.copy();
        set_priority_of_many(arguments.di as c_uint, arguments.si as c_int, original)
    }

    #[cfg(CONFIG_IA32_EMULATION)]
    wrap(original) fn __ia32_sys_ioprio_set(registers: &Registers) -> c_long {
        let arguments = registers.copy();
        set_priority_of_many(arguments.bx as c_uint, arguments.cx as c_int, original)
    }
}
