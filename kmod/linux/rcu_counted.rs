// SPDX-License-Identifier: GPL-2.0

//! What is counted, and may be looked at under RCU for a grace period after its last reference has gone.

use super::inc_not_zero;
use crate::bindings;
use core::{mem::offset_of, ops::Deref, ptr::NonNull};
use kernel::{
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        Refcount,
    },
    types::Opaque,
};

/// What is counted.
pub(crate) trait Counted: Send + Sync + 'static {
    /// The last reference is gone. In any context, once.
    fn over(&self);
}

/// A counted thing. Module exit waits for the end of those that have no reference any more (`rcu_barrier`).
///
/// # Invariants
///
/// From `KBox::leak`. `references` is the number of references; it stays zero once it is, and then `rcu` is used, once.
#[repr(C)]
pub(crate) struct RcuCounted<T> {
    rcu: Opaque<bindings::callback_head>,
    references: Refcount,
    value: T,
}

// SAFETY: The head is used by the last reference alone.
unsafe impl<T: Counted> Send for RcuCounted<T> {}
// SAFETY: As above.
unsafe impl<T: Counted> Sync for RcuCounted<T> {}

// SAFETY: The count is the number of references; the memory stays while it is not zero.
unsafe impl<T: Counted> AlwaysRefCounted for RcuCounted<T> {
    fn inc_ref(&self) {
        self.references.inc();
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: The caller owns a reference, so the object is alive.
        let this = unsafe { object.as_ref() };
        if !this.references.dec_and_test() {
            return;
        }
        let head = this.rcu.get();
        this.value.over();
        // SAFETY: The last reference is gone, so nobody queues it a second time; by the type's invariant it is what `free` wants.
        unsafe { bindings::call_rcu(head, Some(free::<T>)) }
    }
}

/// # Safety
///
/// For `call_rcu`, with the head of an object that has no reference any more.
unsafe extern "C" fn free<T: Counted>(head: *mut bindings::callback_head) {
    let object = head.wrapping_byte_sub(offset_of!(RcuCounted<T>, rcu));
    // SAFETY: By contract, and from `KBox::leak`; a grace period has passed since its last reference went.
    drop(unsafe { KBox::from_raw(object.cast::<RcuCounted<T>>()) });
}

impl<T: Counted> RcuCounted<T> {
    /// One with a reference, once `begin` has succeeded.
    pub(crate) fn new(value: T, begin: impl FnOnce(&T) -> Result) -> Result<ARef<Self>> {
        let object = KBox::new(
            Self {
                rcu: Opaque::uninit(),
                references: Refcount::new(1),
                value,
            },
            GFP_KERNEL,
        )?;
        begin(&object.value)?;
        let raw = NonNull::from(KBox::leak(object));
        // SAFETY: The one reference that it was made with.
        Ok(unsafe { ARef::from_raw(raw) })
    }

    /// A new reference to what is found under RCU; `None` when it is on its way out.
    pub(super) fn try_get(&self) -> Option<ARef<Self>> {
        // SAFETY: The reference is the one that has just been counted.
        inc_not_zero(&self.references).then(|| unsafe { ARef::from_raw(NonNull::from(self)) })
    }

    pub(super) fn value(&self) -> &T {
        &self.value
    }
}

impl<T> Deref for RcuCounted<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}
