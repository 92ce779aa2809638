// SPDX-License-Identifier: GPL-2.0

//! Who adopts the children of those that end.

use super::{as_init, end, expect_success, in_child, sleeper, spawn};
use crate::{
    fixture::{child, device, enter, equal, open_context, status, words, Outcome, Sitter},
    syscalls::{ioctl, syscall},
    test, Test,
};
use nix::{
    sys::{
        prctl::set_child_subreaper,
        signal::{SigHandler, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{getppid, read, setsid, write, Pid},
};
use std::{os::fd::OwnedFd, thread::sleep, time::Duration};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::orphans_of_children", 60, of_children),
    test("fakeinit::orphans_of_daemons", 60, of_daemons),
    test("fakeinit::orphans_of_a_subreaper", 60, of_a_subreaper),
    test("fakeinit::orphans_are_always_its", 60, always),
    test("fakeinit::orphans_from_before", 60, from_before),
    test("fakeinit::orphans_and_zombies", 60, zombies),
    test("fakeinit::orphans_of_who_entered", 60, of_who_entered),
];

/// A grandchild whose parent ends; it tells its parent's number once that has changed, then ends. `leave`: what
/// it does first.
fn orphan(writer: &OwnedFd, leave: fn() -> bool) -> Result<Pid, String> {
    spawn(|| {
        let parent = nix::unistd::getpid();
        let grandchild = spawn(|| {
            let left = leave();
            while getppid() == parent {
                sleep(Duration::from_millis(1));
            }
            let told = getppid().as_raw().to_ne_bytes();
            i32::from(!left || write(writer, &told) != Ok(4))
        });
        i32::from(grandchild.is_err())
    })
}

fn told(reader: &OwnedFd) -> Result<i32, String> {
    let mut number = [0; 4];
    read(reader, &mut number).map_err(words)?;
    Ok(i32::from_ne_bytes(number))
}

/// The children of the caller that end, until there is none.
fn reap() -> Result<usize, String> {
    let mut count = 0;
    while let Ok(ended) = waitpid(Pid::from_raw(-1), None) {
        match ended {
            WaitStatus::Exited(_, 0) => count += 1,
            other => return Err(format!("{other:?}")),
        }
    }
    Ok(count)
}

fn of_children() -> Outcome {
    as_init(|_| {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        orphan(&writer, || true)?;
        equal("its parent", told(&reader)?, 1)?;
        equal("both are reaped", reap()?, 2)
    })
}

fn of_daemons() -> Outcome {
    as_init(|_| {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        orphan(&writer, || setsid().is_ok())?;
        equal("its parent", told(&reader)?, 1)?;
        // From further down, too.
        let child = spawn(|| {
            let started = orphan(&writer, || true).and_then(expect_success);
            i32::from(started.is_err())
        })?;
        expect_success(child)?;
        equal("its parent", told(&reader)?, 1)?;
        reap().map(drop)
    })
}

fn of_a_subreaper() -> Outcome {
    as_init(|_| {
        in_child(|| {
            let (reader, writer) = nix::unistd::pipe().map_err(words)?;
            set_child_subreaper(true).map_err(words)?;
            orphan(&writer, || true)?;
            equal("its parent", told(&reader)?, nix::unistd::getpid().as_raw())?;
            equal("both are reaped", reap()?, 2)
        })
    })
}

/// Process 1 cannot say that it wants no orphans.
fn always() -> Outcome {
    as_init(|_| {
        set_child_subreaper(false).map_err(words)?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        orphan(&writer, || true)?;
        equal("its parent", told(&reader)?, 1)?;
        reap().map(drop)
    })
}

/// Those of children that it had before it was process 1.
fn from_before() -> Outcome {
    child(|| {
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let (wait, go) = nix::unistd::pipe().map_err(words)?;
        let child = spawn(|| {
            let _ = read(&wait, &mut [0]);
            i32::from(orphan(&writer, || true).and_then(expect_success).is_err())
        })?;
        enter(CONTEXT_STAY, FLAG_FAKEINIT, 0).map_err(words)?;
        write(&go, b"x").map_err(words)?;
        expect_success(child)?;
        equal("its parent", told(&reader)?, 1)?;
        reap()?;
        Ok(String::new())
    })
    .map(drop)
}

/// One that ignores its children's end leaves none behind.
fn zombies() -> Outcome {
    let (reader, writer) = nix::unistd::pipe().map_err(words)?;
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        let action = nix::sys::signal::SigAction::new(
            SigHandler::SigIgn,
            nix::sys::signal::SaFlags::empty(),
            nix::sys::signal::SigSet::empty(),
        );
        crate::syscalls::set_action(Signal::SIGCHLD, &action).map_err(words)?;
        for _ in 0..20 {
            orphan(&writer, || true)?;
        }
        Ok(())
    })?;
    for _ in 0..20 {
        equal("its parent", told(&reader)?, 1)?;
    }
    let fd = open_context(init.context).map_err(words)?;
    // The last of them is on its way out.
    while status(&fd).map_err(words)?.tasks > 1 {
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn has_feature(feature: u64) -> Result<bool, String> {
    let mut info = Info::default();
    ioctl(&device()?, IOC_INFO, &mut info).map_err(words)?;
    Ok(info.features & feature != 0)
}

fn of_who_entered() -> Outcome {
    if !has_feature(FEATURE_ORPHANS)? {
        println!("orphans of processes that entered go to who adopts them outside");
        std::process::exit(77);
    }
    let (reader, writer) = nix::unistd::pipe().map_err(words)?;
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        // It is told of the end of who is not its child by birth.
        spawn(|| 0).and_then(expect_success)
    })?;
    let context = init.context;
    // Also when there is a subreaper outside.
    for subreaper in [false, true] {
        child(|| {
            set_child_subreaper(subreaper).map_err(words)?;
            let entered = spawn(|| {
                let entered = enter(context, 0, 0).map(drop).map_err(words);
                let started = entered.and_then(|()| orphan(&writer, || true));
                i32::from(started.and_then(expect_success).is_err())
            })?;
            expect_success(entered)?;
            Ok(String::new())
        })?;
        equal("its parent", told(&reader)?, 1)?;
    }
    // A control: it has children of its own only when it is to.
    as_init(|_| sleeper().and_then(end))?;
    syscall(libc::SYS_getpid, [0; 6]).map(drop).map_err(words)
}
