// SPDX-License-Identifier: GPL-2.0

//! Somebody enters who shares memory, descriptors or directories with a process that stays outside: what
//! one of them does to them, he does to the other.

use super::*;
use crate::{
    syscalls::{self, exit_now},
    test,
};
use nix::{
    sys::wait::{waitpid, WaitStatus},
    unistd::{getcwd, Pid},
};
use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

pub const TESTS: &[Test] = &[
    test("escape::shared_memory_map", 60, memory),
    test("escape::shared_directories", 60, directories),
    test("escape::shared_descriptors", 60, descriptors),
];

/// How a child ends that shares something.
fn end_of(flags: i32, run: fn() -> i32) -> Result<i32, String> {
    let pid = syscalls::clone(flags, run).map_err(words)?;
    match waitpid(Pid::from_raw(pid), None).map_err(words)? {
        WaitStatus::Exited(_, code) => Ok(code),
        other => Err(format!("{other:?}")),
    }
}

/// Enters in each way; the number of what went otherwise than with `EBUSY`.
fn enters() -> i32 {
    let refused = |got: Result<(), Errno>| i32::from(got != Err(Errno::EBUSY));
    let entered = |context| refused(enter(context, 0, 0).map(drop));
    let wrong = entered(CONTEXT_NEW)
        + entered(NUMBER)
        + entered(CONTEXT_STAY)
        + refused(confine(&[inet::A]).map(drop));
    exit_now(wrong)
}

fn refused_with(flags: i32) -> Outcome {
    inet::addresses()?;
    // What is not shared is no reason.
    equal("alone", end_of(0, enters)?, 4)?;
    equal("sharing", end_of(flags, enters)?, 0)
}

static SEEN: AtomicBool = AtomicBool::new(false);

fn memory() -> Outcome {
    child(|| {
        let write = || {
            SEEN.store(true, Ordering::SeqCst);
            exit_now(0)
        };
        end_of(0, write)?;
        equal("a copy", SEEN.load(Ordering::SeqCst), false)?;
        end_of(libc::CLONE_VM, write)?;
        equal("the same memory", SEEN.load(Ordering::SeqCst), true)?;
        refused_with(libc::CLONE_VM)?;
        refused_with(libc::CLONE_VM | libc::CLONE_VFORK)?;
        refused_with(libc::CLONE_VM | libc::CLONE_SIGHAND)?;
        Ok(String::new())
    })
    .map(drop)
}

fn directories() -> Outcome {
    child(|| {
        chdir("/").map_err(words)?;
        let change = || exit_now(i32::from(chdir("/tmp").is_err()));
        end_of(0, change)?;
        equal("a copy", getcwd().map_err(words)?.as_path(), Path::new("/"))?;
        end_of(libc::CLONE_FS, change)?;
        let moved = getcwd().map_err(words)?;
        equal("moved from there", moved.as_path(), Path::new("/tmp"))?;
        refused_with(libc::CLONE_FS)?;
        Ok(String::new())
    })
    .map(drop)
}

fn descriptors() -> Outcome {
    child(|| {
        let close = || {
            let closed = nix::unistd::close(0);
            exit_now(i32::from(closed.is_err()))
        };
        end_of(0, close)?;
        fs::metadata("/proc/self/fd/0").map_err(words)?;
        end_of(libc::CLONE_FILES, close)?;
        let closed = fs::symlink_metadata("/proc/self/fd/0").is_err();
        equal("closed from there", closed, true)?;
        refused_with(libc::CLONE_FILES)?;
        Ok(String::new())
    })
    .map(drop)
}
