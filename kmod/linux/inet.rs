// SPDX-License-Identifier: GPL-2.0

//! Sockets of TCP and UDP, and the tables of those that have a port. In those of TCP there is also what is left of connections
//! (TIME_WAIT), which has only what `struct sock_common` has.

use super::{
    read_once,
    socket_marks::sock_bit::{ANY, PENDING, V4ONLY, V6ONLY},
    Net, Sock, Socket, SocketOps, TheNetwork,
};
use crate::{
    attach::prototype::original,
    bindings,
    policy::{
        address::Ip,
        ports::{Held, Sharing},
    },
};
use core::ptr;
use kernel::{
    ffi::c_int,
    prelude::Pin,
    sync::{global_lock, rcu},
};

const TIME_WAIT: u8 = bindings::TCP_TIME_WAIT as u8;
const NEW_SYN_RECV: u8 = bindings::TCP_NEW_SYN_RECV as u8;
const CLOSE: u8 = bindings::TCP_CLOSE as u8;
const ESTABLISHED: u8 = bindings::TCP_ESTABLISHED as u8;
const LISTEN: u8 = bindings::TCP_LISTEN as u8;

/// A lock of one of the tables of ports.
struct Locked(*mut bindings::spinlock_t);

impl Locked {
    /// # Safety
    ///
    /// `lock` must be of a table of the socket's network namespace, which a socket keeps. Such locks are taken in process
    /// context without another one of these, as the kernel's `get_port` functions do it.
    unsafe fn new(lock: *mut bindings::spinlock_t) -> Self {
        // SAFETY: By contract.
        unsafe { bindings::vserver_inline_spin_lock_bh(lock) };
        Self(lock)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: Taken by `new`.
        unsafe { bindings::vserver_inline_spin_unlock_bh(self.0) };
    }
}

/// Where the sockets of TCP in a network namespace are.
///
/// # Safety
///
/// `net` must be live.
unsafe fn tcp_table(net: *const bindings::net) -> *mut bindings::inet_hashinfo {
    // SAFETY: By contract; a namespace keeps its tables.
    unsafe { (*net).ipv4.tcp_death_row.hashinfo.cast() }
}

/// The same of UDP.
///
/// # Safety
///
/// As [`tcp_table`].
pub(super) unsafe fn udp_table(net: *const bindings::net) -> *mut bindings::udp_table {
    // SAFETY: By contract; a namespace keeps its tables.
    unsafe { (*net).ipv4.udp_table.cast() }
}

/// Which of UDP's two: they differ in how they get a port.
#[derive(Clone, Copy)]
pub(crate) enum Udp {
    V4,
    V6,
}

impl Sock {
    #[inline]
    fn state(&self) -> u8 {
        read_once!(self, __sk_common.skc_state)
    }

    /// Whether it is of the family `AF_INET6`.
    pub(crate) fn is_v6(&self) -> bool {
        read_once!(self, __sk_common.skc_family) == bindings::AF_INET6 as u16
    }

    /// The port that it has; 0 for none.
    pub(crate) fn port(&self) -> u16 {
        // SAFETY: Valid by the type's invariant; reads one field.
        unsafe { bindings::vserver_inline_sk_num(self.as_ptr()) }
    }

    pub(super) fn flags(&self) -> usize {
        // SAFETY: Valid by the type's invariant. All callers know that it is a whole socket, which has flags.
        unsafe { bindings::vserver_inline_sk_flags(self.as_ptr()).read_volatile() }
    }

    fn set_flag(&self, bit: u32, on: bool) {
        // SAFETY: As in `flags`. Others change them atomically or, as callers of this do, under the socket's lock.
        unsafe {
            let flags = bindings::vserver_inline_sk_flags(self.as_ptr());
            if on {
                bindings::set_bit(bit as usize, flags);
            } else {
                bindings::clear_bit(bit as usize, flags);
            }
        }
    }

    /// Between getting a port and being judged for it. For the owner of the socket's lock.
    pub(crate) fn set_pending(&self, on: bool) {
        self.set_flag(PENDING, on);
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.is_whole() && self.flags() & 1 << PENDING != 0
    }

    /// Whether it is a socket, and not what is left of a connection or what one begins as.
    pub(crate) fn is_whole(&self) -> bool {
        !matches!(self.state(), TIME_WAIT | NEW_SYN_RECV)
    }

    /// The address that it is bound to.
    pub(crate) fn address(&self) -> Ip {
        if self.is_v6() {
            let address = read_once!(self, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
            return Ip::of_v6(u128::from_be_bytes(address));
        }
        // SAFETY: Valid by the type's invariant; reads one field.
        Ip::V4(u32::from_be(unsafe {
            bindings::vserver_inline_sk_rcv_saddr(self.as_ptr())
        }))
    }

    pub(super) fn is_v6only(&self) -> bool {
        // SAFETY: Valid by the type's invariant; reads one field.
        unsafe {
            bindings::sock_common::skc_ipv6only_raw(&raw const (*self.as_ptr()).__sk_common) != 0
        }
    }

    /// Whether it is bound to "any" in a network. For a whole socket.
    pub(crate) fn is_of_any(&self) -> bool {
        // SAFETY: As in `flags`.
        unsafe {
            let flags = bindings::vserver_inline_sk_flags(self.as_ptr());
            bindings::vserver_inline_test_bit_acquire(ANY as usize, flags)
        }
    }

    /// Whether that excludes IPv4 addresses. For a whole socket.
    pub(crate) fn is_of_any_v6only(&self) -> bool {
        self.flags() & 1 << V6ONLY != 0
    }

    /// Whether it has a peer.
    pub(crate) fn is_connected(&self) -> bool {
        self.state() == ESTABLISHED
    }

    /// The network of its socket; `None`: it has none, is an orphan or has not been accepted.
    pub(super) fn network<'a, N: TheNetwork>(&self, _guard: &'a rcu::Guard) -> Option<&'a N> {
        let network = self.socket()?.record()?.network_as();
        // SAFETY: A sock leaves its socket before that gives up its network, which goes a grace period later.
        Some(unsafe { &*ptr::from_ref(network) })
    }

    /// Whether its socket is one of a network that confines it.
    pub(crate) fn is_confined(&self) -> bool {
        self.socket()
            .and_then(Socket::record)
            .is_some_and(SocketOps::is_confined)
    }

    /// The network that it is bound to "any" of.
    pub(crate) fn any_of<'a, N: TheNetwork>(&self, guard: &'a rcu::Guard) -> Option<&'a N> {
        // A connection that a listener has accepted is a copy of it, with that flag.
        if !matches!(self.state(), LISTEN | CLOSE) || self.flags() & 1 << ANY == 0 {
            return None;
        }
        self.network(guard)
    }

    /// Where it holds its port.
    pub(crate) fn held<'a, N: TheNetwork + 'a>(&self, guard: &'a rcu::Guard) -> Held<'a> {
        let address = self.address();
        if let Some(set) = self.any_of::<N>(guard).and_then(N::set) {
            if set.is_own_v4(address) || set.is_own_v6(address) {
                let (flags, is_v6) = (self.flags(), self.is_v6());
                return Held::Any {
                    set,
                    v4: !is_v6 || flags & 1 << V6ONLY == 0,
                    v6: is_v6 && flags & 1 << V4ONLY == 0,
                };
            }
        }
        Held::Plain {
            address,
            v6only: self.is_v6only(),
        }
    }

    /// How it shares its port.
    pub(crate) fn sharing(&self) -> Sharing {
        // SAFETY: Valid by the type's invariant; each reads one field.
        let (reuse, reuseport) = unsafe {
            let common = &raw const (*self.as_ptr()).__sk_common;
            (
                bindings::sock_common::skc_reuse_raw(common),
                bindings::sock_common::skc_reuseport_raw(common),
            )
        };
        Sharing {
            reuse: reuse != 0,
            reuseport: reuseport != 0,
            device: read_once!(self, __sk_common.skc_bound_dev_if),
            user: self.is_whole().then(|| self.user()),
            listens: self.listens(),
        }
    }

    /// Its owner, in the first user namespace. For a whole socket.
    fn user(&self) -> u32 {
        read_once!(self, sk_uid.val)
    }

    /// Whether it listens, or is about to.
    pub(crate) fn listens(&self) -> bool {
        self.state() == LISTEN
    }

    /// Whether nothing is checked at all (SK_FORCE_REUSE, of a connection that is being restored).
    pub(crate) fn forces(&self) -> bool {
        // SAFETY: Valid by the type's invariant; reads one field.
        let reuse = unsafe {
            bindings::sock_common::skc_reuse_raw(&raw const (*self.as_ptr()).__sk_common)
        };
        u32::from(reuse) == bindings::SK_FORCE_REUSE
    }

    /// Whether it may become one of a group that shares a port, or be the first of one.
    pub(crate) fn may_join(&self, _guard: &rcu::Guard) -> bool {
        let group = read_once!(self, sk_reuseport_cb);
        if group.is_null() {
            return true;
        }
        // SAFETY: Freed a grace period after it is nobody's.
        let has_closed = || unsafe { (&raw const (*group).num_closed_socks).read_volatile() != 0 };
        self.protocol() == bindings::IPPROTO_TCP && has_closed()
    }

    /// Whether a socket of TCP has a port, as the tables have it.
    pub(crate) fn has_tcp_port(&self) -> bool {
        // SAFETY: The callers' socket is one of TCP, and they own its lock.
        unsafe { !(*self.as_connection()).icsk_bind_hash.is_null() }
    }

    /// The kernel's function.
    pub(crate) fn get_tcp_port(&self, port: u16) -> c_int {
        // SAFETY: The callers own the lock of a socket of TCP; the hook is attached while they run, or it was and its text
        // stays.
        unsafe { original!(inet_csk_get_port(self.as_ptr(), port)) }
    }

    /// Gives its port back.
    pub(crate) fn put_port(&self) {
        // SAFETY: The callers own the lock of a socket, which so keeps its protocol.
        let put_port = unsafe { (*read_once!(self, __sk_common.skc_prot)).put_port };
        // Both TCP and UDP have it.
        if let Some(put_port) = put_port {
            // SAFETY: The callers own the lock of a socket of TCP or UDP that has a port.
            unsafe { put_port(self.as_ptr()) }
        }
    }

    /// Whether one of the sockets at its port is so. Their lock is held meanwhile. `at`: which addresses they are to be
    /// bound to. `then` is called before the lock goes when none is.
    pub(crate) fn any_at_tcp_port(
        &self,
        at: impl Fn(Ip) -> bool,
        is_so: impl Fn(&Sock) -> bool,
        then: impl FnOnce(),
    ) -> bool {
        // SAFETY: The callers own the lock of a socket of TCP that has a port: the bucket is that port's, and the lists are
        // changed under the lock only. On them are sockets, or what is left of them, that are taken out before they go.
        unsafe {
            let own = self.as_ptr();
            let net = self.net().as_ptr();
            let table = tcp_table(net);
            let size = (*table).bhash_size;
            let place = bindings::vserver_inline_inet_bhashfn(net, self.port(), size);
            let head = (*table).bhash.add(place as usize);
            let _locked = Locked::new(&raw mut (*head).lock);
            let bucket = (*self.as_connection()).icsk_bind_hash;
            let mut node = (*bucket).bhash2.first;
            while !node.is_null() {
                let place = kernel::container_of!(node, bindings::inet_bind2_bucket, bhash_node);
                node = (*node).next;
                let address = (*place).v6_rcv_saddr.in6_u.u6_addr8;
                if !at(Ip::of_v6(u128::from_be_bytes(address))) {
                    continue;
                }
                let mut owner = (*place).owners.first;
                while !owner.is_null() {
                    let other = bindings::vserver_inline_sk_of_bind_node(owner);
                    owner = (*owner).next;
                    if other != own && is_so(Sock::from_ptr(other)) {
                        return true;
                    }
                }
            }
            then();
            false
        }
    }

    /// The kernel's function.
    pub(crate) fn get_udp_port(&self, kind: Udp, port: u16) -> c_int {
        // SAFETY: The callers own the lock of a socket of UDP of that kind.
        unsafe {
            match kind {
                Udp::V4 => original!(udp_v4_get_port(self.as_ptr(), port)),
                Udp::V6 => original!(udp_v6_get_port(self.as_ptr(), port)),
            }
        }
    }

    /// As [`Self::any_at_tcp_port`], for UDP and any port.
    pub(crate) fn any_at_udp_port(
        &self,
        port: u16,
        is_so: impl Fn(&Sock) -> bool,
        then: impl FnOnce(),
    ) -> bool {
        // SAFETY: The slot is of the table of the socket's network namespace, and its list is changed under the lock only.
        unsafe {
            let own = self.as_ptr();
            let net = self.net().as_ptr();
            let slot = bindings::vserver_inline_udp_hashslot(udp_table(net), net, port.into());
            let _locked = Locked::new(&raw mut (*slot).lock);
            let mut node = (*slot).__bindgen_anon_1.head.as_ref().first;
            while !node.is_null() {
                let other = bindings::vserver_inline_sk_of_node(node);
                node = (*node).next;
                if other != own
                    && bindings::vserver_inline_udp_port_hash(other.cast()) == port
                    && ptr::eq((*other).__sk_common.skc_net.net, net)
                    && is_so(Sock::from_ptr(other))
                {
                    return true;
                }
            }
            then();
            false
        }
    }

    /// The ports from which the kernel chooses one, both ends included.
    pub(crate) fn ports_to_choose(&self) -> (u16, u16) {
        let (mut low, mut high) = (0, 0);
        // SAFETY: Valid by the type's invariant; the numbers are locals.
        unsafe { bindings::inet_sk_get_local_port_range(self.as_ptr(), &mut low, &mut high) };
        (low as u16, high as u16)
    }

    /// Whether the kernel never chooses a port.
    pub(crate) fn is_reserved(&self, port: u16) -> bool {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::vserver_inline_inet_is_local_reserved_port(self.net().as_ptr(), port) }
    }
}

/// A number that nobody foresees.
pub(crate) fn random() -> u32 {
    // SAFETY: No preconditions.
    unsafe { bindings::get_random_u32() }
}

/// Lets others have the processor.
pub(crate) fn cond_resched() {
    // SAFETY: For callers that hold no spinlock.
    unsafe { bindings::vserver_inline_cond_resched() };
}

global_lock! {
    // SAFETY: `init_names` runs in module init, before there is a network.
    unsafe(uninit) static NAMES: Mutex<()> = ();
}

/// In module init.
pub(crate) fn init_names() {
    // SAFETY: Called once, before `NAMES` is used.
    unsafe { NAMES.init() };
}

/// For naming an address of a loopback: one caller at a time.
pub(crate) fn lock_names() -> impl Sized {
    NAMES.lock()
}

/// Goes through the addresses that sockets of TCP and UDP are bound to in the caller's network namespace, and those of UDP
/// that they are connected to. Of connections both ends are there. Sleeps.
pub(crate) fn each_local_address(mut see: impl FnMut(Ip)) {
    // SAFETY: The caller has a network namespace, which keeps its tables. Their lists are changed under the locks only, and what
    // is on them is taken out before it goes.
    unsafe {
        let table = tcp_table(Net::own_raw());
        for index in 0..(*table).bhash_size as usize {
            let head = (*table).bhash.add(index);
            let locked = Locked::new(&raw mut (*head).lock);
            let mut node = (*head).chain.first;
            while !node.is_null() {
                let bucket = kernel::container_of!(node, bindings::inet_bind_bucket, node);
                node = (*node).next;
                let mut place = (*bucket).bhash2.first;
                while !place.is_null() {
                    let one = kernel::container_of!(place, bindings::inet_bind2_bucket, bhash_node);
                    place = (*place).next;
                    let address = (*one).v6_rcv_saddr.in6_u.u6_addr8;
                    see(Ip::of_v6(u128::from_be_bytes(address)));
                }
            }
            drop(locked);
            if index % 64 == 63 {
                cond_resched();
            }
        }
        let table = udp_table(Net::own_raw());
        for index in 0..=(*table).mask as usize {
            let slot = (*table).hash.add(index);
            let locked = Locked::new(&raw mut (*slot).lock);
            let mut node = (*slot).__bindgen_anon_1.head.as_ref().first;
            while !node.is_null() {
                let one = Sock::from_ptr(bindings::vserver_inline_sk_of_node(node));
                node = (*node).next;
                see(one.address());
                let peer = bindings::vserver_inline_sk_daddr(one.as_ptr());
                see(Ip::V4(u32::from_be(peer)));
            }
            drop(locked);
            if index % 64 == 63 {
                cond_resched();
            }
        }
    }
}
