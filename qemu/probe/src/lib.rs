// SPDX-License-Identifier: GPL-2.0

//! What the probe reports: shared with whoever reads its `--json`.

use serde::{Deserialize, Serialize};

/// One run of the probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The kernel's release, as `uname -r` gives it.
    pub kernel: String,
    /// Hooks attached; `None` without the module.
    pub hooks: Option<u32>,
    /// What was measured, in the probe's order.
    pub rows: Vec<Row>,
}

/// What one kind of call costs, in instructions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The row's name on the command line.
    pub name: String,
    /// The calls, in words.
    pub what: String,
    /// Calls measured.
    pub samples: usize,
    /// The cheapest.
    pub minimum: u64,
    /// Half of them cost no more.
    pub median: u64,
    /// Nine tenths of them cost no more.
    pub p90: u64,
    /// The average: timer ticks and work that the kernel put off are in it.
    pub mean: u64,
}

impl Row {
    /// Sums up the readings of a row; there must be one at least.
    pub fn new(name: &str, what: &str, mut readings: Vec<u64>) -> Self {
        readings.sort_unstable();
        let samples = readings.len();
        Self {
            name: name.into(),
            what: what.into(),
            samples,
            minimum: readings[0],
            median: readings[samples / 2],
            p90: readings[samples * 9 / 10],
            mean: readings.iter().sum::<u64>() / samples as u64,
        }
    }
}

/// A number with its thousands apart.
pub fn grouped(number: i128) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_summed_up() {
        let row = Row::new("x", "x", (1..=100).rev().collect());
        assert_eq!(
            (row.minimum, row.median, row.p90, row.mean),
            (1, 51, 91, 50)
        );
        assert_eq!(row.samples, 100);
        let one = Row::new("x", "x", vec![7]);
        assert_eq!((one.minimum, one.median, one.p90, one.mean), (7, 7, 7, 7));
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(345), "345");
        assert_eq!(grouped(-1281), "-1,281");
        assert_eq!(grouped(1_300_000), "1,300,000");
    }
}
