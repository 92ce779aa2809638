// SPDX-License-Identifier: GPL-2.0

//! All contexts, by number.
//!
//! # Locks
//!
//! `NUMBERS` (mutex) guards the numbers. Nothing that can come from a hook takes it; hooks run
//! under tasklist_lock, RCU, and in softirq. Inside it no other lock of ours is taken. The task
//! map's lock (`ffi::MapGuard`) is a leaf and never held together with it.
//!
//! Nothing here walks all contexts or all tasks.

use crate::{
    context::{Context, NoCharge},
    ffi::{self, numbers},
    network::Network,
    policy::enter::Decision,
    uapi::*, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{Atomic, Full, Relaxed},
        global_lock,
        rcu, //
        Arc,
    },
};

global_lock! {
    // SAFETY: Initialized in `init`, which module init calls before anything else.
    unsafe(uninit) static NUMBERS: Mutex<()> = ();
}

/// Contexts whose count came to zero, waiting for [`reap`]. A stack without a lock.
static ENDED: Atomic<*mut Context> = Atomic::new(core::ptr::null_mut());

/// Contexts alive, the spectator's not counted.
static ALIVE: Atomic<i32> = Atomic::new(0);

/// The most contexts at once.
pub(crate) const CONTEXTS_MAX: u32 = (CONTEXT_MAX - CONTEXT_MIN + 1) as u32;

pub(crate) fn init() {
    // SAFETY: Called exactly once, by module init.
    unsafe { NUMBERS.init() };
}

/// At module exit, when no context is left and no hook is attached.
pub(crate) fn exit() {
    ffi::reap_flush();
    rcu::rcu_barrier();
    numbers::destroy();
    ffi::map_destroy();
    ffi::keys_destroy();
}

pub(crate) fn alive() -> u32 {
    ALIVE.load(Relaxed).max(0) as u32
}

/// A task charged to a context for the caller, who has not moved yet. Dropped: taken back.
pub(crate) struct Ticket(Option<Arc<Context>>);

impl Ticket {
    pub(crate) fn context(&self) -> Option<&Arc<Context>> {
        self.0.as_ref()
    }

    /// The charge now belongs to the task map's entry.
    pub(crate) fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(context) = self.0.take() {
            context.uncharge();
        }
    }
}

/// Finds or makes the context of a decision that is not `Stay`, and charges it for the caller, whose
/// network is `from`.
pub(crate) fn obtain(
    decision: Decision,
    flags: u32,
    caps_dropped: u64,
    outer: Option<Arc<Context>>,
    from: Option<&Network>,
) -> Result<Ticket> {
    match decision {
        Decision::Stay => Err(EINVAL),
        Decision::New => {
            let context = Context::new(flags, caps_dropped, outer, from)?;
            let ticket = Ticket(Some(context.clone()));
            let guard = NUMBERS.lock();
            let number =
                numbers::next_free(&context, CONTEXT_DYNAMIC_MIN, CONTEXT_MAX).map_err(full)?;
            born(context, number);
            drop(guard);
            Ok(ticket)
        }
        Decision::Numbered {
            context: number,
            create,
        } => {
            // Made ahead, as it allocates; unused when the context exists.
            let mut fresh = None;
            if create {
                fresh = Some(Context::new(flags, caps_dropped, None, from)?);
            }
            let guard = NUMBERS.lock();
            if let Some(found) = numbers::find(number) {
                if found.flags() & FLAG_PRIVATE != 0 && !found.is_over() {
                    return Err(EPERM);
                }
                match found.charge() {
                    Ok(()) => {
                        found.add_flags(flags);
                        drop(guard);
                        return Ok(Ticket(Some(found)));
                    }
                    Err(NoCharge::Full | NoCharge::Ending) => return Err(EAGAIN),
                    Err(NoCharge::Ended) => (),
                }
                // It has ended and is not reaped yet: its number is free.
                numbers::remove(number);
            }
            let Some(context) = fresh else {
                return Err(EINVAL);
            };
            let ticket = Ticket(Some(context.clone()));
            numbers::take(&context, number).map_err(full)?;
            born(context, number);
            drop(guard);
            Ok(ticket)
        }
    }
}

fn full(error: Error) -> Error {
    if error == ENOSPC {
        EAGAIN
    } else {
        error
    }
}

/// Under the mutex: the context has its number now.
fn born(context: Arc<Context>, number: i32) {
    context.set_number(number);
    if number != CONTEXT_SPECTATOR {
        ALIVE.add(1, Relaxed);
    }
    ffi::module_get();
    // Its life: taken over by `reap`.
    let _ = Arc::into_raw(context);
}

/// A context that exists, by number.
pub(crate) fn find(number: i32) -> Option<Arc<Context>> {
    let _guard = NUMBERS.lock();
    numbers::find(number).filter(|context| !context.is_over())
}

/// The next living vserver context above a number.
pub(crate) fn after(number: i32) -> Option<Arc<Context>> {
    let _guard = NUMBERS.lock();
    let mut next = number.checked_add(1)?.max(CONTEXT_MIN);
    loop {
        let context = numbers::at_or_after(next)?;
        if !context.is_over() {
            return Some(context);
        }
        next = context.number() + 1;
    }
}

/// The count of a context came to zero. Called in atomic context, once per context.
pub(crate) fn ended(context: &Context) {
    if context.number() < 0 {
        // Never published: its maker still holds it and nobody waits for it.
        return;
    }
    if context.number() != CONTEXT_SPECTATOR {
        ALIVE.add(-1, Relaxed);
    }
    let this = core::ptr::from_ref(context).cast_mut();
    let mut head = ENDED.load(Relaxed);
    loop {
        context.ended_next.store(head, Relaxed);
        match ENDED.cmpxchg(head, this, Full) {
            Ok(_) => break,
            Err(now) => head = now,
        }
    }
    ffi::reap_later();
}

/// In process context: frees the numbers of the contexts that ended, tells who waits, lets go.
pub(crate) fn reap() {
    let mut next = ENDED.xchg(core::ptr::null_mut(), Full);
    let first = next;
    while !next.is_null() {
        // SAFETY: On the stack, a context is kept by its life, which is dropped below only.
        let context = unsafe { &*next };
        let guard = NUMBERS.lock();
        let current = numbers::find(context.number());
        if current.is_some_and(|found| core::ptr::eq(&*found, context)) {
            numbers::remove(context.number());
        }
        drop(guard);
        context.let_go_of_namespaces();
        ffi::ptys::end_loans_to(context.network().tag());
        context.news.wake();
        next = context.ended_next.load(Relaxed);
    }
    if first.is_null() {
        return;
    }
    // Whoever found one of them through a task has taken a reference by then, or none at all.
    rcu::synchronize_rcu();
    next = first;
    while !next.is_null() {
        // SAFETY: `born` leaked this reference for us, and each context is pushed once.
        let context = unsafe { Arc::from_raw(next.cast_const()) };
        next = context.ended_next.load(Relaxed);
        drop(context);
        ffi::module_put();
    }
}
