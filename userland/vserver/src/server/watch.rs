// SPDX-License-Identifier: GPL-2.0

//! The children of process 1 of a vserver, told whenever they change. Only the spectator sees them, and
//! nobody comes back from there: so this program starts itself again for it.

use crate::exit_codes;
use anyhow::Context;
use libvserver::init_system::Child;
use libvserver::Device;
use libvserver::Spectator;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use std::fs;
use std::io;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process;
use std::process::Command;
use std::process::Stdio;

/// The program's first argument that means "watch". It is no word that a user would type.
pub(crate) const ARGUMENT: &str = "--internal-watch";

/// How often it looks. The kernel tells nobody of the children of others.
const INTERVAL_MS: u16 = 50;

/// No more are told.
const CHILDREN_MAX: usize = 256;

/// Of each, no more arguments.
const ARGUMENTS_MAX: usize = 16;

/// Starts the watcher of a context. It writes a line of JSON at each change, and ends when its standard input
/// is closed.
pub(crate) fn start(context: i32) -> io::Result<process::Child> {
    Command::new("/proc/self/exe")
        .arg0("vserver")
        .arg(ARGUMENT)
        .arg(context.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Be the watcher.
pub(crate) fn serve(context: Option<&str>) -> u8 {
    match context.and_then(|number| number.parse().ok()).map(watch) {
        Some(Ok(())) => exit_codes::SUCCESS,
        Some(Err(_)) => exit_codes::FAILURE,
        None => exit_codes::USAGE,
    }
}

fn watch(context: i32) -> anyhow::Result<()> {
    let spectator = Spectator::enter(Device::open()?)?;
    // The number is its own for the life of the context.
    let init = spectator
        .contexts()?
        .into_iter()
        .find(|info| info.context == context)
        .context("the context has ended")?
        .initpid;
    let mut told = None;
    loop {
        let now = children(init).context("process 1 has ended")?;
        if told.as_ref() != Some(&now) {
            let mut out = io::stdout().lock();
            serde_json::to_writer(&mut out, &now)?;
            writeln!(out)?;
            out.flush()?;
            told = Some(now);
        }
        let input = io::stdin();
        let mut set = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        if nix::poll::poll(&mut set, PollTimeout::from(INTERVAL_MS))? > 0 {
            return Ok(());
        }
    }
}

/// The children of all threads of a process.
fn children(pid: i32) -> io::Result<Vec<Child>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may have ended since it was listed.
        let pids = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        let room = CHILDREN_MAX - found.len();
        found.extend(pids.split_ascii_whitespace().filter_map(child).take(room));
    }
    Ok(found)
}

fn child(pid: &str) -> Option<Child> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Child {
        name: String::from_utf8_lossy(&name).trim_end().to_owned(),
        arguments: arguments
            .split(|byte| *byte == 0)
            .filter(|argument| !argument.is_empty())
            .take(ARGUMENTS_MAX)
            .map(|argument| String::from_utf8_lossy(argument).into_owned())
            .collect(),
    })
}
