// SPDX-License-Identifier: GPL-2.0

//! The number of process 1 in what the kernel passes on: signals, messages, locks, futexes, owners.

use super::{as_init, expect_success, in_child, spawn};
use crate::{
    fixture::{child, ensure, enter, equal, words, Outcome},
    syscalls::{self, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    fcntl::{fcntl, FcntlArg},
    sys::{
        signal::{kill, SigSet, Signal},
        socket::{
            getsockopt, recvmsg, sendmsg, setsockopt, socketpair, sockopt, AddressFamily,
            ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials,
        },
        wait::{waitpid, WaitStatus},
    },
    unistd::{getpid, gettid, Pid},
};
use std::{
    fs::File,
    io::{IoSlice, IoSliceMut},
    os::fd::AsRawFd,
    sync::atomic::{AtomicU32, Ordering},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::who_sent_a_signal", 60, signals),
    test("fakeinit::who_ended_outside", 60, ended_outside),
    test("fakeinit::owner_of_a_file", 60, owner),
    test("fakeinit::credentials", 60, credentials),
    test("fakeinit::locks", 60, locks),
    test("fakeinit::robust_futex", 60, robust),
    test("fakeinit::priority_futex", 60, priority),
    test("fakeinit::shared_memory", 60, shared_memory),
];

/// Waits for a signal that is blocked: the number of its sender.
fn sender(signal: Signal) -> Result<i32, Errno> {
    let mut set = 1u64 << (signal as u32 - 1);
    let mut info = [0i32; 32];
    let arguments = [
        (&raw mut set) as usize,
        info.as_mut_ptr() as usize,
        0,
        size_of::<u64>(),
        0,
        0,
    ];
    syscall(libc::SYS_rt_sigtimedwait, arguments)?;
    Ok(info[4])
}

fn block(signal: Signal) -> Outcome {
    let mut set = SigSet::empty();
    set.add(signal);
    set.thread_block().map_err(words)
}

fn signals() -> Outcome {
    as_init(|_| {
        block(Signal::SIGUSR1)?;
        block(Signal::SIGCHLD)?;
        let child = spawn(|| i32::from(sender(Signal::SIGUSR1) != Ok(1)))?;
        kill(child, Signal::SIGUSR1).map_err(words)?;
        equal(
            "its end is told",
            sender(Signal::SIGCHLD),
            Ok(child.as_raw()),
        )?;
        expect_success(child)?;
        let child = spawn(|| i32::from(kill(Pid::from_raw(1), Signal::SIGUSR1).is_err()))?;
        equal(
            "a child's signal",
            sender(Signal::SIGUSR1),
            Ok(child.as_raw()),
        )?;
        expect_success(child)
    })
}

/// Outside its number is the machine's, in all that tells of its end.
fn ended_outside() -> Outcome {
    child(|| {
        block(Signal::SIGCHLD)?;
        let init = spawn(|| i32::from(enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).is_err()))?;
        equal("SIGCHLD", sender(Signal::SIGCHLD), Ok(init.as_raw()))?;
        equal(
            "waitpid",
            waitpid(init, None),
            Ok(WaitStatus::Exited(init, 0)),
        )?;
        Ok(String::new())
    })
    .map(drop)
}

fn owner() -> Outcome {
    const F_SETOWN: usize = 8;
    const F_GETOWN: usize = 9;
    const F_GETOWN_EX: usize = 16;
    as_init(|real| {
        block(Signal::SIGIO)?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let fd = reader.as_raw_fd() as usize;
        let fcntl_ = |command: usize, argument: usize| {
            syscall(libc::SYS_fcntl, [fd, command, argument, 0, 0, 0])
        };
        equal(
            "the real number",
            fcntl_(F_SETOWN, real as usize),
            Err(Errno::ESRCH),
        )?;
        fcntl_(F_SETOWN, 1).map_err(words)?;
        equal("F_GETOWN", fcntl_(F_GETOWN, 0), Ok(1))?;
        let mut found = [0i32; 2];
        fcntl_(F_GETOWN_EX, found.as_mut_ptr() as usize).map_err(words)?;
        equal("F_GETOWN_EX", found, [1, 1])?;
        let flags = nix::fcntl::OFlag::O_ASYNC;
        fcntl(&reader, FcntlArg::F_SETFL(flags)).map_err(words)?;
        in_child(|| {
            equal("as a child sees it", fcntl_(F_GETOWN, 0), Ok(1))?;
            nix::unistd::write(&writer, b"x").map(drop).map_err(words)
        })?;
        sender(Signal::SIGIO).map(drop).map_err(words)
    })
}

fn credentials() -> Outcome {
    as_init(|real| {
        let pair = || {
            let flags = SockFlag::empty();
            socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).map_err(words)
        };
        let (one, two) = pair()?;
        setsockopt(&two, sockopt::PassCred, &true).map_err(words)?;
        let send = |pid: i32| {
            let mut own = libc::ucred {
                pid: 0,
                uid: 0,
                gid: 0,
            };
            own.pid = pid;
            let own = UnixCredentials::from(own);
            let control = [ControlMessage::ScmCredentials(&own)];
            let bytes = [IoSlice::new(b"x")];
            sendmsg::<()>(one.as_raw_fd(), &bytes, &control, MsgFlags::empty(), None)
        };
        equal("as the real number", send(real).err(), Some(Errno::ESRCH))?;
        send(1).map_err(words)?;
        in_child(|| {
            let mut room = [0];
            let mut bytes = [IoSliceMut::new(&mut room)];
            let mut space = nix::cmsg_space!(UnixCredentials);
            let flags = MsgFlags::empty();
            let message = recvmsg::<()>(two.as_raw_fd(), &mut bytes, Some(&mut space), flags);
            let message = message.map_err(words)?;
            let said = message
                .cmsgs()
                .map_err(words)?
                .find_map(|message| match message {
                    ControlMessageOwned::ScmCredentials(told) => Some(told.pid()),
                    _ => None,
                });
            equal("SCM_CREDENTIALS", said, Some(1))?;
            let peer = getsockopt(&two, sockopt::PeerCredentials).map_err(words)?;
            equal("SO_PEERCRED", peer.pid(), 1)
        })
    })
}

fn lock(file: &File) -> Result<i32, Errno> {
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    let free = lock.l_type == libc::F_UNLCK as i16;
    Ok(if free { -1 } else { lock.l_pid })
}

fn take(file: &File) -> Result<i32, Errno> {
    let whole = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&whole))
}

fn locks() -> Outcome {
    as_init(|real| {
        let path = format!("/tmp/lock-{real}");
        let file = File::create(&path).map_err(words)?;
        take(&file).map_err(words)?;
        in_child(|| {
            equal("F_GETLK", lock(&file), Ok(1))?;
            let all = std::fs::read_to_string("/proc/locks").map_err(words)?;
            ensure(&all, all.contains("WRITE 1 "))?;
            ensure(&all, !all.contains(&format!(" {real} ")))
        })?;
        drop(file);
        // That of a child has its number.
        let file = File::create(&path).map_err(words)?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let holder = spawn(|| {
            let taken = take(&file).is_ok();
            let _ = nix::unistd::write(&writer, b"x");
            loop {
                if !taken {
                    return 1;
                }
                nix::unistd::pause();
            }
        })?;
        nix::unistd::read(&reader, &mut [0]).map_err(words)?;
        equal("a child's", lock(&file), Ok(holder.as_raw()))?;
        let all = std::fs::read_to_string("/proc/locks").map_err(words)?;
        ensure(&all, all.contains(&format!("WRITE {holder} ")))?;
        super::end(holder)?;
        std::fs::remove_file(&path).map_err(words)
    })
}

/// Memory that parent and child share.
fn shared_words() -> Result<&'static [AtomicU32; 16], String> {
    syscalls::shared_words().map_err(words)
}

const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

/// The lock of a process 1 that ends is marked; the test is outside, where that has another number.
fn robust() -> Outcome {
    let memory = shared_words()?;
    child(|| {
        enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).map_err(words)?;
        memory[0].store(gettid().as_raw() as u32, Ordering::SeqCst);
        // struct robust_list_head: the list, the futex's distance from its entry, what is being taken.
        let entry = &raw const memory[4] as usize;
        let head = Box::leak(Box::new([entry, 0usize, 0usize]));
        head[1] = (&raw const memory[0] as usize).wrapping_sub(entry);
        let last = head.as_ptr() as usize;
        memory[4].store(last as u32, Ordering::SeqCst);
        memory[5].store((last >> 32) as u32, Ordering::SeqCst);
        let arguments = [last, size_of_val(head), 0, 0, 0, 0];
        syscall(libc::SYS_set_robust_list, arguments).map_err(words)?;
        Ok(String::new())
    })?;
    let left = memory[0].load(Ordering::SeqCst);
    equal("the word", left, FUTEX_OWNER_DIED)
}

/// A lock with priority inheritance is found to be held by process 1.
fn priority() -> Outcome {
    let memory = shared_words()?;
    as_init(|_| {
        memory[0].store(gettid().as_raw() as u32, Ordering::SeqCst);
        in_child(|| {
            let long_ago = [0i64, 1];
            let arguments = [
                &raw const memory[0] as usize,
                libc::FUTEX_LOCK_PI as usize,
                0,
                long_ago.as_ptr() as usize,
                0,
                0,
            ];
            let waited = syscall(libc::SYS_futex, arguments);
            equal("held by 1", waited, Err(Errno::ETIMEDOUT))?;
            memory[0].store(getpid().as_raw() as u32 + 100_000, Ordering::SeqCst);
            equal(
                "held by nobody",
                syscall(libc::SYS_futex, arguments),
                Err(Errno::ESRCH),
            )
        })
    })
}

/// Who made it, and who used it last.
fn shared_memory() -> Outcome {
    const IPC_STAT: usize = 2;
    as_init(|_| {
        let id = syscall(libc::SYS_shmget, [0, 4096, 0o1600, 0, 0, 0]).map_err(words)?;
        in_child(|| {
            // struct shmid_ds: behind permissions, size and three times are the two numbers.
            let mut found = [0u32; 64];
            let room = found.as_mut_ptr() as usize;
            syscall(libc::SYS_shmctl, [id as usize, IPC_STAT, room, 0, 0, 0]).map_err(words)?;
            let permissions = size_of::<libc::ipc_perm>() / 4;
            equal("its maker", found[permissions + 2 + 6], 1)?;
            let listed = std::fs::read_to_string("/proc/sysvipc/shm").map_err(words)?;
            let line = listed.lines().nth(1).unwrap_or_default();
            let maker = line.split_ascii_whitespace().nth(4);
            equal("as listed", maker, Some("1"))
        })
    })
}
