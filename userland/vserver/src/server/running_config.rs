// SPDX-License-Identifier: GPL-2.0

//! The configuration of a vserver: what the file says is for its next start. While it runs, what it was started with
//! counts, which its supervisor has written down.

use super::context::State;
use super::creation::finish_rename_of;
use super::creation::leftover;
use super::vserver::Server;
use crate::announce::warn;
use anyhow::bail;
use anyhow::Context;
use libvserver::config;
use libvserver::config::Loaded;
use libvserver::Config;
use libvserver::Device;
use libvserver::Flags;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

impl Server {
    /// One that exists: it has a configuration and a root directory. That configuration is for its next start.
    pub(crate) fn existing(name: &str) -> anyhow::Result<(Self, Config)> {
        let (server, loaded) = Self::loaded(name)?;
        Ok((server, loaded.config))
    }

    /// One that exists, with all that is known of its configuration.
    pub(crate) fn loaded(name: &str) -> anyhow::Result<(Self, Loaded)> {
        let server = Self::new(name)?;
        finish_rename_of(&server)?;
        server.must_have_configuration()?;
        let mut loaded = Config::load(name)?;
        for warning in std::mem::take(&mut loaded.warnings) {
            warn("vserver", format_args!("{warning}"));
        }
        let root = server.root();
        if !fs::symlink_metadata(&root).is_ok_and(|data| data.is_dir()) {
            bail!(
                "the vserver {name} has no root directory {}; put the files of a system there",
                root.display()
            );
        }
        Ok((server, loaded))
    }

    /// Whoever has one is a vserver.
    pub(crate) fn must_have_configuration(&self) -> anyhow::Result<()> {
        let file = config::file(&self.name);
        let there = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let what = format!("cannot read {}; run it as root of the host", file.display());
                return Err(anyhow::Error::new(error).context(what));
            }
            there => there.is_ok(),
        };
        if !there {
            if let Some(left) = leftover(&self.name) {
                bail!("there is no vserver {}: {left}", self.name);
            }
            bail!(
                "there is no vserver {}: no {}; \"vserver list\" lists them, \"vserver {0} build\" makes one",
                self.name,
                file.display()
            );
        }
        Ok(())
    }

    /// One that exists, with the configuration that counts now: of one that runs, what it was started with. After a
    /// mistake in the file it can still be looked at and stopped; the mistake is reported.
    pub(crate) fn current(name: &str) -> anyhow::Result<(Self, Config)> {
        let server = Self::new(name)?;
        let Some(saved) = server.saved_while_it_runs() else {
            return Self::existing(name);
        };
        if let Err(error) = Config::load(name) {
            let error = crate::report::message(&error.into());
            warn(
                "vserver",
                format_args!("{error}; what {name} was started with counts until then"),
            );
        }
        Ok((server, saved.config))
    }

    /// The same, without a word about what is wrong or unknown in it.
    pub(crate) fn quietly(name: &str) -> anyhow::Result<(Self, Config)> {
        let server = Self::new(name)?;
        let config = match server.saved_while_it_runs() {
            Some(saved) => saved.config,
            None => Config::load(name)?.config,
        };
        Ok((server, config))
    }

    /// Whether its configuration is another one than it was started with.
    pub(crate) fn is_changed(&self) -> bool {
        match (self.saved_while_it_runs(), Config::load(&self.name)) {
            (Some(saved), Ok(now)) => saved.text() != now.text(),
            _ => false,
        }
    }

    fn saved_while_it_runs(&self) -> Option<Loaded> {
        let saved = Config::load_whole(&self.saved_file()).ok()?;
        let (state, _) = self.state(&Device::open().ok()?).ok()?;
        // What is left of one that ended together with its supervisor says nothing.
        (state != State::Stopped).then_some(saved)
    }

    /// Writes down what it is started with, whole or not at all.
    pub(crate) fn save(&self, loaded: &Loaded) -> anyhow::Result<()> {
        let new = self.run_file("conf.new");
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)
            .with_context(|| format!("cannot open {}", new.display()))?;
        file.write_all(loaded.text().as_bytes())?;
        fs::rename(new, self.saved_file())?;
        Ok(())
    }
}

/// Whether a configuration has an init of its own start it.
pub(crate) fn has_init(config: &Config) -> bool {
    config.flags.contains(Flags::FAKEINIT)
}
