// SPDX-License-Identifier: GPL-2.0

//! What `/proc` tells about processes.

use crate::{Error, Result};
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

fn parse_usage(stat: &[u8], statm: &str) -> Option<Usage> {
    // The second field is the command in parentheses and may hold any byte, so count from the last
    // parenthesis.
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&stat[end + 1..])
        .ok()?
        .split_ascii_whitespace()
        .collect();
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

#[cfg(test)]
mod tests {
    use super::*;

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
