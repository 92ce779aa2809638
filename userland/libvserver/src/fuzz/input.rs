// SPDX-License-Identifier: GPL-2.0

//! Inputs for fuzzing: samples of the right form, words of the grammar, and what happens to them. The same seed makes the
//! same inputs again.

use std::panic::{catch_unwind, RefUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How many inputs `cargo test` tries; `FUZZ=N` says another number.
const USUAL: u64 = 100_000;

/// No input is made longer.
const LENGTH_MAX: usize = 4096;

/// Numbers that look random (splitmix64).
pub(crate) struct Random(u64);

impl Random {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn one<'a>(&mut self, of: &[&'a [u8]]) -> &'a [u8] {
        of[self.below(of.len())]
    }
}

/// What is fuzzed.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Inputs of the right form.
    pub(crate) samples: &'static [&'static [u8]],
    /// Words of its grammar.
    pub(crate) words: &'static [&'static [u8]],
    /// Panics when something is wrong.
    pub(crate) check: fn(&[u8]),
}

impl Target {
    /// An input: a sample or words, changed in some places.
    fn input(&self, random: &mut Random) -> Vec<u8> {
        let mut input = match random.below(4) {
            0 => Vec::new(),
            _ => random.one(self.samples).to_vec(),
        };
        if input.is_empty() {
            for _ in 0..random.below(24) {
                input.extend_from_slice(random.one(self.words));
            }
        }
        for _ in 0..random.below(8) {
            self.change(&mut input, random);
        }
        input.truncate(LENGTH_MAX);
        input
    }

    fn change(&self, input: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(input.len() + 1);
        let end = at + random.below((input.len() - at).min(32) + 1);
        match random.below(8) {
            0 | 1 => drop(input.splice(at..at, random.one(self.words).iter().copied())),
            2 => drop(input.splice(at..end, random.one(self.words).iter().copied())),
            3 => drop(input.drain(at..end)),
            4 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            5 => {
                let other = random.one(self.samples);
                let from = random.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            6 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte = random.next().to_le_bytes()[0];
                }
            }
        }
    }
}

/// Tries inputs on all targets in turn, on all processors. Panics with the first input that something is wrong with.
pub(crate) fn run(targets: &[Target]) {
    let told = std::env::var("FUZZ").ok();
    let count: u64 = told.map_or(USUAL, |told| told.parse().expect("FUZZ is not a number"));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let tried = AtomicU64::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| loop {
                let number = tried.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                let turn = usize::try_from(number).unwrap_or(0) % targets.len();
                one(&targets[turn], number);
            });
        }
    });
    println!(
        "{count} inputs on {} targets in {:.1} s, no finding",
        targets.len(),
        start.elapsed().as_secs_f64()
    );
}

fn one(target: &Target, number: u64) {
    let input = target.input(&mut Random(number));
    let check: &(dyn Fn(&[u8]) + RefUnwindSafe) = &target.check;
    assert!(
        catch_unwind(|| check(&input)).is_ok(),
        "{} fails for input {number}: \"{}\"",
        target.name,
        input.escape_ascii()
    );
}
