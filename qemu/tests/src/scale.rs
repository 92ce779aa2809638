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

pub const TESTS: &[Test] = &[test("scale::two_thousand_contexts", 280, two_thousand)];

fn two_thousand() -> Outcome {
    setrlimit(Resource::RLIMIT_NOFILE, 8192, 8192).map_err(words)?;
    let mut sitters = Vec::new();
    while sitters.len() < 2000 {
        sitters.push(Sitter::idle(CONTEXT_NEW)?);
    }
    ensure("all alive", list().map_err(words)?.len() >= 2000)?;
    let last = sitters[1999].pid;
    let found = || getpgid(Some(Pid::from_raw(last))).map(drop);
    inside(CONTEXT_SPECTATOR, || {
        equal("the spectator, of the last", found(), Ok(()))
    })?;
    inside(sitters[1998].context, || {
        equal("another context, of the last", found(), Err(Errno::ESRCH))
    })?;
    drop(sitters);
    until_empty()
}
