// SPDX-License-Identifier: GPL-2.0

//! To the host's services, and under its name.

use super::*;
use crate::{
    syscalls::{own, syscall},
    test,
};
use nix::sys::socket::{socket, AddressFamily, SockFlag, SockType};
use std::{
    net::{TcpListener, TcpStream},
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener, UnixStream},
    },
};

pub const TESTS: &[Test] = &[
    test("escape::shared_memory_by_key", 60, shared_memory),
    test("escape::message_queue_by_name", 60, message_queue),
];

escapes! {
    // CVE-2020-15257: containerd's.
    abstract_socket: secure ECONNREFUSED whole ECONNREFUSED beside abstract_service, |_| {
        UnixStream::connect_addr(&abstract_name()?).map(drop).map_err(errno)
    };
    service_on_the_loopback: secure ECONNREFUSED whole ECONNREFUSED beside loopback_service, |_| {
        TcpStream::connect(("127.0.0.1", 8150)).map(drop).map_err(errno)
    };
    address_of_the_host: secure EADDRNOTAVAIL whole EADDRNOTAVAIL, |_| {
        TcpListener::bind((inet::HOST, 8151)).map(drop).map_err(errno)
    };
    raw_socket: secure EPERM whole EPERM, |_| {
        let raw = call_socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW)?;
        drop(raw);
        Ok(())
    };
    packet_socket: secure EPERM whole EPERM, |_| {
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None).map(drop)
    };
}

fn call_socket(domain: i32, kind: i32, protocol: i32) -> Result<OwnedFd, Errno> {
    let arguments = [domain as usize, kind as usize, protocol as usize, 0, 0, 0];
    syscall(libc::SYS_socket, arguments).map(|fd| own(fd as i32))
}

fn abstract_name() -> Result<SocketAddr, Errno> {
    SocketAddr::from_abstract_name("/containerd-shim/escape.sock").map_err(errno)
}

fn abstract_service() -> Outcome {
    let name = abstract_name().map_err(words)?;
    // As long as the process lives.
    std::mem::forget(UnixListener::bind_addr(&name).map_err(words)?);
    Ok(())
}

fn loopback_service() -> Outcome {
    std::mem::forget(TcpListener::bind(("127.0.0.1", 8150)).map_err(words)?);
    Ok(())
}

/// Tries it in a plain chroot and in a vserver, while there is something on the host.
fn both(attempt: Attempt) -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    let outside = Outside {
        pid: 0,
        brought: None,
    };
    let inside = Err(Errno::ENOENT);
    for (jail, expected) in [
        (Jail::Chroot, Ok(())),
        (Jail::Vserver(SECURE), inside),
        (Jail::Vserver(0), inside),
    ] {
        equal(
            &format!("{jail:?}"),
            tried(jail, &outside, attempt)?,
            expected,
        )?;
    }
    Ok(())
}

const KEY: usize = 0x7e5c;

fn shared_memory() -> Outcome {
    let flags = (libc::IPC_CREAT | 0o600) as usize;
    let id = syscall(libc::SYS_shmget, [KEY, 4096, flags, 0, 0, 0]).map_err(words)?;
    let outcome = both(|_| syscall(libc::SYS_shmget, [KEY, 0, 0, 0, 0, 0]).map(drop));
    let remove = [id as usize, libc::IPC_RMID as usize, 0, 0, 0, 0];
    syscall(libc::SYS_shmctl, remove).map_err(words)?;
    outcome
}

fn message_queue() -> Outcome {
    let name = c"escape".as_ptr() as usize;
    let flags = (libc::O_CREAT | libc::O_RDWR) as usize;
    let queue = syscall(libc::SYS_mq_open, [name, flags, 0o600, 0, 0, 0]).map_err(words)?;
    drop(own(queue as i32));
    let outcome = both(|_| {
        let arguments = [c"escape".as_ptr() as usize, 0, 0, 0, 0, 0];
        syscall(libc::SYS_mq_open, arguments).map(|queue| drop(own(queue as i32)))
    });
    syscall(libc::SYS_mq_unlink, [name, 0, 0, 0, 0, 0]).map_err(words)?;
    outcome
}
