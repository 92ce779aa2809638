// SPDX-License-Identifier: GPL-2.0

//! ioctls of processes that are confined to addresses, about devices and their addresses: they tell of what the network has, and
//! of lo. All of them work on the kernel's copy of a request: the program's own may change while it is looked at.

use super::network::OfNetwork;
use crate::{
    attach::hook::hooks,
    bindings::{
        compat_ifreq, ifconf, ifreq, sockaddr_in, AF_INET, AF_INET6, SIOCBONDCHANGEACTIVE,
        SIOCBONDENSLAVE, SIOCBRADDBR, SIOCBRDELIF, SIOCDARP, SIOCGIFADDR, SIOCGIFBR,
        SIOCGIFBRDADDR, SIOCGIFDSTADDR, SIOCGIFNAME, SIOCGIFNETMASK, SIOCGIFVLAN, SIOCPROTOPRIVATE,
        SIOCSARP, SIOCSIFBR, SIOCSIFVLAN,
    },
    context::{membership::with_own_network, network::Network},
    linux::{
        is_compat_call, DeviceRequest, File, InetAddress, Net, NetDevice, NetworkSocket, Socket,
        DEVICE_NAME,
    },
    policy::address::Ip,
};
use kernel::{
    alloc::flags::GFP_KERNEL_ACCOUNT,
    ffi::{c_int, c_long, c_uint, c_ulong, c_void},
    prelude::*,
    sync::rcu,
    uaccess::{UserPtr, UserSlice},
};

/// What is in front of the first NUL.
fn until_nul(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// In network byte order.
const LOCALHOST: u32 = 0x7f00_0001_u32.to_be();

/// Whether the network has an address, which is in network byte order.
fn has(network: &Network, address: u32) -> bool {
    network
        .set()
        .is_some_and(|set| set.has(Ip::V4(u32::from_be(address))))
}

fn is_shown(network: &Network, address: &InetAddress) -> bool {
    has(network, address.local()) || address.local() == LOCALHOST
}

/// The kinds of `struct ifreq` begin alike: the name of a device, and an address or a number.
const BEGINNING: usize = DEVICE_NAME + size_of::<sockaddr_in>();

/// The beginning of a request.
struct Request([u8; BEGINNING]);

impl Request {
    fn of(request: &DeviceRequest) -> Self {
        let mut bytes = [0; BEGINNING];
        bytes.copy_from_slice(&request.bytes()[..BEGINNING]);
        bytes[DEVICE_NAME - 1] = 0;
        Self(bytes)
    }

    /// The name of a device, or that with a colon and more behind it.
    fn label(&self) -> &[u8] {
        until_nul(&self.0[..DEVICE_NAME])
    }

    fn device(&self) -> &[u8] {
        self.label()
            .split(|byte| *byte == b':')
            .next()
            .unwrap_or(&[])
    }

    fn has_colon(&self) -> bool {
        self.label().contains(&b':')
    }

    fn index(&self) -> c_int {
        self.0[DEVICE_NAME..]
            .first_chunk()
            .map_or(0, |bytes| c_int::from_ne_bytes(*bytes))
    }

    /// Puts a `struct sockaddr_in` behind the name.
    fn set_address(&mut self, address: u32) {
        let place = &mut self.0[DEVICE_NAME..];
        place.fill(0);
        place[..2].copy_from_slice(&(AF_INET as u16).to_ne_bytes());
        place[4..8].copy_from_slice(&address.to_ne_bytes());
    }
}

/// The address of a device, by its name or a label: the first one that the network has. lo has 127.0.0.1, as it has it inside.
fn address_of(net: &Net, network: &Network, command: c_uint, request: &Request) -> Result<u32> {
    let guard = rcu::read_lock();
    let device = net
        .device(request.device(), &guard)
        .filter(|device| device.is_seen_by(network, &guard))
        .ok_or(ENODEV)?;
    let by_device = !request.has_colon();
    let of_lo = (by_device && device.is_loopback())
        .then(|| {
            device
                .addresses(&guard)
                .find(|one| one.local() == LOCALHOST)
        })
        .flatten();
    let address = of_lo
        .or_else(|| {
            device.addresses(&guard).find(|one| {
                has(network, one.local())
                    && (by_device || until_nul(&one.label()) == request.label())
            })
        })
        .ok_or(EADDRNOTAVAIL)?;
    Ok(match command {
        SIOCGIFADDR => address.local(),
        SIOCGIFBRDADDR => address.broadcast(),
        SIOCGIFDSTADDR => address.peer(),
        _ => address.mask(),
    })
}

/// Whether a request is about a device that the network sees.
fn is_seen(net: &Net, network: &Network, command: c_uint, request: &Request) -> bool {
    let guard = rcu::read_lock();
    let device: Option<&NetDevice> = if command == SIOCGIFNAME {
        net.device_at(request.index(), &guard)
    } else {
        net.device(request.device(), &guard)
    };
    device.is_some_and(|device| device.is_seen_by(network, &guard))
}

/// Does something with the network of a caller whom it confines in this network namespace.
fn with_confined<R>(net: &Net, work: impl FnOnce(&Network) -> Option<R>) -> Option<R> {
    with_own_network(|network| work(network.filter(|network| network.confines(net.number()))?))
}

/// The answer to a request about a device that the network does not see. The kernel has copied the
/// request, so that no other thread of the program changes it any more.
fn refuse_unseen(net: &Net, command: c_uint, request: &DeviceRequest) -> Option<c_int> {
    with_confined(net, |network| {
        let is_seen = is_seen(net, network, command, &Request::of(request));
        (!is_seen).then(|| ENODEV.to_errno())
    })
}

/// The answer to a request about addresses of IPv4.
fn about_addresses(net: &Net, command: c_uint, given: &DeviceRequest) -> Option<c_int> {
    if !matches!(
        command,
        SIOCGIFADDR | SIOCGIFBRDADDR | SIOCGIFDSTADDR | SIOCGIFNETMASK
    ) {
        return refuse_unseen(net, command, given);
    }
    with_confined(net, |network| {
        let mut request = Request::of(given);
        Some(match address_of(net, network, command, &request) {
            Ok(address) => {
                request.set_address(address);
                given.set_beginning(request.0);
                0
            }
            Err(error) => error.to_errno(),
        })
    })
}

/// Refuses a device that the network does not see. Index zero means no device.
pub(super) fn check_index(sock: NetworkSocket<'_>, index: c_int) -> Result {
    if index == 0 || sees_index(sock, index) {
        Ok(())
    } else {
        Err(ENODEV)
    }
}

fn sees_index(sock: NetworkSocket<'_>, index: c_int) -> bool {
    let guard = rcu::read_lock();
    sock.net()
        .device_at(index, &guard)
        .is_some_and(|device| device.is_seen_by(sock.network(), &guard))
}

/// Requests about bridges, VLANs, radio devices, and devices that are joined to one. They name devices in ways of their own: to the
/// network there are none of these.
fn is_of_other_devices(command: c_uint) -> bool {
    /// SIOCIWFIRST to SIOCIWLAST of linux/wireless.h.
    const WIRELESS: core::ops::RangeInclusive<c_uint> = 0x8b00..=0x8bff;
    matches!(
        command,
        SIOCGIFBR..=SIOCSIFBR
            | SIOCGIFVLAN..=SIOCSIFVLAN
            | SIOCBONDENSLAVE..=SIOCBONDCHANGEACTIVE
            | SIOCBRADDBR..=SIOCBRDELIF
    ) || WIRELESS.contains(&command)
}

/// The answer to such a request, to one about a neighbour, which names a device, too (those that the network has are in
/// /proc/net/arp), and to one that is a protocol's own.
fn refuse_other(file: &File, command: c_uint) -> Option<c_long> {
    let is_of_protocol = command & !0xf == SIOCPROTOPRIVATE;
    let error = match command {
        SIOCDARP..=SIOCSARP => ENXIO,
        // As in a kernel that has no such devices.
        _ if is_of_other_devices(command) => ENOPKG,
        // Of IPv4 and IPv6, these tell of the routes of groups.
        _ if is_of_protocol => EADDRNOTAVAIL,
        _ => return None,
    };
    let sock = Socket::of_file(file).and_then(Socket::sock)?;
    if is_of_protocol && !matches!(sock.family(), AF_INET | AF_INET6) {
        return None;
    }
    with_confined(sock.net(), |_| Some(error.to_errno() as c_long))
}

/// An element of the list.
type Listed = [u8; size_of::<ifreq>()];

fn listed(address: &InetAddress) -> Listed {
    let mut request = Request([0; BEGINNING]);
    let label = address.label();
    let label = until_nul(&label[..DEVICE_NAME - 1]);
    request.0[..label.len()].copy_from_slice(label);
    request.set_address(address.local());
    let mut listed = [0; size_of::<ifreq>()];
    listed[..BEGINNING].copy_from_slice(&request.0);
    listed
}

fn each_address(net: &Net, network: &Network, mut tell: impl FnMut(&InetAddress)) {
    let guard = rcu::read_lock();
    for device in net.devices(&guard) {
        for address in device.addresses(&guard) {
            if is_shown(network, address) {
                tell(address);
            }
        }
    }
}

/// Where the program wants the list, and how long that may be. Null: it asks for the length only.
fn place(argument: usize, is_compat: bool) -> Result<(usize, c_int)> {
    let mut bytes = [0; size_of::<ifconf>()];
    // The length is the first field of both kinds.
    let (length, at) = if is_compat { (8, 4) } else { (bytes.len(), 8) };
    let bytes = &mut bytes[..length];
    UserSlice::new(UserPtr::from_addr(argument), length)
        .reader()
        .read_slice(bytes)?;
    let number = |at: usize| {
        bytes[at..]
            .first_chunk()
            .map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    };
    let address = if is_compat {
        number(at) as usize
    } else {
        bytes[at..]
            .first_chunk()
            .map_or(0, |bytes| usize::from_ne_bytes(*bytes))
    };
    Ok((address, number(0) as c_int))
}

/// Lists the addresses that the network has.
fn list(net: &Net, network: &Network, argument: usize) -> Result {
    let is_compat = is_compat_call();
    // The two kinds begin alike, and have nothing behind an address.
    let size = if is_compat {
        size_of::<compat_ifreq>()
    } else {
        size_of::<ifreq>()
    };
    let (to, length) = place(argument, is_compat)?;
    let length = usize::try_from(length).map_err(|_| EINVAL)?;
    let mut count = 0;
    each_address(net, network, |_| count += 1);
    if to != 0 {
        let room = count.min(length / size);
        let mut list = KVVec::with_capacity(room, GFP_KERNEL_ACCOUNT)?;
        each_address(net, network, |address| {
            if list.len() < room {
                // There is room.
                let _ = list.push_within_capacity(listed(address));
            }
        });
        count = list.len();
        let mut out = UserSlice::new(UserPtr::from_addr(to), count * size).writer();
        for one in &list {
            out.write_slice(&one[..size])?;
        }
    }
    UserSlice::new(UserPtr::from_addr(argument), size_of::<c_int>())
        .writer()
        .write_slice(&((count * size) as c_int).to_ne_bytes())
}

hooks! {
    instead(original) fn sock_ioctl(file: &File, command: c_uint, _argument: c_ulong) -> c_long {
        let _ = original;
        refuse_other(file, command)
    }

    #[cfg(CONFIG_COMPAT)]
    instead(original) fn compat_sock_ioctl(file: &File, command: c_uint, _argument: c_ulong) -> c_long {
        let _ = original;
        refuse_other(file, command)
    }

    /// All requests about one device, on sockets of all kinds.
    instead(original) fn dev_ioctl(net: &Net, command: c_uint, request: &DeviceRequest, _data: *mut c_void, _copies: *mut bool) -> c_int {
        let _ = original;
        refuse_unseen(net, command, request)
    }

    instead(original) fn devinet_ioctl(net: &Net, command: c_uint, request: &DeviceRequest) -> c_int {
        let _ = original;
        about_addresses(net, command, request)
    }

    instead(original) fn dev_ifconf(net: &Net, argument: *mut ifconf) -> c_int {
        let _ = original;
        with_confined(net, |network| {
            Some(list(net, network, argument as usize).map_or_else(Error::to_errno, |()| 0))
        })
    }
}
