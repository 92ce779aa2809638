// SPDX-License-Identifier: GPL-2.0

//! The barrier: a directory whose permission bits are 000 cannot be entered, listed or walked through
//! by any process in a context, whatever its capabilities. The host puts it around the
//! directories of contexts, so that who gets out of his chroot stands before it.
//!
//! The kernel looks for a capability only after the permission bits have said no. So that is the place:
//! a walk through directories that may be walked through meets no hook at all.

use crate::{
    attach::{
        hook::{hooks, unless},
        kallsyms,
    },
    bindings::{
        dentry, fid, posix_acl, umode_t, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, RENAME_EXCHANGE,
    },
    hooks::fs::chroot::is_part_from_outside,
    linux::{acts_for_another, Acceptable, Dentry, Inode, MntIdmap, Mount, Path},
};
use kernel::{
    ffi::{c_char, c_int, c_uint, c_ulong, c_void},
    prelude::*,
    sync::rcu, //
};

#[inline(always)]
fn is_barrier(inode: &Inode) -> bool {
    inode.is_directory_of_mode(0)
}

/// Whether an overlay would take a directory of this name for its own.
fn is_name_of_work(name: &Dentry) -> bool {
    name.is_called(c"work") || name.is_called(c"index")
}

/// Whether it is where an overlay makes what it then moves into place: a directory of that mode, which
/// the kernel itself walks through with the rights of who has mounted the overlay, in the caller's
/// name. The one around it is marked as in use; a barrier is not called so. Credentials of io_uring open it too, which
/// leads to what an overlay has in the making, and no further.
#[cold]
fn is_work_of_overlay(inode: &Inode) -> bool {
    if !acts_for_another() {
        return false;
    }
    let guard = rcu::read_lock();
    inode.has_name(|name| {
        name.around(&guard).is_some_and(Inode::is_in_use_by_overlay) && is_name_of_work(name)
    })
}

#[inline(always)]
fn stops(inode: &Inode) -> bool {
    is_barrier(inode) && !is_work_of_overlay(inode)
}

/// By that name it would be open to an overlay, and be cleared out by one that is about to be mounted.
fn becomes_work(what: &Dentry, name: &Dentry) -> bool {
    what.inode().is_some_and(is_barrier) && is_name_of_work(name)
}

hooks! {
    mediate fn capable_wrt_inode_uidgid(_idmap: &MntIdmap, inode: &Inode, cap: c_int) -> bool {
        let of_access = matches!(cap as u32, CAP_DAC_READ_SEARCH | CAP_DAC_OVERRIDE);
        unless(of_access && stops(inode), EPERM)
    }

    /// Its owner may change its permission bits without any capability, and he is called root inside, too. So
    /// a directory that somebody inside has made 000 himself stays so, until it is removed.
    mediate fn chmod_common(path: &Path, _mode: umode_t) -> c_int {
        unless(stops(path.inode()), EPERM)
    }

    /// An access control list changes them as well.
    mediate fn vfs_set_acl(_idmap: &MntIdmap, dentry: &Dentry, _name: *const c_char, _acl: *mut posix_acl) -> c_int {
        unless(dentry.inode().is_some_and(stops), EPERM)
    }

    mediate fn security_inode_rename(
        _old_dir: &Inode, old: &Dentry, _new_dir: &Inode, new: &Dentry, flags: c_uint,
    ) -> c_int {
        let exchanged = flags & RENAME_EXCHANGE != 0;
        unless(becomes_work(old, new) || exchanged && becomes_work(new, old), EACCES)
    }

    /// Something else in its place would not be a barrier.
    mediate fn security_sb_mount(
        _device: *const c_char, path: &Path, _type: *const c_char, _flags: c_ulong, _data: *mut c_void,
    ) -> c_int {
        unless(stops(path.inode()), EACCES)
    }

    /// Nor is a file mounted that only its descriptor leads to: open_tree() makes a mount of one.
    mediate fn security_move_mount(from: &Path, to: &Path) -> c_int {
        unless(stops(to.inode()) || is_part_from_outside(from), EACCES)
    }

    mediate fn security_sb_pivotroot(old: &Path, new: &Path) -> c_int {
        unless(stops(old.inode()) || stops(new.inode()), EACCES)
    }

    /// A file handle leads to a file without a walk. Who is inside has no use for those of file systems, nor
    /// for the system calls that XFS has for its own, nor for those of namespaces, among which are the
    /// host's; whose process is in sight pidfs says itself. An overlay looks for the origin of its files
    /// by a handle, with the rights of who has mounted it. No process reaches XFS's calls with credentials of io_uring or
    /// access(2).
    mediate fn exportfs_decode_fh_raw(
        mount: &Mount, _handle: *mut fid, _length: c_int, _type: c_int, _flags: c_uint,
        acceptable: Acceptable, _context: *mut c_void,
    ) -> *mut dentry {
        let of_overlay = acts_for_another() && !kallsyms::VFS_DENTRY_ACCEPTABLE.is(acceptable);
        unless(!of_overlay && !mount.decides_about_handles(), EPERM)
    }
}
