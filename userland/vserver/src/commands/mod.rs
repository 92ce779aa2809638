// SPDX-License-Identifier: GPL-2.0

//! The commands, one file each.

pub(crate) mod all;
pub(crate) mod attributes;
pub(crate) mod barrier;
pub(crate) mod capchroot;
pub(crate) mod chbind;
pub(crate) mod chcontext;
pub(crate) mod info;
pub(crate) mod list;
pub(crate) mod newvserver;
pub(crate) mod reducecap;
pub(crate) mod server;
pub(crate) mod several;
pub(crate) mod unload;
pub(crate) mod vdu;
pub(crate) mod vkill;
pub(crate) mod vps;
pub(crate) mod vpstree;
pub(crate) mod vserver_stat;
pub(crate) mod vservers;
pub(crate) mod vtop;

use crate::exit_codes::Style;

/// A command whose options are parsed.
pub(crate) trait Verb {
    /// Which exit codes its errors have.
    fn style(&self) -> Style {
        Style::Plain
    }

    /// Do it; returns the exit code.
    fn run(&self) -> anyhow::Result<u8>;
}
