// SPDX-License-Identifier: GPL-2.0

//! The list of all locks on files as text (`/proc/locks`).

/// What stands before the number of the process that has the lock.
const KINDS: [&[u8]; 3] = [b" READ ", b" WRITE ", b" UNLCK "];

/// Where the number of the owner is in a line, how long it is, and the number. An owner that is no
/// process has -1.
fn owner(line: &[u8]) -> Option<(usize, usize, i32)> {
    let at = KINDS.iter().find_map(|kind| {
        let place = line.windows(kind.len()).position(|text| text == *kind)?;
        Some(place + kind.len())
    })?;
    let digits = line[at..]
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let number = line[at..at + digits].iter().try_fold(0_i32, |sum, digit| {
        sum.checked_mul(10)?.checked_add(i32::from(digit - b'0'))
    })?;
    (digits > 0).then_some((at, digits, number))
}

/// A number in decimal.
struct Decimal {
    text: [u8; 10],
    first: usize,
}

impl Decimal {
    fn new(number: i32) -> Self {
        let mut decimal = Self {
            text: [b'0'; 10],
            first: 10,
        };
        let mut rest = number.unsigned_abs();
        loop {
            decimal.first -= 1;
            decimal.text[decimal.first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return decimal;
            }
        }
    }

    fn text(&self) -> &[u8] {
        &self.text[self.first..]
    }
}

/// Replaces the numbers of the owners by those that `seen` says, as far as these are not longer.
/// The text is then as long as is returned.
pub fn renumber_owners(text: &mut [u8], seen: impl Fn(i32) -> i32) -> usize {
    // The text before `to` is done; what is still to be done begins at `from`.
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let end = text[from..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(text.len(), |length| from + length + 1);
        if let Some((at, length, number)) = owner(&text[from..end]) {
            let shown = Decimal::new(seen(number));
            let shown = shown.text();
            if shown.len() <= length {
                text.copy_within(from..from + at, to);
                to += at;
                text[to..to + shown.len()].copy_from_slice(shown);
                to += shown.len();
                from += at + length;
            }
        }
        text.copy_within(from..end, to);
        to += end - from;
        from = end;
    }
    to
}
