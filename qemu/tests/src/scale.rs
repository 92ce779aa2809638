// SPDX-License-Identifier: GPL-2.0

//! Many contexts at once. What the 2,000th costs, compared with the 10th, `make bench` counts.

use crate::{
    fixture::{ensure, equal, inside, list, until_empty, words, Outcome, Sitter},
    test, Test,
};
use nix::{
    errno::Errno,
    sys::resource::{setrlimit, Resource},
    unistd::{getpgid, Pid},
};
use vserver_uapi::*;

/// A process has all descriptors of those before it, so that twice as many take four times as long.
pub const TESTS: &[Test] = &[
    test("scale::three_hundred_contexts", 120, || many(300)),
    test("soak::two_thousand_contexts", 600, || many(2000)),
];

fn many(count: usize) -> Outcome {
    setrlimit(Resource::RLIMIT_NOFILE, 8192, 8192).map_err(words)?;
    let mut sitters = Vec::new();
    while sitters.len() < count {
        sitters.push(Sitter::idle(CONTEXT_NEW)?);
    }
    ensure("all alive", list().map_err(words)?.len() >= count)?;
    let last = sitters[count - 1].pid;
    let found = || getpgid(Some(Pid::from_raw(last))).map(drop);
    inside(CONTEXT_SPECTATOR, || {
        equal("the spectator, of the last", found(), Ok(()))
    })?;
    inside(sitters[count - 2].context, || {
        equal("another context, of the last", found(), Err(Errno::ESRCH))
    })?;
    drop(sitters);
    until_empty()
}
