// SPDX-License-Identifier: GPL-2.0

//! One vserver: where its things are, and what it is to be like.

pub(crate) mod channel;
pub(crate) mod console_log;
pub(crate) mod events;
#[cfg(test)]
mod fuzz;
pub(crate) mod hook;
mod in_use;
pub(crate) mod keeper;
pub(crate) mod launch;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod rc;
pub(crate) mod readiness;
pub(crate) mod relay;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod trees;
pub(crate) mod watch;

use crate::announce::warn;
use anyhow::anyhow;
use anyhow::bail;
use anyhow::Context;
use libvserver::config;
use libvserver::config::Loaded;
use libvserver::uapi;
use libvserver::Config;
use libvserver::ContextFd;
use libvserver::Device;
use libvserver::Flags;
use libvserver::Kind;
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use state::Phase;
use std::fmt;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// Where the root directories are.
pub(crate) const ROOTS: &str = "/vservers";

/// Where the logs are.
const LOGS: &str = "/var/log/vservers";

/// No name is longer: it is part of the names of files and sockets.
const NAME_MAX: usize = 64;

/// A vserver by its name.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
}

/// A vserver that has a context with processes in it.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) number: i32,
    pub(crate) context: ContextFd,
}

impl Server {
    /// Checks the name only.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let first = name.bytes().next();
        if name.len() > NAME_MAX
            || !name.bytes().all(plain)
            || !first.is_some_and(|byte| byte.is_ascii_alphanumeric())
        {
            bail!(
                "\"{name}\" cannot be the name of a vserver: use letters, digits, \".\", \"_\" and \"-\", \
                 a letter or digit first, {NAME_MAX} at most"
            );
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }

    /// One that exists: it has a configuration and a root directory. That configuration is for its next start.
    pub(crate) fn existing(name: &str) -> anyhow::Result<(Self, Config)> {
        let (server, loaded) = Self::loaded(name)?;
        Ok((server, loaded.config))
    }

    /// One that exists, with all that is known of its configuration.
    pub(crate) fn loaded(name: &str) -> anyhow::Result<(Self, Loaded)> {
        let server = Self::new(name)?;
        trees::finish_rename_of(&server)?;
        server.must_have_configuration()?;
        let mut loaded = Config::load(name)?;
        for warning in std::mem::take(&mut loaded.warnings) {
            warn("vserver", format_args!("{warning}"));
        }
        let root = server.root();
        if !fs::symlink_metadata(&root).is_ok_and(|data| data.is_dir()) {
            bail!(
                "the vserver {name} has no root directory {}; put the files of a system there",
                root.display()
            );
        }
        Ok((server, loaded))
    }

    /// Whoever has one is a vserver.
    pub(crate) fn must_have_configuration(&self) -> anyhow::Result<()> {
        let file = config::file(&self.name);
        let there = match fs::metadata(&file) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let what = format!("cannot read {}; run it as root of the host", file.display());
                return Err(anyhow::Error::new(error).context(what));
            }
            there => there.is_ok(),
        };
        if !there {
            if let Some(left) = trees::leftover(&self.name) {
                bail!("there is no vserver {}: {left}", self.name);
            }
            bail!(
                "there is no vserver {}: no {}; \"vserver list\" lists them, \"vserver {0} build\" makes one",
                self.name,
                file.display()
            );
        }
        Ok(())
    }

    /// All that have a configuration, by name.
    pub(crate) fn all() -> anyhow::Result<Vec<Self>> {
        let entries = match fs::read_dir(config::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", config::DIRECTORY))?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let server = name
                .to_str()
                .and_then(|name| name.strip_suffix(".conf"))
                .and_then(|name| Self::new(name).ok());
            all.extend(server);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(all)
    }

    pub(crate) fn root(&self) -> PathBuf {
        Path::new(ROOTS).join(&self.name)
    }

    fn run_file(&self, extension: &str) -> PathBuf {
        Path::new(libvserver::names::DIRECTORY).join(format!("{}.{extension}", self.name))
    }

    /// The keeper's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run_file("console")
    }

    /// What the keeper is about.
    pub(crate) fn phase_file(&self) -> PathBuf {
        self.run_file("state")
    }

    /// The log of the console.
    pub(crate) fn log(&self) -> PathBuf {
        Path::new(LOGS).join(format!("{}.console", self.name))
    }

    /// Only one command at a time changes what runs. Dropped: the next one may.
    pub(crate) fn lock(&self) -> anyhow::Result<Flock<File>> {
        make_directory(libvserver::names::DIRECTORY)?;
        let path = self.run_file("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
            Errno::EWOULDBLOCK => anyhow!(
                "another command is at work on {}; wait for it, or end it: \"fuser {}\" tells who it is",
                self.name,
                path.display()
            ),
            errno => anyhow::Error::new(io::Error::from(errno))
                .context(format!("cannot lock {}", path.display())),
        })
    }

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
            .is_some_and(|info| recorded.is_of(info.created_ns));
        Ok((same && !context.is_empty()?).then_some(Running { number, context }))
    }

    /// What it is doing, and in which context.
    pub(crate) fn state(&self, device: &Device) -> anyhow::Result<(State, Option<Running>)> {
        // The keeper is looked at first: one that has just ended has left no context, but one that has just begun may.
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
            // The last process has ended, and the keeper has not seen it yet.
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

    /// What a vserver that does not run has not.
    pub(crate) fn forget(&self) {
        for path in [
            self.run_file("ctx"),
            self.saved_file(),
            self.socket(),
            self.phase_file(),
        ] {
            let _ = fs::remove_file(path);
        }
    }

    /// The same for one that is to be no more: without the kernel module there is nothing.
    pub(crate) fn clean_up_if_possible(&self) {
        if let Err(error) = self.clean_up() {
            warn("vserver", format_args!("{error:#}"));
        }
    }

    /// Takes away what is left of one whose keeper has died, its addresses on devices included.
    pub(crate) fn clean_up(&self) -> anyhow::Result<()> {
        network::take_down(self)?;
        self.forget();
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
    /// It runs, but its keeper is gone.
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
struct Record {
    number: i32,
    /// When the context was made, which tells it from another one of that number. A file that somebody else has
    /// written does not say.
    created_ns: Option<u64>,
}

impl Record {
    fn parse(text: &str) -> Option<Self> {
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

/// Whether a configuration has an init of its own start it.
pub(crate) fn has_init(config: &Config) -> bool {
    config.flags.contains(Flags::FAKEINIT)
}

pub(crate) fn make_directory(path: &str) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .with_context(|| format!("cannot make the directory {path}"))
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

    #[test]
    fn names() {
        for name in ["web", "web-1", "a.b_c", "9", &"x".repeat(64)] {
            assert!(Server::new(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "-x",
            "a b",
            "é",
            &"x".repeat(65),
        ] {
            assert!(Server::new(name).is_err(), "{name}");
        }
    }
}
