// SPDX-License-Identifier: GPL-2.0

//! The address that one comes from.

use super::*;
use crate::test;

pub const CONNECT: Test = test("inet::source_is_ones_own", 60, source);
pub const SEVERAL: Test = test("inet::source_among_several", 60, several);
pub const BOUND_FIRST: Test = test("inet::source_of_a_bound_socket", 60, bound);

fn source() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || {
        greeter("host", at(HOST, 8201))?;
        greeter("six", at(HOST6, 8201))?;
        answerer("udp", at(HOST, 8201))
    })?;
    for context in [CONTEXT_ROOT, 100] {
        within(context, &[B, A6], || {
            same(
                "tcp",
                greeted_by(at(HOST, 8201)),
                &format!("host {HOST} {B}"),
            )?;
            same(
                "ipv6",
                greeted_by(at(HOST6, 8201)),
                &format!("six {HOST6} {A6}"),
            )?;
            let got = ask(at(HOST, 8201)).map_err(words);
            same("udp", got, &format!("udp {B} from {HOST}"))?;
            fast_open(at(HOST, 8201))
        })?;
    }
    Ok(())
}

/// A connection by the first message.
fn fast_open(address: SocketAddr) -> Result<&'static str, String> {
    let socket = tcp_socket(false).map_err(words)?;
    let name = SockaddrStorage::from(address);
    nix::sys::socket::sendto(
        socket.as_raw_fd(),
        b"!",
        &name,
        nix::sys::socket::MsgFlags::from_bits_retain(libc::MSG_FASTOPEN),
    )
    .map_err(words)?;
    let text = greeting(TcpStream::from(socket))?;
    equal("fast open", text, format!("host {HOST} {B}"))?;
    Ok("")
}

fn several() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || {
        greeter("host", at(HOST, 8202))?;
        answerer("udp", at(HOST, 8202))
    })?;
    within(100, &[A, B, C, "127.0.0.1"], || {
        // None of them is what routing proposes: the nearest one.
        let mut got = greeted_by(at(HOST, 8202))?;
        let from = got.split_off(format!("host {HOST} ").len());
        equal("one of them", [A, B, C].contains(&from.as_str()), true)?;
        let told = ask(at(HOST, 8202)).map_err(words)?;
        let own = [A, B, C].map(|own| format!("udp {own} from {HOST}"));
        equal("udp", own.contains(&told), true)?;
        Ok("")
    })
}

/// By bind(): an address, or "any" with a port.
fn bound() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || {
        greeter("host", at(HOST, 8203))?;
        answerer("udp", at(HOST, 8203))
    })?;
    let connect = |local: SocketAddr, peer: SocketAddr| -> Result<String, String> {
        let socket = tcp_socket(false).map_err(words)?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(local)).map_err(words)?;
        let name = SockaddrStorage::from(peer);
        nix::sys::socket::connect(socket.as_raw_fd(), &name).map_err(words)?;
        let stream = TcpStream::from(socket);
        let port = stream.local_addr().map_err(words)?.port();
        Ok(format!("{} {port}", greeting(stream)?))
    };
    within(100, &[A, B], || {
        let got = connect(at(B, 8204), at(HOST, 8203));
        same("address", got, &format!("host {HOST} {B} 8204"))?;
        let got = connect(at("0.0.0.0", 8205), at(HOST, 8203))?;
        equal(
            "port",
            got.ends_with(" 8205") && !got.contains(&format!("{HOST} {HOST}")),
            true,
        )?;
        let got = connect(at("127.0.0.1", 8206), at(HOST, 8203));
        equal("a loopback leads nowhere else", got.is_err(), true)?;
        for own in [A, B] {
            let socket = UdpSocket::bind(at(own, 8206)).map_err(words)?;
            let told = asked(&socket, at(HOST, 8203)).map_err(words);
            same("udp", told, &format!("udp {own} from {HOST}"))?;
        }
        // A group is no source; nor is it one to listen at by TCP.
        let socket = UdpSocket::bind(at("224.0.0.251", 8206)).map_err(words)?;
        socket.send_to(b"?", at(HOST, 8203)).map_err(words)?;
        socket.connect(at(HOST, 8203)).map_err(words)?;
        let from = socket.local_addr().map_err(words)?;
        equal("of a group", from, at("224.0.0.251", 8206))?;
        let group = bind_error(at("224.0.0.251", 8206));
        equal("tcp", group, Err(Errno::EADDRNOTAVAIL))?;
        let socket = UdpSocket::bind(at("127.0.0.1", 8206)).map_err(words)?;
        let sent = errno(socket.send_to(b"?", at(HOST, 8203)).map(drop));
        equal("udp from the loopback", sent, Err(Errno::EINVAL))?;
        // The same socket, after it was refused, to somewhere else.
        let socket = tcp_socket(false).map_err(words)?;
        let to = |socket: &OwnedFd, peer: SocketAddr| {
            let name = SockaddrStorage::from(peer);
            nix::sys::socket::connect(socket.as_raw_fd(), &name)
        };
        let refused = to(&socket, at("127.0.0.1", 8207));
        equal("nobody there", refused, Err(Errno::ECONNREFUSED))?;
        to(&socket, at(HOST, 8203)).map_err(words)?;
        let text = greeting(TcpStream::from(socket))?;
        equal(
            "second try",
            text.starts_with(&format!("host {HOST} 10.77")),
            true,
        )?;
        Ok("")
    })
}
