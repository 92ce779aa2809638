// SPDX-License-Identifier: GPL-2.0

//! Who sees and who may touch whom.

use crate::uapi::CONTEXT_SPECTATOR;

/// Whether a process in context `viewer` sees a process in context `target`.
pub fn visible(viewer: i32, target: i32) -> bool {
    viewer == target || viewer == CONTEXT_SPECTATOR
}

/// What an attempt to signal or modify a process comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touch {
    /// The kernel's ordinary rules decide.
    Allowed,
    /// The target does not exist for the caller: `ESRCH`.
    Absent,
    /// The caller sees the target and may not touch it: `EPERM`.
    Refused,
}

/// Whether a process in context `actor` may signal or modify one in context `target`.
pub fn touch(actor: i32, target: i32) -> Touch {
    if actor == target {
        Touch::Allowed
    } else if actor == CONTEXT_SPECTATOR {
        Touch::Refused
    } else {
        Touch::Absent
    }
}
