// SPDX-License-Identifier: GPL-2.0

//! What is wrong with a user of another root.

use nix::errno::Errno;
use std::fmt;

/// Where users are.
pub(crate) const PASSWD: &str = "/etc/passwd";

/// What is wrong with a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The root does not know him.
    Unknown(String),
    /// The root knows no users.
    NoUsers(String),
    /// His line is not as such lines are.
    Entry(String),
    /// The kernel does not let the process become him.
    Become {
        /// The user.
        user: String,
        /// Why not.
        errno: Errno,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(user) => {
                write!(f, "there is no user \"{user}\" in {PASSWD} of the new root")
            }
            Self::NoUsers(user) => {
                write!(
                    f,
                    "there is no user \"{user}\": the new root has no {PASSWD}"
                )
            }
            Self::Entry(user) => write!(
                f,
                "the line of \"{user}\" in {PASSWD} of the new root is not that of a user"
            ),
            Self::Become { user, errno } => {
                write!(f, "cannot become the user {user}: {}", errno.desc())
            }
        }
    }
}

impl Fault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown(_) | Self::NoUsers(_) => {
                "add the user inside, or give the number of a user"
            }
            Self::Entry(_) => "lines look like name:x:1000:1000:comment:/home/name:/bin/sh",
            Self::Become { .. } => "run it as root (with CAP_SETUID and CAP_SETGID)",
        }
    }
}
