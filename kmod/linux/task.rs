// SPDX-License-Identifier: GPL-2.0

//! Tasks, above all the calling one.

use super::{kernel_types, read_once};
use crate::{attach::hook::Is, bindings};

pub(crate) use crate::attach::PF_IN_CONTEXT;
use core::{
    arch::asm,
    cell::UnsafeCell,
    iter,
    marker::PhantomData,
    mem,
    ptr::{self, NonNull},
};
use kernel::{
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        rcu,
    },
    task::Task,
};

kernel_types! {
    /// A timer of a process.
    Timer = k_itimer;
}

impl Timer {
    /// The clock that it runs by.
    pub(crate) fn clock(&self) -> i32 {
        read_once!(self, it_clock)
    }
}

kernel_types! {
    /// A task.
    TaskRef = task_struct;
}

impl TaskRef {
    /// The caller.
    #[inline(always)]
    pub(crate) fn current<'a>() -> &'a Self {
        // SAFETY: The caller exists as long as it runs.
        unsafe { Self::from_ptr(current_raw()) }
    }

    /// From the type of the `kernel` crate.
    #[inline(always)]
    pub(crate) fn of(task: &Task) -> &Self {
        // SAFETY: Valid by the meaning of a reference; `Task` is a transparent wrapper of `task_struct`.
        unsafe { Self::from_ptr(task.as_ptr()) }
    }

    /// The task as a type of the `kernel` crate.
    #[inline(always)]
    pub(crate) fn as_task(&self) -> &Task {
        // SAFETY: Valid by the type's invariant; `Task` is a transparent wrapper of `task_struct`.
        unsafe { &*self.as_ptr().cast() }
    }

    /// Whether the task may be in a context: all tasks in contexts have this mark ([`PF_IN_CONTEXT`]).
    #[inline(always)]
    pub(crate) fn is_marked(&self) -> bool {
        read_once!(self, flags) & PF_IN_CONTEXT != 0
    }

    /// Whether the task shares the caller's set of namespaces, and so the caller's context and
    /// arrival: ENTER gives each task a set of its own, and so does the program that the task
    /// executes then; its children share that set. Nothing follows from different sets. The pointer
    /// is only compared, so it may change meanwhile.
    #[inline(always)]
    pub(crate) fn shares_namespaces(&self) -> bool {
        // SAFETY: The caller exists, and only itself changes its own.
        read_once!(self, nsproxy) == unsafe { (*current_raw()).nsproxy }
    }

    /// Whether its parent is a thread of the caller's process.
    pub(crate) fn is_child_of_caller<'a>(&self, _kept: impl Into<TasksKept<'a>>) -> bool {
        let parent = read_once!(self, real_parent);
        // SAFETY: Under RCU, which keeps the parent; the caller exists. Threads of a process share this, which is only compared.
        unsafe { (*parent).signal == (*current_raw()).signal }
    }

    /// The number of its process in the first pid namespace.
    pub(crate) fn first_number_of_process(&self) -> i32 {
        read_once!(self, tgid)
    }

    /// Its user, outside all user namespaces.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pub(crate) fn uid(&self, _guard: &rcu::Guard) -> u32 {
        // SAFETY: Credentials are freed a grace period after a task has changed them.
        unsafe { (*read_once!(self, real_cred)).uid.val }
    }

    /// Its priority as getpriority(2) returns it: 1 to 40, 20 for a nice value of 0.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pub(crate) fn priority(&self) -> i32 {
        /// The lowest, that of the nice value 19, is 139.
        const LOWEST: i32 = 139;
        LOWEST + 1 - read_once!(self, static_prio)
    }

    /// The threads of its process.
    pub(crate) fn threads<'a>(&self, _guard: &'a rcu::Guard) -> impl Iterator<Item = &'a TaskRef> {
        // SAFETY: A task keeps what its threads have in common until it is freed.
        let head = unsafe { &raw const (*read_once!(self, signal)).thread_head };
        // SAFETY: By the meaning of that list, under RCU.
        unsafe { on_list(head, mem::offset_of!(bindings::task_struct, thread_node)) }
    }

    /// Whether it is on its way out.
    #[cfg(CONFIG_SECURITY_VSERVER)]
    pub(crate) fn is_exiting(&self) -> bool {
        read_once!(self, flags) & bindings::PF_EXITING != 0
    }

    /// What has no handler kills it from now on, if it is not blocked, though it is a process 1.
    pub(super) fn expose_to(&self, signal: c_int) {
        let mut flags = 0;
        // SAFETY: Valid by the type's invariant.
        let locked =
            unsafe { bindings::vserver_call_lock_task_sighand(self.as_ptr(), &raw mut flags) };
        if locked.is_null() {
            // It has been reaped.
            return;
        }
        // SAFETY: Locked, which keeps all of it.
        let is_fatal = unsafe {
            bindings::vserver_inline_sig_fatal(self.as_ptr(), signal)
                && !bindings::vserver_inline_sigismember(&raw mut (*self.as_ptr()).blocked, signal)
        };
        if is_fatal {
            // SAFETY: As above; the lock guards the flags.
            unsafe { (*(*self.as_ptr()).signal).flags &= !bindings::SIGNAL_UNKILLABLE };
        }
        // SAFETY: Locked above, which has returned the flags.
        unsafe {
            bindings::vserver_inline_spin_unlock_irqrestore(&raw mut (*locked).siglock, flags)
        }
    }

    /// Passes a reference or an error to the caller of a function of the kernel.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pub(crate) fn result_into_raw(result: Result<ARef<Self>>) -> *mut bindings::task_struct {
        match result {
            Ok(task) => ARef::into_raw(task).as_ptr().cast(),
            Err(error) => error.to_ptr(),
        }
    }

    /// Passes a reference to the caller of a function of the kernel.
    pub(crate) fn into_raw(reference: Option<ARef<Self>>) -> *mut bindings::task_struct {
        reference.map_or(ptr::null_mut(), |task| ARef::into_raw(task).as_ptr().cast())
    }

    /// Whether its memory is the caller's.
    pub(crate) fn has_own_memory(&self) -> bool {
        // SAFETY: Only compared; the caller keeps its own.
        read_once!(self, mm) == unsafe { (*current_raw()).mm }
    }

    /// Whether the kernel lets the caller look into it.
    pub(crate) fn may_be_traced(&self, mode: c_uint) -> bool {
        // SAFETY: A live task, and no lock of it is held.
        unsafe { bindings::vserver_call_ptrace_may_access(self.as_ptr(), mode) }
    }
}

/// Proof that tasks, and what their pids stand for, stay in memory: RCU or tasklist_lock is held.
#[derive(Clone, Copy)]
pub(crate) struct TasksKept<'a>(PhantomData<&'a ()>);

impl<'a> From<&'a rcu::Guard> for TasksKept<'a> {
    #[inline(always)]
    fn from(_: &'a rcu::Guard) -> Self {
        Self(PhantomData)
    }
}

impl TasksKept<'_> {
    /// For what the kernel calls with one of them held.
    ///
    /// # Safety
    ///
    /// The caller holds RCU or tasklist_lock as long as the result is used.
    #[inline(always)]
    pub(crate) unsafe fn by_caller() -> Self {
        Self(PhantomData)
    }
}

/// The tasks on a list, each by a link at `offset`.
///
/// # Safety
///
/// `head` is of a list whose other links are at that place of tasks, and which is read under RCU as long as the result is used.
unsafe fn on_list<'a>(
    head: *const bindings::list_head,
    offset: usize,
) -> impl Iterator<Item = &'a TaskRef> {
    let mut link = head;
    iter::from_fn(move || {
        // SAFETY: By contract, a link of the list.
        link = unsafe { (&raw const (*link).next).read_volatile() };
        if ptr::eq(link, head) {
            return None;
        }
        // SAFETY: By contract, of a task that RCU keeps.
        Some(unsafe { TaskRef::from_ptr(link.wrapping_byte_sub(offset).cast()) })
    })
}

/// All processes of the machine, but for the idle one.
pub(crate) fn processes(_guard: &rcu::Guard) -> impl Iterator<Item = &TaskRef> {
    let head = &raw const bindings::init_task;
    // SAFETY: The list begins with the idle task, which is there for ever, and is read under RCU.
    unsafe {
        on_list(
            &raw const (*head).tasks,
            mem::offset_of!(bindings::task_struct, tasks),
        )
    }
}

/// The caller becomes a process that nothing kills but what it has a handler for, and that is given the orphans of its
/// descendants. `is_told` says which of those there are already do so.
pub(crate) fn become_init(is_told: impl Fn(&Task) -> bool) {
    /// # Safety
    ///
    /// For `walk_process_tree`, with an `F` as data.
    unsafe extern "C" fn tell<F: Fn(&Task) -> bool>(
        task: *mut bindings::task_struct,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: By contract.
        let is_told = unsafe { &*data.cast::<F>() };
        // SAFETY: tasklist_lock is held, which keeps the task.
        let task = unsafe { TaskRef::from_ptr(task) };
        if !is_told(task.as_task()) {
            return 0;
        }
        // SAFETY: As above, and all who change it hold that lock.
        unsafe { (*(*task.as_ptr()).signal).has_child_subreaper = true };
        1
    }
    fn walk<F: Fn(&Task) -> bool>(is_told: &F) {
        let data = ptr::from_ref(is_told).cast_mut().cast();
        // SAFETY: Process context, without tasklist_lock; the data lives as long as the call.
        unsafe { bindings::vserver_call_walk_process_tree(current_raw(), Some(tell::<F>), data) };
    }

    // SAFETY: The caller keeps it.
    let lock = unsafe { &raw mut (*(*current_raw()).sighand).siglock };
    // SAFETY: Initialised; no such lock is held.
    unsafe { bindings::vserver_inline_spin_lock_irq(lock) };
    // SAFETY: The lock guards the flags.
    unsafe { (*own_signal()).flags |= bindings::SIGNAL_UNKILLABLE };
    // SAFETY: Taken above.
    unsafe { bindings::vserver_inline_spin_unlock_irq(lock) };
    // SAFETY: Only the caller changes its own.
    unsafe { (*own_signal()).is_child_subreaper = true };
    walk(&is_told);
}

/// Kills the caller's process, as the kernel does.
pub(crate) fn kill_own_process() {
    // SAFETY: The caller has no lock of signals.
    unsafe { bindings::send_sig(bindings::SIGKILL as c_int, current_raw(), 1) };
}

/// How the caller's process ends, as wait(2) reports it. For the last thread of it.
pub(crate) fn own_exit_status() -> i32 {
    let signal = own_signal();
    // SAFETY: The caller's own; nobody changes it any more.
    unsafe {
        if (*signal).flags & bindings::SIGNAL_GROUP_EXIT != 0 {
            (*signal).group_exit_code
        } else {
            (*(*current_raw()).group_leader).exit_code
        }
    }
}

/// The user that a number means in the caller's user namespace, outside all of them. A number that means none gives one that
/// no process has.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn kernel_uid(number: c_int) -> u32 {
    // SAFETY: The caller's credentials keep the namespace.
    unsafe { bindings::make_kuid(bindings::current_user_ns(), number as u32).val }
}

// SAFETY: The kernel counts references to it.
unsafe impl AlwaysRefCounted for TaskRef {
    fn inc_ref(&self) {
        // SAFETY: Valid by the type's invariant. What names a task under RCU holds it, so the count is not zero.
        unsafe { bindings::get_task_struct(self.as_ptr()) };
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By contract, a reference that is the caller's.
        unsafe { bindings::put_task_struct(object.as_ptr().cast()) }
    }
}

/// The task that notifies a parent of the end of a child, and the parent.
///
/// # Invariants
///
/// `parent` is valid as long as `teller` is the caller. Only that one changes them, with tasklist_lock held for writing.
pub(crate) struct Notice {
    teller: UnsafeCell<*mut bindings::task_struct>,
    parent: UnsafeCell<*mut bindings::task_struct>,
}

// SAFETY: Both are read and written at once, as words.
unsafe impl Sync for Notice {}

impl Notice {
    pub(crate) const fn new() -> Self {
        Self {
            teller: UnsafeCell::new(ptr::null_mut()),
            parent: UnsafeCell::new(ptr::null_mut()),
        }
    }

    /// Notifies the parent of `child`. For a hook whose callers hold tasklist_lock for writing.
    #[inline(always)]
    pub(crate) fn during<R>(&self, child: &TaskRef, tell: impl FnOnce() -> R) -> R {
        // INVARIANT: The lock keeps the parent, and others from coming here.
        // SAFETY: A word of this, which is alive.
        unsafe { self.parent.get().write_volatile(read_once!(child, parent)) };
        // SAFETY: As above.
        unsafe { self.teller.get().write_volatile(current_raw()) };
        let result = tell();
        // SAFETY: As above.
        unsafe { self.teller.get().write_volatile(ptr::null_mut()) };
        result
    }

    /// The parent that the caller is notifying now.
    #[inline(always)]
    pub(crate) fn told_by_caller<'a>(&self) -> Option<&'a TaskRef> {
        // SAFETY: A word of this, which is alive.
        if unsafe { self.teller.get().read_volatile() } != current_raw() {
            return None;
        }
        // SAFETY: As above; valid by the type's invariant, as the caller is telling it.
        unsafe { TaskRef::from_nullable(self.parent.get().read_volatile()) }
    }
}

/// Whether the caller's root directory is not that of its mount namespace.
pub(crate) fn is_chrooted() -> bool {
    // SAFETY: Looks at the caller only.
    unsafe { bindings::vserver_call_current_chrooted() }
}

/// `current`, in one instruction. [`kernel::current`] calls a function for it.
#[inline(always)]
pub(crate) fn current_raw() -> *mut bindings::task_struct {
    let task;
    // SAFETY: Reads a variable of the CPU that has the same value wherever the task runs.
    unsafe {
        asm!(
            "movq %gs:const_current_task(%rip), {}",
            out(reg) task,
            options(att_syntax, pure, readonly, nostack, preserves_flags)
        )
    };
    task
}

/// The caller's `PF_*`.
#[inline(always)]
pub(crate) fn own_flags() -> u32 {
    // SAFETY: The caller exists.
    unsafe { (&raw const (*current_raw()).flags).read() }
}

/// The caller's `signal_struct`, which all threads of its process have in common.
fn own_signal() -> *mut bindings::signal_struct {
    // SAFETY: The caller exists, and keeps it.
    unsafe { (*current_raw()).signal }
}

/// How many threads the caller's process has.
pub(crate) fn threads() -> u32 {
    // SAFETY: Kept by the caller; a number that may change at any time.
    let threads = unsafe { (&raw const (*own_signal()).nr_threads).read_volatile() };
    threads.unsigned_abs()
}

/// Whether the caller's process has one thread, also of those that have exited but are not reaped.
pub(crate) fn is_single_threaded() -> bool {
    // SAFETY: Looks at the caller only.
    threads() == 1 && unsafe { bindings::vserver_inline_thread_group_empty(current_raw()) }
}

/// Whether the caller is traced or traces. Stable as to the former while a [`TracersGuard`] lives.
pub(crate) fn is_traced() -> bool {
    let task = current_raw();
    // SAFETY: The caller's own fields; a list that is not empty points elsewhere.
    unsafe { (*task).ptrace != 0 || (*task).ptraced.next != &raw mut (*task).ptraced }
}

/// While it lives, no tracer attaches to the caller: PTRACE_ATTACH takes the lock, too.
pub(crate) struct TracersGuard(());

impl TracersGuard {
    /// Fails when a signal comes first; the system call then starts again.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Process context, and no other lock is held; `drop` releases it exactly once.
        let error = unsafe {
            bindings::vserver_inline_mutex_lock_interruptible(
                &raw mut (*own_signal()).cred_guard_mutex,
            )
        };
        match error {
            0 => Ok(Self(())),
            _ => Err(ERESTARTNOINTR),
        }
    }
}

impl Drop for TracersGuard {
    fn drop(&mut self) {
        // SAFETY: `new` took the lock.
        unsafe { bindings::mutex_unlock(&raw mut (*own_signal()).cred_guard_mutex) }
    }
}

/// Whether two tasks are threads of one process.
#[inline]
pub(crate) fn is_same_process(a: &Task, b: &Task) -> bool {
    // SAFETY: Only compared; a task keeps its `signal_struct` until it is freed.
    unsafe { (*a.as_ptr()).signal == (*b.as_ptr()).signal }
}

/// Whether the caller works for everybody, in nobody's context: a kernel thread, or an interrupt.
pub(crate) fn is_for_the_kernel() -> bool {
    !is_in_task() || own_flags() & bindings::PF_KTHREAD != 0
}

/// CLOCK_BOOTTIME in nanoseconds.
pub(crate) fn boottime_ns() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::ktime_get_boottime() as u64 }
}

/// Whether the caller has CAP_SYS_ADMIN over the machine. No audit of a mere question.
pub(crate) fn is_admin() -> bool {
    // SAFETY: A namespace that always is there.
    unsafe {
        bindings::ns_capable_noaudit(
            &raw mut bindings::init_user_ns,
            bindings::CAP_SYS_ADMIN as i32,
        )
    }
}

/// Whether it is the caller that runs, and not an interrupt.
pub(crate) fn is_in_task() -> bool {
    // SAFETY: Looks at the CPU only.
    unsafe { bindings::vserver_inline_in_task() }
}

/// Whether other credentials than the caller's are in force (`override_creds`): those of a process that has mounted an
/// overlay, but also those of access(2) and of io_uring's personalities. It is no proof that the kernel acts.
pub(crate) fn acts_for_another() -> bool {
    let task = current_raw();
    // SAFETY: Only the caller changes the former, and nobody else's are compared.
    unsafe { (*task).cred != (*task).real_cred }
}

/// The caller's parent.
pub(crate) fn own_parent(_guard: &rcu::Guard) -> &Task {
    // SAFETY: Never null, and freed a grace period after it is nobody's parent any more. `Task` is a
    // transparent wrapper of `task_struct`.
    unsafe {
        &*(&raw const (*current_raw()).real_parent)
            .read_volatile()
            .cast()
    }
}

pub(crate) const RLIMIT_NPROC: u32 = bindings::RLIMIT_NPROC;

/// A soft limit of the caller's (`RLIMIT_*`).
pub(crate) fn rlimit(limit: u32) -> u64 {
    // SAFETY: The caller keeps its own; read once.
    unsafe { (&raw const (*own_signal()).rlim[limit as usize].rlim_cur).read_volatile() as u64 }
}

// In lists of processes, which pass them on as pointers to anything.
impl Is<*mut c_void> for &TaskRef {}
