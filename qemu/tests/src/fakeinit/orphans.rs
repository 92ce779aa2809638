// SPDX-License-Identifier: GPL-2.0

//! Who adopts the children of those that end.

use super::{as_both, as_init, expect_success, in_child, spawn, tell, told};
use crate::{
    fixture::{device, enter, equal, open_context, status, words, Outcome, Sitter},
    syscalls::{ioctl, set_handler},
    test, Test,
};
use nix::{
    sys::{
        prctl::set_child_subreaper,
        wait::{waitpid, WaitStatus},
    },
    unistd::{getppid, pipe, read, setsid, write, Pid},
};
use std::{os::fd::OwnedFd, thread::sleep, time::Duration};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::orphans_of_children", 60, of_children),
    test("fakeinit::orphans_of_daemons", 60, of_daemons),
    test("fakeinit::orphans_of_threads", 60, of_threads),
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
    as_both(|who| {
        let (reader, writer) = pipe().map_err(words)?;
        orphan(&writer, || true)?;
        let adopted = told(&reader)? == who.number;
        equal("it adopts it", adopted, who.is_init())?;
        // In the control somebody outside of the context gets the other one.
        equal("reaped", reap()?, if who.is_init() { 2 } else { 1 })
    })
}

fn of_daemons() -> Outcome {
    as_init(|_| {
        let (reader, writer) = pipe().map_err(words)?;
        orphan(&writer, || setsid().is_ok())?;
        equal("its parent", told(&reader)?, 1)?;
        // From further down, too.
        let child = spawn(|| {
            let started = orphan(&writer, || true).and_then(expect_success);
            i32::from(started.is_err())
        })?;
        expect_success(child)?;
        equal("its parent", told(&reader)?, 1)?;
        // As daemon(3) does, twice: the session's leader ends, too.
        let child = spawn(|| {
            let started = setsid().map_err(words).and_then(|_| {
                let middle = orphan(&writer, || true)?;
                expect_success(middle)
            });
            i32::from(started.is_err())
        })?;
        expect_success(child)?;
        equal("its parent", told(&reader)?, 1)?;
        equal("reaped", reap()?, 4)
    })
}

/// Those of a thread's children, when process 1 has several threads; any of them may wait.
fn of_threads() -> Outcome {
    as_init(|_| {
        let (reader, writer) = pipe().map_err(words)?;
        let thread = std::thread::spawn(move || {
            orphan(&writer, || true)?;
            orphan(&writer, || true).map(drop)
        });
        thread.join().map_err(|_| "the thread died")??;
        for _ in 0..2 {
            equal("its parent", told(&reader)?, 1)?;
        }
        let waiter = std::thread::spawn(reap);
        let reaped = waiter.join().map_err(|_| "the thread died")??;
        equal("reaped by another thread", reaped, 4)
    })
}

fn of_a_subreaper() -> Outcome {
    as_init(|_| {
        in_child(|| {
            let (reader, writer) = pipe().map_err(words)?;
            set_child_subreaper(true).map_err(words)?;
            orphan(&writer, || true)?;
            equal("its parent", told(&reader)?, nix::unistd::getpid().as_raw())?;
            equal("both are reaped", reap()?, 2)?;
            // And no more once it does not want them.
            set_child_subreaper(false).map_err(words)?;
            orphan(&writer, || true)?;
            equal("its parent", told(&reader)?, 1)?;
            equal("one is reaped", reap()?, 1)
        })?;
        equal("the other", reap()?, 1)
    })
}

/// Process 1 cannot say that it wants no orphans.
fn always() -> Outcome {
    as_init(|_| {
        set_child_subreaper(false).map_err(words)?;
        let (reader, writer) = pipe().map_err(words)?;
        orphan(&writer, || true)?;
        equal("its parent", told(&reader)?, 1)?;
        set_child_subreaper(true).map_err(words)?;
        orphan(&writer, || true)?;
        equal("its parent", told(&reader)?, 1)?;
        equal("reaped", reap()?, 4)
    })
}

/// Those of children that it had before it was process 1.
fn from_before() -> Outcome {
    in_child(|| {
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        let (reader, writer) = pipe().map_err(words)?;
        let (wait, go) = pipe().map_err(words)?;
        let child = spawn(|| {
            let _ = read(&wait, &mut [0]);
            i32::from(orphan(&writer, || true).and_then(expect_success).is_err())
        })?;
        enter(CONTEXT_STAY, FLAG_FAKEINIT, 0).map_err(words)?;
        write(&go, b"x").map_err(words)?;
        expect_success(child)?;
        equal("its parent", told(&reader)?, 1)?;
        equal("reaped", reap()?, 1)
    })
}

/// One that ignores its children's end leaves none behind; one that does not keeps all of them.
fn zombies() -> Outcome {
    const ORPHANS: u32 = 20;
    for ignores in [true, false] {
        let (reader, writer) = pipe().map_err(words)?;
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
            if ignores {
                let set = set_handler(libc::SIGCHLD, libc::SIG_IGN);
                set.map_err(words)?;
            }
            for _ in 0..ORPHANS {
                orphan(&writer, || true)?;
            }
            Ok(())
        })?;
        for _ in 0..ORPHANS {
            equal("its parent", told(&reader)?, 1)?;
        }
        let fd = open_context(init.context).map_err(words)?;
        // The last of them is on its way out.
        let tasks = || status(&fd).map(|status| status.tasks).map_err(words);
        while ignores && tasks()? > 1 {
            sleep(Duration::from_millis(1));
        }
        if !ignores {
            equal("none has gone", tasks()?, 1 + 2 * ORPHANS)?;
        }
        drop(init);
        super::end::until_empty(&fd)?;
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
    let (reader, writer) = pipe().map_err(words)?;
    let (wait, go) = pipe().map_err(words)?;
    // Process 1 is told of the end of who is not its child by birth: it reaps one for each word.
    let (counts, count) = pipe().map_err(words)?;
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        std::thread::spawn(move || {
            while read(&wait, &mut [0]) == Ok(1) {
                let reaped = reap().unwrap_or(0);
                let _ = tell(&count, reaped as i32);
            }
        });
        Ok(())
    })?;
    let context = init.context;
    // Also when there is a subreaper outside.
    for subreaper in [false, true] {
        in_child(|| {
            set_child_subreaper(subreaper).map_err(words)?;
            let entered = spawn(|| {
                let entered = enter(context, 0, 0).map(drop).map_err(words);
                let started = entered.and_then(|()| orphan(&writer, || true));
                i32::from(started.and_then(expect_success).is_err())
            })?;
            expect_success(entered)?;
            equal("its parent", told(&reader)?, 1)?;
            equal("not reaped outside", reap()?, 0)
        })?;
        write(&go, b"x").map_err(words)?;
        equal("reaped by process 1", told(&counts)?, 1)?;
    }
    Ok(())
}
