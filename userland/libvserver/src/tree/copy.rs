// SPDX-License-Identifier: GPL-2.0

//! One tree to another.

use super::attributes::{read_extended, Attributes};
use super::folder::{kind, Folder};
use super::places::is_allowed_device;
use super::{shown, sparse, Fault, Observer, Statistics, DEPTH_MAX};
use rustix::fs::{self, AtFlags, FileType, Mode, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// What becomes of one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is copied.
    Copy,
    /// A regular file is linked where that can be done, and copied where not.
    Link,
    /// It is left out with all that is below.
    Skip,
    /// A directory is made, and nothing in it.
    Empty,
    /// A directory is left out when nothing of it is taken.
    Wanted,
}

/// How a tree is copied.
pub struct Options<'a> {
    /// What becomes of a path, which is relative to the tree.
    pub choose: &'a dyn Fn(&Path, FileType) -> Choice,
    /// Directories that are never gone into, wherever they are met: device and inode.
    pub never: &'a [(u64, u64)],
}

/// File systems that the kernel makes up: proc, sysfs, devpts, cgroup, cgroup2, securityfs, debugfs, tracefs, bpf,
/// configfs, efivarfs, pstore, autofs, binfmt_misc, fusectl, mqueue, hugetlbfs.
const MADE_UP: [u64; 17] = [
    0x9fa0,
    0x6265_6572,
    0x1cd1,
    0x0027_e0eb,
    0x6367_7270,
    0x7363_6673,
    0x6462_6720,
    0x7472_6163,
    0xcafe_4a11,
    0x6265_6570,
    0xde5e_81e4,
    0x6165_676c,
    0x0187,
    0x4249_4e4d,
    0x6573_5543,
    0x1980_0202,
    0x9584_58f6,
];

/// Copies what is in one directory into another one, which is empty, and gives it the first one's attributes.
pub fn copy(
    from: &Folder,
    to: &Folder,
    options: &Options<'_>,
    observer: &mut Observer<'_>,
) -> Result<Statistics, Fault> {
    let failed = |errno: Errno| Fault::new("copy the tree", errno);
    let mut never = options.never.to_vec();
    let own = to.own_stat().map_err(failed)?;
    never.push((own.st_dev, own.st_ino));
    let mut copying = Copying {
        options,
        never,
        top: to,
        observer,
        statistics: Statistics::default(),
        several: HashMap::new(),
    };
    let mut path = PathBuf::new();
    copying.folder(from, to, &mut path, 0)?;
    let here = OsStr::new(".");
    let attributes = Attributes::from(&from.own_stat().map_err(failed)?);
    let extended = read_extended(&from.path_of(here)).map_err(failed)?;
    attributes
        .apply(to, here, &extended, &mut copying.statistics)
        .map_err(failed)?;
    Ok(copying.statistics)
}

struct Copying<'a, 'b> {
    options: &'a Options<'a>,
    never: Vec<(u64, u64)>,
    top: &'a Folder,
    observer: &'a mut Observer<'b>,
    statistics: Statistics,
    /// Where a file with several names was put first.
    several: HashMap<(u64, u64), PathBuf>,
}

impl Copying<'_, '_> {
    fn folder(
        &mut self,
        from: &Folder,
        to: &Folder,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            let why = format!("more than {DEPTH_MAX} directories within one another");
            return Err(Fault::said(format!("copy {}", shown(path)), why));
        }
        let names = from
            .names()
            .map_err(|errno| Fault::new(format!("read the directory {}", shown(path)), errno))?;
        for name in names {
            path.push(&name);
            match self.one(from, to, &name, path, depth) {
                Ok(()) => {}
                // What was there a moment ago: the tree is in use.
                Err(fault)
                    if fault.source.kind() == io::ErrorKind::NotFound
                        && from.stat(&name).is_err_and(|errno| errno == Errno::NOENT) => {}
                Err(fault) => return Err(fault),
            }
            path.pop();
        }
        Ok(())
    }

    fn one(
        &mut self,
        from: &Folder,
        to: &Folder,
        name: &OsStr,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), Fault> {
        (self.observer)(&self.statistics, path)?;
        let shown = shown(path);
        let failed = |errno: Errno| Fault::new(format!("copy {shown}"), errno);
        let stat = match from.stat(name) {
            Err(Errno::NOENT) => return Ok(()),
            stat => stat.map_err(failed)?,
        };
        let kind = kind(&stat);
        let choice = (self.options.choose)(path, kind);
        if choice == Choice::Skip || self.never.contains(&(stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        let id = (stat.st_dev, stat.st_ino);
        let has_several = stat.st_nlink > 1 && kind != FileType::Directory;
        if has_several && self.link_again(id, to, name).map_err(failed)? {
            return Ok(());
        }
        match kind {
            FileType::Directory => {
                return self.directory(from, to, (name, choice), path, depth);
            }
            FileType::RegularFile if choice == Choice::Link && link(from, to, name) => {
                self.statistics.linked += 1;
                // Owner and all the rest are its own already.
                self.several.insert(id, path.clone());
                return Ok(());
            }
            FileType::RegularFile => self.file(from, to, name, path, &stat)?,
            FileType::Symlink => {
                let target = fs::readlinkat(from, name, Vec::new()).map_err(failed)?;
                fs::symlinkat(&target, to, name).map_err(failed)?;
                self.statistics.symlinks += 1;
            }
            FileType::Fifo => {
                fs::mknodat(to, name, FileType::Fifo, Mode::RUSR, 0).map_err(failed)?;
                self.statistics.special += 1;
            }
            kind if is_allowed_device(path, kind, stat.st_rdev) => {
                fs::mknodat(to, name, kind, Mode::RUSR, stat.st_rdev).map_err(failed)?;
                self.statistics.special += 1;
            }
            _ => {
                self.statistics.skipped += 1;
                return Ok(());
            }
        }
        let extended = read_extended(&from.path_of(name)).map_err(failed)?;
        Attributes::from(&stat)
            .apply(to, name, &extended, &mut self.statistics)
            .map_err(failed)?;
        if has_several {
            self.several.insert(id, path.clone());
        }
        Ok(())
    }

    fn directory(
        &mut self,
        from: &Folder,
        to: &Folder,
        (name, choice): (&OsStr, Choice),
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), Fault> {
        let shown = shown(path);
        let failed = |errno: Errno| Fault::new(format!("copy {shown}"), errno);
        // It is opened before anything of it is believed, and no link is followed.
        let source = match from.child(name) {
            // It has just become something else.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            source => source.map_err(failed)?,
        };
        let stat = source.own_stat().map_err(failed)?;
        let made_up = is_made_up(&source);
        let target = to.new_folder(name).map_err(failed)?;
        self.statistics.directories += 1;
        if choice != Choice::Empty && !made_up {
            self.folder(&source, &target, path, depth + 1)?;
        }
        if choice == Choice::Wanted && target.names().map_err(failed)?.is_empty() {
            self.statistics.directories -= 1;
            return fs::unlinkat(to, name, AtFlags::REMOVEDIR).map_err(failed);
        }
        let extended = read_extended(&source.path_of(OsStr::new("."))).map_err(failed)?;
        Attributes::from(&stat)
            .apply(to, name, &extended, &mut self.statistics)
            .map_err(failed)
    }

    fn file(
        &mut self,
        from: &Folder,
        to: &Folder,
        name: &OsStr,
        path: &Path,
        stat: &Stat,
    ) -> Result<(), Fault> {
        let failed = |error: io::Error| Fault::new(format!("copy {}", shown(path)), error);
        let source = from
            .file(name, stat)
            .map_err(|errno| failed(errno.into()))?;
        let mut target = to.new_file(name).map_err(|errno| failed(errno.into()))?;
        self.statistics.files += 1;
        let mut end = None;
        let copied = sparse::copy(&source, &mut target, &mut |bytes| {
            self.statistics.bytes += bytes;
            (self.observer)(&self.statistics, path).map_err(|fault| {
                end = Some(fault);
                io::Error::other("ended")
            })
        });
        match end {
            Some(fault) => Err(fault),
            None => copied.map_err(failed),
        }
    }

    /// Another name of what has been copied before; false: it has not.
    fn link_again(
        &mut self,
        id: (u64, u64),
        to: &Folder,
        name: &OsStr,
    ) -> rustix::io::Result<bool> {
        let Some(first) = self.several.get(&id) else {
            return Ok(false);
        };
        let parent = self.top.strictly(first.parent().unwrap_or(Path::new("")))?;
        let old = first.file_name().unwrap_or_default();
        match fs::linkat(&parent, old, to, name, AtFlags::empty()) {
            Ok(()) => {
                self.statistics.linked += 1;
                Ok(true)
            }
            Err(Errno::MLINK) => Ok(false),
            Err(errno) => Err(errno),
        }
    }
}

/// Whether a directory is of such a file system.
#[allow(
    clippy::unnecessary_cast,
    reason = "the type is not the same everywhere"
)]
pub(super) fn is_made_up(folder: &Folder) -> bool {
    fs::fstatfs(folder).is_ok_and(|data| MADE_UP.contains(&(data.f_type as u64 & 0xffff_ffff)))
}

/// The very file of the source; false: it cannot be linked.
fn link(from: &Folder, to: &Folder, name: &OsStr) -> bool {
    if fs::linkat(from, name, to, name, AtFlags::empty()).is_err() {
        return false;
    }
    // It may have become something else after it was looked at.
    let is_file = to
        .stat(name)
        .is_ok_and(|stat| kind(&stat) == FileType::RegularFile);
    if !is_file {
        let _ = fs::unlinkat(to, name, AtFlags::empty());
    }
    is_file
}
