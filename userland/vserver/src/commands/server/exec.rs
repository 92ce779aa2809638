// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME exec`: run a command inside.

use super::super::Verb;
use super::mounts;
use super::running;
use super::supervisor;
use crate::exit_codes::Style;
use crate::server::inside;
use crate::server::inside::Files;
use crate::server::inside::Order;
use crate::server::relay;
use anyhow::Context;
use clap::Parser;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::process::Stdio;

/// What is passed on to the command. SIGCONT, because a shell that continues this process does not reach
/// the one inside.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
];

/// `ssi_code` of what the kernel itself has sent, such as a terminal's Ctrl-C.
const FROM_KERNEL: i32 = 0x80;

/// Run a command in a vserver
///
/// Standard input, output and error are the command's, and so is the exit code, 128 and the signal's number
/// when a signal ended it.
#[derive(Debug, Parser)]
#[command(
    name = "exec",
    max_term_width = 100,
    override_usage = "vserver NAME exec [--user USER] COMMAND..."
)]
pub(crate) struct Exec {
    /// As this user of the vserver, by name or number
    #[arg(long, value_name = "USER")]
    pub(crate) user: Option<String>,

    /// The vserver
    name: String,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

impl Verb for Exec {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        run_inside(&self.name, self.user.as_deref(), &self.command)
    }
}

/// Runs a command in a vserver that runs, as this user or root; returns its exit code.
pub(super) fn run_inside(
    name: &str,
    user: Option<&str>,
    command: &[OsString],
) -> anyhow::Result<u8> {
    let (server, running, device) = running(name)?;
    let mut order = Order::new(&server, Some(running.join()), command);
    order.user = user.map(str::to_owned);
    let mounts = mounts(&supervisor(&server)?)?;
    let input = io::stdin();
    let files = Files {
        input: input.as_fd(),
        output: Stdio::inherit(),
        errors: Stdio::inherit(),
    };
    let signals = relay::as_file(&PASSED_ON)?;
    let mut launched = inside::start(order, files, Some(&mounts))?;
    let pid = i32::try_from(launched.child.id())?;
    loop {
        let mut set = [
            PollFd::new(launched.pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut set, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the command"),
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo)?;
            if !came_to_both(number, signal.ssi_code) {
                // No signal reaches it from here but by asking. It may have ended just now.
                let _ = device.signal(launched.number, pid, Some(number));
            }
        }
        if let Some(status) = launched.child.try_wait()? {
            return Ok(code(status));
        }
    }
}

/// Whether the terminal has sent it to the command as well, which is in the same process group.
fn came_to_both(signal: i32, code: i32) -> bool {
    code == FROM_KERNEL && [nix::libc::SIGINT, nix::libc::SIGQUIT].contains(&signal)
}

/// As a shell has it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_of_a_shell() {
        assert_eq!(code(ExitStatus::from_raw(0)), 0);
        assert_eq!(code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(code(ExitStatus::from_raw(nix::libc::SIGTERM)), 143);
    }

    #[test]
    fn what_the_terminal_sends_to_both_is_not_sent_twice() {
        use nix::libc::{SIGCONT, SIGHUP, SIGINT, SI_USER};
        assert!(came_to_both(SIGINT, FROM_KERNEL));
        assert!(!came_to_both(SIGINT, SI_USER));
        assert!(!came_to_both(SIGHUP, FROM_KERNEL));
        assert!(!came_to_both(SIGCONT, FROM_KERNEL));
    }
}
