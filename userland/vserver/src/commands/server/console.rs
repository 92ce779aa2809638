// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME console`: its console, to look at and to type on.

use super::super::Verb;
use super::running;
use super::supervisor;
use crate::exit_codes;
use crate::server::channel;
use crate::server::channel::Asked;
use crate::server::channel::Event;
use crate::server::channel::Request;
use crate::server::channel::Told;
use crate::server::relay;
use clap::Parser;
use nix::errno::Errno;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;

/// Ctrl-]
const DETACH: u8 = 0x1d;

/// Attach to the console of a vserver
///
/// Shows what it showed last, and passes on what is typed. Ctrl-] detaches; the vserver goes on. Several
/// may be attached at once. All that the console has shown is in /var/log/vservers/NAME.console.
#[derive(Debug, Parser)]
#[command(
    name = "console",
    max_term_width = 100,
    override_usage = "vserver NAME console [--last BYTES]"
)]
pub(crate) struct Console {
    /// How much of what it showed before is shown first, at most 16384
    #[arg(long, value_name = "BYTES", default_value = "2000")]
    last: usize,

    /// The vserver
    name: String,
}

impl Verb for Console {
    fn run(&self) -> anyhow::Result<u8> {
        let (server, ..) = running(&self.name)?;
        let socket = supervisor(&server)?;
        let ask = |request| channel::ask(&socket, &Asked::Request(request));
        let interactive = relay::is_interactive();
        let signals = relay::as_file(&[Signal::SIGWINCH])?;
        let raw = match interactive {
            true => {
                eprintln!("[console of {}; Ctrl-] detaches]", self.name);
                Some(relay::Raw::new()?)
            }
            false => None,
        };
        if let Some(size) = relay::size() {
            ask(Request::Size(size.ws_row, size.ws_col))?;
        }
        ask(Request::Attach { before: self.last })?;
        let how = relay(&socket, &signals, interactive)?;
        drop(raw);
        eprintln!("\n[{how}]");
        Ok(exit_codes::SUCCESS)
    }
}

/// Until one end has enough; says which.
fn relay(
    socket: &OwnedFd,
    signals: &nix::sys::signalfd::SignalFd,
    interactive: bool,
) -> anyhow::Result<String> {
    let keyboard = io::stdin();
    let mut typing = PollFlags::POLLIN;
    let mut room = [0; channel::PIECE_MAX];
    loop {
        let mut set = [
            PollFd::new(socket.as_fd(), PollFlags::POLLIN),
            PollFd::new(keyboard.as_fd(), typing),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = set.map(|one| one.any() == Some(true));
        if ready[0] {
            match channel::hear(socket)? {
                Some(Told::Output(bytes)) => relay::show(&bytes)?,
                Some(Told::Event(Event::Ended { how })) => {
                    return Ok(format!("it has ended: {how}"))
                }
                Some(Told::Event(_)) => {}
                None => return Ok("the keeper is gone".to_owned()),
            }
        }
        if ready[1] {
            match nix::unistd::read(&keyboard, &mut room) {
                Ok(length @ 1..) => {
                    let typed = &room[..length];
                    let detach = typed.iter().position(|byte| interactive && *byte == DETACH);
                    let passed = &typed[..detach.unwrap_or(length)];
                    if !passed.is_empty() {
                        channel::ask(socket, &Asked::Input(passed.to_vec()))?;
                    }
                    if detach.is_some() {
                        return Ok("detached".to_owned());
                    }
                }
                _ if interactive => return Ok("detached".to_owned()),
                _ => typing = PollFlags::empty(),
            }
        }
        if ready[2] {
            while let Ok(Some(_)) = signals.read_signal() {}
            if let Some(size) = relay::size() {
                let request = Request::Size(size.ws_row, size.ws_col);
                channel::ask(socket, &Asked::Request(request))?;
            }
        }
    }
}
