// SPDX-License-Identifier: GPL-2.0

//! The names of pseudo-terminals, in every mount of devpts: those of others are neither listed nor
//! found. Names are looked up in the kernel's cache alone there, so the entries get a
//! `d_revalidate`, which is asked each time. Whose they are is the business of `pty.rs`.

use crate::{
    attach::{hook::hooks, Inside},
    bindings::{
        dentry, dir_context, file, pts_fs_info, DEVPTS_SUPER_MAGIC, UNIX98_PTY_SLAVE_MAJOR,
    },
    hooks::tty::pty,
    linux::{for_each_root, revalidated, Dentry, File, Inode, Listed, LockedEntry, Reader, Tell},
};
use kernel::ffi::{c_int, c_void};

revalidated! {
    /// What the entries of terminals have.
    static ENTRIES = pty::is_seen;
}

/// Without marks it is no terminal, but the file to make some.
fn is_hidden(entry: &Dentry) -> bool {
    ENTRIES.are_on(entry) && entry.inode().is_some_and(|pty| !pty::is_seen(pty))
}

/// The next entry of an open devpts that the caller sees.
#[cold]
#[inline(never)]
fn next_seen<'a>(
    folder: &'a File,
    reader: &Reader,
    read: impl FnOnce(*const file, *const dir_context) -> c_int,
) -> Option<&'a Listed> {
    let _inside = Inside::enter();
    let root = folder.dentry();
    folder.next_listed(
        reader,
        |name| root.cached(name).is_some_and(|entry| is_hidden(&entry)),
        read,
    )
}

hooks! {
    wrap(original) fn devpts_pty_new(
        _fs: *mut pts_fs_info, _index: c_int, _tty: *mut c_void,
    ) -> *mut dentry {
        let made = original();
        // The caller holds the terminal's lock: nobody opens it yet.
        if let Some(entry) = Dentry::of_result(made) {
            if let Some(pty) = entry.inode() {
                pty::own(pty);
            }
            ENTRIES.put_on(&entry.lock());
        }
        made
    }

    /// One entry a call. The reader, who may wait for its memory for ever, is reached by a jump.
    relay(original) fn dcache_readdir(folder: &File, reader: &Reader) -> c_int {
        (folder.inode().magic() == u64::from(DEVPTS_SUPER_MAGIC)).then(|| {
            let listed = next_seen(folder, reader, original);
            Tell { reader, listed }
        })
    }
}

/// Does something with the entry of each terminal that there is, and with the others in the same
/// folder.
fn for_each_entry(mut act: impl FnMut(&LockedEntry<'_>)) {
    for_each_root(c"devpts", |root| root.lock().for_each_child(&mut act));
}

/// The hooks are attached: the terminals that were there before are the host's.
pub(crate) fn begin() {
    for_each_entry(|entry| {
        let device = entry.inode().map(Inode::device);
        if device.is_some_and(|device| device >> 20 == UNIX98_PTY_SLAVE_MAJOR) {
            ENTRIES.put_on(entry);
        }
    });
}

/// The hooks are not attached any more, and nobody is inside them. Nobody asks the entries for
/// anything a grace period of Tasks RCU after this; an instance that is just going has no terminals
/// any more.
pub(crate) fn unmark() {
    for_each_entry(|entry| {
        if ENTRIES.are_on(entry) {
            ENTRIES.silence(entry);
            if let Some(pty) = entry.inode() {
                pty.set_private(0);
            }
        }
    });
}

/// After that grace period. After one more, nobody looks at the entries' operations.
pub(crate) fn end() {
    for_each_entry(|entry| ENTRIES.take_off(entry));
    pty::end_all_loans();
}
