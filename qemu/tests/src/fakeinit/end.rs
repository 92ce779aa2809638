// SPDX-License-Identifier: GPL-2.0

//! The end of process 1 is the end of its context.

use super::{spawn, tell, told};
use crate::{
    fixture::{
        ensure, enter, equal, open_context, signal, status, until_empty as all_empty, words,
        Outcome, Sitter,
    },
    syscalls, test, Test,
};
use nix::{
    errno::Errno,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sys::{
        signal::{kill, SigSet, Signal},
        wait::waitpid,
    },
    unistd::{pipe, read, write, Pid},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    thread,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::end_is_told", 60, is_told),
    test("fakeinit::end_without_it", 60, without),
    test("fakeinit::end_of_everybody", 120, everybody),
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

/// How it ends: by its own doing or by a signal from outside.
#[derive(Clone, Copy)]
enum End {
    Code(i32),
    ThreadsCode(i32),
    Killed(i32),
}

fn is_told() -> Outcome {
    for (end, expected) in [
        (End::Code(0), 0),
        (End::Code(42), 42 << 8),
        (End::ThreadsCode(43), 43 << 8),
        (End::Killed(libc::SIGKILL), libc::SIGKILL),
        (End::Killed(libc::SIGTERM), libc::SIGTERM),
    ] {
        let (reader, writer) = pipe().map_err(words)?;
        let (wait, go) = pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 99;
            };
            let _ = tell(&writer, entered.context);
            let _ = read(&wait, &mut [0]);
            match end {
                End::Code(code) => code,
                End::ThreadsCode(code) => {
                    let thread = thread::spawn(move || syscalls::exit_now(code));
                    let _ = thread.join();
                    98
                }
                End::Killed(_) => 97,
            }
        })?;
        let context = told(&reader)?;
        let fd = open_context(context).map_err(words)?;
        let nothing = ready(&fd, PollTimeout::ZERO)?;
        equal("nothing yet", nothing, PollFlags::empty())?;
        let now = status(&fd).map_err(words)?;
        equal("the context", now.context, context)?;
        let expected_now = [STATE_ALIVE, INIT_RUNNING, 0, 1];
        let told = [now.state, now.init, now.init_status, now.tasks];
        equal("runs", told, expected_now)?;
        match end {
            End::Killed(number) => drop(signal(context, SIGNAL_INIT, number)),
            _ => drop(write(&go, b"x")),
        }
        // It is told before anybody has waited for it.
        equal("told", ready(&fd, PollTimeout::NONE)?, PollFlags::POLLPRI)?;
        // Another thread of it may be on its way out still.
        let now = loop {
            let now = status(&fd).map_err(words)?;
            match end {
                End::ThreadsCode(_) if now.tasks == 2 => thread::yield_now(),
                _ => break now,
            }
        };
        let expected_now = [STATE_ENDING, INIT_EXITED, expected as u32, 1];
        let told = [now.state, now.init, now.init_status, now.tasks];
        equal("has exited, as a zombie", told, expected_now)?;
        equal("no reboot", now.reboot, REBOOT_NONE)?;
        for flags in [0, FLAG_FAKEINIT] {
            let entered = enter(context, flags, 0).err();
            equal("nobody enters", entered, Some(Errno::EAGAIN))?;
        }
        let gone = signal(context, SIGNAL_INIT, 0);
        equal("nobody is process 1", gone, Err(Errno::ESRCH))?;
        let listed = crate::fixture::list_all().map_err(words)?;
        let found = listed.iter().find(|info| info.context == context);
        let found = found.map(|info| (info.state, info.initpid));
        equal("listed", found, Some((STATE_ENDING, 0)))?;
        waitpid(init, None).map_err(words)?;
        until_empty(&fd)?;
        let all = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLPRI;
        equal("hung up", ready(&fd, PollTimeout::ZERO)?, all)?;
        let now = status(&fd).map_err(words)?;
        let told = [now.state, now.init, now.init_status, now.tasks];
        let expected_now = [STATE_ENDED, INIT_EXITED, expected as u32, 0];
        equal("and later", told, expected_now)?;
    }
    Ok(())
}

/// The control: where there is no process 1, nobody ends with the first one.
fn without() -> Outcome {
    let first = Sitter::idle(CONTEXT_NEW)?;
    let second = Sitter::idle(first.context)?;
    let fd = open_context(first.context).map_err(words)?;
    drop(first);
    let now = status(&fd).map_err(words)?;
    let expected = [STATE_ALIVE, INIT_NONE, 0, 1];
    let told = [now.state, now.init, now.init_status, now.tasks];
    equal("the others stay", told, expected)?;
    let nothing = ready(&fd, PollTimeout::ZERO)?;
    equal("nothing is told", nothing, PollFlags::empty())?;
    let entered = Sitter::idle(second.context).map(drop);
    equal("it can be entered", entered, Ok(()))?;
    drop(second);
    until_empty(&fd)?;
    let end = ready(&fd, PollTimeout::ZERO)?;
    equal("its end", end, PollFlags::POLLIN | PollFlags::POLLHUP)
}

/// A process of the context that waits for nothing.
pub fn stay() -> ! {
    loop {
        nix::unistd::pause();
    }
}

fn everybody() -> Outcome {
    let (reader, writer) = pipe().map_err(words)?;
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
