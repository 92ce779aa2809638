// SPDX-License-Identifier: GPL-2.0

//! A process that is process 1 of its context: its number, its children, its end.

mod end;
mod entering;
mod groups;
mod messages;
mod numbers;
mod orphans;
mod proc;
mod reboot;
mod signals;

use crate::{
    fixture::{child, enter, words, Outcome},
    syscalls, Test,
};
use nix::{
    sys::wait::{waitpid, WaitStatus},
    unistd::{getpid, Pid},
};
use vserver_uapi::*;

pub fn tests() -> impl Iterator<Item = &'static [Test]> {
    [
        numbers::TESTS,
        groups::TESTS,
        messages::TESTS,
        proc::TESTS,
        entering::TESTS,
        signals::TESTS,
        orphans::TESTS,
        end::TESTS,
        reboot::TESTS,
    ]
    .into_iter()
}

/// Runs something as process 1 of a new context; it is given the number that it has outside.
fn as_init(run: impl FnOnce(i32) -> Outcome) -> Outcome {
    child(|| {
        let real = getpid().as_raw();
        enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).map_err(words)?;
        run(real).map(|()| String::new())
    })
    .map(drop)
}

/// Runs something in a child of the caller, and hands on what was wrong.
fn in_child(run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| run().map(|()| String::new())).map(drop)
}

/// Forks a child that does something and exits with what that says.
fn spawn(run: impl FnOnce() -> i32) -> Result<Pid, String> {
    match syscalls::fork().map_err(words)? {
        0 => syscalls::exit_now(run()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// A child that stays until it is killed.
fn sleeper() -> Result<Pid, String> {
    spawn(|| loop {
        nix::unistd::pause();
    })
}

/// Waits for a child that is to exit with 0.
fn expect_success(pid: Pid) -> Outcome {
    match waitpid(pid, None).map_err(words)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        other => Err(format!("the child ended with {other:?}")),
    }
}

/// Kills a child and waits for it.
fn end(pid: Pid) -> Outcome {
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).map_err(words)?;
    waitpid(pid, None).map(drop).map_err(words)
}
