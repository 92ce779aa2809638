// SPDX-License-Identifier: GPL-2.0

//! The file system of a vserver as its processes see it, in a mount namespace of its own.
//!
//! Who has made the directory is not trusted: links in it, such as `/dev/pts -> /etc`, would have us mount or
//! write outside. So no link is followed, and what is mounted on is held by its descriptor.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow, ResolveFlag, AT_FDCWD};
use nix::mount::{mount, MsFlags};
use nix::sched::{unshare, CloneFlags};
use nix::sys::stat::{makedev, mkdirat, mknodat, Mode, SFlag};
use nix::unistd::symlinkat;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
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
            errno => errno.desc(),
        };
        write!(f, "cannot {}: {reason}", self.what)
    }
}

/// Devices that everybody may have: name, major, minor.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links in /dev.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// No file that is read from a guest is larger.
const READ_MAX: u64 = 1 << 20;

/// The root directory of a vserver.
#[derive(Debug)]
pub struct Guest {
    root: OwnedFd,
}

/// What a file system is mounted with.
struct Mount {
    kind: &'static str,
    flags: MsFlags,
    options: &'static str,
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

    /// Gives the calling process a mount namespace of its own, and mounts there what a guest needs: /proc, a
    /// small /dev with terminals of its own, /dev/shm, /run, and /sys to be read. `console`: the
    /// terminal that becomes /dev/console. It all goes with the last process of the namespace.
    pub fn prepare(root: &Path, console: Option<&Path>) -> Result<Self> {
        let none: Option<&str> = None;
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| fault("make a mount namespace", errno))?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .map_err(|errno| fault("keep mounts private", errno))?;
        let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(root), root, none, bind, none)
            .map_err(|errno| fault(format!("bind {}", root.display()), errno))?;
        let guest = Self::open(root)?;
        let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        guest.mount(
            "proc",
            Mount {
                kind: "proc",
                flags: safe,
                options: "",
            },
        )?;
        guest.mount(
            "sys",
            Mount {
                kind: "sysfs",
                flags: safe | MsFlags::MS_RDONLY,
                options: "",
            },
        )?;
        let volatile = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        guest.mount(
            "run",
            Mount {
                kind: "tmpfs",
                flags: volatile,
                options: "mode=755",
            },
        )?;
        guest.devices(console)?;
        Ok(guest)
    }

    fn devices(&self, console: Option<&Path>) -> Result<()> {
        let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        self.mount(
            "dev",
            Mount {
                kind: "tmpfs",
                flags: quiet,
                options: "mode=755,size=1m",
            },
        )?;
        // The directory that has just been made, empty but for what we put there.
        let dev = self.directory("dev")?;
        let everybody = Mode::from_bits_truncate(0o666);
        let umask = nix::sys::stat::umask(Mode::empty());
        let made = DEVICES
            .iter()
            .try_for_each(|(name, major, minor)| {
                let number = makedev(*major, *minor);
                mknodat(&dev, *name, SFlag::S_IFCHR, everybody, number)
                    .map_err(|errno| fault(format!("make /dev/{name}"), errno))
            })
            .and_then(|()| {
                LINKS.iter().try_for_each(|(name, target)| {
                    symlinkat(*target, &dev, *name)
                        .map_err(|errno| fault(format!("make /dev/{name}"), errno))
                })
            });
        nix::sys::stat::umask(umask);
        made?;
        self.mount(
            "dev/pts",
            Mount {
                kind: "devpts",
                flags: quiet,
                options: "newinstance,ptmxmode=0666,mode=0620,gid=5",
            },
        )?;
        self.mount(
            "dev/shm",
            Mount {
                kind: "tmpfs",
                flags: MsFlags::MS_NOSUID | MsFlags::MS_NODEV,
                options: "mode=1777",
            },
        )?;
        if let Some(console) = console {
            let failed = |errno| fault("make /dev/console", errno);
            let how = OpenHow::new()
                .flags(OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_WRONLY)
                .mode(Mode::from_bits_truncate(0o600));
            let place = openat2(&dev, "console", how).map_err(failed)?;
            let none: Option<&str> = None;
            mount(
                Some(console),
                self::path(&place).as_str(),
                none,
                MsFlags::MS_BIND,
                none,
            )
            .map_err(failed)?;
        }
        Ok(())
    }

    /// A directory inside, without following a link.
    fn directory(&self, path: &str) -> Result<OwnedFd> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(&self.root, path, how)
            .map_err(|errno| fault(format!("use the guest's /{path}"), errno).into())
    }

    /// Mounts on a directory, which is made when it is missing.
    fn mount(&self, path: &str, what: Mount) -> Result<()> {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (self.directory(parent)?, name),
            None => (self.directory(".")?, path),
        };
        match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(fault(format!("make the guest's /{path}"), errno).into()),
        }
        let place = self.directory(path)?;
        mount(
            Some(what.kind),
            self::path(&place).as_str(),
            Some(what.kind),
            what.flags,
            Some(what.options),
        )
        .map_err(|errno| fault(format!("mount {} on the guest's /{path}", what.kind), errno).into())
    }

    /// The content of a regular file as the guest's processes find it; `None` when there is none. Links are
    /// followed inside, and nothing is waited for.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let look = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        if !self.is_regular(path) {
            return None;
        }
        let file = File::from(openat2(&self.root, path, look).ok()?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut content = Vec::new();
        file.take(READ_MAX).read_to_end(&mut content).ok()?;
        Some(content)
    }

    /// What a path is inside, links followed.
    fn kind(&self, path: &str) -> Option<std::fs::Metadata> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found = openat2(&self.root, path, how).ok()?;
        File::from(found).metadata().ok()
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
