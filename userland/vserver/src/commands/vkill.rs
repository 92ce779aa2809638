// SPDX-License-Identifier: GPL-2.0

//! `vkill`: signal processes of any context.

use super::Verb;
use crate::exit_codes;
use crate::exit_codes::Style;
use crate::report::message;
use crate::server::Server;
use anyhow::Context;
use clap::Parser;
use libvserver::error::Operation;
use libvserver::helper;
use libvserver::uapi;
use libvserver::Device;
use libvserver::Error;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::str::FromStr;

/// Signal processes of any context
///
/// Finds the context of each process and sends the signal there. Only root in context 0 may.
#[derive(Debug, Parser)]
#[command(
    name = "vkill",
    max_term_width = 100,
    override_usage = "vkill [-s SIGNAL | -SIGNAL] PID...\n       \
                      vkill [-s SIGNAL | -SIGNAL] --server NAME...\n       \
                      vkill -l"
)]
pub(crate) struct Vkill {
    /// The signal, by name or number; 0 only asks whether the process could be signalled
    #[arg(short, value_name = "SIGNAL", default_value = "TERM")]
    signal: SignalArg,

    /// All processes of this vserver; may be repeated
    #[arg(long = "server", value_name = "NAME")]
    servers: Vec<String>,

    /// List the signals
    #[arg(short, conflicts_with_all = ["signal", "servers", "pids"])]
    list: bool,

    /// The processes
    #[arg(
        required_unless_present_any = ["servers", "list"],
        value_name = "PID",
        value_parser = clap::value_parser!(i32).range(1..)
    )]
    pids: Vec<i32>,
}

/// A signal as users write it: `9`, `KILL`, `SIGKILL`, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SignalArg(Option<Signal>);

impl FromStr for SignalArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = |_| format!("there is no signal \"{text}\"");
        if let Ok(number) = text.parse::<i32>() {
            return match number {
                0 => Ok(Self(None)),
                number => Signal::try_from(number)
                    .map(|signal| Self(Some(signal)))
                    .map_err(unknown),
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        format!("SIG{name}")
            .parse()
            .map(|signal| Self(Some(signal)))
            .map_err(unknown)
    }
}

impl Vkill {
    /// Turn a first argument `-SIGNAL` into `-s SIGNAL`.
    pub(crate) fn normalise(mut args: Vec<OsString>) -> Vec<OsString> {
        let signal = args
            .get(1)
            .and_then(|arg| arg.to_str())
            .and_then(|text| text.strip_prefix('-'))
            .filter(|text| text.parse::<SignalArg>().is_ok())
            .map(OsString::from);
        if let Some(signal) = signal {
            args.splice(1..2, ["-s".into(), signal]);
        }
        args
    }

    /// The contexts of the vservers that are named; all must run, or nobody is signalled.
    fn contexts(&self, device: &Device) -> anyhow::Result<Vec<i32>> {
        let find = |name: &String| {
            let running = Server::new(name)?.running(device)?;
            let running = running.with_context(|| {
                format!("the vserver {name} is not running; \"vserver list\" shows which are")
            })?;
            Ok(running.number)
        };
        self.servers.iter().map(find).collect()
    }

    /// To processes of one context; one result each.
    fn send(
        &self,
        device: &Device,
        context: i32,
        pids: &[i32],
    ) -> libvserver::Result<Vec<libvserver::Result<()>>> {
        let signal = self.signal.0;
        match context {
            uapi::CONTEXT_ROOT => Ok(pids.iter().map(|&pid| send_here(pid, signal)).collect()),
            // It is no vserver: the kernel takes no signals for it from outside.
            uapi::CONTEXT_SPECTATOR => helper::signal_spectators(signal, pids),
            context => {
                let init = device.context(context)?.map_or(0, |info| info.initpid);
                let number = signal.map(|signal| signal as i32);
                let send = |&pid: &i32| {
                    // Sent to it by its number, a signal that it has no handler for would be lost.
                    let whom = if pid == init { uapi::SIGNAL_INIT } else { pid };
                    device.signal(context, whom, number).map(drop)
                };
                Ok(pids.iter().map(send).collect())
            }
        }
    }
}

/// To a process of the host.
fn send_here(pid: i32, signal: Option<Signal>) -> libvserver::Result<()> {
    kill(Pid::from_raw(pid), signal).map_err(|errno| Error::Kernel {
        operation: Operation::Signal(pid),
        errno,
    })
}

impl Verb for Vkill {
    fn run(&self) -> anyhow::Result<u8> {
        if self.list {
            let mut out = io::stdout().lock();
            for signal in Signal::iterator() {
                let name = signal.as_str();
                let name = name.strip_prefix("SIG").unwrap_or(name);
                writeln!(out, "{:2} {name}", signal as i32)?;
            }
            return Ok(exit_codes::SUCCESS);
        }
        let mut failures = Vec::new();
        let device = Device::open()?;
        let mut by_context: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let contexts = self.contexts(&device)?;
        let of_pids = match self.pids.is_empty() {
            true => Vec::new(),
            false => helper::contexts_of(&self.pids)?,
        };
        for (&pid, context) in self.pids.iter().zip(of_pids) {
            match context {
                Some(context) => by_context.entry(context).or_default().push(pid),
                None => failures.push(Error::Kernel {
                    operation: Operation::Signal(pid),
                    errno: Errno::ESRCH,
                }),
            }
        }
        for (context, pids) in by_context {
            match self.send(&device, context, &pids) {
                Ok(results) => failures.extend(results.into_iter().filter_map(Result::err)),
                Err(error) => failures.push(error),
            }
        }
        for context in contexts {
            let number = self.signal.0.map(|signal| signal as i32);
            let sent = device.signal(context, uapi::SIGNAL_ALL, number);
            failures.extend(sent.err());
        }
        // One process that cannot be signalled must not spare the others, so complaints come at the
        // end.
        let code = failures.first().map_or(exit_codes::SUCCESS, |error| {
            exit_codes::of_kind(error.kind(), Style::Plain)
        });
        for error in failures {
            eprintln!("vkill: {}", message(&error.into()));
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Vkill {
        let args = line.split(' ').map(OsString::from).collect();
        Vkill::try_parse_from(Vkill::normalise(args)).unwrap()
    }

    #[test]
    fn processes_of_the_host_are_signalled_as_by_kill() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(send_here(own, None).is_ok());
        let error = send_here(i32::MAX, None).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot signal process 2147483647: there is no such process"),
            "{error}"
        );
    }

    #[test]
    fn signals_in_every_spelling() {
        for line in [
            "vkill -9 1",
            "vkill -KILL 1",
            "vkill -SIGKILL 1",
            "vkill -s kill 1",
            "vkill -sKILL 1",
        ] {
            assert_eq!(parse(line).signal.0, Some(Signal::SIGKILL), "{line}");
        }
        assert_eq!(parse("vkill 1").signal.0, Some(Signal::SIGTERM));
        assert_eq!(parse("vkill -0 1 2").signal.0, None);
        assert_eq!(parse("vkill -0 1 2").pids, [1, 2]);
        assert_eq!(
            "NOPE".parse::<SignalArg>().unwrap_err(),
            "there is no signal \"NOPE\""
        );
        assert!("99".parse::<SignalArg>().is_err());
        assert!("".parse::<SignalArg>().is_err());
    }
}
