// SPDX-License-Identifier: GPL-2.0

//! Birth, reaping and end of tasks.

use super::*;

extern "C" {
    fn vserver_orig_security_task_alloc(task: *mut bindings::task_struct, flags: u64) -> c_int;
    fn vserver_orig_security_task_free(task: *mut bindings::task_struct);
    fn vserver_orig_pidfs_exit(task: *mut bindings::task_struct);

}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_security_task_alloc(
    task: *mut bindings::task_struct,
    flags: u64,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: See above.
    let error = unsafe { vserver_orig_security_task_alloc(task, flags) };
    if error != 0 {
        return error;
    }
    // SAFETY: `copy_process` passes the task it is making.
    let error = errno(hooks::task::alloc(unsafe { as_task(task) }));
    if error != 0 {
        // The caller takes a failure to mean that nothing is left of the security modules' share.
        // SAFETY: Undoes the successful call above.
        unsafe { vserver_orig_security_task_free(task) };
    }
    error
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_security_task_free(task: *mut bindings::task_struct) {
    // SAFETY: The task is still whole when its security share is freed.
    hooks::task::free(unsafe { as_task(task) });
    // SAFETY: See above.
    unsafe { vserver_orig_security_task_free(task) }
}

/// `release_task` calls it once for each task that it reaps. (It may reap two in one call.)
#[no_mangle]
unsafe extern "C" fn vserver_wrap_pidfs_exit(task: *mut bindings::task_struct) {
    let _inside = Inside::enter();
    // SAFETY: The caller holds the task.
    hooks::task::release(unsafe { as_task(task) });
    // SAFETY: See above.
    unsafe { vserver_orig_pidfs_exit(task) }
}
