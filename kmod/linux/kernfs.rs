// SPDX-License-Identifier: GPL-2.0

//! kernfs, which sysfs and control groups are made of.

use super::{kernel_types, read_once, Net};
use crate::bindings;
use core::{ffi::CStr, ptr};
use kernel::{str::CStrExt as _, sync::rcu};

kernel_types! {
    /// An inode of kernfs.
    KernfsInode = inode;
    /// A place in a file system of kernfs. What it names has an inode.
    KernfsPath = path;
    /// An open folder of kernfs.
    OpenKernfs = file;
    /// What kernfs has for a file, a folder or a link.
    KernfsNode = kernfs_node;
}

impl KernfsInode {
    /// What it is the inode of.
    pub(crate) fn node(&self) -> &KernfsNode {
        // SAFETY: By the meaning of the type, kernfs has put it there before the inode could be found. The inode holds it until
        // it is evicted itself.
        unsafe { KernfsNode::from_ptr(read_once!(self, i_private).cast()) }
    }

    /// Whether it is a file, no folder and no link.
    pub(crate) fn is_regular(&self) -> bool {
        u32::from(read_once!(self, i_mode)) & bindings::S_IFMT == bindings::S_IFREG
    }
}

impl KernfsPath {
    /// What it names.
    pub(crate) fn inode(&self) -> &KernfsInode {
        // SAFETY: By the meaning of the type; a held path holds its dentry, and that its inode.
        unsafe { KernfsInode::from_ptr((*read_once!(self, dentry)).d_inode) }
    }
}

impl OpenKernfs {
    /// The inode that it is of.
    pub(crate) fn inode(&self) -> &KernfsInode {
        // SAFETY: By the meaning of the type; an open file holds its inode.
        unsafe { KernfsInode::from_ptr(read_once!(self, f_inode)) }
    }
}

impl KernfsNode {
    /// Whether it belongs to this network namespace only.
    pub(crate) fn is_of(&self, net: &Net) -> bool {
        // SAFETY: Valid by the type's invariant; an address, which is compared.
        ptr::eq(read_once!(self, ns), unsafe {
            &raw const (*net.as_ptr()).ns
        })
    }

    /// Whether what is in it belongs to one namespace each.
    pub(crate) fn separates_namespaces(&self) -> bool {
        u32::from(read_once!(self, flags)) & bindings::kernfs_node_flag_KERNFS_NS != 0
    }

    /// What it is called. It may be on the way to another name.
    pub(crate) fn name<'a>(&self, _guard: &'a rcu::Guard) -> &'a [u8] {
        // SAFETY: Set before the node can be found. It ends with a NUL, and is freed a grace period after it has been replaced.
        unsafe { CStr::from_char_ptr(read_once!(self, name)).to_bytes() }
    }
}
