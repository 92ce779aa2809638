// SPDX-License-Identifier: GPL-2.0

//! From numbers to pids and processes: the caller finds only those in its view, and by the number 1
//! process 1 of its context (see `translate.rs`).
//!
//! Whether the hooks run inside one another depends on what the compiler inlined. So a hook filters
//! what was found, and never looks for another number than it was asked for.
//!
//! In the patched lane the kernel itself asks what is in view, and these hooks are attached as long as
//! there is a process 1 of a context.

#[cfg(not(CONFIG_SECURITY_VSERVER))]
use super::{is_plainly_near, is_process_in_view};
use super::{
    own_init::{may_have_init, own_init},
    visibility::{has_child_of_caller, is_in_view, is_shown_init, sees},
};
use crate::{
    attach::hook::hooks,
    bindings::{pid, pid_t, task_struct},
    linux::{self, Pid, PidNs, TaskRef},
};
#[cfg(not(CONFIG_SECURITY_VSERVER))]
use crate::{context::membership, linux::CallOfSignal};
use core::ptr;
use kernel::{
    ffi::c_int,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        rcu,
    },
};

/// For /proc, which shows a process 1 to every caller.
#[inline(always)]
fn is_listed(task: &TaskRef) -> bool {
    sees(task) || is_shown_init(task)
}

/// The pid that a number means to the caller, when it means `found` to the kernel.
pub(crate) fn own_meaning<'a>(
    number: c_int,
    ns: Option<&PidNs>,
    found: Option<&'a Pid>,
    guard: &'a rcu::Guard,
) -> Option<&'a Pid> {
    match own_init(ns, guard) {
        None => found,
        Some(init) if number == 1 => Some(init),
        Some(init) => found.filter(|pid| !pid.is(init)),
    }
}

/// The same for tasks.
fn own_meaning_of_task<'a>(
    number: pid_t,
    ns: Option<&PidNs>,
    found: Option<&'a TaskRef>,
    guard: &'a rcu::Guard,
) -> Option<&'a TaskRef> {
    match own_init(ns, guard) {
        None => found,
        Some(init) if number == 1 => init.task(guard),
        Some(init) => found.filter(|task| !task.is_of(init)),
    }
}

/// The result in place of a task that the kernel has found. The caller holds RCU.
#[inline(always)]
fn choose<'a>(
    number: pid_t,
    ns: impl FnOnce() -> Option<&'a PidNs>,
    found: Option<&TaskRef>,
    is_there: fn(&TaskRef) -> bool,
) -> *mut task_struct {
    if may_have_init() {
        return choose_meant(number, ns(), found, is_there);
    }
    found
        .filter(|task| is_there(task))
        .map_or(ptr::null_mut(), TaskRef::as_ptr)
}

#[cold]
fn choose_meant(
    number: pid_t,
    ns: Option<&PidNs>,
    found: Option<&TaskRef>,
    is_there: fn(&TaskRef) -> bool,
) -> *mut task_struct {
    let guard = rcu::read_lock();
    own_meaning_of_task(number, ns, found, &guard)
        .filter(|task| is_there(task))
        .map_or(ptr::null_mut(), TaskRef::as_ptr)
}

/// The result in place of an object that the kernel has found, with a reference each.
fn exchange<T: AlwaysRefCounted>(
    found: Option<ARef<T>>,
    meaning: impl for<'a> FnOnce(Option<&'a T>, &'a rcu::Guard) -> Option<&'a T>,
) -> Option<ARef<T>> {
    let guard = rcu::read_lock();
    let chosen = meaning(found.as_deref(), &guard)?;
    if found.as_deref().is_some_and(|found| ptr::eq(found, chosen)) {
        return found;
    }
    Some(chosen.into())
}

/// The first listed pid at or behind a number. The caller holds RCU.
fn next_listed(number: c_int, ns: &PidNs) -> *mut pid {
    if !may_have_init() {
        return linux::find_ge_pid(number, ns, |_, task| is_listed(task));
    }
    let guard = rcu::read_lock();
    match own_init(Some(ns), &guard) {
        Some(init) if number <= 1 && init.task(&guard).is_some_and(is_listed) => init.as_ptr(),
        init => linux::find_ge_pid(number, ns, |pid, task| {
            init.is_none_or(|init| !pid.is(init)) && is_listed(task)
        }),
    }
}

/// What a number means to the caller, when somebody concerned is in a context, or there has been a process 1 of one. Apart, so
/// that the few instructions of other look-ups save no registers for it.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
#[inline(never)]
fn checked_pid(number: c_int, found: Option<&Pid>) -> *mut pid {
    let guard = rcu::read_lock();
    let Some(pid) = own_meaning(number, PidNs::own(), found, &guard) else {
        return ptr::null_mut();
    };
    if pid.task(&guard).is_some_and(is_plainly_near) {
        return pid.as_ptr();
    }
    let is_near = || {
        let caller = TaskRef::current().as_task();
        pid.task(&guard)
            .is_some_and(|task| membership::is_near(caller, task.as_task(), &guard))
    };
    let is_meant = || {
        is_in_view(pid, &guard)
            && (CallOfSignal::of_caller() != CallOfSignal::ToProcess || is_process_in_view(pid))
    };
    if is_near() || is_meant() {
        pid.as_ptr()
    } else {
        ptr::null_mut()
    }
}

hooks! {
    /// On the way of kill(2), which is short: the case that nobody concerned is in a context is decided in a few instructions.
    /// Its callers hold RCU or tasklist_lock.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    wrap_atomic(original) fn find_vpid(number: c_int) -> *mut pid {
        let _ = original;
        linux::choose_vpid(number, |found, kept| match found {
            None if !may_have_init() => ptr::null_mut(),
            Some(pid) if !may_have_init() && pid.first_thread(kept).is_some_and(is_plainly_near) => pid.as_ptr(),
            found => checked_pid(number, found),
        })
    }

    #[cfg(CONFIG_SECURITY_VSERVER)]
    wrap_atomic(original) fn find_vpid(number: c_int) -> *mut pid {
        let _ = original;
        let guard = rcu::read_lock();
        own_meaning(number, PidNs::own(), linux::find_vpid(number, &guard), &guard)
            .filter(|pid| is_in_view(pid, &guard))
            .map_or(ptr::null_mut(), Pid::as_ptr)
    }

    /// With a reference. A process can wait for a child in any context.
    wrap_atomic(original) fn find_get_pid(number: pid_t) -> *mut pid {
        let _ = original;
        Pid::into_raw(exchange(linux::find_get_pid(number), |found, guard| {
            own_meaning(number, PidNs::own(), found, guard)
                .filter(|pid| is_in_view(pid, guard) || has_child_of_caller(pid))
        }))
    }

    /// The callers hold RCU. /proc looks up processes by this function.
    wrap_atomic(original) fn find_task_by_pid_ns(number: pid_t, ns: Option<&PidNs>) -> *mut task_struct {
        let _ = original;
        linux::find_task_by_pid_ns(number, ns, |found| choose(number, || ns, found, is_listed))
    }

    /// The callers hold RCU.
    wrap_atomic(original) fn find_task_by_vpid(number: pid_t) -> *mut task_struct {
        let _ = original;
        linux::find_task_by_vpid(number, |found| choose(number, PidNs::own, found, sees))
    }

    /// With a reference.
    wrap_atomic(original) fn find_get_task_by_vpid(number: pid_t) -> *mut task_struct {
        let _ = original;
        TaskRef::into_raw(exchange(linux::find_get_task_by_vpid(number), |found, guard| {
            own_meaning_of_task(number, PidNs::own(), found, guard).filter(|task| sees(task))
        }))
    }

    /// For listings: the next pid that is listed. The callers hold RCU.
    wrap_atomic(original) fn find_ge_pid(number: c_int, ns: &PidNs) -> *mut pid {
        let _ = original;
        next_listed(number, ns)
    }
}
