// SPDX-License-Identifier: GPL-2.0

//! IPv6, alone and for both.

use super::*;
use crate::{syscalls, test};

pub const IPV6: Test = test("inet::ipv6", 60, ipv6);
pub const STACK: Test = test("inet::ipv6_sockets_for_both", 60, stack);
pub const NO_IPV6: Test = test("inet::ipv6_without_an_address", 60, none);
pub const BOUND: Test = test("inet::ipv6_bound", 60, bound_to_ipv6);
pub const AGAIN: Test = test("inet::tcp_connects_again", 60, again);
pub const MAPPED: Test = test("inet::ipv6_mapped_addresses", 60, mapped);

/// A socket that is bound to an IPv6 address has nothing to send from to one of IPv4, and goes on listening.
fn bound_to_ipv6() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || greeter("host", at(HOST, 8411)))?;
    let mapped = format!("::ffff:{HOST}");
    within(100, &[A, A6], || {
        let stream = tcp_socket(true).map_err(words)?;
        bind(stream.as_raw_fd(), &SockaddrStorage::from(at(A6, 8412))).map_err(words)?;
        let to = SockaddrStorage::from(at(&mapped, 8411));
        let got = nix::sys::socket::connect(stream.as_raw_fd(), &to);
        equal("a stream", got, Err(Errno::ENETUNREACH))?;
        nix::sys::socket::listen(&stream, nix::sys::socket::Backlog::MAXCONN).map_err(words)?;
        let datagram = UdpSocket::bind(at(A6, 8412)).map_err(words)?;
        let got = datagram.send_to(b"?", at(&mapped, 8411)).map(drop);
        equal(
            "a datagram",
            errno(got.map(|()| 0)),
            Err(Errno::ENETUNREACH),
        )?;
        Ok("")
    })
}

/// A stream that was refused may try again.
fn again() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || greeter("host", at(HOST, 8413)))?;
    for (own, six) in [(&[A][..], false), (&[A, B], false), (&[A, A6], true)] {
        within(100, own, || {
            let host = if six {
                format!("::ffff:{HOST}")
            } else {
                HOST.to_string()
            };
            let stream = tcp_socket(six).map_err(words)?;
            let to = |port| {
                let address = SockaddrStorage::from(at(&host, port));
                nix::sys::socket::connect(stream.as_raw_fd(), &address)
            };
            equal("nobody", to(8414), Err(Errno::ECONNREFUSED))?;
            equal("nobody", to(8414), Err(Errno::ECONNREFUSED))?;
            equal("then", to(8413), Ok(()))?;
            let seen = greeting(TcpStream::from(stream))?;
            let known = own.iter().any(|one| seen == format!("host {HOST} {one}"));
            equal(&format!("seen: {seen}"), known, true)?;
            Ok("")
        })?;
    }
    Ok(())
}

fn v6only(socket: &impl AsRawFd, on: i32) -> Result<(), Errno> {
    syscalls::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &[on])
}

fn is_v6only(socket: &impl AsRawFd) -> Result<i32, Errno> {
    let (mut on, mut length) = (-1i32, 4u32);
    let option = [
        socket.as_raw_fd() as usize,
        libc::IPPROTO_IPV6 as usize,
        libc::IPV6_V6ONLY as usize,
        std::ptr::from_mut(&mut on) as usize,
        std::ptr::from_mut(&mut length) as usize,
        0,
    ];
    syscalls::syscall(libc::SYS_getsockopt, option).map(|_| on)
}

fn listen_any(port: u16, only: i32) -> Result<TcpListener, Errno> {
    let socket = tcp_socket(true)?;
    v6only(&socket, only)?;
    assert_eq!(is_v6only(&socket), Ok(only));
    bind(socket.as_raw_fd(), &SockaddrStorage::from(at("::", port)))?;
    nix::sys::socket::listen(&socket, nix::sys::socket::Backlog::MAXCONN)?;
    Ok(TcpListener::from(socket))
}

fn ipv6() -> Outcome {
    addresses()?;
    let _one = server(100, &[A, A6], || {
        greet(listen_any(8401, 1).map_err(words)?, "one");
        answerer("one", at("::", 8402))
    })?;
    let _two = server(101, &[B6], || {
        greet(listen_any(8401, 1).map_err(words)?, "two");
        Ok(())
    })?;
    same("one", greeted_by(at(A6, 8401)), &format!("one {A6} {A6}"))?;
    same("two", greeted_by(at(B6, 8401)), &format!("two {B6} {B6}"))?;
    let refused = Err(Errno::ECONNREFUSED);
    equal("host", connect_error(at(HOST6, 8401)), refused)?;
    equal("IPv4", connect_error(at(A, 8401)), refused)?;
    same(
        "udp",
        ask(at(A6, 8402)).map_err(words),
        &format!("one {A6} from {A6}"),
    )?;
    within(100, &[A, A6], || {
        same("loopback", greeted_by(at("::1", 8401)), "one ::1 ::1")?;
        equal(
            "IPv4 loopback",
            connect_error(at("127.0.0.1", 8401)),
            refused,
        )?;
        for foreign in [HOST6, B6] {
            let got = bind_error(at(foreign, 8403));
            equal(foreign, got, Err(Errno::EADDRNOTAVAIL))?;
        }
        equal("own", bind_error(at(A6, 8403)), Ok(()))?;
        Ok("")
    })
}

/// `::` with IPV6_V6ONLY off, as Java and Python have it.
fn stack() -> Outcome {
    addresses()?;
    let _one = server(100, &[A, A6], || {
        greet(listen_any(8404, 0).map_err(words)?, "one");
        answerer("one", at("::", 8405))
    })?;
    let _two = server(101, &[B], || {
        greet(listen_any(8404, 0).map_err(words)?, "two");
        Ok(())
    })?;
    let mapped = |ip: &str| format!("::ffff:{ip}");
    let told = format!("one {} {}", mapped(A), mapped(A));
    same("IPv4", greeted_by(at(A, 8404)), &told)?;
    same("IPv6", greeted_by(at(A6, 8404)), &format!("one {A6} {A6}"))?;
    let told = format!("two {} {}", mapped(B), mapped(B));
    same("only IPv4", greeted_by(at(B, 8404)), &told)?;
    let got = ask(at(A, 8405)).map_err(words);
    same("udp, IPv4", got, &format!("one {} from {A}", mapped(A)))?;
    within(100, &[A, A6], || {
        let lo = mapped("127.0.0.1");
        same(
            "127.0.0.1",
            greeted_by(at("127.0.0.1", 8404)),
            &format!("one {lo} {lo}"),
        )?;
        same("::1", greeted_by(at("::1", 8404)), "one ::1 ::1")?;
        let got = ask(at("127.0.0.1", 8405)).map_err(words);
        same("udp loopback", got, &format!("one {lo} from 127.0.0.1"))?;
        let listener = listen_any(8406, 0).map_err(words)?;
        equal(
            "name",
            listener.local_addr().map_err(words)?,
            at("::", 8406),
        )?;
        Ok("")
    })
}

/// A network without an IPv6 address has no IPv6.
fn none() -> Outcome {
    addresses()?;
    within(100, &[A], || {
        let away = Err(Errno::EADDRNOTAVAIL);
        for address in ["::1", A6, HOST6] {
            equal(address, bind_error(at(address, 8407)), away)?;
            equal(address, connect_error(at(address, 8407)), away)?;
        }
        equal("only IPv6", listen_any(8407, 1).map(drop), away)?;
        equal("both", listen_any(8407, 0).map(drop), Ok(()))?;
        Ok("")
    })
}

fn mapped() -> Outcome {
    addresses()?;
    within(100, &[A, A6], || {
        let away = Err(Errno::EADDRNOTAVAIL);
        equal("host", bind_error(at("::ffff:10.77.0.1", 8408)), away)?;
        equal("other", bind_error(at("::ffff:10.77.0.6", 8408)), away)?;
        for (name, by) in [("::ffff:10.77.0.5", A), ("::ffff:127.0.0.1", "127.0.0.1")] {
            let listener = TcpListener::bind(at(name, 8408)).map_err(words)?;
            equal(
                "name",
                listener.local_addr().map_err(words)?,
                at(name, 8408),
            )?;
            equal(by, connect_error(at(by, 8408)), Ok(()))?;
        }
        Ok("")
    })
}
