// SPDX-License-Identifier: GPL-2.0

//! The root and working directories of tasks.
//!
//! C header: `include/linux/fs_struct.h`.

use super::{current_raw, Path};
use crate::bindings;
use core::marker::PhantomData;
use kernel::{sync::rcu, task::Task};

/// The directories of a task, as they were at one moment.
///
/// # Invariants
///
/// Both paths were those of a live `fs_struct` while the guard's read lock was held. Entries and mounts are freed a grace
/// period after the last reference to them is gone, so both are valid as long as the guard.
pub(crate) struct Directories<'a> {
    root: bindings::path,
    working: bindings::path,
    _guard: PhantomData<&'a rcu::Guard>,
}

impl<'a> Directories<'a> {
    /// # Safety
    ///
    /// `raw` is valid during the call.
    unsafe fn read(raw: *mut bindings::fs_struct, _guard: &'a rcu::Guard) -> Self {
        loop {
            // SAFETY: By contract. A lock for writers, who make readers try again.
            let begun = unsafe { bindings::vserver_inline_read_seqbegin(&raw const (*raw).seq) };
            // INVARIANT: Read under the guard, and both of one moment if no writer came between.
            let read = Self {
                // SAFETY: By contract; two pointers, which are not followed unless no writer came between.
                root: unsafe { (&raw const (*raw).root).read_volatile() },
                // SAFETY: As above.
                working: unsafe { (&raw const (*raw).pwd).read_volatile() },
                _guard: PhantomData,
            };
            // SAFETY: As above.
            if !unsafe { bindings::vserver_inline_read_seqretry(&raw const (*raw).seq, begun) } {
                return read;
            }
        }
    }

    /// Those of a task, which has its lock held (`task_lock()`), as in a check of access. `None`: it has none any more, or
    /// shares the caller's.
    pub(crate) fn of_locked(task: &Task, guard: &'a rcu::Guard) -> Option<Self> {
        // SAFETY: A valid task, and its lock is held, which `exit_fs()` and unshare(2) take to change this.
        let raw = unsafe { (*task.as_ptr()).fs };
        // SAFETY: The caller's own, which only itself changes.
        let own = unsafe { (*current_raw()).fs };
        // SAFETY: As above: the lock keeps it.
        (!raw.is_null() && raw != own).then(|| unsafe { Self::read(raw.cast(), guard) })
    }

    /// The caller's.
    pub(crate) fn own(guard: &'a rcu::Guard) -> Self {
        // SAFETY: A task that makes system calls has directories, which only itself replaces.
        unsafe { Self::read((*current_raw()).fs.cast(), guard) }
    }

    /// Those of the machine's init when it began.
    pub(crate) fn of_machine(guard: &'a rcu::Guard) -> Self {
        // SAFETY: The kernel never frees it.
        unsafe { Self::read(bindings::userspace_init_fs.cast(), guard) }
    }

    pub(crate) fn root(&self) -> &Path {
        // SAFETY: By the type's invariant.
        unsafe { Path::from_ptr(&self.root) }
    }

    pub(crate) fn working(&self) -> &Path {
        // SAFETY: By the type's invariant.
        unsafe { Path::from_ptr(&self.working) }
    }
}
