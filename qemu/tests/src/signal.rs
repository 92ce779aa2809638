// SPDX-License-Identifier: GPL-2.0

//! Signals, and who gets them when a file is ready.

use crate::{
    fixture::{child, equal, inside, words, Outcome, Sitter},
    test,
    visibility::{call, ways},
    Test,
};
use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        wait::{waitpid, WaitStatus},
    },
    unistd::{getpid, pipe, setpgid, setsid, Pid},
};
use std::os::fd::AsRawFd;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("signal::kill_all_stays_inside", 20, kill_all),
    test("signal::kill_all_with_nobody_there", 20, kill_nobody),
    test("signal::kill_of_a_mixed_group", 20, mixed_group),
    test("signal::the_machines_init", 20, machine_init),
    test("signal::sigio_of_a_mixed_group", 20, sigio_mixed_group),
    test("signal::sigio_by_a_terminal", 20, sigio_terminal),
    test("signal::timers_of_other_processes", 20, timers),
    test("signal::terminal_of_the_host", 20, terminal),
];

fn siginfo() -> [u32; 32] {
    let mut info = [0; 32];
    // si_code = SI_QUEUE
    info[2] = -1i32 as u32;
    info
}

/// fcntl() on a pipe of its own.
fn own_pipe(command: i32, argument: usize) -> Result<i64, Errno> {
    let (reader, _writer) = pipe()?;
    call(
        libc::SYS_fcntl,
        &[reader.as_raw_fd() as usize, command as usize, argument],
    )
}

const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;
const F_SETSIG: i32 = 10;
const OWNER_TID: i32 = 0;
const OWNER_PID: i32 = 1;
const OWNER_GROUP: i32 = 2;

/// F_SETOWN_EX on a pipe of its own.
fn own_pipe_ex(kind: i32, pid: usize) -> Result<i64, Errno> {
    let owner = [kind, pid as i32];
    own_pipe(F_SETOWN_EX, owner.as_ptr() as usize)
}

ways! { "signal":
    kill: MayNot, |target| call(libc::SYS_kill, &[target.pid, 0]);
    kill_continue: MayNot, |target| call(libc::SYS_kill, &[target.pid, libc::SIGCONT as usize]);
    kill_group: MayNot, |target| call(libc::SYS_kill, &[target.group(), 0]);
    tkill: MayNot, |target| call(libc::SYS_tkill, &[target.pid, 0]);
    tgkill: MayNot, |target| call(libc::SYS_tgkill, &[target.pid, target.pid, 0]);
    rt_sigqueueinfo: MayNot, |target| {
        let info = siginfo();
        call(libc::SYS_rt_sigqueueinfo, &[target.pid, 0, info.as_ptr() as usize])
    };
    rt_tgsigqueueinfo: MayNot, |target| {
        let info = siginfo();
        call(
            libc::SYS_rt_tgsigqueueinfo,
            &[target.pid, target.pid, 0, info.as_ptr() as usize],
        )
    };
    f_setown: May, |target| own_pipe(libc::F_SETOWN, target.pid);
    f_setown_group: May, |target| own_pipe(libc::F_SETOWN, target.group());
    f_setown_ex_thread: May, |target| own_pipe_ex(OWNER_TID, target.pid);
    f_setown_ex_process: May, |target| own_pipe_ex(OWNER_PID, target.pid);
    f_setown_ex_group: May, |target| own_pipe_ex(OWNER_GROUP, target.pid);
}

fn ended_by_kill(sitter: &Sitter) -> Outcome {
    let pid = Pid::from_raw(sitter.pid);
    equal(
        "its end",
        waitpid(pid, None),
        Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, false)),
    )
}

fn alive(sitter: &Sitter) -> Outcome {
    let pid = Pid::from_raw(sitter.pid);
    equal(
        "alive",
        waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive),
    )
}

/// kill(-1) of root inside a context reaches its own processes and nobody else's.
fn kill_all() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let other = Sitter::idle(101)?;
    let own = Sitter::idle(100)?;
    inside(100, || {
        equal("kill(-1)", call(libc::SYS_kill, &[usize::MAX, 9]), Ok(0))
    })?;
    ended_by_kill(&own)?;
    alive(&other)?;
    alive(&host)
}

/// kill(-1) says that there is nobody when there is nobody else inside, whoever else lives.
fn kill_nobody() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let other = Sitter::idle(101)?;
    inside(100, || {
        let all = || call(libc::SYS_kill, &[usize::MAX, 0]);
        equal("alone", all(), Err(Errno::ESRCH))?;
        let more = Sitter::idle(CONTEXT_ROOT)?;
        equal("with another", all(), Ok(0))?;
        drop(more);
        equal("alone again", all(), Err(Errno::ESRCH))
    })?;
    alive(&other)?;
    alive(&host)
}

/// A process group with members in two contexts: a signal reaches the sender's side only.
fn mixed_group() -> Outcome {
    inside(CONTEXT_ROOT, || {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
        let group = (getpid().as_raw() as usize).wrapping_neg();
        let within = Sitter::idle(100)?;
        inside(100, || {
            equal("from inside", call(libc::SYS_kill, &[group, 0]), Ok(0))?;
            setsid().map_err(words)?;
            equal("from outside it", call(libc::SYS_kill, &[group, 9]), Ok(0))
        })?;
        // Its leader, this process, is still here to see that.
        ended_by_kill(&within)?;
        inside(101, || {
            setsid().map_err(words)?;
            equal(
                "no member in view",
                call(libc::SYS_kill, &[group, 9]),
                Err(Errno::ESRCH),
            )
        })
    })
}

/// Process 1 is shown in /proc and is out of reach all the same.
fn machine_init() -> Outcome {
    inside(100, || {
        let absent = Err(Errno::ESRCH);
        equal("kill", call(libc::SYS_kill, &[1, 0]), absent)?;
        equal("tgkill", call(libc::SYS_tgkill, &[1, 1, 0]), absent)?;
        equal("pidfd_open", call(libc::SYS_pidfd_open, &[1, 0]), absent)?;
        equal("getpgid", call(libc::SYS_getpgid, &[1]), absent)?;
        equal(
            "setpriority",
            call(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, 1, 5]),
            absent,
        )?;
        equal(
            "ptrace",
            call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, 1]),
            absent,
        )?;
        std::fs::read_to_string("/proc/1/status")
            .map(drop)
            .map_err(words)
    })
}

/// The kernel sends SIGIO to all members of a group: with members out of view it has no owner.
fn sigio_mixed_group() -> Outcome {
    inside(CONTEXT_ROOT, || {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
        let group = getpid().as_raw() as usize;
        // Joined the group by fork.
        inside(100, || {
            let (reader, writer) = pipe().map_err(words)?;
            let fd = reader.as_raw_fd() as usize;
            let fcntl = |command: i32, argument| {
                call(libc::SYS_fcntl, &[fd, command as usize, argument]).map_err(words)
            };
            fcntl(libc::F_SETOWN, group.wrapping_neg())?;
            let mut owner = [0i32; 2];
            fcntl(F_GETOWN_EX, owner.as_mut_ptr() as usize)?;
            equal("owner", owner[1], 0)?;
            // Would end the process of the host that waits for this one.
            fcntl(F_SETSIG, libc::SIGKILL as usize)?;
            fcntl(libc::F_SETFL, (libc::O_ASYNC | libc::O_NONBLOCK) as usize)?;
            nix::unistd::write(&writer, b"!").map(drop).map_err(words)
        })
    })
}

/// O_ASYNC on a terminal makes its foreground group the owner, whoever asks for it.
fn sigio_terminal() -> Outcome {
    let terminal = nix::pty::openpty(None, None).map_err(words)?;
    let slave = terminal.slave.as_raw_fd() as usize;
    let foreground = Sitter::new(CONTEXT_ROOT, 0, || {
        setsid().map_err(words)?;
        call(libc::SYS_ioctl, &[slave, libc::TIOCSCTTY as usize, 0])
            .map(drop)
            .map_err(words)
    })?;
    inside(100, || {
        let fcntl = |command: i32, argument| {
            call(libc::SYS_fcntl, &[slave, command as usize, argument]).map_err(words)
        };
        fcntl(F_SETSIG, libc::SIGKILL as usize)?;
        fcntl(libc::F_SETFL, (libc::O_ASYNC | libc::O_RDWR) as usize)?;
        let mut owner = [0i32; 2];
        fcntl(F_GETOWN_EX, owner.as_mut_ptr() as usize)?;
        equal("owner", owner[1], 0)
    })?;
    nix::unistd::write(&terminal.master, b"line\n").map_err(words)?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    alive(&foreground)
}

/// A timer's signal goes to a thread of one's own process only.
fn timers() -> Outcome {
    let own = Sitter::idle(100)?;
    let host = Sitter::idle(CONTEXT_ROOT)?;
    inside(100, || {
        for pid in [own.pid, host.pid] {
            // struct sigevent: value, signal, SIGEV_THREAD_ID, thread.
            let event = [0u32, 0, 9, 4, pid as u32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            let mut timer = 0i32;
            let got = call(
                libc::SYS_timer_create,
                &[
                    0,
                    event.as_ptr() as usize,
                    std::ptr::from_mut(&mut timer) as usize,
                ],
            );
            equal("timer", got, Err(Errno::EINVAL))?;
        }
        Ok(())
    })
}

/// A context's process whose terminal belongs to a session of the host: it can take the terminal
/// and be interrupted there, and cannot give it to a group that it does not see.
fn terminal() -> Outcome {
    let terminal = nix::pty::openpty(None, None).map_err(words)?;
    let slave = terminal.slave.as_raw_fd() as usize;
    child(|| {
        setsid().map_err(words)?;
        call(libc::SYS_ioctl, &[slave, libc::TIOCSCTTY as usize, 0]).map_err(words)?;
        // Background writers are not what this is about.
        call(
            libc::SYS_rt_sigprocmask,
            &[0, [1u64 << (libc::SIGTTOU - 1)].as_ptr() as usize, 0, 8],
        )
        .map_err(words)?;
        let stranger = Sitter::new(CONTEXT_ROOT, 0, || {
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)
        })?;
        let within = Sitter::new(100, 0, || {
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
            let group = [getpid().as_raw()];
            let take = |group: &[i32; 1]| {
                call(
                    libc::SYS_ioctl,
                    &[slave, libc::TIOCSPGRP as usize, group.as_ptr() as usize],
                )
            };
            equal("its own group", take(&group), Ok(0))?;
            equal(
                "a group of the host",
                take(&[stranger.pid]),
                Err(Errno::ESRCH),
            )
        })?;
        // The terminal's signals are the kernel's: they reach the foreground group inside.
        nix::unistd::write(&terminal.master, b"\x03").map_err(words)?;
        let pid = Pid::from_raw(within.pid);
        equal(
            "Ctrl-C",
            waitpid(pid, None),
            Ok(WaitStatus::Signaled(pid, Signal::SIGINT, false)),
        )?;
        Ok(String::new())
    })
    .map(drop)?;
    Ok(())
}
