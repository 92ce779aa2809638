// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME rename NEW`: give a vserver another name.

use super::super::Verb;
use super::delete::must_be_stopped;
use crate::announce::announce;
use crate::exit_codes;
use crate::server::creation::companion;
use crate::server::creation::journal;
use crate::server::creation::settle;
use crate::server::creation::COMPANIONS;
use crate::server::events::happened;
use crate::server::Server;
use anyhow::bail;
use clap::Parser;
use libvserver::config;
use log::Level;
use std::fs;

/// Give a vserver another name
///
/// With its files, its configuration, its script, its mounts and its logs. It has to be stopped. A rename that is
/// interrupted is finished by the next command.
#[derive(Debug, Parser)]
#[command(
    name = "rename",
    max_term_width = 100,
    override_usage = "vserver NAME rename NEW"
)]
pub(crate) struct Rename {
    /// The vserver
    name: String,

    /// Its new name
    new: String,
}

impl Verb for Rename {
    fn run(&self) -> anyhow::Result<u8> {
        let from = Server::new(&self.name)?;
        let to = Server::new(&self.new)?;
        if from.name == to.name {
            bail!("{} is its name already", to.name);
        }
        // Always in the same order: two renames do not wait for each other.
        let (first, second) = match from.name < to.name {
            true => (&from, &to),
            false => (&to, &from),
        };
        for one in [first, second] {
            let _lock = one.lock()?;
            settle(one, &mut || Ok(()))?;
        }
        let _locks = [first.lock()?, second.lock()?];
        Server::existing(&from.name)?;
        must_be_stopped(&from)?;
        from.clean_up_if_possible();
        let taken = [to.root(), config::file(&to.name)]
            .into_iter()
            .chain(COMPANIONS.iter().map(|ending| companion(&to.name, ending)))
            .find(|path| fs::symlink_metadata(path).is_ok());
        if let Some(path) = taken {
            bail!(
                "{} cannot be renamed to {}: {} exists already; take another name",
                from.name,
                to.name,
                path.display()
            );
        }
        journal::rename(&from, &to)?;
        happened(
            Level::Info,
            &from.name,
            "renamed",
            &[("to", to.name.clone())],
        );
        announce(format_args!("{} is called {} now", from.name, to.name))?;
        Ok(exit_codes::SUCCESS)
    }
}
