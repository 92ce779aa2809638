// SPDX-License-Identifier: GPL-2.0

//! Limits that count a whole context.

use crate::{
    fixture::{enter, equal, get, inside, words, Outcome, Sitter},
    syscalls, test, Test,
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::resource::{setrlimit, Resource},
};
use std::time::{Duration, Instant};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("limits::nproc_counts_the_context", 20, nproc),
    test("limits::ulimit_is_the_contexts", 20, ulimit),
    test("limits::a_nested_context_is_no_way_out", 20, nested),
    test("limits::joining_a_full_context", 20, joining),
    test("limits::threads_and_zombies_count", 20, threads_and_zombies),
    test("limits::fork_and_wait_without_a_pause", 60, fork_and_wait),
    test("limits::a_fork_bomb", 120, bomb),
];

/// Forks sitters until it fails; how many there were, and the errno.
fn fill() -> (usize, Option<Errno>) {
    let mut children = Vec::new();
    let mut error = None;
    while children.len() < 50 {
        match syscalls::fork() {
            Ok(0) => {
                std::thread::sleep(Duration::from_secs(30));
                syscalls::exit_now(0)
            }
            Ok(pid) => children.push(nix::unistd::Pid::from_raw(pid)),
            Err(found) => {
                error = Some(found);
                break;
            }
        }
    }
    for pid in &children {
        let _ = nix::sys::signal::kill(*pid, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::wait::waitpid(*pid, None);
    }
    (children.len(), error)
}

fn limit(tasks: u64) -> Outcome {
    setrlimit(Resource::RLIMIT_NPROC, tasks, 1000).map_err(words)
}

fn nproc() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_NPROC, 0).map_err(words)?;
        limit(10)?;
        // Root too: the limit is the context's. This process is one of the ten.
        equal("forks", fill(), (9, Some(Errno::EAGAIN)))?;
        equal(
            "none is left counted",
            get(0).map(|info| info.tasks <= 10),
            Ok(true),
        )
    })
}

fn ulimit() -> Outcome {
    inside(CONTEXT_ROOT, || {
        limit(5)?;
        enter(CONTEXT_NEW, FLAG_NPROC | FLAG_ULIMIT, 0).map_err(words)?;
        equal("recorded", get(0).map(|info| info.nproc_limit), Ok(5))?;
        // Root may raise its own limit; the context's stays.
        limit(500)?;
        equal("forks", fill(), (4, Some(Errno::EAGAIN)))
    })
}

fn nested() -> Outcome {
    inside(CONTEXT_ROOT, || {
        limit(6)?;
        enter(CONTEXT_NEW, FLAG_NPROC | FLAG_ULIMIT, 0).map_err(words)?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        limit(500)?;
        equal("forks in the inner one", fill(), (5, Some(Errno::EAGAIN)))
    })
}

fn joining() -> Outcome {
    let _full = Sitter::new(300, 0, || {
        limit(1)?;
        enter(CONTEXT_STAY, FLAG_NPROC | FLAG_ULIMIT, 0)
            .map(drop)
            .map_err(words)
    })?;
    inside(CONTEXT_ROOT, || {
        equal("join", enter(300, 0, 0).err(), Some(Errno::EAGAIN))
    })
}

fn threads_and_zombies() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_NPROC, 0).map_err(words)?;
        limit(2)?;
        let pid = match syscalls::fork().map_err(words)? {
            0 => syscalls::exit_now(0),
            pid => nix::unistd::Pid::from_raw(pid),
        };
        use nix::sys::wait::{waitid, waitpid, Id, WaitPidFlag};
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        waitid(Id::Pid(pid), flags).map_err(words)?;
        equal("with a zombie", syscalls::fork(), Err(Errno::EAGAIN))?;
        waitpid(pid, None).map_err(words)?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let thread = std::thread::Builder::new()
            .spawn(move || nix::unistd::read(&reader, &mut [0]))
            .map_err(words)?;
        equal("with a thread", syscalls::fork(), Err(Errno::EAGAIN))?;
        drop(writer);
        let _ = thread.join();
        Ok(())
    })
}

/// A task that was waited for does not count any more: not a moment longer.
fn fork_and_wait() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_NPROC, 0).map_err(words)?;
        limit(2)?;
        for round in 0..500 {
            let pid = match syscalls::fork().map_err(|error| format!("round {round}: {error}"))? {
                0 => syscalls::exit_now(0),
                pid => nix::unistd::Pid::from_raw(pid),
            };
            nix::sys::wait::waitpid(pid, None).map_err(words)?;
        }
        equal("tasks", get(0).map(|info| info.tasks), Ok(1))
    })
}

/// Processes that do nothing but fork, on all CPUs: never one more than the limit, and all end.
fn bomb() -> Outcome {
    const AT_LEAST: Duration = Duration::from_secs(5);
    const AT_MOST: Duration = Duration::from_secs(60);
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_NPROC, 0).map_err(words)?;
        limit(30)?;
        let start = Instant::now();
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_NONBLOCK).map_err(words)?;
        if syscalls::fork().map_err(words)? == 0 {
            drop(writer);
            // Every one goes on as its parent does, until the first one ends it.
            while start.elapsed() < AT_MOST
                && nix::unistd::read(&reader, &mut [0]) == Err(Errno::EAGAIN)
            {
                let _ = syscalls::fork();
            }
            syscalls::exit_now(0)
        }
        let mut most = 0;
        // On a busy machine it takes a while until there are as many as there may be.
        while start.elapsed() < AT_LEAST || most < 30 && start.elapsed() < AT_MOST {
            let tasks = get(0).map_err(words)?.tasks;
            most = most.max(tasks);
            if tasks > 30 {
                return Err(format!("{tasks} tasks"));
            }
        }
        drop(writer);
        eprintln!("at most {most} tasks");
        crate::fixture::ensure("it has not forked", most >= 30)
    })?;
    crate::fixture::until_empty()
}
