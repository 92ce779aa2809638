// SPDX-License-Identifier: GPL-2.0

//! The rules hold for what io_uring does: where the caller submits it, and where a thread of the kernel
//! takes it from him.

use super::*;
use crate::{
    syscalls::{own, uring},
    test,
};
use io_uring::{opcode, types::Fd, IoUring};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};
use std::os::fd::OwnedFd;

pub const CALLS: Test = test("inet::io_uring", 60, calls);

struct Ring(IoUring);

impl Ring {
    fn socket(&mut self, domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
        let entry = opcode::Socket::new(domain, kind | libc::SOCK_CLOEXEC, protocol).build();
        uring(&mut self.0, &entry).map(own)
    }

    fn bind(&mut self, socket: &OwnedFd, address: SocketAddr) -> Result<i32, Errno> {
        let address = SockaddrStorage::from(address);
        let fd = Fd(socket.as_raw_fd());
        let entry = opcode::Bind::new(fd, address.as_ptr(), address.len()).build();
        uring(&mut self.0, &entry)
    }

    fn listen(&mut self, socket: &OwnedFd) -> Result<i32, Errno> {
        let entry = opcode::Listen::new(Fd(socket.as_raw_fd()), 8).build();
        uring(&mut self.0, &entry)
    }

    fn accept(&mut self, socket: &OwnedFd) -> Result<OwnedFd, Errno> {
        let fd = Fd(socket.as_raw_fd());
        let none = std::ptr::null_mut();
        let entry = opcode::Accept::new(fd, none, std::ptr::null_mut()).build();
        uring(&mut self.0, &entry).map(own)
    }

    fn connect(&mut self, socket: &OwnedFd, address: SocketAddr) -> Result<i32, Errno> {
        let address = SockaddrStorage::from(address);
        let fd = Fd(socket.as_raw_fd());
        let entry = opcode::Connect::new(fd, address.as_ptr(), address.len()).build();
        uring(&mut self.0, &entry)
    }

    fn send(&mut self, socket: &OwnedFd, address: SocketAddr) -> Result<i32, Errno> {
        let address = SockaddrStorage::from(address);
        let fd = Fd(socket.as_raw_fd());
        let entry = opcode::Send::new(fd, b"?".as_ptr(), 1)
            .dest_addr(address.as_ptr())
            .dest_addr_len(address.len())
            .build();
        uring(&mut self.0, &entry)
    }

    /// With a source that the message names.
    fn send_from(
        &mut self,
        socket: &OwnedFd,
        address: SocketAddr,
        source: &str,
    ) -> Result<i32, Errno> {
        let source: std::net::Ipv4Addr = source.parse().expect("an IPv4 address");
        let name = SockaddrStorage::from(address);
        let mut part = libc::iovec {
            iov_base: b"?".as_ptr().cast_mut().cast(),
            iov_len: 1,
        };
        // A cmsghdr and an in_pktinfo.
        let mut control = [0u64; 4];
        control[0] = 28;
        control[1] = libc::IPPROTO_IP as u64 | ((libc::IP_PKTINFO as u64) << 32);
        control[2] = u64::from(u32::from_ne_bytes(source.octets())) << 32;
        let message = libc::msghdr {
            msg_name: name.as_ptr().cast_mut().cast(),
            msg_namelen: name.len(),
            msg_iov: &raw mut part,
            msg_iovlen: 1,
            msg_control: control.as_mut_ptr().cast(),
            msg_controllen: 28,
            msg_flags: 0,
        };
        let fd = Fd(socket.as_raw_fd());
        let entry = opcode::SendMsg::new(fd, &raw const message).build();
        uring(&mut self.0, &entry)
    }
}

fn calls() -> Outcome {
    addresses()?;
    let _stream = Sitter::new(CONTEXT_ROOT, 0, || greeter("host", at(HOST, 8130)))?;
    let _datagram = Sitter::new(CONTEXT_ROOT, 0, || answerer("host", at(HOST, 8130)))?;
    for polled in [false, true] {
        let ring = move || {
            let mut builder = IoUring::builder();
            if polled {
                builder.setup_sqpoll(100);
            }
            builder.build(8).map(Ring).map_err(words)
        };
        within(100, &[A, B], || {
            sources(&mut ring()?)?;
            Ok("")
        })
        .map_err(|text| format!("polled {polled}: {text}"))?;
        // What is left of a connection keeps the port for a while: each has one of its own.
        let port = if polled { 8132 } else { 8131 };
        let _server = server(100, &[A], || {
            let mut ring = ring()?;
            let socket = ring
                .socket(libc::AF_INET, libc::SOCK_STREAM, 0)
                .map_err(words)?;
            ring.bind(&socket, at("0.0.0.0", port)).map_err(words)?;
            ring.listen(&socket).map_err(words)?;
            std::thread::spawn(move || {
                while let Ok(stream) = ring.accept(&socket) {
                    let _ = TcpStream::from(stream).write_all(b"ring");
                }
            });
            Ok(())
        })?;
        same("A", greeted_by(at(A, port)), "ring")?;
        let refused = greeted_by(at(HOST, port)).map_err(|text| text.contains("refused"));
        equal("the host", refused, Err(true))?;
    }
    Ok(())
}

fn sources(ring: &mut Ring) -> Outcome {
    let (stream, datagram) = (libc::SOCK_STREAM, libc::SOCK_DGRAM);
    let socket = ring.socket(libc::AF_INET, stream, 0).map_err(words)?;
    for foreign in [HOST, C] {
        let got = ring.bind(&socket, at(foreign, 8132));
        equal("bound to a foreign one", got, Err(Errno::EADDRNOTAVAIL))?;
    }
    ring.connect(&socket, at(HOST, 8130)).map_err(words)?;
    let seen = greeting(TcpStream::from(socket))?;
    ensure(
        &seen,
        [A, B]
            .iter()
            .any(|own| seen == format!("host {HOST} {own}")),
    )?;
    let socket = ring.socket(libc::AF_INET, datagram, 0).map_err(words)?;
    for foreign in [HOST, C] {
        let got = ring.send_from(&socket, at(HOST, 8130), foreign);
        equal("sent from a foreign one", got, Err(Errno::EPERM))?;
    }
    let mut answers = Vec::new();
    let receiver = UdpSocket::from(socket.try_clone().map_err(words)?);
    receiver
        .set_read_timeout(Some(Duration::from_secs(5)))
        .map_err(words)?;
    for step in 0..3 {
        match step {
            0 => ring.send_from(&socket, at(HOST, 8130), A),
            1 => ring.send_from(&socket, at(HOST, 8130), B),
            _ => ring.send(&socket, at(HOST, 8130)),
        }
        .map_err(words)?;
        let mut room = [0; 64];
        let length = receiver.recv(&mut room).map_err(words)?;
        answers.push(String::from_utf8_lossy(&room[..length]).into_owned());
    }
    let last = answers.pop().unwrap_or_default();
    equal(
        "named",
        answers,
        vec![format!("host {A}"), format!("host {B}")],
    )?;
    ensure(
        &last,
        [A, B].iter().any(|own| last == format!("host {own}")),
    )?;
    let packet = ring.socket(libc::AF_PACKET, libc::SOCK_RAW, 0).map(drop);
    equal("a packet socket", packet, Err(Errno::EPERM))
}
