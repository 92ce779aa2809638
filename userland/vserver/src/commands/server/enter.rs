// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME enter`: a shell inside.

use super::super::Verb;
use super::exec::code;
use super::mounts;
use super::running;
use super::supervisor;
use crate::announce::warn;
use crate::exit_codes::Style;
use crate::server::inside;
use crate::server::inside::Files;
use crate::server::inside::Launched;
use crate::server::inside::Order;
use crate::server::inside::Terminal;
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
use std::process::Stdio;

/// Open a login shell in a vserver
///
/// At a terminal it gets one of its own, made inside. The exit code is the shell's.
#[derive(Debug, Parser)]
#[command(
    name = "enter",
    max_term_width = 100,
    override_usage = "vserver NAME enter [--user USER]"
)]
pub(crate) struct Enter {
    /// As this user of the vserver, by name or number
    #[arg(long, value_name = "USER", default_value = "root")]
    user: String,

    /// The vserver
    name: String,
}

impl Verb for Enter {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        let (server, running, _) = running(&self.name)?;
        let mut order = Order::new(&server, Some(running.join()), &[]);
        order.user = Some(self.user.clone());
        order.login = true;
        let interactive = relay::is_interactive();
        if interactive {
            order.terminal = Terminal::Inside;
        }
        let mounts = mounts(&supervisor(&server)?)?;
        let input = io::stdin();
        let files = Files {
            input: input.as_fd(),
            output: Stdio::inherit(),
            errors: Stdio::inherit(),
        };
        let mut launched = inside::start(order, files, Some(&mounts))?;
        for note in &launched.notes {
            warn("vserver", format_args!("{note}"));
        }
        if let Some(master) = launched.master.take() {
            relay(&launched, &master)?;
        }
        Ok(code(launched.child.wait()?))
    }
}

/// Between the user's terminal and the one inside, until the shell has ended. Neither side waits for the other: a program
/// that shows much before it reads gets rid of it, however much has been typed ahead.
fn relay(launched: &Launched, master: &OwnedFd) -> anyhow::Result<()> {
    // Ended from outside, the user's terminal must be as it was; the one inside is hung up then.
    let signals = relay::as_file(&[Signal::SIGWINCH, Signal::SIGTERM, Signal::SIGHUP])?;
    relay::pass_size(master);
    let _raw = relay::Raw::new()?;
    let keyboard = io::stdin();
    let mut room = [0; 4096];
    let mut is_typing = true;
    // What has been typed and not been taken yet.
    let mut typed = Vec::new();
    set_nonblocking(master)?;
    loop {
        let (keys, inside) = match (typed.is_empty(), is_typing) {
            (true, true) => (PollFlags::POLLIN, PollFlags::POLLIN),
            (true, false) => (PollFlags::empty(), PollFlags::POLLIN),
            (false, _) => (PollFlags::empty(), PollFlags::POLLIN | PollFlags::POLLOUT),
        };
        let mut set = [
            PollFd::new(master.as_fd(), inside),
            PollFd::new(keyboard.as_fd(), keys),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(launched.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let takes = set[0]
            .revents()
            .is_some_and(|now| now.contains(PollFlags::POLLOUT));
        let ready = set.map(|one| one.any() == Some(true));
        if takes {
            match nix::unistd::write(master, &typed) {
                Ok(length) => drop(typed.drain(..length)),
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // Nobody has it open any more.
                Err(_) => return Ok(()),
            }
        }
        let mut is_shown = false;
        if ready[0] {
            match nix::unistd::read(master, &mut room) {
                Ok(length @ 1..) => {
                    relay::show(&room[..length])?;
                    is_shown = true;
                }
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                // The last one that had it open is gone.
                _ => return Ok(()),
            }
        }
        if ready[1] {
            match nix::unistd::read(&keyboard, &mut room) {
                Ok(length @ 1..) => typed.extend_from_slice(&room[..length]),
                _ => is_typing = false,
            }
        }
        if ready[2] {
            while let Ok(Some(signal)) = signals.read_signal() {
                if signal.ssi_signo != nix::libc::SIGWINCH.unsigned_abs() {
                    return Ok(());
                }
            }
            relay::pass_size(master);
        }
        // All that it has shown before it ended is shown.
        if ready[3] && !is_shown {
            return Ok(());
        }
    }
}

fn set_nonblocking(file: &OwnedFd) -> anyhow::Result<()> {
    let flags = rustix::fs::fcntl_getfl(file)?;
    Ok(rustix::fs::fcntl_setfl(
        file,
        flags | rustix::fs::OFlags::NONBLOCK,
    )?)
}
