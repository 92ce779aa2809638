// SPDX-License-Identifier: GPL-2.0

//! Things with a number that live as long as something is charged to them, and may be looked at under RCU.
//!
//! # Lifetime
//!
//! A thing is made [`Fresh`]. With its number it gets its *life*: a reference that is nobody's. It lives until its last
//! [`TaskCharge`] goes, and cannot be charged again after that. It is then left to a work item, which takes its number away and
//! gives up the life a grace period of RCU later. So what is found under RCU, by number or through a charge, is there until the
//! guard goes, and a reference to it may be taken.
//!
//! What is charged to a thing is charged to all that are around it as well.
//!
//! C header: `include/linux/idr.h`.

use super::{module_get, module_put, Work};
use crate::bindings;
use core::{
    ffi::CStr,
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_void},
    prelude::*,
    sync::{
        atomic::{Acquire, Atomic, Full, Relaxed, Release},
        rcu, Arc,
    },
    types::Opaque,
};

/// The part of a thing that this is about.
///
/// # Invariants
///
/// `count` is the number of charges to the thing and to those in it, and stays zero once it is. `all` is null until the thing
/// has its number. From then on a reference to the thing, its life, is this one's, until a grace period after `count` is zero and
/// the number is taken away. `next` is of the stack of those that have ended, or for who has taken that.
pub(crate) struct Life<T> {
    count: Atomic<i64>,
    outer: Option<Arc<T>>,
    all: Atomic<*mut Lives<T>>,
    number: Atomic<i32>,
    next: Atomic<*mut T>,
}

// SAFETY: References to a `T`, used by any thread; the rest is atomic.
unsafe impl<T: Send + Sync> Send for Life<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Sync for Life<T> {}

/// What has a [`Life`].
///
/// # Safety
///
/// `life` is a field of `self`. By [`lived!`] alone.
pub(crate) unsafe trait HasLife: Send + Sync + Sized + 'static {
    fn life(&self) -> &Life<Self>;
}

/// Makes a field the life of its structure.
macro_rules! lived {
    ($type:ty, $field:ident) => {
        // SAFETY: The field of that name.
        unsafe impl $crate::linux::HasLife for $type {
            #[inline(always)]
            fn life(&self) -> &$crate::linux::Life<Self> {
                // Not `self.$field`, which may also be a field of what `self` dereferences to.
                let Self { $field, .. } = self;
                $field
            }
        }
    };
}
pub(crate) use lived;

/// What lives as this file says.
pub(crate) trait Lived: HasLife {
    /// Its last charge has gone. In atomic context, once.
    fn over(&self);
}

/// It has ended, or has not begun.
pub(crate) struct Over;

impl<T: Lived> Life<T> {
    /// Of a thing inside of another.
    pub(crate) fn new(outer: Option<Arc<T>>) -> Self {
        // INVARIANT: The one charge is that of `Fresh`.
        Self {
            count: Atomic::new(1),
            outer,
            all: Atomic::new(ptr::null_mut()),
            number: Atomic::new(-1),
            next: Atomic::new(ptr::null_mut()),
        }
    }

    /// What is charged to it.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed).max(0) as u64
    }

    /// The one around it.
    pub(crate) fn outer(&self) -> Option<&T> {
        self.outer.as_deref()
    }

    /// Charges it alone.
    fn charge<E: From<Over>>(&self, may: impl Fn(u64) -> Result<(), E>) -> Result<(), E> {
        if self.all.load(Acquire).is_null() {
            return Err(Over.into());
        }
        let mut old = self.count.load(Relaxed);
        loop {
            if old <= 0 {
                return Err(Over.into());
            }
            may(old as u64)?;
            match self.count.cmpxchg(old, old + 1, Full) {
                Ok(_) => return Ok(()),
                Err(now) => old = now,
            }
        }
    }
}

/// Charges a thing and all around it, or none.
fn charge<T: Lived, E: From<Over>>(
    first: Option<&T>,
    may: impl Fn(&T, u64) -> Result<(), E>,
) -> Result<(), E> {
    let mut next = first;
    while let Some(one) = next {
        if let Err(why) = one.life().charge(|count| may(one, count)) {
            if let Some(first) = first {
                // SAFETY: Those before `one` have been charged above.
                unsafe { uncharge(NonNull::from(first), Some(NonNull::from(one))) };
            }
            return Err(why);
        }
        next = one.life().outer();
    }
    Ok(())
}

/// Takes a charge from a thing and those around it, but not from `end` on.
///
/// # Safety
///
/// The charges are the caller's.
unsafe fn uncharge<T: Lived>(first: NonNull<T>, end: Option<NonNull<T>>) {
    let mut next = Some(first);
    while let Some(one) = next.filter(|one| Some(*one) != end) {
        // SAFETY: Charged, so that it lives; or fresh, so that the caller has it.
        let this = unsafe { one.as_ref() };
        // Read first: when the count comes to zero, it may go at once. The one around it cannot, because it is still charged for
        // the very same task.
        next = this.life().outer().map(NonNull::from);
        let all = this.life().all.load(Acquire);
        if this.life().count.fetch_sub(1, Full) != 1 {
            continue;
        }
        // SAFETY: By the type's invariant; null for what is fresh, which is still the caller's.
        if let Some(all) = unsafe { all.as_ref() } {
            this.over();
            all.push(one);
        }
    }
}

/// A thing without a number, that only its maker has, with the charge of his.
///
/// # Invariants
///
/// `all` of the life is null, and no other reference is there. All around it are charged.
pub(crate) struct Fresh<T: Lived>(Arc<T>);

impl<T: Lived> Fresh<T> {
    /// Makes one. `ENOENT`: one around it has ended.
    pub(crate) fn new(init: impl PinInit<T, Error>) -> Result<Self> {
        let thing = Arc::pin_init(init, GFP_KERNEL)?;
        // INVARIANT: Charged; nobody has got the reference.
        charge(thing.life().outer(), |_, _| Ok::<_, Over>(()))?;
        Ok(Self(thing))
    }

    /// The reference without what comes with it.
    fn into_inner(self) -> Arc<T> {
        let this = ManuallyDrop::new(self);
        // SAFETY: Not dropped, and not used any more.
        unsafe { ptr::read(&this.0) }
    }
}

impl From<Over> for Error {
    fn from(_: Over) -> Self {
        ENOENT
    }
}

impl<T: Lived> Deref for Fresh<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Lived> Drop for Fresh<T> {
    fn drop(&mut self) {
        // SAFETY: Charged, by the type's invariant.
        unsafe { uncharge(NonNull::from(&*self.0), None) };
    }
}

/// Something that lives, with a charge to it and to all around it: for a task that is in it. Dropped: taken back, in any
/// context.
///
/// # Invariants
///
/// The charge is this one's, and it has a number or had one.
pub(crate) struct TaskCharge<T: Lived>(ManuallyDrop<Arc<T>>);

impl<T: Lived> TaskCharge<T> {
    /// Charges it for one task more, if `may` says so of it and of all around it, which is told what is charged to each.
    pub(crate) fn new<E: From<Over>>(
        thing: Arc<T>,
        may: impl Fn(&T, u64) -> Result<(), E>,
    ) -> Result<Self, E> {
        charge(Some(&*thing), may)?;
        // INVARIANT: Just charged, which only takes what has a number.
        Ok(Self(ManuallyDrop::new(thing)))
    }

    /// What it is charged to.
    pub(crate) fn thing(&self) -> &Arc<T> {
        &self.0
    }

    pub(super) fn into_raw(self) -> *const T {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: Not dropped, and not used any more.
        Arc::into_raw(unsafe { ManuallyDrop::take(&mut this.0) })
    }

    /// # Safety
    ///
    /// From [`Self::into_raw`], once.
    pub(super) unsafe fn from_raw(raw: *const T) -> Self {
        // INVARIANT: As it was.
        // SAFETY: By contract.
        Self(ManuallyDrop::new(unsafe { Arc::from_raw(raw) }))
    }
}

impl<T: Lived> Drop for TaskCharge<T> {
    fn drop(&mut self) {
        let thing = NonNull::from(&**self.0);
        // The charge still keeps it alive, so this is never the last reference, whose dropping would sleep.
        // SAFETY: Not used any more.
        unsafe { ManuallyDrop::drop(&mut self.0) };
        // SAFETY: Charged, by the type's invariant.
        unsafe { uncharge(thing, None) };
    }
}

/// One more reference to what is found under RCU, as the file says.
///
/// # Safety
///
/// `thing` is from `Arc::into_raw`, and its life is not given up before this returns.
pub(super) unsafe fn share<T>(thing: NonNull<T>) -> Arc<T> {
    // SAFETY: By contract; the reference is not this one's, and so is not given up.
    let own = ManuallyDrop::new(unsafe { Arc::from_raw(thing.as_ptr()) });
    Arc::clone(&own)
}

/// Numbers in use and what has them, a reference each. Changed under a mutex of its own.
///
/// # Invariants
///
/// All is initialised by [`Self::init`] before the first use. Entries are from `Arc::into_raw`, and have their life. What is on
/// the stack `ended` is there once, and has its life, too.
pub(crate) struct Lives<T> {
    numbers: Opaque<bindings::idr>,
    lock: Opaque<bindings::mutex>,
    class: Opaque<bindings::lock_class_key>,
    ended: Atomic<*mut T>,
    /// What is to be done for those.
    work: Work,
    entries: PhantomData<Arc<T>>,
}

// SAFETY: Changed under the mutex, read under it or under RCU.
unsafe impl<T: Send + Sync> Sync for Lives<T> {}

impl<T: Lived> Lives<T> {
    pub(crate) const fn new() -> Self {
        Self {
            numbers: Opaque::uninit(),
            lock: Opaque::uninit(),
            class: Opaque::zeroed(),
            ended: Atomic::new(ptr::null_mut()),
            work: Work::new(),
            entries: PhantomData,
        }
    }

    /// Once, in module init, before any other use. `name` is the lock's for lockdep. `reap` is called in process context when
    /// something has ended, and is to call [`Self::reap`].
    pub(crate) fn init(&'static self, name: &'static CStr, reap: fn()) {
        // SAFETY: It lives as long as the module, and nobody uses it yet.
        unsafe { bindings::vserver_inline_idr_init(self.numbers.get()) };
        // SAFETY: As above.
        unsafe { bindings::__mutex_init(self.lock.get(), name.as_char_ptr(), self.class.get()) };
        self.work.init(reap);
    }

    /// At module exit, when all have ended: waits until nothing is left of them.
    pub(crate) fn exit(&'static self) {
        self.work.flush();
        rcu::rcu_barrier();
        // SAFETY: Initialised by the type's invariant; frees what is cached beside entries.
        unsafe { bindings::idr_destroy(self.numbers.get()) }
    }

    /// Sleeps.
    pub(crate) fn lock(&'static self) -> LockedLives<T> {
        // SAFETY: Initialised by the type's invariant; `drop` releases it.
        unsafe { bindings::mutex_lock(self.lock.get()) };
        LockedLives(self)
    }

    /// What has the lowest number that is at least `number`.
    pub(crate) fn at_or_after<'a>(&self, number: i32, _guard: &'a rcu::Guard) -> Option<&'a T> {
        let entry = self.raw_at_or_after(number);
        // SAFETY: An IDR can be read under RCU. By the type's invariant what is found is there until the guard goes.
        unsafe { entry.as_ref() }
    }

    /// Null: none. The caller holds the lock or RCU.
    fn raw_at_or_after(&self, number: i32) -> *const T {
        let mut number = number;
        // SAFETY: Initialised by the type's invariant.
        let entry = unsafe { bindings::idr_get_next(self.numbers.get(), &raw mut number) };
        entry.cast_const().cast()
    }

    /// Leaves one that has ended to the work item. In atomic context, once for each.
    fn push(&'static self, thing: NonNull<T>) {
        // SAFETY: It has its life until it has been on the stack.
        let next = unsafe { &thing.as_ref().life().next };
        let mut head = self.ended.load(Relaxed);
        loop {
            next.store(head, Relaxed);
            match self.ended.cmpxchg(head, thing.as_ptr(), Full) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        self.work.queue();
    }

    /// In process context: does `each` for those that have ended, when their numbers are free, and gives up their lives.
    pub(crate) fn reap(&'static self, each: impl Fn(&T)) {
        let first = self.ended.xchg(ptr::null_mut(), Full);
        let mut next = first;
        // SAFETY: From the stack, so it has its life, which goes below only.
        while let Some(thing) = unsafe { next.as_ref() } {
            self.lock().remove_ended(thing);
            each(thing);
            next = thing.life().next.load(Relaxed);
        }
        if first.is_null() {
            return;
        }
        // Whoever found one of them under RCU has taken a reference by then, or none at all.
        rcu::synchronize_rcu();
        next = first;
        while !next.is_null() {
            // SAFETY: Its life, as it was on the stack, where each is once. Neither by its number nor through a charge has
            // anybody found it since the grace period began.
            let thing = unsafe { Arc::from_raw(next.cast_const()) };
            next = thing.life().next.load(Relaxed);
            drop(thing);
            module_put();
        }
    }
}

/// The numbers, locked.
pub(crate) struct LockedLives<T: 'static>(&'static Lives<T>);

impl<T> Drop for LockedLives<T> {
    fn drop(&mut self) {
        // SAFETY: Taken by `Lives::lock`.
        unsafe { bindings::mutex_unlock(self.0.lock.get()) };
    }
}

/// Why something has no number, and what has none.
type NoNumber<T> = (Error, Fresh<T>);

impl<T: Lived> LockedLives<T> {
    /// Gives something the next free number of a range, behind the one that was given last. `ENOSPC`: none is; `ENOMEM`.
    /// `begin` is told of the number before anything is charged to it.
    pub(crate) fn next_free(
        &mut self,
        fresh: Fresh<T>,
        first: i32,
        last: i32,
        begin: impl FnOnce(&T, i32),
    ) -> Result<TaskCharge<T>, NoNumber<T>> {
        let raw = Arc::into_raw(fresh.0.clone());
        let entry: *mut c_void = raw.cast_mut().cast();
        let numbers = self.0.numbers.get();
        let number: c_int = if first == last {
            // SAFETY: Initialised by the type's invariant, and locked. The entry is only stored.
            unsafe { bindings::idr_alloc(numbers, entry, first, last + 1, bindings::GFP_KERNEL) }
        } else {
            // SAFETY: As above.
            unsafe {
                bindings::idr_alloc_cyclic(numbers, entry, first, last + 1, bindings::GFP_KERNEL)
            }
        };
        if let Err(error) = to_result(number.min(0)) {
            // SAFETY: From `into_raw`, and not stored.
            drop(unsafe { Arc::from_raw(raw) });
            return Err((error, fresh));
        }
        begin(&fresh, number);
        let thing = fresh.into_inner();
        // INVARIANT: The life is the reference that is leaked here. With it is one to the module.
        let _ = Arc::into_raw(thing.clone());
        module_get();
        thing.life().number.store(number, Relaxed);
        thing
            .life()
            .all
            .store(ptr::from_ref(self.0).cast_mut(), Release);
        // INVARIANT: The charge of what was fresh.
        Ok(TaskCharge(ManuallyDrop::new(thing)))
    }

    fn raw(&self, number: i32) -> *const T {
        let number = number as usize;
        // SAFETY: Initialised by the type's invariant, and locked.
        let entry = unsafe { bindings::idr_find(self.0.numbers.get(), number) };
        entry.cast_const().cast()
    }

    /// What has a number.
    pub(crate) fn find(&self, number: i32) -> Option<Arc<T>> {
        // SAFETY: Stays as long as the lock is held, and so does its life.
        NonNull::new(self.raw(number).cast_mut()).map(|thing| unsafe { share(thing) })
    }

    /// What has the lowest number that is at least `number`.
    pub(crate) fn at_or_after(&self, number: i32) -> Option<Arc<T>> {
        let found = NonNull::new(self.0.raw_at_or_after(number).cast_mut());
        // SAFETY: As above.
        found.map(|thing| unsafe { share(thing) })
    }

    /// Frees a number, if it is in use.
    pub(crate) fn remove(&mut self, number: i32) {
        let entry = self.raw(number);
        if entry.is_null() {
            return;
        }
        // SAFETY: Initialised by the type's invariant, and locked.
        unsafe { bindings::idr_remove(self.0.numbers.get(), number as usize) };
        // SAFETY: From `into_raw`, by the type's invariant, and nobody finds it there any more. Not the last one: it has its life.
        drop(unsafe { Arc::from_raw(entry) });
    }

    /// Frees the number of one that has ended, unless another one has it by now.
    fn remove_ended(&mut self, thing: &T) {
        let number = thing.life().number.load(Relaxed);
        if ptr::eq(self.raw(number), thing) {
            self.remove(number);
        }
    }
}
