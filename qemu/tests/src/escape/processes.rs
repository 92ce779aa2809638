// SPDX-License-Identifier: GPL-2.0

//! Through processes of the host: what they hold, what they remember, what they can be made to do.

use super::*;
use crate::{syscalls::own, test, visibility::call};
use nix::unistd::read;
use std::{
    net::TcpListener,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::atomic::AtomicU64,
};

pub const TESTS: &[Test] = &[test("escape::new_context", 60, new_context)];

escapes! {
    root_of_a_process: secure ENOENT whole ENOENT, |outside| {
        read_secret(&format!("/proc/{}/root{SECRET}", outside.pid))
    };
    working_directory_of_a_process: secure ENOENT whole ENOENT, |outside| {
        read_secret(&format!("/proc/{}/cwd/..{SECRET}", outside.pid))
    };
    root_of_the_machines_init: secure ENOENT whole ENOENT, |_| {
        // It is shown, as tools expect a process 1.
        read_secret(&format!("/proc/1/root{SECRET}"))
    };
    // CVE-2019-5736: who has overwritten the program of runc was root on the host when it ran next.
    program_of_the_host: secure EACCES whole EACCES, |_| {
        // The tests' own, which has come from there; it can be read, and written when nobody runs it.
        let mut text = [0; 4];
        let mut program = fs::File::open("/proc/self/exe").map_err(errno)?;
        io::Read::read_exact(&mut program, &mut text).map_err(errno)?;
        if text == *b"\x7fELF" { Ok(()) } else { Err(Errno::ENODATA) }
    };
    memory_in_proc: secure ENOENT whole ENOENT, |outside| {
        let memory = fs::File::open(format!("/proc/{}/mem", outside.pid)).map_err(errno)?;
        let mut text = [0; 16];
        memory.read_exact_at(&mut text, TOKEN.as_ptr() as u64).map_err(errno)?;
        if text == TOKEN { Ok(()) } else { Err(Errno::ENODATA) }
    };
    process_vm_readv: secure ESRCH whole ESRCH, |outside| {
        memory(libc::SYS_process_vm_readv, outside.pid)
    };
    process_vm_writev: secure ESRCH whole ESRCH, |outside| {
        memory(libc::SYS_process_vm_writev, outside.pid)
    };
    ptrace: secure ESRCH whole ESRCH, |outside| {
        call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, outside.pid]).map(drop)
    };
    descriptor_of_a_process: secure ESRCH whole ESRCH, |outside| {
        let process = own(call(libc::SYS_pidfd_open, &[outside.pid, 0])? as i32);
        // Its standard input, which is the test's.
        let got = call(libc::SYS_pidfd_getfd, &[process.as_raw_fd() as usize, 0, 0])?;
        read(own(got as i32), &mut [0]).map(drop)
    };
    kill: secure ESRCH whole ESRCH, |outside| {
        call(libc::SYS_kill, &[outside.pid, libc::SIGCONT as usize]).map(drop)
    };
    limits_of_a_process: secure ESRCH whole ESRCH, |outside| {
        let limit = [1u64 << 40; 2];
        let arguments = [outside.pid, libc::RLIMIT_CPU as usize, limit.as_ptr() as usize, 0];
        call(libc::SYS_prlimit64, &arguments).map(drop)
    };
    core_dump_of_a_process: secure ENOENT whole ENOENT, |outside| {
        fs::write(format!("/proc/{}/coredump_filter", outside.pid), "33").map_err(errno)
    };
    signal_of_a_file: secure ESRCH whole ESRCH, |outside| {
        let (reader, _writer) = nix::unistd::pipe()?;
        let fd = reader.as_raw_fd() as usize;
        call(libc::SYS_fcntl, &[fd, libc::F_SETOWN as usize, outside.pid]).map(drop)
    };
    another_context: secure EPERM whole EPERM, |_| {
        enter(NEIGHBOUR, 0, 0).map(drop)
    };
    the_spectators_context: secure EPERM whole EPERM, |outside| {
        enter(CONTEXT_SPECTATOR, 0, 0)?;
        fs::metadata(format!("/proc/{}", outside.pid)).map(drop).map_err(errno)
    };
}

/// Of every process of the test, at the same address.
static WORD: AtomicU64 = AtomicU64::new(7);

/// From there to here, or the other way.
fn memory(number: i64, pid: usize) -> Result<(), Errno> {
    let mut own = 7u64.to_ne_bytes();
    let local = [own.as_mut_ptr() as usize, own.len()];
    let remote = [WORD.as_ptr() as usize, own.len()];
    let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
    call(number, &[pid, local, 1, remote, 1, 0]).map(drop)
}

/// One who makes a context inside has lost nothing of what stands around him.
fn new_context() -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let outside = Outside {
        pid: host.pid as usize,
        brought: None,
    };
    let ways: [(&str, Attempt, Errno); 4] = [
        (
            "a capability",
            |_| own_mounts().map_err(|_| Errno::EPERM),
            Errno::EPERM,
        ),
        (
            "a process",
            |outside| call(libc::SYS_kill, &[outside.pid, 0]).map(drop),
            Errno::ESRCH,
        ),
        (
            "an address",
            |_| {
                TcpListener::bind((inet::HOST, 8152))
                    .map(drop)
                    .map_err(errno)
            },
            Errno::EADDRNOTAVAIL,
        ),
        (
            "the barrier",
            |_| {
                chroot("/sub")?;
                walk_up()
            },
            Errno::EACCES,
        ),
    ];
    for (what, attempt, expected) in ways {
        let got = tried(Jail::Vserver(SECURE), &outside, |outside| {
            enter(CONTEXT_NEW, 0, 0)?;
            attempt(outside)
        })?;
        equal(what, got, Err(expected))?;
        let free = if what == "a capability" {
            Jail::Host
        } else {
            Jail::Chroot
        };
        equal(what, tried(free, &outside, attempt)?, Ok(()))?;
    }
    Ok(())
}
