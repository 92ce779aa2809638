// SPDX-License-Identifier: GPL-2.0

//! Files of the host that root inside owns by name: access to them, and files of processes outside. The rest is in
//! `machine_files.rs`.

use crate::{
    attach::hook::{hooks, unless},
    bindings::{dentry, loff_t},
    hooks::pid::{is_listed, is_process_in_view},
    linux::{Attributes, MntIdmap, OpenProc, ProcInode},
};
use kernel::{
    ffi::{c_char, c_int},
    prelude::*,
    sync::rcu,
};

/// Whether the process of a file below `/proc/PID` is in view. True when there is none any more.
fn has_process_in_view(inode: &ProcInode) -> bool {
    inode.process().is_none_or(is_process_in_view)
}

hooks! {
    /// The owner and the permissions of such a file are the same in every mount of its file system.
    mediate fn proc_setattr(_idmap: &MntIdmap, _entry: *mut dentry, attributes: &Attributes) -> c_int {
        unless(attributes.change_access(), EPERM)
    }

    mediate fn kernfs_iop_setattr(_idmap: &MntIdmap, _entry: *mut dentry, attributes: &Attributes) -> c_int {
        unless(attributes.change_access(), EPERM)
    }

    /// Which descriptors the machine's init has is hidden inside.
    mediate_anyone fn proc_fd_permission(
        _idmap: &MntIdmap, folder: &ProcInode, _mask: c_int,
    ) -> c_int {
        if has_process_in_view(folder) {
            Ok(())
        } else {
            let guard = rcu::read_lock();
            let is_listed = folder.process().is_some_and(|pid| is_listed(pid, &guard));
            Err(if is_listed { EACCES } else { ENOENT })
        }
    }

    /// The machine's init is shown in every context, and its files belong to root. A process inside changes nothing
    /// of it, nor of a process that has entered another context since its files were opened.
    mediate_anyone fn oom_adj_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }

    mediate_anyone fn oom_score_adj_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }

    mediate_anyone fn timerslack_ns_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }

    mediate_anyone fn sched_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }

    #[cfg(CONFIG_SCHED_AUTOGROUP)]
    mediate_anyone fn sched_autogroup_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }

    #[cfg(CONFIG_ELF_CORE)]
    mediate_anyone fn proc_coredump_filter_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }

    #[cfg(CONFIG_PROC_PAGE_MONITOR)]
    mediate_anyone fn clear_refs_write(
        file: &OpenProc, _text: *const c_char, _length: usize, _position: *mut loff_t,
    ) -> isize {
        unless(!has_process_in_view(file.inode()), ESRCH)
    }
}
