// SPDX-License-Identifier: GPL-2.0

//! The context of each socket that is in one, by the number of its inode: for those who list sockets.

use super::network::OfNetwork;
use crate::{
    context::network::Network,
    linux::{Keyed, Net, RcuTable, Room, Socket, SocketOps},
    policy::address::Ip,
    uapi::{CONTEXT_ROOT, CONTEXT_SPECTATOR},
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    prelude::*,
    sync::{aref::ARef, rcu},
};

#[derive(Clone, Copy)]
struct Owner {
    inode: u64,
    context: i32,
}

impl Keyed<1> for Owner {
    fn keys(&self) -> [u64; 1] {
        [self.inode]
    }
}

static OWNERS: RcuTable<Owner, 1, 4096> = RcuTable::new();

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    OWNERS.init(c"vserver_socket_owners");
}

/// Room for the owner of one socket.
pub(crate) struct Place(Room<Owner, 1>);

impl Place {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Room::new(GFP_KERNEL_ACCOUNT)?))
    }
}

/// Notes whose a socket is, by its record: of two at once the latter has the last word.
pub(crate) fn note(sock: &Socket, place: Place) {
    let inode = sock.inode().number();
    let mut owners = OWNERS.lock();
    owners.remove(0, inode);
    let context = sock.record().map_or(0, |record| record.network().context());
    if context != 0 {
        owners.add(place.0, Owner { inode, context });
    }
}

/// Makes a new socket one of the network that another is of.
pub(crate) fn inherit(ops: ARef<SocketOps>, child: &Socket) -> Result {
    let place = Place::new()?;
    child.begin(ops);
    note(child, place);
    Ok(())
}

/// The socket with this inode goes.
pub(crate) fn forget(inode: u64) {
    OWNERS.lock().remove(0, inode);
}

/// Zero when it is in none.
fn of(inode: u64) -> i32 {
    OWNERS
        .find(&rcu::read_lock(), 0, inode, |_| true)
        .map_or(0, |owner| owner.context)
}

/// Whether a context sees a socket: by the number of its inode, or, when no process has it any more (zero), by its local
/// address, if it has one.
pub(crate) fn is_seen(viewer: Option<&Network>, net: &Net, inode: u64, local: Option<Ip>) -> bool {
    let context = viewer.map_or(CONTEXT_ROOT, |viewer| viewer.context());
    if context == CONTEXT_SPECTATOR {
        return true;
    }
    if inode != 0 {
        return of(inode) == context;
    }
    let Some(local) = local else {
        return context == CONTEXT_ROOT;
    };
    let confining = viewer.filter(|viewer| viewer.confines(net.number()));
    match confining.and_then(Network::set) {
        Some(set) => set.has(local) || set.is_own_v4(local) || set.is_own_v6(local),
        None => context == CONTEXT_ROOT && !net.is_taken(local),
    }
}
