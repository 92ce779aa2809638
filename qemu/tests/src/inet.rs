// SPDX-License-Identifier: GPL-2.0

//! Processes confined to addresses: what their sockets can be bound and connected to, from where they
//! send, and what they see of that.

use crate::{
    fixture::{child, confine, ensure, enter, equal, words, Outcome, Sitter},
    Test,
};
use nix::{
    errno::Errno,
    sys::socket::{bind, socket, AddressFamily, SockFlag, SockType, SockaddrStorage},
};
use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    sync::OnceLock,
    time::Duration,
};
use vserver_uapi::*;

mod addresses;
mod conflicts;
mod dual;
mod errors;
mod loopback;
mod namespace;
mod refusals;
mod sctp;
mod source;
mod tcp;
mod threads;
mod udp;
mod unix;
mod uring;

pub const TESTS: &[Test] = &[
    addresses::ONCE,
    addresses::MALFORMED,
    addresses::SHOWN,
    addresses::ROOT,
    tcp::BIND,
    tcp::ANY,
    tcp::SAME_PORT,
    tcp::HOST_HOLDS_ANY,
    tcp::CONFLICTS,
    conflicts::TCP,
    conflicts::UDP,
    conflicts::RACE,
    conflicts::CHOSEN,
    conflicts::TCP_LONG,
    conflicts::UDP_LONG,
    conflicts::RACE_LONG,
    tcp::MANY,
    udp::ANY,
    udp::CONNECTED,
    udp::PKTINFO,
    udp::DISCONNECTED,
    udp::FAILED_CONNECT,
    udp::BOUND_BY_THE_KERNEL,
    udp::PING,
    errors::UNCONNECTED,
    errors::PING_GROUP,
    uring::CALLS,
    source::CONNECT,
    source::SEVERAL,
    source::BOUND_FIRST,
    loopback::PRIVATE,
    loopback::SHOWN,
    loopback::UDP,
    loopback::NESTED,
    loopback::EVERY,
    loopback::NOT_TRANSPARENT,
    dual::IPV6,
    dual::STACK,
    dual::NO_IPV6,
    dual::MAPPED,
    dual::MAPPED_ANY,
    dual::LEFT,
    dual::BOUND,
    dual::AGAIN,
    refusals::PROTOCOLS,
    refusals::OPTIONS,
    refusals::CHANGED_MEANWHILE,
    refusals::MADE_BEFORE,
    refusals::PASSED,
    threads::LISTENERS,
    threads::DATAGRAMS,
    namespace::MADE_INSIDE,
    sctp::SERVERS,
    sctp::SOURCES,
    sctp::LOOPBACK,
    sctp::REFUSALS,
    unix::ABSTRACT,
    unix::NAMES,
    unix::AUTOBIND,
];

/// The host's own address, one that it has beside those of contexts.
pub const HOST: &str = "10.77.0.1";
pub const A: &str = "10.77.0.5";
pub const B: &str = "10.77.0.6";
const C: &str = "10.77.0.7";
pub const HOST6: &str = "fd77::1";
pub const A6: &str = "fd77::5";
pub const B6: &str = "fd77::6";

/// Gives the host the addresses, once per test.
pub fn addresses() -> Outcome {
    static DONE: OnceLock<Outcome> = OnceLock::new();
    DONE.get_or_init(|| {
        for address in [HOST, A, B, C, HOST6, A6, B6] {
            let length = if address.contains(':') { 128 } else { 32 };
            // Another test may have added it before.
            Command::new("/bin/ip")
                .args([
                    "address",
                    "add",
                    &format!("{address}/{length}"),
                    "dev",
                    "lo",
                ])
                .output()
                .map_err(words)?;
        }
        Ok(())
    })
    .clone()
}

fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().expect("an address"), port)
}

/// Runs something in a forked child that is confined and then enters a context, 0: stays.
fn within<T: AsRef<str>>(
    context: i32,
    addresses: &[&str],
    run: impl FnOnce() -> Result<T, String>,
) -> Outcome {
    child(|| {
        confine(addresses).map_err(|error| format!("confining to {addresses:?}: {error}"))?;
        if context != CONTEXT_ROOT {
            enter(context, 0, 0).map_err(|error| format!("entering {context}: {error}"))?;
        }
        run().map(|text| text.as_ref().to_string())
    })
    .map(drop)
    .map_err(|text| format!("in context {context} with {addresses:?}: {text}"))
}

/// A process that is confined, has entered a context and prepared something.
fn server(
    context: i32,
    addresses: &[&str],
    prepare: impl FnOnce() -> Outcome,
) -> Result<Sitter, String> {
    Sitter::new(CONTEXT_ROOT, 0, || {
        confine(addresses).map_err(|error| format!("confining to {addresses:?}: {error}"))?;
        if context != CONTEXT_ROOT {
            enter(context, 0, 0).map_err(|error| format!("entering {context}: {error}"))?;
        }
        prepare()
    })
    .map_err(|text| format!("server in context {context} with {addresses:?}: {text}"))
}

/// Listens, and tells each who connects its name, "LOCAL PEER", as the listener's side has it.
fn greet(listener: TcpListener, name: &'static str) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let local = stream.local_addr().map(|address| address.ip().to_string());
            let peer = stream.peer_addr().map(|address| address.ip().to_string());
            let (local, peer) = (local.unwrap_or_default(), peer.unwrap_or_default());
            let _ = write!(stream, "{name} {local} {peer}");
            // What was sent and is not read would reset the connection.
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut [0; 64]);
        }
    });
}

fn greeter(name: &'static str, address: SocketAddr) -> Outcome {
    greet(
        TcpListener::bind(address).map_err(|error| format!("listening at {address}: {error}"))?,
        name,
    );
    Ok(())
}

fn greeting(mut stream: TcpStream) -> Result<String, String> {
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(words)?;
    Ok(text)
}

fn greeted_by(address: SocketAddr) -> Result<String, String> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .map_err(|error| format!("connecting to {address}: {error}"))?;
    greeting(stream)
}

/// Answers each datagram with "NAME SENDER", from where it pleases the kernel.
fn answer(name: &'static str, socket: UdpSocket) {
    std::thread::spawn(move || {
        let mut room = [0; 2048];
        while let Ok((_, from)) = socket.recv_from(&mut room) {
            let text = format!("{name} {}", from.ip());
            let _ = socket.send_to(text.as_bytes(), from);
        }
    });
}

fn answerer(name: &'static str, address: SocketAddr) -> Outcome {
    let socket =
        UdpSocket::bind(address).map_err(|error| format!("bound to {address}: {error}"))?;
    answer(name, socket);
    Ok(())
}

/// Asks one of these; its answer and where that came from, or what went wrong.
fn asked(socket: &UdpSocket, address: SocketAddr) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    socket.send_to(b"?", address)?;
    let mut room = [0; 2048];
    let (length, from) = socket.recv_from(&mut room)?;
    Ok(format!(
        "{} from {}",
        String::from_utf8_lossy(&room[..length]),
        from.ip()
    ))
}

fn ask(address: SocketAddr) -> io::Result<String> {
    let any = if address.is_ipv4() { "0.0.0.0" } else { "::" };
    asked(&UdpSocket::bind(at(any, 0))?, address)
}

/// What went wrong, as the kernel says it.
fn errno<T>(result: io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// The error of an attempt to bind a TCP socket.
fn bind_error(address: SocketAddr) -> Result<(), Errno> {
    let socket = tcp_socket(address.is_ipv6())?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))
}

fn tcp_socket(v6: bool) -> Result<OwnedFd, Errno> {
    let family = if v6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    socket(family, SockType::Stream, SockFlag::empty(), None)
}

fn connect_error(address: SocketAddr) -> Result<(), Errno> {
    errno(TcpStream::connect_timeout(&address, Duration::from_secs(5)).map(drop))
}

fn same(what: &str, got: Result<String, String>, expected: &str) -> Outcome {
    equal(what, got, Ok(expected.to_string()))
}
