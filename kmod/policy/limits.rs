// SPDX-License-Identifier: GPL-2.0

//! Limits that count a whole context.

use crate::uapi::{FLAG_NPROC, FLAG_ULIMIT};

/// The most tasks that a context may have when one more is asked for, `None` for no limit.
///
/// `rlimit` is the soft `RLIMIT_NPROC` of the process that forks; `fixed` is what the context
/// recorded when it got [`FLAG_ULIMIT`].
pub fn nproc(flags: u32, fixed: u64, rlimit: u64) -> Option<u64> {
    if flags & FLAG_NPROC == 0 {
        None
    } else if flags & FLAG_ULIMIT != 0 {
        Some(fixed)
    } else {
        Some(rlimit)
    }
}

/// Whether a context with `tasks` tasks may get one more under `limit`.
pub fn may_add(tasks: u64, limit: Option<u64>) -> bool {
    match limit {
        Some(limit) => tasks < limit,
        None => true,
    }
}

/// How deep contexts may be nested, as pid and user namespaces may. Birth and end of a task walk
/// through all outer contexts, so that must not be any number; and one process that enters
/// again and again must not use up the numbers that are handed out.
pub const NESTING_MAX: u32 = 32;

/// Whether there may be a context with `depth` contexts around it.
pub fn may_nest(depth: u32) -> bool {
    depth < NESTING_MAX
}
