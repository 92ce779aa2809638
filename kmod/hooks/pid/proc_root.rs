// SPDX-License-Identifier: GPL-2.0

//! Which `/proc/1` is meant. A mount of proc has one cache of names for all who use it, and there
//! may be as many processes 1 as contexts; the number of such a process outside is nobody's inside.
//! So the root of each mount gets a `d_compare`: an entry that is not the caller's has another
//! name.

use crate::{
    attach::hook::hooks,
    bindings::dentry,
    context::membership::has_no_network,
    hooks::pid::own_init::init_of_caller,
    linux::{compared, for_each_root, Dentry, OpenProc, ProcInode, Reader},
};
use kernel::{
    ffi::{c_int, c_uint},
    sync::rcu,
};

compared! {
    /// What the roots of proc have.
    static ROOTS = is_another;
}

/// Whether it is of process 1 of the caller's context, or else of the next one around it. `None`: there is no such process in
/// the pid namespace of the mount.
fn is_own_init(inode: &ProcInode) -> Option<bool> {
    let guard = rcu::read_lock();
    let init = init_of_caller(inode.namespace(), &guard)?;
    Some(inode.process().is_some_and(|pid| pid.is(init)))
}

/// Whether an entry in a root is not the one that the caller means by its name.
#[inline]
fn is_another(entry: &Dentry, name: &[u8]) -> bool {
    // One that is just being looked up is compared again after that.
    let Some(process) = ProcInode::of_named(entry).filter(|inode| inode.is_of_process()) else {
        return false;
    };
    let is_one = name == b"1";
    // Most callers are in no context, and there is nothing to look up.
    let is_own_init = if has_no_network() {
        None
    } else {
        is_own_init(process)
    };
    match is_own_init {
        Some(is_own_init) => is_one != is_own_init,
        None => is_one && !process.is_first(),
    }
}

#[inline(always)]
fn mark(root: &Dentry) {
    if !ROOTS.are_on(root) {
        mark_first(root);
    }
}

/// Also one that has been marked before, and paused.
#[cold]
fn mark_first(root: &Dentry) {
    ROOTS.put_on(&root.lock());
}

hooks! {
    /// What is mounted later is marked before a number is found there for the first time.
    mediate_anyone fn proc_pid_lookup(entry: &Dentry, _flags: c_uint) -> *mut dentry {
        mark(entry.root());
        Ok(())
    }

    mediate_anyone fn proc_pid_readdir(file: &OpenProc, _reader: &Reader) -> c_int {
        mark(file.dentry().root());
        Ok(())
    }
}

/// These hooks are attached.
pub(crate) fn begin() {
    for_each_root(c"proc", mark_first);
}

/// These hooks are not attached any more, and the module stays: a name means the same to everybody. Who is just being
/// called goes on.
pub(crate) fn pause() {
    unmark();
}

/// The hooks are not attached any more, and nobody is inside them: as [`crate::hooks::tty::devpts::unmark`].
pub(crate) fn unmark() {
    for_each_root(c"proc", |root| ROOTS.silence(&root.lock()));
}

/// A grace period of Tasks RCU after that, and one before the module's memory goes.
pub(crate) fn end() {
    for_each_root(c"proc", |root| ROOTS.take_off(&root.lock()));
}
