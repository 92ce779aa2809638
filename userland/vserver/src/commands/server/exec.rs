// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME exec`: run a command inside.

use super::super::Verb;
use super::keeper;
use super::mounts;
use super::running;
use crate::exit_codes::Style;
use crate::server::launch;
use crate::server::launch::Files;
use crate::server::launch::Order;
use crate::server::relay;
use anyhow::Context;
use clap::Parser;
use libvserver::Device;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use rustix::process::PidfdFlags;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::process::Stdio;

/// What is passed on to the command. The others come by its terminal, if it has one.
const PASSED_ON: [Signal; 4] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Run a command in a vserver
///
/// Standard input, output and error are the command's, and so is the exit code, 128 and the signal's number
/// when a signal ended it.
#[derive(Debug, Parser)]
#[command(
    name = "exec",
    max_term_width = 100,
    override_usage = "vserver NAME exec COMMAND..."
)]
pub(crate) struct Exec {
    /// As this user of the vserver, by name or number
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// The vserver
    name: String,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

impl Verb for Exec {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        let (server, running, device) = running(&self.name)?;
        let mut order = Order::new(&server, Some(running.number), &self.command);
        order.user.clone_from(&self.user);
        let mounts = mounts(&keeper(&server)?)?;
        let input = io::stdin();
        let files = Files {
            input: input.as_fd(),
            output: Stdio::inherit(),
            errors: Stdio::inherit(),
        };
        let signals = relay::as_file(&PASSED_ON)?;
        let mut launched = launch::launch(order, files, Some(&mounts))?;
        let pid = rustix::process::Pid::from_child(&launched.child);
        let child = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        loop {
            let mut set = [
                PollFd::new(child.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut set, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno).context("cannot wait for the command"),
            }
            while let Ok(Some(signal)) = signals.read_signal() {
                pass_on(
                    &device,
                    launched.number,
                    pid,
                    i32::try_from(signal.ssi_signo).unwrap_or(0),
                );
            }
            if let Some(status) = launched.child.try_wait()? {
                return Ok(code(status));
            }
        }
    }
}

/// No signal reaches it from here but by asking.
fn pass_on(device: &Device, context: i32, pid: rustix::process::Pid, signal: i32) {
    let _ = device.signal(context, pid.as_raw_nonzero().get(), Some(signal));
}

/// As a shell has it.
pub(super) fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}
