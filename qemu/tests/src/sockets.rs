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

mod replaced;

pub const TESTS: &[Test] = &[
    test("sockets::proc_files", 60, proc_files),
    test("sockets::diag", 60, diag),
    test(
        "sockets::diag_of_abstract_names",
        60,
        diag_of_abstract_names,
    ),
    test("sockets::diag_holds_no_memory", 60, diag_holds_no_memory),
    test("sockets::destroy", 60, destroy),
    replaced::PEELED_OFF,
    replaced::TLS,
    replaced::FALLBACK,
    replaced::ADDRFORM,
    replaced::ESPINTCP,
    replaced::CLONED,
    replaced::ORPHANS,
    replaced::TO_AND_FRO,
    replaced::ALL,
    replaced::ALL_LONG,
    replaced::RANDOM,
    replaced::RANDOM_LONG,
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

/// What each message of an answer has behind its header.
fn told(request: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let fd = netlink_diag()?;
    nix::unistd::write(&fd, request).map_err(words)?;
    let mut found = Vec::new();
    loop {
        let mut room = vec![0u8; 65536];
        let length = nix::unistd::read(&fd, &mut room).map_err(words)?;
        let mut rest = &room[..length];
        while rest.len() >= 16 {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                3 => return Ok(found),
                20 => found.push(rest[16..size].to_vec()),
                2 => return Err(format!("error {:?}", &rest[16..20])),
                _ => (),
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
    }
}

/// The local addresses and ports of all TCP sockets that are told.
fn sockets() -> Result<Vec<([u8; 4], u16)>, String> {
    let all = told(&request(20, libc::NLM_F_DUMP as u16, [0; 4], 0))?;
    let socket = |body: &Vec<u8>| {
        let port = u16::from_be_bytes([body[4], body[5]]);
        ([body[8], body[9], body[10], body[11]], port)
    };
    Ok(all.iter().map(socket).collect())
}

/// The names of all Unix sockets that are told.
fn unix_names() -> Result<Vec<Vec<u8>>, String> {
    // struct nlmsghdr and struct unix_diag_req: all states, UDIAG_SHOW_NAME, no cookie.
    let mut message = vec![0u8; 16 + 24];
    message[..4].copy_from_slice(&40u32.to_ne_bytes());
    message[4..6].copy_from_slice(&20u16.to_ne_bytes());
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message[16] = libc::AF_UNIX as u8;
    message[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
    message[28..32].copy_from_slice(&1u32.to_ne_bytes());
    message[32..40].copy_from_slice(&[0xff; 8]);
    let mut names = Vec::new();
    for body in told(&message)? {
        // Behind struct unix_diag_msg: the first attribute, UNIX_DIAG_NAME, unless it has none.
        let attribute = body.get(16..20).filter(|head| head[2..4] == [0, 0]);
        if let Some(head) = attribute {
            let length = u16::from_ne_bytes([head[0], head[1]]) as usize;
            names.push(body[20..16 + length].to_vec());
        }
    }
    Ok(names)
}

/// Names of every length, and those who bind them.
fn abstract_sockets(prefix: &str) -> Result<Vec<(String, UnixListener)>, String> {
    ["x", "of eight", "a longer one than what is in front"]
        .into_iter()
        .map(|text| {
            let name = format!("{prefix}{text}");
            let address = SocketAddr::from_abstract_name(&name).map_err(words)?;
            Ok((name, UnixListener::bind_addr(&address).map_err(words)?))
        })
        .collect()
}

/// Inside, a name is shorter than outside. What the kernel's answer has behind it tells nothing.
fn diag_of_abstract_names() -> Outcome {
    let is_told = |names: &[Vec<u8>], name: &str| {
        let begin = format!("\0{name}").into_bytes();
        names
            .iter()
            .filter_map(|told| told.strip_prefix(&begin[..]))
            .any(|rest| rest.iter().all(|byte| *byte == 0))
    };
    let file = || std::fs::read_to_string("/proc/net/unix").map_err(words);
    let _sitters = everywhere()?;
    let of_host = abstract_sockets("h")?;
    let all = || {
        let (names, text) = (unix_names()?, file()?);
        for (name, _) in &of_host {
            ensure(&format!("{name:?} in {names:?}"), is_told(&names, name))?;
            let line = format!(" @{name}\n");
            ensure(&format!("{line:?} in {text}"), text.contains(&line))?;
        }
        Ok(())
    };
    // Those of the host, for the host, whether or not it is confined, while there are others.
    all()?;
    inside(CONTEXT_ROOT, || {
        confine(&["10.77.0.5"]).map_err(words)?;
        all()
    })?;
    inside(100, || {
        let own = abstract_sockets("c")?;
        let names = unix_names()?;
        for (name, _) in &own {
            ensure(&format!("{name:?} in {names:?}"), is_told(&names, name))?;
        }
        for (name, _) in &of_host {
            ensure(&format!("{name:?} in {names:?}"), !is_told(&names, name))?;
        }
        Ok(())
    })
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
                for socket in [
                    ([10, 77, 0, 5], 9200),
                    ([127, 0, 0, 1], 9201),
                    ([0, 0, 0, 0], 9202),
                ] {
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

/// In kB.
fn free_memory() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(words)?;
    let line = text.lines().find(|line| line.starts_with("MemFree:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.ok_or("no MemFree")?.parse().map_err(words)
}

/// A process that waits for a message with a large buffer holds no memory of the kernel for it.
fn diag_holds_no_memory() -> Outcome {
    const THREADS: usize = 64;
    const SIZE: usize = 1 << 20;
    let free_before = free_memory()?;
    let sitter = Sitter::new(100, 0, || {
        for _ in 0..THREADS {
            let fd = netlink_diag()?;
            let wait = move || {
                // Never touched, so it is no memory yet.
                let mut room = vec![0u8; SIZE];
                while nix::unistd::read(&fd, &mut room).is_err() {}
            };
            let builder = std::thread::Builder::new().stack_size(64 << 10);
            builder.spawn(wait).map_err(words)?;
        }
        std::thread::sleep(std::time::Duration::from_millis(300));
        Ok(())
    })?;
    let used = free_before.saturating_sub(free_memory()?);
    drop(sitter);
    ensure(&format!("{used} kB"), used < 24 << 10)
}
