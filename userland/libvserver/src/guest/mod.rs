// SPDX-License-Identifier: GPL-2.0

//! The file system of a vserver as its processes see it, in a mount namespace of its own.
//!
//! Who has made the directory is not trusted: links in it, such as `/dev/pts -> /etc`, would have us mount or
//! write outside. So no link is followed, and what is mounted on is held by its descriptor.

mod extra_mounts;
mod prepare;

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow, ResolveFlag, AT_FDCWD};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What could not be prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was done.
    pub what: String,
    /// Why it failed.
    pub errno: Errno,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.errno {
            Errno::ELOOP => "it is a symbolic link, which could lead out",
            Errno::ENOTDIR => "it is not a directory",
            Errno::EISDIR => "it is a directory",
            errno => errno.desc(),
        };
        write!(f, "cannot {}: {reason}", self.what)
    }
}

/// No file that is read from a guest is larger.
const READ_MAX: u64 = 1 << 20;

/// The root directory of a vserver.
#[derive(Debug)]
pub struct Guest {
    root: OwnedFd,
}

impl Guest {
    /// Opens a root directory to look at it. Nothing is mounted.
    pub fn open(root: &Path) -> Result<Self> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let root = openat2(AT_FDCWD, root, how)
            .map_err(|errno| fault(format!("open {}", root.display()), errno))?;
        Ok(Self { root })
    }

    /// A directory inside, without following a link.
    fn directory(&self, path: &str) -> Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&self.root, path, how)
            .map_err(|errno| fault(format!("use the guest's /{path}"), errno).into())
    }

    /// The content of a regular file as the guest's processes find it; `None` when there is none. Links are
    /// followed inside, and nothing is waited for.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let found = self.find(path)?;
        if !found.metadata().ok()?.is_file() {
            return None;
        }
        // The very file that was looked at: to open a device or a pipe in its place could do something.
        let file = File::options()
            .read(true)
            .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
            .open(self::path(&found))
            .ok()?;
        let mut content = Vec::new();
        file.take(READ_MAX).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// What is at a path inside, links followed; not opened.
    fn find(&self, path: &str) -> Option<File> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        openat2(&self.root, path, how).ok().map(File::from)
    }

    /// What a path is inside, links followed.
    fn kind(&self, path: &str) -> Option<std::fs::Metadata> {
        self.find(path)?.metadata().ok()
    }

    /// Whether there is a regular file.
    pub fn is_regular(&self, path: &str) -> bool {
        self.kind(path).is_some_and(|data| data.is_file())
    }

    /// Whether there is anything.
    pub fn exists(&self, path: &str) -> bool {
        self.kind(path).is_some()
    }

    /// Where a symbolic link points to, as it stands there; `None` when it is none.
    pub fn link(&self, path: &str) -> Option<String> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let link = openat2(&self.root, path, how).ok()?;
        nix::fcntl::readlinkat(&link, "").ok()?.into_string().ok()
    }

    /// The names in a directory inside, at most a thousand.
    pub fn names(&self, path: &str) -> Vec<String> {
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let Ok(directory) = openat2(&self.root, path, how) else {
            return Vec::new();
        };
        let Ok(mut entries) = nix::dir::Dir::from_fd(directory) else {
            return Vec::new();
        };
        entries
            .iter()
            .flatten()
            .filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned))
            .filter(|name| name != "." && name != "..")
            .take(1000)
            .collect()
    }

    /// A directory inside that exists, as a path for the calling process while `self` lives.
    pub fn directory_of(&self, path: &str) -> Result<OwnedFd> {
        self.directory(path)
    }
}

/// The path of an open descriptor for this process.
pub fn path(descriptor: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd())
}

fn fault(what: impl Into<String>, errno: Errno) -> Fault {
    Fault {
        what: what.into(),
        errno,
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Guest(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_leads_out() {
        let place = std::env::temp_dir().join(format!("vserver-guest-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.join("root/etc")).unwrap();
        std::fs::write(place.join("secret"), "outside").unwrap();
        let root = place.join("root");
        std::fs::write(root.join("etc/file"), "inside").unwrap();
        symlink("/etc/file", root.join("absolute")).unwrap();
        symlink("../../secret", root.join("up")).unwrap();
        symlink(place.join("secret"), root.join("host")).unwrap();
        symlink("/etc", root.join("run")).unwrap();
        symlink("/proc/self/root", root.join("magic")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        let guest = Guest::open(&root).unwrap();
        assert_eq!(guest.read("/absolute").unwrap(), b"inside");
        for path in ["/up", "/host", "/fifo", "/etc", "/nothing", "/magic/secret"] {
            assert_eq!(guest.read(path), None, "{path}");
        }
        assert!(guest.exists("/fifo") && !guest.is_regular("/fifo"));
        let error = guest.directory("run").unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
        assert_eq!(guest.names("/etc"), ["file"]);
        assert_eq!(guest.link("/run").as_deref(), Some("/etc"));
        std::fs::remove_dir_all(&place).unwrap();
    }
}
