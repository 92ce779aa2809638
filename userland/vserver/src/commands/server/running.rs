// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME running`: whether it runs.

use super::super::Verb;
use crate::announce::announce;
use crate::exit_codes;
use crate::server::Server;
use clap::Parser;
use libvserver::Device;

/// Tell whether a vserver runs: exit code 0 when it does, 1 when not
#[derive(Debug, Parser)]
#[command(
    name = "running",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME running"
)]
pub(crate) struct IsRunning {
    /// Do not print it
    #[arg(long)]
    silent: bool,

    /// The vserver
    name: String,
}

impl Verb for IsRunning {
    fn run(&self) -> anyhow::Result<u8> {
        let server = Server::new(&self.name)?;
        let runs = server.running(&Device::open()?)?.is_some();
        if !self.silent {
            let not = if runs { "" } else { "not " };
            announce(format_args!("Server {} is {not}running", self.name))?;
        }
        Ok(if runs {
            exit_codes::SUCCESS
        } else {
            exit_codes::FAILURE
        })
    }
}
