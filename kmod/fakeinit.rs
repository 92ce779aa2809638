// SPDX-License-Identifier: GPL-2.0

//! Process 1 of a context, and the end that it brings. One of the files that may contain `unsafe`.
//!
//! C: `init_process.c`, declared in `init_process.h`; what it is to numbers is in `pid_numbers.c`.
//!
//! # Lifetime
//!
//! A process claims the place, once and for all, before it takes it; a request that fails gives the
//! claim back. The pid is held until the memory of the context goes, so readers under RCU who have
//! found the context may use it. When the process exits, or somebody in the context calls reboot(2), the
//! context is *ending*: first nobody can be added any more, then all are killed. Who was being added
//! meanwhile is seen by one of the two: he looks at the mark after he has become a member.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use crate::{context::Context, task, uapi};
use core::{
    ffi::{c_int, c_long, c_uint, c_void},
    ptr, //
};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Release},
        Arc, //
    },
};

mod c {
    use super::*;

    extern "C" {
        pub(super) fn vserver_get_own_pid() -> *mut bindings::pid;
        pub(super) fn vserver_put_pid(pid: *mut bindings::pid);
        pub(super) fn vserver_pid_number(pid: *mut bindings::pid) -> c_int;
        pub(super) fn vserver_is_own_pid(pid: *const bindings::pid) -> bool;
        pub(super) fn vserver_become_init(context: *const c_void);
        pub(super) fn vserver_signal_processes(
            context: *const c_void,
            signal: c_int,
            nr: c_int,
            but_own: bool,
        ) -> c_uint;
        pub(super) fn vserver_signal_init(pid: *mut bindings::pid, signal: c_int) -> c_int;
        pub(super) fn vserver_kill_own();
    }
}

/// The process has not exited.
const RUNNING: i32 = -1;

/// The place of a context's process 1.
pub(crate) struct Init {
    /// Whether somebody has the place, or is about to: 0 or 1.
    claimed: Atomic<i32>,
    /// A reference. Set once.
    pid: Atomic<*mut bindings::pid>,
    /// How it exited, as wait(2) reports it.
    exit: Atomic<i32>,
    /// The first `REBOOT_*` that was asked for.
    reboot: Atomic<u32>,
}

impl Init {
    pub(crate) fn new() -> Self {
        Self {
            claimed: Atomic::new(0),
            pid: Atomic::new(ptr::null_mut()),
            exit: Atomic::new(RUNNING),
            reboot: Atomic::new(uapi::REBOOT_NONE),
        }
    }

    /// Null: there has never been one. To be used while the context is held, or under RCU.
    pub(crate) fn pid(&self) -> *mut bindings::pid {
        self.pid.load(Acquire)
    }

    fn has_exited(&self) -> bool {
        self.exit.load(Acquire) != RUNNING
    }

    /// Its number for the caller, 0 for none.
    pub(crate) fn number(&self) -> i32 {
        let pid = self.pid();
        if pid.is_null() || self.has_exited() {
            return 0;
        }
        // SAFETY: Set once, with a reference that lasts as long as `self`.
        unsafe { c::vserver_pid_number(pid) }
    }

    /// Whether there is something to tell: it has exited, or reboot(2) was called.
    pub(crate) fn has_news(&self) -> bool {
        self.has_exited() || self.reboot.load(Acquire) != uapi::REBOOT_NONE
    }

    /// The fields of [`uapi::Status`] that are about it.
    pub(crate) fn describe(&self, status: &mut uapi::Status) {
        let exit = self.exit.load(Acquire);
        status.init = if self.pid().is_null() {
            uapi::INIT_NONE
        } else if exit == RUNNING {
            uapi::INIT_RUNNING
        } else {
            uapi::INIT_EXITED
        };
        if exit != RUNNING {
            status.init_status = exit as u32;
        }
        status.reboot = self.reboot.load(Acquire);
    }

    fn is_caller(&self) -> bool {
        let pid = self.pid();
        // SAFETY: Compares with the caller's own, which stays while it runs.
        !pid.is_null() && unsafe { c::vserver_is_own_pid(pid) }
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let pid = self.pid();
        if !pid.is_null() {
            // SAFETY: The reference that `Claim::take` got; nobody else drops it.
            unsafe { c::vserver_put_pid(pid) };
        }
    }
}

/// The caller is about to become process 1 of a context. Dropped: somebody else may.
pub(crate) struct Claim(Arc<Context>);

impl Claim {
    /// `EPERM`: somebody is or was.
    pub(crate) fn new(context: Arc<Context>) -> Result<Self> {
        match context.init.claimed.cmpxchg(0, 1, Full) {
            Ok(_) => Ok(Self(context)),
            Err(_) => Err(EPERM),
        }
    }

    /// The caller, a member of the context by now, becomes its process 1.
    pub(crate) fn take(self) {
        // SAFETY: Looks at the caller only.
        let pid = unsafe { c::vserver_get_own_pid() };
        self.0.init.pid.store(pid, Release);
        // SAFETY: The pointer is compared with those of other tasks only; process context.
        unsafe { c::vserver_become_init(as_pointer(&self.0)) };
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0.init.pid().is_null() {
            self.0.init.claimed.store(0, Release);
        }
    }
}

fn as_pointer(context: &Context) -> *const c_void {
    ptr::from_ref(context).cast()
}

/// Whether the caller is process 1 of its context.
pub(crate) fn is_caller() -> bool {
    task::own_context().is_some_and(|context| context.init.is_caller())
}

/// The caller has entered a context. If that began to end meanwhile, the caller ends with it.
pub(crate) fn entered(context: &Context) {
    // Between becoming a member and looking, as `end` has one between marking and looking for members.
    kernel::sync::barrier::smp_mb(Full);
    if context.is_ending() {
        // SAFETY: The caller has no lock of signals.
        unsafe { c::vserver_kill_own() };
    }
}

/// Nobody comes in any more, who waits is told, and all are killed.
fn end(context: &Context, but_own: bool) {
    context.begin_to_end();
    context.news.wake();
    // SAFETY: The pointer is compared with those of other tasks only; the context is held.
    unsafe {
        c::vserver_signal_processes(as_pointer(context), bindings::SIGKILL as c_int, 0, but_own)
    };
}

/// Sends a signal into a context from outside; how many processes got it. `ESRCH`: none.
pub(crate) fn signal(context: &Context, pid: i32, signal: u32) -> Result<u32> {
    let signal = signal as c_int;
    let count = if pid == uapi::SIGNAL_INIT {
        let init = context.init.pid();
        if init.is_null() || context.init.has_exited() {
            0
        } else {
            // SAFETY: Set once, with a reference that lasts as long as the context.
            u32::from(unsafe { c::vserver_signal_init(init, signal) } == 0)
        }
    } else {
        let nr = if pid == uapi::SIGNAL_ALL { 0 } else { pid };
        // SAFETY: As in `end`.
        unsafe { c::vserver_signal_processes(as_pointer(context), signal, nr, false) }
    };
    if count == 0 {
        return Err(ESRCH);
    }
    Ok(count)
}

/// The last thread of a process in a context exits.
#[no_mangle]
extern "C" fn vserver_process_exits(status: c_int) {
    let Some(context) = task::own_context() else {
        return;
    };
    if context.init.is_caller() {
        context.init.exit.store(status, Release);
        end(&context, true);
    }
}

/// Whether the caller's context has a process 1 that runs.
#[no_mangle]
extern "C" fn vserver_context_has_init() -> bool {
    task::own_context()
        .is_some_and(|context| !context.init.pid().is_null() && !context.init.has_exited())
}

/// reboot(2) in the caller's context, by who may: the caller, too, gets SIGKILL.
#[no_mangle]
extern "C" fn vserver_reboot_context(what: c_int) -> c_long {
    if let Some(context) = task::own_context() {
        // The first one counts.
        let _ = context
            .init
            .reboot
            .cmpxchg(uapi::REBOOT_NONE, what as u32, Full);
        end(&context, false);
    }
    0
}
