// SPDX-License-Identifier: GPL-2.0

//! Which sockets are bound to "any" in a network, by their inodes, for the answers of `sock_diag`: these tell what a socket
//! is bound to for the kernel, and no more of it than the inode.

use crate::linux::{Keyed, RcuTable, Room};
use kernel::{prelude::*, sync::rcu};

/// How one is shown.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// As bound to ::ffff:0.0.0.0.
    pub(crate) only_v4: bool,
    /// With `IPV6_V6ONLY`.
    pub(crate) only_v6: bool,
}

#[derive(Clone, Copy)]
struct Any {
    inode: u64,
    how: How,
}

impl Keyed<1> for Any {
    fn keys(&self) -> [u64; 1] {
        [self.inode]
    }
}

static TABLE: RcuTable<Any, 1, 1024> = RcuTable::new();

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    TABLE.init(c"vserver_sockets_of_any");
}

/// A socket is about to be one of these. `ENOMEM`.
pub(crate) fn add(inode: u64, only_v4: bool, only_v6: bool) -> Result {
    let room = Room::new(kernel::alloc::flags::GFP_KERNEL_ACCOUNT)?;
    let how = How { only_v4, only_v6 };
    TABLE.lock().add(room, Any { inode, how });
    Ok(())
}

/// It is not, or not any more.
pub(crate) fn remove(inode: u64) {
    TABLE.lock().remove(0, inode);
}

/// `None`: it is not one.
pub(crate) fn how(inode: u64) -> Option<How> {
    TABLE
        .find(&rcu::read_lock(), 0, inode, |_| true)
        .map(|any| any.how)
}
