// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME delete`: remove a vserver with all its files.

use super::super::Verb;
use crate::announce::announce;
use crate::exit_codes;
use crate::server::creation::hidden;
use crate::server::creation::journal;
use crate::server::creation::journal::Leftover;
use crate::server::creation::leftover;
use crate::server::creation::settle;
use crate::server::creation::Work;
use crate::server::events::happened;
use crate::server::relay::is_interactive;
use crate::server::Server;
use crate::server::State;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use libvserver::config;
use libvserver::Device;
use libvserver::Kind;
use log::Level;
use std::fs;
use std::io;
use std::io::BufRead;

/// Remove a vserver
///
/// With its files, its configuration, its script, its mounts and its logs. It has to be stopped. What is interrupted is no
/// vserver any more, and goes on with the next delete.
#[derive(Debug, Parser)]
#[command(
    name = "delete",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME delete [--yes]"
)]
pub(crate) struct Delete {
    /// Do not show what is done
    #[arg(long)]
    silent: bool,

    /// Do not ask
    #[arg(long, short)]
    yes: bool,

    /// The vserver
    name: String,
}

impl Verb for Delete {
    fn run(&self) -> anyhow::Result<u8> {
        let server = Server::new(&self.name)?;
        let name = &self.name;
        let file = config::file(name);
        if leftover(name).is_none() && fs::symlink_metadata(&file).is_err() {
            server.must_have_configuration()?;
        }
        if !self.yes {
            if !is_interactive() {
                bail!("delete removes all files of {name}; say that you mean it with --yes");
            }
            if !confirmed(&format!(
                "Remove {name} with all files in {}?",
                server.root().display()
            ))? {
                bail!("{name} is as it was");
            }
        }
        let _lock = server.lock()?;
        must_be_stopped(&server)?;
        let mut work = Work::begin(self.silent)?;
        // What was renamed to this name is deleted by it.
        if let Some(Leftover::Rename { .. } | Leftover::Build) = leftover(name) {
            settle(&server, &mut || work.tick())?;
        }
        if fs::symlink_metadata(&file).is_ok() {
            if leftover(name) == Some(Leftover::Delete) {
                journal::finish_delete(&server, &mut || work.tick())?;
            }
            server.clean_up_if_possible();
            fs::rename(&file, hidden(name, "conf.delete"))
                .with_context(|| format!("cannot put {} aside", file.display()))?;
        }
        let mut names = 0_u64;
        let result = journal::finish_delete(&server, &mut || {
            names += 1;
            work.tick()
        });
        result.with_context(|| {
            format!("{name} is half deleted; \"vserver {name} delete\" goes on")
        })?;
        happened(Level::Info, name, "deleted", &[]);
        if !self.silent {
            announce(format_args!("{name} is deleted, {names} files"))?;
        }
        Ok(exit_codes::SUCCESS)
    }
}

/// Asks at the terminal.
pub(crate) fn confirmed(question: &str) -> anyhow::Result<bool> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(answer.trim().to_ascii_lowercase().starts_with('y'))
}

/// What changes the tree of a vserver as a whole waits until nothing runs in it.
pub(crate) fn must_be_stopped(server: &Server) -> anyhow::Result<()> {
    let name = &server.name;
    match is_running(server)? {
        true => bail!("{name} is running; stop it first with \"vserver {name} stop\""),
        false => Ok(()),
    }
}

/// Whether anything of it runs. Without the kernel module nothing does.
pub(crate) fn is_running(server: &Server) -> anyhow::Result<bool> {
    let device = match Device::open() {
        Err(error) if error.kind() == Kind::NoModule => return Ok(false),
        device => device?,
    };
    let (state, _) = server.state(&device)?;
    Ok(state != State::Stopped)
}
