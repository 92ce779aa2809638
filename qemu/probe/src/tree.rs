// SPDX-License-Identifier: GPL-2.0

//! A file below several directories.

use anyhow::Result;
use nix::unistd::getpid;
use std::{
    ffi::CString,
    fs::{self, File, Permissions},
    os::unix::{
        ffi::OsStrExt,
        fs::{chown, PermissionsExt},
    },
    path::PathBuf,
};

/// With `/tmp` and the top these are eight.
const FOLDERS: usize = 6;

/// Which of them may be closed.
const CLOSED: usize = 3;

/// Not root.
const OTHER_USER: u32 = 1000;

/// They are gone when this is dropped.
pub struct Tree {
    top: PathBuf,
    /// The file.
    pub file: CString,
}

impl Tree {
    /// Makes them. One may be closed to all but its owner, who is not the caller.
    pub fn new(closed: bool) -> Result<Self> {
        let top = PathBuf::from(format!("/tmp/probe-{}", getpid()));
        let below = |count| (0..count).fold(top.clone(), |path, _| path.join("folder"));
        fs::create_dir_all(below(FOLDERS))?;
        let file = below(FOLDERS).join("file");
        File::create(&file)?;
        if closed {
            fs::set_permissions(below(CLOSED), Permissions::from_mode(0o700))?;
            chown(below(CLOSED), Some(OTHER_USER), Some(OTHER_USER))?;
        }
        Ok(Self {
            file: CString::new(file.as_os_str().as_bytes())?,
            top,
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}
