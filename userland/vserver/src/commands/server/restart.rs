// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME restart`: stop it when it runs, and start it.

use super::super::Verb;
use super::start::Start;
use super::stop;
use super::stop::Stop;
use crate::server::Server;
use clap::Parser;

/// Stop a vserver if it runs, and start it
#[derive(Debug, Parser)]
#[command(
    name = "restart",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME restart"
)]
pub(crate) struct Restart {
    /// Do not show the console
    #[arg(long)]
    silent: bool,

    /// The vserver
    name: String,
}

impl Verb for Restart {
    fn run(&self) -> anyhow::Result<u8> {
        // Before anything is stopped that could not be started again.
        Server::existing(&self.name)?;
        let (silent, name) = (self.silent, self.name.clone());
        if stop::is_running(&name) {
            Stop {
                silent,
                name: name.clone(),
            }
            .run()?;
        }
        Start { silent, name }.run()
    }
}
