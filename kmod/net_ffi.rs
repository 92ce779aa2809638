// SPDX-License-Identifier: GPL-2.0

//! What `net.h` declares of networks: the decisions about addresses, for the C files `net_*.c`. One of
//! the files that may contain `unsafe`.

#![expect(clippy::missing_safety_doc)] // All functions have one contract: see "SAFETY of all" below.

use crate::{
    network::Network,
    policy::address::{Bind, Ip, Refusal, Set},
    task, //
};
use core::{
    ffi::{c_int, c_void},
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::aref::{ARef, AlwaysRefCounted}, //
};

extern "C" {
    fn vserver_port_taken_at(
        sk: *mut c_void,
        address: *const [u8; 16],
        port: u16,
        loopback: c_int,
    ) -> bool;
}

/// # Safety
///
/// `raw` must be a network that somebody keeps as long as the result is used.
unsafe fn network<'a>(raw: *const Network) -> &'a Network {
    // SAFETY: By contract.
    unsafe { &*raw }
}

/// The set of a network whose sockets have operations of ours only when it is confined; for one that
/// is not, a set that has nothing.
///
/// # Safety
///
/// As [`network`].
unsafe fn set<'a>(raw: *const Network) -> Set<'a> {
    // SAFETY: By contract.
    unsafe { network(raw) }.set().unwrap_or(Set {
        ranges: &[],
        broadcast: 0,
        loopback: 0,
    })
}

fn errno(refusal: Refusal) -> c_int {
    match refusal {
        Refusal::NotAvailable => EADDRNOTAVAIL,
        Refusal::Unreachable => ENETUNREACH,
        Refusal::Foreign => EPERM,
    }
    .to_errno()
}

/// An IPv4 address in network byte order, as C has it.
type Be32 = u32;
/// An IPv6 address in network byte order, as C has it.
type In6 = [u8; 16];

fn v4(ip: Ip) -> Be32 {
    match ip {
        Ip::V4(address) => address.to_be(),
        Ip::V6(_) => 0,
    }
}

fn v6(ip: Ip) -> In6 {
    ip.mapped().to_be_bytes()
}

const BIND_EXACT: c_int = 0;
const BIND_ANY: c_int = 1;

// SAFETY of all below, which `net.h` declares: C passes networks that a socket, a task or RCU keeps
// during the call, and places for addresses that are its own.

#[no_mangle]
unsafe extern "C" fn vserver_network_get(raw: *mut Network) {
    // SAFETY: See above.
    unsafe { network(raw) }.inc_ref();
}

#[no_mangle]
unsafe extern "C" fn vserver_network_put(raw: *mut Network) {
    if let Some(raw) = NonNull::new(raw) {
        // SAFETY: The caller gives up a reference that it has got.
        unsafe { Network::dec_ref(raw) }
    }
}

/// A reference to a network of the host as a whole. NULL: nobody else has one, or there is no memory.
#[no_mangle]
extern "C" fn vserver_network_of_host() -> *mut Network {
    if !Network::any() {
        return core::ptr::null_mut();
    }
    Network::of_host().map_or(core::ptr::null_mut(), |network| {
        ARef::into_raw(network).as_ptr()
    })
}

#[no_mangle]
unsafe extern "C" fn vserver_network_ops(raw: *mut Network) -> *mut *mut c_void {
    // SAFETY: See above.
    unsafe { network(raw) }.ops()
}

#[no_mangle]
unsafe extern "C" fn vserver_network_context(raw: *const Network) -> c_int {
    // SAFETY: See above.
    unsafe { network(raw) }.context()
}

#[no_mangle]
unsafe extern "C" fn vserver_network_tag(raw: *const Network) -> u64 {
    // SAFETY: See above.
    unsafe { network(raw) }.tag()
}

#[no_mangle]
unsafe extern "C" fn vserver_network_confines(raw: *const Network, net: *const c_void) -> bool {
    // SAFETY: See above; a socket keeps its network namespace.
    unsafe { network(raw).confines(net) }
}

#[no_mangle]
unsafe extern "C" fn vserver_network_loopback(raw: *const Network) -> c_int {
    // SAFETY: See above.
    unsafe { network(raw) }
        .set()
        .map_or(-1, |set| set.loopback.into())
}

#[no_mangle]
unsafe extern "C" fn vserver_net_bind4(raw: *const Network, address: *mut Be32) -> c_int {
    // SAFETY: See above.
    let (set, address) = unsafe { (set(raw), &mut *address) };
    match set.bind_v4(u32::from_be(*address)) {
        Ok(Bind::Any) => BIND_ANY,
        Ok(Bind::Exact(ip)) => {
            *address = v4(ip);
            BIND_EXACT
        }
        Err(refusal) => errno(refusal),
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_bind6(
    raw: *const Network,
    address: *mut In6,
    v6only: bool,
) -> c_int {
    // SAFETY: See above.
    let (set, address) = unsafe { (set(raw), &mut *address) };
    match set.bind_v6(u128::from_be_bytes(*address), v6only) {
        Ok(Bind::Any) => BIND_ANY,
        Ok(Bind::Exact(ip)) => {
            *address = v6(ip);
            BIND_EXACT
        }
        Err(refusal) => errno(refusal),
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_dest4(
    raw: *const Network,
    dest: *mut Be32,
    source: *mut Be32,
) -> c_int {
    // SAFETY: See above.
    let (set, dest, source) = unsafe { (set(raw), &mut *dest, &mut *source) };
    match set.dest_v4(u32::from_be(*dest)) {
        Ok(way) => {
            *dest = v4(way.dest);
            *source = way.source.map_or(0, v4);
            0
        }
        Err(refusal) => errno(refusal),
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_dest6(
    raw: *const Network,
    dest: *mut In6,
    source: *mut In6,
) -> c_int {
    // SAFETY: See above.
    let (set, dest, source) = unsafe { (set(raw), &mut *dest, &mut *source) };
    match set.dest_v6(u128::from_be_bytes(*dest)) {
        Ok(way) => {
            *dest = v6(way.dest);
            *source = way.source.map_or([0; 16], v6);
            0
        }
        Err(refusal) => errno(refusal),
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_source4(raw: *const Network, source: *mut Be32) -> c_int {
    // SAFETY: See above.
    let (set, source) = unsafe { (set(raw), &mut *source) };
    match set.source_v4(u32::from_be(*source)) {
        Ok(outside) => {
            *source = outside.to_be();
            0
        }
        Err(refusal) => errno(refusal),
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_source6(raw: *const Network, source: *mut In6) -> c_int {
    // SAFETY: See above.
    let (set, source) = unsafe { (set(raw), &mut *source) };
    match set.source_v6(u128::from_be_bytes(*source)) {
        Ok(outside) => {
            *source = outside.to_be_bytes();
            0
        }
        Err(refusal) => errno(refusal),
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_broadcast(raw: *const Network) -> Be32 {
    // SAFETY: See above.
    unsafe { set(raw) }.broadcast.to_be()
}

#[no_mangle]
unsafe extern "C" fn vserver_net_has4(raw: *const Network, address: Be32) -> bool {
    // SAFETY: See above.
    unsafe { set(raw) }.has(Ip::V4(u32::from_be(address)))
}

#[no_mangle]
unsafe extern "C" fn vserver_net_has6(raw: *const Network, address: *const In6) -> bool {
    // SAFETY: See above.
    unsafe { set(raw).has(Ip::of_v6(u128::from_be_bytes(*address))) }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_shows6(raw: *const Network, address: *const In6) -> bool {
    // SAFETY: See above.
    unsafe { set(raw).shows_v6(u128::from_be_bytes(*address)) }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_choose4(raw: *const Network, dest: Be32, proposed: Be32) -> Be32 {
    // SAFETY: See above.
    unsafe { set(raw) }
        .choose(Ip::V4(u32::from_be(dest)), Ip::V4(u32::from_be(proposed)))
        .map_or(0, v4)
}

#[no_mangle]
unsafe extern "C" fn vserver_net_choose6(
    raw: *const Network,
    dest: *const In6,
    proposed: *const In6,
    chosen: *mut In6,
) {
    // SAFETY: See above.
    unsafe {
        *chosen = set(raw)
            .choose(
                Ip::V6(u128::from_be_bytes(*dest)),
                Ip::V6(u128::from_be_bytes(*proposed)),
            )
            .map_or([0; 16], v6);
    }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_only4(raw: *const Network) -> Be32 {
    // SAFETY: See above.
    unsafe { set(raw) }.only(true).map_or(0, v4)
}

#[no_mangle]
unsafe extern "C" fn vserver_net_only6(raw: *const Network, only: *mut In6) {
    // SAFETY: See above.
    unsafe { *only = set(raw).only(false).map_or([0; 16], v6) }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_inward4(raw: *const Network, address: *mut Be32) {
    // SAFETY: See above.
    unsafe { *address = v4(set(raw).inward(Ip::V4(u32::from_be(*address)))) }
}

#[no_mangle]
unsafe extern "C" fn vserver_net_inward6(raw: *const Network, address: *mut In6) {
    // SAFETY: See above.
    unsafe {
        *address = set(raw)
            .inward_v6(u128::from_be_bytes(*address))
            .to_be_bytes();
    }
}

/// Asks about all addresses that a socket bound to "any" would be found by.
#[no_mangle]
unsafe extern "C" fn vserver_port_taken(
    sk: *mut c_void,
    raw: *const Network,
    port: u16,
    is_v6: bool,
    v6only: bool,
) -> bool {
    // SAFETY: See above.
    let Some(set) = unsafe { network(raw) }.set() else {
        return false;
    };
    let loopback = set.loopback.into();
    let taken = |ip: Ip| {
        // SAFETY: The socket is the caller's.
        unsafe { vserver_port_taken_at(sk, &v6(ip), port, loopback) }
    };
    let wanted = |ip: &Ip| match ip {
        Ip::V4(_) => !is_v6 || !v6only,
        Ip::V6(_) => is_v6,
    };
    let own = set.dest_v4(0x7f00_0001).map(|way| way.dest);
    own.is_ok_and(|own| wanted(&own) && taken(own))
        || set
            .ranges
            .iter()
            .filter_map(|range| range.single())
            .filter(wanted)
            .any(taken)
}

/// The network of the caller, for the time of the call only: it changes by its own doing alone.
#[no_mangle]
extern "C" fn vserver_network_current() -> *const Network {
    task::own_network_raw()
}
