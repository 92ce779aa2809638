// SPDX-License-Identifier: GPL-2.0

//! `vserver unload`: take the kernel module out.

use super::Verb;
use crate::exit_codes;
use crate::server::Server;
use anyhow::anyhow;
use anyhow::bail;
use clap::Parser;
use libvserver::Device;
use libvserver::Kind;
use nix::errno::Errno;
use nix::kmod::delete_module;
use nix::kmod::DeleteModuleFlags;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use std::time::Instant;

/// Its name in the kernel.
const MODULE: &std::ffi::CStr = c"vserver";

/// How soon it is tried again at first, and at the latest. What it waits for takes some grace periods of the kernel, of 10
/// to 50 ms each when there is little to do.
const PAUSES: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// Take the kernel module out
///
/// The module stays as long as a context is alive. After the last one has ended, and after the last socket of a network
/// was closed, the kernel needs a moment before it lets the module go: it is tried until then.
#[derive(Debug, Parser)]
#[command(name = "unload", max_term_width = 100)]
pub(crate) struct Unload {
    /// How long it is tried
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u16,
}

impl Verb for Unload {
    fn run(&self) -> anyhow::Result<u8> {
        let deadline = Instant::now() + Duration::from_secs(self.wait.into());
        let mut pause = PAUSES[0];
        loop {
            match delete_module(MODULE, DeleteModuleFlags::O_NONBLOCK) {
                Ok(()) => return Ok(exit_codes::SUCCESS),
                // Somebody else was as fast, or it was never there: it is as it is to be.
                Err(Errno::ENOENT) => return Ok(exit_codes::SUCCESS),
                // In use; or it is just coming or going.
                Err(Errno::EWOULDBLOCK | Errno::EBUSY) => {}
                Err(errno) => return Err(failure(errno)),
            }
            let alive = alive()?;
            if !alive.is_empty() {
                bail!(
                    "the module is in use: alive are {}; stop them with \"vservers stop\" or \"vserver NAME stop\", and \
                     look for others with \"vps ax\"",
                    alive.join(", ")
                );
            }
            if Instant::now() >= deadline {
                bail!(
                    "the module is in use after {} s, though no context is alive: a process has {} or the descriptor \
                     of a context open, or a socket of a context that has ended still sends; \"fuser {0}\" tells who \
                     has the first, and --wait waits longer",
                    self.wait,
                    libvserver::device::PATH
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSES[1]);
        }
    }
}

fn failure(errno: Errno) -> anyhow::Error {
    let error = anyhow::Error::new(io::Error::from(errno));
    match errno {
        Errno::EPERM => error.context(
            "the module can be taken out by root of the host alone (with CAP_SYS_MODULE, and kernel.modules_disabled 0)",
        ),
        errno => error.context(anyhow!("the module cannot be taken out ({})", errno as i32)),
    }
}

/// The contexts that are alive, in words; those that are ending are not.
fn alive() -> anyhow::Result<Vec<String>> {
    // Closed before the next try, as it holds the module.
    let device = match Device::open() {
        Ok(device) => device,
        Err(error) if error.kind() == Kind::NoModule => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let contexts = device.list()?;
    let mut names = BTreeMap::new();
    for server in Server::all().unwrap_or_default() {
        if let Ok(Some(running)) = server.running(&device) {
            names.insert(running.number, server.name);
        }
    }
    let alive = contexts
        .iter()
        .filter(|info| info.state == libvserver::uapi::STATE_ALIVE && info.tasks > 0);
    Ok(alive
        .map(|info| match names.get(&info.context) {
            Some(name) => format!("{name} (context {})", info.context),
            None => format!("context {}", info.context),
        })
        .collect())
}
