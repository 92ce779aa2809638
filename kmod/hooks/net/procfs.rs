// SPDX-License-Identifier: GPL-2.0

//! `/proc/net`: each context sees its own sockets, context 0 too, and context 1 all of them. A reader who is confined to
//! addresses sees the devices that have one of them, and what belongs to these.
//!
//! The kernel's functions write one line or several for an element. They are called, and what they have written is taken
//! back or corrected. None of them sleeps.

use super::owner;
use super::unix;
use crate::{
    attach::hook::hooks,
    context::{membership::with_own_network, network::Network},
    linux::{Inet6Address, NetDevice, Route6, Row, Seq, Sock, SockNode, SEQ_SKIP},
    policy::{
        address::{Ip, Set},
        proc_net::{correct_socket, seen_lines, seen_of_trie, Device},
    },
    uapi::CONTEXT_ROOT,
};
use kernel::{
    ffi::{c_int, c_void},
    sync::rcu,
};

/// Calls `work` with the addresses of a reader who does not see all devices.
fn narrow<R>(seq: &Seq, work: impl FnOnce(Option<(&Network, Set<'_>)>) -> R) -> R {
    with_own_network(|network| work(network.and_then(|network| confining(seq, network))))
}

fn confining<'a>(seq: &Seq, network: &'a Network) -> Option<(&'a Network, Set<'a>)> {
    let set = network
        .set()
        .filter(|_| network.confines(seq.net().number()))?;
    Some((network, set))
}

/// Whether a reader sees a socket that has an address.
fn sees(seq: &Seq, viewer: Option<&Network>, sk: &Sock) -> bool {
    owner::is_seen(viewer, seq.net(), sk.inode_number(), Some(sk.address()))
}

/// Whether a reader sees a socket without addresses of the network.
fn sees_other(seq: &Seq, viewer: Option<&Network>, sk: &Sock) -> bool {
    owner::is_seen(viewer, seq.net(), sk.inode_number(), None)
}

/// What a program has bound a socket to that is bound to the loopback of its network.
fn bound(sk: &Sock, set: &Set<'_>) -> Option<Ip> {
    let place = sk.address();
    sk.any_as_bound()
        .filter(|_| set.is_own_v4(place) || set.is_own_v6(place))
}

/// The line of a socket of IPv4 or IPv6.
fn socket(seq: &Seq, row: &Row<'_, Sock>, is_v6: bool, show: impl FnOnce() -> c_int) -> c_int {
    let Some(sk) = row.element() else {
        return show();
    };
    with_own_network(|viewer| {
        if !sees(seq, viewer, sk) {
            return SEQ_SKIP;
        }
        match viewer.and_then(|viewer| confining(seq, viewer)) {
            Some((_, set)) => seq.changed(show, |line| {
                correct_socket(line, is_v6, &set, bound(sk, &set));
                line.len()
            }),
            None => show(),
        }
    })
}

/// The end of the line of a Unix socket with an abstract name, which the kernel writes with "@" for each NUL.
fn correct_name(seq: &Seq, sk: &Sock, network: &Network) {
    let name = sk
        .unix_name()
        .filter(|name| name.path().first() == Some(&0));
    if let Some(name) = name {
        let length = name.path().len() + b"\n".len();
        let name = name.change(|name| unix::inward(network, name));
        let text = name
            .path()
            .iter()
            .map(|byte| if *byte == 0 { b'@' } else { *byte });
        seq.replace_end(length, text.chain(Some(b'\n')));
    }
}

fn unix_socket(seq: &Seq, sk: &Sock, show: impl FnOnce() -> c_int) -> c_int {
    with_own_network(|viewer| {
        if !sees_other(seq, viewer, sk) {
            return SEQ_SKIP;
        }
        let answer = show();
        // Outside of contexts names are what they are.
        let viewer = viewer.filter(|viewer| viewer.context() != CONTEXT_ROOT);
        if let (0, Some(network)) = (answer, viewer) {
            correct_name(seq, sk, network);
        }
        answer
    })
}

/// The line of a socket that shows nothing but itself.
fn other_socket(seq: &Seq, sk: Option<&Sock>, show: impl FnOnce() -> c_int) -> c_int {
    let is_hidden = sk.is_some_and(|sk| with_own_network(|viewer| !sees_other(seq, viewer, sk)));
    if is_hidden {
        SEQ_SKIP
    } else {
        show()
    }
}

/// Lines that each belong to a device.
fn lines(seq: &Seq, row: &Row<'_, c_void>, which: Device, show: impl FnOnce() -> c_int) -> c_int {
    narrow(seq, |reader| match (reader, row.element()) {
        (Some((network, _)), Some(_)) => {
            seq.changed(show, |text| seen_of_network(seq, network, which, text))
        }
        _ => show(),
    })
}

fn seen_of_network(seq: &Seq, network: &Network, which: Device, text: &mut [u8]) -> usize {
    seen_lines(text, which, |name| seq.net().shows_to(network, name))
}

fn is_hidden_route(route: &Route6, set: &Set<'_>) -> bool {
    route.is_of_address() && !set.shows_v6(route.destination())
}

hooks! {
    wrap_atomic(original) fn tcp4_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, false, original)
    }

    wrap_atomic(original) fn tcp6_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, true, original)
    }

    wrap_atomic(original) fn udp4_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, false, original)
    }

    wrap_atomic(original) fn udp6_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, true, original)
    }

    wrap_atomic(original) fn raw_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, false, original)
    }

    wrap_atomic(original) fn raw6_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, true, original)
    }

    wrap_atomic(original) fn ping_v4_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, false, original)
    }

    wrap_atomic(original) fn ping_v6_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        socket(seq, &row, true, original)
    }

    wrap_atomic(original) fn unix_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        match row.element() {
            Some(sk) => unix_socket(seq, sk, original),
            None => original(),
        }
    }

    wrap_atomic(original) fn packet_seq_show(seq: &Seq, row: Row<'_, SockNode>) -> c_int {
        other_socket(seq, row.element().map(SockNode::sock), original)
    }

    wrap_atomic(original) fn netlink_seq_show(seq: &Seq, row: Row<'_, Sock>) -> c_int {
        other_socket(seq, row.element(), original)
    }

    wrap_atomic(original) fn dev_seq_show(seq: &Seq, row: Row<'_, NetDevice>) -> c_int {
        narrow(seq, |reader| match (reader, row.element()) {
            (Some((network, _)), Some(device)) if !device.is_seen_by(network, &rcu::read_lock()) => SEQ_SKIP,
            _ => original(),
        })
    }

    wrap_atomic(original) fn fib_route_seq_show(seq: &Seq, row: Row<'_, c_void>) -> c_int {
        lines(seq, &row, Device::First, original)
    }

    wrap_atomic(original) fn arp_seq_show(seq: &Seq, row: Row<'_, c_void>) -> c_int {
        lines(seq, &row, Device::Last, original)
    }

    /// The tree of routes, with everybody's addresses in it.
    wrap_atomic(original) fn fib_trie_seq_show(seq: &Seq, _row: Row<'_, c_void>) -> c_int {
        narrow(seq, |reader| match reader {
            Some((_, set)) => {
                seq.changed(original, |text| seen_of_trie(text, |address| set.has(Ip::V4(address))))
            }
            None => original(),
        })
    }

    wrap_atomic(original) fn if6_seq_show(seq: &Seq, row: Row<'_, Inet6Address>) -> c_int {
        narrow(seq, |reader| match (reader, row.element()) {
            (Some((_, set)), Some(address)) if !set.shows_v6(address.local()) => SEQ_SKIP,
            _ => original(),
        })
    }

    /// The kernel's function is called in any case: it notes how far the reader has come.
    wrap_atomic(original) fn ipv6_route_seq_show(seq: &Seq, row: Row<'_, Route6>) -> c_int {
        narrow(seq, |reader| match (reader, row.element()) {
            (Some((network, set)), Some(route)) => {
                let is_hidden = is_hidden_route(route, &set);
                seq.changed(original, |text| {
                    if is_hidden { 0 } else { seen_of_network(seq, network, Device::Last, text) }
                })
            }
            _ => original(),
        })
    }
}
