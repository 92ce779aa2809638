// SPDX-License-Identifier: GPL-2.0

//! Memory that a thread changes while a system call reads it: whoever reads it twice may see two values.

use crate::fixture::Outcome;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// How long a value can be, in words.
const VALUE: usize = 2;

/// The memory, with some for the answer behind the value.
pub struct Changing {
    memory: [AtomicU64; 8],
    values: [[u64; VALUE]; 2],
}

impl Changing {
    /// Between two values of at most 16 bytes.
    pub fn between(one: &[u8], other: &[u8]) -> Self {
        let words = |value: &[u8]| {
            let mut bytes = [0; VALUE * 8];
            bytes[..value.len()].copy_from_slice(value);
            let mut words = [0; VALUE];
            for (word, part) in words.iter_mut().zip(bytes.chunks_exact(8)) {
                *word = u64::from_ne_bytes(part.try_into().unwrap_or_default());
            }
            words
        };
        Self {
            memory: Default::default(),
            values: [words(one), words(other)],
        }
    }

    /// Where it is.
    pub fn address(&self) -> usize {
        self.memory.as_ptr() as usize
    }

    /// The 32 bits at an offset.
    pub fn word(&self, at: usize) -> u32 {
        (self.memory[at / 8].load(Relaxed) >> (at % 8 * 8)) as u32
    }

    /// Calls something again and again while a thread changes the value, until it fails.
    pub fn for_a_while(&self, time: Duration, mut each: impl FnMut(&Self) -> Outcome) -> Outcome {
        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Relaxed) {
                    for value in &self.values {
                        for (to, word) in self.memory.iter().zip(value) {
                            to.store(*word, Relaxed);
                        }
                    }
                }
            });
            let start = Instant::now();
            let mut outcome = Ok(());
            while outcome.is_ok() && start.elapsed() < time {
                // Several calls for each look at the clock.
                outcome = (0..100).try_for_each(|_| each(self));
            }
            done.store(true, Relaxed);
            outcome
        })
    }
}
