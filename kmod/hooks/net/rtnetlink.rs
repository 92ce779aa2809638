// SPDX-License-Identifier: GPL-2.0

//! What rtnetlink tells a reader who is confined to addresses: see `netlink.rs`.

use super::netlink_message::{u16_at, u32_at, Message, Reader};
use crate::{
    bindings::{
        if_stats_msg, ifaddrmsg, ifinfomsg, ndmsg, netconfmsg, prefixmsg, rtattr_type_t_RTA_DST,
        rtattr_type_t_RTA_MULTIPATH, rtattr_type_t_RTA_OIF, rtattr_type_t_RTA_PREFSRC, rtmsg,
        rtnexthop, tcmsg, AF_INET, AF_INET6, IFA_ADDRESS, IFA_LOCAL, NETCONFA_IFINDEX, RTM_DELADDR,
        RTM_DELADDRLABEL, RTM_DELLINK, RTM_DELNEIGH, RTM_DELNETCONF, RTM_DELROUTE, RTM_DELRULE,
        RTM_GETANYCAST, RTM_GETCHAIN, RTM_GETMULTICAST, RTM_GETTFILTER, RTM_NEWADDR,
        RTM_NEWADDRLABEL, RTM_NEWCHAIN, RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWNEIGHTBL, RTM_NEWNETCONF,
        RTM_NEWPREFIX, RTM_NEWQDISC, RTM_NEWROUTE, RTM_NEWRULE, RTM_NEWSTATS, RTN_ANYCAST,
        RTN_BROADCAST, RTN_LOCAL,
    },
    policy::address::Ip,
};
use core::mem::offset_of;
use kernel::ffi::c_int;

/// 127.0.0.1.
const LOCALHOST: u32 = 0x7f00_0001;

fn sees_address(reader: &Reader<'_>, family: u8, address: &[u8]) -> bool {
    let Some(set) = reader.network.set() else {
        return false;
    };
    match u32::from(family) {
        AF_INET => address.first_chunk().is_some_and(|bytes| {
            let address = u32::from_be_bytes(*bytes);
            set.has(Ip::V4(address)) || address == LOCALHOST
        }),
        AF_INET6 => address
            .first_chunk()
            .is_some_and(|bytes| set.shows_v6(u128::from_be_bytes(*bytes))),
        _ => false,
    }
}

fn sees_index(reader: &Reader<'_>, index: u32) -> bool {
    reader.net.shows_index_to(reader.network, index as c_int)
}

/// Of a message that begins with a structure of `fixed` bytes, which has the number of a device at `at`.
fn sees_device(reader: &Reader<'_>, message: &Message<'_>, fixed: usize, at: usize) -> bool {
    let body = message.body();
    body.len() >= fixed && u32_at(body, at).is_some_and(|index| sees_index(reader, index))
}

/// By the devices of a route that has several.
fn sees_a_hop(reader: &Reader<'_>, mut hops: &[u8]) -> bool {
    const LENGTH: usize = size_of::<rtnexthop>();
    while let (Some(length), Some(index)) = (
        u16_at(hops, offset_of!(rtnexthop, rtnh_len)),
        u32_at(hops, offset_of!(rtnexthop, rtnh_ifindex)),
    ) {
        let length = usize::from(length);
        if !(LENGTH..=hops.len()).contains(&length) {
            break;
        }
        if sees_index(reader, index) {
            return true;
        }
        hops = hops.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    false
}

fn sees_route(reader: &Reader<'_>, message: &Message<'_>) -> bool {
    const FIXED: usize = size_of::<rtmsg>();
    let body = message.body();
    if body.len() < FIXED {
        return false;
    }
    let family = body[offset_of!(rtmsg, rtm_family)];
    let attribute = |kind| message.attribute(FIXED, kind);
    let source = attribute(rtattr_type_t_RTA_PREFSRC);
    match (u32::from(body[offset_of!(rtmsg, rtm_type)]), source) {
        // Routes to addresses themselves are what makes them the host's.
        (RTN_LOCAL | RTN_ANYCAST, _) => attribute(rtattr_type_t_RTA_DST)
            .is_some_and(|address| sees_address(reader, family, address)),
        (RTN_BROADCAST, Some(source)) => sees_address(reader, family, source),
        _ => {
            if let Some(out) = attribute(rtattr_type_t_RTA_OIF) {
                u32_at(out, 0).is_some_and(|index| sees_index(reader, index))
            } else if let Some(several) = attribute(rtattr_type_t_RTA_MULTIPATH) {
                sees_a_hop(reader, several)
            } else {
                // Unreachable, prohibited and the like: of no device.
                true
            }
        }
    }
}

fn sees_address_of_device(reader: &Reader<'_>, message: &Message<'_>) -> bool {
    const FIXED: usize = size_of::<ifaddrmsg>();
    let body = message.body();
    let address = message
        .attribute(FIXED, IFA_LOCAL)
        .or_else(|| message.attribute(FIXED, IFA_ADDRESS));
    address.is_some_and(|address| {
        sees_address(reader, body[offset_of!(ifaddrmsg, ifa_family)], address)
    })
}

fn sees_settings(reader: &Reader<'_>, message: &Message<'_>) -> bool {
    message
        .attribute(size_of::<netconfmsg>(), NETCONFA_IFINDEX)
        .and_then(|index| u32_at(index, 0))
        // Those of all devices, and those for new ones, have numbers that are none.
        .is_some_and(|index| index as c_int <= 0 || sees_index(reader, index))
}

/// Whether something may be told.
pub(super) fn is_seen(reader: &Reader<'_>, message: &Message<'_>) -> bool {
    let device = |fixed, at| sees_device(reader, message, fixed, at);
    match message.kind() {
        RTM_NEWLINK | RTM_DELLINK => {
            device(size_of::<ifinfomsg>(), offset_of!(ifinfomsg, ifi_index))
        }
        RTM_NEWADDR | RTM_DELADDR => sees_address_of_device(reader, message),
        RTM_NEWROUTE | RTM_DELROUTE => sees_route(reader, message),
        RTM_NEWNEIGH | RTM_DELNEIGH => device(size_of::<ndmsg>(), offset_of!(ndmsg, ndm_ifindex)),
        RTM_NEWSTATS => device(size_of::<if_stats_msg>(), offset_of!(if_stats_msg, ifindex)),
        RTM_NEWNETCONF | RTM_DELNETCONF => sees_settings(reader, message),
        RTM_NEWPREFIX => device(
            size_of::<prefixmsg>(),
            offset_of!(prefixmsg, prefix_ifindex),
        ),
        RTM_NEWQDISC..=RTM_GETTFILTER | RTM_NEWCHAIN..=RTM_GETCHAIN => {
            device(size_of::<tcmsg>(), offset_of!(tcmsg, tcm_ifindex))
        }
        RTM_GETMULTICAST | RTM_GETANYCAST => {
            device(size_of::<ifaddrmsg>(), offset_of!(ifaddrmsg, ifa_index))
        }
        RTM_NEWRULE | RTM_DELRULE | RTM_NEWNEIGHTBL | RTM_NEWADDRLABEL | RTM_DELADDRLABEL => true,
        // Whatever else there is, or will be, may be about anything.
        _ => false,
    }
}
