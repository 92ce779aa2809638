// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME clone NEW`: make a vserver that is like another one.

use super::super::Verb;
use super::build::warn_of_links;
use super::delete::is_running;
use crate::announce::warn;
use crate::exit_codes;
use crate::server::creation::companion;
use crate::server::creation::populate::make_distinct;
use crate::server::creation::populate::populate;
use crate::server::creation::settings::conflicts;
use crate::server::creation::source::Source;
use crate::server::creation::Settings;
use crate::server::creation::Staging;
use crate::server::creation::Work;
use crate::server::creation::COMPANIONS;
use crate::server::events::happened;
use crate::server::Server;
use anyhow::Context;
use clap::Parser;
use libvserver::config;
use log::Level;
use std::fs;
use std::io;

/// Make a vserver that is like another one
///
/// With a copy of its files and its configuration, but for S_CONTEXT and IPROOT: no two should have the same. What a
/// machine is known by is new too: /etc/machine-id is emptied, the keys of the SSH server are taken out.
#[derive(Debug, Parser)]
#[command(
    name = "clone",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME clone NEW [--link] [CONFIGURATION]"
)]
pub(crate) struct Clone {
    /// Do not show what is done
    #[arg(long)]
    silent: bool,

    /// One file on the disk for both where it is no configuration or data
    #[arg(long)]
    link: bool,

    /// The vserver
    name: String,

    /// The new one
    new: String,

    #[command(flatten)]
    settings: Settings,
}

/// What is not taken over.
const OWN: [&str; 2] = ["IPROOT", "S_CONTEXT"];

impl Verb for Clone {
    fn run(&self) -> anyhow::Result<u8> {
        let (name, new) = (&self.name, &self.new);
        let (server, config) = Server::existing(name)?;
        let file = config::file(name);
        let old =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = self.settings.over(new, &old, &OWN)?;
        let mut companions = Vec::new();
        for ending in COMPANIONS {
            match fs::read(companion(name, ending)) {
                Ok(content) => companions.push((ending, content)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).context(format!("cannot read {name}.{ending}")),
            }
        }
        let mut work = Work::begin(self.silent)?;
        let staging = Staging::begin(new, false, &mut work)?;
        staging.must_have_no_companions(&companions)?;
        for line in conflicts(new, &text)? {
            warn("vserver", format_args!("{line}"));
        }
        if is_running(&server)? {
            warn(
                "vserver",
                format_args!(
                    "{name} is running: what it is writing at this time is copied as it is"
                ),
            );
        }
        if self.link {
            warn_of_links(name);
        }
        work.say(&format!("copying {name}"))?;
        let source = Source::Vserver {
            name: name.clone(),
            link: self.link,
        };
        let statistics = populate(&source, &staging, &mut work)?;
        make_distinct(&staging, &mut work)?;
        work.check()?;
        staging.finish(Some(&text), &companions)?;
        happened(Level::Info, name, "cloned", &[("to", new.clone())]);
        work.report(&statistics)?;
        if !config.addresses.is_empty() && self.settings.ip.is_empty() {
            work.say(&format!(
                "{new} has no IPROOT: it is not confined to addresses until one is set with \"vserver {new} edit\""
            ))?;
        }
        work.say(&format!(
            "{new} is made; its configuration is {}",
            config::file(new).display()
        ))?;
        Ok(exit_codes::SUCCESS)
    }
}
