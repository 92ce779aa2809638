// SPDX-License-Identifier: GPL-2.0

//! The configuration that counts now. While a vserver runs it is what it was started with, which its keeper has written down, and
//! not what the file says that is for the next start.

use super::Server;
use super::State;
use crate::announce::warn;
use anyhow::Context;
use libvserver::config::Loaded;
use libvserver::Config;
use libvserver::Device;
use std::fs;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

impl Server {
    /// One that exists, with the configuration that counts now: of one that runs, what it was started with. So who has made a mistake in
    /// the file can still look at it and stop it, and is told of the mistake.
    pub(crate) fn current(name: &str) -> anyhow::Result<(Self, Config)> {
        let server = Self::new(name)?;
        let Some(saved) = server.saved_while_it_runs() else {
            return Self::existing(name);
        };
        if let Err(error) = Config::load(name) {
            let error = crate::cli::message(&error.into());
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
        // What is left of one that ended together with its keeper says nothing.
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

    pub(super) fn saved_file(&self) -> PathBuf {
        self.run_file("conf")
    }
}
