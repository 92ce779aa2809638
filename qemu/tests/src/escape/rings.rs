// SPDX-License-Identifier: GPL-2.0

//! io_uring: an instance that was made outside acts with the credentials that were registered then, or
//! as the process that a thread of it belongs to.

use super::*;
use crate::{fixture::ensure, syscalls::uring, test, visibility::call};
use io_uring::{opcode, types::Fd, IoUring};
use std::{ffi::CStr, os::fd::AsRawFd};

pub const TESTS: &[Test] = &[
    test("escape::ring_with_credentials", 60, with_credentials),
    test("escape::ring_that_is_served_outside", 60, served_outside),
    test("escape::ring_without_a_descriptor", 60, without_descriptor),
];

/// openat() by a ring.
fn open_by(ring: &mut IoUring, path: &CStr, personality: u16) -> Result<i32, Errno> {
    let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), path.as_ptr())
        .build()
        .personality(personality);
    uring(ring, &entry)
}

/// Everything that begins something new inside is refused.
fn refused(what: &str) -> Outcome {
    let busy = Err(Errno::EBUSY);
    for context in [CONTEXT_NEW, NUMBER, CONTEXT_STAY, CONTEXT_SPECTATOR] {
        let got = enter(context, 0, 0).map(drop);
        equal(&format!("{what}: {context}"), got, busy)?;
    }
    equal(
        &format!("{what}: addresses"),
        confine(&[inet::A]).map(drop),
        busy,
    )
}

/// No capabilities, as a program does that gives them up itself.
fn give_up_everything() -> Result<(), Errno> {
    let header = [0x2008_0522u32, 0];
    let none = [0u32; 6];
    call(
        libc::SYS_capset,
        &[header.as_ptr() as usize, none.as_ptr() as usize],
    )
    .map(drop)
}

fn with_credentials() -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    let closed = format!("{ONE}/closed");
    fs::write(&closed, "x").map_err(words)?;
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).map_err(words)?;
    std::os::unix::fs::chown(&closed, Some(1000), Some(1000)).map_err(words)?;
    // It brings back what has been given up.
    child(|| {
        let (mut ring, personality) = new_ring()?;
        // Behind the wall is no place for who has nothing.
        chroot(ONE).map_err(words)?;
        chdir("/").map_err(words)?;
        give_up_everything().map_err(words)?;
        equal("own", open_by(&mut ring, c"/closed", 0), Err(Errno::EACCES))?;
        let got = open_by(&mut ring, c"/closed", personality).map(drop);
        equal("registered", got, Ok(()))?;
        Ok(String::new())
    })?;
    child(|| {
        let (ring, _) = new_ring()?;
        refused("with the ring")?;
        drop(ring);
        enter(NUMBER, 0, SECURE).map_err(|errno| format!("without: {errno}"))?;
        // What is made inside has what there is inside.
        let (mut ring, personality) = new_ring()?;
        // With it there is no way on to an inner context either.
        equal("on", enter(CONTEXT_NEW, 0, 0).map(drop), Err(Errno::EBUSY))?;
        let got = open_by(&mut ring, c"/tmp/escape/wall/one/file", personality).map(drop);
        equal("inside", got, Err(Errno::EACCES))?;
        Ok(String::new())
    })
    .map(drop)
}

fn new_ring() -> Result<(IoUring, u16), String> {
    let ring = IoUring::new(8).map_err(words)?;
    let personality = ring.submitter().register_personality().map_err(words)?;
    Ok((ring, personality))
}

/// A thread of the parent takes what the child submits, and does it as the parent.
fn served_outside() -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    child(|| {
        let mut ring = IoUring::builder()
            .setup_sqpoll(60_000)
            .build(8)
            .map_err(words)?;
        // In a chroot the child names the host's files.
        child(|| {
            chroot(ONE).map_err(words)?;
            chdir("/").map_err(words)?;
            ensure("inside", fs::metadata(SECRET).is_err())?;
            // A constant is at the same address in both.
            open_by(&mut ring, c"/tmp/escape/secret", 0)
                .map_err(|errno| format!("the thread: {errno}"))?;
            Ok(String::new())
        })?;
        child(|| refused("with the parent's ring").map(|()| String::new()))?;
        // The memory of the ring is enough while the thread looks there.
        child(|| {
            nix::unistd::close(ring.as_raw_fd()).map_err(words)?;
            refused("with its memory").map(|()| String::new())
        })?;
        child(|| {
            drop(ring);
            enter(NUMBER, 0, 0).map_err(|errno| format!("without: {errno}"))?;
            Ok(String::new())
        })?;
        Ok(String::new())
    })
    .map(drop)
}

/// A ring that is registered with the thread needs no descriptor.
fn without_descriptor() -> Outcome {
    inet::addresses()?;
    child(|| {
        // struct io_uring_params, IORING_SETUP_REGISTERED_FD_ONLY and IORING_SETUP_NO_MMAP; the rings
        // are in memory of the caller's own.
        let (ring_memory, entries) = (page()?, page()?);
        let mut parameters = [0u32; 30];
        parameters[2] = (1 << 15) | (1 << 14);
        let address = |at: usize, parameters: &mut [u32; 30], memory: usize| {
            parameters[at] = memory as u32;
            parameters[at + 1] = (memory >> 32) as u32;
        };
        // sq_off.user_addr, cq_off.user_addr
        address(18, &mut parameters, entries);
        address(28, &mut parameters, ring_memory);
        call(
            libc::SYS_io_uring_setup,
            &[4, parameters.as_mut_ptr() as usize],
        )
        .map_err(|errno| format!("io_uring_setup: {errno}"))?;
        refused("registered")?;
        Ok(String::new())
    })
    .map(drop)
}

/// A page of memory.
fn page() -> Result<usize, String> {
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE) as usize;
    let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let nowhere = usize::MAX;
    call(libc::SYS_mmap, &[0, 4096, access, flags, nowhere, 0])
        .map(|address| address as usize)
        .map_err(words)
}
