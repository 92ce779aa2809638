// SPDX-License-Identifier: GPL-2.0

//! io_uring: threads that work with somebody's credentials, credentials and files that are put aside.

use super::*;
use crate::{
    fixture::ensure,
    syscalls::{own, uring},
    test,
};
use io_uring::{opcode, squeue, types, IoUring};
use nix::sys::socket::{
    sendmsg, socketpair, AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType,
};
use std::{io::IoSlice, os::fd::RawFd};

pub const TESTS: &[Test] = &[
    test("back_door::io_uring_credentials", 120, credentials),
    test("back_door::io_uring_files", 120, files),
    test("back_door::io_uring_is_not_handed_on", 120, handed_on),
];

fn ring() -> Result<IoUring, String> {
    IoUring::new(8).map_err(words)
}

/// Credentials that are registered inside have what its ceiling leaves, whoever uses them.
fn credentials() -> Outcome {
    let packet = |ring: &mut IoUring, personality: u16| {
        let entry = opcode::Socket::new(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        uring(ring, &entry.build().personality(personality))
            .map(own)
            .map(drop)
    };
    let registered = |ring: &IoUring| ring.submitter().register_personality().map_err(words);
    child(|| {
        let mut ring = ring()?;
        let number = registered(&ring)?;
        equal("on the host", packet(&mut ring, number), Ok(()))?;
        Ok(String::new())
    })?;
    inside_without(100, SECURE, || {
        let mut ring = ring()?;
        let number = registered(&ring)?;
        equal("inside", packet(&mut ring, number), Err(Errno::EPERM))?;
        // And a setting of the machine is not a matter of credentials.
        let entry = opcode::OpenAt::new(
            types::Fd(libc::AT_FDCWD),
            c"/proc/sys/kernel/core_pattern".as_ptr(),
        )
        .flags(libc::O_WRONLY)
        .build()
        .personality(number);
        equal("setting", uring(&mut ring, &entry), Err(Errno::EACCES))
    })
}

/// A file that is registered is a descriptor by another name: it leads nowhere that this one would not.
fn files() -> Outcome {
    child(|| {
        let mut ring = ring()?;
        let folder = opened("/etc", OFlag::O_RDONLY).map_err(words)?;
        ring.submitter()
            .register_files(&[folder.as_raw_fd()])
            .map_err(words)?;
        let mut room = [0u8; 8];
        let read = opcode::Read::new(types::Fixed(0), room.as_mut_ptr(), 8).build();
        // A directory is not read like a file; it is there.
        equal("registered", uring(&mut ring, &read), Err(Errno::EISDIR))?;
        let open_at = |flags: squeue::Flags| {
            opcode::OpenAt::new(types::Fd(0), c"passwd".as_ptr())
                .flags(libc::O_RDONLY)
                .build()
                .flags(flags)
        };
        let got = uring(&mut ring, &open_at(squeue::Flags::FIXED_FILE));
        ensure(
            &format!("{got:?}"),
            matches!(got, Err(Errno::EBADF | Errno::EINVAL)),
        )?;
        Ok(String::new())
    })
    .map(drop)
}

/// A ring works for whoever made it; the kernel sends none by a socket.
fn handed_on() -> Outcome {
    let ring = ring()?;
    let kind = SockType::Stream;
    let (one, _other) =
        socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).map_err(words)?;
    let send = |fd: RawFd| {
        let fds = [fd];
        let rights = [ControlMessage::ScmRights(&fds)];
        let text = [IoSlice::new(b"!")];
        sendmsg::<()>(one.as_raw_fd(), &text, &rights, MsgFlags::empty(), None).map(drop)
    };
    equal("another file", send(one.as_raw_fd()), Ok(()))?;
    equal("a ring", send(ring.as_raw_fd()), Err(Errno::EINVAL))
}
