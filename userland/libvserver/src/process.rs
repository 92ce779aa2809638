// SPDX-License-Identifier: GPL-2.0

//! What `/proc` tells about processes.

use crate::{Error, Result};
use nix::errno::Errno;
use std::path::Path;

/// The figures of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode, in clock ticks, all threads together.
    pub user_ticks: u64,
    /// CPU time in the kernel, in clock ticks.
    pub system_ticks: u64,
    /// When it started, in clock ticks since boot.
    pub start_ticks: u64,
    /// Virtual size in pages.
    pub virtual_pages: u64,
    /// Resident size in pages.
    pub resident_pages: u64,
}

/// The pids of the processes (not threads) that the caller can see.
pub fn pids() -> Result<Vec<i32>> {
    let path = Path::new("/proc");
    let entries = std::fs::read_dir(path).map_err(|source| Error::Read {
        path: path.display().to_string(),
        source,
    })?;
    let mut pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// The figures of a process; `None` when it has gone.
pub fn usage(pid: i32) -> Option<Usage> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    parse_usage(&stat, &statm)
}

/// The fields of `stat` from the third one on: the second is the command in parentheses and may hold any byte, so they
/// are counted from the last parenthesis.
fn fields(stat: &[u8]) -> Option<Vec<&str>> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    Some(rest.split_ascii_whitespace().collect())
}

fn parse_usage(stat: &[u8], statm: &str) -> Option<Usage> {
    let fields = fields(stat)?;
    // Field 3 of proc(5) is the first one here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let mut pages = statm.split_ascii_whitespace().map(str::parse::<u64>);
    Some(Usage {
        user_ticks: field(14)?,
        system_ticks: field(15)?,
        start_ticks: field(22)?,
        virtual_pages: pages.next()?.ok()?,
        resident_pages: pages.next()?.ok()?,
    })
}

/// What a process is, beside its figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Its name: any bytes but for what is no text or would act on a terminal, which is a `?`.
    pub name: String,
    /// Its arguments, or its name in brackets when it has none, made harmless in the same way.
    pub command: String,
    /// The pid of its parent.
    pub parent: i32,
    /// Its state, with the letters that ps adds.
    pub state: String,
    /// The number of its terminal, 0: none.
    pub terminal: u32,
    /// Its user.
    pub uid: u32,
}

/// What a process is; `None` when it has gone.
pub fn details(pid: i32) -> Option<Details> {
    let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).ok();
    parse_details(&read("stat")?, &read("cmdline")?, &read("status")?)
}

fn parse_details(stat: &[u8], arguments: &[u8], status: &[u8]) -> Option<Details> {
    let start = stat.iter().position(|&byte| byte == b'(')? + 1;
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let name = harmless(stat.get(start..end)?);
    let fields = fields(stat)?;
    let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
    let pid: i64 = std::str::from_utf8(&stat[..start - 1])
        .ok()?
        .trim()
        .parse()
        .ok()?;
    let mut state = (*fields.first()?).to_owned();
    let nice = number(19)?;
    let letters = [
        ('<', nice < 0),
        ('N', nice > 0),
        ('s', number(6)? == pid),
        ('l', number(20)? > 1),
        ('+', number(8)? == number(5)?),
    ];
    state.extend(
        letters
            .iter()
            .filter(|(_, so)| *so)
            .map(|(letter, _)| letter),
    );
    let words: Vec<String> = arguments.split(|&byte| byte == 0).map(harmless).collect();
    let words = words.join(" ");
    let words = words.trim_end();
    let uid = status
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(|line| line.split_ascii_whitespace().nth(1)?.parse().ok())?;
    Some(Details {
        command: match words {
            "" => format!("[{name}]"),
            words => words.to_owned(),
        },
        name,
        parent: i32::try_from(number(4)?).ok()?,
        state,
        terminal: u32::try_from(number(7)?).unwrap_or(0),
        uid,
    })
}

/// For fuzzing.
#[cfg(test)]
pub(crate) fn try_files(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = parse_usage(bytes, &text);
    let _ = after(bytes, "Uid:");
    if let Some(details) = parse_details(bytes, bytes, bytes) {
        assert!(!details.command.chars().any(char::is_control));
        assert!(!details.name.chars().any(char::is_control));
    }
}

/// Text of a stranger's that is going to be shown on a terminal.
fn harmless(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c.is_control() || c == '\u{fffd}' {
                '?'
            } else {
                c
            }
        })
        .collect()
}

/// The share of a process in the memory that it has in common with others, in kB; 0: it has gone, or has no memory of its
/// own. `None`: the kernel does not let us know. The kernel walks through all of its pages for this.
pub fn proportional_kib(pid: i32) -> Option<u64> {
    of_file(pid, "smaps_rollup", "Pss:")
}

/// What of a process has been written to swap, in kB, as for [`proportional_kib`].
pub fn swapped_kib(pid: i32) -> Option<u64> {
    of_file(pid, "status", "VmSwap:")
}

/// How many bytes a process has had read from devices, and written to them; as for [`proportional_kib`].
pub fn transferred(pid: i32) -> Option<(u64, u64)> {
    let read = of_file(pid, "io", "read_bytes:")?;
    Some((read, of_file(pid, "io", "write_bytes:")?))
}

/// The number after a word in a file of a process.
fn of_file(pid: i32, file: &str, word: &str) -> Option<u64> {
    match std::fs::read(format!("/proc/{pid}/{file}")) {
        Ok(text) => Some(after(&text, word)),
        // A thread of the kernel has no memory: ESRCH, as for one that has gone.
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ESRCH | Errno::ENOENT) => Some(0),
            _ => None,
        },
    }
}

fn after(text: &[u8], word: &str) -> u64 {
    text.split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(word.as_bytes()))
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_is() {
        let stat = b"42 (a ) \x1b) S 1 42 42 34816 42 0 0 0 0 0 1 2 0 0 20 5 3 0 9 0 0";
        let details = parse_details(stat, b"sh\0-c\0x\ny\0", b"Name:\tx\nUid:\t0\t7\t0\t0\n");
        let details = details.unwrap();
        assert_eq!(
            (details.parent, details.terminal, details.uid),
            (1, 34816, 7)
        );
        assert_eq!(details.state, "SNsl+");
        assert_eq!(details.name, "a ) ?");
        assert_eq!(details.command, "sh -c x?y");
        let kernel = parse_details(stat, b"", b"Uid:\t0\t0\t0\t0\n").unwrap();
        assert_eq!(kernel.command, "[a ) ?]");
        assert_eq!(parse_details(b") 42 (", b"", b""), None);
    }

    #[test]
    fn our_own_memory() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(proportional_kib(me).unwrap() > 0);
        assert!(swapped_kib(me).is_some());
        assert!(transferred(me).is_some());
        assert_eq!(proportional_kib(i32::MAX), Some(0));
        assert_eq!(after(b"Rss: 7 kB\nPss:   12 kB\n", "Pss:"), 12);
    }

    #[test]
    fn stat_with_a_nasty_name() {
        let stat = b"42 (a ) S 1\xff) S 1 42 42 0 -1 4194560 100 0 0 0 17 5 1 2 20 0 1 0 999 8192 3 18446744073709551615\n";
        assert_eq!(
            parse_usage(stat, "250 30 20 1 0 40 0\n").unwrap(),
            Usage {
                user_ticks: 17,
                system_ticks: 5,
                start_ticks: 999,
                virtual_pages: 250,
                resident_pages: 30,
            }
        );
        assert_eq!(parse_usage(b"42 (x", "1 2"), None);
        assert_eq!(parse_usage(b"42 (x) S 1", "1 2"), None);
    }

    #[test]
    fn we_are_in_our_own_list() {
        let me = i32::try_from(std::process::id()).unwrap();
        assert!(pids().unwrap().contains(&me));
        assert!(usage(me).unwrap().resident_pages > 0);
    }
}
