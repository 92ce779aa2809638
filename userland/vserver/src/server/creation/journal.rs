// SPDX-License-Identifier: GPL-2.0

//! What a command that was ended has left, and how it is finished or taken back.
//!
//! - build: everything is in `/vservers/.NAME.build`; the configuration in `/etc/vservers/.NAME.conf.new`. Taken back.
//! - delete: the configuration is `/etc/vservers/.NAME.conf.delete`, later the tree `/vservers/.NAME.delete`. Finished.
//! - rename: `/etc/vservers/.NAME.rename` has the new name. Finished.

use super::companion;
use super::hidden;
use super::hidden_root;
use super::logs;
use super::COMPANIONS;
use crate::server::Server;
use anyhow::Context;
use libvserver::config;
use libvserver::config::DIRECTORY;
use libvserver::tree;
use libvserver::tree::Fault;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What is left of a command that was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Leftover {
    /// It is half made.
    Build,
    /// It is half deleted.
    Delete,
    /// It is half renamed.
    Rename {
        /// What it was called.
        from: String,
        /// What it will be called.
        to: String,
    },
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build => f.write_str("a build was interrupted; the next \"build\" cleans up"),
            Self::Delete => f.write_str("a delete was interrupted; \"delete\" finishes it"),
            Self::Rename { from, to } => write!(
                f,
                "a rename from {from} to {to} was interrupted; the next command finishes it"
            ),
        }
    }
}

/// What is left of a command that was ended, by a vserver's name.
pub(crate) fn leftover(name: &str) -> Option<Leftover> {
    let is_whole =
        || config::file(name).exists() && Server::new(name).is_ok_and(|one| one.root().exists());
    // Only the place where it was made is left of one that is whole.
    left(name).filter(|left| *left != Leftover::Build || !is_whole())
}

fn left(name: &str) -> Option<Leftover> {
    let there = |path: &Path| fs::symlink_metadata(path).is_ok();
    if let Some((from, to)) = rename_of(name) {
        return Some(Leftover::Rename { from, to });
    }
    if there(&hidden(name, "conf.delete")) || there(&hidden_root(name, "delete")) {
        return Some(Leftover::Delete);
    }
    (there(&hidden_root(name, "build")) || there(&hidden(name, "conf.new")))
        .then_some(Leftover::Build)
}

/// Finishes or takes back what is left under a name. Its lock is held, and that of the other name of a rename is taken.
pub(crate) fn settle(
    server: &Server,
    step: &mut dyn FnMut() -> Result<(), Fault>,
) -> anyhow::Result<()> {
    let name = &server.name;
    match left(name) {
        None => Ok(()),
        Some(Leftover::Rename { from, to }) => {
            let other = if from == *name { &to } else { &from };
            let _lock = Server::new(other)?.lock()?;
            finish_rename(&Server::new(&from)?, &Server::new(&to)?)?;
            settle(server, step)
        }
        Some(Leftover::Delete) => finish_delete(server, step),
        Some(Leftover::Build) => take_back_build(server, step),
    }
}

/// Finishes a rename that was interrupted, when that is why a vserver is not whole.
pub(crate) fn finish_rename_of(server: &Server) -> anyhow::Result<()> {
    if config::file(&server.name).exists() && server.root().exists() {
        return Ok(());
    }
    match left(&server.name) {
        Some(Leftover::Rename { .. }) => {
            let _lock = server.lock()?;
            settle(server, &mut || Ok(()))
        }
        _ => Ok(()),
    }
}

/// Takes back a build that was ended. A root directory is taken away only when it is the one that was built.
pub(crate) fn take_back_build(
    server: &Server,
    step: &mut dyn FnMut() -> Result<(), Fault>,
) -> anyhow::Result<()> {
    let name = &server.name;
    let staging = hidden_root(name, "build");
    let new = hidden(name, "conf.new");
    // The tree has got its place, the configuration has not.
    let was_moved = new.exists()
        && staging.is_dir()
        && !staging.join("root").exists()
        && !config::file(name).exists();
    if was_moved {
        tree::remove(&server.root(), step)?;
    }
    let id = |path: &Path| {
        fs::symlink_metadata(path)
            .map(|data| (data.dev(), data.ino()))
            .ok()
    };
    for ending in COMPANIONS {
        let new = hidden(name, &format!("{ending}.new"));
        let there = companion(name, ending);
        if !config::file(name).exists() && id(&new).is_some() && id(&new) == id(&there) {
            remove_file(&there)?;
        }
        remove_file(&new)?;
    }
    remove_file(&new)?;
    // Last: it tells that there is something to be taken back.
    tree::remove(&staging, step)?;
    Ok(())
}

/// Deletes a vserver, from wherever it was ended before.
pub(crate) fn finish_delete(
    server: &Server,
    step: &mut dyn FnMut() -> Result<(), Fault>,
) -> anyhow::Result<()> {
    let name = &server.name;
    let gone = hidden_root(name, "delete");
    let is_back = config::file(name).exists();
    // A configuration that somebody has put there since is another vserver's.
    if !is_back {
        if gone.exists() {
            tree::remove(&gone, step)?;
        }
        rename_if_there(&server.root(), &gone)?;
    }
    tree::remove(&gone, step)?;
    if !is_back {
        for ending in COMPANIONS {
            remove_file(&companion(name, ending))?;
        }
        for log in logs(server) {
            remove_file(&log)?;
        }
        remove_file(&hidden(name, "conf.edit"))?;
    }
    remove_file(&hidden(name, "conf.delete"))
}

/// The rename that a name is part of.
fn rename_of(name: &str) -> Option<(String, String)> {
    let target = |from: &str| {
        let text = fs::read_to_string(hidden(from, "rename")).ok()?;
        let to = Server::new(text.trim()).ok()?.name;
        Some((from.to_owned(), to))
    };
    if let Some(found) = target(name) {
        return Some(found);
    }
    fs::read_dir(DIRECTORY).ok()?.flatten().find_map(|entry| {
        let file = entry.file_name();
        let from = file.to_str()?.strip_prefix('.')?.strip_suffix(".rename")?;
        let found = target(&Server::new(from).ok()?.name)?;
        (found.1 == name).then_some(found)
    })
}

/// Writes down that a vserver is to be renamed, and does it. Both locks are held.
pub(crate) fn rename(from: &Server, to: &Server) -> anyhow::Result<()> {
    write_synced(
        &hidden(&from.name, "rename"),
        format!("{}\n", to.name).as_bytes(),
    )?;
    finish_rename(from, to)
}

/// The root goes first: what is half renamed cannot be started by either name.
fn finish_rename(from: &Server, to: &Server) -> anyhow::Result<()> {
    move_on(&from.root(), &to.root())?;
    for ending in COMPANIONS {
        move_on(&companion(&from.name, ending), &companion(&to.name, ending))?;
    }
    for (old, new) in logs(from).iter().zip(logs(to)) {
        move_on(old, &new)?;
    }
    let edited = |name: &str| hidden(name, "conf.edit");
    move_on(&edited(&from.name), &edited(&to.name))?;
    move_on(&config::file(&from.name), &config::file(&to.name))?;
    sync(Path::new(DIRECTORY))?;
    remove_file(&hidden(&from.name, "rename"))
}

/// Renames what has not been renamed yet.
fn move_on(from: &Path, to: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Ok(()),
        Err(_) => rename_if_there(from, to),
    }
}

/// It is no error when there is nothing.
pub(crate) fn rename_if_there(from: &Path, to: &Path) -> anyhow::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => {
            result.with_context(|| format!("cannot rename {} to {}", from.display(), to.display()))
        }
    }
}

/// It is no error when there is none.
pub(crate) fn remove_file(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| format!("cannot remove {}", path.display())),
    }
}

/// Writes a new file that is on the disk when this returns.
pub(crate) fn write_synced(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write {}", path.display()))?;
    sync(path.parent().unwrap_or(Path::new("/")))
}

/// What was renamed in a directory is on the disk.
pub(crate) fn sync(folder: &Path) -> anyhow::Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("cannot write {}", folder.display()))
}
