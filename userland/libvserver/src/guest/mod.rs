// SPDX-License-Identifier: GPL-2.0

//! The file system of a vserver as its processes see it, in a mount namespace of its own.
//!
//! Who has made the directory is not trusted: links in it, such as `/dev/pts -> /etc`, would have us mount or
//! write outside. So no link is followed, and what is mounted on is held by its descriptor.

mod extra_mounts;
mod prepare;

pub use crate::fault::guest::Fault;

use crate::beneath::{self, Scope};
use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow, ResolveFlag, AT_FDCWD};
use rustix::fs::OFlags;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

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

    /// What is at a path inside.
    fn at(&self, path: &str, flags: OFlags, scope: Scope) -> nix::Result<OwnedFd> {
        beneath::open(&self.root, Path::new(path), flags, scope).map_err(beneath::errno)
    }

    /// A directory inside, without following a link.
    fn directory(&self, path: &str) -> Result<OwnedFd> {
        self.at(path, OFlags::PATH | OFlags::DIRECTORY, Scope::NoLinks)
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
        self.at(path, OFlags::PATH, Scope::AsRoot)
            .ok()
            .map(File::from)
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
        let link = self
            .at(path, OFlags::PATH | OFlags::NOFOLLOW, Scope::AsRoot)
            .ok()?;
        nix::fcntl::readlinkat(&link, "").ok()?.into_string().ok()
    }

    /// The names in a directory inside, at most a thousand.
    pub fn names(&self, path: &str) -> Vec<String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK;
        let Ok(directory) = self.at(path, flags, Scope::AsRoot) else {
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
