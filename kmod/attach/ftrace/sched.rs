// SPDX-License-Identifier: GPL-2.0

//! Priorities of groups and users: walks without a lookup.

use super::*;

extern "C" {
    fn vserver_orig_set_one_prio(
        task: *mut bindings::task_struct,
        nice: c_int,
        error: c_int,
    ) -> c_int;
    fn vserver_orig_set_task_ioprio(task: *mut bindings::task_struct, ioprio: c_int) -> c_int;
    fn vserver_orig_security_task_getioprio(task: *mut bindings::task_struct) -> c_int;

    fn vserver_getpriority(regs: *const c_void, ia32: bool) -> c_long;
    fn vserver_ioprio_set(regs: *const c_void, ia32: bool) -> c_long;
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_set_one_prio(
    task: *mut bindings::task_struct,
    nice: c_int,
    error: c_int,
) -> c_int {
    // SAFETY: The caller walks under RCU and tasklist_lock.
    if !hooks::pid::task_in_view(unsafe { as_task(task) }) {
        // As if the walk had not met it.
        return error;
    }
    // SAFETY: See above.
    unsafe { vserver_orig_set_one_prio(task, nice, error) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_set_task_ioprio(
    task: *mut bindings::task_struct,
    ioprio: c_int,
) -> c_int {
    // SAFETY: The caller walks under RCU. Zero lets its walk go on.
    if !hooks::pid::task_in_view(unsafe { as_task(task) }) {
        return 0;
    }
    // SAFETY: See above.
    unsafe { vserver_orig_set_task_ioprio(task, ioprio) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_security_task_getioprio(
    task: *mut bindings::task_struct,
) -> c_int {
    // SAFETY: The caller walks under RCU. An error makes it skip the task.
    if !hooks::pid::task_in_view(unsafe { as_task(task) }) {
        return ESRCH.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_security_task_getioprio(task) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap___x64_sys_getpriority(regs: *const c_void) -> c_long {
    // SAFETY: The registers of the system call.
    unsafe { vserver_getpriority(regs, false) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap___ia32_sys_getpriority(regs: *const c_void) -> c_long {
    // SAFETY: The registers of the system call.
    unsafe { vserver_getpriority(regs, true) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap___x64_sys_ioprio_set(regs: *const c_void) -> c_long {
    let _inside = Inside::enter();
    // SAFETY: The registers of the system call.
    unsafe { vserver_ioprio_set(regs, false) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap___ia32_sys_ioprio_set(regs: *const c_void) -> c_long {
    let _inside = Inside::enter();
    // SAFETY: The registers of the system call.
    unsafe { vserver_ioprio_set(regs, true) }
}
