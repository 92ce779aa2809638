// SPDX-License-Identifier: GPL-2.0

//! The kernel copies and replaces the operations of sockets in many places (docs/sockets.md). None of them may cost a
//! socket its network, give the host operations of a context, or keep the module from going.

use crate::{
    fixture::{child, confine, ensure, enter, equal, inside, until_empty, words, Outcome, Sitter},
    inet::{addresses, A, B, HOST},
    module,
    syscalls::{own, set_option, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    kmod,
    sys::socket::{
        accept, bind, connect, getpeername, getsockname, listen, recv, recvmsg, send, sendmsg,
        socketpair, AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags,
        SockFlag, SockType, SockaddrStorage,
    },
};
use std::{
    io::{IoSlice, IoSliceMut},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    time::Duration,
};
use vserver_uapi::*;

pub const PEELED_OFF: Test = test("sockets::replaced_peeled_off", 60, || each(peel_off));
pub const TLS: Test = test("sockets::replaced_tls", 60, || each(tls));
pub const FALLBACK: Test = test("sockets::replaced_mptcp_fallback", 60, || each(fallback));
pub const ADDRFORM: Test = test("sockets::replaced_addrform", 60, || each(addrform));
pub const ESPINTCP: Test = test("sockets::replaced_espintcp", 60, || each(espintcp));
pub const CLONED: Test = test("sockets::replaced_kcm_clone", 60, || each(kcm_clone));
pub const ORPHANS: Test = test("sockets::replaced_orphans", 60, orphans);
pub const TO_AND_FRO: Test = test("sockets::replaced_to_and_fro", 60, to_and_fro);
pub const ALL: Test = test("sockets::replaced_again_and_again", 300, || {
    again_and_again(5)
});
pub const ALL_LONG: Test = test("long::sockets_replaced", 3000, || again_and_again(100));

mod calls;

pub use calls::{RANDOM, RANDOM_LONG};

const ULP: i32 = 31;
const SOL_TLS: i32 = 282;
const PEELOFF: usize = 102;
const PEELOFF_FLAGS: usize = 122;
const ASSOC_ID_LIST: usize = 29;
const IPPROTO_MPTCP: i32 = 262;
const AF_KCM: i32 = 41;
const SIOCKCMCLONE: u32 = 0x89e2;

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), port)
}

/// What goes on in a place: on the host, in a context that is not confined, and in one that is.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Host,
    Free,
    Confined,
}

/// In each place, and on the host once more when the others have been; then the module goes at once.
fn each(work: fn(Place) -> Outcome) -> Outcome {
    addresses()?;
    in_each(work)?;
    until_empty()?;
    module::reload()?;
    on_host(work).map_err(|text| format!("the module anew: {text}"))
}

fn in_each(work: fn(Place) -> Outcome) -> Outcome {
    child(|| {
        confine(&[A, B]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        work(Place::Confined).map(|()| String::new())
    })
    .map_err(|text| format!("confined: {text}"))?;
    inside(101, || work(Place::Free)).map_err(|text| format!("not confined: {text}"))?;
    on_host(work)
}

fn on_host(work: fn(Place) -> Outcome) -> Outcome {
    child(|| work(Place::Host).map(|()| String::new()))
        .map(drop)
        .map_err(|text| format!("on the host: {text}"))
}

fn new_socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let kind = kind | libc::SOCK_CLOEXEC;
    syscall(
        libc::SYS_socket,
        [family as usize, kind as usize, protocol as usize, 0, 0, 0],
    )
    .map(|fd| own(fd as i32))
}

fn bound(socket: &OwnedFd, address: SocketAddr) -> Outcome {
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
        .map_err(|errno| format!("binding to {address}: {errno}"))
}

fn connected(socket: &OwnedFd, address: SocketAddr) -> Outcome {
    connect(socket.as_raw_fd(), &SockaddrStorage::from(address))
        .map_err(|errno| format!("connecting to {address}: {errno}"))
}

fn address_of(got: nix::Result<SockaddrStorage>) -> Result<SocketAddr, String> {
    let got = got.map_err(words)?;
    let v4 = got
        .as_sockaddr_in()
        .map(|v4| SocketAddr::from(std::net::SocketAddrV4::from(*v4)));
    let v6 = got
        .as_sockaddr_in6()
        .map(|v6| SocketAddr::from(std::net::SocketAddrV6::from(*v6)));
    v4.or(v6).ok_or_else(|| "no address".to_string())
}

fn local(socket: &OwnedFd) -> Result<SocketAddr, String> {
    address_of(getsockname(socket.as_raw_fd()))
}

fn peer(socket: &OwnedFd) -> Result<SocketAddr, String> {
    address_of(getpeername(socket.as_raw_fd()))
}

/// What is written at one end comes out at the other.
fn carries(from: &OwnedFd, to: &OwnedFd) -> Outcome {
    let sent = send(from.as_raw_fd(), b"word", MsgFlags::empty()).map_err(words)?;
    equal("sent", sent, 4)?;
    let mut room = [0; 16];
    let got = recv(to.as_raw_fd(), &mut room, MsgFlags::empty()).map_err(words)?;
    equal("received", &room[..got], b"word")
}

/// A connection on the loopback, of one protocol at each end.
fn pair_of(family: i32, protocols: [i32; 2], loopback: &str) -> Result<[OwnedFd; 2], String> {
    let listener = new_socket(family, libc::SOCK_STREAM, protocols[0]).map_err(words)?;
    bound(&listener, at(loopback, 0))?;
    listen(&listener, Backlog::MAXCONN).map_err(words)?;
    let client = new_socket(family, libc::SOCK_STREAM, protocols[1]).map_err(words)?;
    connected(&client, local(&listener)?)?;
    let server = own(accept(listener.as_raw_fd()).map_err(words)?);
    Ok([client, server])
}

fn tcp_pair(family: i32, loopback: &str) -> Result<[OwnedFd; 2], String> {
    pair_of(family, [libc::IPPROTO_TCP; 2], loopback)
}

fn modprobe(name: &str) {
    let _ = Command::new("/sbin/modprobe").arg(name).output();
}

/// An association that has left the socket that it came to: by one option, or by the other.
fn peeled(socket: &OwnedFd, option: usize) -> Result<OwnedFd, String> {
    let get = |option: usize, value: &mut [i32]| {
        let mut length = size_of_val(value) as u32;
        let arguments = [
            socket.as_raw_fd() as usize,
            libc::IPPROTO_SCTP as usize,
            option,
            value.as_mut_ptr() as usize,
            std::ptr::from_mut(&mut length) as usize,
            0,
        ];
        syscall(libc::SYS_getsockopt, arguments)
            .map_err(|errno| format!("option {option}: {errno}"))
    };
    let mut list = [0; 8];
    get(ASSOC_ID_LIST, &mut list)?;
    ensure("an association", list[0] >= 1)?;
    // The association, the new descriptor, and flags.
    let mut request = [list[1], -1, 0];
    let words = if option == PEELOFF { 2 } else { 3 };
    get(option, &mut request[..words])?;
    Ok(own(request[1]))
}

fn many(address: SocketAddr) -> Result<OwnedFd, String> {
    let socket =
        new_socket(libc::AF_INET, libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP).map_err(words)?;
    bound(&socket, address)?;
    listen(&socket, Backlog::MAXCONN).map_err(words)?;
    Ok(socket)
}

/// Peels off an association, closes what it was peeled off from, and goes on with it.
fn peel_off(place: Place) -> Outcome {
    let own_address = if place == Place::Confined { A } else { HOST };
    for option in [PEELOFF, PEELOFF_FLAGS] {
        let many = many(at(own_address, 0))?;
        let server = local(&many)?;
        let client =
            new_socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP).map_err(words)?;
        connected(&client, server)?;
        carries(&client, &many)?;
        let branch = peeled(&many, option)?;
        drop(many);
        carries(&client, &branch)?;
        carries(&branch, &client)?;
        equal("its address", local(&branch)?.port(), server.port())?;
        equal("its peer", peer(&branch)?.port(), local(&client)?.port())?;
        if place == Place::Confined {
            let add = sctp_address(at(HOST, server.port()));
            let got = set_option(&branch, libc::IPPROTO_SCTP, 100, &add);
            equal("one more address", got, Err(Errno::EADDRNOTAVAIL))?;
        }
    }
    if place == Place::Host {
        return by_a_user_of_the_host();
    }
    Ok(())
}

fn sctp_address(address: SocketAddr) -> [u8; 16] {
    let mut list = [0; 16];
    if let SocketAddr::V4(v4) = address {
        list[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
        list[2..4].copy_from_slice(&v4.port().to_be_bytes());
        list[4..8].copy_from_slice(&v4.ip().octets());
    }
    list
}

/// A process that has addresses and is in no context, and is an ordinary user's as far as sockets go: what it has peeled
/// off keeps its network when it is all that is left of it.
fn by_a_user_of_the_host() -> Outcome {
    let (here, there) = unix_pair()?;
    child(move || {
        confine(&[A, B]).map_err(words)?;
        let first = many(at(A, 0))?;
        let client =
            new_socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP).map_err(words)?;
        connected(&client, local(&first)?)?;
        carries(&client, &first)?;
        let branch = peeled(&first, PEELOFF)?;
        pass(&there, &branch).map_err(words)?;
        Ok(String::new())
    })?;
    let branch = take(&here).map_err(words)?;
    // Time for what is freed to be gone.
    std::thread::sleep(Duration::from_millis(300));
    let busy = kmod::delete_module(c"vserver", kmod::DeleteModuleFlags::O_NONBLOCK);
    equal("the module goes", busy, Err(Errno::EWOULDBLOCK))?;
    equal("its address", local(&branch)?.ip(), at(A, 0).ip())
}

fn set_ulp(socket: &OwnedFd, name: &str) -> Result<(), Errno> {
    set_option(socket, libc::IPPROTO_TCP, ULP, name.as_bytes())
}

/// Keys of TLS 1.2 with AES-GCM of 128 bits, as the kernel wants them.
fn keys() -> [u8; 40] {
    let mut keys = [7; 40];
    keys[..2].copy_from_slice(&0x0303u16.to_ne_bytes());
    keys[2..4].copy_from_slice(&51u16.to_ne_bytes());
    keys
}

fn shows_loopback(pair: &[OwnedFd; 2], when: &str, loopback: &str) -> Outcome {
    for socket in pair {
        equal(
            &format!("own address {when}"),
            local(socket)?.ip(),
            at(loopback, 0).ip(),
        )?;
        equal(
            &format!("peer {when}"),
            peer(socket)?.ip(),
            at(loopback, 0).ip(),
        )?;
    }
    Ok(())
}

/// TLS in the kernel: refused to who has no connection, and then used.
fn tls(place: Place) -> Outcome {
    // Anew where it is a module, so that whoever comes first builds its tables.
    if place == Place::Confined {
        let _ = Command::new("/sbin/modprobe").args(["-r", "tls"]).output();
    }
    modprobe("tls");
    modprobe("gcm");
    for (family, loopback) in [
        (libc::AF_INET, "127.0.0.1"),
        (libc::AF_INET6, "::ffff:127.0.0.1"),
    ] {
        let alone = new_socket(family, libc::SOCK_STREAM, 0).map_err(words)?;
        equal(
            "without a connection",
            set_ulp(&alone, "tls"),
            Err(Errno::ENOTCONN),
        )?;
        let pair = tcp_pair(family, loopback)?;
        for socket in &pair {
            set_ulp(socket, "tls").map_err(|errno| format!("TCP_ULP: {errno}"))?;
        }
        shows_loopback(&pair, "with TLS", loopback)?;
        for (from, to) in [(0, 1), (1, 0)] {
            set_option(&pair[from], SOL_TLS, 1, &keys())
                .map_err(|errno| format!("TLS_TX: {errno}"))?;
            shows_loopback(&pair, "when it sends", loopback)?;
            set_option(&pair[to], SOL_TLS, 2, &keys())
                .map_err(|errno| format!("TLS_RX: {errno}"))?;
            shows_loopback(&pair, "when it receives", loopback)?;
            carries(&pair[from], &pair[to])?;
        }
        equal("once more", set_ulp(&pair[0], "tls"), Err(Errno::EEXIST))?;
        let got = connect(pair[0].as_raw_fd(), &SockaddrStorage::from(at(HOST, 9)));
        equal("another peer", got, Err(Errno::EISCONN))?;
    }
    Ok(())
}

/// A listener of MPTCP that plain TCP comes to: the kernel makes the accepted socket one of TCP.
fn fallback(place: Place) -> Outcome {
    for (family, loopback) in [(libc::AF_INET, "127.0.0.1"), (libc::AF_INET6, "::1")] {
        if place == Place::Confined {
            let got = new_socket(family, libc::SOCK_STREAM, IPPROTO_MPTCP).map(drop);
            equal("confined", got, Err(Errno::EPROTONOSUPPORT))?;
            continue;
        }
        for client in [libc::IPPROTO_TCP, IPPROTO_MPTCP] {
            let pair = pair_of(family, [IPPROTO_MPTCP, client], loopback)?;
            carries(&pair[0], &pair[1])?;
            carries(&pair[1], &pair[0])?;
            shows_loopback(&pair, "accepted", loopback)?;
            // The kernel has made what was accepted from a client without MPTCP for itself: its lock is of another class.
            if client == libc::IPPROTO_TCP {
                modprobe("tls");
                set_ulp(&pair[1], "tls").map_err(|errno| format!("TLS: {errno}"))?;
                carries(&pair[0], &pair[1])?;
            }
        }
    }
    Ok(())
}

/// Sockets of IPv6 that become ones of IPv4.
fn addrform(place: Place) -> Outcome {
    let form = |socket: &OwnedFd| set_option(socket, libc::IPPROTO_IPV6, 1, &[libc::AF_INET]);
    let pair = tcp_pair(libc::AF_INET6, "::ffff:127.0.0.1")?;
    let datagrams = new_socket(libc::AF_INET6, libc::SOCK_DGRAM, 0).map_err(words)?;
    connected(&datagrams, at("::ffff:127.0.0.1", 9))?;
    for socket in [&pair[0], &pair[1], &datagrams] {
        if place == Place::Confined {
            equal("confined", form(socket), Err(Errno::EPERM))?;
            continue;
        }
        form(socket).map_err(|errno| format!("IPV6_ADDRFORM: {errno}"))?;
        equal("its family", local(socket)?.is_ipv4(), true)?;
    }
    carries(&pair[0], &pair[1])?;
    if place == Place::Confined {
        return Ok(());
    }
    // It listens in its new family, and what it accepts is its context's as well.
    let again = &pair[0];
    let nowhere = [0u16; 8];
    syscall(
        libc::SYS_connect,
        [
            again.as_raw_fd() as usize,
            nowhere.as_ptr() as usize,
            16,
            0,
            0,
            0,
        ],
    )
    .map_err(words)?;
    bound(again, at("127.0.0.1", 0)).map_err(words)?;
    listen(again, Backlog::MAXCONN).map_err(words)?;
    let client = new_socket(libc::AF_INET, libc::SOCK_STREAM, 0).map_err(words)?;
    connected(&client, local(again)?)?;
    let server = own(accept(again.as_raw_fd()).map_err(words)?);
    carries(&client, &server)?;
    let seen = std::fs::read_to_string("/proc/net/tcp").map_err(words)?;
    let port = format!("0100007F:{:04X}", local(&server)?.port());
    // A connection of an earlier pass may still have its port (TIME_WAIT is state 06).
    let alive = seen
        .lines()
        .filter(|line| line.contains(&port) && !line.contains(" 06 "));
    equal("lines of /proc/net/tcp", alive.count(), 3)
}

/// A protocol that copies operations the first time that it is used, and one that nobody knows.
fn espintcp(place: Place) -> Outcome {
    for (family, loopback) in [
        (libc::AF_INET6, "::ffff:127.0.0.1"),
        (libc::AF_INET, "127.0.0.1"),
    ] {
        let pair = tcp_pair(family, loopback)?;
        equal(
            "of no name",
            set_ulp(&pair[0], "nothing"),
            Err(Errno::ENOENT),
        )?;
        match set_ulp(&pair[0], "espintcp") {
            Err(Errno::ENOENT) => (),
            Ok(()) if place == Place::Host => shows_loopback(&pair, "with ESP", loopback)?,
            other => return Err(format!("espintcp: {other:?}")),
        }
    }
    Ok(())
}

fn kcm_clone(place: Place) -> Outcome {
    modprobe("kcm");
    let first = match new_socket(AF_KCM, libc::SOCK_SEQPACKET, 0) {
        Err(errno) if place == Place::Confined => {
            return equal("confined", errno, Errno::EAFNOSUPPORT);
        }
        got => got.map_err(words)?,
    };
    let mut fd = -1i32;
    let address = std::ptr::from_mut(&mut fd) as usize;
    syscall(
        libc::SYS_ioctl,
        [
            first.as_raw_fd() as usize,
            SIOCKCMCLONE as usize,
            address,
            0,
            0,
            0,
        ],
    )
    .map_err(|errno| format!("SIOCKCMCLONE: {errno}"))?;
    drop(first);
    drop(own(fd));
    Ok(())
}

/// A sock that no process has any more waits for its last byte: the host sees it when its network has gone.
fn waits(port: u16) -> Outcome {
    let remote = format!(":{port:04X} 04");
    let mut table = String::new();
    for _ in 0..500 {
        table = std::fs::read_to_string("/proc/net/tcp").map_err(words)?;
        if table.contains(&remote) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("no orphan in {table}"))
}

/// A sock that outlives its socket, and a connection that nobody accepts, do not keep the module.
fn orphans() -> Outcome {
    addresses()?;
    // Reads nothing.
    let host = TcpListener::bind((HOST, 0)).map_err(words)?;
    let target = host.local_addr().map_err(words)?;
    child(|| {
        confine(&[A]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        let stream = TcpStream::connect(target).map_err(words)?;
        stream.set_nonblocking(true).map_err(words)?;
        let piece = [0; 65536];
        while std::io::Write::write(&mut &stream, &piece).is_ok() {}
        // Clients of a listener that never accepts.
        let listener = TcpListener::bind((A, 0)).map_err(words)?;
        let address = listener.local_addr().map_err(words)?;
        let client = TcpStream::connect(address).map_err(words)?;
        drop(listener);
        drop(client);
        Ok(String::new())
    })?;
    until_empty()?;
    waits(target.port())?;
    module::reload()?;
    waits(target.port()).map_err(|text| format!("afterwards: {text}"))?;
    drop(host);
    Ok(())
}

/// Passes a descriptor through a Unix socket.
fn pass(through: &OwnedFd, passed: &OwnedFd) -> Result<(), Errno> {
    sendmsg::<()>(
        through.as_raw_fd(),
        &[IoSlice::new(b"!")],
        &[ControlMessage::ScmRights(&[passed.as_raw_fd()])],
        MsgFlags::empty(),
        None,
    )
    .map(drop)
}

fn take(through: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut space = nix::cmsg_space!([std::os::fd::RawFd; 1]);
    let mut room = [0; 1];
    let mut slices = [IoSliceMut::new(&mut room)];
    let message = recvmsg::<()>(
        through.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let found = message.cmsgs()?.find_map(|cmsg| match cmsg {
        ControlMessageOwned::ScmRights(fds) => fds.first().copied(),
        _ => None,
    });
    found.map(own).ok_or(Errno::ENODATA)
}

fn unix_pair() -> Result<(OwnedFd, OwnedFd), String> {
    socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
    .map_err(words)
}

/// Memory of the kernel's that is not reclaimable, in bytes.
fn slab() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(words)?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("SUnreclaim:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| "no SUnreclaim".to_string())
}

/// A socket that is passed to and fro between two contexts costs the kernel no more than one that is not.
fn to_and_fro() -> Outcome {
    addresses()?;
    const PASSES: usize = 2000;
    let (here, there) = unix_pair()?;
    let echo = there.try_clone().map_err(words)?;
    let other = Sitter::new(CONTEXT_ROOT, 0, move || {
        confine(&[B]).map_err(words)?;
        enter(101, 0, 0).map_err(words)?;
        std::thread::spawn(move || {
            while let Ok(socket) = take(&echo) {
                if pass(&echo, &socket).is_err() {
                    break;
                }
            }
        });
        Ok(())
    })?;
    drop(there);
    let grown = child(|| {
        confine(&[A]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        let mut socket = new_socket(libc::AF_INET, libc::SOCK_DGRAM, 0).map_err(words)?;
        let mut before = 0;
        for pass_number in 0..PASSES {
            if pass_number == 100 {
                before = slab()?;
            }
            pass(&here, &socket).map_err(words)?;
            socket = take(&here).map_err(words)?;
        }
        let after = slab()?;
        // It is here now, so it has an address from here.
        bound(&socket, at(A, 0))?;
        Ok(after.saturating_sub(before).to_string())
    })?;
    drop(other);
    drop(here);
    let grown: u64 = grown.parse().map_err(words)?;
    ensure(&format!("{grown} bytes more"), grown < PASSES as u64 * 200)?;
    until_empty()?;
    module::reload()
}

/// All of it, with the module gone in between.
fn again_and_again(times: usize) -> Outcome {
    addresses()?;
    for time in 0..times {
        let one = || {
            for work in [peel_off, tls, fallback, addrform, espintcp, kcm_clone] {
                in_each(work)?;
            }
            until_empty()?;
            module::reload()
        };
        one().map_err(|text| format!("time {time}: {text}"))?;
    }
    Ok(())
}
