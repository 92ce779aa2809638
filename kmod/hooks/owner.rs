// SPDX-License-Identifier: GPL-2.0

//! Files that name processes: the owners of locks, and those who get a signal when a file is ready.

use crate::{
    attach::hook::{hooks, unless},
    bindings::{F_GETOWN, F_GETOWN_EX},
    context::membership::is_inside,
    hooks::pid::{is_all_in_view, is_process_in_view, translate::seen_owner},
    linux::{File, FileLock, ListedLock, Seq},
    policy::locks::renumber_owners,
};
use kernel::{
    ffi::{c_int, c_uint, c_ulong},
    prelude::*,
    sync::rcu, //
};

/// Whoever handed the file in may have made a process outside its owner.
fn has_hidden_owner(file: &File) -> bool {
    file.has_owner(|pid, role| !is_all_in_view(pid, role, &rcu::read_lock()))
}

hooks! {
    /// Whoever is in the way of a lock is named by its number, as far as it is in view.
    wrap_inside(original) fn fcntl_getlk(_file: &File, _command: c_uint, lock: &FileLock) -> c_int {
        let error = original();
        if error == 0 {
            lock.rename_owner(seen_owner);
        }
        error
    }

    /// Locks on files are listed with the numbers of the processes that have them.
    wrap_atomic(original) fn locks_show(list: &Seq, lock: ListedLock) -> c_int {
        if lock.has_owner(|owner| !is_process_in_view(owner)) {
            0
        } else if is_inside() {
            list.changed(original, |text| renumber_owners(text, seen_owner))
        } else {
            original()
        }
    }

    mediate fn security_file_fcntl(file: &File, command: c_uint, _argument: c_ulong) -> c_int {
        let asks = matches!(command, F_GETOWN | F_GETOWN_EX);
        unless(asks && has_hidden_owner(file), ESRCH)
    }

    /// By an ioctl on a socket.
    wrap_inside(original) fn f_getown(file: &File) -> c_int {
        if has_hidden_owner(file) {
            0
        } else {
            original()
        }
    }
}
