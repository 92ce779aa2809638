// SPDX-License-Identifier: GPL-2.0

//! sysfs and control groups, which are kernfs.
//!
//! The entries of `/sys/class/net`, and of the folders that these lead to: a process that is confined to addresses does not
//! find those of devices that its network does not see. That is said of the entries, not of the way to them, as the kernel's
//! cache of names stays everybody's.
//!
//! All files are the machine's: see `machine_files.rs`.

use crate::{
    attach::hook::hooks,
    bindings::{delayed_call, kstat, MAY_ACCESS, MAY_NOT_BLOCK, MAY_OPEN, MAY_WRITE},
    context::membership::is_inside,
    linux::{
        acts_for_another, Dentry, KernfsInode, KernfsNode, KernfsPath, MntIdmap, Net, OpenKernfs,
        Reader,
    },
};
use kernel::{
    ffi::{c_char, c_int, c_uint},
    prelude::*,
    sync::rcu,
};

/// Whether the caller is confined, and does not see the device that an entry stands for. Only entries that belong to one network
/// namespace have its tag, and they are called as the devices.
fn is_hidden(node: &KernfsNode) -> bool {
    Net::own().is_some_and(|net| {
        node.is_of(net) && net.is_narrow() && {
            let guard = rcu::read_lock();
            !net.shows_device(node.name(&guard))
        }
    })
}

/// Whether the caller, in a context, must not write to it. The control groups that a context is in may be the host's, too, and
/// those of others are beside them: a name is all that keeps a writer to its own.
///
/// A write to `cgroup.procs` asks this once more, with the credentials of the task that has opened it.
fn is_unwritable(inode: &KernfsInode, mask: c_uint) -> bool {
    mask & MAY_WRITE != 0
        && is_inside()
        && (!inode.is_regular() || mask & (MAY_OPEN | MAY_ACCESS) != 0 || !acts_for_another())
}

/// What is wrong with an access that the kernel would allow.
fn objection(inode: &KernfsInode, mask: c_uint) -> Option<Error> {
    if mask & MAY_NOT_BLOCK != 0 {
        // The kernel does not decide, but comes back without it.
        None
    } else if is_hidden(inode.node()) {
        Some(ENOENT)
    } else {
        is_unwritable(inode, mask).then_some(EACCES)
    }
}

hooks! {
    /// The kernel's own refusal comes first.
    instead(original) fn kernfs_iop_permission(
        idmap: &MntIdmap, inode: &KernfsInode, mask: c_int,
    ) -> c_int {
        let objection = objection(inode, mask as c_uint)?;
        match original(idmap.as_ptr(), inode.as_ptr(), mask) {
            0 => Some(objection.to_errno()),
            error => Some(error),
        }
    }

    instead(original) fn kernfs_iop_getattr(
        _idmap: &MntIdmap, path: &KernfsPath, _stat: *mut kstat, _request: u32, _flags: c_uint,
    ) -> c_int {
        let _ = original;
        is_hidden(path.inode().node()).then(|| ENOENT.to_errno())
    }

    /// Without the entry it cannot sleep, and comes back with it.
    instead(original) fn kernfs_iop_get_link(
        dentry: Option<&Dentry>, inode: &KernfsInode, _done: *mut delayed_call,
    ) -> *const c_char {
        let _ = original;
        (dentry.is_some() && is_hidden(inode.node())).then(|| ENOENT.to_ptr::<c_char>().cast_const())
    }

    /// What else is in a folder of devices is of another namespace, and is not listed anyway.
    instead(original) fn kernfs_fop_readdir(file: &OpenKernfs, reader: &Reader) -> c_int {
        if !file.inode().node().separates_namespaces() {
            return None;
        }
        let net = Net::own().filter(|net| net.is_narrow())?;
        Some(reader.narrowed(
            |name| net.shows_device(name),
            |reader| original(file.as_ptr(), reader),
        ))
    }
}
