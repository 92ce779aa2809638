// SPDX-License-Identifier: GPL-2.0

//! News and messages that are not about the network: audit, devices, processes, other families of sockets.

use super::*;
use crate::{
    fixture::{confine, ensure, Sitter},
    syscalls::{own, set_option},
    test,
};
use nix::unistd::getpid;
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

pub const TESTS: &[Test] = &[
    test("back_door::netlink_protocols", 120, protocols),
    test("back_door::device_events", 120, device_events),
    test("back_door::process_events", 120, process_events),
    test("back_door::taskstats", 120, taskstats),
    test("back_door::families_of_sockets", 300, families),
];

const ROUTE: i32 = 0;
const USERSOCK: i32 = 2;
const AUDIT: i32 = 9;
const CONNECTOR: i32 = 11;
const UEVENT: i32 = 15;
const GENERIC: i32 = 16;

const SOL_NETLINK: i32 = 270;
const ADD_MEMBERSHIP: i32 = 1;

fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let kind = kind | libc::SOCK_CLOEXEC;
    let arguments = [family as usize, kind as usize, protocol as usize];
    call(libc::SYS_socket, &arguments).map(|fd| own(fd as i32))
}

fn netlink(protocol: i32) -> Result<OwnedFd, Errno> {
    socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol)
}

/// bind() or connect() of a netlink socket: struct sockaddr_nl.
fn name(number: i64, socket: &OwnedFd, port: u32, groups: u32) -> Result<(), Errno> {
    let address = [libc::AF_NETLINK as u32, port, groups];
    let arguments = [socket.as_raw_fd() as usize, address.as_ptr() as usize, 12];
    call(number, &arguments).map(drop)
}

fn bind(socket: &OwnedFd, groups: u32) -> Result<(), Errno> {
    name(libc::SYS_bind, socket, 0, groups)
}

fn receive(socket: &OwnedFd, flags: i32) -> Result<Vec<u8>, Errno> {
    let mut room = vec![0; 16384];
    let arguments = [
        socket.as_raw_fd() as usize,
        room.as_mut_ptr() as usize,
        room.len(),
        flags as usize,
    ];
    let length = call(libc::SYS_recvfrom, &arguments)? as usize;
    room.truncate(length);
    Ok(room)
}

fn protocols() -> Outcome {
    // There is no netlink protocol above.
    let all = 0..32;
    let host: BTreeSet<i32> = all.clone().filter(|one| netlink(*one).is_ok()).collect();
    for needed in [ROUTE, USERSOCK, AUDIT, CONNECTOR, UEVENT, GENERIC] {
        ensure(&format!("{needed} on the host"), host.contains(&needed))?;
    }
    // Routes, sockets, netfilter, XFRM, devices (to nobody), generic, crypto.
    let known = BTreeSet::from([0, 4, 6, 12, 15, 16, 21]);
    inside_both(|| {
        for one in all.clone() {
            let got = netlink(one).map(drop);
            let expected = match known.contains(&one) {
                true if host.contains(&one) => Ok(()),
                _ => Err(Errno::EPROTONOSUPPORT),
            };
            equal(&format!("protocol {one}"), got, expected)?;
        }
        Ok(())
    })
}

/// What is plugged in or made. Any user may listen.
fn device_events() -> Outcome {
    let change = || errno(fs::write("/sys/devices/virtual/mem/null/uevent", "change"));
    let listener = || {
        let socket = netlink(UEVENT).map_err(words)?;
        bind(&socket, 1).map_err(words)?;
        Ok::<_, String>(socket)
    };
    let host = listener()?;
    let heard = || {
        let text = receive(&host, 0).map_err(words)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure(&text, text.starts_with("change@/devices/virtual/mem/null"))
    };
    inside_both(|| equal("to make some", change(), Err(Errno::EACCES)))?;
    let (ours, theirs) = UnixStream::pair().map_err(words)?;
    let sitter = Sitter::new(100, 0, || {
        let inside = listener()?;
        set_option(&inside, SOL_NETLINK, ADD_MEMBERSHIP, &[1i32]).map_err(words)?;
        // It tells what it has got when it is asked.
        std::thread::spawn(move || {
            let mut stream = theirs;
            let _ = stream.read(&mut [0]);
            let got = match receive(&inside, libc::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => "nothing".to_string(),
                other => format!("{other:?}"),
            };
            let _ = stream.write_all(got.as_bytes());
        });
        Ok(())
    })?;
    // Twice: when the second is sent, the first has come to all.
    for _ in 0..2 {
        change().map_err(words)?;
        heard()?;
    }
    let mut stream = ours;
    stream.write_all(b"?").map_err(words)?;
    let mut room = [0; 256];
    let length = stream.read(&mut room).map_err(words)?;
    drop(sitter);
    equal(
        "heard inside",
        String::from_utf8_lossy(&room[..length]).as_ref(),
        "nothing",
    )?;
    // To speak to others as the kernel does needs a capability.
    inside_without(100, SECURE, || {
        let socket = netlink(UEVENT).map_err(words)?;
        for group in [1, 2] {
            let got = name(libc::SYS_connect, &socket, 0, group);
            equal("send", got, Err(Errno::EPERM))?;
        }
        Ok(())
    })
}

/// The numbers in the news of processes that come until a process has ended.
fn numbers_until(socket: &OwnedFd, last: u32) -> Result<BTreeSet<u32>, String> {
    const EXIT: u32 = 0x8000_0000;
    let mut seen = BTreeSet::new();
    loop {
        let message = receive(socket, 0).map_err(words)?;
        // struct nlmsghdr, struct cn_msg, struct proc_event: what, cpu, time, numbers.
        let word = |at: usize| {
            let bytes = message.get(at..at + 4)?;
            Some(u32::from_ne_bytes(bytes.try_into().ok()?))
        };
        let Some(what) = word(36) else { continue };
        let numbers: Vec<u32> = (0..4).filter_map(|i| word(52 + 4 * i)).collect();
        seen.extend(&numbers);
        if what == EXIT && numbers.contains(&last) {
            return Ok(seen);
        }
    }
}

/// Who is born, runs a program and ends. Any user may listen.
fn process_events() -> Outcome {
    let socket = socket(libc::AF_NETLINK, libc::SOCK_DGRAM, CONNECTOR).map_err(words)?;
    bind(&socket, 1).map_err(words)?;
    // PROC_CN_MCAST_LISTEN to CN_IDX_PROC.
    let request: [u32; 10] = [40, 3, 0, 0, 1, 1, 0, 0, 4, 1];
    let arguments = [socket.as_raw_fd() as usize, request.as_ptr() as usize, 40];
    call(libc::SYS_sendto, &arguments).map_err(words)?;
    let number = |text: String| text.parse::<u32>().map_err(words);
    let inner = child(|| {
        enter(100, 0, 0).map_err(words)?;
        child(|| {
            let status = std::process::Command::new("true").status();
            ensure("true", status.is_ok_and(|status| status.success()))?;
            Ok(getpid().to_string())
        })
    })?;
    let own = number(child(|| Ok(getpid().to_string()))?)?;
    let seen = numbers_until(&socket, own)?;
    ensure("the host's own", seen.contains(&own))?;
    ensure("one of a context", !seen.contains(&number(inner)?))?;
    // Inside there is no such socket, and one that is handed in tells nothing new of contexts.
    inside_both(|| {
        let got = netlink(CONNECTOR).map(drop);
        equal("socket", got, Err(Errno::EPROTONOSUPPORT))
    })
}

/// A request of generic netlink with one attribute, and the first answer.
fn ask(
    socket: &OwnedFd,
    family: u16,
    command: u8,
    kind: u16,
    value: &[u8],
) -> Result<Vec<u8>, Errno> {
    let mut message = vec![0u8; 20];
    message[4..6].copy_from_slice(&family.to_ne_bytes());
    // NLM_F_REQUEST, NLM_F_ACK: when there is no answer, that is one.
    message[6..8].copy_from_slice(&5u16.to_ne_bytes());
    message[16] = command;
    message[17] = 1;
    message.extend((4 + value.len() as u16).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(value);
    message.resize(message.len().next_multiple_of(4), 0);
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    let arguments = [
        socket.as_raw_fd() as usize,
        message.as_ptr() as usize,
        message.len(),
    ];
    call(libc::SYS_sendto, &arguments)?;
    let answer = receive(socket, 0)?;
    // NLMSG_ERROR
    if answer[4..6] == [2, 0] {
        let error = i32::from_ne_bytes([answer[16], answer[17], answer[18], answer[19]]);
        return if error == 0 {
            Ok(answer)
        } else {
            Err(Errno::from_raw(-error))
        };
    }
    Ok(answer)
}

/// How processes fared: asked for by number, or told of every process that ends.
fn taskstats() -> Outcome {
    let asked = |kind: u16, value: &[u8]| {
        let socket = netlink(GENERIC).map_err(words)?;
        let answer = ask(&socket, 16, 3, 2, b"TASKSTATS\0").map_err(words)?;
        // CTRL_ATTR_FAMILY_ID comes after the name.
        let mut at = 20;
        let mut family = 0;
        while at + 6 <= answer.len() {
            let length = u16::from_ne_bytes([answer[at], answer[at + 1]]) as usize;
            if answer[at + 2..at + 4] == [1, 0] {
                family = u16::from_ne_bytes([answer[at + 4], answer[at + 5]]);
            }
            at += length.max(4).next_multiple_of(4);
        }
        ensure("the family", family != 0)?;
        let socket = netlink(GENERIC).map_err(words)?;
        Ok::<_, String>(ask(&socket, family, 1, kind, value).map(drop))
    };
    let (by_pid, register) = (1, 3);
    let pid = |pid: i32| pid.to_ne_bytes();
    let host = Sitter::idle(CONTEXT_ROOT)?;
    equal("on the host", asked(by_pid, &pid(host.pid))?, Ok(()))?;
    equal("register", asked(register, b"0\0")?, Ok(()))?;
    inside_without(100, SECURE, || {
        let own = asked(by_pid, &pid(getpid().as_raw()))?;
        equal("without CAP_NET_ADMIN", own, Err(Errno::EPERM))?;
        equal("register", asked(register, b"0\0")?, Err(Errno::EPERM))
    })?;
    inside_without(100, 0, || {
        equal("own", asked(by_pid, &pid(getpid().as_raw()))?, Ok(()))?;
        equal("foreign", asked(by_pid, &pid(host.pid))?, Err(Errno::ESRCH))?;
        equal("register", asked(register, b"0\0")?, Err(Errno::EPERM))
    })
}

/// The families of which a socket can be made, in any way.
fn made() -> BTreeSet<i32> {
    let kinds = [
        libc::SOCK_STREAM,
        libc::SOCK_DGRAM,
        libc::SOCK_RAW,
        libc::SOCK_RDM,
        libc::SOCK_SEQPACKET,
    ];
    // AF_MAX of the kernel is 46.
    (1..64)
        .filter(|family| kinds.iter().any(|kind| socket(*family, *kind, 0).is_ok()))
        .collect()
}

/// With addresses of its own a context has no family that does not know them: also not the one to the
/// hypervisor and to everybody on this machine (vsock), nor one that is yet to come.
fn families() -> Outcome {
    let host = made();
    for family in [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
        libc::AF_PACKET,
    ] {
        ensure(&format!("{family} on the host"), host.contains(&family))?;
    }
    let known = [
        libc::AF_UNIX,
        libc::AF_INET,
        libc::AF_INET6,
        libc::AF_NETLINK,
        // No network at all.
        libc::AF_ALG,
    ];
    let expected: BTreeSet<i32> = host
        .iter()
        .copied()
        .filter(|one| known.contains(one))
        .collect();
    for caps in [SECURE, 0] {
        child(|| {
            confine(&["127.0.0.1"]).map_err(words)?;
            enter(100, 0, caps).map_err(words)?;
            equal("families inside", made(), expected.clone())?;
            let vsock = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0).map(drop);
            equal("vsock", vsock, Err(Errno::EAFNOSUPPORT))?;
            Ok(String::new())
        })?;
    }
    Ok(())
}
