// SPDX-License-Identifier: GPL-2.0

//! Process 1, those that enter its context from outside, and contexts inside with a process 1 of their own.

use super::{as_both, as_spectator, expect_success, in_child, messages, named, spawn, tell, told};
use crate::{
    fixture::{enter, equal, get, inside, signal, words, Outcome, Sitter},
    proc::listing,
    test, Test,
};
use nix::{
    errno::Errno,
    sys::{
        signal::{kill, Signal},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{getpgrp, getpid, getppid, pipe, Pid},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::who_entered", 60, who_entered),
    test("fakeinit::inner_process_1", 60, inner),
    test("fakeinit::inner_process_1_ends", 60, inner_ends),
    test("fakeinit::many_levels", 60, levels),
];

const ONE: Pid = Pid::from_raw(1);
const NOBODY: Pid = Pid::from_raw(0);

/// Who came from outside has a parent there, and process 1 as everybody.
fn who_entered() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let init = Sitter::new(CONTEXT_NEW, flags, || Ok(()))?;
        let (outside, group) = (getpid(), getpgrp());
        inside(init.context, || {
            let is_init = flags != 0;
            let own = getpid();
            equal("not 1", own.as_raw() > 1, true)?;
            // inside() has forked it from the test.
            let parent = if is_init { NOBODY } else { outside };
            equal("its parent", getppid(), parent)?;
            equal("its group", getpgrp(), if is_init { NOBODY } else { group })?;
            let number = if is_init { 1 } else { init.pid };
            let mut all = vec![1, number, own.as_raw()];
            all.sort_unstable();
            all.dedup();
            equal("who is there", listing()?, all)?;
            equal("process 1", get(number).map(|info| info.context), {
                Ok(init.context)
            })?;
            in_child(|| {
                equal("the parent of a child", getppid(), own)?;
                named("its parent", kill(own, None))
            })?;
            // Not by what it does not mean to be killed by.
            let killed = kill(Pid::from_raw(number), Signal::SIGKILL);
            equal("killed", killed, Ok(()))
        })?;
        let pid = Pid::from_raw(init.pid);
        let ended = if flags != 0 {
            let state = waitpid(pid, Some(WaitPidFlag::WNOHANG));
            equal("not killed", state, Ok(WaitStatus::StillAlive))
        } else {
            let state = waitpid(pid, None);
            let killed = WaitStatus::Signaled(pid, Signal::SIGKILL, false);
            equal("the control", state, Ok(killed))
        };
        ended?;
    }
    Ok(())
}

/// A context inside, with its own: each is 1 for its own, and each other's real number for who sees all.
fn inner() -> Outcome {
    let (reader, writer) = pipe().map_err(words)?;
    let outer = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
        let child = spawn(|| {
            let run = || {
                let before = getpid();
                equal("its parent before", getppid(), ONE)?;
                named("enter", enter(CONTEXT_NEW, FLAG_FAKEINIT, 0))?;
                equal("getpid", getpid(), ONE)?;
                equal("getppid", getppid(), NOBODY)?;
                equal("alone", listing()?, vec![1])?;
                equal("by its number", kill(before, None), Err(Errno::ESRCH))?;
                let child = super::sleeper()?;
                tell(&writer, get(0).map_err(words)?.context)?;
                tell(&writer, child.as_raw())
            };
            if let Err(text) = run() {
                eprintln!("inside: {text}");
                let _ = tell(&writer, 0);
            }
            loop {
                nix::unistd::pause();
            }
        })?;
        let context = told(&reader)?;
        equal("inside", context >= CONTEXT_DYNAMIC_MIN, true)?;
        let grandchild = told(&reader)?;
        // It has left the sight of its parent, who may wait for it.
        equal("a child elsewhere", kill(child, None), Err(Errno::ESRCH))?;
        equal("not seen", listing()?, vec![1])?;
        let state = waitpid(child, Some(WaitPidFlag::WNOHANG));
        equal("waited for", state, Ok(WaitStatus::StillAlive))?;
        tell(&writer, context)?;
        tell(&writer, child.as_raw())?;
        tell(&writer, grandchild)
    })?;
    let (context, child, grandchild) = (told(&reader)?, told(&reader)?, told(&reader)?);
    as_spectator(|| {
        let info = |pid: i32| get(pid).map(|info| (info.context, info.outer, info.initpid));
        let of_outer = Ok((outer.context, 0, outer.pid));
        equal("the outer one", info(outer.pid), of_outer)?;
        let of_inner = Ok((context, outer.context, child));
        equal("the inner one", info(child), of_inner)?;
        equal("its child", info(grandchild), of_inner)
    })?;
    // From outside each is the one of its context.
    let killed = signal(context, SIGNAL_INIT, libc::SIGKILL);
    equal("the inner one", killed, Ok(1))?;
    let state = waitpid(Pid::from_raw(outer.pid), Some(WaitPidFlag::WNOHANG));
    equal("the outer one", state, Ok(WaitStatus::StillAlive))
}

/// The outer process 1 is told of the inner one's end by the number that it knows.
fn inner_ends() -> Outcome {
    as_both(|who| {
        messages::block(Signal::SIGCHLD)?;
        for flags in [FLAG_FAKEINIT, 0] {
            let child = spawn(|| {
                let entered = enter(CONTEXT_NEW, flags, 0);
                if entered.is_ok() {
                    5
                } else {
                    6
                }
            })?;
            let sender = messages::sender(Signal::SIGCHLD);
            equal("SIGCHLD", sender, Ok(child.as_raw()))?;
            let ended = waitpid(child, None);
            equal("waitpid", ended, Ok(WaitStatus::Exited(child, 5)))?;
        }
        equal("still here", getpid(), who.pid())?;
        expect_success(spawn(|| 0)?)
    })?;
    crate::fixture::until_empty()
}

/// A chain of contexts, each with a process 1: the end of the outermost is the end of all.
fn levels() -> Outcome {
    const DEPTH: usize = 8;
    fn deeper(depth: usize, writer: &std::os::fd::OwnedFd) -> i32 {
        let right = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).is_ok()
            && getpid() == ONE
            && listing() == Ok(vec![1]);
        if depth > 1 {
            let _ = spawn(|| deeper(depth - 1, writer));
        }
        let _ = tell(writer, i32::from(right));
        loop {
            nix::unistd::pause();
        }
    }
    let (reader, writer) = pipe().map_err(words)?;
    let outermost = spawn(|| deeper(DEPTH, &writer))?;
    for _ in 0..DEPTH {
        equal("a level", told(&reader)?, 1)?;
    }
    let listed = crate::fixture::list_all().map_err(words)?;
    equal("contexts", listed.len(), DEPTH)?;
    let first = listed.iter().find(|info| info.outer == 0);
    let context = first.ok_or("no outermost")?.context;
    equal("all", signal(context, SIGNAL_ALL, 0), Ok(DEPTH as u32))?;
    let fd = crate::fixture::open_context(context).map_err(words)?;
    let killed = signal(context, SIGNAL_INIT, libc::SIGKILL);
    equal("the outermost", killed, Ok(1))?;
    waitpid(outermost, None).map_err(words)?;
    super::end::until_empty(&fd)?;
    crate::fixture::until_empty()
}
