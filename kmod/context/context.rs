// SPDX-License-Identifier: GPL-2.0

//! One context.
//!
//! # Lifetime
//!
//! A context is alive while [`Context::tasks`] is not zero; each task in it and in its inner contexts counts one. How it lives
//! and ends, and why whoever finds it through a task under RCU may take a reference, is said in `linux/lives.rs`.
//!
//! Dropping the last reference drops one to the outer context too, and so on: not in atomic context.

use super::{
    init_hooks::InitHooks,
    init_state::Init,
    network::Network,
    quotas::{Charge, Counter, Quotas},
};
use crate::{
    linux::{
        self, lived, own_set_of_namespaces, rlimit, Fresh, Life, Lived, Over, OwnNamespaces, Pid,
        PollQueue, TaskCharge, UserNs, RLIMIT_NPROC,
    },
    policy::{self, visibility::UserNamespace},
    uapi,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Full, Relaxed},
        rcu,
        Arc,
        Mutex, //
    },
    task::Task,
};

/// Contexts alive, the spectator's not counted.
static ALIVE: Atomic<i32> = Atomic::new(0);

lived!(Context, life);

/// A security context.
#[pin_data]
pub(crate) struct Context {
    number: Atomic<i32>,
    flags: Atomic<u32>,
    nproc_limit: Atomic<u64>,
    /// Capabilities no process in it can have. Fixed when made, so that it can only shrink.
    pub(crate) caps_dropped: u64,
    /// The user namespace that it was made from.
    user_ns: UserNs,
    /// CLOCK_BOOTTIME at which it was made.
    created_ns: u64,
    /// How many contexts are around it.
    depth: u32,
    /// Its tasks, and the context it was entered from.
    life: Life<Context>,
    /// What its processes get of the network.
    network: ARef<Network>,
    /// What is counted for its users; the spectator's are the host's.
    quotas: Option<Pin<KBox<Quotas>>>,
    /// The contexts and loopback blocks that are made inside.
    inner: Arc<Counter>,
    /// What it counts for itself.
    _charge: Charge,
    /// Its namespaces, from its first process on until its end.
    #[pin]
    namespaces: Mutex<Option<OwnNamespaces>>,
    /// What its process 1 needs, from then on until its end: those that are left behind have the same numbers as before.
    #[pin]
    init_hooks: Mutex<Option<InitHooks>>,
    /// Its process 1.
    pub(crate) init: Init,
    /// Whether nobody can be added any more: 0 or 1.
    ending: Atomic<i32>,
    /// Woken when the context has ended, or its process 1 has. Files that poll it hold the context.
    #[pin]
    pub(crate) news: PollQueue,
}

/// How a context is made.
pub(super) struct Made<'a> {
    /// The context that its maker is in.
    pub(super) within: Option<&'a Context>,
    /// Whether it is the spectator's.
    pub(super) is_spectator: bool,
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

impl From<Over> for NoCharge {
    fn from(_: Over) -> Self {
        Self::Ended
    }
}

impl Context {
    /// A context without a number yet, with one task charged: the caller's, whose network is `from`.
    pub(super) fn new(
        flags: u32,
        caps_dropped: u64,
        outer: Option<Arc<Context>>,
        from: Option<&Network>,
        made: &Made<'_>,
    ) -> Result<Fresh<Self>> {
        let caps_dropped = policy::caps::ceiling(
            outer.as_ref().map_or(0, |outer| outer.caps_dropped),
            caps_dropped,
        );
        let depth = outer.as_ref().map_or(0, |outer| outer.depth + 1);
        if !policy::limits::may_nest(depth) {
            return Err(EAGAIN);
        }
        let charge = Charge::new(made.within.map(Context::inner))?;
        let inner = charge.counter_within()?;
        let network = Network::of_new_context(from)?;
        let quotas = if made.is_spectator {
            None
        } else {
            Some(Quotas::new(
                made.within.is_some(),
                made.within.and_then(Context::quotas),
            )?)
        };
        Fresh::new(try_pin_init!(Self {
            number: Atomic::new(-1),
            flags: Atomic::new(flags),
            nproc_limit: Atomic::new(rlimit(RLIMIT_NPROC)),
            caps_dropped,
            user_ns: UserNs::own(),
            created_ns: linux::boottime_ns(),
            depth,
            life: Life::new(outer),
            network,
            quotas,
            inner,
            _charge: charge,
            namespaces <- new_mutex!(None),
            init_hooks <- new_mutex!(None),
            init: Init::new(),
            ending: Atomic::new(0),
            news <- PollQueue::new(),
        }))
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

    pub(crate) fn quotas(&self) -> Option<&Quotas> {
        self.quotas.as_deref()
    }

    /// What is made inside is counted by it.
    pub(crate) fn inner(&self) -> &Arc<Counter> {
        &self.inner
    }

    /// Gives the caller, who has been charged to it, its namespaces. The spectator keeps his own, to see
    /// what there is. `ENOMEM`, `ENOSPC`: nothing has changed.
    pub(crate) fn give_namespaces(&self) -> Result {
        if self.number() == uapi::CONTEXT_SPECTATOR {
            return own_set_of_namespaces(None);
        }
        let mut namespaces = self.namespaces.lock();
        if namespaces.is_none() {
            *namespaces = Some(OwnNamespaces::new()?);
        }
        own_set_of_namespaces(namespaces.as_ref())
    }

    /// At its end, whoever may still look at it: what is in them goes now.
    pub(crate) fn let_go_of_namespaces(&self) {
        let namespaces = self.namespaces.lock().take();
        drop(namespaces);
    }

    /// It gets a process 1, or gives up what that needed: nobody is in it any more.
    pub(crate) fn keep_init_hooks(&self, hooks: Option<InitHooks>) {
        let before = core::mem::replace(&mut *self.init_hooks.lock(), hooks);
        drop(before);
    }

    pub(crate) fn flags(&self) -> u32 {
        self.flags.load(Relaxed)
    }

    /// Adds flags; none can be taken away. `FLAG_ULIMIT` records the caller's limits.
    pub(crate) fn add_flags(&self, flags: u32) {
        if flags & uapi::FLAG_ULIMIT != 0 {
            self.nproc_limit.store(rlimit(RLIMIT_NPROC), Relaxed);
        }
        let mut old = self.flags();
        while let Err(now) = self.flags.cmpxchg(old, old | flags, Full) {
            old = now;
        }
    }

    /// Whether the caller may decide for all processes of it, when it is in it.
    pub(crate) fn is_decided_by_caller(&self) -> bool {
        self.tasks() <= linux::threads().into() || self.user_ns.is_caller_admin()
    }

    /// Whether a task in it has capabilities that it cannot give.
    pub(crate) fn is_exceeded_by(&self, task: &Task, guard: &rcu::Guard) -> bool {
        let (namespace, permitted) = self.user_ns.authority_of(task, guard);
        policy::visibility::exceeds(namespace, permitted, self.caps_dropped)
    }

    /// Whether a task in it has such, or can get them by executing a program.
    pub(crate) fn may_be_exceeded_by(&self, task: &Task, guard: &rcu::Guard) -> bool {
        let (namespace, permitted) = self.user_ns.authority_of(task, guard);
        namespace == UserNamespace::Other
            || policy::visibility::exceeds(namespace, permitted, self.caps_dropped)
    }

    pub(crate) fn outer(&self) -> Option<&Context> {
        self.life.outer()
    }

    pub(crate) fn tasks(&self) -> u64 {
        self.life.count()
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

    /// Process 1 of this context, or else of the next one around it that has one.
    pub(crate) fn init_pid(&self) -> Option<&Pid> {
        let mut context = Some(self);
        while let Some(one) = context {
            if let Some(pid) = one.init.pid() {
                return Some(pid);
            }
            context = one.outer();
        }
        None
    }

    /// The limit that a task of the caller's is added against.
    fn limit(&self) -> Option<u64> {
        policy::limits::nproc(
            self.flags(),
            self.nproc_limit.load(Relaxed),
            rlimit(RLIMIT_NPROC),
        )
    }

    /// Adds a task of the caller's, within the limits of this and all outer contexts; none when one has ended or is ending.
    pub(crate) fn charge(context: Arc<Self>) -> Result<TaskCharge<Self>, NoCharge> {
        TaskCharge::new(context, |one, tasks| {
            if one.ending.load(Relaxed) != 0 {
                Err(NoCharge::Ending)
            } else if policy::limits::may_add(tasks, one.limit()) {
                Ok(())
            } else {
                Err(NoCharge::Full)
            }
        })
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

/// How many are alive, but for the spectator's.
pub(crate) fn alive() -> u32 {
    ALIVE.load(Relaxed).max(0) as u32
}

/// A context has its number now.
pub(super) fn begun(context: &Context) {
    if context.number() != uapi::CONTEXT_SPECTATOR {
        ALIVE.add(1, Relaxed);
    }
}

impl Lived for Context {
    fn over(&self) {
        if self.number() != uapi::CONTEXT_SPECTATOR {
            ALIVE.add(-1, Relaxed);
        }
    }
}
