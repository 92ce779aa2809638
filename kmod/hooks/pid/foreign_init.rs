// SPDX-License-Identifier: GPL-2.0

//! `/proc/1` where it is not a process of the context: the machine's init, or that of a context
//! around this one. Tools expect a process 1, so there is one, but nothing in it that tells more
//! than its name and that it runs.

use crate::{
    attach::hook::{hooks, unless},
    bindings::dentry,
    hooks::pid::{is_listed, is_process_in_view},
    linux::{Dentry, Name, OpenProc, ProcInode, Reader},
    policy::machine_files::is_shown_of_foreign_init,
};
use kernel::{
    ffi::{c_int, c_uint},
    prelude::*,
    sync::rcu,
};

#[cfg(not(CONFIG_SECURITY_VSERVER))]
use crate::context::membership::is_inside;

/// Whether something belongs to a process 1 that the caller is shown because tools expect one, and that is not of its context.
fn is_of_foreign_init(inode: &ProcInode) -> bool {
    let guard = rcu::read_lock();
    inode
        .process()
        .is_some_and(|pid| is_listed(pid, &guard) && !is_process_in_view(pid))
}

/// Whether something belongs to a process that the caller does not find listed. One that has gone is left to the kernel.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
fn is_of_absent_process(inode: &ProcInode, guard: &rcu::Guard) -> bool {
    inode
        .process()
        .is_some_and(|pid| pid.task(guard).is_some() && !is_listed(pid, guard))
}

/// Whether a name in a directory of a process is absent.
fn is_absent(directory: &ProcInode, name: &Name) -> bool {
    directory.is_of_process()
        && !is_shown_of_foreign_init(name.bytes())
        && is_of_foreign_init(directory)
}

hooks! {
    mediate fn proc_tgid_base_lookup(
        dir: &ProcInode, dentry: &Dentry, _flags: c_uint,
    ) -> *mut dentry {
        unless(is_absent(dir, dentry.name()), ENOENT)
    }

    /// Names that others have looked up before. An error, unlike 0, does not throw them out. In the
    /// other lane the kernel itself asks who is listed.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    mediate_anyone fn pid_revalidate(
        dir: Option<&ProcInode>, name: &Name, dentry: &Dentry, _flags: c_uint,
    ) -> c_int {
        let is_unlisted = {
            let guard = rcu::read_lock();
            ProcInode::of_entry(dentry, &guard).is_some_and(|inode| is_of_absent_process(inode, &guard))
        };
        unless(is_unlisted || is_inside() && dir.is_some_and(|dir| is_absent(dir, name)), ENOENT)
    }

    /// As above.
    #[cfg(CONFIG_SECURITY_VSERVER)]
    mediate fn pid_revalidate(
        dir: Option<&ProcInode>, name: &Name, _dentry: &Dentry, _flags: c_uint,
    ) -> c_int {
        unless(dir.is_some_and(|dir| is_absent(dir, name)), ENOENT)
    }

    instead(original) fn proc_tgid_base_readdir(file: &OpenProc, reader: &Reader) -> c_int {
        if !is_of_foreign_init(file.inode()) {
            return None;
        }
        Some(reader.narrowed(is_shown_of_foreign_init, |reader| original(file.as_ptr(), reader)))
    }
}
