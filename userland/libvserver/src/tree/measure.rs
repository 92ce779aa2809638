// SPDX-License-Identifier: GPL-2.0

//! How much a tree holds, and how much room there is.

use super::copy::Choice;
use super::folder::{kind, Folder};
use super::{shown, Fault, Options, DEPTH_MAX};
use rustix::fs::FileType;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// What a copy of a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Names.
    pub entries: u64,
    /// Bytes on the file system.
    pub bytes: u64,
}

/// What a copy of a tree would take.
pub fn measure(folder: &Folder, options: &Options<'_>) -> Result<Size, Fault> {
    let mut size = Size::default();
    let mut seen = HashSet::new();
    walk(folder, &mut PathBuf::new(), 0, &mut |path, stat| {
        let id = (stat.st_dev, stat.st_ino);
        let choice = (options.choose)(path, kind(stat));
        if choice == Choice::Skip || options.never.contains(&id) {
            return false;
        }
        size.entries += 1;
        let counts = choice != Choice::Link || kind(stat) != FileType::RegularFile;
        if counts && (stat.st_nlink == 1 || seen.insert(id)) {
            size.bytes += blocks(stat);
        }
        choice != Choice::Empty
    })?;
    Ok(size)
}

/// The bytes that only this tree holds: files with more than one name are not counted.
pub fn alone(folder: &Folder) -> Result<u64, Fault> {
    let of_itself = folder
        .own_stat()
        .map_err(|errno| Fault::new("look at the directory", errno))?;
    let mut bytes = blocks(&of_itself);
    walk(folder, &mut PathBuf::new(), 0, &mut |_, stat| {
        if kind(stat) == FileType::Directory || stat.st_nlink == 1 {
            bytes += blocks(stat);
        }
        true
    })?;
    Ok(bytes)
}

/// The bytes that root can still write to the file system of a directory.
pub fn free(folder: &Folder) -> Result<u64, Fault> {
    let data = rustix::fs::fstatvfs(folder)
        .map_err(|errno| Fault::new("ask how much room there is", errno))?;
    Ok(data.f_bfree.saturating_mul(data.f_frsize))
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the type is not the same everywhere"
)]
fn blocks(stat: &rustix::fs::Stat) -> u64 {
    (stat.st_blocks as u64).saturating_mul(512)
}

/// Shows each name; a directory is gone into when that says so, and is on a file system that keeps files.
fn walk(
    folder: &Folder,
    path: &mut PathBuf,
    depth: usize,
    look: &mut dyn FnMut(&Path, &rustix::fs::Stat) -> bool,
) -> Result<(), Fault> {
    if depth > DEPTH_MAX {
        let why = format!("more than {DEPTH_MAX} directories within one another");
        return Err(Fault::said(format!("read {}", shown(path)), why));
    }
    let names = folder
        .names()
        .map_err(|errno| Fault::new(format!("read the directory {}", shown(path)), errno))?;
    for name in names {
        let Ok(stat) = folder.stat(&name) else {
            continue;
        };
        path.push(&name);
        if look(path, &stat) && kind(&stat) == FileType::Directory {
            match folder.child(&name) {
                Ok(child) if !super::copy::is_made_up(&child) => {
                    walk(&child, path, depth + 1, look)?;
                }
                _ => {}
            }
        }
        path.pop();
    }
    Ok(())
}
