// SPDX-License-Identifier: GPL-2.0

//! A tar archive to a tree. Whoever made the archive is not trusted: nothing is written outside, whatever links are in
//! it.

use super::attributes::Attributes;
use super::folder::{kind, Folder};
use super::places::is_allowed_device;
use super::reader::{Entry, Reader};
use super::remove::remove_name;
use super::{compression, sparse, Fault, Observer, Statistics};
use rustix::fs::{self, AtFlags, FileType, Mode, Timespec};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use tar::EntryType;

/// Takes what is no part of the tree.
pub type Others<'a> = dyn FnMut(&Path, &mut dyn Read) -> io::Result<()> + 'a;

/// What of an archive is the tree.
#[derive(Default)]
pub struct Archive<'a> {
    /// The directory in the archive that is the root, and what takes the files elsewhere in it.
    pub within: Option<(&'a Path, &'a mut Others<'a>)>,
    /// The files whose names begin with `.wh.` say what is not there.
    pub whiteouts: bool,
}

/// Unpacks an archive, compressed or not, into a directory.
pub fn unpack<R: Read>(
    input: R,
    root: &Folder,
    archive: &mut Archive<'_>,
    observer: &mut Observer<'_>,
) -> Result<Statistics, Fault> {
    let mut statistics = Statistics::default();
    unpack_more(input, root, archive, &mut statistics, observer)?;
    Ok(statistics)
}

pub(super) fn unpack_more<R: Read>(
    input: R,
    root: &Folder,
    archive: &mut Archive<'_>,
    statistics: &mut Statistics,
    observer: &mut Observer<'_>,
) -> Result<(), Fault> {
    let broken = |error| Fault::new("read the archive", error);
    let mut reader = Reader::new(compression::open(input).map_err(broken)?);
    let mut unpacking = Unpacking {
        root,
        statistics,
        observer,
        folders: BTreeMap::new(),
    };
    while let Some(mut entry) = reader.next().map_err(broken)? {
        let Some(mut path) = unpacking.clean(&entry.path, &entry)? else {
            continue;
        };
        (unpacking.observer)(unpacking.statistics, &path)?;
        if let Some((prefix, others)) = &mut archive.within {
            match path.strip_prefix(*prefix) {
                Ok(rest) => path = rest.to_owned(),
                Err(_) => {
                    if entry.kind == EntryType::Regular {
                        others(&path, &mut reader.content()).map_err(broken)?;
                    }
                    continue;
                }
            }
            if entry.kind == EntryType::Link {
                let target = unpacking.target(&entry)?;
                match target.strip_prefix(*prefix) {
                    Ok(rest) => entry.link = rest.as_os_str().as_bytes().to_vec(),
                    Err(_) => {
                        return Err(refused(&entry, "it is a link to what is not in the tree"))
                    }
                }
            }
        }
        let is_whiteout = |name: &OsStr| name.as_bytes().starts_with(b".wh.");
        if archive.whiteouts && path.file_name().is_some_and(is_whiteout) {
            continue;
        }
        unpacking.one(&entry, &path, &mut reader)?;
    }
    unpacking.finish()
}

/// The paths in an archive, cleaned.
pub(super) fn paths<R: Read>(
    input: R,
    look: &mut dyn FnMut(&Path) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let broken = |error| Fault::new("read the archive", error);
    let mut reader = Reader::new(compression::open(input).map_err(broken)?);
    while let Some(entry) = reader.next().map_err(broken)? {
        if let Some(path) = clean(&entry.path) {
            look(&path)?;
        }
    }
    Ok(())
}

fn refused(entry: &Entry, why: &str) -> Fault {
    let path = String::from_utf8_lossy(&entry.path).into_owned();
    Fault::said(format!("unpack {path:?}"), why)
}

/// A path beneath the root; `None`: it has `..` in it. One that is absolute is beneath the root too.
fn clean(path: &[u8]) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(path)).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

struct Unpacking<'a, 'b> {
    root: &'a Folder,
    statistics: &'a mut Statistics,
    observer: &'a mut Observer<'b>,
    /// What each directory is to be like in the end: what is put into it changes its times.
    folders: BTreeMap<PathBuf, Attributes>,
}

impl Unpacking<'_, '_> {
    fn clean(&self, path: &[u8], entry: &Entry) -> Result<Option<PathBuf>, Fault> {
        if path.contains(&0) {
            return Err(refused(entry, "its name has a zero byte"));
        }
        match clean(path) {
            Some(path) => Ok(Some(path)),
            None => Err(refused(
                entry,
                "its name has \"..\" in it, which could lead out",
            )),
        }
    }

    fn target(&self, entry: &Entry) -> Result<PathBuf, Fault> {
        match clean(&entry.link) {
            Some(path) if !path.as_os_str().is_empty() && !entry.link.contains(&0) => Ok(path),
            _ => Err(refused(entry, "it is a link to something outside")),
        }
    }

    /// The directory that a path is in. What is missing of it is made; links are followed inside.
    fn parent(&mut self, path: &Path) -> rustix::io::Result<Folder> {
        match self.root.inside(path) {
            Err(Errno::NOENT) => {}
            result => return result,
        }
        let above = path.parent().ok_or(Errno::NOENT)?;
        let folder = self.parent(above)?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        match fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => self.statistics.directories += 1,
            // A link that leads nowhere yet.
            Err(Errno::EXIST) => return Err(Errno::LOOP),
            Err(errno) => return Err(errno),
        }
        fs::chmodat(&folder, name, Mode::from_raw_mode(0o755), AtFlags::empty())?;
        folder.child(name)
    }

    fn one(
        &mut self,
        entry: &Entry,
        path: &Path,
        reader: &mut Reader<impl Read>,
    ) -> Result<(), Fault> {
        let failed = |error: io::Error| {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            Fault::new(format!("unpack {path:?}"), error)
        };
        let kernel = |errno: Errno| failed(errno.into());
        let mut attributes = Attributes {
            kind: FileType::RegularFile,
            mode: entry.mode,
            owner: entry.owner,
            group: entry.group,
            accessed: stamp(entry),
            modified: stamp(entry),
        };
        let Some(name) = path.file_name() else {
            // The root itself.
            if entry.kind == EntryType::Directory {
                attributes.kind = FileType::Directory;
                self.folders.insert(PathBuf::new(), attributes);
            }
            return Ok(());
        };
        let folder = self
            .parent(path.parent().unwrap_or(Path::new("")))
            .map_err(kernel)?;
        let kind = match entry.kind {
            EntryType::Directory => FileType::Directory,
            EntryType::Symlink => FileType::Symlink,
            EntryType::Fifo => FileType::Fifo,
            EntryType::Char => FileType::CharacterDevice,
            EntryType::Block => FileType::BlockDevice,
            // An old archive has a directory as a file with a slash at its end.
            EntryType::Regular if entry.path.ends_with(b"/") => FileType::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse | EntryType::Link => {
                FileType::RegularFile
            }
            other => {
                let why = format!("its kind {:?} is unknown", char::from(other.as_byte()));
                return Err(refused(entry, &why));
            }
        };
        attributes.kind = kind;
        let device = fs::makedev(entry.device.0, entry.device.1);
        let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        if is_device && !is_allowed_device(path, kind, device) {
            self.statistics.skipped += 1;
            return Ok(());
        }
        // What an earlier entry has put there gives way, but for a directory to a directory.
        if entry.kind == EntryType::Link {
            return self.link(entry, &folder, name);
        }
        match folder.stat(name) {
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(kernel(errno)),
            Ok(seen) if kind == FileType::Directory && self::kind(&seen) == FileType::Directory => {
            }
            Ok(_) => remove_name(&folder, name)?,
        }
        match kind {
            FileType::Directory => {
                match fs::mkdirat(&folder, name, Mode::RWXU) {
                    Ok(()) => self.statistics.directories += 1,
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(kernel(errno)),
                }
                self.folders.insert(path.to_owned(), attributes.clone());
            }
            FileType::Symlink => {
                let target = OsString::from_vec(entry.link.clone());
                fs::symlinkat(target, &folder, name).map_err(kernel)?;
                self.statistics.symlinks += 1;
            }
            FileType::RegularFile => {
                let mut file = folder.new_file(name).map_err(kernel)?;
                self.statistics.files += 1;
                self.content(entry, path, reader, &mut file, &failed)?;
            }
            _ => {
                fs::mknodat(&folder, name, kind, Mode::RUSR, device).map_err(kernel)?;
                self.statistics.special += 1;
            }
        }
        let extended: Vec<_> = entry
            .attributes
            .iter()
            .filter(|(name, _)| is_kept(name))
            .cloned()
            .collect();
        self.statistics.attributes_lost += (entry.attributes.len() - extended.len()) as u64;
        attributes
            .apply(&folder, name, &extended, self.statistics)
            .map_err(kernel)
    }

    fn content(
        &mut self,
        entry: &Entry,
        path: &Path,
        reader: &mut Reader<impl Read>,
        file: &mut File,
        failed: &dyn Fn(io::Error) -> Fault,
    ) -> Result<(), Fault> {
        let mut end = None;
        let statistics = &mut *self.statistics;
        let observer = &mut *self.observer;
        let mut step = |bytes| {
            statistics.bytes += bytes;
            observer(statistics, path).map_err(|fault| {
                end = Some(fault);
                io::Error::other("ended")
            })
        };
        let result = match &entry.parts {
            None => sparse::fill(&mut reader.content(), file, &mut step).map(|_| ()),
            Some(parts) => parts
                .iter()
                .try_for_each(|(at, size)| {
                    file.seek(io::SeekFrom::Start(*at))?;
                    let part = reader.content();
                    let copied = io::copy(&mut part.take(*size), file)?;
                    step(copied)
                })
                .and_then(|()| file.set_len(entry.length)),
        };
        match end {
            Some(fault) => Err(fault),
            None => result.map_err(failed),
        }
    }

    /// Another name for what has been unpacked.
    fn link(&mut self, entry: &Entry, folder: &Folder, name: &OsStr) -> Result<(), Fault> {
        let target = self.target(entry)?;
        let failed = |errno: Errno| match errno {
            Errno::NOENT => refused(
                entry,
                "it is a link to what is not in the archive before it",
            ),
            errno => refused(entry, &errno.to_string()),
        };
        let old = target.file_name().unwrap_or_default();
        let parent = self
            .root
            .inside(target.parent().unwrap_or(Path::new("")))
            .map_err(failed)?;
        let seen = parent.stat(old).map_err(failed)?;
        if kind(&seen) == FileType::Directory {
            return Err(refused(entry, "it is a link to a directory"));
        }
        match folder.stat(name) {
            Ok(there) if (there.st_dev, there.st_ino) == (seen.st_dev, seen.st_ino) => {
                return Ok(());
            }
            Ok(_) => remove_name(folder, name)?,
            Err(_) => {}
        }
        fs::linkat(&parent, old, folder, name, AtFlags::empty()).map_err(failed)?;
        self.statistics.linked += 1;
        Ok(())
    }

    /// The times of directories, the innermost first.
    fn finish(self) -> Result<(), Fault> {
        for (path, attributes) in self.folders.iter().rev() {
            let here = OsStr::new(".");
            // One that has been replaced in the meantime has no times to be set.
            let Ok(folder) = self.root.strictly(path) else {
                continue;
            };
            let result = match path.as_os_str().is_empty() {
                true => attributes.apply(&folder, here, &[], self.statistics),
                false => attributes.apply_times(&folder, here),
            };
            result.map_err(|errno| {
                Fault::new(format!("set the times of {}", super::shown(path)), errno)
            })?;
        }
        Ok(())
    }
}

/// What of the extended attributes strangers may set in a vserver.
fn is_kept(name: &[u8]) -> bool {
    name.starts_with(b"user.")
        || [
            &b"security.capability"[..],
            b"system.posix_acl_access",
            b"system.posix_acl_default",
        ]
        .contains(&name)
}

fn stamp(entry: &Entry) -> Timespec {
    Timespec {
        tv_sec: entry.modified.0,
        tv_nsec: entry.modified.1.into(),
    }
}
