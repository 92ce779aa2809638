// SPDX-License-Identifier: GPL-2.0

//! The `stock` lane: wrappers of kernel functions, same signature, called in their place. One of
//! the files that may contain `unsafe`. The list of wrapped functions is in `ftrace_glue.c`.
//!
//! `vserver_orig_NAME` is the original function. Wrappers of functions that may sleep hold
//! [`Inside`]; the others run under RCU, a lock or with preemption only (see `attach/mod.rs`).

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.
#![expect(clippy::missing_safety_doc)] // All wrappers have one contract: see "SAFETY of all" below.

use super::Inside;
use crate::hooks;
use core::{
    ffi::{c_int, c_long, c_uint, c_void},
    ptr,
};
use kernel::{bindings, error::code::*, prelude::*, seq_file::SeqFile, sync::rcu, task::Task};

extern "C" {
    fn vserver_orig_security_task_alloc(task: *mut bindings::task_struct, flags: u64) -> c_int;
    fn vserver_orig_security_task_free(task: *mut bindings::task_struct);
    fn vserver_orig_security_task_kill(
        task: *mut bindings::task_struct,
        info: *mut bindings::kernel_siginfo,
        sig: c_int,
        cred: *const bindings::cred,
    ) -> c_int;
    fn vserver_orig_security_ptrace_access_check(
        child: *mut bindings::task_struct,
        mode: c_uint,
    ) -> c_int;
    fn vserver_orig_find_vpid(nr: c_int) -> *mut bindings::pid;
    fn vserver_orig_find_get_pid(nr: c_int) -> *mut bindings::pid;
    fn vserver_orig_kill_pid_info_type(
        sig: c_int,
        info: *mut bindings::kernel_siginfo,
        pid: *mut bindings::pid,
        kind: c_uint,
    ) -> c_int;
    fn vserver_orig_find_ge_pid(nr: c_int, ns: *mut bindings::pid_namespace) -> *mut bindings::pid;
    fn vserver_orig_find_task_by_pid_ns(
        nr: c_int,
        ns: *mut bindings::pid_namespace,
    ) -> *mut bindings::task_struct;
    fn vserver_orig_find_task_by_vpid(nr: c_int) -> *mut bindings::task_struct;
    fn vserver_orig_find_get_task_by_vpid(nr: c_int) -> *mut bindings::task_struct;
    fn vserver_orig_set_one_prio(
        task: *mut bindings::task_struct,
        nice: c_int,
        error: c_int,
    ) -> c_int;
    fn vserver_orig_set_task_ioprio(task: *mut bindings::task_struct, ioprio: c_int) -> c_int;
    fn vserver_orig_security_task_getioprio(task: *mut bindings::task_struct) -> c_int;
    fn vserver_orig_pid_revalidate(
        dir: *mut bindings::inode,
        name: *const c_void,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int;
    fn vserver_orig_proc_pid_permission(
        idmap: *mut c_void,
        inode: *mut bindings::inode,
        mask: c_int,
    ) -> c_int;
    fn vserver_orig_proc_pident_lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        first: *const c_void,
        end: *const c_void,
    ) -> *mut bindings::dentry;
    fn vserver_orig_proc_pident_readdir(
        file: *mut bindings::file,
        context: *mut c_void,
        entries: *const c_void,
        count: c_uint,
    ) -> c_int;
    fn vserver_orig_proc_task_lookup(
        dir: *mut bindings::inode,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> *mut bindings::dentry;
    fn vserver_orig_proc_task_readdir(file: *mut bindings::file, context: *mut c_void) -> c_int;
    fn vserver_orig_proc_pid_status(
        seq: *mut bindings::seq_file,
        ns: *mut bindings::pid_namespace,
        pid: *mut bindings::pid,
        task: *mut bindings::task_struct,
    ) -> c_int;

    fn vserver_pid_in_view(pid: *mut bindings::pid) -> bool;
    fn vserver_proc_task(inode: *mut bindings::inode) -> *mut bindings::task_struct;
    fn vserver_dentry_inode(dentry: *mut bindings::dentry) -> *mut bindings::inode;
    fn vserver_pid_nr(pid: *mut bindings::pid, ns: *mut bindings::pid_namespace) -> c_int;
    fn vserver_signal_from_user(info: *mut bindings::kernel_siginfo) -> bool;
    fn vserver_pid_has_child(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_listed(pid: *mut bindings::pid) -> bool;
    #[link_name = "put_pid"]
    fn vserver_put_pid(pid: *mut bindings::pid);
    fn vserver_getpriority(regs: *const c_void, ia32: bool) -> c_long;
}

/// # Safety
///
/// `task` must be valid as long as the result is used.
unsafe fn as_task<'a>(task: *mut bindings::task_struct) -> &'a Task {
    // SAFETY: By contract; `Task` is a transparent wrapper of `task_struct`.
    unsafe { &*task.cast::<Task>() }
}

fn errno(result: Result) -> c_int {
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Whether the process behind a `/proc/PID` inode is listed for the caller. One that has gone is
/// left to the kernel's own checks.
///
/// # Safety
///
/// `inode` must be one of `/proc/PID` or below.
unsafe fn inode_listed(inode: *mut bindings::inode) -> bool {
    let _guard = rcu::read_lock();
    // SAFETY: By contract, and the RCU read lock is held.
    let task = unsafe { vserver_proc_task(inode) };
    // SAFETY: Valid under the RCU read lock.
    task.is_null() || hooks::pid::task_listed(unsafe { as_task(task) })
}

// SAFETY of all wrappers: each is called in place of the kernel function in its name, by that
// function's callers, so its arguments satisfy that function's contract; each passes them on
// unchanged to the original.

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

#[no_mangle]
unsafe extern "C" fn vserver_wrap_security_task_kill(
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
            return error;
        }
    }
    // SAFETY: See above.
    unsafe { vserver_orig_security_task_kill(task, info, sig, cred) }
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
unsafe extern "C" fn vserver_wrap_find_vpid(nr: c_int) -> *mut bindings::pid {
    // SAFETY: See above.
    let pid = unsafe { vserver_orig_find_vpid(nr) };
    // SAFETY: The callers hold the RCU read lock or tasklist_lock for their own use of it.
    if pid.is_null() || unsafe { vserver_pid_in_view(pid) } {
        pid
    } else {
        ptr::null_mut()
    }
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
unsafe extern "C" fn vserver_wrap_kill_pid_info_type(
    sig: c_int,
    info: *mut bindings::kernel_siginfo,
    pid: *mut bindings::pid,
    kind: c_uint,
) -> c_int {
    // SAFETY: The information is the caller's, or one of the special values.
    if unsafe { vserver_signal_from_user(info) } && !pid.is_null() {
        let _guard = rcu::read_lock();
        // SAFETY: The caller holds the pid, and the RCU read lock is held.
        let task = unsafe { bindings::pid_task(pid, bindings::pid_type_PIDTYPE_PID) };
        // SAFETY: Valid under the RCU read lock.
        if !task.is_null() && !hooks::signal::exists(unsafe { as_task(task) }) {
            return ESRCH.to_errno();
        }
    }
    // SAFETY: See above.
    unsafe { vserver_orig_kill_pid_info_type(sig, info, pid, kind) }
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
unsafe extern "C" fn vserver_wrap_pid_revalidate(
    dir: *mut bindings::inode,
    name: *const c_void,
    dentry: *mut bindings::dentry,
    flags: c_uint,
) -> c_int {
    let _inside = Inside::enter();
    let guard = rcu::read_lock();
    // SAFETY: The dentry is held by the path walk, its inode at least by RCU.
    let inode = unsafe { vserver_dentry_inode(dentry) };
    // SAFETY: A dentry with this operation has an inode below /proc/PID.
    if !inode.is_null() && !unsafe { inode_listed(inode) } {
        // An error, unlike 0, does not throw the dentry out for those who may see it.
        return ENOENT.to_errno();
    }
    drop(guard);
    // SAFETY: See above.
    unsafe { vserver_orig_pid_revalidate(dir, name, dentry, flags) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_pid_permission(
    idmap: *mut c_void,
    inode: *mut bindings::inode,
    mask: c_int,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The permission operation of /proc/PID directories only.
    if !unsafe { inode_listed(inode) } {
        return ENOENT.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_pid_permission(idmap, inode, mask) }
}

/// `ERR_PTR(-ENOENT)`.
fn no_dentry() -> *mut bindings::dentry {
    ENOENT.to_ptr()
}

/// The inode of an open file.
///
/// # Safety
///
/// `file` must be valid.
unsafe fn inode_of(file: *mut bindings::file) -> *mut bindings::inode {
    // SAFETY: By contract; never changes while the file is open.
    unsafe { (*file).f_inode }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_pident_lookup(
    dir: *mut bindings::inode,
    dentry: *mut bindings::dentry,
    first: *const c_void,
    end: *const c_void,
) -> *mut bindings::dentry {
    let _inside = Inside::enter();
    // SAFETY: A directory below /proc/PID.
    if !unsafe { inode_listed(dir) } {
        return no_dentry();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_pident_lookup(dir, dentry, first, end) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_pident_readdir(
    file: *mut bindings::file,
    context: *mut c_void,
    entries: *const c_void,
    count: c_uint,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: An open directory below /proc/PID.
    if !unsafe { inode_listed(inode_of(file)) } {
        return ENOENT.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_pident_readdir(file, context, entries, count) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_task_lookup(
    dir: *mut bindings::inode,
    dentry: *mut bindings::dentry,
    flags: c_uint,
) -> *mut bindings::dentry {
    let _inside = Inside::enter();
    // SAFETY: A /proc/PID/task directory.
    if !unsafe { inode_listed(dir) } {
        return no_dentry();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_task_lookup(dir, dentry, flags) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_task_readdir(
    file: *mut bindings::file,
    context: *mut c_void,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: An open /proc/PID/task directory.
    if !unsafe { inode_listed(inode_of(file)) } {
        return ENOENT.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_task_readdir(file, context) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_pid_status(
    seq: *mut bindings::seq_file,
    ns: *mut bindings::pid_namespace,
    pid: *mut bindings::pid,
    task: *mut bindings::task_struct,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: See above.
    let result = unsafe { vserver_orig_proc_pid_status(seq, ns, pid, task) };
    if result == 0 {
        // SAFETY: Both are held by the caller.
        hooks::proc::status(unsafe { SeqFile::from_raw(seq) }, unsafe { as_task(task) });
    }
    result
}
