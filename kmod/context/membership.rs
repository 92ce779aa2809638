// SPDX-License-Identifier: GPL-2.0

//! Task to context.
//!
//! A task of context 0 has an entry only when it is confined to addresses, so a machine without contexts has none at all. Where
//! the entries are and how long they live is said in `linux/task_map.rs`.
//!
//! A task stops counting when it is reaped ([`release`]). Its memory lives on for an RCU grace
//! period, or as long as somebody holds it; that must neither keep the context alive nor use up
//! the context's limit. So the entry lets go of its context then, and keeps only the number.
//!
//! # Arrival
//!
//! An ENTER that changes the context begins an *arrival*. It has a number, which the children of the
//! caller inherit. It ends, for each task by itself, with the program that the task executes. Until then the
//! task is absent for everybody inside but those of the same arrival ([`Party`]). Tasks that share a
//! set of namespaces are taken for near each other without a look at their entries
//! (`TaskRef::shares_namespaces`), so a task gets a set of its own when it executes that program.

use crate::{
    attach::{Caller, IsInside},
    context::{
        network::{Network, Parts},
        Context,
    },
    linux::{
        self, own_set_of_namespaces, peek, task_map, FreedTask, NewEntry, NewTask, Pid, ReapedTask,
        TaskCharge, TaskMap,
    },
    policy::visibility::{touch, Party, Touch},
    uapi::CONTEXT_ROOT,
};
use core::ptr;
use kernel::{
    current,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Atomic, Relaxed, Release},
        rcu,
        Arc, //
    },
    task::Task,
};

/// What is known of a task, beside the context that it is charged to and its network.
pub(crate) struct Membership {
    number: i32,
    /// [`SETTLED`], [`APART`], or the number of an arrival. Only the task itself changes it.
    standing: Atomic<u64>,
}

/// The context of an entry is `None` once the task is reaped, and in context 0; its network in context 0 when the task is free, and
/// once it is reaped.
type Entry = linux::Entry<Membership, Parts, Context>;

task_map! {
    /// The tasks that are in a context, or confined.
    static TASKS: TaskMap<Membership, Parts, Context>;
}

/// A task that belongs to its context like any other. No task's capabilities grow beyond its context
/// afterwards.
const SETTLED: u64 = 0;
/// A task that has, or can get, capabilities that its context cannot give.
const APART: u64 = 1;

/// The next number of an arrival.
static NEXT_ARRIVAL: Atomic<u64> = Atomic::new(APART + 1);

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    TASKS.init(c"vserver_tasks");
}

/// An entry that is not in use yet.
pub(crate) struct Prepared(NewEntry<Membership, Parts, Context>);

/// A task that has been reaped is in no context any more.
pub(crate) struct Reaped;

impl From<Reaped> for Error {
    fn from(_: Reaped) -> Self {
        ESRCH
    }
}

impl Prepared {
    /// For a child of the caller. Allocates; `ENOMEM` is the only error.
    pub(crate) fn of_child(
        context: Option<&Context>,
        network: Option<ARef<Network>>,
    ) -> Result<Self> {
        Self::new(context, network, own_standing())
    }

    /// For the caller, which enters. As above.
    pub(crate) fn arriving(context: &Context, network: ARef<Network>) -> Result<Self> {
        let arrival = NEXT_ARRIVAL.fetch_add(1, Relaxed);
        Self::new(Some(context), Some(network), arrival)
    }

    fn new(
        context: Option<&Context>,
        network: Option<ARef<Network>>,
        standing: u64,
    ) -> Result<Self> {
        let membership = Membership {
            number: context.map_or(CONTEXT_ROOT, Context::number),
            standing: Atomic::new(standing),
        };
        Ok(Self(NewEntry::new(membership, network)?))
    }

    /// Makes a child a member of the context that it is charged to.
    pub(crate) fn install(self, child: &NewTask, charge: Option<TaskCharge<Context>>) {
        TASKS.add(child, self.0, charge);
    }

    /// Makes the caller a member, instead of what it was.
    pub(crate) fn install_own(self, charge: TaskCharge<Context>) {
        TASKS.replace_own(self.0, Some(charge));
    }
}

/// Ends the membership of a task that is going away. Callable in atomic context.
pub(crate) fn remove(task: &FreedTask) {
    TASKS.remove(task);
}

/// Takes out the entries of tasks that have been reaped but not freed yet. At module exit, when no
/// context is left, so that there are no others and no new ones come; with the hooks
/// still attached, so that no task of an entry is freed unnoticed.
pub(crate) fn purge() {
    TASKS.purge();
}

/// A task is being reaped: it does not count any more. Callable in atomic context.
pub(crate) fn release(task: &ReapedTask) {
    TASKS.release(task);
}

impl Membership {
    #[inline]
    fn standing(&self) -> u64 {
        peek(&self.standing)
    }
}

/// For an entry of `task` that was found under this guard.
#[inline]
fn party_of(entry: &Entry, task: &Task, guard: &rcu::Guard) -> Party {
    match entry.value().standing() {
        SETTLED => Party::of(entry.value().number),
        standing => party_apart(entry, task, standing, guard),
    }
}

#[cold]
fn party_apart(entry: &Entry, task: &Task, standing: u64, guard: &rcu::Guard) -> Party {
    Party {
        context: entry.value().number,
        arrival: if standing == APART { 0 } else { standing },
        exceeds: entry
            .charged_to(guard)
            .is_some_and(|context| context.is_exceeded_by(task, guard)),
    }
}

/// Two tasks as the policy looks at them: with the contexts that they are in, or were in until they were
/// reaped.
#[inline]
pub(crate) fn parties(one: &Task, other: &Task) -> (Party, Party) {
    // Most tasks are in no context. Where there is nothing to follow, RCU is not needed.
    if TASKS.is_empty(one) && TASKS.is_empty(other) {
        (Party::of(CONTEXT_ROOT), Party::of(CONTEXT_ROOT))
    } else {
        parties_of_members(one, other)
    }
}

#[cold]
fn parties_of_members(one: &Task, other: &Task) -> (Party, Party) {
    let guard = rcu::read_lock();
    let party = |task| {
        TASKS
            .find(task, &guard)
            .map_or(Party::of(CONTEXT_ROOT), |entry| {
                party_of(entry, task, &guard)
            })
    };
    (party(one), party(other))
}

/// Whether two tasks are in the same context, both have entries, and the first may touch the second.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn is_near(one: &Task, other: &Task, guard: &rcu::Guard) -> bool {
    match (membership(one, guard), membership(other, guard)) {
        (Some(a), Some(b)) if a.number == b.number => {
            b.standing() == SETTLED || may_touch(one, other)
        }
        _ => false,
    }
}

/// Whether the policy lets the first task touch the second.
pub(crate) fn may_touch(one: &Task, other: &Task) -> bool {
    let (actor, target) = parties(one, other);
    touch(actor, target) == Touch::Allowed
}

/// What is known of a task.
#[inline]
fn membership<'a>(task: &Task, guard: &'a rcu::Guard) -> Option<&'a Membership> {
    TASKS.find(task, guard).map(Entry::value)
}

fn own_standing() -> u64 {
    let task: &Task = current!();
    if TASKS.is_empty(task) {
        return SETTLED;
    }
    membership(task, &rcu::read_lock()).map_or(SETTLED, Membership::standing)
}

/// Whether a task has just entered, or stays apart from the others of its context.
pub(crate) fn stands_apart(task: &Task, guard: &rcu::Guard) -> bool {
    membership(task, guard).is_some_and(|own| own.standing() != SETTLED)
}

/// The caller is about to execute a program, which can still fail. `ENOMEM`: it fails.
pub(crate) fn prepare_to_settle() -> Result {
    if own_standing() == SETTLED {
        return Ok(());
    }
    own_set_of_namespaces(None)
}

/// The caller executes a program, with the credentials that it has by now.
pub(crate) fn settle() {
    let task: &Task = current!();
    if TASKS.is_empty(task) {
        return;
    }
    let guard = rcu::read_lock();
    let Some(entry) = TASKS
        .find(task, &guard)
        .filter(|entry| entry.value().standing() != SETTLED)
    else {
        return;
    };
    let apart = entry
        .charged_to(&guard)
        .is_some_and(|context| context.may_be_exceeded_by(task, &guard));
    let standing = &entry.value().standing;
    standing.store(if apart { APART } else { SETTLED }, Release);
}

/// Process 1 of a task's context, or of the next one around it that has one.
pub(crate) fn init_of<'a>(task: &Task, guard: &'a rcu::Guard) -> Option<&'a Pid> {
    TASKS.find(task, guard)?.charged_to(guard)?.init_pid()
}

/// Whether a task is in a context or in one inside of that.
pub(crate) fn is_within(task: &Task, context: &Context, guard: &rcu::Guard) -> bool {
    if TASKS.is_empty(task) {
        return false;
    }
    let mut around = TASKS
        .find(task, guard)
        .and_then(|entry| entry.charged_to(guard));
    while let Some(one) = around {
        if ptr::eq(one, context) {
            return true;
        }
        around = one.outer();
    }
    false
}

/// The context that a task is in, `None` for context 0.
pub(crate) fn context(task: &Task) -> Result<Option<Arc<Context>>, Reaped> {
    if TASKS.is_empty(task) {
        return Ok(None);
    }
    let guard = rcu::read_lock();
    let Some(entry) = TASKS.find(task, &guard) else {
        return Ok(None);
    };
    match entry.share_charged(&guard) {
        None if entry.value().number != CONTEXT_ROOT => Err(Reaped),
        context => Ok(context),
    }
}

/// The context of the caller, `None` for context 0. Not for a task on its way out.
pub(crate) fn own_context() -> Option<Arc<Context>> {
    context(current!()).unwrap_or(None)
}

/// The network of a task, `None` when it is free and in context 0, or reaped.
pub(crate) fn network(task: &Task) -> Option<ARef<Network>> {
    if TASKS.is_empty(task) {
        return None;
    }
    let guard = rcu::read_lock();
    TASKS.find(task, &guard)?.share_network(&guard)
}

/// The network of the caller.
pub(crate) fn own_network() -> Option<ARef<Network>> {
    network(current!())
}

/// Whether it is plain, without a look-up, that the caller has no network.
#[inline(always)]
pub(crate) fn has_no_network() -> bool {
    // A task with a network has this bit ([`linux::PF_IN_CONTEXT`]).
    crate::linux::own_flags() & linux::PF_IN_CONTEXT == 0
}

/// The caller's network, for a while.
#[inline]
pub(crate) fn with_own_network<R>(work: impl FnOnce(Option<&Network>) -> R) -> R {
    if has_no_network() {
        return work(None);
    }
    TASKS.with_own_network(work)
}

impl IsInside for Caller {
    #[inline(always)]
    fn is_inside() -> bool {
        is_inside()
    }
}

/// Whether the caller is in a context, the spectator's included: what most hooks begin with.
#[inline(always)]
pub(crate) fn is_inside() -> bool {
    // A task in a context has this bit ([`linux::PF_IN_CONTEXT`]); most tasks have not.
    if crate::linux::own_flags() & linux::PF_IN_CONTEXT == 0 {
        return false;
    }
    own_network_has_context()
}

#[cold]
fn own_network_has_context() -> bool {
    own_numbers().0 != CONTEXT_ROOT
}

/// Whether the caller is in a context or confined to addresses.
pub(crate) fn has_network() -> bool {
    own_network().is_some_and(|network| network.context() != CONTEXT_ROOT || network.is_confined())
}

/// Who the caller is: a tag that no other context ever has. Zero: the host.
#[inline]
pub(crate) fn identity() -> u64 {
    of_own_context(|_, tag| tag)
}

/// Whether the caller is the spectator.
pub(crate) fn is_spectator() -> bool {
    of_own_context(|context, _| u64::from(context == crate::uapi::CONTEXT_SPECTATOR)) != 0
}

/// Zero: the caller is in none.
#[inline]
fn of_own_context(what: impl FnOnce(i32, u64) -> u64) -> u64 {
    if crate::linux::own_flags() & linux::PF_IN_CONTEXT == 0 {
        return 0;
    }
    match own_numbers() {
        (CONTEXT_ROOT, _) => 0,
        (context, tag) => what(context, tag),
    }
}

/// The number of the caller's context, and the tag of its network.
#[inline(never)]
fn own_numbers() -> (i32, u64) {
    let task: &Task = current!();
    if TASKS.is_empty(task) {
        return (CONTEXT_ROOT, 0);
    }
    let guard = rcu::read_lock();
    TASKS
        .find(task, &guard)
        .and_then(|entry| entry.network(&guard))
        .map_or((CONTEXT_ROOT, 0), |network| {
            (network.context(), network.tag())
        })
}

/// Gives the caller another network. `ENOMEM`: as it was.
pub(crate) fn set_own_network(network: Option<ARef<Network>>) -> Result {
    // Without an entry, and with a network: it gets one.
    if let Err(Some(network)) = TASKS.exchange_own_network(network) {
        TASKS.replace_own(Prepared::new(None, Some(network), SETTLED)?.0, None);
    }
    Ok(())
}
