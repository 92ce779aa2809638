// SPDX-License-Identifier: GPL-2.0

//! What the module knows of tasks: an entry each, for those that it knows something of.
//!
//! All entries are in a fixed hash table by the task's address: `task_struct` of the `stock` lane has no room for us. In the
//! `patched` lane a task's security blob is the short way to its entry.
//!
//! # Lifetime
//!
//! An entry is made for a new task before that runs ([`NewTask`]) or by a task for itself, and goes with the task
//! ([`FreedTask`]) or when the task gives itself another. It is freed an RCU grace period later. Writers hold a spinlock,
//! readers the RCU read lock.
//!
//! A task that has been reaped ([`ReapedTask`]) may live on in memory, for an RCU grace period, or as long as somebody holds it.
//! What its entry holds is let go of by then.

use super::{
    current_raw, kernel_types, lives::share, Counted, Lived, RcuCounted, SpinLock, TaskCharge,
    PF_IN_CONTEXT,
};
use crate::bindings;
use core::{
    cell::UnsafeCell,
    ffi::CStr,
    mem,
    ptr::{self, NonNull},
};
use kernel::{
    current,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Acquire, Atomic, Full, Release},
        rcu, Arc,
    },
    task::Task,
    types::Opaque,
};

kernel_types! {
    /// A task that is being made and does not run yet: the argument of `security_task_alloc()`.
    NewTask = task_struct;
    /// A task that is being reaped: the argument of `pidfs_exit()`. It has exited, so that it does nothing of its own any more;
    /// what an interrupt does on top of it is under RCU.
    ReapedTask = task_struct;
    /// A task whose memory is being freed: the argument of `security_task_free()`. It has never run, or does so no more.
    FreedTask = task_struct;
}

impl NewTask {
    fn as_task(&self) -> &Task {
        // SAFETY: Valid by the type's invariant; `Task` is a transparent wrapper of `task_struct`.
        unsafe { &*self.as_ptr().cast() }
    }
}

impl ReapedTask {
    fn as_task(&self) -> &Task {
        // SAFETY: Valid by the type's invariant; `Task` is a transparent wrapper of `task_struct`.
        unsafe { &*self.as_ptr().cast() }
    }
}

impl FreedTask {
    fn as_task(&self) -> &Task {
        // SAFETY: Valid by the type's invariant; `Task` is a transparent wrapper of `task_struct`.
        unsafe { &*self.as_ptr().cast() }
    }
}

/// The kernel's function, past the hook. For a hook of `security_task_alloc`, which undoes a call that has succeeded.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn security_task_free(task: &NewTask) {
    // SAFETY: By the meaning of the call.
    unsafe { crate::attach::prototype::original!(security_task_free(task.as_ptr())) }
}

/// What is known of a task.
///
/// # Invariants
///
/// `network` is null or a reference that is this one's; `charge` is null or from `TaskCharge::into_raw`. `task` and `next` are
/// changed under the lock of the map only. `borrows` is how often the task itself uses `network` without RCU, and only changed by
/// it.
#[repr(C)]
pub(crate) struct Entry<V, N, L> {
    /// First, so that the memory begins with it.
    rcu: Opaque<bindings::callback_head>,
    task: *mut bindings::task_struct,
    value: V,
    charge: Atomic<*mut L>,
    network: Atomic<*mut RcuCounted<N>>,
    next: Atomic<*mut Self>,
    borrows: UnsafeCell<u32>,
}

/// As `rcu_dereference`. Inline, unlike the loads of `Atomic`: this is on the way of every signal.
#[inline(always)]
fn load<T>(link: &Atomic<*mut T>) -> *mut T {
    // SAFETY: Of the type of the value, which lives as long as `link`; only changed atomically.
    unsafe { link.as_ptr().read_volatile() }
}

impl<V, N: Counted, L: Lived> Entry<V, N, L> {
    #[inline(always)]
    pub(crate) fn value(&self) -> &V {
        &self.value
    }

    /// What the task is charged to. `None` once it is reaped.
    #[inline(always)]
    pub(crate) fn charged_to<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a L> {
        // SAFETY: Charged when it was found here, and so there until the guard goes (`lives.rs`).
        unsafe { load(&self.charge).as_ref() }
    }

    /// The same, with a reference.
    pub(crate) fn share_charged(&self, _guard: &rcu::Guard) -> Option<Arc<L>> {
        // SAFETY: As above, so its life is not given up meanwhile.
        NonNull::new(load(&self.charge)).map(|thing| unsafe { share(thing) })
    }

    #[inline(always)]
    fn network_raw<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a RcuCounted<N>> {
        // SAFETY: Counted when it was found here, so that the memory stays until the guard goes.
        unsafe { load(&self.network).as_ref() }
    }

    /// Its network. `None` once it is reaped.
    #[inline(always)]
    pub(crate) fn network<'a>(&self, guard: &'a rcu::Guard) -> Option<&'a N> {
        self.network_raw(guard).map(RcuCounted::value)
    }

    /// The same, with a reference.
    pub(crate) fn share_network(&self, guard: &rcu::Guard) -> Option<ARef<RcuCounted<N>>> {
        self.network_raw(guard)?.try_get()
    }

    /// Puts another network in the place of the one that is there, which is the caller's to drop.
    ///
    /// # Safety
    ///
    /// `new` is null or a reference, which passes to this. The task does not use its network without RCU, or the result is leaked.
    unsafe fn exchange_network(&self, new: *mut RcuCounted<N>) -> Option<ARef<RcuCounted<N>>> {
        let old = self.network.xchg(new, Full);
        // SAFETY: By the type's invariant, and whoever takes it out owns it.
        NonNull::new(old).map(|old| unsafe { ARef::from_raw(old) })
    }

    /// Whether the caller, whose entry this is or was, uses its network without RCU. Never so where it is asked, as nobody gives
    /// himself another network meanwhile. If it were, what is used would have to be leaked.
    fn is_borrowed(&self) -> bool {
        // SAFETY: Only the task itself changes it, which is the caller.
        unsafe { self.borrows.get().read_volatile() != 0 }
    }

    /// Gives up what it holds.
    ///
    /// # Safety
    ///
    /// The task does not use its network without RCU.
    unsafe fn let_go(&self) {
        // SAFETY: By contract.
        drop(unsafe { self.exchange_network(ptr::null_mut()) });
        let charge = self.charge.xchg(ptr::null_mut(), Full);
        if !charge.is_null() {
            // SAFETY: By the type's invariant, and whoever takes it out owns it.
            drop(unsafe { TaskCharge::from_raw(charge.cast_const()) });
        }
    }

    /// Whether there is nothing to let go of.
    fn holds_nothing(&self) -> bool {
        load(&self.network).is_null() && load(&self.charge).is_null()
    }
}

/// An entry that is in no map yet.
pub(crate) struct NewEntry<V, N: Counted, L: Lived> {
    entry: KBox<Entry<V, N, L>>,
    network: Option<ARef<RcuCounted<N>>>,
}

impl<V, N: Counted, L: Lived> NewEntry<V, N, L> {
    /// `ENOMEM` is the only error.
    pub(crate) fn new(value: V, network: Option<ARef<RcuCounted<N>>>) -> Result<Self> {
        // Its memory is given back without more.
        const { assert!(!mem::needs_drop::<V>()) };
        let entry = Entry {
            rcu: Opaque::uninit(),
            task: ptr::null_mut(),
            value,
            charge: Atomic::new(ptr::null_mut()),
            network: Atomic::new(ptr::null_mut()),
            next: Atomic::new(ptr::null_mut()),
            borrows: UnsafeCell::new(0),
        };
        Ok(Self {
            entry: KBox::new(entry, GFP_KERNEL)?,
            network,
        })
    }

    fn into_raw(self, charge: Option<TaskCharge<L>>) -> *mut Entry<V, N, L> {
        // INVARIANT: Both references pass to the entry.
        if let Some(charge) = charge {
            self.entry
                .charge
                .store(charge.into_raw().cast_mut(), Release);
        }
        if let Some(network) = self.network {
            self.entry
                .network
                .store(ARef::into_raw(network).as_ptr(), Release);
        }
        KBox::into_raw(self.entry)
    }
}

/// The caller's network, in use without RCU.
///
/// # Invariants
///
/// Counted in `borrows` of the caller's entry, which holds `network`, or has held it and leaked it. Not given to other tasks.
struct Borrowed<N> {
    network: NonNull<RcuCounted<N>>,
    borrows: *mut u32,
}

impl<N> Borrowed<N> {
    #[inline(always)]
    fn network(&self) -> &RcuCounted<N> {
        // SAFETY: The caller's entry holds it. Only the caller itself takes it out, when it is not borrowed; or, when the caller has
        // been reaped, who does so lets RCU wait, under which it is here then.
        unsafe { self.network.as_ref() }
    }
}

impl<N> Drop for Borrowed<N> {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: An entry that is borrowed is there: see `retire`.
        let count = unsafe { self.borrows.read_volatile() };
        // SAFETY: As above; only the caller changes it.
        unsafe { self.borrows.write_volatile(count - 1) };
    }
}

/// 2 to the power of this many chains: short ones for tens of thousands of tasks.
const BITS: u32 = 14;

/// The entries of all tasks that have one.
///
/// # Invariants
///
/// The chains are of entries from `NewEntry::into_raw`, each with its task; one that was taken out is freed a grace period later,
/// and leads back into its chain until then. In the patched lane the blobs of tasks point to their entries in this map.
pub(crate) struct TaskMap<V, N, L> {
    chains: [Atomic<*mut Entry<V, N, L>>; 1 << BITS],
    /// Guards the writers. Taken with interrupts off, because `security_task_free()` comes from RCU callbacks, too. A leaf: nothing
    /// is taken inside.
    lock: SpinLock,
}

// SAFETY: Shared through RCU, and changed under the lock.
unsafe impl<V: Send + Sync, N: Counted, L: Lived> Sync for TaskMap<V, N, L> {}

/// Declares the one map of tasks of the module.
macro_rules! task_map {
    ($(#[$meta:meta])* static $name:ident: $type:ty;) => {
        $(#[$meta])*
        // SAFETY: The name of the static inside is there once in a module.
        static $name: $type = unsafe {
            #[export_name = "vserver_the_task_map"]
            static THE_TASK_MAP: u8 = 0;
            <$type>::new()
        };
    };
}
pub(crate) use task_map;

impl<V, N: Counted, L: Lived> TaskMap<V, N, L> {
    /// # Safety
    ///
    /// There must be no other: the blobs of tasks point into this one. By [`task_map!`] alone.
    pub(crate) const unsafe fn new() -> Self {
        Self {
            chains: [const { Atomic::new(ptr::null_mut()) }; 1 << BITS],
            lock: SpinLock::new(),
        }
    }

    /// As [`SpinLock::init`].
    pub(crate) fn init(&'static self, name: &'static CStr) {
        self.lock.init(name);
    }

    #[inline(always)]
    fn chain(&self, task: *mut bindings::task_struct) -> &Atomic<*mut Entry<V, N, L>> {
        // Fibonacci hashing: the high bits of the product depend on all bits of the address.
        let hash = (task as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
        &self.chains[hash as usize]
    }

    /// # Safety
    ///
    /// `task` is valid as long as the result is used.
    #[cfg(CONFIG_SECURITY_VSERVER)]
    #[inline(always)]
    unsafe fn blob<'a>(&self, task: *mut bindings::task_struct) -> &'a Atomic<*mut Entry<V, N, L>> {
        // SAFETY: By contract.
        let blob = unsafe { bindings::vserver_task_blob(task) };
        // SAFETY: The LSM gives every task a blob that holds one pointer for the module and lives as long as the task; it is
        // accessed atomically only. There is no other map, by the contract of `new`.
        unsafe { Atomic::from_ptr(blob.cast::<*mut Entry<V, N, L>>()) }
    }

    /// Where the way to the task's entry begins.
    #[inline(always)]
    fn begin<'a>(&'a self, task: &'a Task) -> &'a Atomic<*mut Entry<V, N, L>> {
        #[cfg(CONFIG_SECURITY_VSERVER)]
        // SAFETY: By the meaning of a reference.
        return unsafe { self.blob(task.as_ptr()) };
        #[cfg(not(CONFIG_SECURITY_VSERVER))]
        return self.chain(task.as_ptr());
    }

    /// Whether there is nothing where the task's entry would be.
    #[inline(always)]
    pub(crate) fn is_empty(&self, task: &Task) -> bool {
        load(self.begin(task)).is_null()
    }

    /// The entry of a task.
    #[inline(always)]
    pub(crate) fn find<'a>(
        &self,
        task: &Task,
        _guard: &'a rcu::Guard,
    ) -> Option<&'a Entry<V, N, L>> {
        let mut entry = load(self.begin(task));
        // SAFETY: Reached through published links, and freed a grace period after having been unlinked.
        while let Some(this) = unsafe { entry.as_ref() } {
            if this.task == task.as_ptr() {
                return Some(this);
            }
            entry = load(&this.next);
        }
        None
    }

    /// Calls something with the caller's network, which it keeps meanwhile.
    #[inline]
    pub(crate) fn with_own_network<R>(&self, work: impl FnOnce(Option<&RcuCounted<N>>) -> R) -> R {
        let own = self.borrow_own_network();
        work(own.as_ref().map(Borrowed::network))
    }

    #[inline(never)]
    fn borrow_own_network(&self) -> Option<Borrowed<N>> {
        let task: &Task = current!();
        if self.is_empty(task) {
            return None;
        }
        let guard = rcu::read_lock();
        let entry = self.find(task, &guard)?;
        let network = NonNull::from(entry.network_raw(&guard)?);
        let borrows = entry.borrows.get();
        // SAFETY: In an entry that is there, and only the caller changes it. Interrupts leave it as it was.
        let count = unsafe { borrows.read_volatile() };
        // SAFETY: As above.
        unsafe { borrows.write_volatile(count + 1) };
        // INVARIANT: Just counted; the caller is the task.
        Some(Borrowed { network, borrows })
    }

    /// Gives the caller another network, in the entry that it has. `Err`: it has none.
    pub(crate) fn exchange_own_network(
        &self,
        network: Option<ARef<RcuCounted<N>>>,
    ) -> Result<(), Option<ARef<RcuCounted<N>>>> {
        let guard = rcu::read_lock();
        let Some(entry) = self.find(current!(), &guard) else {
            return Err(network);
        };
        let new = network.map_or(ptr::null_mut(), |network| ARef::into_raw(network).as_ptr());
        // INVARIANT: The reference passes to the entry.
        // SAFETY: The reference is given up by the caller; below, what is used is leaked.
        let old = unsafe { entry.exchange_network(new) };
        if entry.is_borrowed() {
            mem::forget(old);
        }
        Ok(())
    }

    /// Gives a new task its entry.
    pub(crate) fn add(
        &self,
        task: &NewTask,
        entry: NewEntry<V, N, L>,
        charge: Option<TaskCharge<L>>,
    ) {
        // SAFETY: It does not run yet, so nobody else changes the flags.
        unsafe { mark(task.as_ptr()) };
        let old = self.install(task.as_task(), entry.into_raw(charge));
        // SAFETY: Taken out, of a task that does not run.
        unsafe { retire(old) };
    }

    /// Gives the caller another entry than it had, if it had one.
    pub(crate) fn replace_own(&self, entry: NewEntry<V, N, L>, charge: Option<TaskCharge<L>>) {
        // SAFETY: The caller's own.
        unsafe { mark(current_raw()) };
        let old = self.install(current!(), entry.into_raw(charge));
        // SAFETY: Not freed yet.
        if unsafe { old.as_ref() }.is_some_and(Entry::is_borrowed) {
            return;
        }
        // SAFETY: Taken out, and not borrowed.
        unsafe { retire(old) };
    }

    /// Takes out the entry of a task. Callable in atomic context.
    pub(crate) fn remove(&self, task: &FreedTask) {
        let task = task.as_task();
        if self.is_empty(task) {
            return;
        }
        let guard = rcu::read_lock();
        let is_there = self.find(task, &guard).is_some();
        drop(guard);
        if is_there {
            let old = self.install(task, ptr::null_mut());
            // SAFETY: Taken out, of a task that does not run any more.
            unsafe { retire(old) };
        }
    }

    /// Has the entry of a task let go of what it holds. Callable in atomic context.
    pub(crate) fn release(&self, task: &ReapedTask) {
        let task = task.as_task();
        if self.is_empty(task) {
            return;
        }
        let guard = rcu::read_lock();
        if let Some(entry) = self.find(task, &guard) {
            // SAFETY: By the meaning of the type it does nothing of its own any more.
            unsafe { entry.let_go() };
        }
        drop(guard);
    }

    /// Takes out the entries that hold nothing. At module exit, with the hooks still attached: all others are gone by then, and so
    /// no task of an entry is freed unnoticed.
    pub(crate) fn purge(&self) {
        for chain in &self.chains {
            loop {
                let guard = self.lock.lock_irqsave();
                // SAFETY: Locked.
                let old = unsafe { self.take_empty(chain) };
                drop(guard);
                if old.is_null() {
                    break;
                }
                // SAFETY: Taken out, with nothing in it that could be borrowed but by an interrupt, which is under RCU.
                unsafe { retire(old) };
            }
        }
    }

    /// Replaces (or adds, or removes) the entry of a task that does not run, or is the caller.
    fn install(&self, task: &Task, new: *mut Entry<V, N, L>) -> *mut Entry<V, N, L> {
        if !new.is_null() {
            // SAFETY: From `NewEntry::into_raw`, and in no map yet.
            unsafe { (*new).task = task.as_ptr() };
        }
        let _guard = self.lock.lock_irqsave();
        // SAFETY: Locked, and a task that is there.
        unsafe { self.exchange(task.as_ptr(), new) }
    }

    /// Replaces (or adds, or removes) the entry of a task, and returns the one that is out now.
    ///
    /// # Safety
    ///
    /// The lock is held, `task` is valid, and `new` is null or from `NewEntry::into_raw`, with the task in it.
    unsafe fn exchange(
        &self,
        task: *mut bindings::task_struct,
        new: *mut Entry<V, N, L>,
    ) -> *mut Entry<V, N, L> {
        #[cfg(CONFIG_SECURITY_VSERVER)]
        // SAFETY: By contract.
        unsafe { self.blob(task) }.store(new, Release);
        let mut link = self.chain(task);
        // SAFETY: Linked, and the writers' lock is held.
        while let Some(this) = unsafe { link.load(Acquire).as_ref() } {
            if this.task == task {
                let rest = this.next.load(Acquire);
                if new.is_null() {
                    link.store(rest, Release);
                } else {
                    // SAFETY: By contract.
                    unsafe { publish(link, new, rest) };
                }
                return ptr::from_ref(this).cast_mut();
            }
            link = &this.next;
        }
        if !new.is_null() {
            let head = self.chain(task);
            // SAFETY: By contract.
            unsafe { publish(head, new, head.load(Acquire)) };
        }
        ptr::null_mut()
    }

    /// Takes out the first entry of a chain that holds nothing. Null: there is none.
    ///
    /// # Safety
    ///
    /// The lock is held.
    unsafe fn take_empty(&self, chain: &Atomic<*mut Entry<V, N, L>>) -> *mut Entry<V, N, L> {
        let mut link = chain;
        // SAFETY: Linked, and the writers' lock is held.
        while let Some(this) = unsafe { link.load(Acquire).as_ref() } {
            if this.holds_nothing() {
                // SAFETY: Locked; and a task takes its entry out before it is freed.
                return unsafe { self.exchange(this.task, ptr::null_mut()) };
            }
            link = &this.next;
        }
        ptr::null_mut()
    }
}

/// # Safety
///
/// The lock is held; `new` is from `NewEntry::into_raw`, and in no chain yet.
unsafe fn publish<V, N, L>(
    link: &Atomic<*mut Entry<V, N, L>>,
    new: *mut Entry<V, N, L>,
    rest: *mut Entry<V, N, L>,
) {
    // Readers cannot reach `new` by this chain yet; those who reach it by the task's blob have found what they want and do not go
    // on.
    // SAFETY: By contract, it is there, and the field is atomic.
    unsafe { &(*new).next }.store(rest, Release);
    link.store(new, Release);
}

/// Frees an entry, if it is one, and what it holds.
///
/// # Safety
///
/// `entry` is null, or was taken out of the map by the caller alone and is not borrowed, unless under RCU.
unsafe fn retire<V, N: Counted, L: Lived>(entry: *mut Entry<V, N, L>) {
    // SAFETY: By contract, freed below only.
    let Some(this) = (unsafe { entry.as_ref() }) else {
        return;
    };
    // SAFETY: By contract.
    unsafe { this.let_go() };
    // SAFETY: From `KBox::into_raw`, begins with its head, and has nothing left to drop.
    unsafe { bindings::kvfree_call_rcu(entry.cast(), entry.cast()) };
}

/// Marks a task that is about to be in a context ([`PF_IN_CONTEXT`]).
///
/// # Safety
///
/// `task` is the caller, or does not run yet, so that nobody else changes the flags.
unsafe fn mark(task: *mut bindings::task_struct) {
    // SAFETY: By contract.
    unsafe { (*task).flags |= PF_IN_CONTEXT }
}
