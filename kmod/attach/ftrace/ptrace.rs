// SPDX-License-Identifier: GPL-2.0

//! Access to other processes.

use super::*;

extern "C" {
    fn vserver_orig_security_ptrace_access_check(
        child: *mut bindings::task_struct,
        mode: c_uint,
    ) -> c_int;
    fn vserver_orig_security_ptrace_traceme(parent: *mut bindings::task_struct) -> c_int;
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_security_ptrace_access_check(
    child: *mut bindings::task_struct,
    mode: c_uint,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The caller holds the task.
    let error = errno(hooks::ptrace::access_check(unsafe { as_task(child) }, mode));
    if error != 0 {
        return error;
    }
    // SAFETY: See above.
    unsafe { vserver_orig_security_ptrace_access_check(child, mode) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_security_ptrace_traceme(
    parent: *mut bindings::task_struct,
) -> c_int {
    // SAFETY: The caller holds tasklist_lock.
    let error = errno(hooks::ptrace::traceme(unsafe { as_task(parent) }));
    if error != 0 {
        return error;
    }
    // SAFETY: See above.
    unsafe { vserver_orig_security_ptrace_traceme(parent) }
}
