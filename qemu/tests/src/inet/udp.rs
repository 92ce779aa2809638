// SPDX-License-Identifier: GPL-2.0

//! UDP, and ping.

use super::*;
use crate::{fixture::ensure, syscalls, test};
use nix::sys::socket::{
    recvmsg, sendmsg, ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn,
};
use std::io::{IoSlice, IoSliceMut};

pub const ANY: Test = test("inet::udp_any_is_all_own_addresses", 60, any);
pub const CONNECTED: Test = test("inet::udp_connected", 60, connected);
pub const PKTINFO: Test = test("inet::udp_source_by_message", 60, pktinfo);
pub const DISCONNECTED: Test = test("inet::udp_disconnected_and_bound_anew", 60, disconnected);
pub const FAILED_CONNECT: Test = test("inet::udp_connect_that_fails", 60, failed_connect);
pub const BOUND_BY_THE_KERNEL: Test =
    test("inet::udp_bound_by_the_kernel", 60, bound_by_the_kernel);
pub const PING: Test = test("inet::ping_without_privilege", 60, ping);

fn any() -> Outcome {
    addresses()?;
    let _one = server(100, &[A, B], || answerer("one", at("0.0.0.0", 8101)))?;
    let _two = server(101, &[C], || answerer("two", at("0.0.0.0", 8101)))?;
    // The answer comes from an address that the server has, whatever the host's own is.
    let got = ask(at(A, 8101)).map_err(words)?;
    equal("A", got.starts_with("one "), true)?;
    same(
        "C",
        ask(at(C, 8101)).map_err(words),
        &format!("two {C} from {C}"),
    )?;
    for other in [HOST, "127.0.0.1"] {
        let socket = UdpSocket::bind(at("0.0.0.0", 0)).map_err(words)?;
        socket.connect(at(other, 8101)).map_err(words)?;
        socket.send(b"?").map_err(words)?;
        let got = errno(socket.recv(&mut [0; 16]));
        equal(other, got, Err(Errno::ECONNREFUSED))?;
    }
    within(101, &[C], || {
        let lo = "127.0.0.1";
        same(
            "own loopback",
            ask(at(lo, 8101)).map_err(words),
            &format!("two {lo} from {lo}"),
        )?;
        same(
            "own address",
            ask(at(C, 8101)).map_err(words),
            &format!("two {C} from {C}"),
        )?;
        let got = ask(at(A, 8101)).map_err(words)?;
        equal(
            "another's",
            got.starts_with(&format!("one {C} from ")),
            true,
        )?;
        Ok("")
    })
}

/// A peer, another peer, no peer, all with one socket.
fn connected() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || answerer("host", at(HOST, 8102)))?;
    let _one = server(100, &[A], || answerer("one", at("0.0.0.0", 8103)))?;
    within(100, &[A], || {
        for any in [true, false] {
            let socket = if any {
                UdpSocket::bind(at("0.0.0.0", 8104)).map_err(words)?
            } else {
                UdpSocket::bind(at("0.0.0.0", 0)).map_err(words)?
            };
            let timeout = Some(Duration::from_secs(3));
            socket.set_read_timeout(timeout).map_err(words)?;
            let told = |peer: SocketAddr| -> Result<String, String> {
                socket.connect(peer).map_err(words)?;
                socket.send(b"?").map_err(words)?;
                let mut room = [0; 64];
                let length = socket.recv(&mut room).map_err(words)?;
                let local = socket.local_addr().map_err(words)?.ip();
                let peer = socket.peer_addr().map_err(words)?.ip();
                let text = String::from_utf8_lossy(&room[..length]).into_owned();
                Ok(format!("{text}, {local} to {peer}"))
            };
            let disconnect = || {
                let unspecified = [0u8; 16];
                syscalls::syscall(
                    libc::SYS_connect,
                    [
                        socket.as_raw_fd() as usize,
                        unspecified.as_ptr() as usize,
                        16,
                        0,
                        0,
                        0,
                    ],
                )
                .map_err(words)
            };
            same(
                "host",
                told(at(HOST, 8102)),
                &format!("host {A}, {A} to {HOST}"),
            )?;
            disconnect()?;
            let lo = "127.0.0.1";
            same(
                "loopback",
                told(at(lo, 8103)),
                &format!("one {lo}, {lo} to {lo}"),
            )?;
            disconnect()?;
            let name = socket.local_addr().map_err(words)?.ip().to_string();
            equal("without a peer", name.as_str(), "0.0.0.0")?;
            let got = asked(&socket, at(HOST, 8102)).map_err(words);
            same("unconnected", got, &format!("host {A} from {HOST}"))?;
            // What waits to be sent has its addresses: no other peer meanwhile.
            let name = nix::sys::socket::SockaddrStorage::from(at(HOST, 8102));
            nix::sys::socket::sendto(
                socket.as_raw_fd(),
                b"?",
                &name,
                MsgFlags::from_bits_retain(libc::MSG_MORE),
            )
            .map_err(words)?;
            let other = errno(socket.connect(at(lo, 8103)));
            equal("a peer while something waits", other, Err(Errno::EINVAL))?;
        }
        Ok("")
    })
}

/// The source that a message names is one's own, or it is refused; what is told of a message that
/// came is what the process has.
fn pktinfo() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || answerer("host", at(HOST, 8105)))?;
    within(100, &[A, B, A6], || {
        let socket = UdpSocket::bind(at("0.0.0.0", 8106)).map_err(words)?;
        socket
            .set_read_timeout(Some(Duration::from_secs(3)))
            .map_err(words)?;
        let send = |source: &str, dest: &str, port: u16| {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: in_addr(source),
                ipi_addr: in_addr("0.0.0.0"),
            };
            let SocketAddr::V4(dest) = at(dest, port) else {
                return Err(Errno::EINVAL);
            };
            sendmsg(
                socket.as_raw_fd(),
                &[IoSlice::new(b"?")],
                &[ControlMessage::Ipv4PacketInfo(&info)],
                MsgFlags::empty(),
                Some(&SockaddrIn::from(dest)),
            )
            .map(drop)
        };
        let mut room = [0; 64];
        for own in [A, B] {
            send(own, HOST, 8105).map_err(words)?;
            let length = socket.recv(&mut room).map_err(words)?;
            let text = String::from_utf8_lossy(&room[..length]).into_owned();
            equal(own, text, format!("host {own}"))?;
        }
        // One that leaves it open, as to name a device only: still one's own.
        send("0.0.0.0", HOST, 8105).map_err(words)?;
        let length = socket.recv(&mut room).map_err(words)?;
        let text = String::from_utf8_lossy(&room[..length]).into_owned();
        let own = text == format!("host {A}") || text == format!("host {B}");
        equal(&format!("open: {text}"), own, true)?;
        for foreign in [HOST, C, "127.1.0.1"] {
            equal(foreign, send(foreign, HOST, 8105), Err(Errno::EPERM))?;
        }
        // One for IPv6 says nothing about IPv4.
        let info = libc::in6_pktinfo {
            ipi6_addr: libc::in6_addr {
                s6_addr: A6.parse::<std::net::Ipv6Addr>().map_err(words)?.octets(),
            },
            ipi6_ifindex: 0,
        };
        let SocketAddr::V4(dest) = at(HOST, 8105) else {
            return Err("not IPv4".to_string());
        };
        sendmsg(
            socket.as_raw_fd(),
            &[IoSlice::new(b"?")],
            &[ControlMessage::Ipv6PacketInfo(&info)],
            MsgFlags::empty(),
            Some(&SockaddrIn::from(dest)),
        )
        .map_err(words)?;
        let length = socket.recv(&mut room).map_err(words)?;
        let text = String::from_utf8_lossy(&room[..length]).into_owned();
        let own = text == format!("host {A}") || text == format!("host {B}");
        equal(&format!("of IPv6: {text}"), own, true)?;
        // To itself: what it learns of the address that was asked.
        syscalls::set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &[1i32])
            .map_err(words)?;
        for (source, dest) in [("127.0.0.1", "127.0.0.1"), (A, B)] {
            send(source, dest, 8106).map_err(words)?;
            let mut space = nix::cmsg_space!(libc::in_pktinfo);
            let mut slices = [IoSliceMut::new(&mut room)];
            let message = recvmsg::<SockaddrIn>(
                socket.as_raw_fd(),
                &mut slices,
                Some(&mut space),
                MsgFlags::empty(),
            )
            .map_err(words)?;
            let from = message.address.map(|address| address.ip().to_string());
            equal("from", from.as_deref(), Some(source))?;
            let told = message.cmsgs().map_err(words)?.find_map(|cmsg| match cmsg {
                ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr.s_addr),
                _ => None,
            });
            equal("to", told, Some(in_addr(dest).s_addr))?;
        }
        Ok("")
    })
}

fn in_addr(text: &str) -> libc::in_addr {
    let ip: std::net::Ipv4Addr = text.parse().expect("an IPv4 address");
    libc::in_addr {
        s_addr: u32::from_ne_bytes(ip.octets()),
    }
}

fn ping() -> Outcome {
    addresses()?;
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "0 65534").map_err(words)?;
    within(100, &[A], || {
        nix::unistd::setuid(nix::unistd::Uid::from_raw(1000)).map_err(words)?;
        let raw = [libc::AF_INET as usize, libc::SOCK_RAW as usize, 1, 0, 0, 0];
        let got = syscalls::syscall(libc::SYS_socket, raw);
        equal("raw", got.map(drop), Err(Errno::EPERM))?;
        let dgram = [
            libc::AF_INET as usize,
            libc::SOCK_DGRAM as usize,
            1,
            0,
            0,
            0,
        ];
        let fd = syscalls::syscall(libc::SYS_socket, dgram).map_err(words)?;
        let socket = UdpSocket::from(syscalls::own(fd as i32));
        socket
            .set_read_timeout(Some(Duration::from_secs(3)))
            .map_err(words)?;
        for dest in [HOST, A, "127.0.0.1"] {
            // Echo request, sequence 1; the kernel fills in the rest.
            let echo = [8, 0, 0, 0, 0, 0, 0, 1, 42];
            socket.send_to(&echo, at(dest, 0)).map_err(words)?;
            let mut room = [0; 64];
            let (length, from) = socket.recv_from(&mut room).map_err(words)?;
            equal("reply", (room[0], length), (0, echo.len()))?;
            equal("from", from.ip().to_string().as_str(), dest)?;
        }
        Ok("")
    })
}

/// A socket that the kernel has bound when it sent loses its port when it is disconnected. What it is bound to then is
/// all that it receives at, and all that it keeps from others.
fn disconnected() -> Outcome {
    addresses()?;
    within(100, &[A, B], || {
        let fd = nix::sys::socket::socket(
            AddressFamily::Inet,
            SockType::Datagram,
            SockFlag::SOCK_NONBLOCK,
            None,
        )
        .map_err(words)?;
        let socket = UdpSocket::from(fd);
        socket.send_to(b"?", at(A, 8199)).map_err(words)?;
        let chosen = socket.local_addr().map_err(words)?;
        equal("the kernel has bound it", chosen.port() != 0, true)?;
        socket.connect(at(A, 8199)).map_err(words)?;
        let nobody = [0u8; 16];
        let fd = socket.as_raw_fd() as usize;
        let arguments = [fd, nobody.as_ptr() as usize, 16, 0, 0, 0];
        syscalls::syscall(libc::SYS_connect, arguments).map_err(words)?;
        equal(
            "the port is lost",
            socket.local_addr().map_err(words)?,
            at("0.0.0.0", 0),
        )?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(at(A, 8198))).map_err(words)?;
        equal("its name", socket.local_addr().map_err(words)?, at(A, 8198))?;
        // The other address is free for others.
        let other = UdpSocket::bind(at(B, 8198)).map_err(words)?;
        other.set_nonblocking(true).map_err(words)?;
        let sender = UdpSocket::bind(at("0.0.0.0", 0)).map_err(words)?;
        for (to, gets, gets_not) in [(A, &socket, &other), (B, &other, &socket)] {
            // What the peer has refused may be reported first.
            let _ = gets.recv(&mut [0; 4]);
            let _ = gets_not.recv(&mut [0; 4]);
            sender.send_to(b"!", at(to, 8198)).map_err(words)?;
            equal(to, gets.recv(&mut [0; 4]).map_err(words)?, 1)?;
            equal(to, errno(gets_not.recv(&mut [0; 4])), Err(Errno::EAGAIN))?;
        }
        drop(other);
        let sender = UdpSocket::bind(at(B, 0)).map_err(words)?;
        sender.connect(at(B, 8198)).map_err(words)?;
        sender.send(b"!").map_err(words)?;
        equal(
            "nobody",
            errno(sender.recv(&mut [0; 4])),
            Err(Errno::ECONNREFUSED),
        )?;
        equal(
            "nothing",
            errno(socket.recv(&mut [0; 4])),
            Err(Errno::EAGAIN),
        )?;
        Ok("")
    })
}

/// A socket whose second connect(2) fails, and what it still gets from its first peer.
fn reconnect(bound: SocketAddr, peer: &str) -> Result<String, String> {
    let socket = UdpSocket::bind(bound).map_err(words)?;
    socket.set_nonblocking(true).map_err(words)?;
    let first = UdpSocket::bind(at(peer, 0)).map_err(words)?;
    socket
        .connect(first.local_addr().map_err(words)?)
        .map_err(words)?;
    let name = socket.local_addr().map_err(words)?;
    // Without SO_BROADCAST the kernel refuses that when it has looked for the way.
    let refused = errno(socket.connect(at("255.255.255.255", 9)));
    let kept = socket.peer_addr().ok() == first.local_addr().ok();
    let same = socket.local_addr().map_err(words)? == name;
    first.send_to(b"!", name).map_err(words)?;
    let got = errno(socket.recv(&mut [0; 4]).map(drop));
    Ok(format!("{refused:?} {kept} {same} {got:?}"))
}

/// It is as on the host.
fn failed_connect() -> Outcome {
    addresses()?;
    let expected = reconnect(at("0.0.0.0", 8197), B)?;
    for bound in [at("0.0.0.0", 8197), at(A, 8197)] {
        within(100, &[A, B], || {
            equal("the results", reconnect(bound, B)?, expected.clone()).map(|()| "")
        })?;
    }
    Ok(())
}

/// Whether a socket gets what is sent to its port at an address.
fn receives_at(socket: &UdpSocket, address: &str) -> Result<bool, String> {
    let port = socket.local_addr().map_err(words)?.port();
    if port == 0 {
        return Ok(false);
    }
    let any = if address.contains(':') {
        "::"
    } else {
        "0.0.0.0"
    };
    let sender = UdpSocket::bind(at(any, 0)).map_err(words)?;
    sender.send_to(b"!", at(address, port)).map_err(words)?;
    // It comes at once, by the loopback device, or not at all.
    Ok(socket.recv(&mut [0; 4]).is_ok())
}

/// Calls that fail, and for which the kernel binds a socket before it sees that: not to the host's addresses.
fn bound_by_the_kernel() -> Outcome {
    addresses()?;
    within(100, &[A, A6], || {
        for (family, own, foreign) in [(libc::AF_INET, A, HOST), (libc::AF_INET6, A6, HOST6)] {
            for call in 0..4 {
                let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK;
                let arguments = [family as usize, kind as usize, 0, 0, 0, 0];
                let fd = syscalls::syscall(libc::SYS_socket, arguments).map_err(words)?;
                let socket = UdpSocket::from(syscalls::own(fd as i32));
                let fd = socket.as_raw_fd() as usize;
                let text = b"?".as_ptr() as usize;
                // An address that is too short, and one of another family.
                let name = [if call == 2 { family as u16 } else { 77 }; 8];
                let name = name.as_ptr() as usize;
                let got = match call {
                    0 => syscalls::syscall(libc::SYS_sendto, [fd, text, 1, 0, 0, 0]),
                    1 => syscalls::syscall(libc::SYS_write, [fd, text, 1, 0, 0, 0]),
                    2 => syscalls::syscall(libc::SYS_connect, [fd, name, 8, 0, 0, 0]),
                    _ => syscalls::syscall(libc::SYS_connect, [fd, name, 16, 0, 0, 0]),
                };
                let what = format!("family {family}, call {call}");
                if call < 2 {
                    equal(&what, got, Err(Errno::EDESTADDRREQ))?;
                } else {
                    ensure(&format!("{what}: {got:?}"), got.is_err())?;
                }
                let has_port = socket.local_addr().map_err(words)?.port() != 0;
                equal(&what, receives_at(&socket, own)?, has_port)?;
                for foreign in [foreign, HOST] {
                    equal(
                        &format!("{what}, {foreign}"),
                        receives_at(&socket, foreign)?,
                        false,
                    )?;
                }
            }
        }
        Ok("")
    })
}
