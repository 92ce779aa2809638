// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME start`: start a vserver, and return when its boot is done.

use super::super::Verb;
use super::stop::Stop;
use super::supervisor;
use crate::announce::announce;
use crate::announce::warn;
use crate::exit_codes;
use crate::ipv4root::is_on_no_device;
use crate::server::channel;
use crate::server::channel::Asked;
use crate::server::channel::Event;
use crate::server::channel::Request;
use crate::server::channel::Told;
use crate::server::network;
use crate::server::relay;
use crate::server::supervisor as supervising;
use crate::server::Server;
use crate::server::State;
use crate::server::ROOTS;
use anyhow::anyhow;
use anyhow::bail;
use clap::Parser;
use libvserver::alias::Aliases;
use libvserver::config;
use libvserver::config::MountKind;
use libvserver::Config;
use libvserver::Device;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

/// Start a vserver
///
/// Shows its console, and returns when the boot is done, or with what it is waiting for when
/// that takes longer than START_TIMEOUT. The init and its console go on in the background.
#[derive(Debug, Parser)]
#[command(
    name = "start",
    max_term_width = 100,
    override_usage = "vserver [--nodev] [--silent] NAME start"
)]
pub(crate) struct Start {
    /// Add no addresses to devices: the host has them, or they are not to be there yet
    #[arg(long)]
    pub(crate) nodev: bool,

    /// Do not show the console
    #[arg(long)]
    pub(crate) silent: bool,

    /// The vserver
    pub(crate) name: String,
}

impl Verb for Start {
    fn run(&self) -> anyhow::Result<u8> {
        let (server, config) = Server::existing(&self.name)?;
        let device = Device::open()?;
        let _lock = server.lock()?;
        let (mut state, running) = server.state(&device)?;
        match (state, running) {
            (State::Running, Some(running)) => bail!(
                "{} is running already, in context {}",
                self.name,
                running.number
            ),
            (State::Alone, Some(running)) => bail!(
                "{} is running already, in context {}, but its keeper is gone; \"vserver {} restart\" \
                 starts it anew",
                self.name,
                running.number,
                self.name
            ),
            // The command that stopped it was ended.
            (State::Stopping, _) => {
                Stop::of(&self.name, self.silent).run_locked(&server, &config, &device)?;
                (state, _) = server.state(&device)?;
            }
            _ => {}
        }
        if state == State::Starting {
            // The command that started it was ended.
            let socket = supervisor(&server)?;
            let attach = Request::Attach {
                before: channel::PIECE_MAX,
            };
            channel::ask(&socket, &Asked::Request(attach))?;
            return self.follow(&socket);
        }
        check(&server, &config, self.nodev)?;
        warn_of_open_door();
        server.clean_up()?;
        supervising::start(&server, self.nodev)?;
        self.follow(&supervisor(&server)?)
    }
}

/// What of a configuration depends on the host, before anything is touched.
fn check(server: &Server, config: &Config, nodev: bool) -> anyhow::Result<()> {
    let at = |error: &dyn std::fmt::Display| {
        anyhow!("{}: {error}", config::file(&server.name).display())
    };
    if !nodev {
        Aliases::check(&network::wanted(config)).map_err(|error| at(&error))?;
    }
    for ip in &config.addresses {
        let is_added = !nodev && ip.device.is_some();
        let address = ip.address;
        if !is_added && !address.is_whole() && is_on_no_device(address.ip()) {
            warn(
                "vserver",
                format_args!(
                    "{}",
                    at(&format_args!(
                        "{ip} is on no device of this host, or not ready, so nothing can use it; write \
                         DEVICE:{ip} to have it added",
                        ip = address.ip()
                    ))
                ),
            );
        }
    }
    for mount in &config.mounts {
        let is_path = matches!(mount.kind, MountKind::Bind { .. });
        if is_path && !mount.source.exists() {
            bail!(
                "{}/{}.fstab:{}: there is no {} to be bound",
                config::DIRECTORY,
                server.name,
                mount.line,
                mount.source.display()
            );
        }
    }
    Ok(())
}

impl Start {
    fn follow(&self, socket: &OwnedFd) -> anyhow::Result<u8> {
        let name = &self.name;
        let mut number = None;
        let mut text = relay::Text::default();
        loop {
            match channel::hear(socket)? {
                Some(Told::Output(_)) if self.silent => {}
                // A reader that is gone is no reason to stop.
                Some(Told::Output(bytes)) => drop(text.show(&bytes)),
                Some(Told::Event(Event::Started { context })) => number = Some(context),
                Some(Told::Event(Event::Ready)) => {
                    if !self.silent {
                        let number = number.unwrap_or_default();
                        announce(format_args!("\nServer {name} is running in context {number}"))?;
                    }
                    return Ok(exit_codes::SUCCESS);
                }
                Some(Told::Event(Event::NotReady { waits_for, last })) => bail!(
                    "{name} was not ready in time (START_TIMEOUT): it is still waiting for {waits_for}; it was left \
                     running: look with \"vserver {name} console\", end it with \"vserver {name} stop\"; \
                     the console showed last:\n    {}",
                    last.join("\n    ")
                ),
                Some(Told::Event(Event::Failed { message })) => {
                    // Its last hook and its addresses are seen to before it is gone.
                    while channel::hear(socket)?.is_some() {}
                    bail!("{name} cannot be started: {message}")
                }
                Some(Told::Event(Event::Ended { how })) => bail!("{name} has ended: {how}"),
                None => bail!(
                    "the keeper of {name} died; \"vserver {name} status\" tells what is left"
                ),
            }
        }
    }
}

/// Whoever gets out of the root of a vserver must stand before a barrier.
fn warn_of_open_door() {
    match std::fs::symlink_metadata(ROOTS) {
        Ok(data) if data.permissions().mode() & 0o7777 != 0 => warn(
            "vserver",
            format_args!(
                "{ROOTS} is no barrier: who gets out of the root of a vserver reaches the others; \
                 close it with \"vserver barrier --set\""
            ),
        ),
        _ => {}
    }
}
