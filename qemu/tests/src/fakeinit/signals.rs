// SPDX-License-Identifier: GPL-2.0

//! Which signals reach process 1.

use super::{as_init, expect_success, in_child, spawn};
use crate::{
    fixture::{child, enter, equal, open_context, signal, words, Outcome, Sitter},
    syscalls::{self, syscall},
    test, Test,
};
use nix::{
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::Pid,
};
use std::sync::atomic::{AtomicU64, Ordering};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::signals_without_a_handler", 60, without_handler),
    test("fakeinit::signals_with_a_handler", 60, with_handler),
    test("fakeinit::signals_from_outside", 60, from_outside),
    test("fakeinit::signals_to_all", 60, to_all),
    test("fakeinit::a_crash", 60, crash),
];

fn send(pid: i32, number: i32) -> bool {
    syscall(libc::SYS_kill, [pid as usize, number as usize, 0, 0, 0, 0]).is_ok()
}

/// Nothing that comes from inside ends or stops it. Others it does.
fn without_handler() -> Outcome {
    as_init(|_| {
        in_child(|| {
            for number in 1..=64 {
                equal("sent", send(1, number), true)?;
            }
            Ok(())
        })?;
        // It would be stopped or dead by now; and a child is.
        let child = super::sleeper()?;
        equal("to a child", send(child.as_raw(), libc::SIGTERM), true)?;
        let ended = waitpid(child, None).map_err(words)?;
        equal(
            "a child",
            ended,
            WaitStatus::Signaled(child, Signal::SIGTERM, false),
        )?;
        equal("to itself", send(1, libc::SIGKILL), true)
    })
}

static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn catch(number: i32) {
    CAUGHT.fetch_or(1 << number, Ordering::SeqCst);
}

fn with_handler() -> Outcome {
    let caught = [
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPWR,
        Signal::SIGWINCH,
    ];
    as_init(|_| {
        let action = SigAction::new(
            SigHandler::Handler(catch),
            SaFlags::SA_RESTART,
            SigSet::empty(),
        );
        for signal in caught {
            syscalls::set_action(signal, &action).map_err(words)?;
        }
        let all: u64 = caught.iter().map(|signal| 1u64 << *signal as u64).sum();
        in_child(|| {
            for signal in caught {
                equal("sent", send(1, signal as i32), true)?;
            }
            Ok(())
        })?;
        equal("caught", CAUGHT.load(Ordering::SeqCst), all)
    })
}

/// A process 1 that sits, and its context.
fn init() -> Result<(Pid, i32), String> {
    let sitter = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || Ok(()))?;
    let found = (Pid::from_raw(sitter.pid), sitter.context);
    // It is to be ended by signals.
    std::mem::forget(sitter);
    Ok(found)
}

fn from_outside() -> Outcome {
    for number in [libc::SIGKILL, libc::SIGTERM, libc::SIGHUP, libc::SIGSEGV] {
        let (pid, context) = init()?;
        equal("sent", signal(context, SIGNAL_INIT, number), Ok(1))?;
        match waitpid(pid, None).map_err(words)? {
            WaitStatus::Signaled(_, by, _) => equal("ended by", by as i32, number)?,
            other => return Err(format!("{number}: {other:?}")),
        }
    }
    let (pid, context) = init()?;
    equal("stop", signal(context, SIGNAL_INIT, libc::SIGSTOP), Ok(1))?;
    equal(
        "stopped",
        waitpid(pid, Some(WaitPidFlag::WUNTRACED)),
        Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)),
    )?;
    equal("go on", signal(context, SIGNAL_INIT, libc::SIGCONT), Ok(1))?;
    let goes_on = waitpid(pid, Some(WaitPidFlag::WCONTINUED));
    equal("goes on", goes_on, Ok(WaitStatus::Continued(pid)))?;
    // What it ignores anyway does not make it mortal.
    equal(
        "ignored",
        signal(context, SIGNAL_INIT, libc::SIGCHLD),
        Ok(1),
    )?;
    let fd = open_context(context).map_err(words)?;
    equal(
        "alive",
        crate::fixture::status(&fd).map(|status| status.init),
        Ok(INIT_RUNNING),
    )?;
    equal(
        "by number",
        signal(context, pid.as_raw(), libc::SIGKILL),
        Ok(1),
    )?;
    waitpid(pid, None).map(drop).map_err(words)
}

/// Also those of contexts inside.
fn to_all() -> Outcome {
    child(|| {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 1;
            };
            for inner in [false, true] {
                let _ = spawn(|| {
                    if inner && enter(CONTEXT_NEW, 0, 0).is_err() {
                        return 1;
                    }
                    let _ = nix::unistd::write(&writer, b"x");
                    loop {
                        nix::unistd::pause();
                    }
                });
            }
            let _ = nix::unistd::write(&writer, &entered.context.to_ne_bytes());
            loop {
                nix::unistd::pause();
            }
        })?;
        let mut context = 0;
        let mut ready = 0;
        while ready < 2 || context == 0 {
            let mut room = [0; 4];
            match nix::unistd::read(&reader, &mut room[..1]).map_err(words)? {
                1 if room[0] == b'x' => ready += 1,
                _ => {
                    nix::unistd::read(&reader, &mut room[1..]).map_err(words)?;
                    context = i32::from_ne_bytes(room);
                }
            }
        }
        let fd = open_context(context).map_err(words)?;
        equal("asked", signal(context, SIGNAL_ALL, 0), Ok(3))?;
        equal("killed", signal(context, SIGNAL_ALL, libc::SIGKILL), Ok(3))?;
        waitpid(init, None).map_err(words)?;
        super::end::until_empty(&fd)?;
        Ok(String::new())
    })
    .map(drop)?;
    crate::fixture::until_empty()
}

fn crash() -> Outcome {
    child(|| {
        let init = spawn(|| {
            let _ = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0);
            syscalls::crash()
        })?;
        match waitpid(init, None).map_err(words)? {
            WaitStatus::Signaled(_, Signal::SIGSEGV, _) => Ok(String::new()),
            other => Err(format!("{other:?}")),
        }
    })
    .map(drop)?;
    as_init(|_| expect_success(spawn(|| 0)?))
}
