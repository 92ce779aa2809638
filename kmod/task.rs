// SPDX-License-Identifier: GPL-2.0

//! Task to context. One of the files that may contain `unsafe`.
//!
//! A task of context 0 has no [`Entry`], so a machine without contexts has none at all. In the `patched` lane a
//! task's security blob points to its entry. In the `stock` lane, where `task_struct` has no
//! room for us, a fixed hash table by the task's address does.
//!
//! # Lifetime
//!
//! An entry is made for a new task before that task runs (`security_task_alloc`) or by a task for
//! itself (ENTER), and goes with the task (`security_task_free`) or when the task enters another
//! context. It is freed an RCU grace period later. Only ENTER replaces one, and only `current`'s, so
//! `current`'s entry is stable for `current`. Writers hold `MapGuard`, readers the RCU read lock.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use crate::{
    context::Context,
    ffi::MapGuard,
    uapi::CONTEXT_ROOT, //
};
use core::{mem::ManuallyDrop, ptr};
use kernel::{
    bindings,
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Release},
        rcu,
        Arc, //
    },
    task::Task,
};

/// A task's membership.
#[repr(C)]
pub(crate) struct Entry {
    /// First, because `vserver_free_rcu` expects it there.
    rcu: bindings::callback_head,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    task: *mut bindings::task_struct,
    number: i32,
    /// A reference of its own. Dropped when the entry is taken out; readable by RCU readers
    /// until the grace period ends, because the context outlives that (see `context.rs`).
    context: ManuallyDrop<Arc<Context>>,
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    next: Atomic<*mut Entry>,
}

/// An entry that is not in use yet.
pub(crate) struct Prepared(KBox<Entry>);

extern "C" {
    fn vserver_free_rcu(memory: *mut core::ffi::c_void);
}

impl Prepared {
    /// Allocates; `ENOMEM` is the only error. The charge of the task is the caller's business.
    pub(crate) fn new(context: &Arc<Context>) -> Result<Self> {
        Ok(Self(KBox::new(
            Entry {
                rcu: bindings::callback_head::default(),
                #[cfg(not(CONFIG_SECURITY_VSERVER))]
                task: ptr::null_mut(),
                number: context.number(),
                context: ManuallyDrop::new(context.clone()),
                #[cfg(not(CONFIG_SECURITY_VSERVER))]
                next: Atomic::new(ptr::null_mut()),
            },
            GFP_KERNEL,
        )?))
    }

    /// Makes the task a member, instead of what it was. The charge passes to the entry.
    pub(crate) fn install(self, task: &Task) {
        // The reference inside is not dropped by `KBox`: it is `ManuallyDrop`.
        let new = KBox::into_raw(self.0);
        let guard = MapGuard::new();
        let old = place::exchange(task, new);
        drop(guard);
        retire(old);
    }

    /// Gives up an entry that was never installed. Process context.
    pub(crate) fn discard(mut self) {
        // SAFETY: Never installed, so nobody else can see it, and `self` ends here.
        unsafe { ManuallyDrop::drop(&mut self.0.context) }
    }
}

/// Ends the membership of a task that is going away. Callable in atomic context.
pub(crate) fn remove(task: &Task) {
    if place::find(task).is_null() {
        return;
    }
    let guard = MapGuard::new();
    let old = place::exchange(task, ptr::null_mut());
    drop(guard);
    retire(old);
}

fn retire(entry: *mut Entry) {
    if entry.is_null() {
        return;
    }
    // SAFETY: The entry was taken out under the lock by us alone; it is freed below only. This
    // reads the reference out; readers that still see the entry only take references of
    // their own, which the context's life guarantees to be possible.
    let context = unsafe { ManuallyDrop::into_inner(ptr::read(&(*entry).context)) };
    let raw = Arc::as_ptr(&context);
    // Our charge still keeps the context alive, so this is never the last reference, whose
    // dropping would sleep.
    drop(context);
    // SAFETY: Until this call takes the charge away, the context is held by its life.
    unsafe { (*raw).uncharge() };
    // SAFETY: From `KBox::into_raw`; `Entry` begins with its `callback_head`.
    unsafe { vserver_free_rcu(entry.cast()) };
}

/// The number of the context that a task is in.
#[inline]
pub(crate) fn number(task: &Task) -> i32 {
    let _guard = rcu::read_lock();
    let entry = place::find(task);
    if entry.is_null() {
        CONTEXT_ROOT
    } else {
        // SAFETY: Entries are freed a grace period after they were taken out, and the read lock
        // is held. `number` never changes.
        unsafe { (*entry).number }
    }
}

/// The context that a task is in, `None` for context 0.
pub(crate) fn context(task: &Task) -> Option<Arc<Context>> {
    let _guard = rcu::read_lock();
    let entry = place::find(task);
    if entry.is_null() {
        return None;
    }
    // SAFETY: As in `number`. The reference that the entry owns or owned is copied, not
    // taken; the context's count cannot be zero, as its life ends a grace period after the
    // last entry was taken out.
    let context: &Arc<Context> = unsafe { &(*entry).context };
    Some(context.clone())
}

/// The two lanes' way from a task to its entry.
#[cfg(CONFIG_SECURITY_VSERVER)]
mod place {
    use super::*;

    extern "C" {
        fn vserver_task_blob(task: *const bindings::task_struct) -> *mut *mut core::ffi::c_void;
    }

    fn blob(task: &Task) -> &Atomic<*mut Entry> {
        // SAFETY: The LSM gives every task a blob that holds one pointer for the module and
        // lives as long as the task; it is accessed atomically only.
        unsafe { Atomic::from_ptr(vserver_task_blob(task.as_ptr()).cast::<*mut Entry>()) }
    }

    pub(super) fn find(task: &Task) -> *mut Entry {
        blob(task).load(Acquire)
    }

    pub(super) fn exchange(task: &Task, new: *mut Entry) -> *mut Entry {
        let blob = blob(task);
        let old = blob.load(Acquire);
        blob.store(new, Release);
        old
    }
}

/// The two lanes' way from a task to its entry.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
mod place {
    use super::*;

    /// 2 to the power of this many chains: short ones for tens of thousands of tasks.
    const BITS: u32 = 14;

    static CHAINS: [Atomic<*mut Entry>; 1 << BITS] =
        [const { Atomic::new(ptr::null_mut()) }; 1 << BITS];

    #[inline]
    fn chain(task: *mut bindings::task_struct) -> &'static Atomic<*mut Entry> {
        // Fibonacci hashing: the high bits of the product depend on all bits of the address.
        let hash = (task as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
        &CHAINS[hash as usize]
    }

    #[inline]
    pub(super) fn find(task: &Task) -> *mut Entry {
        let task = task.as_ptr();
        let mut entry = chain(task).load(Acquire);
        while !entry.is_null() {
            // SAFETY: Reached under the RCU read lock or `MapGuard` through published links, and
            // freed a grace period after having been unlinked.
            let this = unsafe { &*entry };
            if this.task == task {
                break;
            }
            entry = this.next.load(Acquire);
        }
        entry
    }

    /// With `MapGuard` held: replaces (or adds, or removes) the entry of a task.
    pub(super) fn exchange(task: &Task, new: *mut Entry) -> *mut Entry {
        let task = task.as_ptr();
        let mut link = chain(task);
        loop {
            let entry = link.load(Acquire);
            if entry.is_null() {
                break;
            }
            // SAFETY: Linked, and the writers' lock is held.
            let this = unsafe { &*entry };
            if this.task == task {
                let rest = this.next.load(Acquire);
                if new.is_null() {
                    link.store(rest, Release);
                } else {
                    publish(link, new, task, rest);
                }
                return entry;
            }
            link = &this.next;
        }
        if !new.is_null() {
            let head = chain(task);
            publish(head, new, task, head.load(Acquire));
        }
        ptr::null_mut()
    }

    fn publish(
        link: &Atomic<*mut Entry>,
        new: *mut Entry,
        task: *mut bindings::task_struct,
        rest: *mut Entry,
    ) {
        // SAFETY: `new` is not linked yet: nobody else sees it.
        unsafe {
            (*new).task = task;
            (*new).next.store(rest, Release);
        }
        link.store(new, Release);
    }
}

// SAFETY: Shared through RCU; the raw pointers inside are compared or followed under the rules
// above only.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}
