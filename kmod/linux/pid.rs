// SPDX-License-Identifier: GPL-2.0

//! Process identifiers: `struct pid`, their numbers, and the kernel's look-ups by number.
//!
//! C header: `include/linux/pid.h`.

use super::{kernel_types, read_once, TaskRef, TasksKept};
use crate::{
    attach::{hook::Is, prototype::original},
    bindings,
};
use core::{
    iter, mem,
    ptr::{self, NonNull},
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{Acquire, Atomic, Full},
        rcu,
    },
};

kernel_types! {
    /// A process identifier.
    Pid = pid;
    /// A pid namespace.
    PidNs = pid_namespace;
}

impl TaskRef {
    /// The pid of the task in a role. `None` if the task has been reaped.
    #[inline(always)]
    pub(crate) fn pid<'a>(&self, role: PidRole, _guard: &'a rcu::Guard) -> Option<&'a Pid> {
        // SAFETY: Valid by the type's invariant; under RCU, which keeps the pid.
        unsafe {
            Pid::from_nullable(bindings::vserver_inline_task_pid_type(
                self.as_ptr(),
                role.number(),
            ))
        }
    }

    /// Whether the task has this pid of its own.
    #[inline(always)]
    pub(crate) fn is_of(&self, pid: &Pid) -> bool {
        read_once!(self, thread_pid) == pid.as_ptr()
    }

    /// Whether it has a number in the caller's pid namespace.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pub(crate) fn has_number(&self, guard: &rcu::Guard) -> bool {
        self.pid(PidRole::THREAD, guard)
            .is_some_and(|pid| pid.own_number() != 0)
    }
}

/// A role of a pid for a task (`PIDTYPE_*`).
#[derive(Clone, Copy)]
pub(crate) struct PidRole(c_uint);

impl PidRole {
    /// Of each thread.
    pub(crate) const THREAD: Self = Self(bindings::pid_type_PIDTYPE_PID);
    /// Of the process.
    pub(crate) const PROCESS: Self = Self(bindings::pid_type_PIDTYPE_TGID);
    /// Of the group of processes.
    pub(crate) const GROUP: Self = Self(bindings::pid_type_PIDTYPE_PGID);
    /// Of the session.
    pub(crate) const SESSION: Self = Self(bindings::pid_type_PIDTYPE_SID);

    /// `None` if tasks have no such role.
    #[inline(always)]
    pub(crate) fn of(role: c_uint) -> Option<Self> {
        (role < bindings::pid_type_PIDTYPE_MAX).then_some(Self(role))
    }

    #[inline(always)]
    pub(super) fn number(self) -> c_uint {
        self.0
    }
}

#[cfg(CONFIG_SECURITY_VSERVER)]
kernel_types! {
    /// A pid whose tasks are kept: the argument of questions that the kernel asks with RCU or tasklist_lock held.
    KeptPid = pid;
}

#[cfg(CONFIG_SECURITY_VSERVER)]
impl KeptPid {
    /// What keeps its tasks.
    #[inline(always)]
    pub(crate) fn tasks_kept(&self) -> TasksKept<'_> {
        // SAFETY: By the meaning of the type, as long as there is a reference.
        unsafe { TasksKept::by_caller() }
    }
}

#[cfg(CONFIG_SECURITY_VSERVER)]
impl core::ops::Deref for KeptPid {
    type Target = Pid;

    #[inline(always)]
    fn deref(&self) -> &Pid {
        // SAFETY: Valid by the type's invariant.
        unsafe { Pid::from_ptr(self.as_ptr()) }
    }
}

impl Pid {
    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }

    /// Its number at a level, and the namespace there.
    #[inline(always)]
    fn at(&self, level: c_uint) -> Option<&bindings::upid> {
        let pid = self.as_ptr();
        // SAFETY: Valid by the type's invariant. The level never changes.
        if level > unsafe { (*pid).level } {
            return None;
        }
        // SAFETY: A pid has numbers for its level and all those around; they do not change.
        Some(unsafe { &*(*pid).numbers.as_ptr().add(level as usize) })
    }

    /// The namespace that the pid was made in.
    #[inline(always)]
    pub(crate) fn namespace(&self) -> &PidNs {
        // SAFETY: Valid by the type's invariant. It holds its namespaces.
        unsafe {
            let level = (*self.as_ptr()).level as usize;
            PidNs::from_ptr((*(*self.as_ptr()).numbers.as_ptr().add(level)).ns)
        }
    }

    /// The kernel's number of the pid in a namespace. 0: it has no number there.
    #[inline(always)]
    pub(crate) fn number_in(&self, ns: &PidNs) -> c_int {
        self.at(ns.level())
            .filter(|number| ptr::eq(number.ns, ns.as_ptr()))
            .map_or(0, |number| number.nr)
    }

    /// The process or thread with this pid, unless it has been reaped.
    #[inline(always)]
    pub(crate) fn task<'a>(&self, _kept: impl Into<TasksKept<'a>>) -> Option<&'a TaskRef> {
        // SAFETY: Valid by the type's invariant; the task is kept.
        unsafe { TaskRef::from_nullable(self.task_raw()) }
    }

    /// As [`Self::task`], inline.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    #[inline(always)]
    pub(crate) fn first_thread<'a>(&self, _kept: TasksKept<'a>) -> Option<&'a TaskRef> {
        let role = PidRole::THREAD.0 as usize;
        // SAFETY: Valid by the type's invariant. A list that is read under RCU.
        let node = unsafe { (&raw const (*self.as_ptr()).tasks[role].first).read_volatile() };
        // SAFETY: On the list of that role; the task is kept.
        NonNull::new(node).map(|node| unsafe { task_of(node, role) })
    }

    /// All that it stands for in a role. One that is joining or leaving meanwhile may be missing.
    pub(crate) fn tasks<'a>(
        &self,
        role: PidRole,
        _kept: impl Into<TasksKept<'a>>,
    ) -> impl Iterator<Item = &'a TaskRef> {
        let role = role.0 as usize;
        // SAFETY: Valid by the type's invariant. A list that is read under RCU.
        let mut node = unsafe { (&raw const (*self.as_ptr()).tasks[role].first).read_volatile() };
        iter::from_fn(move || {
            let this = NonNull::new(node)?;
            // SAFETY: Of a task on the list, which is kept.
            node = unsafe { (&raw const (*this.as_ptr()).next).read_volatile() };
            // SAFETY: On the list of that role; the task is kept.
            Some(unsafe { task_of(this, role) })
        })
    }

    /// Whether it is the caller's own, that of its process.
    pub(crate) fn is_own(&self) -> bool {
        TaskRef::current()
            .pid(PidRole::PROCESS, &rcu::read_lock())
            .is_some_and(|own| own.is(self))
    }

    /// The caller's own, that of its process. `None` when that has been reaped.
    pub(crate) fn own() -> Option<ARef<Self>> {
        TaskRef::current()
            .pid(PidRole::PROCESS, &rcu::read_lock())
            .map(Into::into)
    }

    /// Its number as its reader knows it; 0: it has none there.
    pub(crate) fn own_number(&self) -> c_int {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::pid_vnr(self.as_ptr()) }
    }

    /// Sends its process a signal of the kernel's own. `ESRCH`: there is none any more.
    pub(crate) fn signal(&self, signal: c_int) -> Result {
        // SAFETY: Valid by the type's invariant.
        to_result(unsafe { bindings::kill_pid(self.as_ptr(), signal, 1) })
    }

    /// The same for process 1 of a context from outside, where what has no handler there kills it as anybody, when it is not
    /// blocked: so it is unkillable no more.
    pub(crate) fn signal_init(&self, signal: c_int) -> Result {
        if signal != 0 {
            let guard = rcu::read_lock();
            if let Some(task) = self.task(&guard) {
                task.expose_to(signal);
            }
        }
        self.signal(signal)
    }

    /// Its number in the first pid namespace.
    pub(crate) fn first_number(&self) -> c_int {
        self.at(0).map_or(0, |number| number.nr)
    }

    #[inline(always)]
    fn task_raw(&self) -> *mut bindings::task_struct {
        // SAFETY: Valid by the type's invariant; the callers hold RCU.
        unsafe { bindings::pid_task(self.as_ptr(), bindings::pid_type_PIDTYPE_PID) }
    }

    /// Passes a reference to the caller of a function of the kernel.
    pub(crate) fn into_raw(reference: Option<ARef<Self>>) -> *mut bindings::pid {
        reference.map_or(ptr::null_mut(), |pid| ARef::into_raw(pid).as_ptr().cast())
    }
}

/// # Safety
///
/// `node` is on a list of a pid for that role, and the task is kept as long as the result is used.
#[inline(always)]
unsafe fn task_of<'a>(node: NonNull<bindings::hlist_node>, role: usize) -> &'a TaskRef {
    let links = node.as_ptr().wrapping_sub(role).cast::<u8>();
    let task = links.wrapping_sub(mem::offset_of!(bindings::task_struct, pid_links));
    // SAFETY: By contract: the nodes of such a list are those of the role in `pid_links`.
    unsafe { TaskRef::from_ptr(task.cast()) }
}

/// A pid that is set once, and held as long as this lives.
///
/// # Invariants
///
/// Null, or a reference that is this one's.
pub(crate) struct OncePid(Atomic<*mut bindings::pid>);

impl OncePid {
    pub(crate) const fn new() -> Self {
        Self(Atomic::new(ptr::null_mut()))
    }

    /// Does nothing when it is set.
    pub(crate) fn set(&self, pid: ARef<Pid>) {
        // INVARIANT: The reference passes to this one.
        let raw = ARef::into_raw(pid).as_ptr().cast();
        if self.0.cmpxchg(ptr::null_mut(), raw, Full).is_err() {
            // SAFETY: Not stored, so the reference is still ours.
            unsafe { bindings::put_pid(raw) }
        }
    }

    pub(crate) fn get(&self) -> Option<&Pid> {
        // SAFETY: Held by the type's invariant.
        unsafe { Pid::from_nullable(self.0.load(Acquire)) }
    }
}

impl Drop for OncePid {
    fn drop(&mut self) {
        // SAFETY: Gives up the reference that the type's invariant names; the call takes null, too.
        unsafe { bindings::put_pid(self.0.load(Acquire)) }
    }
}

// SAFETY: The kernel counts references to it.
unsafe impl AlwaysRefCounted for Pid {
    fn inc_ref(&self) {
        // SAFETY: Valid by the type's invariant. Process 1 is held by its context, which RCU keeps: the count is not zero.
        unsafe { bindings::vserver_inline_get_pid(self.as_ptr()) };
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By contract, a reference that is the caller's.
        unsafe { bindings::put_pid(object.as_ptr().cast()) }
    }
}

impl PidNs {
    #[inline(always)]
    pub(crate) fn is(&self, other: &Self) -> bool {
        ptr::eq(self, other)
    }

    #[inline(always)]
    fn level(&self) -> c_uint {
        // SAFETY: Valid by the type's invariant; it never changes.
        unsafe { (*self.as_ptr()).level }
    }

    /// The namespace of the caller's pid. `None` if the caller has been reaped.
    #[inline(always)]
    pub(crate) fn own<'a>() -> Option<&'a Self> {
        // SAFETY: The caller keeps its pid, and that its namespace.
        unsafe { Self::from_nullable(bindings::task_active_pid_ns(super::current_raw())) }
    }

    /// The machine's first pid namespace.
    pub(crate) fn first() -> &'static Self {
        // SAFETY: It is there for ever.
        unsafe { Self::from_ptr(&raw const bindings::init_pid_ns) }
    }

    /// The pid with a number in this namespace, for the kernel.
    pub(crate) fn find<'a>(&self, number: c_int, _guard: &'a rcu::Guard) -> Option<&'a Pid> {
        // SAFETY: Valid by the type's invariant; under RCU, which keeps the pid.
        unsafe { Pid::from_nullable(bindings::find_pid_ns(number, self.as_ptr())) }
    }
}

/// The kernel's function, past the hook.
#[cfg(CONFIG_SECURITY_VSERVER)]
pub(crate) fn find_vpid(number: c_int, _guard: &rcu::Guard) -> Option<&Pid> {
    // SAFETY: Under RCU, which keeps the pid.
    unsafe { Pid::from_nullable(original!(find_vpid(number))) }
}

/// The kernel's function, past the hook.
pub(crate) fn find_get_pid(number: c_int) -> Option<ARef<Pid>> {
    // SAFETY: Takes RCU itself.
    let found = NonNull::new(unsafe { original!(find_get_pid(number)) })?;
    // SAFETY: The reference that the kernel's function returns.
    Some(unsafe { ARef::from_raw(found.cast()) })
}

/// The kernel's function, past the hook. For its hook, whose callers hold RCU.
#[inline(always)]
pub(crate) fn find_task_by_pid_ns<R>(
    number: c_int,
    ns: Option<&PidNs>,
    choose: impl FnOnce(Option<&TaskRef>) -> R,
) -> R {
    let ns = ns.map_or(ptr::null_mut(), PidNs::as_ptr);
    // SAFETY: The same call, with the same arguments; see above.
    let found = unsafe { original!(find_task_by_pid_ns(number, ns)) };
    // SAFETY: RCU keeps the task.
    choose(unsafe { TaskRef::from_nullable(found) })
}

/// As [`find_task_by_pid_ns`].
#[inline(always)]
pub(crate) fn find_task_by_vpid<R>(number: c_int, choose: impl FnOnce(Option<&TaskRef>) -> R) -> R {
    // SAFETY: The same call, with the same arguments; see above.
    let found = unsafe { original!(find_task_by_vpid(number)) };
    // SAFETY: RCU keeps the task.
    choose(unsafe { TaskRef::from_nullable(found) })
}

/// The kernel's function, past the hook.
pub(crate) fn find_get_task_by_vpid(number: c_int) -> Option<ARef<TaskRef>> {
    // SAFETY: Takes RCU itself.
    let found = NonNull::new(unsafe { original!(find_get_task_by_vpid(number)) })?;
    // SAFETY: The reference that the kernel's function returns.
    Some(unsafe { ARef::from_raw(found.cast()) })
}

/// As the kernel's function, but finds the first pid of a process for which `is_so` holds. Null: none.
/// For its hook, whose callers hold RCU.
#[inline(always)]
pub(crate) fn find_ge_pid(
    mut number: c_int,
    ns: &PidNs,
    is_so: impl Fn(&Pid, &TaskRef) -> bool,
) -> *mut bindings::pid {
    loop {
        // SAFETY: A namespace that is valid by the type's invariant; see above.
        let raw = unsafe { original!(find_ge_pid(number, ns.as_ptr())) };
        // SAFETY: RCU keeps the pid.
        let Some(pid) = (unsafe { Pid::from_nullable(raw) }) else {
            return raw;
        };
        // SAFETY: RCU keeps the task.
        let task = unsafe { TaskRef::from_nullable(pid.task_raw()) };
        if task.is_some_and(|task| is_so(pid, task)) {
            return raw;
        }
        number = pid.number_in(ns) + 1;
    }
}

/// What a number means to the caller, by the kernel's function with all that is in front of it.
pub(crate) fn pid_by_own_number<'a>(number: c_int, _guard: &'a rcu::Guard) -> Option<&'a Pid> {
    // SAFETY: Under RCU, which keeps the pid.
    unsafe { Pid::from_nullable(bindings::find_vpid(number)) }
}

/// The kernel's function, past the hook. For what is called in its place by those who hold RCU or tasklist_lock.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
#[inline(always)]
pub(crate) fn choose_vpid<R>(
    number: c_int,
    choose: impl FnOnce(Option<&Pid>, TasksKept<'_>) -> R,
) -> R {
    // SAFETY: The same call, with the same arguments.
    let found = unsafe { original!(find_vpid(number)) };
    // SAFETY: By what this is for, both for the pid and for its tasks.
    unsafe { choose(Pid::from_nullable(found), TasksKept::by_caller()) }
}

/// The kernel's function, past the hook.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn get_pid_task(pid: Option<&Pid>, role: c_uint) -> Option<ARef<TaskRef>> {
    let pid = pid.map_or(ptr::null_mut(), Pid::as_ptr);
    // SAFETY: Takes RCU itself, and null for no pid.
    let found = NonNull::new(unsafe { original!(get_pid_task(pid, role)) })?;
    // SAFETY: The reference that the kernel's function returns.
    Some(unsafe { ARef::from_raw(found.cast()) })
}

/// The kernel's function, past the hook, for what is called in its place with the same arguments.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn pidfd_get_task(descriptor: c_int, flags: *mut c_uint) -> Result<ARef<TaskRef>> {
    // SAFETY: The same call, with the same arguments.
    let found = unsafe { original!(pidfd_get_task(descriptor, flags)) };
    let found = kernel::error::from_err_ptr(found)?;
    let found = NonNull::new(found).ok_or(ESRCH)?;
    // SAFETY: The reference that the kernel's function returns.
    Ok(unsafe { ARef::from_raw(found.cast()) })
}

// In lists of processes, which pass them on as pointers to anything.
impl Is<*mut c_void> for &Pid {}
