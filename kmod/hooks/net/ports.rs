// SPDX-License-Identifier: GPL-2.0

//! Ports: sockets that are bound to "any" in a network against all others.
//!
//! The kernel judges by what sockets are bound to for it, and such a socket is bound to its network's loopback. So
//! after the kernel has let a socket have a port, it is judged once more here (`policy/ports.rs`), under the lock of the
//! kernel's own table of ports, and loses the port again if another one holds it. A socket is pending from before it is in
//! the table until it has been judged. Those that are pending are not looked at: of two that come at the same time, the
//! first to be judged wins, and the second one sees it.
//!
//! Without any network nobody is judged. Who was let through just before there was one is judged afterwards: either it is
//! in the table when the first socket of the network is judged, or it sees that there is a network when it comes out of
//! the kernel's function, as both take the table's lock.

use crate::{
    attach::hook::hooks,
    context::network::Network,
    linux::{cond_resched, random, Sock, Udp},
    policy::{
        address::Ip,
        ports::{Held, Sharing},
    },
};
use kernel::{
    ffi::{c_int, c_ushort},
    prelude::*,
    sync::rcu,
};

/// How often the kernel is asked for another port when somebody holds the one that it has chosen.
const TRIES: u32 = 64;

/// What a socket that wants a port is compared by.
struct Claim<'a> {
    held: Held<'a>,
    sharing: Sharing,
    joins: bool,
}

impl<'a> Claim<'a> {
    fn new(sk: &Sock, guard: &'a rcu::Guard) -> Self {
        Self {
            held: sk.held::<Network>(guard),
            sharing: sk.sharing(),
            joins: sk.may_join(guard),
        }
    }

    /// Whether another socket may be one that stands in the way, by what it is bound to.
    fn is_near(&self, address: Ip) -> bool {
        Ip::is_place_of_any(address)
            || matches!(self.held, Held::Any { .. })
                && self.held.meets(&Held::Plain {
                    address,
                    v6only: false,
                })
    }

    fn meets(&self, other: &Sock, guard: &rcu::Guard) -> bool {
        !other.is_pending() && self.held.meets(&other.held::<Network>(guard))
    }
}

/// Whether somebody else holds the port that a socket of TCP has got. Otherwise it is not pending any more.
fn is_taken_tcp(sk: &Sock, chosen: bool) -> bool {
    if sk.forces() {
        sk.set_pending(false);
        return false;
    }
    let guard = rcu::read_lock();
    let claim = Claim::new(sk, &guard);
    sk.any_at_tcp_port(
        |address| claim.is_near(address),
        |other| {
            claim.meets(other, &guard)
                && claim
                    .sharing
                    .conflicts_tcp(&other.sharing(), claim.joins, chosen)
        },
        || sk.set_pending(false),
    )
}

/// A socket of TCP that has just got a port: it may have to give it back.
#[cold]
fn judge_tcp(sk: &Sock, chosen: bool) -> c_int {
    if !is_taken_tcp(sk, chosen) {
        return 0;
    }
    sk.put_port();
    sk.set_pending(false);
    EADDRINUSE.to_errno()
}

#[cold]
fn get_tcp_port(sk: &Sock, port: u16) -> c_int {
    // One that is about to listen: it only has to ask whether it may.
    if sk.has_tcp_port() {
        let error = sk.get_tcp_port(port);
        if error == 0 && is_taken_tcp(sk, false) {
            return EADDRINUSE.to_errno();
        }
        return error;
    }
    let tries = if port == 0 { TRIES } else { 1 };
    for _ in 0..tries {
        sk.set_pending(true);
        let mut error = sk.get_tcp_port(port);
        if error != 0 {
            sk.set_pending(false);
            return error;
        }
        error = judge_tcp(sk, port == 0);
        if error == 0 {
            return 0;
        }
    }
    // A port that was asked for may be a BPF program's wish (`bpf_bind`), which cannot sleep.
    if port != 0 {
        return EADDRINUSE.to_errno();
    }
    cond_resched();
    choose(sk, |port| get_unshared_tcp_port(sk, port))
}

/// A port that was not asked for. The kernel looks at one half of the ports first, the odd ones as a rule, and finds
/// one there each time, though somebody may hold them all.
fn get_unshared_tcp_port(sk: &Sock, port: u16) -> c_int {
    sk.set_pending(true);
    let error = sk.get_tcp_port(port);
    if error != 0 {
        sk.set_pending(false);
        return error;
    }
    // The kernel takes it for one that was asked for, and lets it be shared.
    let sharing = sk.sharing();
    let shared =
        (sharing.reuse || sharing.reuseport) && sk.any_at_tcp_port(|_| true, |_| true, || ());
    if shared {
        sk.put_port();
        sk.set_pending(false);
        return EADDRINUSE.to_errno();
    }
    judge_tcp(sk, true)
}

/// Goes through all ports from which the kernel would choose one, until one can be taken.
fn choose(sk: &Sock, mut take: impl FnMut(u16) -> c_int) -> c_int {
    let (low, high) = sk.ports_to_choose();
    let count = u32::from(high.saturating_sub(low)) + 1;
    let first = random() % count;
    for step in 0..count {
        let port = low + ((first + step) % count) as u16;
        if port != 0 && !sk.is_reserved(port) {
            let error = take(port);
            if error != EADDRINUSE.to_errno() {
                return error;
            }
        }
        if step % 64 == 63 {
            cond_resched();
        }
    }
    EADDRINUSE.to_errno()
}

fn is_taken_udp(
    sk: &Sock,
    port: u16,
    claim: &Claim<'_>,
    guard: &rcu::Guard,
    then: impl FnOnce(),
) -> bool {
    if sk.forces() {
        then();
        return false;
    }
    sk.any_at_udp_port(
        port,
        |other| {
            // The receivers of groups.
            !other.forces()
                && claim.meets(other, guard)
                && claim.sharing.conflicts_udp(&other.sharing(), claim.joins)
        },
        then,
    )
}

/// As [`judge_tcp`]. `claim` is from before it had the port, which may have made it one of a group.
fn judge_udp(sk: &Sock, claim: &Claim<'_>, guard: &rcu::Guard) -> c_int {
    if !is_taken_udp(sk, sk.port(), claim, guard, || sk.set_pending(false)) {
        return 0;
    }
    sk.put_port();
    sk.set_pending(false);
    EADDRINUSE.to_errno()
}

/// Asks first, as a socket of UDP receives from the moment that it has a port.
fn get_this_udp_port(sk: &Sock, port: u16, kind: Udp) -> c_int {
    let guard = rcu::read_lock();
    let claim = Claim::new(sk, &guard);
    if is_taken_udp(sk, port, &claim, &guard, || ()) {
        return EADDRINUSE.to_errno();
    }
    sk.set_pending(true);
    let error = sk.get_udp_port(kind, port);
    if error != 0 {
        sk.set_pending(false);
        return error;
    }
    judge_udp(sk, &claim, &guard)
}

/// Without a port the kernel would choose one before it can be asked who holds it: so it is chosen here.
#[cold]
fn get_udp_port(sk: &Sock, port: u16, kind: Udp) -> c_int {
    if port != 0 {
        return get_this_udp_port(sk, port, kind);
    }
    choose(sk, |port| get_this_udp_port(sk, port, kind))
}

/// It got its port, or listens by now, when there was no network yet.
#[cold]
fn judge_tcp_late(sk: &Sock) -> c_int {
    if !sk.listens() {
        return judge_tcp(sk, false);
    }
    if is_taken_tcp(sk, false) {
        EADDRINUSE.to_errno()
    } else {
        0
    }
}

/// As above.
#[cold]
fn judge_udp_late(sk: &Sock) -> c_int {
    let guard = rcu::read_lock();
    // What it is a member of by now is its own group, if it shares the port at all.
    let claim = Claim {
        joins: true,
        ..Claim::new(sk, &guard)
    };
    judge_udp(sk, &claim, &guard)
}

/// Whether a socket that a network confines is about to get a port at all addresses of the host. The module asks for no such
/// port. The kernel binds sockets by itself, in calls that then fail, or that another thread has overtaken.
#[cold]
fn reaches_out(sk: &Sock) -> bool {
    matches!(sk.address(), Ip::V4(0) | Ip::V6(0)) && !sk.is_of_any() && sk.is_confined()
}

hooks! {
    wrap_atomic(original) fn inet_csk_get_port(sk: &Sock, port: c_ushort) -> c_int {
        if Network::any() {
            if reaches_out(sk) {
                EADDRNOTAVAIL.to_errno()
            } else {
                get_tcp_port(sk, port)
            }
        } else {
            let error = original();
            if error == 0 && Network::any() { judge_tcp_late(sk) } else { error }
        }
    }

    wrap_atomic(original) fn udp_v4_get_port(sk: &Sock, port: c_ushort) -> c_int {
        if Network::any() {
            if reaches_out(sk) {
                EADDRNOTAVAIL.to_errno()
            } else {
                get_udp_port(sk, port, Udp::V4)
            }
        } else {
            let error = original();
            if error == 0 && Network::any() { judge_udp_late(sk) } else { error }
        }
    }

    wrap_atomic(original) fn udp_v6_get_port(sk: &Sock, port: c_ushort) -> c_int {
        if Network::any() {
            if reaches_out(sk) {
                EADDRNOTAVAIL.to_errno()
            } else {
                get_udp_port(sk, port, Udp::V6)
            }
        } else {
            let error = original();
            if error == 0 && Network::any() { judge_udp_late(sk) } else { error }
        }
    }
}
