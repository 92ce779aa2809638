// SPDX-License-Identifier: GPL-2.0

//! ioctls about devices.

use super::*;
use crate::meanwhile::Changing;
use crate::syscalls::ioctl_address;
use nix::errno::Errno;
use std::os::fd::AsFd;
use std::time::Duration;

pub const OLD: Test = test("netdev::ioctls", 60, ioctls);
pub const OTHER_DEVICES: Test = test("netdev::requests_of_other_devices", 60, other_devices);
pub const CHANGED_MEANWHILE: Test =
    test("netdev::requests_changed_meanwhile", 120, changed_meanwhile);

const SIOCGIFNAME: usize = 0x8910;
const SIOCGIFCONF: usize = 0x8912;
const SIOCGIFFLAGS: usize = 0x8913;
const SIOCGIFADDR: usize = 0x8915;
const SIOCGIFNETMASK: usize = 0x891b;
const SIOCGIFHWADDR: usize = 0x8927;
const SIOCGIFINDEX: usize = 0x8933;
const SIOCGIFBR: usize = 0x8940;
const SIOCGIFVLAN: usize = 0x8982;
const SIOCGARP: usize = 0x8954;
const SIOCBONDINFOQUERY: usize = 0x8994;
const SIOCGETVIFCNT: usize = 0x89e0;
const SIOCDEVPRIVATE: usize = 0x89f0;

/// A request with a name; what is behind the name in the answer.
fn ask(fd: &OwnedFd, request: usize, name: &str, word: u32) -> Result<[u8; 24], Errno> {
    let mut room = [0u8; 40];
    room[..name.len()].copy_from_slice(name.as_bytes());
    room[16..20].copy_from_slice(&word.to_ne_bytes());
    let arguments = [
        fd.as_raw_fd() as usize,
        request,
        room.as_mut_ptr() as usize,
        0,
        0,
        0,
    ];
    syscall(libc::SYS_ioctl, arguments)?;
    let mut rest = [0; 24];
    rest.copy_from_slice(&room[16..]);
    Ok(rest)
}

fn ioctls() -> Outcome {
    devices()?;
    let host = nix::net::if_::if_nametoindex("vshost").map_err(words)?;
    within(|| {
        let absent = Err(Errno::ENODEV);
        for family in [
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_UNIX,
            libc::AF_NETLINK,
        ] {
            let fd = socket(family, libc::SOCK_DGRAM, 0)?;
            for request in [SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFINDEX] {
                equal(
                    &format!("{request:x} of a foreign one, family {family}"),
                    ask(&fd, request, "vshost", 0).map(drop),
                    absent,
                )?;
                equal(
                    &format!("{request:x} of its own, family {family}"),
                    ask(&fd, request, "vsown", 0).map(drop),
                    Ok(()),
                )?;
            }
            let got = ask(&fd, SIOCGIFNAME, "", host).map(drop);
            equal("SIOCGIFNAME", got, absent)?;
        }
        let fd = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        let address = |request, name| ask(&fd, request, name, 0).map(|rest| rest[4..8].to_vec());
        equal(
            "address",
            address(SIOCGIFADDR, "vsown"),
            Ok(vec![10, 76, 0, 5]),
        )?;
        equal(
            "mask",
            address(SIOCGIFNETMASK, "vsown"),
            Ok(vec![255, 255, 255, 0]),
        )?;
        equal("lo", address(SIOCGIFADDR, "lo"), Ok(vec![127, 0, 0, 1]))?;
        equal("foreign", address(SIOCGIFADDR, "vshost").map(drop), absent)?;

        let mut list = [0u8; 40 * 64];
        let mut request = [list.len() as u64, list.as_mut_ptr() as u64];
        let arguments = [
            fd.as_raw_fd() as usize,
            SIOCGIFCONF,
            request.as_mut_ptr() as usize,
            0,
            0,
            0,
        ];
        syscall(libc::SYS_ioctl, arguments).map_err(words)?;
        let length = request[0] as u32 as usize;
        let found: Vec<&[u8]> = list[..length].chunks(40).map(|one| &one[20..24]).collect();
        ensure(&format!("{found:?}"), found.contains(&&[10, 76, 0, 5][..]))?;
        ensure(&format!("{found:?}"), found.contains(&&[127, 0, 0, 1][..]))?;
        equal(&format!("no more than {found:?}"), found.len(), 2)
    })
}

/// SIOCGIFBR: the numbers of all bridges. How many there are.
fn bridges(fd: &OwnedFd) -> Result<usize, Errno> {
    const BRCTL_GET_BRIDGES: u64 = 1;
    let mut found = [0i32; 16];
    let mut request = [BRCTL_GET_BRIDGES, found.as_mut_ptr() as u64, 16];
    let address = request.as_mut_ptr() as usize;
    let count = syscall(
        libc::SYS_ioctl,
        [fd.as_raw_fd() as usize, SIOCGIFBR, address, 0, 0, 0],
    )?;
    Ok(count as usize)
}

/// SIOCGARP: the hardware's address of 10.75.0.9, at a device.
fn neighbour(fd: &OwnedFd, device: &str) -> Result<(), Errno> {
    let mut request = [0u8; 68];
    request[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    request[4..8].copy_from_slice(&[10, 75, 0, 9]);
    request[52..52 + device.len()].copy_from_slice(device.as_bytes());
    ioctl_address(fd, SIOCGARP as u32, request.as_mut_ptr() as usize).map(drop)
}

/// Bridges, VLANs, and what only the driver of a device knows, also on a socket that the host has made.
fn other_devices() -> Outcome {
    devices()?;
    ip("link add vsbridge type bridge")?;
    let of_host = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
    ensure(
        "the host sees its bridge",
        bridges(&of_host).map_err(words)? > 0,
    )?;
    let got = ask(&of_host, SIOCDEVPRIVATE, "vshost", 0).map(drop);
    equal(
        "its driver has no such requests",
        got,
        Err(Errno::EOPNOTSUPP),
    )?;
    equal(
        "the host's neighbour",
        neighbour(&of_host, "vshost"),
        Ok(()),
    )?;
    within(|| {
        let own = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        let of_host = of_host.as_fd().try_clone_to_owned().map_err(words)?;
        for fd in [own, of_host] {
            equal("bridges", bridges(&fd), Err(Errno::ENOPKG))?;
            let vlan = ask(&fd, SIOCGIFVLAN, "", 0).map(drop);
            equal("VLANs", vlan, Err(Errno::ENOPKG))?;
            let private = |name| ask(&fd, SIOCDEVPRIVATE, name, 0).map(drop);
            let bond = ask(&fd, SIOCBONDINFOQUERY, "vsown", 0).map(drop);
            equal("what a device joins", bond, Err(Errno::ENOPKG))?;
            equal("a driver", private("vsown"), Err(Errno::EOPNOTSUPP))?;
            equal("a foreign one", private("vshost"), Err(Errno::ENODEV))?;
            let flags = ask(&fd, SIOCGIFFLAGS, "vshost", 0).map(drop);
            equal("the flags of a foreign one", flags, Err(Errno::ENODEV))?;
            for device in ["vsown", "vshost"] {
                equal("a neighbour", neighbour(&fd, device), Err(Errno::ENXIO))?;
            }
            let address = ask(&fd, SIOCGIFADDR, "vshost", 0).map(drop);
            equal("its address", address, Err(Errno::ENODEV))?;
        }
        let raw = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_IGMP)?;
        let routes = ask(&raw, SIOCGETVIFCNT, "", 0).map(drop);
        equal("routes of groups", routes, Err(Errno::EADDRNOTAVAIL))
    })?;
    ip("link del vsbridge").map(drop)
}

/// Another thread changes the name between what the module reads and what the kernel reads.
fn changed_meanwhile() -> Outcome {
    const TIME: Duration = Duration::from_secs(2);
    devices()?;
    let host = nix::net::if_::if_nametoindex("vshost").map_err(words)?;
    within(|| {
        let fd = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        Changing::between(b"vsown", b"vshost").for_a_while(TIME, |request| {
            let _ = ioctl_address(&fd, SIOCGIFINDEX as u32, request.address());
            // Behind the name.
            ensure("the number of a foreign one", request.word(16) != host)
        })
    })
}
