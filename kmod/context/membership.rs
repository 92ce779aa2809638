// SPDX-License-Identifier: GPL-2.0

//! Task to context. One of the files that may contain `unsafe`.
//!
//! A task of context 0 has an [`Entry`] only when it is confined to addresses, so a machine without
//! contexts has none at all. All entries
//! are in a fixed hash table by the task's address: `task_struct` of the `stock` lane has no room
//! for us. In the `patched` lane a task's security blob is the short way to its entry.
//!
//! # Lifetime
//!
//! An entry is made for a new task before that task runs (`security_task_alloc`) or by a task for
//! itself (ENTER), and goes with the task (`security_task_free`) or when the task enters another
//! context. It is freed an RCU grace period later. Only ENTER replaces one, and only `current`'s, so
//! `current`'s entry is stable for `current`. Writers hold [`LOCK`], readers the RCU read lock.
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

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use crate::{
    context::{network::Network, Context},
    linux::{self, own_set_of_namespaces, Pid, SpinLock},
    policy::visibility::{touch, Party, Touch},
    uapi::CONTEXT_ROOT,
};
use core::{
    mem::ManuallyDrop,
    ptr::{self, NonNull}, //
};
use kernel::{
    bindings, current,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{Acquire, Atomic, Full, Relaxed, Release},
        rcu,
        Arc, //
    },
    task::Task,
};

/// A task's membership.
#[repr(C)]
pub(crate) struct Entry {
    /// First, so that the memory begins with it.
    rcu: bindings::callback_head,
    task: *mut bindings::task_struct,
    number: i32,
    /// [`SETTLED`], [`APART`], or the number of an arrival. Only the task itself changes it.
    standing: Atomic<u64>,
    /// A reference of its own, and one charge. Null once the task is reaped, and in context 0. RCU
    /// readers may still use what they have found: the context outlives the grace period (see
    /// `context.rs`).
    context: Atomic<*mut Context>,
    /// A reference of its own. Null in context 0 when the task is free, and once it is reaped.
    network: Atomic<*mut Network>,
    next: Atomic<*mut Entry>,
}

/// A task that belongs to its context like any other. No task's capabilities grow beyond its context
/// afterwards.
const SETTLED: u64 = 0;
/// A task that has, or can get, capabilities that its context cannot give.
const APART: u64 = 1;

/// The next number of an arrival.
static NEXT_ARRIVAL: Atomic<u64> = Atomic::new(APART + 1);

/// Guards the writers of the map. Taken with interrupts off, because `security_task_free()` comes from RCU callbacks, too. A
/// leaf: nothing is taken inside.
static LOCK: SpinLock = SpinLock::new();

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    LOCK.init(c"vserver_tasks");
}

/// An entry that is not in use yet.
pub(crate) struct Prepared {
    entry: KBox<Entry>,
    context: Option<Arc<Context>>,
    network: Option<ARef<Network>>,
}

/// A task that has been reaped is in no context any more.
pub(crate) struct Reaped;

impl From<Reaped> for Error {
    fn from(_: Reaped) -> Self {
        ESRCH
    }
}

impl Prepared {
    /// For a child of the caller. Allocates; `ENOMEM` is the only error. The charge of the task is the
    /// caller's business.
    pub(crate) fn of_child(
        context: Option<Arc<Context>>,
        network: Option<ARef<Network>>,
    ) -> Result<Self> {
        let standing = own_entry().map_or(SETTLED, Entry::standing);
        Self::new(context, network, standing)
    }

    /// For the caller, which enters. As above.
    pub(crate) fn arriving(context: Arc<Context>, network: ARef<Network>) -> Result<Self> {
        let arrival = NEXT_ARRIVAL.fetch_add(1, Relaxed);
        Self::new(Some(context), Some(network), arrival)
    }

    fn new(
        context: Option<Arc<Context>>,
        network: Option<ARef<Network>>,
        standing: u64,
    ) -> Result<Self> {
        let entry = KBox::new(
            Entry {
                rcu: bindings::callback_head::default(),
                task: ptr::null_mut(),
                number: context
                    .as_ref()
                    .map_or(CONTEXT_ROOT, |context| context.number()),
                standing: Atomic::new(standing),
                context: Atomic::new(ptr::null_mut()),
                network: Atomic::new(ptr::null_mut()),
                next: Atomic::new(ptr::null_mut()),
            },
            GFP_KERNEL,
        )?;
        Ok(Self {
            entry,
            context,
            network,
        })
    }

    /// Makes the task a member, instead of what it was. The charge passes to the entry.
    pub(crate) fn install(self, task: &Task) {
        if let Some(context) = self.context {
            self.entry
                .context
                .store(Arc::into_raw(context).cast_mut(), Release);
        }
        if let Some(network) = self.network {
            self.entry
                .network
                .store(ARef::into_raw(network).as_ptr(), Release);
        }
        let new = KBox::into_raw(self.entry);
        linux::mark(task);
        let guard = LOCK.lock_irqsave();
        let old = place::exchange(task.as_ptr(), new);
        drop(guard);
        retire(old);
    }
}

/// Ends the membership of a task that is going away. Callable in atomic context.
pub(crate) fn remove(task: &Task) {
    if place::is_empty(task) {
        return;
    }
    let guard = rcu::read_lock();
    let none = place::find(task).is_null();
    drop(guard);
    if !none {
        let guard = LOCK.lock_irqsave();
        let old = place::exchange(task.as_ptr(), ptr::null_mut());
        drop(guard);
        retire(old);
    }
}

/// Takes out the entries of tasks that have been reaped but not freed yet. At module exit, when no
/// context is left, so that there are no others and no new ones come; with the hooks
/// still attached, so that no task of an entry is freed unnoticed.
pub(crate) fn purge() {
    for chain in &place::CHAINS {
        loop {
            let guard = LOCK.lock_irqsave();
            let old = place::take_first(chain);
            drop(guard);
            if old.is_null() {
                break;
            }
            retire(old);
        }
    }
}

/// A task is being reaped: it does not count any more. Callable in atomic context.
pub(crate) fn release(task: &Task) {
    if place::is_empty(task) {
        return;
    }
    let guard = rcu::read_lock();
    let entry = place::find(task);
    if !entry.is_null() {
        // SAFETY: Entries are freed a grace period after they were taken out, and the read lock
        // is held.
        unsafe { let_go(entry) };
    }
    drop(guard);
}

fn retire(entry: *mut Entry) {
    if entry.is_null() {
        return;
    }
    // SAFETY: The entry was taken out under the lock by us alone; it is freed below only.
    unsafe { let_go(entry) };
    // SAFETY: From `KBox::into_raw`, begins with its head, and has nothing left to drop.
    unsafe { crate::bindings::kvfree_call_rcu(entry.cast(), entry.cast()) };
}

/// Drops the entry's references and charge, once.
///
/// # Safety
///
/// `entry` must not be freed during the call.
unsafe fn let_go(entry: *mut Entry) {
    // SAFETY: By contract.
    let network = unsafe { (*entry).network.xchg(ptr::null_mut(), Full) };
    if let Some(network) = NonNull::new(network) {
        // SAFETY: From `ARef::into_raw` in `install`, and whoever takes it out of the entry owns it.
        drop(unsafe { ARef::from_raw(network) });
    }
    // SAFETY: By contract.
    let raw = unsafe { (*entry).context.xchg(ptr::null_mut(), Full) };
    if raw.is_null() {
        return;
    }
    // The charge still keeps the context alive, so this is never the last reference, whose
    // dropping would sleep.
    // SAFETY: From `Arc::into_raw` in `install`, and whoever takes it out of the entry owns it.
    drop(unsafe { Arc::from_raw(raw.cast_const()) });
    // SAFETY: Until this call takes the charge away, the context is held by its life.
    unsafe { (*raw).uncharge() };
}

impl Entry {
    /// Inline, unlike the loads of `Atomic`: this is on the way of signals.
    #[inline]
    fn standing(&self) -> u64 {
        // SAFETY: Of the type of the value, which lives as long as `self`; only changed atomically.
        unsafe { self.standing.as_ptr().read_volatile() }
    }

    /// `None` in context 0, and once the task is reaped.
    fn context<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a Context> {
        // SAFETY: What the entry has pointed to outlives the grace period, see `context.rs`.
        unsafe { self.context.load(Acquire).as_ref() }
    }

    /// For an entry of `task` that was found under this guard.
    #[inline]
    fn party(&self, task: &Task, guard: &rcu::Guard) -> Party {
        match self.standing() {
            SETTLED => Party::of(self.number),
            standing => self.party_apart(task, standing, guard),
        }
    }

    #[cold]
    fn party_apart(&self, task: &Task, standing: u64, guard: &rcu::Guard) -> Party {
        Party {
            context: self.number,
            arrival: if standing == APART { 0 } else { standing },
            exceeds: self
                .context(guard)
                .is_some_and(|context| context.is_exceeded_by(task, guard)),
        }
    }
}

/// Two tasks as the policy looks at them: with the contexts that they are in, or were in until they were
/// reaped.
#[inline]
pub(crate) fn parties(one: &Task, other: &Task) -> (Party, Party) {
    // Most tasks are in no context. Where there is nothing to follow, RCU is not needed.
    if place::is_empty(one) && place::is_empty(other) {
        (Party::of(CONTEXT_ROOT), Party::of(CONTEXT_ROOT))
    } else {
        parties_of_members(one, other)
    }
}

#[cold]
fn parties_of_members(one: &Task, other: &Task) -> (Party, Party) {
    let guard = rcu::read_lock();
    let party = |task| {
        entry(task, &guard).map_or(Party::of(CONTEXT_ROOT), |entry| entry.party(task, &guard))
    };
    (party(one), party(other))
}

/// Whether two tasks are in the same context, both have entries, and the first may touch the second.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) fn is_near(one: &Task, other: &Task, guard: &rcu::Guard) -> bool {
    match (entry(one, guard), entry(other, guard)) {
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

/// The entry of a task.
#[inline]
fn entry<'a>(task: &Task, _guard: &'a rcu::Guard) -> Option<&'a Entry> {
    // SAFETY: Entries are freed a grace period after they were taken out.
    unsafe { place::find(task).as_ref() }
}

/// The caller's. Not to be kept over what replaces it.
fn own_entry<'a>() -> Option<&'a Entry> {
    let task: &Task = current!();
    if place::is_empty(task) {
        return None;
    }
    let _guard = rcu::read_lock();
    // SAFETY: Only the caller itself replaces it.
    unsafe { place::find(task).as_ref() }
}

/// Whether a task has just entered, or stays apart from the others of its context.
pub(crate) fn stands_apart(task: &Task, guard: &rcu::Guard) -> bool {
    entry(task, guard).is_some_and(|entry| entry.standing() != SETTLED)
}

/// The caller is about to execute a program, which can still fail. `ENOMEM`: it fails.
pub(crate) fn prepare_to_settle() -> Result {
    match own_entry() {
        Some(entry) if entry.standing() != SETTLED => own_set_of_namespaces(None),
        _ => Ok(()),
    }
}

/// The caller executes a program, with the credentials that it has by now.
pub(crate) fn settle() {
    let Some(entry) = own_entry().filter(|entry| entry.standing() != SETTLED) else {
        return;
    };
    let guard = rcu::read_lock();
    let apart = entry
        .context(&guard)
        .is_some_and(|context| context.may_be_exceeded_by(current!(), &guard));
    drop(guard);
    entry
        .standing
        .store(if apart { APART } else { SETTLED }, Release);
}

/// Process 1 of a task's context, or of the next one around it that has one.
pub(crate) fn init_of<'a>(task: &Task, guard: &'a rcu::Guard) -> Option<&'a Pid> {
    entry(task, guard)?.context(guard)?.init_pid()
}

/// Whether a task is in a context or in one inside of that.
pub(crate) fn is_within(task: &Task, context: &Context, guard: &rcu::Guard) -> bool {
    if place::is_empty(task) {
        return false;
    }
    let mut around = entry(task, guard).and_then(|entry| entry.context(guard));
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
    if place::is_empty(task) {
        return Ok(None);
    }
    let _guard = rcu::read_lock();
    let entry = place::find(task);
    if entry.is_null() {
        return Ok(None);
    }
    // SAFETY: As in `numbers_of_members`.
    let (raw, number) = unsafe { ((*entry).context.load(Acquire), (*entry).number) };
    if raw.is_null() {
        return if number == CONTEXT_ROOT {
            Ok(None)
        } else {
            Err(Reaped)
        };
    }
    // SAFETY: The reference that the entry owns or owned is copied, not taken; the context's
    // count cannot be zero, as its life ends a grace period after the last entry let go of it.
    let own = ManuallyDrop::new(unsafe { Arc::from_raw(raw.cast_const()) });
    Ok(Some(Arc::clone(&own)))
}

/// The context of the caller, `None` for context 0. Not for a task on its way out.
pub(crate) fn own_context() -> Option<Arc<Context>> {
    context(current!()).unwrap_or(None)
}

/// The network of a task, `None` when it is free and in context 0, or reaped.
pub(crate) fn network(task: &Task) -> Option<ARef<Network>> {
    if place::is_empty(task) {
        return None;
    }
    let _guard = rcu::read_lock();
    let entry = place::find(task);
    if entry.is_null() {
        return None;
    }
    // SAFETY: As in `numbers_of_members`.
    let raw = NonNull::new(unsafe { (*entry).network.load(Acquire) })?;
    // SAFETY: The memory of a network stays for a grace period after its last reference.
    unsafe { Network::try_get(raw) }
}

/// The network of the caller.
pub(crate) fn own_network() -> Option<ARef<Network>> {
    network(current!())
}

/// The same without a reference, null for none: only the caller itself changes it.
pub(crate) fn own_network_raw() -> *const Network {
    own_entry().map_or(ptr::null(), |entry| {
        entry.network.load(Acquire).cast_const()
    })
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
    // SAFETY: The caller's own network, which it does not change in `work`.
    work(unsafe { own_network_raw().as_ref() })
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
    // SAFETY: The caller's own network, for the time of the call.
    unsafe { own_network_raw().as_ref() }.is_some_and(|network| network.context() != CONTEXT_ROOT)
}

/// Whether the caller is in a context or confined to addresses.
pub(crate) fn has_network() -> bool {
    own_network().is_some_and(|network| network.context() != CONTEXT_ROOT || network.is_confined())
}

/// Who the caller is: a tag that no other context ever has. Zero: the host.
#[inline]
pub(crate) fn identity() -> u64 {
    of_own_context(Network::tag)
}

/// Whether the caller is the spectator.
pub(crate) fn is_spectator() -> bool {
    of_own_context(|network| u64::from(network.context() == crate::uapi::CONTEXT_SPECTATOR)) != 0
}

/// Zero: the caller is in none.
#[inline]
fn of_own_context(what: impl FnOnce(&Network) -> u64) -> u64 {
    if crate::linux::own_flags() & linux::PF_IN_CONTEXT == 0 {
        return 0;
    }
    // SAFETY: The caller's own network, for the time of the call.
    unsafe { own_network_raw().as_ref() }
        .filter(|network| network.context() != CONTEXT_ROOT)
        .map_or(0, what)
}

/// Gives the caller another network. `ENOMEM`: as it was.
pub(crate) fn set_own_network(network: Option<ARef<Network>>) -> Result {
    let task: &Task = current!();
    let guard = rcu::read_lock();
    let entry = place::find(task);
    drop(guard);
    if entry.is_null() {
        if network.is_some() {
            Prepared::new(None, network, SETTLED)?.install(task);
        }
        return Ok(());
    }
    let new = network.map_or(ptr::null_mut(), |network| ARef::into_raw(network).as_ptr());
    // SAFETY: The caller's entry stays: only the caller itself replaces it.
    let old = unsafe { (*entry).network.xchg(new, Full) };
    if let Some(old) = NonNull::new(old) {
        // SAFETY: From `ARef::into_raw`, and taken out of the entry by us.
        drop(unsafe { ARef::from_raw(old) });
    }
    Ok(())
}

/// Where the entries are.
mod place {
    use super::*;

    /// 2 to the power of this many chains: short ones for tens of thousands of tasks.
    const BITS: u32 = 14;

    pub(super) static CHAINS: [Atomic<*mut Entry>; 1 << BITS] =
        [const { Atomic::new(ptr::null_mut()) }; 1 << BITS];

    #[inline]
    fn chain(task: *mut bindings::task_struct) -> &'static Atomic<*mut Entry> {
        // Fibonacci hashing: the high bits of the product depend on all bits of the address.
        let hash = (task as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
        &CHAINS[hash as usize]
    }

    #[cfg(CONFIG_SECURITY_VSERVER)]
    fn blob<'a>(task: *mut bindings::task_struct) -> &'a Atomic<*mut Entry> {
        // SAFETY: The LSM gives every task a blob that holds one pointer for the module and
        // lives as long as the task; it is accessed atomically only.
        unsafe { Atomic::from_ptr(crate::bindings::vserver_task_blob(task).cast::<*mut Entry>()) }
    }

    /// As `rcu_dereference`. Inline, unlike the loads of `Atomic`: this is on the way of every
    /// signal.
    #[inline]
    fn load(link: &Atomic<*mut Entry>) -> *mut Entry {
        // SAFETY: Of the type of the value, which lives as long as `link`; only changed atomically.
        unsafe { link.as_ptr().read_volatile() }
    }

    /// Where the way to the task's entry begins.
    #[inline]
    fn begin<'a>(task: &Task) -> &'a Atomic<*mut Entry> {
        #[cfg(CONFIG_SECURITY_VSERVER)]
        return blob(task.as_ptr());
        #[cfg(not(CONFIG_SECURITY_VSERVER))]
        return chain(task.as_ptr());
    }

    /// Whether there is nothing where the task's entry would be.
    #[inline]
    pub(super) fn is_empty(task: &Task) -> bool {
        load(begin(task)).is_null()
    }

    /// Under the RCU read lock or [`LOCK`].
    #[inline]
    pub(super) fn find(task: &Task) -> *mut Entry {
        let mut entry = load(begin(task));
        while !entry.is_null() {
            // SAFETY: Reached through published links, and freed a grace period after having been
            // unlinked.
            let this = unsafe { &*entry };
            if this.task == task.as_ptr() {
                break;
            }
            entry = load(&this.next);
        }
        entry
    }

    /// With [`LOCK`] held: replaces (or adds, or removes) the entry of a task.
    pub(super) fn exchange(task: *mut bindings::task_struct, new: *mut Entry) -> *mut Entry {
        if !new.is_null() {
            // SAFETY: Not published yet: nobody else sees it.
            unsafe { (*new).task = task };
        }
        #[cfg(CONFIG_SECURITY_VSERVER)]
        blob(task).store(new, Release);
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
                    publish(link, new, rest);
                }
                return entry;
            }
            link = &this.next;
        }
        if !new.is_null() {
            let head = chain(task);
            publish(head, new, head.load(Acquire));
        }
        ptr::null_mut()
    }

    /// With [`LOCK`] held: takes out the first entry of a chain.
    pub(super) fn take_first(chain: &Atomic<*mut Entry>) -> *mut Entry {
        let entry = chain.load(Acquire);
        if entry.is_null() {
            return entry;
        }
        // SAFETY: Linked, and the writers' lock is held.
        exchange(unsafe { (*entry).task }, ptr::null_mut())
    }

    fn publish(link: &Atomic<*mut Entry>, new: *mut Entry, rest: *mut Entry) {
        // SAFETY: Readers cannot reach `new` by this chain yet; those who reach it by the task's
        // blob have found what they want and do not go on.
        unsafe { (*new).next.store(rest, Release) };
        link.store(new, Release);
    }
}

// SAFETY: Shared through RCU; the raw pointers inside are compared or followed under the rules
// above only.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}
