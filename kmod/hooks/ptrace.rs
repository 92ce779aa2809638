// SPDX-License-Identifier: GPL-2.0

//! Looking into other processes: ptrace, process_vm_*, kcmp, most of /proc/PID. Atomic context.

use crate::{
    attach::hook::hooks,
    context::membership,
    linux::{Directories, TaskRef},
    policy::visibility::{touch, Touch},
    uapi::CONTEXT_ROOT,
};
use kernel::{bindings, current, prelude::*, sync::rcu, task::Task};

/// Whether a process has the machine's root directory or another one above the caller's, or a working directory that
/// neither its own nor the caller's root leads to. In another mount namespace, with the vserver on a file system of
/// its own, nothing but its being the machine's tells that a root is above.
fn reaches_out(target: &Task) -> bool {
    let guard = rcu::read_lock();
    let Some(its) = Directories::of_locked(target, &guard) else {
        return false;
    };
    let own = Directories::own(&guard);
    let machine = Directories::of_machine(&guard);
    its.root().is_above(own.root())
        || (its.root().has_entry_of(machine.root()) && !own.root().has_entry_of(machine.root()))
        || !(its.working().is_below(its.root()) || its.working().is_below(own.root()))
}

/// `mode`: `PTRACE_MODE_*`. The spectator may read what it otherwise may, and attach to nothing. Somebody
/// who has entered and still has the host's directories lends them to nobody.
// Not inlined: the hook jumps to the kernel's function, so it must have no stack frame of its own.
#[inline(never)]
fn access_check(target: &Task, mode: u32) -> Result {
    let (actor, party) = membership::parties(current!(), target);
    match touch(actor, party) {
        Touch::Allowed if actor.context != CONTEXT_ROOT && reaches_out(target) => Err(EPERM),
        Touch::Allowed => Ok(()),
        Touch::Refused if mode & bindings::PTRACE_MODE_ATTACH == 0 => Ok(()),
        Touch::Refused | Touch::Absent => Err(EPERM),
    }
}

/// The caller asks its parent to trace it.
fn traceme(parent: &Task) -> Result {
    if membership::may_touch(parent, current!()) {
        Ok(())
    } else {
        Err(EPERM)
    }
}

hooks! {
    #[member(ptrace_access_check)]
    mediate_anyone fn security_ptrace_access_check(child: &TaskRef, mode: u32) -> ::kernel::ffi::c_int {
        access_check(child.as_task(), mode)
    }

    #[member(ptrace_traceme)]
    mediate_anyone fn security_ptrace_traceme(parent: &TaskRef) -> ::kernel::ffi::c_int {
        traceme(parent.as_task())
    }
}
