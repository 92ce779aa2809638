// SPDX-License-Identifier: GPL-2.0

//! Lines of `/proc/net` that the kernel has written, for a reader who is confined to addresses.
//!
//! Each function corrects a text in place or says how much of it stays.

use super::address::{Ip, Set};

/// How many digits a word of an address has in these files.
const DIGITS: usize = 8;
/// From the end of an address to the next one: `:1538 `.
const PORT: usize = 6;
/// 127.0.0.1.
const LOCALHOST: u32 = 0x7f00_0001;

/// What the kernel's `isspace()` says, so that a name ends where the kernel ends it.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | 9..=13 | 0xa0)
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}

fn word_of(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |word, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some((word << 4) | value)
    })
}

fn put_word(digits: &mut [u8], word: u32) {
    for (number, digit) in digits.iter_mut().rev().enumerate() {
        let value = (word >> (4 * number)) as u8 & 0xf;
        *digit = match value {
            0..=9 => b'0' + value,
            _ => b'A' + value - 10,
        };
    }
}

/// Replaces an address of `N` words of hexadecimal digits, each a number in the host's byte order.
fn replace<const N: usize>(text: &mut [u8], change: impl FnOnce([u32; N]) -> [u32; N]) {
    let mut words = [0; N];
    for (word, digits) in words.iter_mut().zip(text.chunks_exact(DIGITS)) {
        match word_of(digits) {
            Some(value) => *word = value,
            None => return,
        }
    }
    let words = change(words);
    for (word, digits) in words.into_iter().zip(text.chunks_exact_mut(DIGITS)) {
        put_word(digits, word);
    }
}

fn inward_v4([word]: [u32; 1], set: &Set<'_>) -> [u32; 1] {
    let inside = match set.inward(Ip::V4(u32::from_be(word))) {
        Ip::V4(address) => address,
        Ip::V6(_) => 0,
    };
    [inside.to_be()]
}

fn number_of(words: [u32; 4]) -> u128 {
    words.into_iter().fold(0, |number, word| {
        (number << 32) | u128::from(u32::from_be(word))
    })
}

fn words_of(number: u128) -> [u32; 4] {
    [96, 64, 32, 0].map(|shift| ((number >> shift) as u32).to_be())
}

/// Writes both addresses of the line of a socket as they are inside of its network:
/// `  0: 0100007F:1538 00000000:0000 0A …`. `bound` is what the program has bound the socket to when
/// the kernel has something else.
pub fn correct_socket(line: &mut [u8], is_v6: bool, set: &Set<'_>, bound: Option<Ip>) {
    let length = if is_v6 { 4 * DIGITS } else { DIGITS };
    let Some(colon) = line.iter().position(|byte| *byte == b':') else {
        return;
    };
    let start = colon + 2;
    let Some(both) = line.get_mut(start..start + 2 * (length + PORT)) else {
        return;
    };
    let (local, peer) = both.split_at_mut(length + PORT);
    let (local, peer) = (&mut local[..length], &mut peer[..length]);
    if is_v6 {
        let inward = |words| words_of(set.inward_v6(number_of(words)));
        replace(local, |words| {
            bound.map_or_else(|| inward(words), |ip| words_of(ip.mapped()))
        });
        replace(peer, inward);
    } else {
        replace(local, |words| {
            if bound.is_some() {
                [0]
            } else {
                inward_v4(words, set)
            }
        });
        replace(peer, |words| inward_v4(words, set));
    }
}

/// Which word of a line is the name of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Device {
    /// The first one.
    First,
    /// The last one.
    Last,
}

/// Takes out the lines of devices that are not seen.
pub fn seen_lines(text: &mut [u8], which: Device, sees: impl Fn(&[u8]) -> bool) -> usize {
    let (mut from, mut to) = (0, 0);
    while from < text.len() {
        let rest = &text[from..];
        let length = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(rest.len(), |newline| newline + 1);
        let line = &rest[..length];
        let mut words = line.split(is_space);
        let word = match which {
            Device::First => words.next(),
            Device::Last => words.rfind(|word| !word.is_empty()),
        };
        if sees(word.unwrap_or(&[])) {
            text.copy_within(from..from + length, to);
            to += length;
        }
        from += length;
    }
    to
}

/// An address as `%pI4` prints it, at the beginning of a text.
fn parse_v4(text: &[u8]) -> Option<u32> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    let mut address = 0;
    let mut count = 0;
    for part in line.split(|byte| *byte == b'.') {
        if part.is_empty() || part.len() > 3 {
            return None;
        }
        let octet = part.iter().try_fold(0, |octet, digit| {
            digit
                .is_ascii_digit()
                .then(|| octet * 10 + u32::from(digit - b'0'))
        })?;
        if octet > 255 {
            return None;
        }
        address = (address << 8) | octet;
        count += 1;
    }
    (count == 4).then_some(address)
}

/// How much stays of a node of the tree of routes (`fib_trie`). Of its leaves those stay that are
/// routes to networks, or addresses that the reader `has`. A heading in front of a node stays too.
pub fn seen_of_trie(text: &[u8], has: impl Fn(u32) -> bool) -> usize {
    let leaf = position(text, b"|-- ");
    if let Some(leaf) = leaf {
        let is_shown = parse_v4(&text[leaf + 4..])
            .is_some_and(|address| has(address) || address == LOCALHOST)
            || position(&text[leaf..], b" UNICAST").is_some();
        if is_shown {
            return text.len();
        }
    }
    match leaf.or_else(|| position(text, b"+-- ")) {
        // With its indentation.
        Some(node) => text[..node]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |newline| newline + 1),
        None => text.len(),
    }
}
