// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME chkconfig`: which services start with a vserver.

use super::super::Verb;
use super::exec::run_inside;
use crate::exit_codes;
use crate::exit_codes::Style;
use crate::server::services;
use crate::server::services::Manager;
use crate::server::Server;
use anyhow::bail;
use clap::Parser;
use libvserver::Guest;
use std::ffi::OsString;
use std::io;
use std::io::Write;

/// Show or change which services start with a vserver
///
/// What turns them on and off is a command of the vserver's own, which has to run for that: chkconfig, update-rc.d,
/// rc-update, systemctl, or a link for runit. What is on is read from its files.
#[derive(Debug, Parser)]
#[command(
    name = "chkconfig",
    max_term_width = 100,
    override_usage = "vserver NAME chkconfig [--list [SERVICE]]\n       vserver NAME chkconfig SERVICE [on|off]"
)]
pub(crate) struct Chkconfig {
    /// The vserver
    name: String,

    /// List all services, or this one, with the run levels that they are on in
    #[arg(long, num_args = 0..=1, value_name = "SERVICE", default_missing_value = "")]
    list: Option<String>,

    /// The service; alone it is asked whether it is on: exit code 0, or 1
    #[arg(conflicts_with = "list")]
    service: Option<String>,

    /// Turn it on or off, from the next start on
    #[arg(value_parser = ["on", "off"], requires = "service")]
    state: Option<String>,
}

impl Verb for Chkconfig {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        let (server, config) = Server::current(&self.name)?;
        let guest = Guest::open(&server.root())?;
        let manager = Manager::find(&guest, &config)?;
        let inside = |command: Vec<String>| {
            let command: Vec<OsString> = command.into_iter().map(OsString::from).collect();
            run_inside(&self.name, None, &command)
        };
        if let (Some(service), Some(state)) = (&self.service, &self.state) {
            return inside(manager.turn(service, state == "on")?);
        }
        let one = match (&self.service, &self.list) {
            (Some(service), _) => Some(service.as_str()),
            (None, Some(service)) if !service.is_empty() => Some(service.as_str()),
            _ => None,
        };
        let Some(levels) = manager.levels(&guest) else {
            return inside(self.ask_inside(manager, one));
        };
        let found: Vec<_> = levels
            .iter()
            .filter(|(service, _)| one.is_none_or(|one| one == *service))
            .collect();
        if let (Some(one), true) = (one, found.is_empty()) {
            bail!(
                "there is no service {one} inside; \"vserver {} chkconfig --list\" lists them",
                self.name
            );
        }
        if self.service.is_some() {
            let on = found.iter().any(|(_, levels)| !levels.is_empty());
            return Ok(if on {
                exit_codes::SUCCESS
            } else {
                exit_codes::FAILURE
            });
        }
        let mut out = io::stdout().lock();
        for (service, levels) in found {
            writeln!(out, "{}", services::line(service, levels))?;
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl Chkconfig {
    fn ask_inside(&self, manager: Manager, one: Option<&str>) -> Vec<String> {
        let words: Vec<&str> = match (manager, one) {
            (Manager::Systemd, Some(service)) => vec!["systemctl", "is-enabled", service],
            (Manager::Systemd, None) => vec!["systemctl", "list-unit-files", "--type=service"],
            (_, Some(service)) if self.service.is_some() => vec!["chkconfig", service],
            (_, Some(service)) => vec!["chkconfig", "--list", service],
            (_, None) => vec!["chkconfig", "--list"],
        };
        words.into_iter().map(str::to_owned).collect()
    }
}
