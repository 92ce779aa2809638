// SPDX-License-Identifier: GPL-2.0

//! What the caller shares with other tasks, or lets others act through: memory, a table of descriptors, directories, and
//! instances of io_uring. Those act with credentials that were registered before, or as the process that a thread of theirs
//! belongs to, and hold files that no list shows.

use super::current_raw;
use crate::bindings;

#[cfg(CONFIG_IO_URING)]
mod ring {
    use super::*;

    fn is_ring(file: *mut bindings::file) -> bool {
        // SAFETY: The callers hold the file.
        unsafe { bindings::vserver_call_io_is_uring_fops(file) }
    }

    fn has_descriptor() -> bool {
        let mut number = 0;
        loop {
            // SAFETY: The caller exists; `number` is the first one to look at, and becomes that of the file.
            let file = unsafe { bindings::fget_task_next(current_raw(), &mut number) };
            if file.is_null() {
                return false;
            }
            let found = is_ring(file);
            // SAFETY: The call above has taken a reference.
            unsafe { bindings::fput(file) };
            if found {
                return true;
            }
            number += 1;
        }
    }

    /// A ring that is mapped needs no descriptor as long as a thread of the kernel looks there.
    fn is_mapped() -> bool {
        // SAFETY: A task that makes system calls has memory, which only itself replaces.
        let mm = unsafe { (*current_raw()).mm };
        let mut found = false;
        let mut address = 0;
        // SAFETY: Process context, without that lock.
        unsafe { bindings::mmap_read_lock(mm) };
        while !found {
            // SAFETY: The lock is held.
            let area = unsafe { bindings::find_vma(mm, address) };
            if area.is_null() {
                break;
            }
            // SAFETY: The lock keeps the area, and that its file.
            let file = unsafe { (*area).vm_file };
            found = !file.is_null() && is_ring(file);
            // SAFETY: As above.
            address = unsafe { (*area).__bindgen_anon_1.__bindgen_anon_1.vm_end };
        }
        // SAFETY: Taken above.
        unsafe { bindings::mmap_read_unlock(mm) };
        found
    }

    /// One that is registered with the task needs no descriptor either.
    fn is_registered() -> bool {
        // SAFETY: Only the task itself changes what it has registered.
        unsafe {
            let own: *const bindings::io_uring_task = (*current_raw()).io_uring.cast();
            !own.is_null() && (*own).registered_rings.iter().any(|ring| !ring.is_null())
        }
    }

    pub(super) fn is_used() -> bool {
        is_registered() || has_descriptor() || is_mapped()
    }
}

/// Whether the caller shares its memory, table of descriptors or directories with another process, or uses io_uring.
/// Sleeps.
///
/// All tasks are walked only when the memory is in use by more than one task. That is also so for a moment while somebody
/// reads about the process in /proc.
pub(crate) fn shares_resources() -> bool {
    // SAFETY: The caller's own, which only itself replaces; numbers that are read once.
    let (descriptors, directories) = unsafe {
        let task = current_raw();
        (
            (&raw const (*(*task).files).count.counter).read_volatile(),
            (&raw const (*(*task).fs.cast::<bindings::fs_struct>()).users).read_volatile(),
        )
    };
    // SAFETY: Looks at the caller, and for who has its memory, at the list of tasks.
    let has_memory_alone = || unsafe { bindings::vserver_call_current_is_single_threaded() };
    #[cfg(CONFIG_IO_URING)]
    let uses_ring = ring::is_used;
    #[cfg(not(CONFIG_IO_URING))]
    let uses_ring = || false;
    descriptors > 1 || directories > 1 || !has_memory_alone() || uses_ring()
}
