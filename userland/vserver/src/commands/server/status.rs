// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME status`: what there is to tell of it.

use super::super::Verb;
use crate::duration::human;
use crate::exit_codes;
use crate::server::Server;
use crate::server::State;
use clap::Parser;
use libvserver::Device;
use serde_json::json;
use std::io;
use std::io::Write;
use std::time::Duration;

/// Tell whether a vserver runs, where, since when, and what is in it
///
/// The exit code is 0 when it runs, and 1 when not.
#[derive(Debug, Parser)]
#[command(
    name = "status",
    max_term_width = 100,
    override_usage = "vserver NAME status [--json]"
)]
pub(crate) struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,

    /// The vserver
    name: String,
}

impl Verb for Status {
    fn run(&self) -> anyhow::Result<u8> {
        let (server, config) = Server::current(&self.name)?;
        let device = Device::open()?;
        let (state, running) = server.state(&device)?;
        let info = match running {
            Some(running) => device.context(running.number)?,
            None => None,
        };
        let code = match &info {
            Some(_) => exit_codes::SUCCESS,
            None => exit_codes::FAILURE,
        };
        let addresses: Vec<String> = config
            .addresses
            .iter()
            .map(|ip| format!("{}/{}", ip.address.ip(), ip.address.prefix()))
            .collect();
        let uptime = info.as_ref().map(|info| uptime(info.created_ns));
        let mut out = io::stdout().lock();
        if self.json {
            let value = json!({
                "name": self.name,
                "state": state.word(),
                "context": info.as_ref().map(|info| info.context),
                "processes": info.as_ref().map(|info| info.tasks),
                "uptime_seconds": uptime,
                "init_pid": info.as_ref().map(|info| info.initpid).filter(|pid| *pid != 0),
                "addresses": addresses,
                "configuration_changed": server.is_changed(),
                "root": server.root(),
                "console_log": server.log(),
            });
            writeln!(out, "{value:#}")?;
            return Ok(code);
        }
        writeln!(out, "name        {}", self.name)?;
        let hint = match state {
            State::Alone => ": its keeper is gone; \"restart\" starts it anew",
            _ => "",
        };
        writeln!(out, "state       {}{hint}", state.word())?;
        if server.is_changed() {
            writeln!(
                out,
                "changed     its configuration, since the start; \"restart\" takes it over"
            )?;
        }
        if let Some(info) = &info {
            writeln!(out, "context     {}", info.context)?;
            let since = Duration::from_secs(uptime.unwrap_or_default());
            writeln!(out, "uptime      {}", human(since))?;
            writeln!(out, "processes   {}", info.tasks)?;
            match info.initpid {
                0 => writeln!(out, "init        none")?,
                pid => writeln!(out, "init        process {pid} of the host, 1 inside")?,
            }
        }
        let addresses = match addresses.is_empty() {
            true => "all of the host's".to_owned(),
            false => addresses.join(" "),
        };
        writeln!(out, "addresses   {addresses}")?;
        writeln!(out, "root        {}", server.root().display())?;
        writeln!(out, "console     {}", server.log().display())?;
        Ok(code)
    }
}

/// In seconds, since a time of CLOCK_BOOTTIME.
fn uptime(created_ns: u64) -> u64 {
    let clock = nix::time::ClockId::CLOCK_BOOTTIME;
    let now = nix::time::clock_gettime(clock).map_or(0, |now| now.tv_sec().unsigned_abs());
    now.saturating_sub(created_ns / 1_000_000_000)
}
