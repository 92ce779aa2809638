// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME restart`: stop it when it runs, and start it.

use super::super::Verb;
use super::start::Start;
use super::stop::Stop;
use crate::server::Server;
use crate::server::State;
use clap::Parser;
use libvserver::Device;

/// Stop a vserver if it runs, and start it
#[derive(Debug, Parser)]
#[command(
    name = "restart",
    max_term_width = 100,
    override_usage = "vserver [--nodev] [--silent] NAME restart"
)]
pub(crate) struct Restart {
    /// Add no addresses to devices
    #[arg(long)]
    nodev: bool,

    /// Do not show the console
    #[arg(long)]
    silent: bool,

    /// The vserver
    name: String,
}

impl Verb for Restart {
    fn run(&self) -> anyhow::Result<u8> {
        // Before anything is stopped that could not be started again.
        let (server, _) = Server::existing(&self.name)?;
        let (state, _) = server.state(&Device::open()?)?;
        if state != State::Stopped {
            Stop::of(&self.name, self.silent).run()?;
        }
        Start {
            nodev: self.nodev,
            silent: self.silent,
            name: self.name.clone(),
        }
        .run()
    }
}
