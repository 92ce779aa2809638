// SPDX-License-Identifier: GPL-2.0

//! A vserver that is being made: everything in a place that no vserver has, until it is whole.

use super::companion;
use super::hidden;
use super::hidden_root;
use super::journal;
use super::settle;
use super::Work;
use crate::server::make_directory;
use crate::server::Server;
use crate::server::ROOTS;
use anyhow::bail;
use anyhow::Context;
use libvserver::config;
use libvserver::config::DIRECTORY;
use libvserver::tree::Folder;
use nix::fcntl::Flock;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::path::PathBuf;

/// A place to make a vserver in. Dropped before it is whole: nothing is left.
pub(crate) struct Staging {
    pub(crate) server: Server,
    _lock: Flock<File>,
    /// Whether somebody has written the configuration already.
    pub(crate) has_configuration: bool,
    is_done: bool,
}

impl Staging {
    /// Begins: what a command before has left is cleaned up first. `takes_configuration`: one that is there is kept.
    pub(crate) fn begin(
        name: &str,
        takes_configuration: bool,
        work: &mut Work,
    ) -> anyhow::Result<Self> {
        let server = Server::new(name)?;
        make_directory(ROOTS)?;
        make_directory(DIRECTORY)?;
        let lock = server.lock()?;
        settle(&server, &mut || work.tick())?;
        let file = config::file(name);
        let root = server.root();
        let has_configuration = fs::symlink_metadata(&file).is_ok();
        let has_root = fs::symlink_metadata(&root).is_ok();
        match (has_configuration, has_root) {
            (true, true) => bail!(
                "the vserver {name} exists already; take another name, or delete it first with \"vserver {name} delete\""
            ),
            (false, true) => bail!(
                "{} exists without a configuration: for a vserver of these files write {}, or move them away and build again",
                root.display(),
                file.display()
            ),
            (true, false) if !takes_configuration => bail!(
                "{} exists already; take another name, or move it away",
                file.display()
            ),
            (true, false) => {
                // What it says must hold before anything is made.
                libvserver::Config::load(name)?;
            }
            (false, false) => {}
        }
        let staging = Self {
            server,
            _lock: lock,
            has_configuration,
            is_done: false,
        };
        for folder in [staging.folder(), staging.root()] {
            DirBuilder::new()
                .mode(0o700)
                .create(&folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
        Ok(staging)
    }

    /// The place, which is nobody else's.
    pub(crate) fn folder(&self) -> PathBuf {
        hidden_root(&self.server.name, "build")
    }

    /// What becomes the root directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// The same, open.
    pub(crate) fn open(&self) -> anyhow::Result<Folder> {
        Ok(Folder::open_itself(&self.root())?)
    }

    /// Files that somebody has put beside the configuration that is to come are not replaced.
    pub(crate) fn must_have_no_companions(
        &self,
        companions: &[(&str, Vec<u8>)],
    ) -> anyhow::Result<()> {
        for (ending, _) in companions {
            let path = companion(&self.server.name, ending);
            if fs::symlink_metadata(&path).is_ok() {
                bail!("{} exists already; move it away first", path.display());
            }
        }
        Ok(())
    }

    /// It is whole: it becomes a vserver, with this configuration when there is none, and these files beside it, by
    /// their endings.
    pub(crate) fn finish(
        mut self,
        configuration: Option<&str>,
        companions: &[(&str, Vec<u8>)],
    ) -> anyhow::Result<()> {
        let name = self.server.name.clone();
        let new = hidden(&name, "conf.new");
        if let Some(text) = configuration {
            journal::write_synced(&new, text.as_bytes())?;
        }
        for (ending, content) in companions {
            let path = hidden(&name, &format!("{ending}.new"));
            journal::write_synced(&path, content)?;
            if *ending == "sh" {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
            }
        }
        // All of the tree is on the disk before it has its name.
        let root = File::open(self.root())?;
        rustix::fs::syncfs(&root).context("cannot write the new vserver to the disk")?;
        fs::rename(self.root(), self.server.root())
            .with_context(|| format!("cannot make {}", self.server.root().display()))?;
        journal::sync(Path::new(ROOTS))?;
        for (ending, _) in companions {
            let path = hidden(&name, &format!("{ending}.new"));
            let place = companion(&name, ending);
            // The other name tells whose it is until there is a configuration.
            fs::hard_link(&path, &place)
                .with_context(|| format!("cannot make {}", place.display()))?;
        }
        if configuration.is_some() {
            let file = config::file(&name);
            fs::rename(&new, &file).with_context(|| format!("cannot make {}", file.display()))?;
        }
        journal::sync(Path::new(DIRECTORY))?;
        self.is_done = true;
        for (ending, _) in companions {
            journal::remove_file(&hidden(&name, &format!("{ending}.new")))?;
        }
        libvserver::tree::remove(&self.folder(), &mut || Ok(()))?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        if let Err(error) = journal::take_back_build(&self.server, &mut || Ok(())) {
            crate::announce::warn(
                "vserver",
                format_args!(
                    "{error:#}; the next build of {} cleans up",
                    self.server.name
                ),
            );
        }
    }
}
