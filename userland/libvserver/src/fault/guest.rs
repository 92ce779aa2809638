// SPDX-License-Identifier: GPL-2.0

//! What could not be prepared of a guest.

use nix::errno::Errno;
use std::fmt;

/// What could not be prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub what: String,
    /// Why it failed.
    pub errno: Errno,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.errno {
            Errno::ELOOP => "it is a symbolic link, which could lead out",
            Errno::ENOTDIR => "it is not a directory",
            Errno::EISDIR => "it is a directory",
            errno => errno.desc(),
        };
        write!(f, "cannot {}: {reason}", self.what)
    }
}
