// SPDX-License-Identifier: GPL-2.0

//! The end of process 1 is the end of its context.

use super::spawn;
use crate::{
    fixture::{
        child, ensure, enter, equal, list, open_context, signal, status, until_empty as all_empty,
        words, Outcome, Sitter,
    },
    syscalls::{self, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::{
        signal::{kill, SigSet, Signal},
        wait::waitpid,
    },
    unistd::{read, write, Pid},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    thread,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::end_is_told", 60, told),
    test("fakeinit::end_of_everybody", 120, everybody),
    test("fakeinit::end_of_threads", 120, threads),
    test("fakeinit::end_of_a_fork_bomb", 300, fork_bomb),
    test("fakeinit::end_in_a_storm", 300, storm),
    test("fakeinit::end_and_who_enters", 300, entering),
    test("fakeinit::thousand_cycles", 600, cycles),
];

/// Waits until a context is empty.
pub fn until_empty(fd: &OwnedFd) -> Outcome {
    let mut set = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut set, PollTimeout::NONE).map_err(words)?;
    equal(
        "the state",
        status(fd).map(|status| status.state),
        Ok(STATE_ENDED),
    )?;
    equal("the tasks", status(fd).map(|status| status.tasks), Ok(0))
}

/// What is ready now.
fn ready(fd: &OwnedFd, time: PollTimeout) -> Result<PollFlags, String> {
    let mut set = [PollFd::new(
        fd.as_fd(),
        PollFlags::POLLIN | PollFlags::POLLPRI,
    )];
    poll(&mut set, time).map_err(words)?;
    Ok(set[0].revents().unwrap_or(PollFlags::empty()))
}

fn told() -> Outcome {
    for (code, by_signal, expected) in [(0, 0, 0), (42, 0, 42 << 8), (0, libc::SIGKILL, 9)] {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let (wait, go) = nix::unistd::pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 99;
            };
            let _ = write(&writer, &entered.context.to_ne_bytes());
            let _ = read(&wait, &mut [0]);
            code
        })?;
        let mut context = [0; 4];
        read(&reader, &mut context).map_err(words)?;
        let context = i32::from_ne_bytes(context);
        let fd = open_context(context).map_err(words)?;
        equal(
            "nothing yet",
            ready(&fd, PollTimeout::ZERO)?,
            PollFlags::empty(),
        )?;
        let now = status(&fd).map_err(words)?;
        equal("the context", now.context, context)?;
        equal(
            "runs",
            [now.state, now.init, now.tasks],
            [STATE_ALIVE, INIT_RUNNING, 1],
        )?;
        match by_signal {
            0 => drop(write(&go, b"x")),
            number => drop(signal(context, SIGNAL_INIT, number)),
        }
        // It is told before anybody has waited for it.
        equal("told", ready(&fd, PollTimeout::NONE)?, PollFlags::POLLPRI)?;
        let now = status(&fd).map_err(words)?;
        equal(
            "has exited",
            [now.init, now.init_status],
            [INIT_EXITED, expected],
        )?;
        equal("as a zombie", [now.state, now.tasks], [STATE_ENDING, 1])?;
        equal("no reboot", now.reboot, REBOOT_NONE)?;
        equal(
            "nobody enters",
            enter(context, 0, 0).err(),
            Some(Errno::EAGAIN),
        )?;
        waitpid(init, None).map_err(words)?;
        until_empty(&fd)?;
        let both = ready(&fd, PollTimeout::ZERO)?;
        ensure(
            "hung up",
            both.contains(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLPRI),
        )?;
    }
    // One that never had one.
    let sitter = Sitter::idle(300)?;
    let fd = open_context(300).map_err(words)?;
    equal("none", status(&fd).map(|status| status.init), Ok(INIT_NONE))?;
    drop(sitter);
    until_empty(&fd)
}

/// A process of the context that waits for nothing.
fn stay() -> ! {
    loop {
        nix::unistd::pause();
    }
}

fn everybody() -> Outcome {
    let (reader, writer) = nix::unistd::pipe().map_err(words)?;
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        let ready = || {
            let _ = write(&writer, b"x");
        };
        // One that is stopped, one that blocks all, one with threads, a daemon, one in a context of its own, and a
        // process 1 inside.
        let stopped = spawn(|| stay())?;
        kill(stopped, Signal::SIGSTOP).map_err(words)?;
        spawn(|| {
            let _ = SigSet::all().thread_block();
            ready();
            stay()
        })?;
        spawn(|| {
            for _ in 0..4 {
                thread::spawn(|| stay());
            }
            ready();
            stay()
        })?;
        spawn(|| {
            let _ = nix::unistd::setsid();
            ready();
            stay()
        })?;
        for flags in [0, FLAG_FAKEINIT] {
            spawn(|| {
                if enter(CONTEXT_NEW, flags, 0).is_ok() {
                    let _ = spawn(|| stay());
                    ready();
                }
                stay()
            })?;
        }
        Ok(())
    })?;
    for _ in 0..5 {
        read(&reader, &mut [0]).map_err(words)?;
    }
    // And one who has entered from outside.
    let guest = Sitter::idle(init.context)?;
    let fd = open_context(init.context).map_err(words)?;
    drop(init);
    let ended = waitpid(Pid::from_raw(guest.pid), None).map_err(words)?;
    std::mem::forget(guest);
    ensure(
        &format!("{ended:?}"),
        matches!(
            ended,
            nix::sys::wait::WaitStatus::Signaled(_, Signal::SIGKILL, _)
        ),
    )?;
    until_empty(&fd)?;
    all_empty()
}

/// All threads end at the same moment, the first one or another one last.
fn threads() -> Outcome {
    for round in 0..30 {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 99;
            };
            let _ = spawn(|| stay());
            let _ = write(&writer, &entered.context.to_ne_bytes());
            let barrier = std::sync::Arc::new(std::sync::Barrier::new(5));
            for _ in 0..4 {
                let barrier = barrier.clone();
                thread::spawn(move || {
                    barrier.wait();
                    exit_thread()
                });
            }
            barrier.wait();
            if round % 2 == 0 {
                exit_thread()
            }
            0
        })?;
        let mut context = [0; 4];
        read(&reader, &mut context).map_err(words)?;
        let fd = open_context(i32::from_ne_bytes(context));
        waitpid(init, None).map_err(words)?;
        if let Ok(fd) = fd {
            until_empty(&fd)?;
        }
    }
    all_empty()
}

/// exit(2) of the calling thread alone.
fn exit_thread() -> ! {
    loop {
        let _ = syscall(libc::SYS_exit, [0; 6]);
    }
}

/// Forks as fast as it can, for ever, and takes no signal that it can refuse.
fn bomb() -> ! {
    let _ = SigSet::all().thread_block();
    loop {
        if syscalls::fork().is_err() {
            thread::yield_now();
        }
    }
}

fn fork_bomb() -> Outcome {
    for _ in 0..10 {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
            let few = 300;
            let kind = nix::sys::resource::Resource::RLIMIT_NPROC;
            nix::sys::resource::setrlimit(kind, few, few).map_err(words)?;
            enter(CONTEXT_STAY, FLAG_NPROC, 0).map_err(words)?;
            spawn(|| bomb()).map(drop)
        })?;
        let fd = open_context(init.context).map_err(words)?;
        while status(&fd).map_err(words)?.tasks < 200 {
            thread::yield_now();
        }
        drop(init);
        until_empty(&fd)?;
    }
    all_empty()
}

/// Its processes kill one another while they fork, and it is killed in the middle.
fn storm() -> Outcome {
    for _ in 0..10 {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
            for _ in 0..4 {
                spawn(|| loop {
                    if let Ok(pid) = spawn(|| stay()) {
                        let _ = kill(pid, Signal::SIGKILL);
                        let _ = waitpid(pid, None);
                    }
                })?;
            }
            // One that kills all but process 1 and itself, again and again.
            spawn(|| loop {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            })
            .map(drop)
        })?;
        let fd = open_context(init.context).map_err(words)?;
        thread::sleep(std::time::Duration::from_millis(50));
        equal(
            "sent",
            signal(init.context, SIGNAL_INIT, libc::SIGKILL),
            Ok(1),
        )?;
        drop(init);
        until_empty(&fd)?;
    }
    all_empty()
}

/// Processes enter while the context ends: none of them is left in it.
fn entering() -> Outcome {
    for _ in 0..20 {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || Ok(()))?;
        let context = init.context;
        let fd = open_context(context).map_err(words)?;
        let mut guests = Vec::new();
        for _ in 0..6 {
            guests.push(spawn(|| {
                // One after the other, until there is nobody to enter to.
                loop {
                    match spawn(|| match enter(context, 0, 0) {
                        Ok(_) => stay(),
                        Err(_) => 0,
                    }) {
                        Ok(_) if list().is_ok_and(|all| all.contains(&context)) => {}
                        _ => break,
                    }
                    if status(&fd).is_ok_and(|status| status.state != STATE_ALIVE) {
                        break;
                    }
                }
                while waitpid(Pid::from_raw(-1), None).is_ok() {}
                0
            })?);
        }
        thread::sleep(std::time::Duration::from_millis(20));
        drop(init);
        for guest in guests {
            waitpid(guest, None).map_err(words)?;
        }
        until_empty(&fd)?;
    }
    all_empty()
}

/// The processes of the whole machine, by the spectator's count.
fn processes() -> Result<usize, String> {
    let count = child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        Ok(crate::proc::listing()?.len().to_string())
    })?;
    count.parse().map_err(words)
}

fn terminals() -> Result<usize, String> {
    let count = std::fs::read_to_string("/proc/sys/kernel/pty/nr").map_err(words)?;
    count.trim().parse().map_err(words)
}

fn cycles() -> Outcome {
    all_empty()?;
    let before = (processes()?, terminals()?);
    for _ in 0..1000 {
        let init = spawn(|| {
            let Ok(_) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 1;
            };
            for _ in 0..2 {
                let _ = spawn(|| stay());
            }
            // A terminal that nobody closes.
            let flags = nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY;
            let terminal = nix::pty::posix_openpt(flags);
            let right = terminal.is_ok();
            std::mem::forget(terminal);
            i32::from(!right)
        })?;
        super::expect_success(init)?;
    }
    all_empty()?;
    // Kernel threads come and go.
    let after = (processes()?, terminals()?);
    equal("terminals", after.1, before.1)?;
    ensure(&format!("{before:?} {after:?}"), after.0 <= before.0 + 20)
}
