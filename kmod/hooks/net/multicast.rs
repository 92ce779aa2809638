// SPDX-License-Identifier: GPL-2.0

//! Datagrams to groups and broadcast addresses, for sockets that are bound to "any" in a network
//! (`bind.rs`). Such a socket is bound to the network's loopback, so the kernel does not deliver
//! such datagrams to it. Instead, a *receiver* gets them: a kernel socket for one address and port,
//! which gives a copy to each of its *members*. Receivers exist only while there are members, so
//! other sockets do not pay for them.
//!
//! `CHANGES` is the mutex of those who add and remove receivers and members. Its holders sleep, and
//! take the locks of receivers and of a bind. Softirq reads both tables under RCU. A member is
//! removed before its socket is released, and a receiver with its last member; so both are gone
//! before their network namespace.

use super::decisions::{is_multicast_v4, mapped, unmapped, Be32, In6};
use super::network::OfNetwork;
use crate::{
    bindings::{sock_type_SOCK_DGRAM, IPPROTO_UDP},
    context::network::Network,
    linux::{
        global_mutex, Arrival, Datagram, ExclusiveSocket, InetSocketAddress, Keyed, ListedSock,
        Net, RcuTable, Receiver, Room, SkBuff, Sock,
    },
};
use kernel::{
    alloc::{flags::GFP_KERNEL_ACCOUNT, KVVec},
    ffi::c_int,
    prelude::*,
    sync::rcu,
};

global_mutex! {
    static CHANGES: () = (); init init_changes
}

/// A receiver and its address and port. An IPv4 address is mapped.
#[derive(Clone, Copy)]
struct Receiving {
    namespace: u64,
    address: In6,
    port: u16,
    receiver: Receiver,
    /// The sock of the receiver.
    sock: ListedSock,
}

/// A hash of an address and a port in a network namespace.
fn hash(namespace: u64, address: In6, port: u16) -> u64 {
    let address = u128::from_ne_bytes(address);
    namespace.rotate_left(32) ^ u64::from(port) ^ address as u64 ^ (address >> 64) as u64
}

impl Keyed<2> for Receiving {
    fn keys(&self) -> [u64; 2] {
        [
            hash(self.namespace, self.address, self.port),
            self.sock.address(),
        ]
    }
}

const BY_PLACE: usize = 0;

static RECEIVERS: RcuTable<Receiving, 2, 256> = RcuTable::new();

/// A socket that gets copies from a receiver.
#[derive(Clone, Copy)]
struct Member {
    sock: ListedSock,
    /// The sock of the receiver.
    receiver: ListedSock,
    address: In6,
    port: u16,
}

impl Keyed<2> for Member {
    fn keys(&self) -> [u64; 2] {
        [self.receiver.address(), self.sock.address()]
    }
}

const BY_RECEIVER: usize = 0;

static MEMBERS: RcuTable<Member, 2, 256> = RcuTable::new();

/// The same place in both tables.
const BY_SOCK: usize = 1;

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    init_changes();
    RECEIVERS.init(c"vserver_receivers");
    MEMBERS.init(c"vserver_group_members");
}

/// Whether a socket has joined an IPv4 group at a device, and accepts the sender.
fn has_joined_v4(sk: &Sock, group: Be32, sender: Be32, device: c_int, guard: &rcu::Guard) -> bool {
    sk.groups_v4(guard)
        .any(|one| one.address() == group && one.device() == device)
        && sk.takes_sender_v4(group, sender, device, guard)
}

/// The same for an IPv6 group, at any device.
fn has_joined_v6(sk: &Sock, group: &In6, sender: &In6, guard: &rcu::Guard) -> bool {
    sk.groups_v6(guard).any(|one| one.address() == *group)
        && sk.takes_sender_v6(group, sender, guard)
}

/// Whether a member gets a datagram.
fn takes(receiving: &Receiving, sk: &Sock, packet: &SkBuff, guard: &rcu::Guard) -> bool {
    // A socket with a peer is bound to one address.
    if !sk.is_of_any() || sk.is_connected() || sk.source_port() != receiving.port {
        return false;
    }
    let device = packet.device(guard);
    let index = device.map_or(0, |device| device.index());
    if sk.bound_device() != 0 && sk.bound_device() != index {
        return false;
    }
    let Some(address) = unmapped(receiving.address) else {
        return has_joined_v6(sk, &receiving.address, &packet.sender_v6(), guard);
    };
    if sk.is_of_any_v6only() {
        return false;
    }
    if is_multicast_v4(address) {
        return has_joined_v4(sk, address, packet.sender_v4(), index, guard);
    }
    match (sk.any_of::<Network>(guard), device) {
        (Some(network), Some(device)) => device.is_seen_by(network, guard),
        _ => false,
    }
}

/// What receivers do.
struct Delivery;

impl Arrival for Delivery {
    /// Delivers what is in the queue of a receiver. In softirq.
    fn arrived(receiver: &Sock) {
        let guard = rcu::read_lock();
        let key = ListedSock::new(receiver).address();
        let receiving = RECEIVERS.find(&guard, BY_SOCK, key, |_| true);
        while let Some(datagram) = Datagram::next(receiver) {
            let Some(receiving) = receiving.filter(|_| datagram.has_right_checksum()) else {
                continue;
            };
            datagram.find_device(receiver, unmapped(receiving.address).is_some(), &guard);
            MEMBERS.find(&guard, BY_RECEIVER, key, |member| {
                let sk = member.sock.get(&guard);
                if takes(receiving, sk, datagram.packet(), &guard) {
                    datagram.hand_to(sk);
                }
                false
            });
            datagram.consume();
        }
    }
}

fn bind(receiver: Receiver, address: In6, port: u16) -> Result {
    let (mut place, length) = match unmapped(address) {
        Some(v4) => (InetSocketAddress::of_v4(v4), InetSocketAddress::LENGTH_V4),
        None => (
            InetSocketAddress::of_v6(address),
            InetSocketAddress::LENGTH_V6,
        ),
    };
    place.set_port(port);
    receiver.bind(&mut place, length)
}

fn new_receiver(net: &Net, address: In6, port: u16) -> Result<ListedSock> {
    let room = Room::new(GFP_KERNEL_ACCOUNT)?;
    let receiver = Receiver::new::<Delivery>(net, unmapped(address).is_some())?;
    let sock = ListedSock::new(receiver.sock());
    RECEIVERS.lock().add(
        room,
        Receiving {
            namespace: net.number(),
            address,
            port,
            receiver,
            sock,
        },
    );
    bind(receiver, address, port)
        .inspect_err(|_| end(receiver, sock))
        .map(|()| sock)
}

fn end(receiver: Receiver, sock: ListedSock) {
    RECEIVERS.lock().remove(BY_SOCK, sock.address());
    receiver.release();
}

fn find_receiver(net: &Net, address: In6, port: u16) -> Result<ListedSock> {
    let namespace = net.number();
    let key = hash(namespace, address, port);
    let found = RECEIVERS
        .find(&rcu::read_lock(), BY_PLACE, key, |one| {
            one.namespace == namespace && one.address == address && one.port == port
        })
        .map(|one| one.sock);
    found.map_or_else(|| new_receiver(net, address, port), Ok)
}

fn leave(member: &Member) {
    let receiver = member.receiver.address();
    MEMBERS
        .lock()
        .remove_if(BY_SOCK, member.sock.address(), |one| {
            one.receiver.address() == receiver
        });
    let last = {
        let guard = rcu::read_lock();
        match MEMBERS.find(&guard, BY_RECEIVER, receiver, |_| true) {
            Some(_) => None,
            None => RECEIVERS.find(&guard, BY_SOCK, receiver, |_| true).copied(),
        }
    };
    if let Some(last) = last {
        end(last.receiver, last.sock);
    }
}

/// Ends all memberships of a socket except those that stay.
fn leave_others(sk: &Sock, stays: impl Fn(&Member) -> bool) {
    let key = ListedSock::new(sk).address();
    loop {
        let other = MEMBERS
            .find(&rcu::read_lock(), BY_SOCK, key, |one| !stays(one))
            .copied();
        match other {
            Some(member) => leave(&member),
            None => break,
        }
    }
}

/// Makes a socket a member of the receiver for an address.
fn want(sk: &Sock, address: In6) -> Result {
    let (sock, port) = (ListedSock::new(sk), sk.source_port());
    let is_member = MEMBERS
        .find(&rcu::read_lock(), BY_SOCK, sock.address(), |one| {
            one.port == port && one.address == address
        })
        .is_some();
    if is_member {
        return Ok(());
    }
    let room = Room::new(GFP_KERNEL_ACCOUNT)?;
    let receiver = match find_receiver(sk.net(), address, port) {
        Ok(receiver) => receiver,
        // A socket of the host has the address and port exclusively, and gets all datagrams.
        Err(error) if error == EADDRINUSE => return Ok(()),
        Err(error) => return Err(error),
    };
    MEMBERS.lock().add(
        room,
        Member {
            sock,
            receiver,
            address,
            port,
        },
    );
    Ok(())
}

/// The groups that a socket has joined, in a list with room for two more.
fn groups_of(sk: &Sock) -> Result<KVVec<In6>> {
    // The kernel joins and leaves groups under this lock, so both passes see the same groups.
    let _locked = sk.lock();
    let is_v6 = sk.is_v6();
    let count = {
        let guard = rcu::read_lock();
        let v6 = if is_v6 {
            sk.groups_v6(&guard).count()
        } else {
            0
        };
        sk.groups_v4(&guard).count() + v6
    };
    let mut groups = KVVec::with_capacity(count + 2, GFP_KERNEL_ACCOUNT)?;
    let guard = rcu::read_lock();
    for group in sk.groups_v4(&guard) {
        // There is room.
        let _ = groups.push_within_capacity(mapped(group.address()));
    }
    if is_v6 {
        for group in sk.groups_v6(&guard) {
            let _ = groups.push_within_capacity(group.address());
        }
    }
    Ok(groups)
}

/// Brings the memberships of a socket up to date, after it has been bound to "any", or has joined
/// or left groups. It gets what is sent to its groups, and if the program has chosen its port, what
/// is sent to broadcast addresses. Sleeps.
pub(crate) fn update(sock: &ExclusiveSocket<'_>) -> Result {
    let sk = sock.sock();
    let is_udp = sk.kind() == sock_type_SOCK_DGRAM && sk.protocol() == IPPROTO_UDP;
    if !is_udp || !sock.socket().is_of_any() {
        return Ok(());
    }
    // Before the mutex of all: another thread may have the sock locked for as long as it likes, with a message whose memory does
    // not come.
    let mut wanted = groups_of(sk)?;
    let _changes = CHANGES.lock();
    let broadcast = sock.network().set_or_nothing().broadcast;
    if broadcast != 0 && sk.has_chosen_port() && !sk.is_of_any_v6only() {
        let _ = wanted.push_within_capacity(mapped(broadcast.to_be()));
        let _ = wanted.push_within_capacity(mapped(u32::MAX));
    }
    let mut result = Ok(());
    let mut count = 0;
    for address in &wanted {
        result = want(sk, *address);
        if result.is_err() {
            break;
        }
        count += 1;
    }
    let port = sk.source_port();
    leave_others(sk, |member| {
        member.port == port && wanted[..count].contains(&member.address)
    });
    result
}

/// Ends all memberships of a socket that is about to be released. Sleeps.
pub(crate) fn leave_all(sk: &Sock) {
    // No mark on the socket says this: the kernel changes its other marks without atomics, under a lock that is not held here.
    let key = ListedSock::new(sk).address();
    let is_member = MEMBERS
        .find(&rcu::read_lock(), BY_SOCK, key, |_| true)
        .is_some();
    if !is_member {
        return;
    }
    let _changes = CHANGES.lock();
    leave_others(sk, |_| false);
}
