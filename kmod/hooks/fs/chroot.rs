// SPDX-License-Identifier: GPL-2.0

//! Root directories. A process in a context does not leave its root by way of a process that has more, as one
//! that has just entered has, nor by what leads to a file that is not below it: a link of /proc, a descriptor, or a
//! mount namespace, of which the root is the host's.

use crate::{
    attach::hook::{hooks, unless},
    bindings::{
        dentry, file, fs_struct, mm_struct, mnt_namespace, ns_common, nsset, open_flags,
        user_namespace, AT_FDCWD, CLONE_EMPTY_MNTNS,
    },
    context::membership::is_inside,
    linux::{is_chrooted, Dentry, FileName, OpenFile, OwnRoot, Path, TaskRef},
};
use kernel::{
    ffi::{c_int, c_uint},
    prelude::*,
};

/// Files without a place are open to whoever has their descriptor: pipes, sockets, memory.
fn leads_out(path: &Path) -> bool {
    let inode = path.inode();
    (inode.is_regular() || inode.is_directory() || inode.is_block_device())
        && !path.is_internal()
        && !OwnRoot::get().is_above(path)
}

/// A directory can also be opened anew as `.`.
fn is_file_outside(path: &Path) -> bool {
    !path.inode().is_directory() && leads_out(path)
}

/// Whether a mount is of a file of a file system, and no path below the caller's root leads to that.
pub(crate) fn is_part_from_outside(mount: &Path) -> bool {
    !mount.is_whole_or_internal() && is_file_outside(mount)
}

hooks! {
    /// CAP_PERFMON, which is about the whole machine, lets a process read about the memory of every other one,
    /// and the kernel asks no more then. Inside it asks as for everybody.
    mediate fn mm_access(task: &TaskRef, mode: c_uint) -> *mut mm_struct {
        unless(!task.has_own_memory() && !task.may_be_traced(mode), EACCES)
    }

    /// The links of /proc lead to a file without a walk, to open it anew: the program of a process that has entered,
    /// which is the host's until it executes another one; what was handed in to be read. Root inside would
    /// own it, and write to it. It can be used through the descriptor that there is.
    ///
    /// The path is the function's own: when it is refused, it is released.
    mediate fn nd_jump_link(path: &Path) -> c_int {
        let refused = is_inside() && leads_out(path);
        if refused {
            path.release();
        }
        unless(refused, EACCES)
    }

    /// An empty path opens a descriptor anew, with O_EMPTYPATH or to execute it. The file is opened by the
    /// reference that is checked, since another thread may put another one in the descriptor's place.
    wrap_inside(original) fn do_file_open(
        directory: c_int, name: FileName, how: *const open_flags,
    ) -> *mut file {
        if directory == AT_FDCWD || !name.is_empty() || !is_inside() {
            original()
        } else {
            match OpenFile::by_descriptor(directory) {
                None => EBADF.to_ptr(),
                Some(open) if is_file_outside(open.path()) => EACCES.to_ptr(),
                Some(open) => open.path().open(how),
            }
        }
    }

    /// A hard link is another way to open it anew. The kernel makes them within one mount only.
    mediate fn security_path_link(old: &Dentry, new_dir: &Path, _new: *mut dentry) -> c_int {
        unless(!OwnRoot::get().is_above_entry(old, new_dir), EPERM)
    }

    /// A process that joins a mount namespace gets its root, which is above that of a chroot in it. The kernel makes
    /// no user namespaces in a chroot for the same reason.
    mediate fn mntns_install(_set: *mut nsset, _ns: *mut ns_common) -> c_int {
        unless(is_chrooted(), EPERM)
    }

    /// In an empty one, whose root is where the process then is, it would not be in a chroot any more, and could join
    /// the one before by a descriptor.
    mediate fn copy_mnt_ns(
        flags: u64, _ns: *mut mnt_namespace, _user_ns: *mut user_namespace, _fs: *mut fs_struct,
    ) -> *mut mnt_namespace {
        unless(flags & CLONE_EMPTY_MNTNS != 0 && is_chrooted(), EPERM)
    }

    /// The list of all mount namespaces ends where it begins.
    mediate fn get_sequential_mnt_ns(_ns: *mut mnt_namespace, _previous: bool) -> *mut mnt_namespace {
        Err(ENOENT)
    }
}
