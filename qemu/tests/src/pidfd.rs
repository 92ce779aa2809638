// SPDX-License-Identifier: GPL-2.0

//! pidfds: made by number and by file handle, and used after their holder or their process has
//! entered a context.

use crate::{
    fixture::{enter, equal, inside, words, Outcome, Sitter},
    syscalls::own,
    test,
    visibility::{call, ways},
    Test,
};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("pidfd::opened_before_entering", 20, before),
    test("pidfd::a_childs", 20, childs),
    test("pidfd::made_with_the_child", 20, with_child),
];

/// Readable in every test process at the same address.
static WORD: [u8; 8] = *b"vserver!";

/// pidfd_open().
pub fn open(pid: i32) -> Result<OwnedFd, Errno> {
    Ok(own(call(libc::SYS_pidfd_open, &[pid as usize, 0])? as i32))
}

const AT_EMPTY_PATH: usize = 0x1000;
const PIDFD_GET_INFO: usize = 0xc050_ff0b;
const PIDFD_THREAD: usize = libc::O_EXCL as usize;
const MADV_COLD: usize = 20;

/// struct file_handle: size, type, and room for the handle.
type Handle = [u32; 4];

fn handle_of(fd: usize) -> Result<Handle, Errno> {
    let mut handle: Handle = [8, 0, 0, 0];
    let mut mount = 0i32;
    call(
        libc::SYS_name_to_handle_at,
        &[
            fd,
            c"".as_ptr() as usize,
            handle.as_mut_ptr() as usize,
            std::ptr::from_mut(&mut mount) as usize,
            AT_EMPTY_PATH,
        ],
    )?;
    Ok(handle)
}

ways! { "pidfd":
    pidfd_open: May, |target| open(target.pid as i32).map(|_| 0);
    pidfd_open_thread: May, |target| {
        let fd = call(libc::SYS_pidfd_open, &[target.pid, PIDFD_THREAD])?;
        call(libc::SYS_close, &[fd as usize])
    };
    pidfd_send_signal: MayNot by open, |target| {
        call(libc::SYS_pidfd_send_signal, &[target.fd(), 0, 0, 0])
    };
    pidfd_getfd: MayNot by open, |target| {
        let fd = call(libc::SYS_pidfd_getfd, &[target.fd(), 0, 0])?;
        call(libc::SYS_close, &[fd as usize])
    };
    pidfd_get_info: May by open, |target| {
        // struct pidfd_info; nothing is asked for but what is always told.
        let mut info = [0u64; 10];
        call(libc::SYS_ioctl, &[target.fd(), PIDFD_GET_INFO, info.as_mut_ptr() as usize])
    };
    process_madvise: May by open, |target| {
        let range = [WORD.as_ptr() as usize & !4095, 4096];
        call(
            libc::SYS_process_madvise,
            &[target.fd(), range.as_ptr() as usize, 1, MADV_COLD, 0],
        )
    };
    setns: May by open absent EPERM, |target| {
        call(libc::SYS_setns, &[target.fd(), libc::CLONE_NEWUTS as usize])
    };
    // What a stale handle gives.
    open_by_handle_at: May by open absent ESTALE, |target| {
        let handle = handle_of(target.fd())?;
        let own = open(nix::unistd::getpid().as_raw())?;
        let fd = call(
            libc::SYS_open_by_handle_at,
            &[own.as_raw_fd() as usize, handle.as_ptr() as usize, libc::O_RDONLY as usize],
        )?;
        call(libc::SYS_close, &[fd as usize])
    };
}

/// A descriptor of a process that stays, held by one that goes: the process is gone for it. One
/// of its own is not.
fn before() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    inside(CONTEXT_ROOT, || {
        let fd = open(host.pid).map_err(words)?;
        let own = open(nix::unistd::getpid().as_raw()).map_err(words)?;
        let send = |fd: &OwnedFd| {
            call(
                libc::SYS_pidfd_send_signal,
                &[fd.as_raw_fd() as usize, 0, 0, 0],
            )
        };
        equal("before entering", send(&fd), Ok(0))?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        equal("after entering", send(&fd), Err(Errno::ESRCH))?;
        equal("its own", send(&own), Ok(0))
    })
}

/// A parent has descriptors of its children wherever they went, to wait for them, not to
/// signal them.
fn childs() -> Outcome {
    let sitter = Sitter::idle(100)?;
    let fd = open(sitter.pid).map_err(words)?;
    let raw = fd.as_raw_fd() as usize;
    equal(
        "signal",
        call(libc::SYS_pidfd_send_signal, &[raw, 0, 0, 0]),
        Err(Errno::ESRCH),
    )?;
    inside(CONTEXT_ROOT, || {
        equal(
            "by somebody else",
            open(sitter.pid).err(),
            Some(Errno::ESRCH),
        )
    })?;
    drop(sitter);
    let mut waits = [nix::poll::PollFd::new(
        std::os::fd::AsFd::as_fd(&fd),
        nix::poll::PollFlags::POLLIN,
    )];
    equal("its end", nix::poll::poll(&mut waits, 5000u16), Ok(1))
}

/// clone() gives the parent a descriptor of the child, inside and when the child then enters.
fn with_child() -> Outcome {
    for context in [CONTEXT_ROOT, 100] {
        inside(context, || {
            let mut fd = 0i32;
            let flags = (libc::CLONE_PIDFD | libc::SIGCHLD) as usize;
            let address = std::ptr::from_mut(&mut fd) as usize;
            let pid = call(libc::SYS_clone, &[flags, 0, address, 0, 0]).map_err(words)?;
            if pid == 0 {
                let entered = enter(CONTEXT_NEW, 0, 0);
                crate::syscalls::exit_now(i32::from(entered.is_err()));
            }
            let fd = own(fd);
            let mut info = [0i32; 32];
            let got = call(
                libc::SYS_waitid,
                &[
                    libc::P_PIDFD as usize,
                    fd.as_raw_fd() as usize,
                    info.as_mut_ptr() as usize,
                    libc::WEXITED as usize,
                    0,
                ],
            );
            equal("wait", got, Ok(0))?;
            // si_code, si_pid, si_status
            equal("its end", (info[2], info[4], info[6]), (1, pid as i32, 0))
        })?;
    }
    Ok(())
}
