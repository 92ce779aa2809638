// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME suexec`: run a command inside as one of its users.

use super::super::Verb;
use super::exec::run_inside;
use crate::exit_codes::Style;
use clap::Parser;
use std::ffi::OsString;

/// Run a command in a vserver as one of its users
///
/// The same as exec with --user.
#[derive(Debug, Parser)]
#[command(
    name = "suexec",
    max_term_width = 100,
    override_usage = "vserver NAME suexec USER COMMAND..."
)]
pub(crate) struct Suexec {
    /// The vserver
    name: String,

    /// The user inside, by name or number
    user: String,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Verb for Suexec {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        run_inside(&self.name, Some(&self.user), &self.command)
    }
}
