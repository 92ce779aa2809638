// SPDX-License-Identifier: GPL-2.0

//! The static program that the probe executes: it does nothing, not even what Rust does before
//! `main`, so that what is measured is the kernel's and the C library's part.

#![no_main]

use std::ffi::c_int;

/// What the C library calls.
// SAFETY: This is the program's only `main`, with a signature that the C library accepts.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> c_int {
    0
}
