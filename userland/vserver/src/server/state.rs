// SPDX-License-Identifier: GPL-2.0

//! What the supervisor of a vserver is about, in a file that it holds a lock on: a file without the lock is left of a supervisor
//! that is gone, and says nothing.

use anyhow::bail;
use anyhow::Context;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What a supervisor is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The boot is not done.
    Starting,
    /// The vserver is up.
    Running,
    /// It has been told to stop, or has ended by itself.
    Stopping,
}

const WORDS: [(Phase, &str); 3] = [
    (Phase::Starting, "starting"),
    (Phase::Running, "running"),
    (Phase::Stopping, "stopping"),
];

impl Phase {
    pub(crate) fn word(self) -> &'static str {
        WORDS
            .iter()
            .find(|(phase, _)| *phase == self)
            .map_or("", |(_, word)| word)
    }

    /// What the file says; `None`: there is no supervisor.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let mut text = String::new();
        file.by_ref().take(64).read_to_string(&mut text).ok()?;
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_) => None,
            Err(_) => WORDS
                .iter()
                .find(|(_, word)| *word == text.trim())
                .map(|(phase, _)| *phase),
        }
    }
}

/// The file, for the supervisor.
#[derive(Debug)]
pub(crate) struct PhaseFile(Flock<File>);

impl PhaseFile {
    /// There is one supervisor.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o644)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        // Who only asks has it for a moment.
        for _ in 0..100 {
            match Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    let taken = Self(lock);
                    taken.set(Phase::Starting);
                    return Ok(taken);
                }
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
            }
        }
        bail!("there is another keeper")
    }

    /// In one piece and always of one length: nobody reads half of it.
    pub(crate) fn set(&self, phase: Phase) {
        let line = format!("{:<9}\n", phase.word());
        let _ = self.0.write_all_at(line.as_bytes(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use std::time::Instant;

    #[test]
    fn only_who_lives_is_believed() {
        let path = std::env::temp_dir().join(format!("vserver-phase-{}", std::process::id()));
        assert_eq!(Phase::read(&path), None);
        let file = PhaseFile::take(&path).unwrap();
        for phase in [Phase::Starting, Phase::Stopping, Phase::Running] {
            file.set(phase);
            assert_eq!(Phase::read(&path), Some(phase));
        }
        drop(file);
        // A child of another test may hold a copy of the lock until it has executed its program.
        let end = Instant::now() + Duration::from_secs(30);
        while Phase::read(&path).is_some() {
            assert!(Instant::now() < end, "who is gone is believed");
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::remove_file(&path).unwrap();
    }
}
