// SPDX-License-Identifier: GPL-2.0

//! The operations of sockets of networks: copies of the kernel's, with those of `socket_entries.rs` and `netlink_ops.rs` in
//! their places. What a network is, and which sockets get which operations, is the business of [`SocketOperations`].
//!
//! # Which socket has which network
//!
//! The kernel copies and replaces `sock->ops` in many places (docs/sockets.md), so nothing follows from them. What holds
//! a socket's network is its *record*: a [`SocketOps`] in the `i_private` of its inode, which sockfs does not use and no
//! protocol knows. It is set before the operations are, and given up when the inode is evicted, behind every user of the
//! socket. The operations are only a way to be called.
//!
//! Softirq finds a record by a sock, under RCU: a sock leaves its socket before that goes.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use super::{Inode, Keyed, RcuTable, Room, Sock, Socket};
use crate::{
    bindings::{self, proto_ops},
    policy::address::Set,
};
use core::{
    cell::Cell,
    ffi::c_void,
    ptr::{self, NonNull},
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    ffi::{c_int, c_uint},
    prelude::*,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        atomic::{Full, Relaxed, Release},
        rcu, Refcount,
    },
};

/// What the sockets of a process are bound by.
pub(crate) trait SocketNetwork: AlwaysRefCounted {
    /// Whether it is that of a context.
    fn is_of_context(&self) -> bool;
    /// What 127.0.0.1 inside is outside, in network byte order. Sleeps.
    fn outer_localhost(&self) -> u32;
    /// The addresses that it confines to, if it does.
    fn set(&self) -> Option<Set<'_>>;
}

/// The type of all networks.
///
/// # Safety
///
/// No other type implements it: by [`the_network!`] alone, of which a second use does not link.
pub(crate) unsafe trait TheNetwork: SocketNetwork {}

/// Makes a type the one of all networks.
macro_rules! the_network {
    ($type:ty) => {
        const _: () = {
            #[export_name = "vserver_the_network"]
            static THE_NETWORK: u8 = 0;
            // SAFETY: The name of the static is there once in a module.
            unsafe impl $crate::linux::TheNetwork for $type {}
        };
    };
}
pub(crate) use the_network;

/// What is done with sockets of networks, by who knows networks.
pub(crate) trait SocketOperations: 'static {
    /// A network.
    type Network: TheNetwork;
    /// That of the host as a whole.
    fn of_host() -> Result<ARef<Self::Network>>;
    /// Puts operations of the module into the table of a network's sockets.
    fn fill(table: &mut Table<'_>);
    /// A new socket is of the same network as another.
    fn inherit(ops: ARef<SocketOps>, child: &Socket) -> Result;
    /// Takes a sock out of what knows it by the addresses of its network.
    fn forget(sock: &Sock);
}

/// Operations that are being made, for the sockets of a network.
pub(crate) struct Table<'a> {
    pub(super) table: &'a mut proto_ops,
    pub(super) original: &'a proto_ops,
    /// Whether the network is one of a context.
    pub(crate) is_of_context: bool,
    /// Whether it confines the sockets to addresses.
    pub(crate) is_confined: bool,
}

impl Table<'_> {
    /// `PF_INET` and the like.
    pub(crate) fn family(&self) -> c_uint {
        self.original.family as c_uint
    }
}

fn is_inet(original: &proto_ops) -> bool {
    matches!(
        original.family as c_uint,
        bindings::PF_INET | bindings::PF_INET6
    )
}

/// Whether these are operations of SCTP. They are in a module, so they are recognised by not being those of TCP streams.
pub(super) fn is_sctp(original: &proto_ops) -> bool {
    let listens = original
        .listen
        .is_some_and(|listen| listen as usize != bindings::sock_no_listen as usize);
    let is_stream = original
        .connect
        .is_some_and(|connect| connect as usize == bindings::inet_stream_connect as usize);
    is_inet(original) && listens && !is_stream
}

/// Operations of the kernel's that a socket has, or had before it got ours.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Original(*const proto_ops);

impl Original {
    fn address(self) -> u64 {
        self.0 as u64
    }
}

/// Operations of the sockets of one network.
///
/// # Invariants
///
/// `table` is a copy of what `original` points to but for the functions that are ours. `original` lives as long as a
/// socket has `table`, as that socket keeps the module that it is in. `network` is one reference to the one type that is
/// [`TheNetwork`], until the last one to this is gone; the memory stays for a grace period more. `let_go` gives it up.
#[repr(C)]
pub(crate) struct SocketOps {
    /// First: the address of both is the same.
    table: proto_ops,
    original: *const proto_ops,
    network: NonNull<c_void>,
    let_go: unsafe fn(NonNull<c_void>),
    confined: bool,
    localhost: u32,
    references: Refcount,
    rcu: bindings::kvfree_rcu_head,
}

// SAFETY: Immutable, but for the count.
unsafe impl Send for SocketOps {}
// SAFETY: As above.
unsafe impl Sync for SocketOps {}

// SAFETY: The count is the number of references; the memory stays while it is not zero.
unsafe impl AlwaysRefCounted for SocketOps {
    fn inc_ref(&self) {
        self.references.inc();
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: The caller owns a reference, so the object is alive.
        let this = unsafe { object.as_ref() };
        if !this.references.dec_and_test() {
            return;
        }
        OPS.lock().remove(BY_ADDRESS, object.as_ptr() as u64);
        let (network, let_go) = (this.network, this.let_go);
        // SAFETY: Got by `new`. From `KBox::into_raw`; nothing is left to drop but what is taken out here, and nobody finds
        // it any more. The network, and with it the module, may go with the last statement, which nothing of this follows.
        unsafe {
            bindings::module_put(this.table.owner);
            bindings::kvfree_call_rcu(
                (&raw mut (*object.as_ptr()).rcu).cast(),
                object.as_ptr().cast(),
            );
            let_go(network);
        }
    }
}

/// All operations that there are, to be shared by the sockets of a network.
#[derive(Clone, Copy)]
struct Entry {
    network: u64,
    original: u64,
    ops: NonNull<SocketOps>,
}

// SAFETY: Looked at under RCU, which keeps what it points to.
unsafe impl Send for Entry {}
// SAFETY: As above.
unsafe impl Sync for Entry {}

const BY_USE: usize = 0;
const BY_ADDRESS: usize = 1;

impl Keyed<2> for Entry {
    fn keys(&self) -> [u64; 2] {
        [self.network ^ self.original, self.ops.as_ptr() as u64]
    }
}

static OPS: RcuTable<Entry, 2, 256> = RcuTable::new();

/// What a socket goes on holding because somebody may be in it: what it had before it came to another network, or
/// before an upper layer protocol replaced its operations.
#[derive(Clone, Copy)]
struct Before {
    inode: u64,
    ops: NonNull<SocketOps>,
}

// SAFETY: One reference to what is counted by an atomic.
unsafe impl Send for Before {}
// SAFETY: As above.
unsafe impl Sync for Before {}

impl Keyed<1> for Before {
    fn keys(&self) -> [u64; 1] {
        [self.inode]
    }
}

/// Its lock also guards every change of a record that others may be changing.
static BEFORE: RcuTable<Before, 1, 64> = RcuTable::new();

/// How many a socket may have.
const MOST_BEFORE: u32 = 16;

/// Who is about to peel off an association: the new socket belongs to the network of the old one.
#[derive(Clone, Copy)]
struct Peeling {
    task: u64,
    ops: NonNull<SocketOps>,
}

// SAFETY: Looked at by the task itself only, which keeps the old socket meanwhile.
unsafe impl Send for Peeling {}
// SAFETY: As above.
unsafe impl Sync for Peeling {}

impl Keyed<1> for Peeling {
    fn keys(&self) -> [u64; 1] {
        [self.task]
    }
}

static PEELING: RcuTable<Peeling, 1, 16> = RcuTable::new();

/// In module init, before the hooks are attached.
pub(crate) fn init_socket_ops() {
    OPS.init(c"vserver_socket_ops");
    BEFORE.init(c"vserver_socket_before");
    PEELING.init(c"vserver_socket_peeling");
}

impl SocketOps {
    #[inline(always)]
    pub(crate) fn network_as<N: TheNetwork>(&self) -> &N {
        // SAFETY: By the type's invariant; there is one type of networks.
        unsafe { self.network.cast().as_ref() }
    }

    pub(crate) fn original(&self) -> Original {
        Original(self.original)
    }

    /// The kernel's functions.
    pub(super) fn kernels(&self) -> &proto_ops {
        // SAFETY: By the type's invariant, for the socket that its operations are called for.
        unsafe { &*self.original }
    }

    /// What 127.0.0.1 inside is outside, in network byte order; for sockets of IPv4 and IPv6.
    #[inline(always)]
    pub(crate) fn localhost(&self) -> u32 {
        self.localhost
    }

    /// Whether its network confines it to addresses.
    pub(crate) fn is_confined(&self) -> bool {
        self.confined
    }

    fn address(&self) -> u64 {
        ptr::from_ref(self) as u64
    }

    /// For sockets of a network that have these operations; `confined`: by it, in their network namespace.
    pub(crate) fn get<O: SocketOperations>(
        network: &O::Network,
        original: Original,
        confined: bool,
    ) -> Result<ARef<Self>> {
        let key = Entry {
            network: ptr::from_ref(network) as u64,
            original: original.address(),
            ops: NonNull::dangling(),
        };
        let found = Cell::new(None);
        OPS.find(&rcu::read_lock(), BY_USE, key.keys()[BY_USE], |entry| {
            // SAFETY: The memory stays for a grace period after it has been taken out.
            let ops = unsafe { entry.ops.as_ref() };
            let is_it = entry.network == key.network
                && entry.original == key.original
                && ops.confined == confined;
            is_it && {
                // SAFETY: As above.
                found.set(unsafe { Self::try_get(entry.ops) });
                true
            }
        });
        match found.into_inner() {
            Some(ops) => Ok(ops),
            None => Self::new::<O>(network, original, confined, key),
        }
    }

    /// # Safety
    ///
    /// Its memory must stay during the call.
    unsafe fn try_get(ops: NonNull<Self>) -> Option<ARef<Self>> {
        // SAFETY: By contract. The reference is the one that has just been counted.
        unsafe { super::inc_not_zero(&ops.as_ref().references).then(|| ARef::from_raw(ops)) }
    }

    fn new<O: SocketOperations>(
        network: &O::Network,
        original: Original,
        confined: bool,
        key: Entry,
    ) -> Result<ARef<Self>> {
        let room = Room::new(GFP_KERNEL_ACCOUNT)?;
        let ops = KBox::new(
            Self {
                // SAFETY: Of a socket that the caller holds.
                table: unsafe { original.0.read() },
                original: original.0,
                network: NonNull::from(network).cast(),
                let_go: let_go::<O::Network>,
                confined,
                localhost: 0,
                references: Refcount::new(1),
                rcu: bindings::kvfree_rcu_head::default(),
            },
            GFP_KERNEL_ACCOUNT,
        )?;
        network.inc_ref();
        // SAFETY: The socket keeps it, too. The operations may be found for a little longer than that.
        unsafe { bindings::__module_get(ops.table.owner) };
        let ops = NonNull::from(KBox::leak(ops));
        // SAFETY: Nobody else knows it yet.
        unsafe { Self::fill::<O>(ops.as_ptr(), network) };
        OPS.lock().add(room, Entry { ops, ..key });
        // SAFETY: The one reference that it was made with.
        Ok(unsafe { ARef::from_raw(ops) })
    }

    /// Puts ours into the table.
    ///
    /// # Safety
    ///
    /// Nobody else must know the operations.
    unsafe fn fill<O: SocketOperations>(ops: *mut Self, network: &O::Network) {
        // SAFETY: By contract, nobody else uses it.
        let ops = unsafe { &mut *ops };
        // SAFETY: By the type's invariant.
        let original = unsafe { &*ops.original };
        if is_inet(original) && ops.confined {
            ops.localhost = network.outer_localhost();
        }
        O::fill(&mut Table {
            table: &mut ops.table,
            original,
            is_of_context: network.is_of_context(),
            is_confined: ops.confined,
        });
    }

    /// Whether these are operations of some network.
    fn of_table(table: *const proto_ops) -> Option<ARef<Self>> {
        let found = Cell::new(None);
        OPS.find(&rcu::read_lock(), BY_ADDRESS, table as u64, |entry| {
            // SAFETY: The memory stays for a grace period after it has been taken out.
            found.set(unsafe { Self::try_get(entry.ops) });
            true
        });
        found.into_inner()
    }
}

/// Gives up a reference to a network.
///
/// # Safety
///
/// `network` is a reference of the caller's.
unsafe fn let_go<N: TheNetwork>(network: NonNull<c_void>) {
    // SAFETY: By contract; there is one type of networks.
    drop(unsafe { ARef::<N>::from_raw(network.cast()) });
}

impl Socket {
    /// What it has as a socket of a network. Stays as long as somebody uses the socket.
    #[inline(always)]
    pub(crate) fn record(&self) -> Option<&SocketOps> {
        // SAFETY: One reference of the socket's, which it gives up when its inode is evicted: what it had before, too.
        unsafe { (self.inode().private() as *const SocketOps).as_ref() }
    }

    /// The kernel's operations. For who holds it, of a socket that has been made.
    pub(crate) fn original(&self) -> Original {
        self.record()
            .map_or(Original(self.operations()), SocketOps::original)
    }

    /// The record of one that has just been made and that nobody else knows. Its operations come later.
    pub(crate) fn begin(&self, ops: ARef<SocketOps>) {
        self.inode()
            .private_word()
            .store(ARef::into_raw(ops).as_ptr() as usize, Release);
    }

    /// Puts it under another network than it had `before`. `false`: somebody else has been faster.
    pub(crate) fn put_under(
        &self,
        ops: ARef<SocketOps>,
        before: Option<&SocketOps>,
    ) -> Result<bool> {
        self.change(ops, before, |table| {
            // SAFETY: The record holds it.
            unsafe { self.set_operations(table) }
            true
        })
    }

    /// Gives it another record than it had `before`, and then other operations.
    fn change(
        &self,
        ops: ARef<SocketOps>,
        before: Option<&SocketOps>,
        set: impl FnOnce(*const proto_ops) -> bool,
    ) -> Result<bool> {
        let mut room = match before {
            Some(_) => Some(Room::new(GFP_KERNEL_ACCOUNT)?),
            None => None,
        };
        let word = self.inode().private_word();
        let inode = self.inode().address();
        let mut all = BEFORE.lock();
        if word.load(Relaxed) != before.map_or(0, SocketOps::address) as usize {
            return Ok(false);
        }
        if let Some(before) = before {
            let (count, again) = (Cell::new(0), Cell::new(false));
            BEFORE.find(&rcu::read_lock(), 0, inode, |one| {
                count.set(count.get() + 1);
                again.set(again.get() || ptr::eq(one.ops.as_ptr(), before));
                false
            });
            if count.get() >= MOST_BEFORE && !again.get() {
                return Err(ENOBUFS);
            }
            room = room.filter(|_| !again.get());
        }
        let table = &raw const ops.table;
        let old = word.xchg(ARef::into_raw(ops).as_ptr() as usize, Full);
        // After the record, as those whom it calls look for that.
        let is_set = set(table);
        if let Some(old) = NonNull::new(old as *mut SocketOps) {
            // SAFETY: The record's reference, which is ours now.
            let old = unsafe { ARef::from_raw(old) };
            if let Some(room) = room {
                all.add(
                    room,
                    Before {
                        inode,
                        ops: ARef::into_raw(old),
                    },
                );
            }
        }
        Ok(is_set)
    }

    /// Puts ours around operations that it has just been given by an upper layer protocol, or by giving one up; again if
    /// it is given other ones meanwhile.
    pub(super) fn wrap_again<O: SocketOperations>(&self) -> Result {
        while let Some(record) = self.record() {
            let now = self.operations();
            if ptr::eq(now, &record.table) || now.is_null() || SocketOps::of_table(now).is_some() {
                break;
            }
            let ops = SocketOps::get::<O>(record.network_as(), Original(now), record.confined)?;
            self.change(ops, Some(record), |table| {
                // SAFETY: The record holds it.
                unsafe { self.replace_operations(now, table) }
            })?;
        }
        Ok(())
    }

    /// Its record, or what stands for it: see [`stray`].
    #[inline(always)]
    pub(super) fn ops<O: SocketOperations>(&self) -> &SocketOps {
        match self.record() {
            Some(record) => record,
            None => stray::<O>(self),
        }
    }

    /// Gives one that nobody else knows these operations, of which it has a record.
    pub(super) fn set_operations_of(&self, ops: &SocketOps) {
        // SAFETY: The record holds the table.
        unsafe { self.set_operations(&raw const ops.table) };
    }

    /// Does what peels an association off: see [`peeled_from`].
    pub(super) fn while_peeling<O: SocketOperations>(
        &self,
        peel_off: impl FnOnce() -> c_int,
    ) -> c_int {
        let ops = NonNull::from(self.ops::<O>());
        let task = super::current_raw() as u64;
        match Room::new(GFP_KERNEL_ACCOUNT) {
            Ok(room) => PEELING.lock().add(room, Peeling { task, ops }),
            Err(error) => return error.to_errno(),
        }
        let error = peel_off();
        PEELING.lock().remove(0, task);
        error
    }
}

/// The inode of a socket is being evicted: nobody uses the socket any more.
pub(crate) fn give_up_record(inode: &Inode) {
    let record = inode.private_word().xchg(0, Full) as *mut SocketOps;
    loop {
        let one = BEFORE.lock().pop(0, inode.address());
        let Some(one) = one else { break };
        // SAFETY: The socket's reference.
        drop(unsafe { ARef::from_raw(one.ops) });
    }
    if let Some(record) = NonNull::new(record) {
        // SAFETY: The socket's reference. Last: it keeps the module.
        drop(unsafe { ARef::from_raw(record) });
    }
}

/// What an association that is peeled off by the caller right now comes from.
pub(crate) fn peeled_from() -> Option<ARef<SocketOps>> {
    let found = Cell::new(None);
    PEELING.find(&rcu::read_lock(), 0, super::current_raw() as u64, |one| {
        // SAFETY: The caller is in `while_peeling`, where it has the old socket open.
        found.set(Some(unsafe { one.ops.as_ref() }.into()));
        true
    });
    found.into_inner()
}

/// A socket with operations of ours that has no record. None is known of that kind: it would be one by a way in which
/// the kernel copies operations that docs/sockets.md does not have. It becomes a socket of the network that the
/// operations are of, or of the host with the kernel's own ones.
#[cold]
fn stray<O: SocketOperations>(sock: &Socket) -> &SocketOps {
    loop {
        if let Some(record) = sock.record() {
            return record;
        }
        let ops = match SocketOps::of_table(sock.operations()) {
            Some(ops) => Ok(ops),
            None => O::of_host()
                .and_then(|host| SocketOps::get::<O>(&host, original_of(sock.sock()), false)),
        };
        // Without memory: once more. Small allocations do not fail for long.
        let _ = ops.and_then(|ops| sock.put_under(ops, None));
    }
}

/// The kernel's operations for a stream of IPv4 or IPv6: only those are copied to where sockets of others have them.
fn original_of(sock: Option<&Sock>) -> Original {
    Original(match sock.map(Sock::family) {
        Some(bindings::AF_INET6) => &raw const bindings::inet6_stream_ops,
        _ => &raw const bindings::inet_stream_ops,
    })
}
