// SPDX-License-Identifier: GPL-2.0

//! Processes by descriptor or by what else holds their `struct pid`.

use super::*;

extern "C" {
    fn vserver_orig_get_pid_task(
        pid: *mut bindings::pid,
        kind: c_uint,
    ) -> *mut bindings::task_struct;
    fn vserver_orig_pidfd_get_task(pidfd: c_int, flags: *mut c_uint) -> *mut bindings::task_struct;
    fn vserver_orig_pidfd_prepare(
        pid: *mut bindings::pid,
        flags: c_uint,
        file: *mut *mut bindings::file,
    ) -> c_int;
    fn vserver_orig_pidfd_getfd(pid: *mut bindings::pid, fd: c_int) -> c_int;
    fn vserver_orig_pidfs_fh_to_dentry(
        sb: *mut bindings::super_block,
        fid: *mut c_void,
        length: c_int,
        kind: c_int,
    ) -> *mut bindings::dentry;

    fn vserver_orig_do_pidfd_send_signal(
        pid: *mut bindings::pid,
        sig: c_int,
        kind: c_uint,
        info: *mut c_void,
        flags: c_uint,
    ) -> c_int;

    fn vserver_pid_signalable(pid: *mut bindings::pid) -> bool;
    fn vserver_for_the_kernel() -> bool;
    fn vserver_process_in_view(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_may_have_fd(pid: *mut bindings::pid) -> bool;
    fn vserver_pidfs_dentry(dentry: *mut bindings::dentry) -> *mut bindings::dentry;
}

/// Files of /proc find their process by it, and so do pidfds. In listings, as in /proc, the
/// machine's init exists.
#[no_mangle]
unsafe extern "C" fn vserver_wrap_get_pid_task(
    pid: *mut bindings::pid,
    kind: c_uint,
) -> *mut bindings::task_struct {
    // SAFETY: See above.
    let task = unsafe { vserver_orig_get_pid_task(pid, kind) };
    // SAFETY: The call has taken a reference.
    if task.is_null() || hooks::pid::task_listed(unsafe { as_task(task) }) {
        return task;
    }
    // SAFETY: Looks at the caller only.
    if unsafe { vserver_for_the_kernel() } {
        // A kernel thread works for whoever has asked it to.
        return task;
    }
    // SAFETY: Gives the reference back.
    unsafe { bindings::put_task_struct(task) };
    ptr::null_mut()
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_pidfd_get_task(
    pidfd: c_int,
    flags: *mut c_uint,
) -> *mut bindings::task_struct {
    // SAFETY: See above.
    let task = unsafe { vserver_orig_pidfd_get_task(pidfd, flags) };
    // A pointer in the last page is an errno.
    // SAFETY: The call has taken a reference, unless it is one.
    if (-4095..0).contains(&(task as isize)) || hooks::pid::task_in_view(unsafe { as_task(task) }) {
        return task;
    }
    // SAFETY: Gives the reference back.
    unsafe { bindings::put_task_struct(task) };
    ESRCH.to_ptr()
}

/// Every pidfd is made here: by pidfd_open, for a socket's peer, with a message's credentials.
#[no_mangle]
unsafe extern "C" fn vserver_wrap_pidfd_prepare(
    pid: *mut bindings::pid,
    flags: c_uint,
    file: *mut *mut bindings::file,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The caller holds the pid.
    if !unsafe { vserver_pid_may_have_fd(pid) } {
        return ESRCH.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_pidfd_prepare(pid, flags, file) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_pidfd_getfd(pid: *mut bindings::pid, fd: c_int) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The pidfd holds the pid.
    if !unsafe { vserver_process_in_view(pid) } {
        return ESRCH.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_pidfd_getfd(pid, fd) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_do_pidfd_send_signal(
    pid: *mut bindings::pid,
    sig: c_int,
    kind: c_uint,
    info: *mut c_void,
    flags: c_uint,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The pidfd holds the pid.
    if !unsafe { vserver_pid_signalable(pid) } {
        return ESRCH.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_do_pidfd_send_signal(pid, sig, kind, info, flags) }
}

/// A pidfd by open_by_handle_at().
#[no_mangle]
unsafe extern "C" fn vserver_wrap_pidfs_fh_to_dentry(
    sb: *mut bindings::super_block,
    fid: *mut c_void,
    length: c_int,
    kind: c_int,
) -> *mut bindings::dentry {
    let _inside = Inside::enter();
    // SAFETY: See above; the second call takes over what the first has returned.
    unsafe { vserver_pidfs_dentry(vserver_orig_pidfs_fh_to_dentry(sb, fid, length, kind)) }
}
