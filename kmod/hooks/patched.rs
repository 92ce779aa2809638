// SPDX-License-Identifier: GPL-2.0

//! What the patched kernel asks beside what both lanes hook: members of `struct vserver_ops` that have no function of their own in
//! the stock lane.

use super::{init, pid, proc_status::status};
use crate::{
    attach::{hook::hooks, Inside},
    bindings::{pid_type, task_struct},
    linux::{is_for_the_kernel, KeptPid, Pid, PidRole, Seq, TaskRef},
};
use kernel::sync::rcu;

hooks! {
    /// The caller holds RCU or tasklist_lock.
    #[member(task_visible)]
    ask fn task_visible(task: &TaskRef) -> bool {
        pid::task_in_view(task.as_task())
    }

    /// The caller holds RCU or tasklist_lock.
    #[member(task_listed)]
    ask fn task_listed(task: &TaskRef) -> bool {
        pid::task_listed(task.as_task()) || is_for_the_kernel()
    }

    #[member(pid_visible)]
    ask fn pid_visible(pid: &KeptPid) -> bool {
        pid::is_in_view(pid, pid.tasks_kept())
    }

    #[member(pid_listed)]
    ask fn pid_listed(pid: &KeptPid) -> bool {
        pid::is_listed(pid, pid.tasks_kept())
    }

    #[member(pid_waitable)]
    ask fn pid_waitable(pid: &Pid) -> bool {
        pid::is_in_view_or_child(pid)
    }

    #[member(pid_all_visible)]
    ask fn pid_all_visible(pid: &KeptPid, role: pid_type) -> bool {
        let kept = pid.tasks_kept();
        PidRole::of(role).is_none_or(|role| pid::is_all_in_view(pid, role, kept))
    }

    #[member(proc_status)]
    ask fn proc_status(seq: &Seq, task: &TaskRef) -> () {
        let _inside = Inside::enter();
        status(seq.as_seq_file(), task.as_task());
    }

    /// Who adopts the orphans of the caller, which exits; `reaper` would do so outside.
    #[member(child_reaper)]
    ask fn child_reaper(reaper: *mut task_struct) -> *mut task_struct {
        let guard = rcu::read_lock();
        init::reaper(&guard).map_or(reaper, |thread| thread.as_ptr().cast())
    }
}
