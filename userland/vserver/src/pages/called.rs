// SPDX-License-Identifier: GPL-2.0

//! What there is to be written about: all commands, as they are called.

use crate::cli::Cli;
use crate::commands::server;
use clap::Command;
use clap::CommandFactory;

/// The commands that have names of their own: a link of that name to this program is the command. Who installs the
/// links reads the same file.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    include_str!("../../../packaging/programs").lines()
}

/// A file that is written: its path below the directory, and what is in it.
pub(super) type Written = (String, Vec<u8>);

/// How a command is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// By a name of its own.
    Program,
    /// `vserver NAME VERB`.
    Verb,
    /// `vserver COMMAND`.
    Plain,
}

/// All commands, named as they are called and as their pages are.
pub(super) fn commands() -> Vec<(Kind, Command)> {
    Cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| {
            let name = command.get_name().to_owned();
            let kind = match () {
                () if programs().any(|program| program == name) => Kind::Program,
                () if server::VERBS.contains(&name.as_str()) => Kind::Verb,
                () => Kind::Plain,
            };
            let (page, called) = match kind {
                Kind::Program => (name.clone(), name),
                Kind::Verb => (format!("vserver-{name}"), format!("vserver NAME {name}")),
                Kind::Plain => (format!("vserver-{name}"), format!("vserver {name}")),
            };
            let mut command = command.clone().display_name(page).bin_name(called);
            command.build();
            (kind, command)
        })
        .collect()
}
