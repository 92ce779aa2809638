// SPDX-License-Identifier: GPL-2.0

//! Things by number.
//!
//! C header: `include/linux/idr.h`.

use crate::bindings;
use core::{ffi::CStr, marker::PhantomData, mem::ManuallyDrop};
use kernel::{
    error::to_result,
    ffi::{c_int, c_void},
    prelude::*,
    sync::{rcu, Arc},
    types::Opaque,
};

/// What can be found by number without the lock of an [`Idr`].
///
/// # Safety
///
/// Somebody beside the [`Idr`] has a reference, and drops it at least a grace period of RCU after the number was removed.
pub(crate) unsafe trait KeptForReaders {}

/// Numbers in use and what has them, a reference each. Changed under a mutex of its own.
///
/// # Invariants
///
/// All is initialised by [`Self::init`] before the first use. Entries are from `Arc::into_raw`.
pub(crate) struct Idr<T> {
    numbers: Opaque<bindings::idr>,
    lock: Opaque<bindings::mutex>,
    class: Opaque<bindings::lock_class_key>,
    entries: PhantomData<Arc<T>>,
}

// SAFETY: Changed under the mutex, read under it or under RCU.
unsafe impl<T: Send + Sync> Sync for Idr<T> {}

impl<T: KeptForReaders> Idr<T> {
    pub(crate) const fn new() -> Self {
        Self {
            numbers: Opaque::uninit(),
            lock: Opaque::uninit(),
            class: Opaque::zeroed(),
            entries: PhantomData,
        }
    }

    /// Once, in module init, before any other use. `name` is the lock's for lockdep.
    pub(crate) fn init(&'static self, name: &'static CStr) {
        // SAFETY: It lives as long as the module, and nobody uses it yet.
        unsafe { bindings::vserver_inline_idr_init(self.numbers.get()) };
        // SAFETY: As above.
        unsafe { bindings::__mutex_init(self.lock.get(), name.as_char_ptr(), self.class.get()) };
    }

    /// At module exit, when no number is in use.
    pub(crate) fn destroy(&self) {
        // SAFETY: Initialised by the type's invariant; frees what is cached beside entries.
        unsafe { bindings::idr_destroy(self.numbers.get()) }
    }

    /// Sleeps.
    pub(crate) fn lock(&self) -> LockedIdr<'_, T> {
        // SAFETY: Initialised by the type's invariant; `drop` releases it.
        unsafe { bindings::mutex_lock(self.lock.get()) };
        LockedIdr(self)
    }

    /// What has the lowest number that is at least `number`.
    pub(crate) fn at_or_after<'a>(&self, number: i32, _guard: &'a rcu::Guard) -> Option<&'a T> {
        let entry = self.raw_at_or_after(number);
        // SAFETY: An IDR can be read under RCU. By the contract of `KeptForReaders` what is found lives until the guard goes.
        unsafe { entry.as_ref() }
    }

    /// Null: none. The caller holds the lock or RCU.
    fn raw_at_or_after(&self, number: i32) -> *const T {
        let mut number = number;
        // SAFETY: Initialised by the type's invariant.
        let entry = unsafe { bindings::idr_get_next(self.numbers.get(), &raw mut number) };
        entry.cast_const().cast()
    }
}

/// The numbers, locked.
pub(crate) struct LockedIdr<'a, T>(&'a Idr<T>);

impl<T> Drop for LockedIdr<'_, T> {
    fn drop(&mut self) {
        // SAFETY: Taken by `Idr::lock`.
        unsafe { bindings::mutex_unlock(self.0.lock.get()) };
    }
}

impl<T: KeptForReaders> LockedIdr<'_, T> {
    /// Gives something the number. `ENOSPC`: it is in use; `ENOMEM`.
    pub(crate) fn take(&mut self, item: &Arc<T>, number: i32) -> Result {
        self.add(item, |numbers, entry| {
            // SAFETY: Initialised by the type's invariant, and locked. The entry is only stored.
            unsafe { bindings::idr_alloc(numbers, entry, number, number + 1, bindings::GFP_KERNEL) }
        })
        .map(drop)
    }

    /// Gives something the next free number of a range, behind the one that was given last. `ENOSPC`: none is; `ENOMEM`.
    pub(crate) fn next_free(&mut self, item: &Arc<T>, first: i32, last: i32) -> Result<i32> {
        self.add(item, |numbers, entry| {
            // SAFETY: Initialised by the type's invariant, and locked. The entry is only stored.
            unsafe {
                bindings::idr_alloc_cyclic(numbers, entry, first, last + 1, bindings::GFP_KERNEL)
            }
        })
    }

    fn add(
        &mut self,
        item: &Arc<T>,
        store: impl FnOnce(*mut bindings::idr, *mut c_void) -> c_int,
    ) -> Result<i32> {
        let raw = Arc::into_raw(item.clone());
        let number = store(self.0.numbers.get(), raw.cast_mut().cast());
        if number < 0 {
            // SAFETY: From `into_raw`, and not stored.
            drop(unsafe { Arc::from_raw(raw) });
            to_result(number)?;
        }
        Ok(number)
    }

    fn raw(&self, number: i32) -> *const T {
        let number = number as usize;
        // SAFETY: Initialised by the type's invariant, and locked.
        let entry = unsafe { bindings::idr_find(self.0.numbers.get(), number) };
        entry.cast_const().cast()
    }

    /// What has a number.
    pub(crate) fn find(&self, number: i32) -> Option<Arc<T>> {
        shared(self.raw(number))
    }

    /// What has the lowest number that is at least `number`.
    pub(crate) fn at_or_after(&self, number: i32) -> Option<Arc<T>> {
        shared(self.0.raw_at_or_after(number))
    }

    /// Frees a number, if it is in use.
    pub(crate) fn remove(&mut self, number: i32) {
        let entry = self.raw(number);
        if entry.is_null() {
            return;
        }
        // SAFETY: Initialised by the type's invariant, and locked.
        unsafe { bindings::idr_remove(self.0.numbers.get(), number as usize) };
        // SAFETY: From `into_raw`, by the type's invariant, and nobody finds it there any more.
        drop(unsafe { Arc::from_raw(entry) });
    }
}

/// One more reference to an entry of a locked IDR.
fn shared<T>(entry: *const T) -> Option<Arc<T>> {
    if entry.is_null() {
        return None;
    }
    // SAFETY: From `into_raw`, by the type's invariant, and it stays as long as the lock is held. The IDR keeps its reference.
    let own = ManuallyDrop::new(unsafe { Arc::from_raw(entry) });
    Some(Arc::clone(&own))
}
