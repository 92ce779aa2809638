// SPDX-License-Identifier: GPL-2.0

//! Whose sockets are seen by whom: /proc/net and sock_diag.

use crate::{
    fixture::{confine, ensure, enter, equal, inside, words, Outcome, Sitter},
    syscalls::{own, set_option, syscall},
    test, Test,
};
use nix::errno::Errno;
use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    process::Command,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("sockets::proc_files", 60, proc_files),
    test("sockets::diag", 60, diag),
    test("sockets::destroy", 60, destroy),
];

/// Sockets of all kinds, kept open.
fn open_all(port: u16, ip: &str, loopback: bool) -> Outcome {
    let tcp = TcpListener::bind((ip, port)).map_err(words)?;
    let client = TcpStream::connect(tcp.local_addr().map_err(words)?).map_err(words)?;
    // One that nobody has accepted is nobody's yet.
    let server = tcp.accept().map_err(words)?;
    let udp = UdpSocket::bind((ip, port)).map_err(words)?;
    let name = SocketAddr::from_abstract_name(format!("sockets-{port}")).map_err(words)?;
    let unix = UnixListener::bind_addr(&name).map_err(words)?;
    if loopback {
        std::mem::forget(TcpListener::bind(("127.0.0.1", port + 1)).map_err(words)?);
        std::mem::forget(TcpListener::bind(("0.0.0.0", port + 2)).map_err(words)?);
    }
    std::mem::forget((tcp, client, server, udp, unix));
    Ok(())
}

/// One in each: the host, a free context, two that are confined.
fn everywhere() -> Result<Vec<Sitter>, String> {
    for address in ["10.77.0.5/32", "10.77.0.6/32"] {
        Command::new("/bin/ip")
            .args(["address", "add", address, "dev", "lo"])
            .output()
            .map_err(words)?;
    }
    let confined = |context: i32, ip: &'static str, port: u16| {
        Sitter::new(CONTEXT_ROOT, 0, move || {
            confine(&[ip]).map_err(words)?;
            enter(context, 0, 0).map_err(words)?;
            open_all(port, ip, true)
        })
    };
    Ok(vec![
        Sitter::new(CONTEXT_ROOT, 0, || open_all(9000, "127.0.0.1", false))?,
        Sitter::new(102, 0, || open_all(9100, "127.0.0.1", false))?,
        confined(100, "10.77.0.5", 9200)?,
        confined(101, "10.77.0.6", 9300)?,
    ])
}

/// The ports that the host, the free context and the confined ones have.
const PORTS: [u16; 4] = [9000, 9100, 9200, 9300];

/// Each viewer and the ports that it sees.
const VIEWERS: [(i32, &[u16]); 5] = [
    (CONTEXT_ROOT, &[9000]),
    (102, &[9100]),
    (100, &[9200]),
    (101, &[9300]),
    (CONTEXT_SPECTATOR, &PORTS),
];

fn proc_files() -> Outcome {
    let _sitters = everywhere()?;
    let read = |file: &str| std::fs::read_to_string(format!("/proc/net/{file}")).map_err(words);
    for (viewer, ports) in VIEWERS {
        inside(viewer, || {
            for port in PORTS {
                let seen = ports.contains(&port);
                let hex = format!(":{port:04X} ");
                for file in ["tcp", "udp"] {
                    let text = read(file)?;
                    equal(
                        &format!("{file} {port}:\n{text}"),
                        text.contains(&hex),
                        seen,
                    )?;
                }
                let text = read("unix")?;
                let name = format!(" @sockets-{port}\n");
                equal(&format!("unix {port}:\n{text}"), text.contains(&name), seen).or_else(
                    |error| {
                        // The spectator sees them as they are outside.
                        if viewer == CONTEXT_SPECTATOR {
                            Ok(())
                        } else {
                            Err(error)
                        }
                    },
                )?;
            }
            if viewer == 100 {
                let text = read("tcp")?;
                for line in [" 05004D0A:23F0 ", " 0100007F:23F1 ", " 00000000:23F2 "] {
                    ensure(&format!("{line} in\n{text}"), text.contains(line))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn netlink_diag() -> Result<OwnedFd, String> {
    let arguments = [
        libc::AF_NETLINK as usize,
        libc::SOCK_RAW as usize,
        libc::NETLINK_SOCK_DIAG as usize,
        0,
        0,
        0,
    ];
    let fd = own(syscall(libc::SYS_socket, arguments).map_err(words)? as i32);
    set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &[2u64, 0]).map_err(words)?;
    Ok(fd)
}

/// struct nlmsghdr and struct inet_diag_req_v2.
fn request(kind: u16, flags: u16, source: [u8; 4], port: u16) -> Vec<u8> {
    let mut message = vec![0u8; 16 + 56];
    message[..4].copy_from_slice(&72u32.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&(flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
    message[8] = 7;
    message[16] = libc::AF_INET as u8;
    message[17] = libc::IPPROTO_TCP as u8;
    // Established and listening: what is about to be forgotten has no owner.
    message[20..24].copy_from_slice(&0x402u32.to_ne_bytes());
    message[24..26].copy_from_slice(&port.to_be_bytes());
    message[28..32].copy_from_slice(&source);
    // No cookie.
    message[64..72].copy_from_slice(&[0xff; 8]);
    message
}

/// The local addresses and ports of all TCP sockets that are told.
fn sockets() -> Result<Vec<([u8; 4], u16)>, String> {
    let fd = netlink_diag()?;
    nix::unistd::write(&fd, &request(20, libc::NLM_F_DUMP as u16, [0; 4], 0)).map_err(words)?;
    let mut found = Vec::new();
    loop {
        let mut room = vec![0u8; 65536];
        let length = nix::unistd::read(&fd, &mut room).map_err(words)?;
        let mut rest = &room[..length];
        while rest.len() >= 16 {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                3 => return Ok(found),
                20 => {
                    let body = &rest[16..size];
                    let port = u16::from_be_bytes([body[4], body[5]]);
                    found.push(([body[8], body[9], body[10], body[11]], port));
                }
                2 => return Err(format!("error {:?}", &rest[16..20])),
                _ => (),
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

fn diag() -> Outcome {
    let _sitters = everywhere()?;
    for (viewer, ports) in VIEWERS {
        inside(viewer, || {
            let found = sockets()?;
            for port in PORTS {
                let seen = found.iter().any(|(_, one)| *one == port);
                equal(&format!("{port} in {found:?}"), seen, ports.contains(&port))?;
            }
            if viewer == 100 {
                for socket in [([10, 77, 0, 5], 9200), ([127, 0, 0, 1], 9201)] {
                    ensure(&format!("{socket:?} in {found:?}"), found.contains(&socket))?;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn destroy() -> Outcome {
    let _sitters = everywhere()?;
    inside(100, || {
        let fd = netlink_diag()?;
        let end = |address, port| nix::unistd::write(&fd, &request(21, 0, address, port)).map(drop);
        equal("the host's", end([127, 0, 0, 1], 9000), Err(Errno::EPERM))?;
        equal("another's", end([10, 77, 0, 6], 9300), Err(Errno::EPERM))
    })?;
    let end = |address, port| {
        let fd = netlink_diag()?;
        equal(
            "sent",
            nix::unistd::write(&fd, &request(21, libc::NLM_F_ACK as u16, address, port)).map(drop),
            Ok(()),
        )?;
        let mut answer = [0u8; 256];
        nix::unistd::read(&fd, &mut answer).map_err(words)?;
        Ok::<i32, String>(-i32::from_ne_bytes([
            answer[16], answer[17], answer[18], answer[19],
        ]))
    };
    let fd = netlink_diag()?;
    let other = nix::unistd::write(&fd, &request(21, 0, [10, 77, 0, 6], 9300)).map(drop);
    equal("by the host", other, Err(Errno::EPERM))?;
    for (address, port) in [("127.0.0.1", 9000), ("10.77.0.6", 9300)] {
        TcpStream::connect((address, port)).map_err(words)?;
    }
    // Each its own, and the spectator any. The kernel answers zero.
    equal("the host its own", end([127, 0, 0, 1], 9000), Ok(0))?;
    inside(100, || equal("its own", end([10, 77, 0, 5], 9200), Ok(0)))?;
    inside(CONTEXT_SPECTATOR, || {
        equal("the spectator", end([10, 77, 0, 6], 9300), Ok(0))
    })
}
