// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID`: listing, lookup, and what was opened before. (The stock lane; in the other one the kernel asks who is there.)

use super::task_listed;
use crate::{
    attach::hook::{hooks, unless},
    bindings::{dir_context, kstat, loff_t, net},
    hooks::proc_status::status,
    linux::{MntIdmap, OpenProc, Pid, PidNs, ProcInode, ProcPath, Seq, TaskRef},
};
use core::ptr;
use kernel::{
    error::{code::*, Error, Result},
    ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void},
    sync::rcu,
};

/// Whether the process of a file is not listed for the caller. One that has gone is left to the kernel's own checks.
fn is_hidden(inode: &ProcInode) -> bool {
    let guard = rcu::read_lock();
    let task = inode.process().and_then(|pid| pid.task(&guard));
    task.is_some_and(|task| !task_listed(task.as_task()))
}

/// For the hooks below, which are of files of processes only.
fn unless_hidden(inode: &ProcInode, error: Error) -> Result {
    unless(is_hidden(inode), error)
}

hooks! {
    mediate_anyone fn proc_pid_permission(_idmap: &MntIdmap, inode: &ProcInode, _mask: c_int) -> c_int {
        unless_hidden(inode, ENOENT)
    }

    mediate_anyone fn proc_task_readdir(file: &OpenProc, _context: *mut dir_context) -> c_int {
        unless_hidden(file.inode(), ENOENT)
    }

    mediate_anyone fn pid_getattr(
        _idmap: &MntIdmap, path: &ProcPath, _stat: *mut kstat, _mask: u32, _flags: c_uint,
    ) -> c_int {
        unless_hidden(path.inode(), ENOENT)
    }

    /// This and the following hold the process's memory from their opening on: nothing looks for the
    /// process again when they are used.
    mediate_anyone fn mem_read(file: &OpenProc, _to: *mut c_char, _size: usize, _position: *mut loff_t) -> isize {
        unless_hidden(file.inode(), ESRCH)
    }

    mediate_anyone fn mem_write(file: &OpenProc, _from: *const c_char, _size: usize, _position: *mut loff_t) -> isize {
        unless_hidden(file.inode(), ESRCH)
    }

    mediate_anyone fn environ_read(file: &OpenProc, _to: *mut c_char, _size: usize, _position: *mut loff_t) -> isize {
        unless_hidden(file.inode(), ESRCH)
    }

    mediate_anyone fn auxv_read(file: &OpenProc, _to: *mut c_char, _size: usize, _position: *mut loff_t) -> isize {
        unless_hidden(file.inode(), ESRCH)
    }

    mediate_anyone fn pagemap_read(file: &OpenProc, _to: *mut c_char, _size: usize, _position: *mut loff_t) -> isize {
        unless_hidden(file.inode(), ESRCH)
    }

    mediate_anyone fn do_pagemap_cmd(file: &OpenProc, _command: c_uint, _argument: c_ulong) -> c_long {
        unless_hidden(file.inode(), ESRCH)
    }

    mediate_anyone fn procfs_procmap_ioctl(file: &OpenProc, _command: c_uint, _argument: c_ulong) -> c_long {
        unless_hidden(file.inode(), ESRCH)
    }

    wrap_atomic(original) fn get_proc_task_net(folder: &ProcInode) -> *mut net {
        if is_hidden(folder) {
            ptr::null_mut()
        } else {
            original()
        }
    }

    wrap_atomic(original) fn children_seq_start(seq: &Seq, _position: *mut loff_t) -> *mut c_void {
        if is_hidden(seq.proc_inode()) {
            ptr::null_mut()
        } else {
            original()
        }
    }

    wrap(original) fn proc_pid_status(seq: &Seq, _ns: Option<&PidNs>, _pid: Option<&Pid>, task: &TaskRef) -> c_int {
        let error = original();
        if error == 0 {
            status(seq.as_seq_file(), task.as_task());
        }
        error
    }
}
