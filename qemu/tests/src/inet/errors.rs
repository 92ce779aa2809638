// SPDX-License-Identifier: GPL-2.0

//! What a socket of UDP is told of datagrams that did not arrive.

use super::*;
use crate::{syscalls, test};
use nix::sys::socket::{recvmsg, ControlMessageOwned, MsgFlags};
use std::io::IoSliceMut;

pub const UNCONNECTED: Test = test("inet::errors_of_unconnected_sockets", 60, unconnected);
pub const PING_GROUP: Test = test("inet::ping_for_every_user", 60, ping_group);

/// A socket that is told of errors, bound to this or to nothing.
fn told(bound: Option<SocketAddr>, v6: bool) -> Result<UdpSocket, String> {
    let family = if v6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let fd = socket(family, SockType::Datagram, SockFlag::empty(), None).map_err(words)?;
    let (level, name) = if v6 {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
    } else {
        (libc::IPPROTO_IP, libc::IP_RECVERR)
    };
    syscalls::set_option(&fd, level, name, &[1]).map_err(words)?;
    if let Some(address) = bound {
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).map_err(words)?;
    }
    let socket = UdpSocket::from(fd);
    socket
        .set_read_timeout(Some(Duration::from_secs(3)))
        .map_err(words)?;
    Ok(socket)
}

/// The next error in a socket's queue, and to whom the datagram went.
fn next_error(socket: &UdpSocket) -> Result<(u32, String), Errno> {
    let mut room = [0; 64];
    let mut space = vec![0u8; 256];
    let mut slices = [IoSliceMut::new(&mut room)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
    let error = message.cmsgs()?.find_map(|cmsg| match cmsg {
        ControlMessageOwned::Ipv4RecvErr(error, _) => Some(error.ee_errno),
        ControlMessageOwned::Ipv6RecvErr(error, _) => Some(error.ee_errno),
        _ => None,
    });
    let to = message
        .address
        .map_or(String::new(), |address| address.to_string());
    Ok((error.unwrap_or(0), to))
}

fn unconnected() -> Outcome {
    addresses()?;
    let refused = libc::ECONNREFUSED as u32;
    // The same port elsewhere: nothing is its business.
    let _other = server(101, &[C, B6], || {
        let four = told(Some(at("0.0.0.0", 8501)), false)?;
        let six = told(Some(at("::", 8502)), true)?;
        std::thread::spawn(move || {
            for socket in [four, six] {
                let got = socket.recv(&mut [0; 8]);
                if !matches!(&got, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                    let _ = std::fs::write("/tmp/inet-errors", format!("{got:?}"));
                }
            }
        });
        Ok(())
    })?;
    let _ = std::fs::remove_file("/tmp/inet-errors");
    within(100, &[A, B, A6], || {
        let mapped = format!("::ffff:{HOST}");
        for (what, bound, v6, dest) in [
            ("any", Some(at("0.0.0.0", 8501)), false, HOST),
            ("any, chosen", Some(at("0.0.0.0", 0)), false, HOST),
            ("unbound", None, false, HOST),
            ("one address", Some(at(A, 8501)), false, HOST),
            ("loopback", None, false, "127.0.0.1"),
            ("any, IPv6", Some(at("::", 8502)), true, HOST6),
            ("unbound, IPv6", None, true, HOST6),
            ("any, mapped", Some(at("::", 8502)), true, &mapped),
        ] {
            let socket = told(bound, v6)?;
            if v6 && dest == mapped {
                syscalls::set_option(&socket, libc::IPPROTO_IP, libc::IP_RECVERR, &[1])
                    .map_err(words)?;
            }
            socket
                .send_to(b"?", at(dest, 8599))
                .map_err(|error| format!("{what}: {error}"))?;
            let got = errno(socket.recv(&mut [0; 8]).map(drop));
            equal(what, got, Err(Errno::ECONNREFUSED))?;
            let (error, to) =
                next_error(&socket).map_err(|error| format!("{what}: queue: {error}"))?;
            equal(what, error, refused)?;
            ensure(&format!("{what}: to {to}"), to.contains(dest))?;
            // It goes on.
            equal(
                what,
                errno(socket.send_to(b"?", at(dest, 8599)).map(drop)),
                Ok(()),
            )?;
        }
        // Without the option only one with a peer is told.
        let socket = UdpSocket::bind(at("0.0.0.0", 0)).map_err(words)?;
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .map_err(words)?;
        socket.send_to(b"?", at(HOST, 8599)).map_err(words)?;
        equal(
            "without",
            errno(socket.recv(&mut [0; 8]).map(drop)),
            Err(Errno::EAGAIN),
        )?;
        socket.connect(at(HOST, 8599)).map_err(words)?;
        socket.send(b"?").map_err(words)?;
        equal(
            "peer",
            errno(socket.recv(&mut [0; 8]).map(drop)),
            Err(Errno::ECONNREFUSED),
        )?;
        Ok("")
    })?;
    let elsewhere = std::fs::read_to_string("/tmp/inet-errors").unwrap_or_default();
    equal("elsewhere", elsewhere.as_str(), "")
}

/// Whoever it is, and whatever the host says of its own users.
fn ping_group() -> Outcome {
    addresses()?;
    std::fs::write("/proc/sys/net/ipv4/ping_group_range", "1 0").map_err(words)?;
    let ping = |family: i32, protocol: i32| {
        let arguments = [
            family as usize,
            libc::SOCK_DGRAM as usize,
            protocol as usize,
            0,
            0,
            0,
        ];
        syscalls::syscall(libc::SYS_socket, arguments).map(|fd| drop(syscalls::own(fd as i32)))
    };
    let kinds = [
        (libc::AF_INET, libc::IPPROTO_ICMP),
        (libc::AF_INET6, libc::IPPROTO_ICMPV6),
    ];
    for uid in [0, 1000] {
        let as_user = |expected| {
            nix::unistd::setgid(nix::unistd::Gid::from_raw(uid)).map_err(words)?;
            nix::unistd::setgroups(&[]).map_err(words)?;
            nix::unistd::setuid(nix::unistd::Uid::from_raw(uid)).map_err(words)?;
            for (family, protocol) in kinds {
                equal(
                    &format!("{family} as {uid}"),
                    ping(family, protocol),
                    expected,
                )?;
            }
            Ok::<_, String>(String::new())
        };
        child(|| as_user(Err(Errno::EACCES)))?;
        for context in [CONTEXT_ROOT, 100] {
            within(context, &[A, A6], || as_user(Ok(())))?;
        }
    }
    Ok(())
}
