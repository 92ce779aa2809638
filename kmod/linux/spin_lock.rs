// SPDX-License-Identifier: GPL-2.0

//! Spinlocks of statics. Those of the kernel crate have to be initialised where they are pinned, which a static is not.
//!
//! C header: `include/linux/spinlock.h`.

use crate::bindings;
use core::ffi::CStr;
use kernel::{ffi::c_ulong, prelude::*, types::Opaque};

/// A spinlock.
///
/// # Invariants
///
/// `lock` is initialised: all zeroes, or by [`Self::init`] before the first use.
pub(crate) struct SpinLock {
    lock: Opaque<bindings::spinlock_t>,
    class: Opaque<bindings::lock_class_key>,
}

// SAFETY: Locks are there to be used by several threads.
unsafe impl Sync for SpinLock {}

impl SpinLock {
    pub(crate) const fn new() -> Self {
        Self {
            lock: Opaque::zeroed(),
            class: Opaque::zeroed(),
        }
    }

    /// Once, in module init, before any other use: the kernel's checks of locks (lockdep and
    /// CONFIG_DEBUG_SPINLOCK) want more than zeroes. `name` is the lock's name there.
    pub(crate) fn init(&'static self, name: &'static CStr) {
        // SAFETY: Both live as long as the module, and nothing has taken the lock yet.
        unsafe { bindings::__spin_lock_init(self.lock.get(), name.as_char_ptr(), self.class.get()) }
    }

    /// Not for a lock that is also taken in interrupts.
    #[inline]
    pub(crate) fn lock(&self) -> SpinLockGuard<'_> {
        // SAFETY: Initialised by the type's invariant; `drop` releases it.
        unsafe { bindings::spin_lock(self.lock.get()) };
        SpinLockGuard {
            lock: self,
            softirqs_off: false,
        }
    }

    /// Softirqs are off meanwhile.
    #[inline]
    pub(crate) fn lock_bh(&self) -> SpinLockGuard<'_> {
        // SAFETY: Initialised by the type's invariant; `drop` releases it.
        unsafe { bindings::vserver_inline_spin_lock_bh(self.lock.get()) };
        SpinLockGuard {
            lock: self,
            softirqs_off: true,
        }
    }

    /// Interrupts are off meanwhile.
    #[inline]
    pub(crate) fn lock_irqsave(&self) -> SpinLockIrqGuard<'_> {
        let mut flags = 0;
        // SAFETY: Initialised by the type's invariant; `drop` releases it.
        unsafe { bindings::vserver_inline_spin_lock_irqsave(self.lock.get(), &mut flags) };
        SpinLockIrqGuard { lock: self, flags }
    }
}

/// The lock is held.
pub(crate) struct SpinLockGuard<'a> {
    lock: &'a SpinLock,
    softirqs_off: bool,
}

impl Drop for SpinLockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        let lock = self.lock.lock.get();
        if self.softirqs_off {
            // SAFETY: Taken by `SpinLock::lock_bh`.
            unsafe { bindings::vserver_inline_spin_unlock_bh(lock) }
        } else {
            // SAFETY: Taken by `SpinLock::lock`.
            unsafe { bindings::spin_unlock(lock) }
        }
    }
}

/// The lock is held, with interrupts off.
pub(crate) struct SpinLockIrqGuard<'a> {
    lock: &'a SpinLock,
    flags: c_ulong,
}

impl Drop for SpinLockIrqGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Taken by `SpinLock::lock_irqsave`, which has returned the flags.
        unsafe { bindings::vserver_inline_spin_unlock_irqrestore(self.lock.lock.get(), self.flags) }
    }
}
