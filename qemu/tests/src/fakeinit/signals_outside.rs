// SPDX-License-Identifier: GPL-2.0

//! Signals into a context from outside, by `IOC_SIGNAL`.

use super::{named, sleeper, spawn, tell, told};
use crate::{
    fixture::{
        child, enter, equal, open_context, signal, status, until_empty, words, Outcome, Sitter,
    },
    syscalls, test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{pipe, Pid},
};
use std::os::fd::OwnedFd;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::signals_from_outside", 60, from_outside),
    test("fakeinit::signals_that_are_handled", 60, handled),
    test(
        "fakeinit::signals_that_a_thread_blocks",
        60,
        blocked_by_a_thread,
    ),
    test("fakeinit::signals_that_stop", 60, stop),
    test("fakeinit::signals_to_all", 60, to_all),
    test("fakeinit::signals_to_one", 60, to_one),
    test("fakeinit::signals_of_nobody", 60, of_nobody),
];

/// A process 1 that sits without the handlers that the language's runtime sets, and its context.
fn init() -> Result<(Pid, i32), String> {
    let sitter = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        for number in 1..=64 {
            let _ = syscalls::set_handler(number, libc::SIG_DFL);
        }
        Ok(())
    })?;
    let found = (Pid::from_raw(sitter.pid), sitter.context);
    // It is to be ended by signals.
    std::mem::forget(sitter);
    Ok(found)
}

fn ended_by(pid: Pid, number: i32) -> Outcome {
    match waitpid(pid, None).map_err(words)? {
        WaitStatus::Signaled(_, by, _) => equal("ended by", by as i32, number),
        other => Err(format!("{number}: {other:?}")),
    }
}

/// What it has no handler for ends it, as it ends anybody.
fn from_outside() -> Outcome {
    for number in [
        libc::SIGKILL,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGPWR,
        libc::SIGSEGV,
        libc::SIGABRT,
    ] {
        let (pid, context) = init()?;
        let sent = signal(context, SIGNAL_INIT, number);
        equal("sent", sent, Ok(1))?;
        ended_by(pid, number)?;
    }
    // What does nothing does nothing.
    for number in [libc::SIGCHLD, libc::SIGWINCH, libc::SIGURG, libc::SIGCONT] {
        let (pid, context) = init()?;
        let fd = open_context(context).map_err(words)?;
        equal("sent", signal(context, SIGNAL_INIT, number), Ok(1))?;
        let state = status(&fd).map(|status| status.init);
        equal("alive", state, Ok(INIT_RUNNING))?;
        // Nor is it mortal from inside now.
        super::in_child(|| {
            named("enter", enter(context, 0, 0))?;
            named("kill", syscalls::kill_number(1))?;
            named("SIGKILL", call(libc::SYS_kill, &[1, 9]))?;
            named("SIGTERM", call(libc::SYS_kill, &[1, 15])).map(drop)
        })?;
        let state = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        equal("alive", state, Ok(WaitStatus::StillAlive))?;
        equal("sent", signal(context, SIGNAL_INIT, libc::SIGKILL), Ok(1))?;
        ended_by(pid, libc::SIGKILL)?;
    }
    until_empty()
}

/// What it has a handler for, waits for, or ignores.
fn handled() -> Outcome {
    let (reader, writer) = pipe().map_err(words)?;
    let init = spawn(|| {
        let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
            return 99;
        };
        let _ = syscalls::set_handler(libc::SIGHUP, libc::SIG_IGN);
        let mut set = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGPWR] {
            set.add(signal);
        }
        let _ = set.thread_block();
        let _ = tell(&writer, entered.context);
        loop {
            let got = set.wait().map_or(0, |signal| signal as i32);
            let _ = tell(&writer, got);
        }
    })?;
    let context = told(&reader)?;
    for number in [libc::SIGTERM, libc::SIGPWR, libc::SIGUSR1, libc::SIGTERM] {
        let ignored = signal(context, SIGNAL_INIT, libc::SIGHUP);
        equal("one that is ignored", ignored, Ok(1))?;
        equal("sent", signal(context, SIGNAL_INIT, number), Ok(1))?;
        equal("received", told(&reader)?, number)?;
    }
    equal("sent", signal(context, SIGNAL_INIT, libc::SIGINT), Ok(1))?;
    ended_by(init, libc::SIGINT)
}

fn stop() -> Outcome {
    let (pid, context) = init()?;
    let stopped = Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP));
    let went_on = Ok(WaitStatus::Continued(pid));
    for to in [SIGNAL_INIT, SIGNAL_ALL, pid.as_raw()] {
        equal("stop", signal(context, to, libc::SIGSTOP), Ok(1))?;
        let state = waitpid(pid, Some(WaitPidFlag::WUNTRACED));
        equal("stopped", state, stopped)?;
        equal("go on", signal(context, to, libc::SIGCONT), Ok(1))?;
        let state = waitpid(pid, Some(WaitPidFlag::WCONTINUED));
        equal("goes on", state, went_on)?;
    }
    // One that is stopped is killed all the same.
    equal("stop", signal(context, SIGNAL_INIT, libc::SIGSTOP), Ok(1))?;
    let state = waitpid(pid, Some(WaitPidFlag::WUNTRACED));
    equal("stopped", state, stopped)?;
    equal("kill", signal(context, SIGNAL_INIT, libc::SIGKILL), Ok(1))?;
    ended_by(pid, libc::SIGKILL)?;
    until_empty()
}

/// A process 1 with a child, and two further inside, one of them a process 1 there. Its context's number.
fn family(writer: &OwnedFd) -> Result<Pid, String> {
    spawn(|| {
        let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
            return 1;
        };
        let (wait, ready) = match pipe() {
            Ok(both) => both,
            Err(_) => return 1,
        };
        for inner in [None, Some(0), Some(FLAG_FAKEINIT)] {
            let _ = spawn(|| {
                if inner.is_some_and(|flags| enter(CONTEXT_NEW, flags, 0).is_err()) {
                    return 1;
                }
                let _ = nix::unistd::write(&ready, b"x");
                loop {
                    nix::unistd::pause();
                }
            });
        }
        for _ in 0..3 {
            let _ = nix::unistd::read(&wait, &mut [0]);
        }
        let _ = tell(writer, entered.context);
        loop {
            nix::unistd::pause();
        }
    })
}

/// Also those of contexts inside.
fn to_all() -> Outcome {
    child(|| {
        let (reader, writer) = pipe().map_err(words)?;
        let init = family(&writer)?;
        let context = told(&reader)?;
        let fd = open_context(context).map_err(words)?;
        let all = |number: i32| signal(context, SIGNAL_ALL, number);
        equal("asked", all(0), Ok(4))?;
        let tasks = status(&fd).map(|status| status.tasks);
        equal("the tasks", tasks, Ok(4))?;
        // It ends all but processes 1: for them it is one of many.
        equal("SIGTERM", all(libc::SIGTERM), Ok(4))?;
        let state = waitpid(init, Some(WaitPidFlag::WNOHANG));
        equal("process 1", state, Ok(WaitStatus::StillAlive))?;
        equal(
            "killed",
            all(libc::SIGKILL).map(|count| count > 0),
            Ok(true),
        )?;
        ended_by(init, libc::SIGKILL)?;
        super::end::until_empty(&fd)?;
        equal("nobody is left", all(0), Err(Errno::ESRCH))?;
        // At once.
        let init = family(&writer)?;
        let context = told(&reader)?;
        let fd = open_context(context).map_err(words)?;
        let killed = signal(context, SIGNAL_ALL, libc::SIGKILL);
        equal("killed", killed, Ok(4))?;
        ended_by(init, libc::SIGKILL)?;
        super::end::until_empty(&fd)?;
        // The control: in a context without one SIGTERM ends all.
        let sitter = Sitter::idle(300)?;
        equal("sent", signal(300, SIGNAL_ALL, libc::SIGTERM), Ok(1))?;
        ended_by(Pid::from_raw(sitter.pid), libc::SIGTERM)?;
        std::mem::forget(sitter);
        Ok(String::new())
    })
    .map(drop)?;
    until_empty()
}

/// One by its number; none of another context's.
fn to_one() -> Outcome {
    let (reader, writer) = pipe().map_err(words)?;
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        let pid = sleeper()?;
        tell(&writer, pid.as_raw())?;
        Ok(())
    })?;
    let other = Sitter::idle(300)?;
    let sleeper = told(&reader)?;
    let to = |pid: i32, number: i32| signal(init.context, pid, number);
    let nobody = Err(Errno::ESRCH);
    equal("the number that it has inside", to(1, 0), nobody)?;
    equal("another context's", to(other.pid, libc::SIGKILL), nobody)?;
    let host = nix::unistd::getpid().as_raw();
    equal("the host's", to(host, libc::SIGKILL), nobody)?;
    let swapped = signal(other.context, sleeper, libc::SIGKILL);
    equal("in another context", swapped, nobody)?;
    equal("itself", to(sleeper, libc::SIGKILL), Ok(1))?;
    let alive = |sitter: &Sitter| {
        let state = waitpid(Pid::from_raw(sitter.pid), Some(WaitPidFlag::WNOHANG));
        equal("alive", state, Ok(WaitStatus::StillAlive))
    };
    alive(&init)?;
    alive(&other)
}

/// A signal that one thread blocks and another does not ends it, as it ends anybody.
fn blocked_by_a_thread() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        for first_blocks in [true, false] {
            let (reader, writer) = pipe().map_err(words)?;
            let init = spawn(|| {
                let Ok(entered) = enter(CONTEXT_NEW, flags, 0) else {
                    return 1;
                };
                let mut set = SigSet::empty();
                set.add(Signal::SIGTERM);
                let (send, receive) = std::sync::mpsc::channel();
                std::thread::spawn(move || {
                    let blocked = first_blocks || set.thread_block().is_ok();
                    let _ = send.send(blocked);
                    loop {
                        nix::unistd::pause();
                    }
                });
                let _ = receive.recv();
                if first_blocks {
                    let _ = set.thread_block();
                }
                let _ = tell(&writer, entered.context);
                loop {
                    nix::unistd::pause();
                }
            })?;
            let context = told(&reader)?;
            let to = if flags == 0 { SIGNAL_ALL } else { SIGNAL_INIT };
            equal("sent", signal(context, to, libc::SIGTERM), Ok(1))?;
            ended_by(init, libc::SIGTERM)?;
        }
    }
    Ok(())
}

/// Who receives one cannot tell who has sent it.
fn of_nobody() -> Outcome {
    const SI_KERNEL: i32 = 128;
    for flags in [FLAG_FAKEINIT, 0] {
        let (reader, writer) = pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, flags, 0) else {
                return 1;
            };
            let mut set = SigSet::empty();
            set.add(Signal::SIGUSR1);
            let _ = set.thread_block();
            let _ = tell(&writer, entered.context);
            let set = 1u64 << (libc::SIGUSR1 - 1);
            let mut info = [0i32; 32];
            let arguments = [(&raw const set) as usize, info.as_mut_ptr() as usize, 0, 8];
            let _ = call(libc::SYS_rt_sigtimedwait, &arguments);
            for at in [0, 2, 4, 5] {
                let _ = tell(&writer, info[at]);
            }
            0
        })?;
        let context = told(&reader)?;
        let pid = if flags == 0 { SIGNAL_ALL } else { SIGNAL_INIT };
        equal("sent", signal(context, pid, libc::SIGUSR1), Ok(1))?;
        // Signal, code, process, user.
        let info = [
            told(&reader)?,
            told(&reader)?,
            told(&reader)?,
            told(&reader)?,
        ];
        equal("the signal", info, [libc::SIGUSR1, SI_KERNEL, 0, 0])?;
        super::expect_success(init)?;
    }
    Ok(())
}
