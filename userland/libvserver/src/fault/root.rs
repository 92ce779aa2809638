// SPDX-License-Identifier: GPL-2.0

//! What is wrong with a root directory or with a file in it.

use nix::errno::Errno;
use std::fmt;

/// Standard input, output and error: others are closed without asking.
pub(crate) const STANDARD: [&str; 3] = ["standard input", "standard output", "standard error"];

/// No file that is read is larger.
pub(crate) const LIMIT: u64 = 16 << 20;

/// What is wrong with a root directory or with a file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The root cannot be changed.
    Change {
        /// The directory.
        directory: String,
        /// Why not.
        errno: Errno,
    },
    /// A directory outside would stay open as this one of [`STANDARD`].
    Open(usize),
    /// A file inside cannot be read.
    Read {
        /// The file.
        path: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// It is a pipe, a device or the like.
    NotRegular(&'static str),
    /// It is larger than any such file.
    TooLarge(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { directory, errno } => {
                let reason = match errno {
                    Errno::ENOENT => "there is no such directory",
                    Errno::ENOTDIR => "it is not a directory",
                    Errno::EACCES => "it may not be entered, or is behind a barrier",
                    Errno::EPERM => "the capability CAP_SYS_CHROOT is missing",
                    errno => errno.desc(),
                };
                write!(f, "cannot make {directory} the root: {reason}")
            }
            Self::Open(number) => write!(
                f,
                "the {} is a directory, which would lead out of the new root",
                STANDARD[*number]
            ),
            Self::Read {
                path,
                errno: Errno::ELOOP,
            } => write!(
                f,
                "cannot read {path} of the new root: its symbolic links go round or through /proc"
            ),
            Self::Read { path, errno } => {
                write!(f, "cannot read {path} of the new root: {}", errno.desc())
            }
            Self::NotRegular(path) => {
                write!(f, "cannot read {path} of the new root: not a regular file")
            }
            Self::TooLarge(path) => write!(
                f,
                "cannot read {path} of the new root: larger than {} MiB",
                LIMIT >> 20
            ),
        }
    }
}

impl Fault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Change {
                errno: Errno::EACCES,
                ..
            } => {
                "go there before the context is entered: \"cd DIRECTORY; chcontext ... capchroot . ...\""
            }
            Self::Change {
                errno: Errno::EPERM,
                ..
            } => "run it as root, and give the capability up with --nochroot rather than before",
            Self::Change { .. } => "name the root directory of a vserver",
            Self::Open(_) => "redirect it",
            Self::Read { path, .. } | Self::NotRegular(path) | Self::TooLarge(path) => match *path {
                "/etc/passwd" => "put a file with the users there, or give the number of a user",
                _ => "put a regular file there, or none",
            },
        }
    }
}
