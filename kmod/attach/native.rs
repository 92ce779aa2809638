// SPDX-License-Identifier: GPL-2.0

//! The `patched` lane: the handlers as `struct vserver_ops` of the built-in LSM (`patches/`), and by
//! ftrace what both lanes wrap. One of the files that may contain `unsafe`.
//!
//! The kernel calls all of them through static calls, so no wrapped function sleeps inside; only the
//! handlers that may sleep themselves hold [`Inside`].

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.
#![expect(clippy::missing_safety_doc)] // All handlers have one contract: see "SAFETY of all" below.

use super::{as_task, errno, Inside};
use crate::{ffi::ftrace, hooks};
use core::ffi::{c_int, c_uint};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    seq_file::SeqFile,
    sync::atomic::{Atomic, Relaxed},
};

/// `struct vserver_ops` of `include/linux/vserver.h`.
#[repr(C)]
struct Ops {
    task_alloc: unsafe extern "C" fn(*mut bindings::task_struct, u64) -> c_int,
    task_free: unsafe extern "C" fn(*mut bindings::task_struct),
    task_kill: unsafe extern "C" fn(
        *mut bindings::task_struct,
        *mut bindings::kernel_siginfo,
        c_int,
        *const bindings::cred,
    ) -> c_int,
    ptrace_access_check: unsafe extern "C" fn(*mut bindings::task_struct, c_uint) -> c_int,
    ptrace_traceme: unsafe extern "C" fn(*mut bindings::task_struct) -> c_int,
    task_release: unsafe extern "C" fn(*mut bindings::task_struct),
    task_visible: unsafe extern "C" fn(*mut bindings::task_struct) -> bool,
    task_listed: unsafe extern "C" fn(*mut bindings::task_struct) -> bool,
    pid_visible: unsafe extern "C" fn(*mut bindings::pid) -> bool,
    pid_listed: unsafe extern "C" fn(*mut bindings::pid) -> bool,
    pid_waitable: unsafe extern "C" fn(*mut bindings::pid) -> bool,
    pid_all_visible: unsafe extern "C" fn(*mut bindings::pid, c_uint) -> bool,
    proc_status: unsafe extern "C" fn(*mut bindings::seq_file, *mut bindings::task_struct),
    child_reaper: unsafe extern "C" fn(*mut bindings::task_struct) -> *mut bindings::task_struct,
}

extern "C" {
    fn vserver_register(ops: *const Ops) -> c_int;
    fn vserver_unregister(ops: *const Ops);

    fn vserver_pid_in_view(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_listed(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_may_have_fd(pid: *mut bindings::pid) -> bool;
    fn vserver_pid_all_in_view(pid: *mut bindings::pid, role: c_uint) -> bool;
    fn vserver_for_the_kernel() -> bool;
    fn vserver_reaper_or(reaper: *mut bindings::task_struct) -> *mut bindings::task_struct;
}

static OPS: Ops = Ops {
    task_alloc,
    task_free,
    task_kill,
    ptrace_access_check,
    ptrace_traceme,
    task_release,
    task_visible,
    task_listed,
    pid_visible: vserver_pid_in_view,
    pid_listed: vserver_pid_listed,
    pid_waitable: vserver_pid_may_have_fd,
    pid_all_visible: vserver_pid_all_in_view,
    proc_status,
    child_reaper: vserver_reaper_or,
};

/// The members of [`Ops`].
const HOOKS: u32 = (size_of::<Ops>() / size_of::<usize>()) as u32;

static ATTACHED: Atomic<bool> = Atomic::new(false);

/// Attaches all hooks. `EBUSY`: another module has; `EOPNOTSUPP`: the LSM is off on this boot.
pub(crate) fn attach() -> Result {
    // SAFETY: All members are set, and the table is static; `detach` unregisters it before the
    // module goes.
    let result = to_result(unsafe { vserver_register(&OPS) });
    match result {
        Ok(()) => {
            ATTACHED.store(true, Relaxed);
            return ftrace::attach();
        }
        Err(EOPNOTSUPP) => {
            pr_err!("the vserver LSM is not enabled: boot with it in lsm= or CONFIG_LSM\n")
        }
        Err(EBUSY) => pr_err!("another module is registered with the vserver LSM\n"),
        Err(_) => {}
    }
    result
}

/// Detaches what was attached. Calls can still be under way after it.
pub(crate) fn detach() {
    ftrace::detach();
    if ATTACHED.load(Relaxed) {
        ATTACHED.store(false, Relaxed);
        // SAFETY: `attach` registered this table.
        unsafe { vserver_unregister(&OPS) }
    }
}

/// How many hooks are attached, and how many there are.
pub(crate) fn hooks() -> (u32, u32) {
    let (attached, total) = ftrace::hooks();
    let native = if ATTACHED.load(Relaxed) { HOOKS } else { 0 };
    (attached + native, total + HOOKS)
}

// SAFETY of all handlers: the kernel calls them at the hook points of `patches/`, with tasks and pids
// that it holds for the call.

unsafe extern "C" fn task_alloc(task: *mut bindings::task_struct, _flags: u64) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: `copy_process` passes the task that it is making.
    errno(hooks::task::alloc(unsafe { as_task(task) }))
}

unsafe extern "C" fn task_free(task: *mut bindings::task_struct) {
    // SAFETY: The task is still whole when its security blob is freed.
    hooks::task::free(unsafe { as_task(task) });
}

unsafe extern "C" fn task_kill(
    task: *mut bindings::task_struct,
    _info: *mut bindings::kernel_siginfo,
    _sig: c_int,
    cred: *const bindings::cred,
) -> c_int {
    // With credentials given it is the completion of asynchronous USB, not a process's doing.
    if !cred.is_null() {
        return 0;
    }
    // SAFETY: The caller holds the task by RCU or tasklist_lock.
    errno(hooks::signal::task_kill(unsafe { as_task(task) }))
}

unsafe extern "C" fn ptrace_access_check(child: *mut bindings::task_struct, mode: c_uint) -> c_int {
    // SAFETY: The caller holds the task.
    errno(hooks::ptrace::access_check(unsafe { as_task(child) }, mode))
}

unsafe extern "C" fn ptrace_traceme(parent: *mut bindings::task_struct) -> c_int {
    // SAFETY: The caller holds tasklist_lock.
    errno(hooks::ptrace::traceme(unsafe { as_task(parent) }))
}

unsafe extern "C" fn task_release(task: *mut bindings::task_struct) {
    // SAFETY: `release_task` still holds the task.
    hooks::task::release(unsafe { as_task(task) });
}

unsafe extern "C" fn task_visible(task: *mut bindings::task_struct) -> bool {
    // SAFETY: The caller holds RCU or tasklist_lock.
    hooks::pid::task_in_view(unsafe { as_task(task) })
}

unsafe extern "C" fn task_listed(task: *mut bindings::task_struct) -> bool {
    // SAFETY: The caller holds RCU or tasklist_lock; the second looks at the caller only.
    unsafe { hooks::pid::task_listed(as_task(task)) || vserver_for_the_kernel() }
}

unsafe extern "C" fn proc_status(seq: *mut bindings::seq_file, task: *mut bindings::task_struct) {
    let _inside = Inside::enter();
    // SAFETY: Both are held by the reader of the file.
    hooks::proc::status(unsafe { SeqFile::from_raw(seq) }, unsafe { as_task(task) });
}
