// SPDX-License-Identifier: GPL-2.0

//! The context that a vserver runs in: whether there is one, and the `.ctx` file that keeps its number.

use super::state::Phase;
use super::vserver::Server;
use libvserver::uapi;
use libvserver::ContextFd;
use libvserver::Device;
use libvserver::Kind;
use serde::Deserialize;
use serde::Serialize;
use std::fmt;
use std::fs;

/// A context that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Join {
    pub(crate) number: i32,
    /// When it was made, which tells it from another one of that number.
    pub(crate) created_ns: u64,
}

/// A vserver that has a context with processes in it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) number: i32,
    /// When it was made.
    created_ns: u64,
    pub(crate) context: ContextFd,
}

impl Running {
    /// For whoever is to go there.
    pub(crate) fn join(&self) -> Join {
        Join {
            number: self.number,
            created_ns: self.created_ns,
        }
    }
}

impl Server {
    /// The context that it runs in, when it does. The file of a start before may be left, and another vserver may have
    /// its number: it is believed only when that context was made at the time that it says.
    pub(crate) fn running(&self, device: &Device) -> anyhow::Result<Option<Running>> {
        let Some(recorded) = self.recorded() else {
            return Ok(None);
        };
        let number = recorded.number;
        let context = match device.open_context(number) {
            Ok(context) => context,
            Err(error) if error.kind() == Kind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // After it was opened: the context that is there now was so then, or it is a younger one.
        let same = device
            .context(number)?
            .filter(|info| recorded.is_of(info.created_ns));
        let runs = !context.is_empty()?;
        Ok(same.filter(|_| runs).map(|info| Running {
            number,
            created_ns: info.created_ns,
            context,
        }))
    }

    /// What it is doing, and in which context.
    pub(crate) fn state(&self, device: &Device) -> anyhow::Result<(State, Option<Running>)> {
        // The supervisor is looked at first: one that has just ended has left no context, but one that has just begun may.
        let phase = Phase::read(&self.phase_file());
        let running = self.running(device)?;
        let ending = match &running {
            Some(running) => device
                .context(running.number)?
                .is_some_and(|info| info.state == uapi::STATE_ENDING),
            None => false,
        };
        let state = match (phase, &running) {
            (Some(_), Some(_)) if ending => State::Stopping,
            (Some(Phase::Starting), _) => State::Starting,
            (Some(Phase::Running), Some(_)) => State::Running,
            // The last process has ended, and the supervisor has not seen it yet.
            (Some(Phase::Running), None) => State::Stopping,
            (Some(Phase::Stopping), _) => State::Stopping,
            (None, Some(_)) => State::Alone,
            (None, None) => State::Stopped,
        };
        Ok((state, running))
    }

    /// The number of the context that was recorded, whoever has it now.
    pub(crate) fn recorded_number(&self) -> Option<i32> {
        self.recorded().map(|record| record.number)
    }

    /// What the `.ctx` file says.
    fn recorded(&self) -> Option<Record> {
        Record::parse(&fs::read_to_string(self.run_file("ctx")).ok()?)
    }

    /// Writes the `.ctx` file, whole or not at all.
    pub(crate) fn record(&self, number: i32) -> anyhow::Result<()> {
        let created_ns = Device::open()?.context(number)?.map(|info| info.created_ns);
        let new = self.run_file("ctx.new");
        fs::write(&new, Record { number, created_ns }.to_string())?;
        fs::rename(new, self.run_file("ctx"))?;
        Ok(())
    }
}

/// What a vserver is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing.
    Stopped,
    /// It boots.
    Starting,
    /// It is up.
    Running,
    /// It ends.
    Stopping,
    /// It runs, but its supervisor is gone.
    Alone,
}

impl State {
    /// In one word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Alone => "alone",
        }
    }
}

/// The content of a `.ctx` file: shell syntax, as it always was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    number: i32,
    /// When the context was made, which tells it from another one of that number. A file that somebody else has
    /// written does not say.
    created_ns: Option<u64>,
}

impl Record {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let created = text.lines().find_map(|line| line.strip_prefix(CREATED));
        Some(Self {
            number: libvserver::names::parse(text)?,
            created_ns: match created {
                Some(value) => Some(value.parse().ok()?),
                None => None,
            },
        })
    }

    /// Whether it is about the context that was made at that time.
    fn is_of(&self, created_ns: u64) -> bool {
        self.created_ns.is_none_or(|told| told == created_ns)
    }
}

/// Stands before the time in a `.ctx` file.
const CREATED: &str = "S_CREATED=";

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "S_CONTEXT={}", self.number)?;
        match self.created_ns {
            Some(created) => writeln!(f, "{CREATED}{created}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_read_back() {
        let record = Record {
            number: 49152,
            created_ns: Some(1_234_567_890_123),
        };
        let text = record.to_string();
        assert_eq!(text, "S_CONTEXT=49152\nS_CREATED=1234567890123\n");
        assert_eq!(Record::parse(&text), Some(record));
        assert!(record.is_of(1_234_567_890_123) && !record.is_of(1_234_567_890_124));
        // As 0.10 wrote it, and rubbish.
        let old = Record::parse("S_CONTEXT=100\nS_PROFILE=\n").unwrap();
        assert!(old.created_ns.is_none() && old.is_of(7));
        for text in ["", "S_CONTEXT=\n", "S_CONTEXT=100\nS_CREATED=x\n"] {
            assert_eq!(Record::parse(text), None, "{text}");
        }
    }
}
