// SPDX-License-Identifier: GPL-2.0

//! Who sees and who may touch whom.

use crate::uapi::CONTEXT_SPECTATOR;

/// A process, as far as the rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Party {
    /// The context that it is in.
    pub context: i32,
    /// Which arrival it belongs to, until it executes a program; 0: none.
    pub arrival: u64,
    /// Whether it has capabilities that its context cannot give.
    pub exceeds: bool,
}

impl Party {
    /// A process that belongs to its context like any other.
    pub const fn of(context: i32) -> Self {
        Self {
            context,
            arrival: 0,
            exceeds: false,
        }
    }

    /// Whether `target`, in the same context, is there for it. A process that has entered still holds
    /// what it brought from outside, as do its children. Only they are there for each other.
    fn is_let_near(self, target: Self) -> bool {
        if target.arrival != 0 {
            return target.arrival == self.arrival;
        }
        !target.exceeds || self.exceeds
    }
}

/// Whether a viewer sees a target.
pub fn visible(viewer: Party, target: Party) -> bool {
    viewer.context == CONTEXT_SPECTATOR
        || (viewer.context == target.context && viewer.is_let_near(target))
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

/// Whether an actor may signal or modify a target.
pub fn touch(actor: Party, target: Party) -> Touch {
    if actor.context == target.context && actor.is_let_near(target) {
        Touch::Allowed
    } else if actor.context == CONTEXT_SPECTATOR {
        Touch::Refused
    } else {
        Touch::Absent
    }
}

/// Where the user namespace of a process is, seen from the one that its context was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserNamespace {
    /// The same.
    Same,
    /// Below it: made inside.
    Inner,
    /// Elsewhere.
    Other,
}

/// Whether a process has a capability that its context cannot give: `dropped` are those that no process
/// of the context can have. Capabilities in a user namespace made inside are worth nothing outside of it.
pub fn exceeds(namespace: UserNamespace, permitted: u64, dropped: u64) -> bool {
    match namespace {
        UserNamespace::Same => permitted & dropped != 0,
        UserNamespace::Inner => false,
        UserNamespace::Other => permitted != 0,
    }
}
