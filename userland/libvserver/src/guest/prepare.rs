// SPDX-License-Identifier: GPL-2.0

//! What is mounted for a guest.

use super::{fault, path, Guest};
use crate::config;
use crate::dev_nodes::{LINKS, NODES};
use crate::Result;
use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow};
use nix::mount::{mount, MsFlags};
use nix::sched::{unshare, CloneFlags};
use nix::sys::stat::{mkdirat, mknodat, Mode, SFlag};
use nix::unistd::symlinkat;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The guest's own devpts makes its terminals.
const PTMX: (&str, &str) = ("ptmx", "pts/ptmx");

/// What a file system is mounted with.
struct Mount {
    kind: &'static str,
    flags: MsFlags,
    options: &'static str,
}

impl Guest {
    /// Gives the calling process a mount namespace of its own, and mounts there what a guest needs: /proc, a
    /// small /dev with terminals of its own, /dev/shm, /run, and /sys to be read; and then `others`. `console`: the
    /// terminal that becomes /dev/console. It all goes with the last process of the namespace.
    pub fn prepare(root: &Path, console: Option<&Path>, others: &[config::Mount]) -> Result<Self> {
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
        // Good to have, where there is one.
        let sys = guest.place("sys")?;
        let _ = mount_on(
            &sys,
            &Mount {
                kind: "sysfs",
                flags: safe | MsFlags::MS_RDONLY,
                options: "",
            },
        );
        let volatile = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        guest.mount(
            "run",
            Mount {
                kind: "tmpfs",
                flags: volatile,
                options: "mode=755",
            },
        )?;
        guest.mount(
            "run/lock",
            Mount {
                kind: "tmpfs",
                flags: safe,
                options: "mode=1777,size=5m",
            },
        )?;
        guest.devices(console)?;
        guest.temporary()?;
        for other in others {
            guest.other(other)?;
        }
        Ok(guest)
    }

    /// A /tmp for everybody, when there is none.
    fn temporary(&self) -> Result<()> {
        let root = self.directory(".")?;
        let umask = nix::sys::stat::umask(Mode::empty());
        let made = mkdirat(&root, "tmp", Mode::from_bits_truncate(0o1777));
        nix::sys::stat::umask(umask);
        match made {
            Ok(()) | Err(Errno::EEXIST | Errno::EROFS) => Ok(()),
            Err(errno) => Err(fault("make the guest's /tmp", errno).into()),
        }
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
        let made = NODES
            .iter()
            .try_for_each(|node| {
                mknodat(&dev, node.name, SFlag::S_IFCHR, everybody, node.number())
                    .map_err(|errno| fault(format!("make /dev/{}", node.name), errno))
            })
            .and_then(|()| {
                [PTMX].iter().chain(&LINKS).try_for_each(|(name, target)| {
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
                path(&place).as_str(),
                none,
                MsFlags::MS_BIND,
                none,
            )
            .map_err(failed)?;
        }
        Ok(())
    }

    /// A directory to mount on, which is made when it is missing.
    pub(super) fn place(&self, path: &str) -> Result<OwnedFd> {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (self.directory(parent)?, name),
            None => (self.directory(".")?, path),
        };
        match mkdirat(&parent, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) | Err(Errno::EEXIST) => self.directory(path),
            Err(errno) => Err(fault(format!("make the guest's /{path}"), errno).into()),
        }
    }

    fn mount(&self, path: &str, what: Mount) -> Result<()> {
        mount_on(&self.place(path)?, &what).map_err(|errno| {
            fault(format!("mount {} on the guest's /{path}", what.kind), errno).into()
        })
    }
}

/// Mounts on a directory that is held, whatever its path leads to by now.
fn mount_on(place: &OwnedFd, what: &Mount) -> nix::Result<()> {
    mount(
        Some(what.kind),
        path(place).as_str(),
        Some(what.kind),
        what.flags,
        Some(what.options),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use std::os::unix::fs::symlink;
    use std::os::unix::fs::FileTypeExt;
    use std::path::PathBuf;

    /// A guest's root and a directory outside of it, gone when dropped.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("vserver-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&place);
            std::fs::create_dir_all(place.join("root/etc")).unwrap();
            std::fs::create_dir_all(place.join("outside")).unwrap();
            Self(place)
        }

        fn root(&self) -> PathBuf {
            self.0.join("root")
        }

        fn outside(&self) -> PathBuf {
            self.0.join("outside")
        }

        /// Nothing is mounted or made outside, as seen by whoever asks.
        fn is_untouched(&self) -> bool {
            let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            let outside = self.outside().display().to_string();
            let etc = self.root().join("etc").display().to_string();
            !mounts.contains(&outside)
                && !mounts.contains(&etc)
                && std::fs::read_dir(self.outside()).unwrap().next().is_none()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// In a thread of its own, which the mount namespace ends with. None: this user may not mount.
    fn prepare<T: Send>(place: &Place, look: impl FnOnce(Result<Guest>) -> T + Send) -> Option<T> {
        let body = || match Guest::prepare(&place.root(), None, &[]) {
            Err(Error::Guest(fault)) if fault.errno == Errno::EPERM => {
                eprintln!("skipped: {fault}");
                None
            }
            result => Some(look(result)),
        };
        std::thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    #[test]
    fn nothing_is_mounted_through_what_a_guest_has_planted() {
        for name in ["proc", "sys", "run", "dev"] {
            for target in ["outside", "etc", "nowhere"] {
                let place = Place::new(&format!("planted-{name}-{target}"));
                let target = match target {
                    "outside" => place.outside(),
                    "etc" => "/etc".into(),
                    _ => place.outside().join("new"),
                };
                symlink(&target, place.root().join(name)).unwrap();
                prepare(&place, |result| {
                    let error = result.unwrap_err().to_string();
                    assert!(error.contains(&format!("/{name}")), "{error}");
                    assert!(error.contains("symbolic link"), "{error}");
                    assert!(place.is_untouched(), "{name} -> {}", target.display());
                });
                assert!(place.is_untouched());
            }
        }
        let place = Place::new("planted-fifo");
        nix::unistd::mkfifo(&place.root().join("run"), Mode::S_IRWXU).unwrap();
        prepare(&place, |result| {
            let error = result.unwrap_err().to_string();
            assert!(error.ends_with("it is not a directory"), "{error}");
        });
    }

    #[test]
    fn what_a_guest_has_in_dev_and_run_is_covered() {
        let place = Place::new("covered");
        for directory in ["dev", "run"] {
            std::fs::create_dir(place.root().join(directory)).unwrap();
        }
        for link in ["dev/pts", "dev/shm", "dev/null", "dev/console", "run/lock"] {
            symlink(place.outside(), place.root().join(link)).unwrap();
        }
        prepare(&place, |result| {
            let guest = result.unwrap();
            for directory in ["/proc/self", "/dev/shm", "/run/lock"] {
                assert!(guest.exists(directory), "{directory}");
            }
            for node in NODES {
                let name = node.name;
                let kind = guest.kind(&format!("/dev/{name}")).unwrap().file_type();
                assert!(kind.is_char_device(), "{name}");
            }
            assert!(guest.exists("/dev/ptmx") && !guest.exists("/dev/console"));
            assert_eq!(guest.names("/dev/pts"), ["ptmx"]);
            assert!(place.is_untouched());
        });
        // Outside of that namespace nothing has happened.
        assert!(place.is_untouched() && !place.root().join("proc/self").exists());
    }
}
