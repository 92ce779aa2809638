// SPDX-License-Identifier: GPL-2.0

//! The starter: it makes the process, hands over the order, and records what the process tells.

use super::heard::Heard;
use super::order::Master;
use super::order::Order;
use super::order::Report;
use super::order::Terminal;
use super::order::ARGUMENT;
use super::order::GO_ON;
use super::program::Program;
use crate::exit_codes;
use crate::exit_codes::HasExitCode;
use crate::exit_codes::Style;
use crate::server::context::Join;
use crate::server::message;
use anyhow::bail;
use anyhow::Context;
use libvserver::handover;
use libvserver::ContextFd;
use libvserver::Device;
use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use rustix::net::Shutdown;
use rustix::process::PidfdFlags;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Instant;

/// A process inside.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    /// To wait for its end in a poll set.
    pub(crate) pidfd: OwnedFd,
    pub(crate) number: i32,
    pub(crate) context: ContextFd,
    /// For [`Terminal::Inside`].
    pub(crate) master: Option<OwnedFd>,
    /// What is not as it should be, in words.
    pub(crate) notes: Vec<String>,
}

/// It came no further, and its exit code.
#[derive(Debug)]
struct Failure {
    message: String,
    code: u8,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl HasExitCode for Failure {
    /// A command that becomes the program ends as the process inside has said.
    fn exit_code(&self, style: Style) -> u8 {
        match style {
            Style::Exec => self.code,
            Style::Plain => exit_codes::FAILURE,
        }
    }
}

/// The standard files of what is started.
pub(crate) struct Files<'a> {
    pub(crate) input: BorrowedFd<'a>,
    pub(crate) output: Stdio,
    pub(crate) errors: Stdio,
}

/// Starts a program inside, and returns when it runs. `mounts`: where its files are, for who is not there yet.
pub(crate) fn start(
    order: Order,
    files: Files<'_>,
    mounts: Option<&File>,
) -> anyhow::Result<Launched> {
    start_recorded(order, files, mounts, |_| Ok(()))
}

/// The same; `record` is called with the number of a new context before anything of the vserver runs, which it does not
/// when that fails.
pub(crate) fn start_recorded(
    mut order: Order,
    files: Files<'_>,
    mounts: Option<&File>,
    record: impl Fn(i32) -> anyhow::Result<()>,
) -> anyhow::Result<Launched> {
    let device = Device::open()?;
    let known = order.join.map(|join| open_joined(&device, join));
    let known = known.transpose()?;
    let deadline = order.patience.map(|patience| Instant::now() + patience);
    let (ours, theirs) = message::pair().context("cannot make a socket")?;
    let (reports, tells) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
    let (waits, go_on) = pipe2(OFlag::O_CLOEXEC).context("cannot make a pipe")?;
    let terminal = match order.terminal {
        Terminal::Inside => Some(one_way().context("cannot make a socket")?),
        Terminal::Inherited | Terminal::Group => None,
    };
    let program = Program::sealed();
    handover::prepare();
    let mut child = Command::new(program.path())
        .arg0("vserver")
        .arg(ARGUMENT)
        .stdin(Stdio::from(theirs))
        .stdout(files.output)
        .stderr(files.errors)
        .spawn()
        .context("cannot start a process")?;
    drop(program);
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .context("cannot watch the process")?;
    order.mounts = mounts.is_some();
    let (terminal, its_terminal) = terminal.unzip();
    let descriptors: Vec<BorrowedFd<'_>> = [files.input, tells.as_fd(), waits.as_fd()]
        .into_iter()
        .chain(mounts.map(AsFd::as_fd))
        .chain(its_terminal.as_ref().map(AsFd::as_fd))
        .collect();
    // One that is gone says so by its missing answer.
    let _ = message::send(&ours, &order, &descriptors);
    drop((ours, tells, waits, its_terminal));
    let mut heard = Heard::new(reports, &pidfd, deadline);
    let mut entered = known;
    let mut notes = Vec::new();
    loop {
        match heard.hear() {
            Ok(Some(Report::Note(note))) => notes.push(note),
            Ok(Some(Report::Entered(number))) if entered.is_none() => {
                let recorded = device
                    .open_context(number)
                    .map_err(anyhow::Error::from)
                    .and_then(|context| record(number).map(|()| context));
                match recorded {
                    Ok(context) => entered = Some((number, context)),
                    Err(error) => {
                        // It ends when nobody tells it to go on.
                        drop(go_on);
                        let _ = child.wait();
                        return Err(error);
                    }
                }
                let _ = nix::unistd::write(&go_on, GO_ON);
            }
            // Only the first one is from before anybody else could write to the pipe.
            Ok(Some(Report::Entered(_))) => {}
            Ok(Some(Report::Failed { message, code })) => {
                let _ = child.wait();
                let message = harmless(&message);
                return Err(exit_codes::coded(Failure { message, code }));
            }
            Ok(None) => break,
            Err(error) => {
                // No signal reaches it there but by asking.
                if let (Some((number, _)), Ok(pid)) = (&entered, i32::try_from(child.id())) {
                    let _ = device.signal(*number, pid, Some(Signal::SIGKILL as i32));
                }
                let _ = child.kill();
                return Err(error);
            }
        }
    }
    let Some((number, context)) = entered else {
        let status = child.wait().map(|status: ExitStatus| status.to_string());
        bail!(
            "the process that was to go inside died: {}",
            status.unwrap_or_default()
        )
    };
    Ok(Launched {
        child,
        pidfd,
        number,
        context,
        master: terminal.and_then(take_master),
        notes,
    })
}

/// A context, when it is the one that is meant.
fn open_joined(device: &Device, join: Join) -> anyhow::Result<(i32, ContextFd)> {
    let context = device.open_context(join.number)?;
    match device.context(join.number)? {
        Some(info) if info.created_ns == join.created_ns => Ok((join.number, context)),
        _ => bail!("the vserver has just ended"),
    }
}

/// A socket on which the second end can only send.
fn one_way() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = message::pair()?;
    rustix::net::shutdown(&theirs, Shutdown::Read)?;
    Ok((ours, theirs))
}

/// What came, if it is a terminal.
fn take_master(socket: OwnedFd) -> Option<OwnedFd> {
    let (Master, mut descriptors) = message::receive_now(&socket).ok().flatten()?;
    let master = descriptors.pop()?;
    nix::unistd::isatty(&master)
        .is_ok_and(|so| so)
        .then_some(master)
}

/// Text that somebody inside may have written, and that is going to be shown on a terminal.
fn harmless(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '?',
        c => c,
    };
    text.chars().map(shown).collect()
}
