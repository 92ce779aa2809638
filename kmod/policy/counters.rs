// SPDX-License-Identifier: GPL-2.0

//! Tables of counters as text, without the counts.

/// Values that are settings and no counts. Programs that read them expect sense in them.
const SETTINGS: [&[u8]; 6] = [
    b"Forwarding",
    b"DefaultTTL",
    b"RtoAlgorithm",
    b"RtoMin",
    b"RtoMax",
    b"MaxConn",
];

fn is_number(word: &[u8]) -> bool {
    let digits = word.strip_prefix(b"-").unwrap_or(word);
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Lines that are there only for what has been counted already, by its number.
fn is_only_for_what_happened(line: &[u8]) -> bool {
    let by_number = |prefix: &[u8]| {
        line.strip_prefix(prefix)
            .and_then(|rest| rest.first())
            .is_some_and(u8::is_ascii_digit)
    };
    line.starts_with(b"IcmpMsg:") || by_number(b"Icmp6InType") || by_number(b"Icmp6OutType")
}

/// The word of this number, counted from zero.
fn word(line: &[u8], number: usize) -> &[u8] {
    line.split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .nth(number)
        .unwrap_or(&[])
}

/// Writes zero for every count in a text of `/proc/net` (`snmp`, `netstat`, `sockstat`, …). The
/// result is as long as is returned, never longer than it was.
pub fn without_counts(text: &mut [u8]) -> usize {
    // The text before `to` is done; what is still to be done begins at `from`.
    let (mut from, mut to) = (0, 0);
    // Where the line of names began, if the one before this was one.
    let mut names = None;
    while from < text.len() {
        let end = text[from..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(text.len(), |length| from + length + 1);
        if is_only_for_what_happened(&text[from..end]) {
            from = end;
            continue;
        }
        let start = to;
        let mut number = 0;
        while from < end {
            let length = text[from..end]
                .iter()
                .take_while(|byte| !byte.is_ascii_whitespace())
                .count();
            if length == 0 {
                text[to] = text[from];
                (from, to) = (from + 1, to + 1);
                continue;
            }
            let is_setting = |text: &[u8]| {
                names.is_some_and(|(first, last): (usize, usize)| {
                    word(&text[first..last], 0) == word(&text[start..to], 0)
                        && SETTINGS.contains(&word(&text[first..last], number))
                })
            };
            if is_number(&text[from..from + length]) && !is_setting(text) {
                text[to] = b'0';
                to += 1;
            } else {
                text.copy_within(from..from + length, to);
                to += length;
            }
            from += length;
            number += 1;
        }
        names = Some((start, to));
    }
    to
}
