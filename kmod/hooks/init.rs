// SPDX-License-Identifier: GPL-2.0

//! Process 1 of a context: the end that it brings, reboot(2), and what it cannot give up. Its place is in
//! `context/init_state.rs`.
//!
//! The kernel has the parts: signals with default action do not reach a process that is "unkillable", orphans go to the next
//! "child subreaper" above them.
//!
//! When it exits, or somebody in the context calls reboot(2), the context is *ending*: first nobody can be added any more,
//! then all are killed. Who was being added meanwhile is seen by one of the two: he looks at the mark after he has become a
//! member.

use super::pid::own_init::init_in_own_ns;
use crate::{
    attach::hook::hooks,
    bindings::{
        LINUX_REBOOT_CMD_CAD_OFF, LINUX_REBOOT_CMD_CAD_ON, LINUX_REBOOT_CMD_HALT,
        LINUX_REBOOT_CMD_POWER_OFF, LINUX_REBOOT_CMD_RESTART, LINUX_REBOOT_CMD_RESTART2,
        LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A, LINUX_REBOOT_MAGIC2B,
        LINUX_REBOOT_MAGIC2C, SIGKILL,
    },
    context::{
        init_hooks::InitHooks,
        membership::{self, is_inside},
        Context,
    },
    linux::{self, own_euid, PidNs, PidRole, Registers, TaskRef},
    uapi,
};
use kernel::{
    ffi::{c_int, c_long, c_uint},
    prelude::*,
    sync::{atomic::Full, rcu, Arc},
};

/// The caller is about to become process 1 of a context. Dropped: somebody else may.
pub(crate) struct Claim {
    context: Arc<Context>,
    /// Until the context has them.
    hooks: Option<InitHooks>,
}

impl Claim {
    /// `EPERM`: somebody is or was.
    pub(crate) fn new(context: Arc<Context>, hooks: InitHooks) -> Result<Self> {
        if context.init.claim() {
            Ok(Self {
                context,
                hooks: Some(hooks),
            })
        } else {
            Err(EPERM)
        }
    }

    /// The caller, a member of the context by now, becomes its process 1.
    pub(crate) fn take(mut self) {
        self.context.keep_init_hooks(self.hooks.take());
        self.context.init.take();
        // A descendant that is in the context, too, leaves its orphans to the caller.
        linux::become_init(|descendant| {
            membership::is_within(descendant, &self.context, &rcu::read_lock())
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.context.init.give_up_claim();
    }
}

/// Whether the caller is process 1 of its context.
pub(crate) fn is_caller() -> bool {
    membership::own_context().is_some_and(|context| context.init.is_caller())
}

/// The caller has entered a context. If that began to end meanwhile, the caller ends with it.
pub(crate) fn entered(context: &Context) {
    // Between becoming a member and looking, as `end` has one between marking and looking for members.
    kernel::sync::barrier::smp_mb(Full);
    if context.is_ending() {
        // It was not among the processes of the context yet.
        linux::kill_own_process();
    }
}

/// Nobody comes in any more, who waits is told, and all are killed.
fn end(context: &Context, but_own: bool) {
    context.begin_to_end();
    context.news.wake();
    signal_processes(context, SIGKILL as c_int, None, but_own);
}

/// Sends a signal of the kernel's own to the processes of a context and of those inside of it; to one of them when `number` is
/// that one's for the caller. Not to the caller's own when `but_own`. Returns how many got it.
///
/// Whoever is being made meanwhile gets SIGKILL, too: a fork becomes visible at the end of the list with its parent's signal
/// lock held, and only if the parent has no SIGKILL yet.
fn signal_processes(context: &Context, signal: c_int, number: Option<i32>, but_own: bool) -> u32 {
    let guard = rcu::read_lock();
    let caller = TaskRef::current().as_task();
    let mut count = 0;
    for process in linux::processes(&guard) {
        let Some(pid) = process.pid(PidRole::THREAD, &guard) else {
            continue;
        };
        let is_meant = number
            .is_none_or(|number| PidNs::own().is_some_and(|own| pid.number_in(own) == number));
        let is_spared = but_own && linux::is_same_process(process.as_task(), caller);
        if is_meant
            && !is_spared
            && membership::is_within(process.as_task(), context, &guard)
            && pid.signal(signal).is_ok()
        {
            count += 1;
        }
    }
    count
}

/// Sends a signal into a context from outside; how many processes got it. `ESRCH`: none.
pub(crate) fn signal(context: &Context, pid: i32, signal: u32) -> Result<u32> {
    let signal = signal as c_int;
    let count = match pid {
        uapi::SIGNAL_INIT => {
            let sent = context.init.running().map(|init| init.signal_init(signal));
            u32::from(sent == Some(Ok(())))
        }
        uapi::SIGNAL_ALL => signal_processes(context, signal, None, false),
        number => signal_processes(context, signal, Some(number), false),
    };
    if count == 0 {
        return Err(ESRCH);
    }
    Ok(count)
}

/// The last thread of the caller's process exits, which is in a context; `status` as wait(2) reports it.
fn process_exits(status: i32) {
    let Some(context) = membership::own_context() else {
        return;
    };
    if context.init.is_caller() {
        context.init.exits(status);
        end(&context, true);
    }
}

/// Whether the caller's context has a process 1 that runs.
fn has_own_context_init() -> bool {
    membership::own_context().is_some_and(|context| context.init.running().is_some())
}

/// reboot(2) in the caller's context, by who may: the caller, too, gets SIGKILL. `what`: `REBOOT_*`.
fn reboot_own_context(what: u32) {
    if let Some(context) = membership::own_context() {
        context.init.reboots(what);
        end(&context, false);
    }
}

/// Who adopts the orphans of the caller, which exits: a thread of process 1 of its context. `None`: who would do so outside.
/// With tasklist_lock held.
#[cfg(CONFIG_SECURITY_VSERVER)]
pub(crate) fn reaper(guard: &rcu::Guard) -> Option<&TaskRef> {
    let init = init_in_own_ns(guard)?;
    init.task(guard)?
        .threads(guard)
        .find(|thread| !thread.is_exiting())
}

/// reboot(2) inside. CAP_SYS_BOOT is for the machine, so it is not asked for: to end one's own context it takes to be root in
/// it.
fn reboot(first: c_uint, second: c_uint, command: c_uint) -> Result {
    if !has_own_context_init() || own_euid() != 0 {
        return Err(EPERM);
    }
    let is_magic = first == LINUX_REBOOT_MAGIC1
        && matches!(
            second,
            LINUX_REBOOT_MAGIC2
                | LINUX_REBOOT_MAGIC2A
                | LINUX_REBOOT_MAGIC2B
                | LINUX_REBOOT_MAGIC2C
        );
    if !is_magic {
        return Err(EINVAL);
    }
    match command {
        LINUX_REBOOT_CMD_RESTART | LINUX_REBOOT_CMD_RESTART2 => {
            reboot_own_context(uapi::REBOOT_RESTART)
        }
        LINUX_REBOOT_CMD_HALT => reboot_own_context(uapi::REBOOT_HALT),
        LINUX_REBOOT_CMD_POWER_OFF => reboot_own_context(uapi::REBOOT_POWER_OFF),
        // The keyboard is the machine's.
        LINUX_REBOOT_CMD_CAD_ON | LINUX_REBOOT_CMD_CAD_OFF => return Err(EPERM),
        // Suspending, and kernels to be started: there are none here.
        _ => return Err(EINVAL),
    }
    Ok(())
}

/// `None`: a caller in no context.
fn answered(first: usize, second: usize, command: usize) -> Option<c_long> {
    is_inside().then(
        || match reboot(first as c_uint, second as c_uint, command as c_uint) {
            Ok(()) => 0,
            Err(error) => error.to_errno() as c_long,
        },
    )
}

hooks! {
    answer fn __x64_sys_reboot(registers: &Registers) -> c_long {
        let arguments = registers.copy();
        answered(arguments.di, arguments.si, arguments.dx)
    }

    #[cfg(CONFIG_IA32_EMULATION)]
    answer fn __ia32_sys_reboot(registers: &Registers) -> c_long {
        let arguments = registers.copy();
        answered(arguments.bx, arguments.cx, arguments.dx)
    }
}

/// Attached as long as there is a process 1 of a context.
pub(crate) mod with_inits {
    use super::*;
    use crate::{bindings::PR_SET_CHILD_SUBREAPER, linux::own_exit_status};
    use kernel::ffi::c_ulong;

    hooks! {
        /// The last thread of each process comes by here, before anybody is told of the process's end.
        answer fn disassociate_ctty(on_exit: c_int) -> () {
            if on_exit != 0 && is_inside() {
                process_exits(own_exit_status());
            }
            None
        }

        /// Process 1 gets all orphans, and does not get rid of that.
        instead(original) fn security_task_prctl(
            option: c_int, _arg2: c_ulong, _arg3: c_ulong, _arg4: c_ulong, _arg5: c_ulong,
        ) -> c_int {
            let _ = original;
            if option as u32 != PR_SET_CHILD_SUBREAPER {
                return None;
            }
            init_in_own_ns(&rcu::read_lock()).filter(|init| init.is_own()).map(|_| 0)
        }
    }
}
