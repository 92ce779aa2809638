// SPDX-License-Identifier: GPL-2.0

//! The clock: under `-icount shift=0,sleep=off` the time stamp counter advances by one per
//! instruction. One of the two files of the probe that have `unsafe`.

use anyhow::{ensure, Result};
use std::arch::{asm, x86_64::_rdtsc};

/// What 1,000 instructions read, with the two that reading takes.
const THOUSAND: u64 = 1002;

/// Instructions so far.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: Every x86-64 processor has the instruction, and Linux lets user space use it.
    unsafe { _rdtsc() }
}

fn thousand_nops() -> u64 {
    let (before, after): (u32, u32);
    // SAFETY: Reads the counter twice (its low half is enough for the difference) and does nothing
    // in between; the registers that it changes are named.
    unsafe {
        asm!(
            "rdtsc",
            "mov {before:e}, eax",
            ".rept 1000",
            "nop",
            ".endr",
            "rdtsc",
            before = out(reg) before,
            out("eax") after,
            out("edx") _,
            options(nomem, nostack),
        );
    }
    after.wrapping_sub(before).into()
}

fn median(mut readings: Vec<u64>) -> u64 {
    readings.sort_unstable();
    readings[readings.len() / 2]
}

/// Makes sure that the counter counts instructions; returns what reading it twice costs.
pub fn calibrate() -> Result<u64> {
    let mut readings: Vec<u64> = (0..101).map(|_| thousand_nops()).collect();
    readings.sort_unstable();
    // An interrupt may hit a reading or two, never most of them.
    ensure!(
        readings[0] == THOUSAND && readings[90] == THOUSAND,
        "this machine does not count instructions: 1,000 of them read {} to {} instead of {THOUSAND}; \
         run it by `make exec ICOUNT=1 CMD=probe`",
        readings[0],
        readings[100],
    );
    Ok(median(
        (0..101)
            .map(|_| {
                let start = now();
                now() - start
            })
            .collect(),
    ))
}
