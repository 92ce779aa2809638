// SPDX-License-Identifier: GPL-2.0

//! Numbers of devices in what a program sends: in the address of the receiver, and in control messages.

use super::*;
use nix::{
    errno::Errno,
    sys::socket::{connect, sendmsg, ControlMessage, MsgFlags, SockaddrStorage},
};
use std::{
    io::IoSlice,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
};

pub const SCOPES: Test = test("netdev::scopes_of_addresses", 60, scopes);
pub const PACKET_INFORMATION: Test = test("netdev::devices_in_messages", 60, devices_in_messages);

/// No device has this number.
const NOBODYS: u32 = 9999;

/// A neighbour, and a group: each is at one device only.
const OF_A_LINK: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 9),
];

fn index(device: &str) -> Result<u32, String> {
    nix::net::if_::if_nametoindex(device).map_err(words)
}

fn send(fd: &OwnedFd, to: SocketAddr, control: &[ControlMessage<'_>]) -> Result<(), Errno> {
    sendmsg(
        fd.as_raw_fd(),
        &[IoSlice::new(b"?")],
        control,
        MsgFlags::empty(),
        Some(&SockaddrStorage::from(to)),
    )
    .map(drop)
}

/// What becomes of a datagram to an address of a link, and of a socket that is connected to it.
fn reach(address: Ipv6Addr, scope: u32) -> Result<[Result<(), Errno>; 2], String> {
    let to = SocketAddrV6::new(address, 9, 0, scope).into();
    let sends = socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    let connects = socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
    Ok([
        send(&sends, to, &[]),
        connect(connects.as_raw_fd(), &SockaddrStorage::from(to)),
    ])
}

/// A device that the network does not see is as one that is not there.
fn scopes() -> Outcome {
    devices()?;
    let (own, host) = (index("vsown")?, index("vshost")?);
    for address in OF_A_LINK {
        let absent = reach(address, NOBODYS)?;
        ensure(&format!("{absent:?}"), absent.iter().all(Result::is_err))?;
        equal("the host", reach(address, host)?, [Ok(()); 2])?;
        within(|| {
            equal("its own", reach(address, own)?, [Ok(()); 2])?;
            equal("nobody's", reach(address, NOBODYS)?, absent)?;
            equal("a foreign one", reach(address, host)?, absent)
        })?;
    }
    Ok(())
}

fn devices_in_messages() -> Outcome {
    devices()?;
    let (own, host) = (index("vsown")?, index("vshost")?);
    within(|| {
        let v4 = socket(libc::AF_INET, libc::SOCK_DGRAM, 0)?;
        let v6 = socket(libc::AF_INET6, libc::SOCK_DGRAM, 0)?;
        for (index, expected) in [
            (0, Ok(())),
            (own, Ok(())),
            (host, Err(Errno::ENODEV)),
            (NOBODYS, Err(Errno::ENODEV)),
        ] {
            let info = libc::in_pktinfo {
                ipi_ifindex: index as i32,
                ipi_spec_dst: libc::in_addr { s_addr: 0 },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let to: SocketAddr = ([10, 76, 0, 9], 9).into();
            let sent = send(&v4, to, &[ControlMessage::Ipv4PacketInfo(&info)]);
            equal(&format!("IPv4, device {index}"), sent, expected)?;
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
                ipi6_ifindex: index,
            };
            let to = SocketAddrV6::new(Ipv6Addr::new(0xfd76, 0, 0, 0, 0, 0, 0, 9), 9, 0, 0);
            let sent = send(&v6, to.into(), &[ControlMessage::Ipv6PacketInfo(&info)]);
            equal(&format!("IPv6, device {index}"), sent, expected)?;
        }
        Ok(())
    })
}
