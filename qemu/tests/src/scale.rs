// SPDX-License-Identifier: GPL-2.0

//! Many contexts at once.

use crate::{
    fixture::{ensure, enter, equal, inside, list, until_empty, words, Outcome, Sitter},
    test, Test,
};
use nix::sys::resource::{setrlimit, Resource};
use std::time::{Duration, Instant};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[test("scale::two_thousand_contexts", 280, two_thousand)];

/// The median time of entering a new context, of 50 processes that do only that.
fn median() -> Result<Duration, String> {
    let mut times = Vec::new();
    for _ in 0..50 {
        let said = crate::fixture::child(|| {
            let start = Instant::now();
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            Ok(start.elapsed().as_nanos().to_string())
        })?;
        times.push(said.parse::<u64>().map_err(words)?);
    }
    times.sort_unstable();
    Ok(Duration::from_nanos(times[times.len() / 2]))
}

fn two_thousand() -> Outcome {
    setrlimit(Resource::RLIMIT_NOFILE, 8192, 8192).map_err(words)?;
    let mut sitters = Vec::new();
    for _ in 0..10 {
        sitters.push(Sitter::idle(CONTEXT_NEW)?);
    }
    let few = median()?;
    while sitters.len() < 2000 {
        sitters.push(Sitter::idle(CONTEXT_NEW)?);
    }
    ensure("all alive", list().map_err(words)?.len() >= 2000)?;
    // A ratio of medians in one run; three tries, as the machine below may be busy elsewhere.
    let mut many = median()?;
    for _ in 0..2 {
        if many.as_nanos() * 2 > few.as_nanos() * 3 {
            many = many.min(median()?);
        }
    }
    eprintln!("with 10: {few:?}, with 2000: {many:?}");
    ensure(
        "the 2000th costs more than 1.5 times the 10th",
        many.as_nanos() * 2 <= few.as_nanos() * 3,
    )?;
    let last = sitters[1999].pid;
    inside(CONTEXT_SPECTATOR, || {
        equal(
            "the last one is seen",
            nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(last))).is_ok(),
            true,
        )
    })?;
    drop(sitters);
    until_empty()
}
