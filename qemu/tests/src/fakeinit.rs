// SPDX-License-Identifier: GPL-2.0

//! A process that is process 1 of its context: its number, its children, its end.

mod end;
mod entering;
mod groups;
mod handles;
mod holders;
mod hooks;
mod listing;
mod messages;
mod names;
mod namespaces;
mod nested;
mod numbers;
mod orphans;
mod proc;
mod races;
mod reboot;
mod signals;
mod signals_outside;
mod tracing;

use crate::{
    fixture::{arrive, child, words, Outcome},
    syscalls, Test,
};
use nix::{
    errno::Errno,
    sys::wait::{waitpid, WaitStatus},
    unistd::{getpid, Pid},
};
use std::os::fd::OwnedFd;
use vserver_uapi::*;

pub fn tests() -> impl Iterator<Item = &'static [Test]> {
    [
        numbers::TESTS,
        handles::TESTS,
        groups::TESTS,
        messages::TESTS,
        holders::TESTS,
        hooks::TESTS,
        proc::TESTS,
        listing::TESTS,
        names::TESTS,
        nested::TESTS,
        namespaces::TESTS,
        tracing::TESTS,
        entering::TESTS,
        signals::TESTS,
        signals_outside::TESTS,
        orphans::TESTS,
        end::TESTS,
        races::TESTS,
        reboot::TESTS,
    ]
    .into_iter()
}

/// Runs something as process 1 of a new context; it is given the number that it has outside.
fn as_init(run: impl FnOnce(i32) -> Outcome) -> Outcome {
    child(|| {
        let real = getpid().as_raw();
        arrive(CONTEXT_NEW, FLAG_FAKEINIT, 0).map_err(words)?;
        run(real).map(|()| String::new())
    })
    .map(drop)
}

/// Who runs a test: process 1 of a context, or the control, a process of a context that has none.
#[derive(Clone, Copy)]
struct Who {
    /// Its number outside.
    real: i32,
    /// Its number inside: 1, or the real one.
    number: i32,
}

impl Who {
    fn is_init(self) -> bool {
        self.number == 1
    }

    fn pid(self) -> Pid {
        Pid::from_raw(self.number)
    }
}

/// Runs something as process 1 of a new context, and the same in a context without one.
fn as_both(run: impl Fn(Who) -> Outcome) -> Outcome {
    as_init(|real| run(Who { real, number: 1 })).map_err(|text| format!("as process 1: {text}"))?;
    as_anybody(|real| {
        let number = real;
        run(Who { real, number })
    })
    .map_err(|text| format!("the control: {text}"))
}

/// Runs something in a new context without a process 1.
fn as_anybody(run: impl FnOnce(i32) -> Outcome) -> Outcome {
    child(|| {
        let real = getpid().as_raw();
        arrive(CONTEXT_NEW, 0, 0).map_err(words)?;
        run(real).map(|()| String::new())
    })
    .map(drop)
}

/// Runs something as who sees every process by its real number.
fn as_spectator(run: impl FnOnce() -> Outcome) -> Outcome {
    crate::fixture::inside(CONTEXT_SPECTATOR, run)
}

/// One number, through a pipe.
fn tell(writer: &OwnedFd, number: i32) -> Outcome {
    let written = nix::unistd::write(writer, &number.to_ne_bytes());
    crate::fixture::equal("a word", written, Ok(4))
}

fn told(reader: &OwnedFd) -> Result<i32, String> {
    let mut number = [0; 4];
    match nix::unistd::read(reader, &mut number).map_err(words)? {
        4 => Ok(i32::from_ne_bytes(number)),
        _ => Err("nobody tells".to_string()),
    }
}

/// Skips a test of calls as programs of 32 bits make them, where the kernel has no entry for them.
fn need_32_bits() -> Outcome {
    let symbols = std::fs::read_to_string("/proc/kallsyms").map_err(words)?;
    if !symbols.contains(" __ia32_sys_reboot\n") {
        println!("this lane's kernel has no programs of 32 bits");
        std::process::exit(77);
    }
    Ok(())
}

/// Names what has failed.
fn named<T>(what: &str, result: Result<T, Errno>) -> Result<T, String> {
    result.map_err(|errno| format!("{what}: {errno}"))
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
