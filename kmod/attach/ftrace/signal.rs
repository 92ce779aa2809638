// SPDX-License-Identifier: GPL-2.0

//! Signals, and who is sent them when a file is ready.

use super::*;

extern "C" {
    fn vserver_orig_security_task_kill(
        task: *mut bindings::task_struct,
        info: *mut bindings::kernel_siginfo,
        sig: c_int,
        cred: *const bindings::cred,
    ) -> c_int;
    fn vserver_orig___f_setown(
        file: *mut bindings::file,
        pid: *mut bindings::pid,
        kind: c_uint,
        force: c_int,
    );

    fn vserver_kills_all() -> bool;
    fn vserver_pid_all_in_view(pid: *mut bindings::pid, kind: c_uint) -> bool;
}

/// Behind `ftrace_fast.c`: somebody concerned is in a context.
#[no_mangle]
unsafe extern "C" fn vserver_slow_security_task_kill(
    task: *mut bindings::task_struct,
    info: *mut bindings::kernel_siginfo,
    sig: c_int,
    cred: *const bindings::cred,
) -> c_int {
    // With credentials given it is the completion of asynchronous USB, not a process's doing.
    if cred.is_null() {
        // SAFETY: The caller holds the task by RCU or tasklist_lock.
        let error = errno(hooks::signal::task_kill(unsafe { as_task(task) }));
        if error != 0 {
            // kill(-1) takes EPERM for success, and any other error over the success of before.
            // SAFETY: Looks at the caller only.
            return if unsafe { vserver_kills_all() } && hooks::signal::alone() {
                ESRCH.to_errno()
            } else {
                error
            };
        }
    }
    // SAFETY: See above.
    unsafe { vserver_orig_security_task_kill(task, info, sig, cred) }
}

/// Who gets a signal when the file is ready, sent by the kernel later, in whoever's name: so what
/// the caller may not signal must not get here, members of a group and the foreground group of
/// a terminal included. There is no way to refuse: the file then has no owner.
#[no_mangle]
unsafe extern "C" fn vserver_wrap___f_setown(
    file: *mut bindings::file,
    pid: *mut bindings::pid,
    kind: c_uint,
    force: c_int,
) {
    let guard = rcu::read_lock();
    // SAFETY: The caller holds the pid, and the RCU read lock is held.
    let allowed = pid.is_null() || unsafe { vserver_pid_all_in_view(pid, kind) };
    drop(guard);
    let pid = if allowed { pid } else { ptr::null_mut() };
    // SAFETY: See above; no pid is valid too.
    unsafe { vserver_orig___f_setown(file, pid, kind, force) }
}
