// SPDX-License-Identifier: GPL-2.0

//! Signals, and who is sent them when a file is ready. Called for those from user space only; atomic context.

#[cfg(not(CONFIG_SECURITY_VSERVER))]
use self::stock::may_kill;
use crate::{
    attach::hook::hooks,
    bindings::{cred, kernel_siginfo},
    context::membership,
    linux::{self, TaskRef},
    policy::visibility::{touch, Touch},
};
use kernel::{current, ffi::c_int, prelude::*, task::Task};

/// Whether the caller may signal `target`, which the kernel's own rules already allow.
fn task_kill(target: &Task) -> Result {
    let current = current!();
    let (actor, party) = membership::parties(current, target);
    match touch(actor, party) {
        Touch::Allowed => Ok(()),
        Touch::Refused | Touch::Absent if linux::is_same_process(current, target) => Ok(()),
        // Never ESRCH, which the lookups give: `kill_pid_info_type` takes it from here to mean
        // that the task was changing its identity, and tries again for ever; and kill(-1)
        // reports the last error that is not EPERM, even when it reached someone.
        Touch::Refused | Touch::Absent => Err(EPERM),
    }
}

/// The kernel of this lane does not ask about tasks that share an nsproxy with the caller.
#[cfg(CONFIG_SECURITY_VSERVER)]
fn may_kill(target: &TaskRef, credentials: *const cred) -> Result {
    // With credentials given it is the completion of asynchronous USB, not a process's doing.
    if !credentials.is_null() {
        return Ok(());
    }
    task_kill(target.as_task())
}

hooks! {
    #[member(task_kill)]
    mediate_anyone fn security_task_kill(
        target: &TaskRef, _info: *mut kernel_siginfo, _signal: c_int, credentials: *const cred,
    ) -> c_int {
        may_kill(target, credentials)
    }
}

/// In the other lane the kernel asks who is there.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) mod stock {
    use super::*;
    use crate::{
        attach::{hook::Answered, Inside},
        bindings::pid_type,
        hooks::pid::{is_all_in_view, is_plainly_near},
        linux::{CallOfSignal, File, Pid, PidRole},
    };
    use core::ptr;
    use kernel::sync::rcu;

    /// Whether the caller's context has no process but the caller's (and inner contexts none either).
    fn is_alone() -> bool {
        membership::own_context().is_some_and(|context| context.tasks() <= linux::threads().into())
    }

    /// Somebody concerned is in a context. Apart, so that the few instructions of other calls save no registers for it.
    #[inline(never)]
    fn kill_with_context(target: &TaskRef, credentials: *const cred) -> Result {
        let target = target.as_task();
        // With credentials given it is the completion of asynchronous USB, not a process's doing.
        if !credentials.is_null() || membership::is_near(current!(), target, &rcu::read_lock()) {
            return Ok(());
        }
        // kill(-1) takes EPERM for success, and any other error over the success of before.
        task_kill(target).map_err(|error| match CallOfSignal::of_caller() {
            CallOfSignal::ToAll if is_alone() => ESRCH,
            _ => error,
        })
    }

    #[inline(always)]
    pub(super) fn may_kill(target: &TaskRef, credentials: *const cred) -> Result {
        if is_plainly_near(target) {
            Ok(())
        } else {
            kill_with_context(target, credentials)
        }
    }

    hooks! {
        /// Who gets a signal when the file is ready, sent by the kernel later, in whoever's name: so what the caller may not
        /// signal must not get here, members of a group and the foreground group of a terminal included. There is no way
        /// to refuse: the file then has no owner.
        relay(original) fn __f_setown(file: &File, pid: Option<&Pid>, role: pid_type, force: c_int) -> () {
            let is_allowed = pid.zip(PidRole::of(role)).is_none_or(|(pid, role)| {
                is_all_in_view(pid, role, &rcu::read_lock())
            });
            if is_allowed {
                None
            } else {
                let _inside = Inside::enter();
                original(file.as_ptr(), ptr::null(), role, force);
                Some(Answered(()))
            }
        }
    }
}
