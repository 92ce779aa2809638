// SPDX-License-Identifier: GPL-2.0

//! A vserver by its name: where its things are, whether it runs or not.

use anyhow::anyhow;
use anyhow::bail;
use anyhow::Context;
use libvserver::config;
use nix::errno::Errno;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
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
pub(super) const LOGS: &str = "/var/log/vservers";

/// No name is longer: it is part of the names of files and sockets.
const NAME_MAX: usize = 64;

/// A vserver by its name.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) name: String,
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

    pub(super) fn run_file(&self, extension: &str) -> PathBuf {
        Path::new(libvserver::names::DIRECTORY).join(format!("{}.{extension}", self.name))
    }

    /// The supervisor's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.run_file("console")
    }

    /// What the supervisor is about.
    pub(crate) fn phase_file(&self) -> PathBuf {
        self.run_file("state")
    }

    /// The configuration that it was started with.
    pub(super) fn saved_file(&self) -> PathBuf {
        self.run_file("conf")
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
