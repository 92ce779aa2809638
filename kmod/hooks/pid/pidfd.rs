// SPDX-License-Identifier: GPL-2.0

//! Processes by descriptor, or by what else holds their pid. (The stock lane; in the other one the kernel asks who is there.)

use super::{is_in_view, is_in_view_or_child, is_process_in_view, task_in_view, task_listed};
use crate::{
    attach::hook::{hooks, unless},
    bindings::{dentry, fid, file, siginfo_t, super_block, task_struct},
    linux::{self, is_for_the_kernel, Dentry, Pid, PidRole, TaskRef},
};
use kernel::{
    error::code::ESRCH,
    ffi::{c_int, c_uint},
    sync::rcu,
};

/// Whether what a pidfd names, a process or its process group, is there for the caller.
fn may_be_signalled(pid: &Pid) -> bool {
    if !is_process_in_view(pid) {
        return false;
    }
    let guard = rcu::read_lock();
    let leads_a_group = pid.tasks(PidRole::GROUP, &guard).next().is_some();
    !leads_a_group || is_in_view(pid, &guard)
}

hooks! {
    /// Files of /proc find their process by it, and so do pidfds. In listings, as in /proc, the machine's init exists. A
    /// kernel thread works for whoever has asked it to.
    wrap_atomic(original) fn get_pid_task(pid: Option<&Pid>, role: c_uint) -> *mut task_struct {
        let _ = original;
        TaskRef::into_raw(linux::get_pid_task(pid, role).filter(|task| {
            task_listed(task.as_task()) || is_for_the_kernel()
        }))
    }

    wrap_atomic(original) fn pidfd_get_task(descriptor: c_int, flags: *mut c_uint) -> *mut task_struct {
        let _ = original;
        let found = linux::pidfd_get_task(descriptor, flags);
        TaskRef::result_into_raw(found.and_then(|task| match task_in_view(task.as_task()) {
            true => Ok(task),
            false => Err(ESRCH),
        }))
    }

    /// Every pidfd is made here: by pidfd_open, for a socket's peer, with a message's credentials.
    mediate_anyone fn pidfd_prepare(pid: &Pid, _flags: c_uint, _file: *mut *mut file) -> c_int {
        unless(!is_in_view_or_child(pid), ESRCH)
    }

    mediate_anyone fn pidfd_getfd(pid: &Pid, _descriptor: c_int) -> c_int {
        unless(!is_process_in_view(pid), ESRCH)
    }

    mediate_anyone fn do_pidfd_send_signal(
        pid: &Pid, _signal: c_int, _kind: c_uint, _info: *mut siginfo_t, _flags: c_uint,
    ) -> c_int {
        unless(!may_be_signalled(pid), ESRCH)
    }

    /// A pidfd by open_by_handle_at().
    wrap(original) fn pidfs_fh_to_dentry(
        _sb: *mut super_block, _handle: *mut fid, _length: c_int, _kind: c_int,
    ) -> *mut dentry {
        Dentry::unless_of_pid(original(), |pid| !is_in_view_or_child(pid))
    }
}
