// SPDX-License-Identifier: GPL-2.0

//! The copy of this program that goes inside.

use rustix::fs::MemfdFlags;
use rustix::fs::SealFlags;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;

/// This program, to be started again.
pub(super) enum Program {
    /// A copy in memory that nobody can write to, so that the host's file is not to be seen in a process that has
    /// gone inside.
    Copy(OwnedFd),
    /// The file itself, where the host executes nothing in memory.
    File,
}

impl Program {
    pub(super) fn sealed() -> Self {
        Self::copy().map_or(Self::File, Self::Copy)
    }

    fn copy() -> io::Result<OwnedFd> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
        let mut copy = File::from(rustix::fs::memfd_create("vserver", flags)?);
        io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&copy, seals)?;
        Ok(copy.into())
    }

    pub(super) fn path(&self) -> String {
        match self {
            Self::Copy(copy) => format!("/proc/self/fd/{}", copy.as_raw_fd()),
            Self::File => "/proc/self/exe".to_owned(),
        }
    }
}
