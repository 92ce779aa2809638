// SPDX-License-Identifier: GPL-2.0

//! Taking a tree away.

use super::folder::{kind, Folder};
use super::{shown, Fault};
use rustix::fs::{self, AtFlags, FileType, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Deeper than this, a directory is moved up to the top first: how deep a tree is, is up to whoever made it.
const DEPTH: usize = 100;

/// Removes a directory of the host and all that is in it; is told of each name. It is no error when there is none.
/// Another file system that is mounted in it is not gone into: that is an error.
pub fn remove(path: &Path, step: &mut dyn FnMut() -> Result<(), Fault>) -> Result<(), Fault> {
    let failed = |errno: Errno| Fault::new(format!("remove {}", path.display()), errno);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(Errno::INVAL));
    };
    let parent = match Folder::open(parent) {
        Err(fault) if fault.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        parent => parent?,
    };
    match parent.stat(name) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(failed(errno)),
        Ok(_) => below(&parent, name, step),
    }
}

/// Removes a name in a directory and all that is below.
pub(super) fn remove_name(folder: &Folder, name: &OsStr) -> Result<(), Fault> {
    below(folder, name, &mut || Ok(()))
}

fn below(
    parent: &Folder,
    name: &OsStr,
    step: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let failed = |errno: Errno| Fault::new(format!("remove {}", shown(Path::new(name))), errno);
    let top = match parent.child_here(name) {
        Err(Errno::XDEV) => return Err(mounted(Path::new(name))),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            return fs::unlinkat(parent, name, AtFlags::empty()).map_err(failed);
        }
        top => top.map_err(failed)?,
    };
    let mut removing = Removing {
        top: &top,
        moved: 0,
        step,
    };
    loop {
        let mut path = PathBuf::from(name);
        let moved = removing.moved;
        removing.folder(&top, &mut path, 0)?;
        // What was moved up may have come after the names were read.
        if removing.moved == moved {
            break;
        }
    }
    drop(top);
    fs::unlinkat(parent, name, AtFlags::REMOVEDIR).map_err(failed)
}

fn mounted(path: &Path) -> Fault {
    Fault::said(
        format!("remove {}", shown(path)),
        "another file system is mounted there; unmount it first",
    )
}

struct Removing<'a> {
    top: &'a Folder,
    moved: u64,
    step: &'a mut dyn FnMut() -> Result<(), Fault>,
}

impl Removing<'_> {
    fn folder(&mut self, folder: &Folder, path: &mut PathBuf, depth: usize) -> Result<(), Fault> {
        let names = folder
            .names()
            .map_err(|errno| Fault::new(format!("read {}", shown(path)), errno))?;
        for name in names {
            path.push(&name);
            self.one(folder, &name, path, depth)?;
            path.pop();
        }
        Ok(())
    }

    fn one(
        &mut self,
        folder: &Folder,
        name: &OsStr,
        path: &mut PathBuf,
        depth: usize,
    ) -> Result<(), Fault> {
        (self.step)()?;
        let shown = shown(path);
        let failed = |errno: Errno| Fault::new(format!("remove {shown}"), errno);
        let gone = |result: rustix::io::Result<()>| match result {
            Err(Errno::NOENT) => Ok(()),
            result => result.map_err(failed),
        };
        match folder.stat(name) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
            Ok(stat) if kind(&stat) != FileType::Directory => {
                return match fs::unlinkat(folder, name, AtFlags::empty()) {
                    Err(Errno::BUSY) => Err(mounted(path)),
                    result => gone(result),
                };
            }
            Ok(_) => {}
        }
        let child = match folder.child_here(name) {
            Err(Errno::XDEV) => return Err(mounted(path)),
            child => child.map_err(failed)?,
        };
        if depth >= DEPTH {
            drop(child);
            // A guest may have made some of these names.
            loop {
                let up = OsString::from(format!(".removed.{}", self.moved));
                self.moved += 1;
                let flags = RenameFlags::NOREPLACE;
                match fs::renameat_with(folder, name, self.top, &up, flags) {
                    Err(Errno::EXIST) => {}
                    result => return gone(result),
                }
            }
        }
        self.folder(&child, path, depth + 1)?;
        drop(child);
        match fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) => Err(mounted(path)),
            result => gone(result),
        }
    }
}
