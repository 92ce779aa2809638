// SPDX-License-Identifier: GPL-2.0

//! The addresses of a vserver on the devices of the host, from before its start until after its end.

use super::events::happened;
use super::make_directory;
use super::Server;
use libvserver::alias::Alias;
use libvserver::alias::Aliases;
use libvserver::names::DIRECTORY;
use libvserver::Config;
use log::Level;
use std::path::Path;

/// What has to be on a device.
pub(crate) fn wanted(config: &Config) -> Vec<Alias> {
    config
        .addresses
        .iter()
        .filter_map(|ip| Alias::new(ip.device.as_deref()?, ip.address))
        .collect()
}

/// Adds what is missing.
pub(crate) fn bring_up(server: &Server, config: &Config) -> anyhow::Result<()> {
    let wanted = wanted(config);
    if wanted.is_empty() {
        return Ok(());
    }
    let added = lock()?.add(&server.name, &wanted)?;
    tell(server, "addresses added", &added);
    Ok(())
}

/// Takes off what was added and nobody needs.
pub(crate) fn take_down(server: &Server) -> anyhow::Result<()> {
    let removed = lock()?.remove(&server.name)?;
    tell(server, "addresses removed", &removed);
    Ok(())
}

fn lock() -> anyhow::Result<Aliases> {
    make_directory(DIRECTORY)?;
    Ok(Aliases::lock(Path::new(DIRECTORY))?)
}

fn tell(server: &Server, event: &str, aliases: &[Alias]) {
    if !aliases.is_empty() {
        let all: Vec<String> = aliases.iter().map(Alias::to_string).collect();
        let fields = [("addresses", all.join(", "))];
        happened(Level::Info, &server.name, event, &fields);
    }
}
