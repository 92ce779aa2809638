// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME service`: start or stop a service inside.

use super::super::Verb;
use super::exec::run_inside;
use crate::exit_codes::Style;
use crate::server::services::Manager;
use crate::server::Server;
use clap::Parser;
use libvserver::Guest;
use std::ffi::OsString;

/// Start, stop or otherwise tell a service in a vserver that runs
///
/// By what is inside: systemctl, rc-service, sv, or the script in /etc/init.d. Output and exit code are its.
#[derive(Debug, Parser)]
#[command(
    name = "service",
    max_term_width = 100,
    override_usage = "vserver NAME service SERVICE ACTION"
)]
pub(crate) struct Service {
    /// The vserver
    name: String,

    /// The service
    service: String,

    /// What it is to do, such as start, stop, restart, reload, status
    #[arg(value_parser = action)]
    action: String,
}

/// It becomes an argument inside.
pub(super) fn action(text: &str) -> Result<String, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    match !text.is_empty() && !text.starts_with('-') && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("write one word, such as start, stop, restart or status".to_owned()),
    }
}

impl Verb for Service {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        let (server, config) = Server::current(&self.name)?;
        let guest = Guest::open(&server.root())?;
        let command = Manager::find(&guest, &config)?.act(&guest, &self.service, &self.action)?;
        let command: Vec<OsString> = command.into_iter().map(OsString::from).collect();
        run_inside(&self.name, None, &command)
    }
}
