// SPDX-License-Identifier: GPL-2.0

//! One context.
//!
//! # Lifetime
//!
//! A context is alive while [`Context::tasks`] is not zero; each task in it and in its inner
//! contexts counts one. A living context is held by the registry (its number) and by one
//! reference of its own, its *life*, that [`crate::registry::reap`] drops an RCU grace period after the count
//! has come to zero. So whoever finds a context through a task under the RCU read lock
//! may take a reference. Once zero, the count stays zero.
//!
//! Dropping the last reference drops one to the outer context too, and so on: not in atomic context.

use crate::{fakeinit::Init, ffi, network::Network, policy, registry, uapi, wait::PollQueue};
use core::ptr;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Full, Relaxed},
        Arc,
        Mutex, //
    },
};

/// A security context.
#[pin_data]
pub(crate) struct Context {
    number: Atomic<i32>,
    flags: Atomic<u32>,
    nproc_limit: Atomic<u64>,
    tasks: Atomic<i64>,
    /// Capabilities no process in it can have. Fixed when made, so that it can only shrink.
    pub(crate) caps_dropped: u64,
    /// CLOCK_BOOTTIME at which it was made.
    created_ns: u64,
    /// How many contexts are around it.
    depth: u32,
    /// The context it was entered from.
    outer: Option<Arc<Context>>,
    /// What its processes get of the network.
    network: ARef<Network>,
    /// Its namespaces, from its first process on until its end.
    #[pin]
    spaces: Mutex<Option<ffi::Spaces>>,
    /// Link of the registry's stack of contexts that ended.
    pub(crate) ended_next: Atomic<*mut Context>,
    /// Its process 1.
    pub(crate) init: Init,
    /// Whether nobody can be added any more: 0 or 1.
    ending: Atomic<i32>,
    /// Woken when the context has ended, or its process 1 has. Files that poll it hold the context.
    #[pin]
    pub(crate) news: PollQueue,
}

/// Why a task was not added to a context.
pub(crate) enum NoCharge {
    /// The context has ended.
    Ended,
    /// It, or an outer one, is at its limit.
    Full,
    /// It, or an outer one, is ending.
    Ending,
}

// SAFETY: All fields are atomics, fixed after construction, or `Sync` themselves; the link is
// only followed by the one reaper that owns the stack.
unsafe impl Send for Context {}
// SAFETY: As above.
unsafe impl Sync for Context {}

impl Context {
    /// A context without a number yet, with one task charged: the caller's, whose network is `from`.
    pub(crate) fn new(
        flags: u32,
        caps_dropped: u64,
        outer: Option<Arc<Context>>,
        from: Option<&Network>,
    ) -> Result<Arc<Self>> {
        let caps_dropped = policy::caps::ceiling(
            outer.as_ref().map_or(0, |outer| outer.caps_dropped),
            caps_dropped,
        );
        let depth = outer.as_ref().map_or(0, |outer| outer.depth + 1);
        if !policy::limits::may_nest(depth) {
            return Err(EAGAIN);
        }
        let network = Network::of_new_context(from)?;
        let context = Arc::pin_init(
            pin_init!(Self {
                number: Atomic::new(-1),
                flags: Atomic::new(flags),
                nproc_limit: Atomic::new(ffi::rlimit_nproc()),
                tasks: Atomic::new(1),
                caps_dropped,
                created_ns: ffi::boottime_ns(),
                depth,
                outer,
                network,
                spaces <- new_mutex!(None),
                ended_next: Atomic::new(ptr::null_mut()),
                init: Init::new(),
                ending: Atomic::new(0),
                news <- PollQueue::new(),
            }),
            GFP_KERNEL,
        )?;
        if let Some(outer) = &context.outer {
            outer.charge_all();
        }
        Ok(context)
    }

    pub(crate) fn number(&self) -> i32 {
        self.number.load(Relaxed)
    }

    /// For the registry, once, before anybody else knows the context.
    pub(crate) fn set_number(&self, number: i32) {
        self.network.set_context(number);
        self.number.store(number, Relaxed);
    }

    pub(crate) fn network(&self) -> &ARef<Network> {
        &self.network
    }

    /// Gives the caller, who has been charged to it, its namespaces. The spectator keeps his own, to see
    /// what there is. `ENOMEM`, `ENOSPC`: nothing has changed.
    pub(crate) fn give_namespaces(&self) -> Result {
        if self.number() == uapi::CONTEXT_SPECTATOR {
            return ffi::own_nsproxy(None);
        }
        let mut spaces = self.spaces.lock();
        if spaces.is_none() {
            *spaces = Some(ffi::Spaces::new()?);
        }
        ffi::own_nsproxy(spaces.as_ref())
    }

    /// At its end, whoever may still look at it: what is in them goes now. So do its keyrings.
    pub(crate) fn let_go_of_namespaces(&self) {
        let spaces = self.spaces.lock().take();
        drop(spaces);
        ffi::keys_forget(self.network.tag());
    }

    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Adds flags; none can be taken away. `FLAG_ULIMIT` records the caller's limits.
    pub(crate) fn add_flags(&self, flags: u32) {
        if flags & uapi::FLAG_ULIMIT != 0 {
            self.nproc_limit.store(ffi::rlimit_nproc(), Relaxed);
        }
        let mut old = self.flags();
        while let Err(now) = self.flags.cmpxchg(old, old | flags, Full) {
            old = now;
        }
    }

    pub(crate) fn outer(&self) -> Option<&Context> {
        self.outer.as_deref()
    }

    pub(crate) fn tasks(&self) -> u64 {
        self.tasks.load(Relaxed).max(0) as u64
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tasks() == 0
    }

    /// From now on nobody can be added, here and in the contexts inside.
    pub(crate) fn begin_to_end(&self) {
        self.ending.xchg(1, Full);
    }

    /// Whether this or one around it is ending.
    pub(crate) fn is_ending(&self) -> bool {
        let mut context = Some(self);
        while let Some(one) = context {
            if one.ending.load(Relaxed) != 0 {
                return true;
            }
            context = one.outer();
        }
        false
    }

    fn state(&self) -> u32 {
        if self.is_over() {
            uapi::STATE_ENDED
        } else if self.is_ending() {
            uapi::STATE_ENDING
        } else {
            uapi::STATE_ALIVE
        }
    }

    /// Process 1 of this context, or else of the next one around it that has one; null: of none. To be used
    /// while this context is held, or under RCU.
    pub(crate) fn init_pid(&self) -> *mut kernel::bindings::pid {
        let mut context = Some(self);
        while let Some(one) = context {
            let pid = one.init.pid();
            if !pid.is_null() {
                return pid;
            }
            context = one.outer();
        }
        ptr::null_mut()
    }

    fn charge_all(&self) {
        let mut context = Some(self);
        while let Some(one) = context {
            one.tasks.add(1, Relaxed);
            context = one.outer();
        }
    }

    /// The limit that a task of the caller's is added against.
    fn limit(&self) -> Option<u64> {
        policy::limits::nproc(
            self.flags(),
            self.nproc_limit.load(Relaxed),
            ffi::rlimit_nproc(),
        )
    }

    /// Adds a task here only; none beyond the limit, and none when the context has ended.
    fn charge_one(&self, limit: Option<u64>) -> Result<(), NoCharge> {
        let mut old = self.tasks.load(Relaxed);
        loop {
            if old == 0 {
                return Err(NoCharge::Ended);
            }
            if self.ending.load(Relaxed) != 0 {
                return Err(NoCharge::Ending);
            }
            if !policy::limits::may_add(old.max(0) as u64, limit) {
                return Err(NoCharge::Full);
            }
            match self.tasks.cmpxchg(old, old + 1, Full) {
                Ok(_) => return Ok(()),
                Err(now) => old = now,
            }
        }
    }

    /// Adds a task of the caller's, within the limits of this and all outer contexts.
    pub(crate) fn charge(&self) -> Result<(), NoCharge> {
        let mut context = Some(self);
        while let Some(one) = context {
            if let Err(why) = one.charge_one(one.limit()) {
                self.uncharge_until(Some(one));
                return Err(why);
            }
            context = one.outer();
        }
        Ok(())
    }

    /// Takes a task away, here and in the outer contexts. Callable in atomic context.
    pub(crate) fn uncharge(&self) {
        self.uncharge_until(None);
    }

    /// The same, in the contexts before `end` only.
    fn uncharge_until(&self, end: Option<&Self>) {
        let mut context = Some(self);
        while let Some(one) = context.filter(|one| !end.is_some_and(|end| ptr::eq(*one, end))) {
            // Read first: when the count comes to zero, `one` may go at once. The outer context
            // cannot, because it is still charged for the very same task.
            context = one.outer();
            if one.tasks.fetch_sub(1, Full) == 1 {
                registry::ended(one);
            }
        }
    }

    /// What GET and LIST tell.
    pub(crate) fn info(&self) -> uapi::ContextInfo {
        let flags = self.flags();
        uapi::ContextInfo {
            context: self.number(),
            flags,
            caps_dropped: self.caps_dropped,
            tasks: self.tasks().min(u32::MAX.into()) as u32,
            outer: self.outer().map_or(uapi::CONTEXT_ROOT, Context::number),
            initpid: self.init.number(),
            state: self.state(),
            created_ns: self.created_ns,
            nproc_limit: if flags & uapi::FLAG_ULIMIT != 0 {
                self.nproc_limit.load(Relaxed)
            } else {
                0
            },
            reserved: [0; 2],
        }
    }

    /// What STATUS tells.
    pub(crate) fn status(&self) -> uapi::Status {
        let mut status = uapi::Status {
            context: self.number(),
            state: self.state(),
            tasks: self.tasks().min(u32::MAX.into()) as u32,
            ..uapi::Status::default()
        };
        self.init.describe(&mut status);
        status
    }
}
