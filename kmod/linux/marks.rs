// SPDX-License-Identifier: GPL-2.0

//! Operations that entries of the kernel's cache of names get from the module, and lose when it
//! goes.
//!
//! The kernel looks at an entry's flags first, and then at its operations, with no lock. So an
//! entry gets the operations before the flag. When the module goes, the entry loses the flag first.
//! A grace period of Tasks RCU later nobody is about to call the operations, so the entry loses
//! these as well; after one more nobody looks at them.

#![allow(clippy::missing_safety_doc)] // The kernel calls them as the functions that they stand for.

use super::{read_once, Dentry};
use crate::bindings::{self, dentry, dentry_operations, inode, qstr, super_block};
use core::{
    ffi::CStr,
    ops::Deref,
    ptr::{self, NonNull},
};
use kernel::{
    ffi::{c_char, c_int, c_uint, c_void},
    str::CStrExt as _,
    sync::atomic::{Atomic, Release},
};

/// Operations, and the flag that has the kernel call them.
pub(crate) struct Marks {
    operations: dentry_operations,
    flag: u32,
}

/// No operation.
const NONE: dentry_operations = {
    // SAFETY: A structure of functions, each of which may be absent.
    unsafe { core::mem::zeroed() }
};

impl Marks {
    /// See [`revalidated`].
    pub(crate) const fn revalidated(
        revalidate: unsafe extern "C" fn(*mut inode, *const qstr, *mut dentry, c_uint) -> c_int,
    ) -> Self {
        Self {
            operations: dentry_operations {
                d_revalidate: Some(revalidate),
                ..NONE
            },
            flag: bindings::dentry_flags_DCACHE_OP_REVALIDATE,
        }
    }

    /// See [`compared`].
    pub(crate) const fn compared(
        compare: unsafe extern "C" fn(*const dentry, c_uint, *const c_char, *const qstr) -> c_int,
    ) -> Self {
        Self {
            operations: dentry_operations {
                d_compare: Some(compare),
                ..NONE
            },
            flag: bindings::dentry_flags_DCACHE_OP_COMPARE,
        }
    }

    /// Whether an entry has these operations.
    #[inline(always)]
    pub(crate) fn are_on(&'static self, entry: &Dentry) -> bool {
        ptr::eq(read_once!(entry, d_op), &raw const self.operations)
    }

    /// An entry that has no operations gets these. They speak again on one that has them and was silenced.
    pub(crate) fn put_on(&'static self, entry: &LockedEntry<'_>) {
        let raw = entry.as_ptr();
        // SAFETY: The lock guards both fields. The operations live until nobody looks at them, see
        // above. Whoever sees the flag sees the operations, by the release.
        unsafe {
            if (*raw).d_op.is_null() || self.are_on(entry) {
                (&raw mut (*raw).d_op).write_volatile(&raw const self.operations);
                let flags = (*raw).d_flags | self.flag;
                Atomic::from_ptr(&raw mut (*raw).d_flags).store(flags, Release);
            }
        }
    }

    /// The kernel calls them for an entry that has them no more, but for calls that are on their way.
    pub(crate) fn silence(&'static self, entry: &LockedEntry<'_>) {
        if self.are_on(entry) {
            let raw = entry.as_ptr();
            // SAFETY: The lock guards the flags.
            unsafe { (&raw mut (*raw).d_flags).write_volatile((*raw).d_flags & !self.flag) }
        }
    }

    /// An entry that has them loses them.
    pub(crate) fn take_off(&'static self, entry: &LockedEntry<'_>) {
        if self.are_on(entry) {
            // SAFETY: The lock guards the operations.
            unsafe { (&raw mut (*entry.as_ptr()).d_op).write_volatile(ptr::null()) }
        }
    }
}

/// Marks for entries that are not there for everybody. The function tells whether the inode of one,
/// which has been found by its name, is there for the caller. It is asked in RCU path walks, too.
macro_rules! revalidated {
    ($(#[$meta:meta])* static $name:ident = $is_there:expr;) => {
        $(#[$meta])*
        static $name: $crate::linux::Marks = {
            #[allow(clippy::missing_safety_doc)] // The kernel calls it as `d_revalidate`.
            unsafe extern "C" fn revalidate(
                _folder: *mut $crate::bindings::inode,
                _name: *const $crate::bindings::qstr,
                entry: *mut $crate::bindings::dentry,
                _flags: kernel::ffi::c_uint,
            ) -> kernel::ffi::c_int {
                // SAFETY: The kernel holds the entry, or is in a path walk under RCU, which keeps
                // it and its inode.
                let entry = unsafe { $crate::linux::Dentry::from_ptr(entry) };
                if entry.inode().is_none_or($is_there) {
                    1
                } else {
                    // An error, unlike 0, does not throw the entry out.
                    kernel::error::code::ENOENT.to_errno()
                }
            }
            $crate::linux::Marks::revalidated(revalidate)
        };
    };
}
pub(crate) use revalidated;

/// Marks for a directory of which an entry may be another one than its name says. The function
/// tells, of an entry that has the wanted name, and that name, whether it is not the one that the
/// caller means. It is asked in RCU path walks, too.
macro_rules! compared {
    ($(#[$meta:meta])* static $name:ident = $is_another:expr;) => {
        $(#[$meta])*
        static $name: $crate::linux::Marks = {
            #[allow(clippy::missing_safety_doc)] // The kernel calls it as `d_compare`.
            unsafe extern "C" fn compare(
                entry: *const $crate::bindings::dentry,
                length: kernel::ffi::c_uint,
                name: *const kernel::ffi::c_char,
                wanted: *const $crate::bindings::qstr,
            ) -> kernel::ffi::c_int {
                // SAFETY: The kernel holds the entry, or is in a path walk under RCU, which keeps
                // it and its inode. It passes the name and the length of it that belong together.
                let (entry, name, wanted) = unsafe {
                    (
                        $crate::linux::Dentry::from_ptr(entry),
                        core::slice::from_raw_parts(name.cast::<u8>(), length as usize),
                        $crate::linux::Name::from_ptr(wanted).bytes(),
                    )
                };
                (name != wanted || $is_another(entry, name)).into()
            }
            $crate::linux::Marks::compared(compare)
        };
    };
}
pub(crate) use compared;

/// An entry, locked.
///
/// # Invariants
///
/// Its `d_lock` is held.
pub(crate) struct LockedEntry<'a>(&'a Dentry);

impl Dentry {
    fn lock_raw(&self) -> *mut bindings::spinlock_t {
        // SAFETY: Part of the entry.
        unsafe {
            &raw mut (*self.as_ptr())
                .d_lockref
                .__bindgen_anon_1
                .__bindgen_anon_1
                .lock
        }
    }

    /// Not in interrupts.
    pub(crate) fn lock(&self) -> LockedEntry<'_> {
        // SAFETY: The lock of a live entry; `drop` releases it.
        unsafe { bindings::spin_lock(self.lock_raw()) };
        // INVARIANT: Just taken.
        LockedEntry(self)
    }

    /// The root of its mount's file system.
    #[inline(always)]
    pub(crate) fn root(&self) -> &Dentry {
        // SAFETY: A held entry holds its super block, which keeps its root.
        unsafe { Dentry::from_ptr((*read_once!(self, d_sb)).s_root) }
    }

    /// The entry of this name in it, as far as the kernel's cache knows. Sleeps.
    pub(crate) fn cached(&self, name: &[u8]) -> Option<HeldEntry> {
        let length = name.len() as u32;
        // SAFETY: The name is as long as said. The address of a folder is what the names in it are
        // hashed with.
        // INVARIANT: `d_lookup` takes a reference.
        unsafe {
            let wanted = qstr {
                __bindgen_anon_1: bindings::qstr__bindgen_ty_1 {
                    __bindgen_anon_1: bindings::qstr__bindgen_ty_1__bindgen_ty_1 {
                        hash: bindings::full_name_hash(
                            self.as_ptr().cast(),
                            name.as_ptr().cast(),
                            length,
                        ),
                        len: length,
                    },
                },
                name: name.as_ptr(),
            };
            NonNull::new(bindings::d_lookup(self.as_ptr(), &wanted)).map(HeldEntry)
        }
    }
}

impl LockedEntry<'_> {
    /// Does something with each entry in it, which is locked meanwhile.
    pub(crate) fn for_each_child(&self, mut act: impl FnMut(&LockedEntry<'_>)) {
        // SAFETY: The lock of a folder, which is held, guards the list of its entries, and keeps
        // them. It is taken before theirs.
        unsafe {
            let mut node = (*self.as_ptr()).d_children.first;
            while !node.is_null() {
                let entry = Dentry::from_ptr(kernel::container_of!(node, dentry, d_sib));
                bindings::vserver_inline_spin_lock_nested(
                    entry.lock_raw(),
                    bindings::dentry_d_lock_class_DENTRY_D_LOCK_NESTED as c_int,
                );
                // INVARIANT: Just taken.
                act(&LockedEntry(entry));
                node = (*node).next;
            }
        }
    }
}

impl Deref for LockedEntry<'_> {
    type Target = Dentry;

    fn deref(&self) -> &Dentry {
        self.0
    }
}

impl Drop for LockedEntry<'_> {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { bindings::spin_unlock(self.0.lock_raw()) }
    }
}

/// An entry that is held.
///
/// # Invariants
///
/// A reference to an entry.
pub(crate) struct HeldEntry(NonNull<dentry>);

impl Deref for HeldEntry {
    type Target = Dentry;

    fn deref(&self) -> &Dentry {
        // SAFETY: By the invariant.
        unsafe { Dentry::from_ptr(self.0.as_ptr()) }
    }
}

impl Drop for HeldEntry {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { bindings::dput(self.0.as_ptr()) }
    }
}

unsafe extern "C" fn act_on<F: FnMut(&Dentry)>(sb: *mut super_block, act: *mut c_void) {
    // SAFETY: From `for_each_root`. A file system that is mounted, and locked against its end, has
    // a root.
    unsafe { (*act.cast::<F>())(Dentry::from_ptr((*sb).s_root)) }
}

/// Does something with the root of each file system of a kind. Sleeps.
pub(crate) fn for_each_root<F: FnMut(&Dentry)>(kind: &CStr, mut act: F) {
    // SAFETY: Process context. The kind is held, by a reference to its module, until it is put.
    unsafe {
        let kind = bindings::get_fs_type(kind.as_char_ptr());
        if !kind.is_null() {
            bindings::iterate_supers_type(kind, Some(act_on::<F>), (&raw mut act).cast());
            bindings::module_put((*kind).owner);
        }
    }
}
