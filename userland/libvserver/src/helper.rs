// SPDX-License-Identifier: GPL-2.0

//! Work as the spectator on behalf of a program that must not become it itself.
//!
//! Entering a context is irreversible, so the program starts itself again, as a helper, which
//! enters, does one thing and ends. Request and reply are JSON on the helper's standard input and
//! output. (A fork without exec would need `unsafe`.)

use crate::error::Operation;
use crate::{Device, Error, Kind, Result, Spectator};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde::Deserialize;
use serde::Serialize;
use std::io;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;

/// The program's first argument that means "be a helper". It is no word that a user would type.
pub const ARGUMENT: &str = "--internal-helper";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Task {
    /// Find the contexts of these processes.
    Contexts { pids: Vec<i32> },
    /// Send a signal to processes of the spectator's own context; signal 0 only asks whether one could.
    Signal { signal: i32, pids: Vec<i32> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Contexts(Vec<Option<i32>>),
    Signal(Vec<i32>),
    Failed {
        kind: Kind,
        message: String,
        hint: Option<String>,
    },
}

/// The contexts of these processes, in the same order; `None` for one that does not exist.
pub fn contexts_of(pids: &[i32]) -> Result<Vec<Option<i32>>> {
    match ask(&Task::Contexts {
        pids: pids.to_vec(),
    })? {
        Reply::Contexts(contexts) if contexts.len() == pids.len() => Ok(contexts),
        reply => Err(Error::Helper(format!("unexpected answer {reply:?}"))),
    }
}

/// Send a signal (`None`: only ask whether one could) to processes of context 1, which nobody reaches from
/// elsewhere; one result each, in the same order.
pub fn signal_spectators(signal: Option<Signal>, pids: &[i32]) -> Result<Vec<Result<()>>> {
    let task = Task::Signal {
        signal: signal.map_or(0, |signal| signal as i32),
        pids: pids.to_vec(),
    };
    match ask(&task)? {
        Reply::Signal(errnos) if errnos.len() == pids.len() => Ok(pids
            .iter()
            .zip(errnos)
            .map(|(&pid, errno)| match errno {
                0 => Ok(()),
                errno => Err(Error::Kernel {
                    operation: Operation::Signal(pid),
                    errno: Errno::from_raw(errno),
                }),
            })
            .collect()),
        reply => Err(Error::Helper(format!("unexpected answer {reply:?}"))),
    }
}

fn ask(task: &Task) -> Result<Reply> {
    let failed = |error: io::Error| Error::Helper(error.to_string());
    let mut child = Command::new("/proc/self/exe")
        .arg0("vserver")
        .arg(ARGUMENT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        let request = serde_json::to_vec(task).map_err(|error| failed(error.into()))?;
        // A helper that is gone says so by its missing answer.
        let _ = input.write_all(&request);
    }
    let output = child.wait_with_output().map_err(failed)?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Reply::Failed {
            kind,
            message,
            hint,
        }) => Err(Error::Remote {
            kind,
            message,
            hint,
        }),
        Ok(reply) => Ok(reply),
        Err(_) => Err(Error::Helper(format!("no answer ({})", output.status))),
    }
}

/// Be the helper: read the request, do it, write the reply.
pub fn serve(input: impl io::Read, output: impl io::Write) -> io::Result<()> {
    let task: Task = serde_json::from_reader(input)?;
    let reply = perform(&task).unwrap_or_else(|error| Reply::Failed {
        kind: error.kind(),
        message: error.to_string(),
        hint: error.hint(),
    });
    serde_json::to_writer(output, &reply)?;
    Ok(())
}

fn perform(task: &Task) -> Result<Reply> {
    let spectator = Spectator::enter(Device::open()?)?;
    match task {
        Task::Contexts { pids } => pids
            .iter()
            .map(|&pid| spectator.context_of(pid))
            .collect::<Result<_>>()
            .map(Reply::Contexts),
        Task::Signal { signal, pids } => {
            let signal = match signal {
                0 => None,
                number => Some(
                    Signal::try_from(*number)
                        .map_err(|_| Error::Helper(format!("unknown signal {number}")))?,
                ),
            };
            let send = |&pid: &i32| match nix::sys::signal::kill(Pid::from_raw(pid), signal) {
                Ok(()) => 0,
                Err(errno) => errno as i32,
            };
            Ok(Reply::Signal(pids.iter().map(send).collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_survive_the_pipe() {
        let task = Task::Signal {
            signal: 9,
            pids: vec![1, 2],
        };
        let text = serde_json::to_string(&task).unwrap();
        assert_eq!(serde_json::from_str::<Task>(&text).unwrap(), task);
    }

    #[test]
    fn rubbish_is_an_error() {
        assert!(serve(&b"{}"[..], &mut Vec::new()).is_err());
    }
}
