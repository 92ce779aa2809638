// SPDX-License-Identifier: GPL-2.0

//! Capability masks. Bit N is capability N, as in `linux/capability.h`.

/// The mask of all capabilities when the kernel's highest one is `last`.
pub fn all(last: u32) -> u64 {
    if last >= 63 {
        u64::MAX
    } else {
        (1 << (last + 1)) - 1
    }
}

/// The ceiling of a context made inside one whose ceiling is `outer`: it can only shrink.
pub fn ceiling(outer_dropped: u64, dropped: u64) -> u64 {
    outer_dropped | dropped
}
