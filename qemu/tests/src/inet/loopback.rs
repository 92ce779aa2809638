// SPDX-License-Identifier: GPL-2.0

//! 127.0.0.1 and ::1 are one's own.

use super::*;
use crate::{syscalls, test};

pub const PRIVATE: Test = test("inet::loopback_is_private", 60, private);
pub const SHOWN: Test = test("inet::loopback_looks_like_one", 60, shown);
pub const UDP: Test = test("inet::loopback_of_udp", 60, udp);
pub const NESTED: Test = test("inet::loopback_of_inner_contexts", 60, nested);
pub const EVERY: Test = test("inet::loopback_has_all_addresses", 90, every);
pub const NOT_TRANSPARENT: Test = test("inet::loopback_leaves_no_trace", 30, not_transparent);

const LO: &str = "127.0.0.1";
const LO6: &str = "::1";

fn private() -> Outcome {
    addresses()?;
    let refused = Err(Errno::ECONNREFUSED);
    let _host = Sitter::new(CONTEXT_ROOT, 0, || {
        greeter("host", at(LO, 8301))?;
        greeter("host", at(LO6, 8301))
    })?;
    within(100, &[A, A6], || {
        equal("host's", connect_error(at(LO, 8301)), refused)?;
        equal("host's, IPv6", connect_error(at(LO6, 8301)), refused)?;
        equal(
            "host's, by zero",
            connect_error(at("0.0.0.0", 8301)),
            refused,
        )?;
        for other in ["127.0.1.2", "127.9.9.9", "127.255.255.1"] {
            equal(other, connect_error(at(other, 8301)), refused)?;
        }
        let nowhere = "127.255.255.255";
        equal(
            nowhere,
            connect_error(at(nowhere, 8301)),
            Err(Errno::ENETUNREACH),
        )?;
        Ok("")
    })?;
    // The same port in each, and the host's beside them.
    let _one = server(100, &[A, A6], || {
        greeter("one", at(LO, 8301))?;
        greeter("one", at(LO6, 8301))
    })?;
    let _two = server(101, &[B, B6], || {
        greeter("two", at(LO, 8301))?;
        greeter("two", at(LO6, 8301))
    })?;
    same("host", greeted_by(at(LO, 8301)), &format!("host {LO} {LO}"))?;
    for (context, own, name) in [(100, [A, A6], "one"), (101, [B, B6], "two")] {
        // What listens on the loopback is not there for the network.
        equal(own[0], connect_error(at(own[0], 8301)), refused)?;
        equal(own[1], connect_error(at(own[1], 8301)), refused)?;
        within(context, &own, || {
            same(
                "own",
                greeted_by(at(LO, 8301)),
                &format!("{name} {LO} {LO}"),
            )?;
            same(
                "own, IPv6",
                greeted_by(at(LO6, 8301)),
                &format!("{name} {LO6} {LO6}"),
            )?;
            Ok("")
        })?;
    }
    Ok(())
}

fn shown() -> Outcome {
    addresses()?;
    within(100, &[A, A6], || {
        for (name, any) in [
            (LO, "0.0.0.0"),
            (LO6, "::"),
            ("127.0.0.9", ""),
            ("127.0.1.1", ""),
        ] {
            let listener = TcpListener::bind(at(name, 8302)).map_err(words)?;
            equal(
                "listener",
                listener.local_addr().map_err(words)?,
                at(name, 8302),
            )?;
            let stream = TcpStream::connect(at(name, 8302)).map_err(words)?;
            equal("peer", stream.peer_addr().map_err(words)?, at(name, 8302))?;
            let (accepted, from) = listener.accept().map_err(words)?;
            let local = stream.local_addr().map_err(words)?;
            equal("accept", from, local)?;
            equal("accepted", accepted.peer_addr().map_err(words)?, local)?;
            equal(
                "its name",
                accepted.local_addr().map_err(words)?,
                at(name, 8302),
            )?;
            equal("from a loopback", local.ip().is_loopback(), true)?;
            if !any.is_empty() {
                drop((listener, accepted, stream));
                let listener = TcpListener::bind(at(any, 8303)).map_err(words)?;
                equal("any", listener.local_addr().map_err(words)?, at(any, 8303))?;
            }
        }
        Ok("")
    })
}

fn udp() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || answerer("host", at(LO, 8304)))?;
    let _one = server(100, &[A, A6], || {
        answerer("one", at(LO, 8305))?;
        answerer("six", at(LO6, 8305))?;
        answerer("any", at("0.0.0.0", 8306))
    })?;
    within(100, &[A, A6], || {
        same(
            "own",
            ask(at(LO, 8305)).map_err(words),
            &format!("one {LO} from {LO}"),
        )?;
        same(
            "IPv6",
            ask(at(LO6, 8305)).map_err(words),
            &format!("six {LO6} from {LO6}"),
        )?;
        same(
            "any",
            ask(at(LO, 8306)).map_err(words),
            &format!("any {LO} from {LO}"),
        )?;
        let socket = UdpSocket::bind(at("0.0.0.0", 0)).map_err(words)?;
        socket.connect(at(LO, 8304)).map_err(words)?;
        socket.send(b"?").map_err(words)?;
        let got = errno(socket.recv(&mut [0; 8]));
        equal("the host's", got, Err(Errno::ECONNREFUSED))?;
        Ok("")
    })
}

fn nested() -> Outcome {
    addresses()?;
    within(100, &[A], || {
        greeter("outer", at(LO, 8307))?;
        crate::fixture::inside(CONTEXT_NEW, || {
            let got = connect_error(at(LO, 8307));
            equal("outer's loopback", got, Err(Errno::ECONNREFUSED))?;
            greeter("inner", at(LO, 8307))?;
            same("own", greeted_by(at(LO, 8307)), &format!("inner {LO} {LO}"))?;
            equal(
                "address",
                bind_error(at(B, 8307)),
                Err(Errno::EADDRNOTAVAIL),
            )?;
            equal("address", bind_error(at(A, 8308)), Ok(()))
        })?;
        // Narrower is still the same machine.
        child(|| {
            confine(&[A]).map_err(words)?;
            same(
                "narrower",
                greeted_by(at(LO, 8307)),
                &format!("outer {LO} {LO}"),
            )?;
            Ok(String::new())
        })?;
        Ok("")
    })
}

/// All of 127.0.0.0/8 is there, privately; of those without a fixed place 126 at a time.
fn every() -> Outcome {
    addresses()?;
    let name = |index: usize| format!("127.{}.{}.{}", index % 255 + 1, index * 7 % 256, index + 2);
    let _host = Sitter::new(CONTEXT_ROOT, 0, || greeter("host", at(&name(0), 8313)))?;
    let _other = server(101, &[B], || greeter("other", at(&name(1), 8311)))?;
    within(100, &[A, A6], || {
        greeter("any", at("0.0.0.0", 8310))?;
        answerer("any", at("0.0.0.0", 8310))?;
        for index in 0..100 {
            let name = name(index);
            greeter("own", at(&name, 8311))?;
            let told = format!("own {name} {LO}");
            same(&name, greeted_by(at(&name, 8311)), &told)?;
            let told = format!("any {name} {LO}");
            same(&name, greeted_by(at(&name, 8310)), &told)?;
            let stream = TcpStream::connect(at(&name, 8311)).map_err(words)?;
            equal("peer", stream.peer_addr().map_err(words)?, at(&name, 8311))?;
        }
        // What is bound to any answers from where routing says, as on the host.
        let got = ask(at(&name(5), 8310)).map_err(words);
        same("udp", got, &format!("any {LO} from {LO}"))?;
        // As /proc has it: 127.2.7.3, port 8311.
        let table = std::fs::read_to_string("/proc/net/tcp").map_err(words)?;
        let line = " 0307027F:2077 ";
        ensure(&format!("{line} in\n{table}"), table.contains(line))?;
        equal(
            "the host's",
            connect_error(at(&name(0), 8313)),
            Err(Errno::ECONNREFUSED),
        )?;
        let mapped = format!("::ffff:{}", name(6));
        same(
            &mapped,
            greeted_by(at(&mapped, 8311)),
            &format!("own {} {LO}", name(6)),
        )?;
        let mut held = Vec::new();
        for index in 100..126 {
            held.push(UdpSocket::bind(at(&name(index), 8312)).map_err(words)?);
        }
        let full = Err(Errno::ENOBUFS);
        equal("bind", bind_error(at("127.200.0.1", 8312)), full)?;
        equal("connect", connect_error(at("127.200.0.1", 8312)), full)?;
        equal("fixed", bind_error(at("127.0.0.99", 8312)), Ok(()))?;
        drop(held);
        // Those that nobody uses any more are free again a little later.
        std::thread::sleep(Duration::from_secs(4));
        equal("afterwards", bind_error(at("127.200.0.1", 8312)), Ok(()))?;
        same(
            &name(7),
            greeted_by(at(&name(7), 8311)),
            &format!("own {} {LO}", name(7)),
        )?;
        Ok("")
    })?;
    // The host has its own of these.
    equal(
        "other",
        connect_error(at(&name(1), 8311)),
        Err(Errno::ECONNREFUSED),
    )
}

/// In the kernel the source of such a socket is one that is not checked: the program does not see that,
/// and gets nothing from it.
fn not_transparent() -> Outcome {
    addresses()?;
    // Of no device.
    let nowhere = "192.0.2.77";
    within(100, &[A, nowhere], || {
        let listener = TcpListener::bind(at(LO, 8306)).map_err(words)?;
        equal("bound", transparent(listener.as_raw_fd())?, 0)?;
        let client = tcp_socket(false).map_err(words)?;
        let connect = |to: &[u8]| {
            let arguments = [
                client.as_raw_fd() as usize,
                to.as_ptr() as usize,
                to.len(),
                0,
                0,
                0,
            ];
            syscalls::syscall(libc::SYS_connect, arguments).map(drop)
        };
        let mut name = [0; 16];
        name[0] = libc::AF_INET as u8;
        name[2..4].copy_from_slice(&8306u16.to_be_bytes());
        name[4..8].copy_from_slice(&[127, 0, 0, 1]);
        equal("connect", connect(&name), Ok(()))?;
        equal("connected", transparent(client.as_raw_fd())?, 0)?;
        // AF_UNSPEC: it gives up its peer.
        equal("disconnect", connect(&[0; 16]), Ok(()))?;
        let name = SockaddrStorage::from(at(nowhere, 8307));
        let got = bind(client.as_raw_fd(), &name);
        equal("bind", got, Err(Errno::EADDRNOTAVAIL))?;
        Ok("")
    })
}

fn transparent(socket: i32) -> Result<i32, String> {
    let (mut value, mut length) = (-1i32, 4u32);
    let arguments = [
        socket as usize,
        libc::IPPROTO_IP as usize,
        libc::IP_TRANSPARENT as usize,
        (&raw mut value).expose_provenance(),
        (&raw mut length).expose_provenance(),
        0,
    ];
    syscalls::syscall(libc::SYS_getsockopt, arguments).map_err(words)?;
    Ok(value)
}
