// SPDX-License-Identifier: GPL-2.0

//! A directory by its descriptor, and what is done to one name in it.

use super::Fault;
use crate::beneath::{self, Scope};
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A directory that is held open.
#[derive(Debug)]
pub struct Folder {
    descriptor: OwnedFd,
}

/// How a directory is opened.
const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK);

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Folder {
    /// Opens a directory of the host. Links on the way to it are followed: whoever calls names it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        match fs::open(path, flags, Mode::empty()) {
            Ok(descriptor) => Ok(Self { descriptor }),
            Err(errno) => Err(Fault::new(format!("open {}", path.display()), errno)),
        }
    }

    /// The same without following a link at its end.
    pub fn open_itself(path: &Path) -> Result<Self, Fault> {
        match fs::open(path, DIRECTORY, Mode::empty()) {
            Ok(descriptor) => Ok(Self { descriptor }),
            Err(errno) => Err(Fault::new(format!("open {}", path.display()), errno)),
        }
    }

    /// A directory in it, by one name.
    pub(super) fn child(&self, name: &OsStr) -> rustix::io::Result<Self> {
        fs::openat(self, name, DIRECTORY, Mode::empty()).map(|descriptor| Self { descriptor })
    }

    /// A directory in it on which nothing is mounted, by one name.
    pub(super) fn child_here(&self, name: &OsStr) -> rustix::io::Result<Self> {
        beneath::open(self, Path::new(name), DIRECTORY, Scope::OneMount)
            .map(|descriptor| Self { descriptor })
    }

    /// A directory beneath it, links followed as if it were the root.
    pub(super) fn inside(&self, path: &Path) -> rustix::io::Result<Self> {
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        beneath::open(self, path, flags, Scope::AsRoot).map(|descriptor| Self { descriptor })
    }

    /// A directory beneath it that no link leads to.
    pub(super) fn strictly(&self, path: &Path) -> rustix::io::Result<Self> {
        beneath::open(self, path, DIRECTORY, Scope::NoLinks).map(|descriptor| Self { descriptor })
    }

    /// A regular file in it to be read, by one name. Nothing is waited for, no device is opened: it must still be what
    /// was seen.
    pub(super) fn file(&self, name: &OsStr, seen: &Stat) -> rustix::io::Result<File> {
        let flags =
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(fs::openat(self, name, flags, Mode::empty())?);
        let now = fs::fstat(&file)?;
        match now.st_dev == seen.st_dev && now.st_ino == seen.st_ino {
            true => Ok(file),
            false => Err(Errno::STALE),
        }
    }

    /// A new file in it.
    pub(super) fn new_file(&self, name: &OsStr) -> rustix::io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(self, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }

    /// A new directory in it, for nobody else yet.
    pub(super) fn new_folder(&self, name: &OsStr) -> rustix::io::Result<Self> {
        fs::mkdirat(self, name, Mode::RWXU)?;
        self.child(name)
    }

    /// What a name in it is, no link followed.
    pub(super) fn stat(&self, name: &OsStr) -> rustix::io::Result<Stat> {
        fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// What it is itself.
    pub(super) fn own_stat(&self) -> rustix::io::Result<Stat> {
        fs::fstat(self)
    }

    /// The names in it, in order.
    pub(super) fn names(&self) -> rustix::io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        // A descriptor of its own, which begins at the first name.
        for entry in Dir::new(self.child(OsStr::new("."))?.descriptor)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    /// A name in it as a path for the calling process: the last component is not followed by calls that do not.
    pub(super) fn path_of(&self, name: &OsStr) -> PathBuf {
        let mut bytes = format!("/proc/self/fd/{}/", self.descriptor.as_raw_fd()).into_bytes();
        bytes.extend_from_slice(name.as_bytes());
        OsString::from_vec(bytes).into()
    }
}

/// The kind of what was seen.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}
