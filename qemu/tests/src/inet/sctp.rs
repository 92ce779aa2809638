// SPDX-License-Identifier: GPL-2.0

//! SCTP: an association has several addresses at each end, and all of the confined end's are its own.

use super::*;
use crate::{
    syscalls::{own, set_option, syscall},
    test,
};
use nix::sys::socket::{connect, getpeername, listen, Backlog, SockaddrIn};

pub const SERVERS: Test = test("inet::sctp_servers", 60, servers);
pub const SOURCES: Test = test("inet::sctp_sources", 60, sources);
pub const LOOPBACK: Test = test("inet::sctp_loopback", 60, loopback);
pub const REFUSALS: Test = test("inet::sctp_refusals", 60, refusals);

const BINDX_ADD: i32 = 100;
const CONNECTX: i32 = 110;

/// A socket of one association, or of many.
fn sctp(family: i32, kind: i32) -> Result<OwnedFd, Errno> {
    let kind = kind | libc::SOCK_CLOEXEC;
    let arguments = [
        family as usize,
        kind as usize,
        libc::IPPROTO_SCTP as usize,
        0,
        0,
        0,
    ];
    syscall(libc::SYS_socket, arguments).map(|fd| own(fd as i32))
}

fn stream() -> Result<OwnedFd, String> {
    sctp(libc::AF_INET, libc::SOCK_STREAM).map_err(words)
}

/// Where it is a module, the first socket of the host loads it.
fn ready() -> Outcome {
    addresses()?;
    stream()
        .map(drop)
        .map_err(|text| format!("no SCTP: {text}"))
}

fn bound(socket: &OwnedFd, address: SocketAddr) -> nix::Result<()> {
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

/// As `greeter`, by SCTP.
fn sctp_greeter(name: &'static str, address: SocketAddr) -> Outcome {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let socket = sctp(family, libc::SOCK_STREAM).map_err(words)?;
    bound(&socket, address).map_err(|error| format!("bound to {address}: {error}"))?;
    listen(&socket, Backlog::MAXCONN).map_err(words)?;
    greet(TcpListener::from(socket), name);
    Ok(())
}

fn to(socket: &OwnedFd, address: SocketAddr) -> nix::Result<()> {
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

fn sctp_greeted_by(address: SocketAddr) -> Result<String, String> {
    let socket = if address.is_ipv4() {
        stream()?
    } else {
        sctp(libc::AF_INET6, libc::SOCK_STREAM).map_err(words)?
    };
    to(&socket, address).map_err(|error| format!("connecting to {address}: {error}"))?;
    let stream = TcpStream::from(socket);
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .map_err(words)?;
    greeting(stream)
}

fn refused(what: &str, address: SocketAddr) -> Outcome {
    let got = stream().map(|socket| to(&socket, address))?;
    equal(what, got, Err(Errno::ECONNREFUSED))
}

/// "Any" of two contexts on one port: each at its own addresses, and nobody at the host's.
fn servers() -> Outcome {
    ready()?;
    let _one = server(100, &[A, B, A6], || {
        sctp_greeter("one", at("0.0.0.0", 8150))
    })?;
    let _two = server(101, &[C], || sctp_greeter("two", at("0.0.0.0", 8150)))?;
    for (address, name) in [(A, "one "), (B, "one "), (C, "two ")] {
        let seen = sctp_greeted_by(at(address, 8150))?;
        equal(&format!("{address}: {seen}"), seen.starts_with(name), true)?;
    }
    for other in [HOST, "127.0.0.1"] {
        refused(other, at(other, 8150))?;
    }
    // A third one without any of it may have the port, too; who shares an address may not.
    within(102, &["10.77.0.8"], || {
        let got = stream().map(|socket| bound(&socket, at("0.0.0.0", 8150)))?;
        equal("no device has it", got, Err(Errno::EADDRNOTAVAIL))?;
        Ok("")
    })?;
    within(102, &[C], || {
        let got = stream().map(|socket| bound(&socket, at("0.0.0.0", 8150)))?;
        equal("shared", got, Err(Errno::EADDRINUSE))?;
        Ok("")
    })
}

/// The local addresses of an association, as the kernel has it.
fn local_addresses(socket: &OwnedFd) -> Result<Vec<String>, String> {
    // struct sctp_getaddrs: an association, a count, and the addresses.
    let mut room = [0u8; 512];
    let mut length = room.len() as u32;
    // SCTP_GET_LOCAL_ADDRS
    let arguments = [
        socket.as_raw_fd() as usize,
        libc::IPPROTO_SCTP as usize,
        109,
        room.as_mut_ptr() as usize,
        std::ptr::from_mut(&mut length) as usize,
        0,
    ];
    syscall(libc::SYS_getsockopt, arguments).map_err(words)?;
    let count = u32::from_ne_bytes([room[4], room[5], room[6], room[7]]);
    let mut found: Vec<String> = (0..count as usize)
        .map(|index| &room[8 + index * 16..])
        .map(|one| std::net::Ipv4Addr::new(one[4], one[5], one[6], one[7]).to_string())
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// Whoever connects or sends without a bind does it from his addresses, and tells no other.
fn sources() -> Outcome {
    ready()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || sctp_greeter("host", at(HOST, 8151)))?;
    for own in [&[A][..], &[A, B]] {
        within(100, own, || {
            let seen = sctp_greeted_by(at(HOST, 8151))?;
            let from = own.iter().any(|one| seen == format!("host {HOST} {one}"));
            equal(&format!("connected: {seen}"), from, true)?;
            let socket = stream()?;
            to(&socket, at(HOST, 8151)).map_err(words)?;
            let mut all = local_addresses(&socket)?;
            all.retain(|one| !one.starts_with("127."));
            equal("told", all, own.iter().map(|one| one.to_string()).collect())?;
            // By a message, which makes the association.
            let many = sctp(libc::AF_INET, libc::SOCK_SEQPACKET).map_err(words)?;
            let many = UdpSocket::from(many);
            many.send_to(b"?", at(HOST, 8151)).map_err(words)?;
            many.set_read_timeout(Some(Duration::from_secs(10)))
                .map_err(words)?;
            // Each piece that was written is a message of its own.
            let mut seen = String::new();
            for _ in 0..5 {
                let mut room = [0; 256];
                let length = many.recv(&mut room).map_err(words)?;
                seen.push_str(&String::from_utf8_lossy(&room[..length]));
            }
            let from = own.iter().any(|one| seen == format!("host {HOST} {one}"));
            equal(&format!("sent: {seen}"), from, true)?;
            Ok("")
        })?;
    }
    Ok(())
}

/// 127.0.0.1 is one's own.
fn loopback() -> Outcome {
    ready()?;
    let lo = at("127.0.0.1", 8152);
    let _host = Sitter::new(CONTEXT_ROOT, 0, || sctp_greeter("host", lo))?;
    let _one = server(100, &[A], || sctp_greeter("one", lo))?;
    let _two = server(101, &[B], || sctp_greeter("two", at("0.0.0.0", 8152)))?;
    within(100, &[A], || {
        equal(
            "one",
            sctp_greeted_by(lo)?.starts_with("one 127.0.0.1 "),
            true,
        )?;
        let socket = stream()?;
        to(&socket, lo).map_err(words)?;
        let peer: SockaddrIn = getpeername(socket.as_raw_fd()).map_err(words)?;
        equal("its peer", peer.ip().to_string().as_str(), "127.0.0.1")?;
        refused("the own address", at(A, 8152))?;
        Ok("")
    })?;
    within(101, &[B], || {
        equal("two", sctp_greeted_by(lo)?.starts_with("two "), true)?;
        Ok("")
    })?;
    within(102, &[C], || {
        refused("nobody's", lo)?;
        Ok("")
    })?;
    equal("the host", sctp_greeted_by(lo)?.starts_with("host "), true)
}

fn list_of(addresses: &[SocketAddr]) -> Vec<u8> {
    let mut list = Vec::new();
    for address in addresses {
        let SocketAddr::V4(v4) = address else {
            continue;
        };
        list.extend((libc::AF_INET as u16).to_ne_bytes());
        list.extend(v4.port().to_be_bytes());
        list.extend(v4.ip().octets());
        list.extend([0; 8]);
    }
    list
}

fn set(socket: &OwnedFd, name: i32, value: &[u8]) -> Result<(), Errno> {
    set_option(socket, libc::IPPROTO_SCTP, name, value)
}

fn refusals() -> Outcome {
    ready()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || sctp_greeter("host", at(HOST, 8153)))?;
    within(100, &[A, B], || {
        for foreign in [HOST, C, "127.255.255.255"] {
            let got = bound(&stream()?, at(foreign, 8154));
            equal(foreign, got, Err(Errno::EADDRNOTAVAIL))?;
            let socket = stream()?;
            bound(&socket, at(A, 8154)).map_err(words)?;
            let more = list_of(&[at(B, 8154), at(foreign, 8154)]);
            let got = set(&socket, BINDX_ADD, &more);
            equal("one more", got, Err(Errno::EADDRNOTAVAIL))?;
        }
        let socket = stream()?;
        bound(&socket, at(A, 8154)).map_err(words)?;
        set(&socket, BINDX_ADD, &list_of(&[at(B, 8154)])).map_err(words)?;
        equal(
            "bound",
            local_addresses(&socket)?.join(" ").as_str(),
            "10.77.0.5 10.77.0.6",
        )?;
        for malformed in [
            &[][..],
            &[2],
            &[2, 0, 1],
            &[1, 0, 0, 0, 0, 0, 0, 0],
            &[10; 20],
        ] {
            let got = set(&socket, BINDX_ADD, malformed);
            equal(&format!("{malformed:?}"), got, Err(Errno::EINVAL))?;
        }
        // What the kernel would let through if it is told to is still nothing to send from.
        let free = stream()?;
        set_option(&free, libc::IPPROTO_IP, libc::IP_FREEBIND, &[1i32]).map_err(words)?;
        for none in ["224.0.0.251", "255.255.255.255"] {
            let got = bound(&free, at(none, 8154));
            equal(none, got, Err(Errno::EADDRNOTAVAIL))?;
            let more = list_of(&[at(none, 8154)]);
            let got = set(&free, BINDX_ADD, &more);
            equal(none, got, Err(Errno::EADDRNOTAVAIL))?;
        }
        // SCTP_AUTO_ASCONF
        equal("auto", set(&socket, 30, &[1, 0, 0, 0]), Err(Errno::EPERM))?;
        // One of IPv6 would send to peers of IPv4 from wherever the host does, and the other way round.
        let six = sctp(libc::AF_INET6, libc::SOCK_STREAM).map(drop);
        equal("IPv6", six, Err(Errno::EAFNOSUPPORT))?;
        // Several addresses of the other end; the association's number is the answer.
        let socket = stream()?;
        let got = syscall(libc::SYS_setsockopt, {
            let list = list_of(&[at(HOST, 8153)]);
            [
                socket.as_raw_fd() as usize,
                libc::IPPROTO_SCTP as usize,
                CONNECTX as usize,
                list.leak().as_ptr() as usize,
                16,
                0,
            ]
        });
        equal("connectx", got.map(|number| number > 0), Ok(true))?;
        let mut all = local_addresses(&socket)?;
        all.retain(|one| !one.starts_with("127."));
        equal("told", all.join(" ").as_str(), "10.77.0.5 10.77.0.6")?;
        Ok("")
    })
}
