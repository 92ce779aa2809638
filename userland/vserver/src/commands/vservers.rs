// SPDX-License-Identifier: GPL-2.0

//! `vservers`: start and stop many vservers, for the boot of the machine and for names with wildcards.

use super::list;
use super::Verb;
use crate::exit_codes;
use crate::server::names::expand;
use crate::server::Server;
use crate::server::State;
use clap::Parser;
use clap::ValueEnum;
use libvserver::Config;
use libvserver::Device;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

/// Start or stop all vservers, as at boot and shutdown
///
/// "start" starts those with ONBOOT=yes that do not run, in the order of PRIORITY, lowest first, those that are equal
/// side by side. "stop" stops all that run, in the reverse order. "restart" does one after the other. "status" lists
/// all, with exit code 1 when one with ONBOOT=yes does not run. With names only these are meant, whatever ONBOOT says.
#[derive(Debug, Parser)]
#[command(name = "vservers", max_term_width = 100)]
pub(crate) struct Vservers {
    /// At most so many at once; without it, as many as there are processors, and 16 for each when they are stopped
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Print only what fails
    #[arg(long)]
    silent: bool,

    /// What to do
    action: Action,

    /// Only these vservers; names may have the wildcards * and ?
    names: Vec<String>,
}

/// What is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Action {
    Start,
    Stop,
    Restart,
    Status,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Status => "status",
        })
    }
}

impl Action {
    /// What has been done, in one word.
    fn done(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Stop => "stopped",
            Self::Restart => "restarted",
            Self::Status => "",
        }
    }
}

/// A vserver with what counts here.
struct Member {
    name: String,
    priority: u16,
    onboot: bool,
    state: State,
}

/// For each processor. A stop is a wait, above all: every init gives its services some seconds to end.
const STOPPED_AT_ONCE: usize = 16;

impl Vservers {
    /// For several vservers by name.
    pub(crate) fn of(action: Action, silent: bool, names: Vec<String>) -> Self {
        Self {
            jobs: None,
            silent,
            action,
            names,
        }
    }

    fn members(&self, device: &Device) -> anyhow::Result<Vec<Member>> {
        let servers = match self.names.is_empty() {
            true => Server::all()?,
            false => expand(&self.names)?,
        };
        servers
            .into_iter()
            .map(|server| {
                let (state, _) = server.state(device)?;
                // One that cannot be read says so when it is started.
                let (priority, onboot) = match Config::load(&server.name) {
                    Ok(loaded) => (loaded.config.priority, loaded.config.onboot),
                    Err(error) => {
                        eprintln!("vservers: {}", crate::report::message(&error.into()));
                        (Config::default().priority, false)
                    }
                };
                Ok(Member {
                    name: server.name,
                    priority,
                    onboot,
                    state,
                })
            })
            .collect()
    }

    /// Does one thing with those for whom it is meant; whether all went well.
    fn act(&self, action: Action, members: &[Member]) -> anyhow::Result<bool> {
        let named = !self.names.is_empty();
        let meant = |member: &&Member| match action {
            Action::Stop => member.state != State::Stopped,
            _ if named => true,
            _ => {
                member.onboot
                    && matches!(
                        member.state,
                        State::Stopped | State::Starting | State::Stopping
                    )
            }
        };
        let mut groups: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
        for member in members.iter().filter(meant) {
            groups
                .entry(member.priority)
                .or_default()
                .push(&member.name);
        }
        let mut groups: Vec<Vec<&str>> = groups.into_values().collect();
        if action == Action::Stop {
            groups.reverse();
        }
        let mut well = true;
        for group in groups {
            well &= self.side_by_side(action, &group)?;
        }
        Ok(well)
    }

    fn side_by_side(&self, action: Action, names: &[&str]) -> anyhow::Result<bool> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let usual = match action {
            Action::Stop => STOPPED_AT_ONCE * processors,
            _ => processors,
        };
        let jobs = self.jobs.map_or(usual, NonZeroUsize::get).min(names.len());
        let queue = Mutex::new(names.iter());
        let well = Mutex::new(true);
        let work = || {
            while let Some(name) = queue.lock().ok().and_then(|mut queue| queue.next()) {
                let begin = Instant::now();
                let result = one(action, name);
                let seconds = begin.elapsed().as_secs_f64();
                match result {
                    Ok(()) if self.silent => {}
                    Ok(()) => {
                        let _ =
                            writeln!(io::stdout(), "{name}: {} ({seconds:.1} s)", action.done());
                    }
                    Err(reason) => {
                        let _ = writeln!(io::stderr(), "vservers: {name}: {reason}");
                        if let Ok(mut well) = well.lock() {
                            *well = false;
                        }
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(work);
            }
        });
        Ok(well.into_inner().unwrap_or(false))
    }
}

/// One vserver, by a process of its own: what goes wrong there is its alone.
fn one(action: Action, name: &str) -> Result<(), String> {
    let output = Command::new("/proc/self/exe")
        .arg0("vserver")
        .args([&action.to_string(), "--silent", name])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start a process: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim();
    Err(match said.is_empty() {
        true => output.status.to_string(),
        false => said.trim_start_matches("vserver: ").to_owned(),
    })
}

impl Verb for Vservers {
    fn run(&self) -> anyhow::Result<u8> {
        let device = Device::open()?;
        let members = self.members(&device)?;
        let well = match self.action {
            Action::Status => {
                list::print(&self.names)?;
                members
                    .iter()
                    .filter(|member| member.onboot || !self.names.is_empty())
                    .all(|member| member.state == State::Running)
            }
            Action::Restart if self.names.is_empty() => {
                self.act(Action::Stop, &members)?
                    & self.act(Action::Start, &self.members(&device)?)?
            }
            action => self.act(action, &members)?,
        };
        Ok(if well {
            exit_codes::SUCCESS
        } else {
            exit_codes::FAILURE
        })
    }
}
