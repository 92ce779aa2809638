// SPDX-License-Identifier: GPL-2.0

//! Options of IPv4 and IPv6 sockets of processes that are confined to addresses.

use super::network::OfNetwork;
use super::{decisions::Be32, device::check_index, multicast};
use crate::{
    bindings::{
        in6_flowlabel_req, in6_pktinfo, ip_mreq, ip_mreqn, ipv6_mreq, IPV6_2292PKTOPTIONS,
        IPV6_2292RTHDR, IPV6_ADDRFORM, IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP,
        IPV6_FLOWLABEL_MGR, IPV6_HDRINCL, IPV6_JOIN_ANYCAST, IPV6_MULTICAST_IF, IPV6_PKTINFO,
        IPV6_RTHDR, IPV6_TRANSPARENT, IPV6_UNICAST_IF, IPV6_V6ONLY, IP_ADD_MEMBERSHIP,
        IP_ADD_SOURCE_MEMBERSHIP, IP_BLOCK_SOURCE, IP_DROP_MEMBERSHIP, IP_DROP_SOURCE_MEMBERSHIP,
        IP_HDRINCL, IP_MSFILTER, IP_MULTICAST_IF, IP_OPTIONS, IP_TRANSPARENT, IP_UNBLOCK_SOURCE,
        IP_UNICAST_IF, MCAST_BLOCK_SOURCE, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP,
        MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP, MCAST_MSFILTER, MCAST_UNBLOCK_SOURCE,
        MRT6_BASE, MRT6_MAX, MRT_BASE, MRT_MAX, SOL_IP, SOL_IPV6, SOL_SOCKET, SO_BINDTODEVICE,
        SO_BINDTOIFINDEX,
    },
    context::network::Network,
    linux::{is_compat_call, Net, NetDevice, NetworkSocket, OptionValue, Route, DEVICE_NAME},
};
use kernel::{ffi::c_int, prelude::*, sync::rcu};

/// Refuses to bind a socket to a device that the network does not see.
fn check_device(sock: NetworkSocket<'_>, name: u32, value: &OptionValue<'_>) -> Result {
    match name {
        SO_BINDTODEVICE => {
            let mut text = [0; DEVICE_NAME];
            let length = (value.length() as usize).min(DEVICE_NAME - 1);
            value.read_slice(&mut text[..length])?;
            let name = text.split(|byte| *byte == 0).next().unwrap_or(&[]);
            if name.is_empty() {
                return Ok(());
            }
            let guard = rcu::read_lock();
            match sock.net().device(name, &guard) {
                Some(device) if device.is_seen_by(sock.network(), &guard) => Ok(()),
                _ => Err(ENODEV),
            }
        }
        SO_BINDTOIFINDEX if value.length() as usize >= size_of::<c_int>() => {
            match value.read_number()? {
                ..=0 => Ok(()),
                index => check_index(sock, index),
            }
        }
        _ => Ok(()),
    }
}

/// Where the value of an option about groups names the device.
struct Membership {
    level: u32,
    name: u32,
    /// The offset of the index of the device.
    index: Option<usize>,
    /// The offset of an IPv4 address of the device.
    address: Option<usize>,
    /// Whether the module chooses the device if the value names none.
    chooses: bool,
}

const fn membership(
    level: u32,
    name: u32,
    index: Option<usize>,
    address: Option<usize>,
    chooses: bool,
) -> Membership {
    Membership {
        level,
        name,
        index,
        address,
        chooses,
    }
}

static MEMBERSHIPS: [Membership; 23] = [
    membership(SOL_IP, IP_ADD_MEMBERSHIP, Some(8), Some(4), true),
    membership(SOL_IP, IP_DROP_MEMBERSHIP, Some(8), Some(4), true),
    membership(SOL_IP, IP_ADD_SOURCE_MEMBERSHIP, None, Some(4), true),
    membership(SOL_IP, IP_DROP_SOURCE_MEMBERSHIP, None, Some(4), true),
    membership(SOL_IP, IP_BLOCK_SOURCE, None, Some(4), true),
    membership(SOL_IP, IP_UNBLOCK_SOURCE, None, Some(4), true),
    membership(SOL_IP, IP_MSFILTER, None, Some(4), true),
    membership(SOL_IP, MCAST_JOIN_GROUP, Some(0), None, true),
    membership(SOL_IP, MCAST_LEAVE_GROUP, Some(0), None, true),
    membership(SOL_IP, MCAST_JOIN_SOURCE_GROUP, Some(0), None, true),
    membership(SOL_IP, MCAST_LEAVE_SOURCE_GROUP, Some(0), None, true),
    membership(SOL_IP, MCAST_BLOCK_SOURCE, Some(0), None, true),
    membership(SOL_IP, MCAST_UNBLOCK_SOURCE, Some(0), None, true),
    membership(SOL_IP, MCAST_MSFILTER, Some(0), None, true),
    membership(SOL_IPV6, IPV6_ADD_MEMBERSHIP, Some(16), None, true),
    membership(SOL_IPV6, IPV6_DROP_MEMBERSHIP, Some(16), None, false),
    membership(SOL_IPV6, MCAST_JOIN_GROUP, Some(0), None, true),
    membership(SOL_IPV6, MCAST_LEAVE_GROUP, Some(0), None, false),
    membership(SOL_IPV6, MCAST_JOIN_SOURCE_GROUP, Some(0), None, true),
    membership(SOL_IPV6, MCAST_LEAVE_SOURCE_GROUP, Some(0), None, true),
    membership(SOL_IPV6, MCAST_BLOCK_SOURCE, Some(0), None, true),
    membership(SOL_IPV6, MCAST_UNBLOCK_SOURCE, Some(0), None, true),
    membership(SOL_IPV6, MCAST_MSFILTER, Some(0), None, true),
];

fn membership_of(level: u32, name: u32) -> Option<&'static Membership> {
    MEMBERSHIPS
        .iter()
        .find(|one| one.level == level && one.name == name)
}

/// The IPv4 address of the network on a device, or zero, if the device is suitable for groups of
/// this protocol. For IPv4, a device without such an address is not.
fn serves(device: &NetDevice, network: &Network, level: u32, guard: &rcu::Guard) -> Option<Be32> {
    let address = device
        .addresses(guard)
        .map(|one| one.local())
        .find(|address| network.has_v4(*address))
        .unwrap_or(0);
    let serves = if level == SOL_IP {
        address != 0
    } else {
        device.is_seen_by(network, guard)
    };
    serves.then_some(address)
}

/// The route of the host to a group.
fn host_choice(net: &Net, level: u32, group: &[u8]) -> Option<Route> {
    if level == SOL_IP {
        net.route_to_v4(u32::from_ne_bytes(*group.first_chunk()?))
    } else {
        net.route_to_v6(*group.first_chunk()?)
    }
}

/// Chooses the device of a membership that names none; returns its index, and for IPv4 an address
/// on it. It is the device that the host would choose if the network has an address there, else the
/// first such device, else lo.
fn choose_device(net: &Net, network: &Network, level: u32, group: &[u8]) -> Result<(c_int, Be32)> {
    let route = host_choice(net, level, group);
    let guard = rcu::read_lock();
    let serving = |device: &NetDevice| {
        let address = serves(device, network, level, &guard)?;
        Some((device.index(), address))
    };
    let of_host = route
        .as_ref()
        .and_then(|route| route.device(&guard))
        .filter(|device| !device.is_loopback())
        .and_then(serving);
    let first = |is_so: fn(&NetDevice) -> bool| {
        net.devices(&guard)
            .filter(|device| device.is_up() && !device.is_loopback() && is_so(device))
            .find_map(serving)
    };
    of_host
        .or_else(|| first(NetDevice::has_multicast))
        .or_else(|| first(|_| true))
        .or_else(|| {
            let address = network.choose_v4(0, 0);
            (level != SOL_IP || address != 0).then(|| (net.loopback_device().index(), address))
        })
        .filter(|(index, _)| *index != 0)
        .ok_or(ENODEV)
}

/// The offset of the group in a value, and the least length of the value. The group is in a socket
/// address behind the index, or at the start.
fn layout(membership: &Membership) -> (usize, usize) {
    if membership.index == Some(0) {
        let behind = if is_compat_call() { 4 } else { 8 };
        let in_address = if membership.level == SOL_IP { 4 } else { 8 };
        let group = behind + in_address;
        (group, group + 16)
    } else if membership.level == SOL_IPV6 {
        (0, size_of::<ipv6_mreq>())
    } else {
        // A group, and an address.
        (0, size_of::<ip_mreq>())
    }
}

/// The number at an offset of a value.
fn word(value: &[u8], at: usize) -> u32 {
    value[at..]
        .first_chunk()
        .map_or(0, |word| u32::from_ne_bytes(*word))
}

/// Joins or leaves a group. The network must see the device. If the program names none, it is the
/// device of an address of the network, not the one that the host would choose.
fn set_membership(
    sock: NetworkSocket<'_>,
    membership: &Membership,
    value: &OptionValue<'_>,
) -> Result<c_int> {
    let set = |value: &OptionValue<'_>| {
        sock.setsockopt(membership.level as c_int, membership.name as c_int, value)
    };
    let (net, network) = (sock.net(), sock.network());
    let (group, least) = layout(membership);
    // The kernel itself refuses a value that is too short or too long.
    if (value.length() as usize) < least || value.length() > net.most_option_memory() {
        return Ok(set(value));
    }
    let mut copy = value.to_vec()?;
    let index_at = membership
        .index
        .filter(|at| copy.len() >= at + size_of::<c_int>());
    let mut index = index_at.map_or(0, |at| word(&copy, at) as c_int);
    let mut address = membership.address.map_or(0, |at| word(&copy, at));
    if index != 0 {
        check_index(sock, index)?;
    } else if address != 0 {
        address = network.source_v4(address).map_err(|_| ENODEV)?;
    } else if membership.chooses {
        (index, address) = choose_device(net, network, membership.level, &copy[group..])?;
    }
    if let Some(at) = index_at {
        copy[at..][..4].copy_from_slice(&index.to_ne_bytes());
    }
    if let Some(at) = membership.address {
        copy[at..][..4].copy_from_slice(&address.to_ne_bytes());
    }
    let exclusive = sock.exclusively()?;
    match set(&OptionValue::of_kernel(&mut copy)) {
        0 => multicast::update(&exclusive).map(|()| 0),
        answer => Ok(answer),
    }
}

/// Whether a value is long enough for a number.
fn has_number(value: &OptionValue<'_>) -> bool {
    value.length() as usize >= size_of::<c_int>()
}

/// IP_MULTICAST_IF takes an address, or a group and an address, or these and the index of a device.
fn check_multicast_source(sock: NetworkSocket<'_>, value: &OptionValue<'_>) -> Result {
    let mut request = [0; size_of::<ip_mreqn>()];
    let length = value.length() as usize;
    if length < size_of::<ip_mreq>() {
        value.read_slice(&mut request[4..8])?;
    } else {
        value.read_slice(&mut request[..length.min(size_of::<ip_mreqn>())])?;
    }
    let (address, index) = (word(&request, 4), word(&request, 8));
    if address != 0 && !sock.network().has_v4(address) {
        return Err(EADDRNOTAVAIL);
    }
    check_index(sock, index as c_int)
}

fn check_option_v4(sock: NetworkSocket<'_>, name: u32, value: &OptionValue<'_>) -> Result {
    match name {
        IP_TRANSPARENT | IP_HDRINCL | MRT_BASE..=MRT_MAX => Err(EPERM),
        IP_OPTIONS if value.length() != 0 => Err(EPERM),
        IP_MULTICAST_IF if has_number(value) => check_multicast_source(sock, value),
        IP_UNICAST_IF if has_number(value) => {
            check_index(sock, c_int::from_be(value.read_number()?))
        }
        _ => Ok(()),
    }
}

fn check_option_v6(sock: NetworkSocket<'_>, name: u32, value: &OptionValue<'_>) -> Result {
    match name {
        IPV6_TRANSPARENT
        | IPV6_HDRINCL
        | IPV6_RTHDR
        | IPV6_2292RTHDR
        | IPV6_2292PKTOPTIONS
        | IPV6_ADDRFORM
        | IPV6_JOIN_ANYCAST
        | MRT6_BASE..=MRT6_MAX => Err(EPERM),
        IPV6_FLOWLABEL_MGR => {
            // Options for the label follow the request: a routing header, for example.
            const REQUEST: usize = size_of::<in6_flowlabel_req>().next_multiple_of(8);
            if value.length() as usize > REQUEST {
                Err(EPERM)
            } else {
                Ok(())
            }
        }
        IPV6_MULTICAST_IF if has_number(value) => check_index(sock, value.read_number()?),
        IPV6_UNICAST_IF if has_number(value) => {
            check_index(sock, c_int::from_be(value.read_number()?))
        }
        IPV6_PKTINFO if value.length() as usize >= size_of::<in6_pktinfo>() => {
            let mut info = [0; size_of::<in6_pktinfo>()];
            value.read_slice(&mut info)?;
            check_index(sock, word(&info, 16) as c_int)?;
            let address = *info.first_chunk().unwrap_or(&[0; 16]);
            if address == [0; 16] || sock.network().has_v6(address) {
                Ok(())
            } else {
                Err(EPERM)
            }
        }
        _ => Ok(()),
    }
}

/// Refuses sources that are not the network's, options that carry other addresses, and privileges
/// beyond the network.
fn check_option(sock: NetworkSocket<'_>, level: u32, name: u32, value: &OptionValue<'_>) -> Result {
    match level {
        SOL_SOCKET => check_device(sock, name, value),
        SOL_IP => check_option_v4(sock, name, value),
        SOL_IPV6 => check_option_v6(sock, name, value),
        _ => Ok(()),
    }
}

fn set_v6only(sock: NetworkSocket<'_>, value: &OptionValue<'_>) -> Result {
    if !has_number(value) || sock.sock().has_port() {
        return Err(EINVAL);
    }
    sock.socket().set_v6only(value.read_number()? != 0);
    Ok(())
}

/// The longest of [`looked_at`].
const MOST_LOOKED_AT: usize = size_of::<in6_pktinfo>();

/// How much of the value of an option [`check_option`] looks at, and the kernel. `None`: only its length counts.
fn looked_at(level: u32, name: u32) -> Option<usize> {
    match (level, name) {
        (SOL_SOCKET, SO_BINDTODEVICE) => Some(DEVICE_NAME - 1),
        (SOL_IP, IP_MULTICAST_IF) => Some(size_of::<ip_mreqn>()),
        (SOL_IPV6, IPV6_PKTINFO) => Some(size_of::<in6_pktinfo>()),
        (SOL_SOCKET, SO_BINDTOIFINDEX)
        | (SOL_IP, IP_UNICAST_IF)
        | (SOL_IPV6, IPV6_MULTICAST_IF | IPV6_UNICAST_IF) => Some(size_of::<c_int>()),
        _ => None,
    }
}

/// setsockopt(2); the result of the kernel's function.
pub(crate) fn set(
    sock: NetworkSocket<'_>,
    level: c_int,
    name: c_int,
    value: &OptionValue<'_>,
) -> Result<c_int> {
    let Some(looked_at) = looked_at(level as u32, name as u32) else {
        return set_checked(sock, level, name, value);
    };
    // The kernel gets what was looked at: another thread may be changing the program's memory. The kernel refuses some lengths, so
    // one that is too long stays so.
    let mut copy = [0; MOST_LOOKED_AT + 1];
    let length = copy.len().min(value.length() as usize);
    value.read_slice(&mut copy[..looked_at.min(length)])?;
    set_checked(
        sock,
        level,
        name,
        &OptionValue::of_kernel(&mut copy[..length]),
    )
}

fn set_checked(
    sock: NetworkSocket<'_>,
    level: c_int,
    name: c_int,
    value: &OptionValue<'_>,
) -> Result<c_int> {
    let (level_number, name_number) = (level as u32, name as u32);
    check_option(sock, level_number, name_number, value)?;
    let is_v6 = sock.sock().is_v6();
    if let Some(membership) = membership_of(level_number, name_number) {
        if level_number != SOL_IPV6 || is_v6 {
            return set_membership(sock, membership, value);
        }
    }
    if (level_number, name_number) == (SOL_IPV6, IPV6_V6ONLY) && is_v6 {
        return set_v6only(sock, value).map(|()| 0);
    }
    // Options of SOL_SOCKET come here because of SOCK_CUSTOM_SOCKOPT.
    if level_number == SOL_SOCKET {
        return Ok(sock.set_general_option(name, value));
    }
    Ok(sock.setsockopt(level, name, value))
}

/// getsockopt(2): the value of an option that differs from the kernel's, else `None`.
pub(crate) fn get(sock: NetworkSocket<'_>, level: c_int, name: c_int) -> Option<c_int> {
    let is_v6 = sock.sock().is_v6();
    match (level as u32, name as u32) {
        (SOL_IPV6, IPV6_V6ONLY) if is_v6 => Some(sock.socket().is_v6only().into()),
        // Confined programs cannot set it. If it is set, `bind.rs` did.
        (SOL_IP, IP_TRANSPARENT) => Some(0),
        (SOL_IPV6, IPV6_TRANSPARENT) if is_v6 => Some(0),
        _ => None,
    }
}
