// SPDX-License-Identifier: GPL-2.0

//! Processes by number.

use super::*;

extern "C" {
    fn vserver_orig_find_get_pid(nr: c_int) -> *mut bindings::pid;
    fn vserver_orig_find_ge_pid(nr: c_int, ns: *mut bindings::pid_namespace) -> *mut bindings::pid;
    fn vserver_orig_find_task_by_pid_ns(
        nr: c_int,
        ns: *mut bindings::pid_namespace,
    ) -> *mut bindings::task_struct;
    fn vserver_orig_find_task_by_vpid(nr: c_int) -> *mut bindings::task_struct;
    fn vserver_orig_find_get_task_by_vpid(nr: c_int) -> *mut bindings::task_struct;

    fn vserver_pid_in_view(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_nr(pid: *mut bindings::pid, ns: *mut bindings::pid_namespace) -> c_int;
    fn vserver_pid_has_child(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_listed(pid: *mut bindings::pid) -> bool;
    #[link_name = "put_pid"]
    fn vserver_put_pid(pid: *mut bindings::pid);
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_find_get_pid(nr: c_int) -> *mut bindings::pid {
    // SAFETY: See above.
    let pid = unsafe { vserver_orig_find_get_pid(nr) };
    if pid.is_null() {
        return pid;
    }
    let guard = rcu::read_lock();
    // SAFETY: The call has taken a reference, and the RCU read lock is held.
    let known = unsafe { vserver_pid_in_view(pid) || vserver_pid_has_child(pid) };
    drop(guard);
    if known {
        return pid;
    }
    // SAFETY: Gives the reference back.
    unsafe { vserver_put_pid(pid) };
    ptr::null_mut()
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_find_ge_pid(
    nr: c_int,
    ns: *mut bindings::pid_namespace,
) -> *mut bindings::pid {
    let mut nr = nr;
    loop {
        // SAFETY: See above.
        let pid = unsafe { vserver_orig_find_ge_pid(nr, ns) };
        // SAFETY: The caller holds the RCU read lock.
        if pid.is_null() || unsafe { vserver_pid_listed(pid) } {
            return pid;
        }
        // SAFETY: As above; `pid` was found in `ns`.
        nr = unsafe { vserver_pid_nr(pid, ns) } + 1;
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_find_task_by_pid_ns(
    nr: c_int,
    ns: *mut bindings::pid_namespace,
) -> *mut bindings::task_struct {
    // SAFETY: See above.
    let task = unsafe { vserver_orig_find_task_by_pid_ns(nr, ns) };
    // SAFETY: The caller holds the RCU read lock. /proc looks processes up here.
    if task.is_null() || hooks::pid::task_listed(unsafe { as_task(task) }) {
        task
    } else {
        ptr::null_mut()
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_find_task_by_vpid(nr: c_int) -> *mut bindings::task_struct {
    // SAFETY: See above.
    let task = unsafe { vserver_orig_find_task_by_vpid(nr) };
    // SAFETY: The caller holds the RCU read lock.
    if task.is_null() || hooks::pid::task_in_view(unsafe { as_task(task) }) {
        task
    } else {
        ptr::null_mut()
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_find_get_task_by_vpid(nr: c_int) -> *mut bindings::task_struct {
    // SAFETY: See above.
    let task = unsafe { vserver_orig_find_get_task_by_vpid(nr) };
    // SAFETY: The call has taken a reference.
    if task.is_null() || hooks::pid::task_in_view(unsafe { as_task(task) }) {
        return task;
    }
    // SAFETY: Gives the reference back.
    unsafe { bindings::put_task_struct(task) };
    ptr::null_mut()
}
