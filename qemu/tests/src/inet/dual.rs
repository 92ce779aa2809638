// SPDX-License-Identifier: GPL-2.0

//! IPv6, alone and for both.

use super::*;
use crate::{syscalls, test};

pub const IPV6: Test = test("inet::ipv6", 60, ipv6);
pub const STACK: Test = test("inet::ipv6_sockets_for_both", 60, stack);
pub const NO_IPV6: Test = test("inet::ipv6_without_an_address", 60, none);
pub const BOUND: Test = test("inet::ipv6_bound", 60, bound_to_ipv6);
pub const AGAIN: Test = test("inet::tcp_connects_again", 60, again);
pub const LEFT: Test = test("inet::tcp_no_longer_listening", 60, no_longer_listening);
pub const MAPPED_ANY: Test = test("inet::ipv6_mapped_any", 60, mapped_any);
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

/// A network without an IPv6 address has ::1, and no other one.
fn none() -> Outcome {
    addresses()?;
    let _server = server(100, &[A], || {
        greet(listen_any(8407, 1).map_err(words)?, "six");
        greeter("four", at("0.0.0.0", 8407))?;
        greeter("one", at("::1", 8415))?;
        answerer("udp", at("::1", 8415))
    })?;
    within(100, &[A], || {
        let away = Err(Errno::EADDRNOTAVAIL);
        for address in [A6, HOST6] {
            equal(address, bind_error(at(address, 8416)), away)?;
            equal(address, connect_error(at(address, 8416)), away)?;
        }
        same("only IPv6", greeted_by(at("::1", 8407)), "six ::1 ::1")?;
        same("any", greeted_by(at("::", 8407)), "six ::1 ::1")?;
        let lo = "127.0.0.1";
        same("IPv4", greeted_by(at(lo, 8407)), &format!("four {lo} {lo}"))?;
        same("::1", greeted_by(at("::1", 8415)), "one ::1 ::1")?;
        let got = ask(at("::1", 8415)).map_err(words);
        same("udp", got, "udp ::1 from ::1")?;
        let listener = listen_any(8416, 1).map_err(words)?;
        let name = listener.local_addr().map_err(words)?;
        equal("name", name, at("::", 8416))?;
        equal("both", listen_any(8417, 0).map(drop), Ok(()))?;
        equal(
            "::1",
            connect_error(at("::1", 8418)),
            Err(Errno::ECONNREFUSED),
        )?;
        // What a resolver asks for before it looks for IPv6 addresses: one that is not ::1.
        let shown = std::fs::read_to_string("/proc/net/if_inet6").map_err(words)?;
        let own = format!("{:032x} ", 1);
        ensure(
            &format!("no other address in {shown:?}"),
            shown.lines().all(|line| line.starts_with(&own)),
        )?;
        Ok("")
    })?;
    same("IPv4", greeted_by(at(A, 8407)), &format!("four {A} {A}"))?;
    equal(
        "IPv6",
        connect_error(at(A6, 8407)),
        Err(Errno::ECONNREFUSED),
    )
}

/// A socket that no longer listens still has its port, and so has what it has accepted.
fn no_longer_listening() -> Outcome {
    addresses()?;
    let second = |any: &str, port: u16| -> Result<String, String> {
        let place = at(any, port);
        let listener = tcp_socket(place.is_ipv6()).map_err(words)?;
        if place.is_ipv6() {
            v6only(&listener, 0).map_err(words)?;
        }
        bind(listener.as_raw_fd(), &SockaddrStorage::from(place)).map_err(words)?;
        nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::MAXCONN).map_err(words)?;
        let listener = TcpListener::from(listener);
        let client = TcpStream::connect(at(A, port)).map_err(words)?;
        let accepted = listener.accept().map_err(words)?;
        let name = listener.local_addr().map_err(words)?;
        nix::sys::socket::shutdown(listener.as_raw_fd(), nix::sys::socket::Shutdown::Read)
            .map_err(words)?;
        let besides = bind_error(place);
        let still = listener.local_addr().map_err(words)?;
        drop(listener);
        let afterwards = bind_error(place);
        drop((client, accepted));
        Ok(format!("{name} {still} {besides:?} {afterwards:?}"))
    };
    // What is left of a connection keeps the port for a while: each has one of its own.
    for (any, port) in [("0.0.0.0", 8422), ("::", 8424), ("::ffff:0.0.0.0", 8426)] {
        let host = second(any, port)?.replace(&port.to_string(), "PORT");
        within(100, &[A, A6], || {
            let got = second(any, port + 1)?;
            equal(any, got.replace(&(port + 1).to_string(), "PORT"), host)?;
            Ok("")
        })?;
    }
    Ok(())
}

/// ::ffff:0.0.0.0 is what 0.0.0.0 is, by a socket of IPv6.
fn mapped_any() -> Outcome {
    addresses()?;
    let any = "::ffff:0.0.0.0";
    let _server = server(100, &[A, A6], || {
        greeter("mapped", at(any, 8420))?;
        answerer("udp", at(any, 8420))
    })?;
    let mapped = |ip: &str| format!("::ffff:{ip}");
    same(
        "IPv4",
        greeted_by(at(A, 8420)),
        &format!("mapped {} {}", mapped(A), mapped(A)),
    )?;
    equal(
        "IPv6",
        connect_error(at(A6, 8420)),
        Err(Errno::ECONNREFUSED),
    )?;
    same(
        "udp",
        ask(at(A, 8420)).map_err(words),
        &format!("udp {} from {A}", mapped(A)),
    )?;
    within(100, &[A, A6], || {
        let lo = mapped("127.0.0.1");
        same(
            "loopback",
            greeted_by(at("127.0.0.1", 8420)),
            &format!("mapped {lo} {lo}"),
        )?;
        equal(
            "::1",
            connect_error(at("::1", 8420)),
            Err(Errno::ECONNREFUSED),
        )?;
        // The other half is free.
        equal("::", listen_any(8420, 1).map(drop), Ok(()))?;
        equal(
            "both",
            listen_any(8420, 0).map(drop),
            Err(Errno::EADDRINUSE),
        )?;
        let listener = TcpListener::bind(at(any, 8421)).map_err(words)?;
        let name = listener.local_addr().map_err(words)?;
        equal("name", name, at(any, 8421))?;
        let table = std::fs::read_to_string("/proc/net/tcp6").map_err(words)?;
        let line = "0000000000000000FFFF000000000000:20E5 ";
        ensure(&format!("{line} in\n{table}"), table.contains(line))?;
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
