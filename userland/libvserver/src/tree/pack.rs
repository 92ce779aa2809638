// SPDX-License-Identifier: GPL-2.0

//! A tree to a tar archive: what ustar has no room for is in records of PAX.

use super::attributes::{read_extended, Attributes};
use super::folder::{kind, Folder};
use super::places::is_allowed_device;
use super::{shown, Fault, Observer, Statistics, DEPTH_MAX};
use rustix::fs::{self, FileType, Stat};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use tar::{EntryType, Header};

/// The size of a block.
const BLOCK: usize = 512;

/// Writes an archive.
pub struct Packer<W: Write> {
    out: W,
    statistics: Statistics,
    several: HashMap<(u64, u64), PathBuf>,
}

/// One entry that is to be written.
struct New<'a> {
    path: &'a Path,
    kind: EntryType,
    link: &'a [u8],
    size: u64,
    attributes: &'a Attributes,
    extended: &'a [(Vec<u8>, Vec<u8>)],
}

fn broken(error: io::Error) -> Fault {
    Fault::new("write the archive", error)
}

impl<W: Write> Packer<W> {
    /// Begins one.
    pub fn new(out: W) -> Self {
        Self {
            out,
            statistics: Statistics::default(),
            several: HashMap::new(),
        }
    }

    /// Writes a file of the host.
    pub fn file(&mut self, path: &Path, content: &[u8]) -> Result<(), Fault> {
        let epoch = fs::Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let attributes = Attributes {
            kind: FileType::RegularFile,
            mode: 0o644,
            owner: 0,
            group: 0,
            accessed: epoch,
            modified: epoch,
        };
        self.begin(&New {
            path,
            kind: EntryType::Regular,
            link: &[],
            size: content.len() as u64,
            attributes: &attributes,
            extended: &[],
        })
        .and_then(|()| self.content(&mut &*content, content.len() as u64, &mut |_| Ok(())))
        .map_err(broken)
    }

    /// Writes a tree beneath a path. Sockets, and devices that a vserver may not have, are left out.
    pub fn tree(
        &mut self,
        prefix: &Path,
        folder: &Folder,
        observer: &mut Observer<'_>,
    ) -> Result<(), Fault> {
        let failed = |errno: rustix::io::Errno| Fault::new("read the tree", errno);
        let stat = folder.own_stat().map_err(failed)?;
        let extended = read_extended(&folder.path_of(OsStr::new("."))).map_err(failed)?;
        self.begin(&New {
            path: prefix,
            kind: EntryType::Directory,
            link: &[],
            size: 0,
            attributes: &Attributes::from(&stat),
            extended: &extended,
        })
        .map_err(broken)?;
        self.folder(prefix, folder, &mut PathBuf::new(), 0, observer)
    }

    /// Writes the end; returns what there was.
    pub fn finish(mut self) -> Result<(W, Statistics), Fault> {
        self.out.write_all(&[0; 2 * BLOCK]).map_err(broken)?;
        Ok((self.out, self.statistics))
    }

    fn folder(
        &mut self,
        prefix: &Path,
        folder: &Folder,
        path: &mut PathBuf,
        depth: usize,
        observer: &mut Observer<'_>,
    ) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            let why = format!("more than {DEPTH_MAX} directories within one another");
            return Err(Fault::said(format!("read {}", shown(path)), why));
        }
        let names = folder
            .names()
            .map_err(|errno| Fault::new(format!("read the directory {}", shown(path)), errno))?;
        for name in names {
            path.push(&name);
            observer(&self.statistics, path)?;
            match folder.stat(&name) {
                Ok(stat) => self.one(prefix, folder, (&name, &stat), path, depth, observer)?,
                Err(rustix::io::Errno::NOENT) => {}
                Err(errno) => return Err(Fault::new(format!("read {}", shown(path)), errno)),
            }
            path.pop();
        }
        Ok(())
    }

    fn one(
        &mut self,
        prefix: &Path,
        folder: &Folder,
        (name, stat): (&OsStr, &Stat),
        path: &mut PathBuf,
        depth: usize,
        observer: &mut Observer<'_>,
    ) -> Result<(), Fault> {
        let read = |error: io::Error| Fault::new(format!("read {}", shown(path)), error);
        let inside = prefix.join(&*path);
        let kind = kind(stat);
        let attributes = Attributes::from(stat);
        let mut new = New {
            path: &inside,
            kind: EntryType::Regular,
            link: &[],
            size: 0,
            attributes: &attributes,
            extended: &[],
        };
        let id = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 && kind != FileType::Directory {
            if let Some(first) = self.several.get(&id).cloned() {
                new.kind = EntryType::Link;
                new.link = first.as_os_str().as_bytes();
                self.statistics.linked += 1;
                return self.begin(&new).map_err(broken);
            }
        }
        let extended = read_extended(&folder.path_of(name)).map_err(|errno| read(errno.into()))?;
        new.extended = &extended;
        let target;
        match kind {
            FileType::Directory => {
                let child = folder.child(name).map_err(|errno| read(errno.into()))?;
                new.kind = EntryType::Directory;
                self.begin(&new).map_err(broken)?;
                self.statistics.directories += 1;
                if super::copy::is_made_up(&child) {
                    return Ok(());
                }
                return self.folder(prefix, &child, path, depth + 1, observer);
            }
            FileType::RegularFile => {
                let mut file = folder
                    .file(name, stat)
                    .map_err(|errno| read(errno.into()))?;
                new.size = file.metadata().map_err(read)?.len();
                self.statistics.files += 1;
                self.begin(&new).map_err(broken)?;
                let size = new.size;
                let mut end = None;
                let mut statistics = self.statistics;
                let written = self.content(&mut file, size, &mut |bytes| {
                    statistics.bytes += bytes;
                    observer(&statistics, path).map_err(|fault| {
                        end = Some(fault);
                        io::Error::other("ended")
                    })
                });
                self.statistics = statistics;
                match end {
                    Some(fault) => return Err(fault),
                    None => written.map_err(|error| {
                        Fault::new(format!("put {} into the archive", shown(path)), error)
                    })?,
                }
            }
            FileType::Symlink => {
                target = fs::readlinkat(folder, name, Vec::new())
                    .map_err(|errno| read(errno.into()))?
                    .into_bytes();
                new.kind = EntryType::Symlink;
                new.link = &target;
                self.statistics.symlinks += 1;
                self.begin(&new).map_err(broken)?;
            }
            FileType::Fifo => {
                new.kind = EntryType::Fifo;
                self.statistics.special += 1;
                self.begin(&new).map_err(broken)?;
            }
            kind if is_allowed_device(path, kind, stat.st_rdev) => {
                new.kind = EntryType::Char;
                new.size = stat.st_rdev;
                self.statistics.special += 1;
                self.begin(&new).map_err(broken)?;
            }
            _ => {
                self.statistics.skipped += 1;
                return Ok(());
            }
        }
        if stat.st_nlink > 1 {
            self.several.insert(id, inside.clone());
        }
        Ok(())
    }

    /// The content of an entry, exactly as long as was said: what is missing of it is zero.
    fn content(
        &mut self,
        from: &mut dyn Read,
        size: u64,
        step: &mut dyn FnMut(u64) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 17];
        let mut left = size;
        while left > 0 {
            let wanted = usize::try_from(left)
                .unwrap_or(buffer.len())
                .min(buffer.len());
            let mut read = from.read(&mut buffer[..wanted])?;
            if read == 0 {
                // It has become shorter.
                buffer.fill(0);
                read = wanted;
            }
            self.out.write_all(&buffer[..read])?;
            left -= read as u64;
            step(read as u64)?;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let rest = (size % BLOCK as u64) as usize;
        match rest {
            0 => Ok(()),
            rest => self.out.write_all(&[0; BLOCK][rest..]),
        }
    }

    fn begin(&mut self, new: &New<'_>) -> io::Result<()> {
        let mut header = Header::new_ustar();
        let mut records = Vec::new();
        let mut path = new.path.as_os_str().as_bytes().to_vec();
        if new.kind == EntryType::Directory {
            path.push(b'/');
        }
        let attributes = new.attributes;
        if let Some(ustar) = header.as_ustar_mut() {
            for (field, value, key) in [
                (&mut ustar.name[..], &path[..], "path"),
                (&mut ustar.linkname[..], new.link, "linkpath"),
            ] {
                if value.len() > field.len() {
                    record(&mut records, key.as_bytes(), value);
                }
                let length = value.len().min(field.len());
                field[..length].copy_from_slice(&value[..length]);
            }
        }
        header.set_entry_type(new.kind);
        header.set_mode(attributes.mode);
        header.set_uid(attributes.owner.into());
        header.set_gid(attributes.group.into());
        if new.kind == EntryType::Char {
            header.set_device_major(fs::major(new.size))?;
            header.set_device_minor(fs::minor(new.size))?;
            header.set_size(0);
        } else {
            header.set_device_major(0)?;
            header.set_device_minor(0)?;
            header.set_size(new.size);
            if new.size >= 1 << 33 {
                record(&mut records, b"size", new.size.to_string().as_bytes());
            }
        }
        let (seconds, nanoseconds) = (attributes.modified.tv_sec, attributes.modified.tv_nsec);
        header.set_mtime(u64::try_from(seconds).unwrap_or(0));
        if nanoseconds != 0 || seconds < 0 {
            // Before 1970 the fraction counts the other way.
            let text = match seconds < 0 && nanoseconds > 0 {
                true => {
                    let whole = match seconds + 1 {
                        0 => "-0".to_owned(),
                        whole => whole.to_string(),
                    };
                    format!("{whole}.{:09}", 1_000_000_000 - nanoseconds)
                }
                false => format!("{seconds}.{nanoseconds:09}"),
            };
            record(&mut records, b"mtime", text.as_bytes());
        }
        for (name, value) in new.extended {
            record(&mut records, &[b"SCHILY.xattr.", &name[..]].concat(), value);
        }
        if !records.is_empty() {
            let mut extra = Header::new_ustar();
            extra.set_entry_type(EntryType::XHeader);
            extra.set_path("PaxHeaders/entry")?;
            extra.set_mode(0o644);
            extra.set_uid(0);
            extra.set_gid(0);
            extra.set_mtime(0);
            extra.set_size(records.len() as u64);
            extra.set_cksum();
            self.out.write_all(extra.as_bytes())?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }
}

/// `LENGTH NAME=VALUE\n`, where the length counts its own digits.
fn record(into: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = name.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    into.extend_from_slice(length.to_string().as_bytes());
    into.push(b' ');
    into.extend_from_slice(name);
    into.push(b'=');
    into.extend_from_slice(value);
    into.push(b'\n');
}
