// SPDX-License-Identifier: GPL-2.0

//! Numbers at random that come again when they start from the same one.

/// xorshift64*, and where it stands: not zero.
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
