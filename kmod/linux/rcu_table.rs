// SPDX-License-Identifier: GPL-2.0

//! Tables of small things, each found by `N` numbers: read under RCU, changed under a lock of the table's own.
//!
//! The kernel crate has no hash table, and nothing that is read under RCU.

use super::{SpinLock, SpinLockGuard};
use crate::bindings;
use core::{
    ffi::CStr,
    mem::MaybeUninit,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{Atomic, Release},
        rcu,
    },
};

/// By what it is found.
pub(crate) trait Keyed<const N: usize> {
    fn keys(&self) -> [u64; N];
}

/// # Invariants
///
/// `next` and `previous` are of the chains of one table, or the node is in none. `previous` is used under the lock only.
#[repr(C)]
struct Node<T, const N: usize> {
    /// First, so that the memory begins with it.
    rcu: bindings::kvfree_rcu_head,
    next: [Atomic<*mut Node<T, N>>; N],
    previous: [*const Atomic<*mut Node<T, N>>; N],
    value: T,
}

/// Room for one.
pub(crate) struct Room<T, const N: usize>(KBox<MaybeUninit<Node<T, N>>>);

impl<T, const N: usize> Room<T, N> {
    pub(crate) fn new(flags: Flags) -> Result<Self> {
        Ok(Self(KBox::new_uninit(flags)?))
    }
}

/// The table; `SIZE` chains for each of the numbers, a power of two.
pub(crate) struct RcuTable<T, const N: usize, const SIZE: usize> {
    chains: [[Atomic<*mut Node<T, N>>; SIZE]; N],
    lock: SpinLock,
}

// SAFETY: Values are seen by reference only, and freed a grace period after nobody finds them any more.
unsafe impl<T: Send + Sync, const N: usize, const SIZE: usize> Sync for RcuTable<T, N, SIZE> {}

/// As `rcu_dereference`, inline.
#[inline(always)]
fn load<T>(link: &Atomic<*mut T>) -> *mut T {
    // SAFETY: Of the type of the value, which lives as long as `link`; only changed atomically.
    unsafe { link.as_ptr().read_volatile() }
}

impl<T: Keyed<N>, const N: usize, const SIZE: usize> RcuTable<T, N, SIZE> {
    pub(crate) const fn new() -> Self {
        assert!(SIZE.is_power_of_two() && SIZE > 1);
        Self {
            chains: [const { [const { Atomic::new(ptr::null_mut()) }; SIZE] }; N],
            lock: SpinLock::new(),
        }
    }

    /// As [`SpinLock::init`].
    pub(crate) fn init(&'static self, name: &'static CStr) {
        self.lock.init(name);
    }

    #[inline(always)]
    fn chain(&self, which: usize, key: u64) -> &Atomic<*mut Node<T, N>> {
        // Fibonacci hashing: the high bits of the product depend on all bits of the key.
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SIZE.ilog2());
        &self.chains[which][hash as usize]
    }

    /// The first that has this number in this place and is so.
    #[inline]
    pub(crate) fn find<'a>(
        &'a self,
        _guard: &'a rcu::Guard,
        which: usize,
        key: u64,
        is_so: impl Fn(&T) -> bool,
    ) -> Option<&'a T> {
        let mut node = load(self.chain(which, key));
        // SAFETY: Nodes that are found are freed a grace period after they were taken out.
        while let Some(one) = unsafe { node.as_ref() } {
            if one.value.keys()[which] == key && is_so(&one.value) {
                return Some(&one.value);
            }
            node = load(&one.next[which]);
        }
        None
    }

    /// Not in interrupts.
    pub(crate) fn lock(&self) -> Locked<'_, T, N, SIZE> {
        Locked {
            table: self,
            _guard: self.lock.lock(),
        }
    }

    /// With softirqs off, for a table that is changed there, too.
    pub(crate) fn lock_bh(&self) -> Locked<'_, T, N, SIZE> {
        Locked {
            table: self,
            _guard: self.lock.lock_bh(),
        }
    }
}

/// The table, locked.
pub(crate) struct Locked<'a, T, const N: usize, const SIZE: usize> {
    table: &'a RcuTable<T, N, SIZE>,
    _guard: SpinLockGuard<'a>,
}

impl<T: Keyed<N>, const N: usize, const SIZE: usize> Locked<'_, T, N, SIZE> {
    pub(crate) fn add(&mut self, room: Room<T, N>, value: T) {
        // Its memory is given back without more.
        const { assert!(!core::mem::needs_drop::<T>()) };
        let keys = value.keys();
        let node = KBox::into_raw(room.0.write(Node {
            rcu: bindings::kvfree_rcu_head::default(),
            next: [const { Atomic::new(ptr::null_mut()) }; N],
            previous: [ptr::null(); N],
            value,
        }));
        for (which, key) in keys.into_iter().enumerate() {
            let head = self.table.chain(which, key);
            let first = load(head);
            // SAFETY: Not published in this chain yet; the lock is held.
            unsafe {
                (*node).next[which].store(first, Release);
                (*node).previous[which] = head;
                if let Some(first) = NonNull::new(first) {
                    (*first.as_ptr()).previous[which] = &raw const (*node).next[which];
                }
            }
            head.store(node, Release);
        }
    }

    /// Takes out all that have this number in this place.
    pub(crate) fn remove(&mut self, which: usize, key: u64) {
        self.remove_if(which, key, |_| true);
    }

    /// The same of those that are so.
    pub(crate) fn remove_if(&mut self, which: usize, key: u64, is_so: impl Fn(&T) -> bool) {
        let mut node = load(self.table.chain(which, key));
        while !node.is_null() {
            // SAFETY: Linked, and the lock is held.
            let (next, is_it) = unsafe {
                (
                    load(&(*node).next[which]),
                    (*node).value.keys()[which] == key && is_so(&(*node).value),
                )
            };
            if is_it {
                self.take_out(node);
            }
            node = next;
        }
    }

    /// Takes out one that has this number in this place.
    pub(crate) fn pop(&mut self, which: usize, key: u64) -> Option<T>
    where
        T: Copy,
    {
        self.pop_if(which, key, |_| true)
    }

    /// The same of one that is so.
    pub(crate) fn pop_if(&mut self, which: usize, key: u64, is_so: impl Fn(&T) -> bool) -> Option<T>
    where
        T: Copy,
    {
        let mut node = load(self.table.chain(which, key));
        while !node.is_null() {
            // SAFETY: Linked, and the lock is held.
            let (next, value) = unsafe { (load(&(*node).next[which]), (*node).value) };
            if value.keys()[which] == key && is_so(&value) {
                self.take_out(node);
                return Some(value);
            }
            node = next;
        }
        None
    }

    /// Takes out all.
    pub(crate) fn clear(&mut self) {
        for head in &self.table.chains[0] {
            while let Some(node) = NonNull::new(load(head)) {
                self.take_out(node.as_ptr());
            }
        }
    }

    /// `node` is linked.
    fn take_out(&mut self, node: *mut Node<T, N>) {
        for which in 0..N {
            // SAFETY: Linked, so that what is before and after it is, too; the lock is held. Readers go on by its own links,
            // which stay.
            unsafe {
                let next = load(&(*node).next[which]);
                let previous = (*node).previous[which];
                (*previous).store(next, Release);
                if let Some(next) = NonNull::new(next) {
                    (*next.as_ptr()).previous[which] = previous;
                }
            }
        }
        // SAFETY: From `KBox::into_raw`, begins with its head, has nothing to drop, and is found by no new reader.
        unsafe { bindings::kvfree_call_rcu((&raw mut (*node).rcu).cast(), node.cast()) };
    }
}
