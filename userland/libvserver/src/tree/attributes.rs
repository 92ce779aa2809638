// SPDX-License-Identifier: GPL-2.0

//! Owner, mode, times and extended attributes of what has been made.

use super::folder::Folder;
use super::Statistics;
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// No value of an extended attribute is longer: see xattr(7).
const VALUE_MAX: usize = 1 << 16;

/// What a file is to be like.
#[derive(Clone, Debug)]
pub(super) struct Attributes {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
    pub(super) accessed: Timespec,
    pub(super) modified: Timespec,
}

impl From<&Stat> for Attributes {
    #[allow(
        clippy::unnecessary_cast,
        reason = "the types are not the same everywhere"
    )]
    fn from(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode),
            mode: stat.st_mode & 0o7777,
            owner: stat.st_uid,
            group: stat.st_gid,
            accessed: Timespec {
                tv_sec: stat.st_atime as _,
                tv_nsec: stat.st_atime_nsec as _,
            },
            modified: Timespec {
                tv_sec: stat.st_mtime as _,
                tv_nsec: stat.st_mtime_nsec as _,
            },
        }
    }
}

impl Attributes {
    /// Gives a name in a directory its owner, then the extended attributes, then the mode: a change of the owner takes
    /// away capabilities and set-user-id bits.
    pub(super) fn apply(
        &self,
        folder: &Folder,
        name: &OsStr,
        extended: &[(Vec<u8>, Vec<u8>)],
        statistics: &mut Statistics,
    ) -> rustix::io::Result<()> {
        self.apply_owner(folder, name)?;
        statistics.attributes_lost += write_extended(&folder.path_of(name), extended)?;
        if self.kind != FileType::Symlink {
            let mode = Mode::from_raw_mode(self.mode);
            fs::chmodat(folder, name, mode, AtFlags::empty())?;
        }
        self.apply_times(folder, name)
    }

    fn apply_owner(&self, folder: &Folder, name: &OsStr) -> rustix::io::Result<()> {
        fs::chownat(
            folder,
            name,
            Some(Uid::from_raw(self.owner)),
            Some(Gid::from_raw(self.group)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
    }

    pub(super) fn apply_times(&self, folder: &Folder, name: &OsStr) -> rustix::io::Result<()> {
        let times = Timestamps {
            last_access: self.accessed,
            last_modification: self.modified,
        };
        fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// The extended attributes of a path whose last component is not followed.
pub(super) fn read_extended(path: &Path) -> rustix::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = Vec::with_capacity(1024);
    loop {
        match fs::llistxattr(path, rustix::buffer::spare_capacity(&mut names)) {
            Ok(_) => break,
            Err(Errno::RANGE) if names.capacity() < VALUE_MAX => names.reserve(VALUE_MAX),
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno),
        }
    }
    let mut all = Vec::new();
    let mut value = Vec::new();
    for name in names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        value.clear();
        value.reserve(VALUE_MAX);
        let key = OsStr::from_bytes(name);
        match fs::lgetxattr(path, key, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => all.push((name.to_vec(), value.clone())),
            // Gone in the meantime, or not for us.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(all)
}

/// Sets them; returns how many the file system does not take.
fn write_extended(path: &Path, all: &[(Vec<u8>, Vec<u8>)]) -> rustix::io::Result<u64> {
    let mut lost = 0;
    for (name, value) in all {
        match fs::lsetxattr(path, OsStr::from_bytes(name), value, XattrFlags::empty()) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP) => lost += 1,
            Err(errno) => return Err(errno),
        }
    }
    Ok(lost)
}
