// SPDX-License-Identifier: GPL-2.0

//! The C helpers as safe Rust. One of the files that may contain `unsafe`.
//!
//! C: `helpers.c`, declared in `helpers.h`.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use crate::context::Context;
use core::ptr::NonNull;
use kernel::{
    bindings,
    error::{from_err_ptr, to_result},
    prelude::*,
    sync::aref::ARef, //
    sync::Arc,
    task::Task,
};

mod c {
    use super::*;
    use core::ffi::{c_int, c_uint, c_ulong, c_void};
    // bindgen's types for kernel structures are opaque to this lint; only pointers to them pass.

    extern "C" {
        pub(super) fn vserver_map_lock() -> c_ulong;
        pub(super) fn vserver_map_unlock(flags: c_ulong);
        pub(super) fn vserver_idr_take(context: *mut c_void, number: c_int) -> c_int;
        pub(super) fn vserver_idr_next_free(
            context: *mut c_void,
            first: c_int,
            last: c_int,
        ) -> c_int;
        pub(super) fn vserver_idr_find(number: c_int) -> *mut c_void;
        pub(super) fn vserver_idr_after(number: *mut c_int) -> *mut c_void;
        pub(super) fn vserver_idr_remove(number: c_int);
        pub(super) fn vserver_idr_destroy();
        pub(super) fn vserver_reap_later();
        pub(super) fn vserver_reap_flush();
        pub(super) fn vserver_single_threaded() -> bool;
        #[cfg(not(CONFIG_SECURITY_VSERVER))]
        pub(super) fn vserver_threads() -> c_uint;
        pub(super) fn vserver_is_entangled() -> bool;
        pub(super) fn vserver_reaches_out(task: *mut bindings::task_struct) -> bool;
        pub(super) fn vserver_is_traced() -> bool;
        pub(super) fn vserver_tracers_lock() -> c_int;
        pub(super) fn vserver_tracers_unlock();
        pub(super) fn vserver_rlimit_nproc() -> c_ulong;
        pub(super) fn vserver_is_shown_init(task: *mut bindings::task_struct) -> bool;
        pub(super) fn vserver_mark(task: *mut bindings::task_struct);
        pub(super) fn vserver_same_process(
            a: *mut bindings::task_struct,
            b: *mut bindings::task_struct,
        ) -> bool;
        pub(super) fn vserver_boottime_ns() -> u64;
        pub(super) fn vserver_cap_last() -> c_uint;
        pub(super) fn vserver_cred_without(caps: u64, leaves: bool) -> *mut bindings::cred;
        pub(super) fn vserver_spaces_new() -> *mut c_void;
        pub(super) fn vserver_spaces_free(spaces: *mut c_void);
        pub(super) fn vserver_own_nsproxy(spaces: *mut c_void) -> c_int;
        pub(super) fn vserver_adopt_files() -> c_int;
        pub(super) fn vserver_ptys_begin();
        pub(super) fn vserver_ptys_unmark();
        pub(super) fn vserver_ptys_end();
        pub(super) fn vserver_ptys_end_loans_to(borrower: u64);
        pub(super) fn vserver_proc_roots_unmark();
        pub(super) fn vserver_proc_roots_end();
        pub(super) fn vserver_map_destroy();
        #[cfg(CONFIG_KEYS)]
        pub(super) fn vserver_keys_forget(tag: u64);
        #[cfg(CONFIG_KEYS)]
        pub(super) fn vserver_keys_destroy();
        pub(super) fn vserver_resolve() -> c_int;
        pub(super) fn vserver_is_admin() -> bool;
        pub(super) fn vserver_get_task(nr: c_int) -> *mut bindings::task_struct;
        pub(super) fn vserver_module_get();
        pub(super) fn vserver_module_put();
        pub(super) fn vserver_rcu_tasks_grace_period();
    }

    extern "C" {
        pub(super) fn vserver_attach() -> c_int;
        pub(super) fn vserver_attach_inits() -> c_int;
        pub(super) fn vserver_detach();
        pub(super) fn vserver_hooks_attached() -> c_uint;
        pub(super) fn vserver_hooks_total() -> c_uint;
    }
}

/// Holds the lock of the task map's writers; interrupts are off meanwhile.
pub(crate) struct MapGuard(core::ffi::c_ulong);

impl MapGuard {
    pub(crate) fn new() -> Self {
        // SAFETY: The lock is initialised statically; `drop` releases it exactly once.
        Self(unsafe { c::vserver_map_lock() })
    }
}

impl Drop for MapGuard {
    fn drop(&mut self) {
        // SAFETY: `new` took the lock and `self.0` is what it returned.
        unsafe { c::vserver_map_unlock(self.0) }
    }
}

/// The numbers in use and their contexts. All functions need the registry's mutex.
pub(crate) mod numbers {
    use super::*;

    /// Gives `context` the number `number`. The IDR then owns the reference that was passed.
    pub(crate) fn take(context: &Arc<Context>, number: i32) -> Result {
        let raw = Arc::into_raw(context.clone());
        // SAFETY: The IDR only stores the pointer; the caller holds the mutex that guards it.
        let got = unsafe { c::vserver_idr_take(raw.cast_mut().cast(), number) };
        if got < 0 {
            // SAFETY: `raw` came from `into_raw` above and the IDR did not keep it.
            drop(unsafe { Arc::from_raw(raw) });
            return to_result(got);
        }
        Ok(())
    }

    /// Gives `context` the next free number of a range.
    pub(crate) fn next_free(context: &Arc<Context>, first: i32, last: i32) -> Result<i32> {
        let raw = Arc::into_raw(context.clone());
        // SAFETY: As in `take`.
        let got = unsafe { c::vserver_idr_next_free(raw.cast_mut().cast(), first, last) };
        if got < 0 {
            // SAFETY: As in `take`.
            drop(unsafe { Arc::from_raw(raw) });
            to_result(got)?;
        }
        Ok(got)
    }

    fn borrow(raw: *mut core::ffi::c_void) -> Option<Arc<Context>> {
        if raw.is_null() {
            return None;
        }
        // SAFETY: Non-null entries of the IDR are from `Arc::into_raw` and stay until `remove`;
        // forgetting the temporary keeps the IDR's own reference.
        let own = unsafe { Arc::from_raw(raw.cast::<Context>().cast_const()) };
        let copy = own.clone();
        core::mem::forget(own);
        Some(copy)
    }

    /// The context that has a number.
    pub(crate) fn find(number: i32) -> Option<Arc<Context>> {
        // SAFETY: The caller holds the mutex, so the entry cannot be removed meanwhile.
        borrow(unsafe { c::vserver_idr_find(number) })
    }

    /// The context with the lowest number that is at least `number`.
    pub(crate) fn at_or_after(number: i32) -> Option<Arc<Context>> {
        let mut number = number;
        // SAFETY: As in `find`; the second argument is a valid place for the number.
        borrow(unsafe { c::vserver_idr_after(&mut number) })
    }

    /// Frees a number; drops the IDR's reference.
    pub(crate) fn remove(number: i32) {
        // SAFETY: As in `find`.
        let raw = unsafe { c::vserver_idr_find(number) };
        if !raw.is_null() {
            // SAFETY: The mutex is held; the number is in use.
            unsafe { c::vserver_idr_remove(number) };
            // SAFETY: The entry came from `into_raw`, and nobody finds it there any more.
            drop(unsafe { Arc::from_raw(raw.cast::<Context>().cast_const()) });
        }
    }

    /// At module exit, when no number is in use.
    pub(crate) fn destroy() {
        // SAFETY: No context is left and the device has gone: nobody uses the IDR.
        unsafe { c::vserver_idr_destroy() }
    }
}

/// Have [`crate::registry::reap`] run soon in process context. Callable from anywhere.
pub(crate) fn reap_later() {
    // SAFETY: Queues a static work item; the module flushes it before it goes.
    unsafe { c::vserver_reap_later() }
}

/// Wait until a reaping that was asked for has been done. Sleeps.
pub(crate) fn reap_flush() {
    // SAFETY: The work item is static and this is process context.
    unsafe { c::vserver_reap_flush() }
}

/// Whether the current process has one thread.
pub(crate) fn single_threaded() -> bool {
    // SAFETY: Looks at `current` only.
    unsafe { c::vserver_single_threaded() }
}

/// How many threads the current process has.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn threads() -> u32 {
    // SAFETY: Looks at `current` only.
    unsafe { c::vserver_threads() }
}

/// While it lives, no tracer attaches to the current process.
pub(crate) struct TracersGuard(());

impl TracersGuard {
    /// Fails when a signal comes first; the system call then starts again.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Process context, and no other lock is held; `drop` releases it exactly once.
        to_result(unsafe { c::vserver_tracers_lock() })?;
        Ok(Self(()))
    }
}

impl Drop for TracersGuard {
    fn drop(&mut self) {
        // SAFETY: `new` took the lock.
        unsafe { c::vserver_tracers_unlock() }
    }
}

/// Whether the current process is traced or traces.
pub(crate) fn is_traced() -> bool {
    // SAFETY: Looks at `current` only.
    unsafe { c::vserver_is_traced() }
}

/// Whether the current process shares memory, descriptors or directories with another one, or has an
/// instance of io_uring.
pub(crate) fn is_entangled() -> bool {
    // SAFETY: Process context; looks at `current` and, for who has its memory, at the list of tasks.
    unsafe { c::vserver_is_entangled() }
}

/// Whether the directories of a task are out of the caller's reach. From a check of access, which
/// holds the task's lock.
pub(crate) fn reaches_out(task: &Task) -> bool {
    // SAFETY: A valid task, and its lock keeps what it points to.
    unsafe { c::vserver_reaches_out(task.as_ptr()) }
}

/// The soft RLIMIT_NPROC of the current process.
pub(crate) fn rlimit_nproc() -> u64 {
    // SAFETY: Looks at `current` only.
    unsafe { c::vserver_rlimit_nproc() as u64 }
}

/// Whether a task is of the process 1 that the caller is shown. Under RCU or tasklist_lock.
pub(crate) fn is_shown_init(task: &Task) -> bool {
    // SAFETY: A `&Task` is a valid task.
    unsafe { c::vserver_is_shown_init(task.as_ptr()) }
}

/// Marks a task that is about to be in a context: the caller, or one that does not run yet.
pub(crate) fn mark(task: &Task) {
    // SAFETY: A valid task; nobody else changes its flags meanwhile.
    unsafe { c::vserver_mark(task.as_ptr()) }
}

/// Whether two tasks are threads of one process.
pub(crate) fn same_process(a: &Task, b: &Task) -> bool {
    // SAFETY: Both are valid tasks.
    unsafe { c::vserver_same_process(a.as_ptr(), b.as_ptr()) }
}

/// CLOCK_BOOTTIME in nanoseconds.
pub(crate) fn boottime_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { c::vserver_boottime_ns() }
}

/// The highest capability that the kernel knows.
pub(crate) fn cap_last() -> u32 {
    // SAFETY: No preconditions.
    unsafe { c::vserver_cap_last() }
}

/// Finds the kernel's functions that are not exported. `ENOENT`: the log names one that is missing.
pub(crate) fn resolve() -> Result {
    // SAFETY: Called once, from module init, before anything that calls them.
    to_result(unsafe { c::vserver_resolve() })
}

/// The namespaces that a context has for itself: host and domain names, and IPC.
pub(crate) struct Spaces(NonNull<c_void>);

// SAFETY: What it points to is counted by atomics and can be let go of by any process.
unsafe impl Send for Spaces {}

impl Spaces {
    /// New ones, with the caller's names and nothing in them. `ENOMEM`; `ENOSPC`: the user has too many.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Process context; the caller has namespaces, as it makes a request.
        let raw = from_err_ptr(unsafe { c::vserver_spaces_new() })?;
        NonNull::new(raw).map(Self).ok_or(ENOMEM)
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        // SAFETY: From `vserver_spaces_new`, and freed once. Contexts are not let go of in atomic context.
        unsafe { c::vserver_spaces_free(self.0.as_ptr()) }
    }
}

/// Gives the caller a set of namespaces that it shares with nobody; the namespaces are the same, but for
/// those of a context. `ENOMEM` is the only error.
pub(crate) fn own_nsproxy(spaces: Option<&Spaces>) -> Result {
    let spaces = spaces.map_or(core::ptr::null_mut(), |spaces| spaces.0.as_ptr());
    // SAFETY: Process context; changes `current` only, which holds no lock that this takes. The spaces
    // are kept by the reference during the call.
    to_result(unsafe { c::vserver_own_nsproxy(spaces) })
}

/// What is known of pseudo-terminals, see `pty.c` and `devpts.c`.
pub(crate) mod ptys {
    use super::c;

    /// When the hooks are attached.
    pub(crate) fn begin() {
        // SAFETY: Called once, from module init.
        unsafe { c::vserver_ptys_begin() }
    }

    /// When they are not any more, and nobody is inside them.
    pub(crate) fn unmark() {
        // SAFETY: Called once, from module exit, as its rules want it.
        unsafe { c::vserver_ptys_unmark() }
    }

    /// A grace period of Tasks RCU after [`unmark`], and one before the module's memory goes.
    pub(crate) fn end() {
        // SAFETY: Called once, from module exit, as its rules want it.
        unsafe { c::vserver_ptys_end() }
    }

    /// The context with this tag has ended.
    pub(crate) fn end_loans_to(tag: u64) {
        // SAFETY: Process context.
        unsafe { c::vserver_ptys_end_loans_to(tag) }
    }
}

/// The names of processes in mounts of proc, see `proc_root.c`.
pub(crate) mod proc_roots {
    use super::c;

    /// When the hooks are not attached any more, and nobody is inside them.
    pub(crate) fn unmark() {
        // SAFETY: Called once, from module exit, as its rules want it.
        unsafe { c::vserver_proc_roots_unmark() }
    }

    /// A grace period of Tasks RCU after [`unmark`], and one before the module's memory goes.
    pub(crate) fn end() {
        // SAFETY: As above.
        unsafe { c::vserver_proc_roots_end() }
    }
}

/// Puts the caller's open sockets under its network, as far as they are not bound yet, and notes which
/// terminals it has been given. `ENOMEM`: only some sockets are.
pub(crate) fn adopt_files() -> Result {
    // SAFETY: Process context; the files are the caller's.
    to_result(unsafe { c::vserver_adopt_files() })
}

/// At module exit, when there is no network any more.
pub(crate) fn map_destroy() {
    // SAFETY: No hook and no socket of ours is left that looks there.
    unsafe { c::vserver_map_destroy() }
}

/// At the end of a context: the keyrings of its users go.
pub(crate) fn keys_forget(tag: u64) {
    #[cfg(CONFIG_KEYS)]
    // SAFETY: Process context.
    unsafe {
        c::vserver_keys_forget(tag)
    }
    #[cfg(not(CONFIG_KEYS))]
    let _ = tag;
}

/// At module exit, when there is no context any more.
pub(crate) fn keys_destroy() {
    #[cfg(CONFIG_KEYS)]
    // SAFETY: No hook of ours is left that looks there.
    unsafe {
        c::vserver_keys_destroy()
    }
}

/// Whether the caller has CAP_SYS_ADMIN over the machine.
pub(crate) fn is_admin() -> bool {
    // SAFETY: Looks at `current` only.
    unsafe { c::vserver_is_admin() }
}

/// The task that `nr` names for the caller.
pub(crate) fn get_task(nr: i32) -> Option<ARef<Task>> {
    // SAFETY: Returns NULL or a task with a reference that is ours.
    let task = unsafe { c::vserver_get_task(nr) };
    // SAFETY: `Task` is a transparent wrapper of `task_struct`, and the reference passes to `ARef`.
    NonNull::new(task.cast::<Task>()).map(|task| unsafe { ARef::from_raw(task) })
}

/// New credentials of the current process with capabilities taken away, and for who goes into another
/// context without keys; not yet in force.
pub(crate) struct Reduced(NonNull<bindings::cred>);

impl Reduced {
    /// `ENOMEM` is the only error.
    pub(crate) fn new(drop_caps: u64, leaves: bool) -> Result<Self> {
        // SAFETY: Copies the credentials of `current`.
        let cred = unsafe { c::vserver_cred_without(drop_caps, leaves) };
        NonNull::new(cred).map(Self).ok_or(ENOMEM)
    }

    /// Puts them in force.
    pub(crate) fn commit(self) {
        let cred = self.0;
        core::mem::forget(self);
        // SAFETY: `cred` is from `prepare_creds` by this very task; `commit_creds` consumes it.
        unsafe { bindings::commit_creds(cred.as_ptr()) };
    }
}

impl Drop for Reduced {
    fn drop(&mut self) {
        // SAFETY: Prepared and never committed (`commit` forgets `self`).
        unsafe { bindings::abort_creds(self.0.as_ptr()) }
    }
}

/// Keeps the module loaded until [`module_put`]. For callers inside an ioctl.
pub(crate) fn module_get() {
    // SAFETY: An open device file holds a reference already, so this cannot race with removal.
    unsafe { c::vserver_module_get() }
}

/// Gives back what [`module_get`] took.
pub(crate) fn module_put() {
    // SAFETY: Paired with `module_get`; module exit waits for its callers, as for all of ours.
    unsafe { c::vserver_module_put() }
}

/// Waits until every task that was preempted inside a function of ours has left it. Sleeps.
pub(crate) fn rcu_tasks_grace_period() {
    // SAFETY: Process context; no other precondition.
    unsafe { c::vserver_rcu_tasks_grace_period() }
}

/// The attachment by ftrace, `ftrace_glue.c`.
pub(crate) mod ftrace {
    use super::*;

    /// Attaches every hook or none.
    pub(crate) fn attach() -> Result {
        // SAFETY: Called once, from module init.
        to_result(unsafe { c::vserver_attach() })
    }

    /// Attaches what the first process 1 of a context needs, once. Sleeps.
    pub(crate) fn attach_inits() -> Result {
        // SAFETY: Process context; an open device file keeps the module from going meanwhile.
        to_result(unsafe { c::vserver_attach_inits() })
    }

    /// Detaches what is attached. Callers may still be inside: see `attach/mod.rs`.
    pub(crate) fn detach() {
        // SAFETY: Idempotent; called from module init's error path and module exit only.
        unsafe { c::vserver_detach() }
    }

    /// Hooks attached now, hooks there are.
    pub(crate) fn hooks() -> (u32, u32) {
        // SAFETY: Both read what changes in module init and exit only.
        unsafe { (c::vserver_hooks_attached(), c::vserver_hooks_total()) }
    }
}

/// From the work item: ends what has to end.
#[no_mangle]
extern "C" fn vserver_reap() {
    crate::registry::reap();
}

/// From `vserver_pid_in_view`.
///
/// # Safety
///
/// `task` must be valid during the call.
#[no_mangle]
unsafe extern "C" fn vserver_task_in_view(task: *mut bindings::task_struct) -> bool {
    // SAFETY: By this function's contract; `Task` is a transparent wrapper.
    crate::hooks::pid::task_in_view(unsafe { &*task.cast::<Task>() })
}
