// SPDX-License-Identifier: GPL-2.0

//! What the configuration of a vserver has mounted for it besides what every one gets.

use super::{fault, path, Guest};
use crate::beneath::Scope;
use crate::config::{self, MountKind};
use crate::Result;
use nix::errno::Errno;
use nix::fcntl::{openat2, OFlag, OpenHow, AT_FDCWD};
use nix::mount::{mount, MsFlags};
use nix::sys::stat::{fstat, mknodat, Mode, SFlag};
use rustix::fs::OFlags;
use std::os::fd::OwnedFd;

impl Guest {
    /// What is mounted by the configuration.
    pub(super) fn other(&self, other: &config::Mount) -> Result<()> {
        let source = other.source.display();
        let what = format!("mount {source} on the guest's /{}", other.target);
        let failed = |errno| fault(what.as_str(), errno);
        let none: Option<&str> = None;
        let kind = match &other.kind {
            MountKind::Type(kind) => kind.as_str(),
            MountKind::Bind { recursive } => {
                let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC);
                let from = openat2(AT_FDCWD, &other.source, how)
                    .map_err(|errno| fault(format!("open {source} to mount it"), errno))?;
                let place = match SFlag::from_bits_truncate(fstat(&from).map_err(failed)?.st_mode)
                    & SFlag::S_IFMT
                {
                    SFlag::S_IFDIR => self.path_of_places(&other.target)?,
                    _ => self.file_place(&other.target)?,
                };
                let deep = match recursive {
                    true => MsFlags::MS_REC,
                    false => MsFlags::empty(),
                };
                let bind = MsFlags::MS_BIND | deep;
                mount(
                    Some(path(&from).as_str()),
                    path(&place).as_str(),
                    none,
                    bind,
                    none,
                )
                .map_err(failed)?;
                return self
                    .restrict(&other.target, other.flags)
                    .map_err(|errno| failed(errno).into());
            }
        };
        let place = self.path_of_places(&other.target)?;
        mount(
            Some(&other.source),
            path(&place).as_str(),
            Some(kind),
            other.flags,
            Some(other.data.as_str()),
        )
        .map_err(|errno| failed(errno).into())
    }

    /// Flags for a mount that has just been bound, and for all that came with it.
    fn restrict(&self, target: &str, flags: MsFlags) -> nix::Result<()> {
        let none: Option<&str> = None;
        let top = self.anything(target)?;
        let seen = nix::fcntl::readlink(path(&top).as_str())?;
        let mounts = std::fs::read("/proc/thread-self/mountinfo").map_err(|_| Errno::EIO)?;
        let below: Vec<String> = mounts
            .split(|byte| *byte == b'\n')
            .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
            .filter_map(|point| {
                unescaped(point)
                    .strip_prefix(&format!("{}/", seen.to_string_lossy()))
                    .map(str::to_owned)
            })
            .collect();
        for place in std::iter::once(target.to_owned())
            .chain(below.into_iter().map(|rest| format!("{target}/{rest}")))
        {
            let place = self.anything(&place)?;
            let remount = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | flags;
            mount(none, path(&place).as_str(), none, remount, none)?;
        }
        Ok(())
    }

    /// What is at a path, no link followed.
    fn anything(&self, target: &str) -> nix::Result<OwnedFd> {
        self.at(target, OFlags::PATH | OFlags::NOFOLLOW, Scope::NoLinks)
    }

    /// A directory to mount on; all on the way to it are made when they are missing.
    fn path_of_places(&self, path: &str) -> Result<OwnedFd> {
        let mut end = 0;
        while let Some(next) = path[end..].find('/') {
            self.place(&path[..end + next])?;
            end += next + 1;
        }
        self.place(path)
    }

    /// A file to mount on, which is made when it is missing.
    fn file_place(&self, path: &str) -> Result<OwnedFd> {
        let (parent, name) = match path.rsplit_once('/') {
            Some((parent, name)) => (self.path_of_places(parent)?, name),
            None => (self.directory(".")?, path),
        };
        let umask = nix::sys::stat::umask(Mode::empty());
        let made = mknodat(
            &parent,
            name,
            SFlag::S_IFREG,
            Mode::from_bits_truncate(0o644),
            0,
        );
        nix::sys::stat::umask(umask);
        let used = |errno| fault(format!("use the guest's /{path}"), errno);
        match made {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(used(errno).into()),
        }
        let place = self.anything(path).map_err(used)?;
        match SFlag::from_bits_truncate(fstat(&place).map_err(used)?.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFDIR => Err(used(Errno::EISDIR).into()),
            SFlag::S_IFLNK => Err(used(Errno::ELOOP).into()),
            _ => Ok(place),
        }
    }
}

/// A path as mountinfo has it: `\\040` is a blank.
fn unescaped(path: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let code = after
            .get(..3)
            .filter(|_| byte == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// Runs it in a thread with mounts of its own; false: this user may not mount.
    fn with_guest(
        root: &Path,
        others: &[config::Mount],
        look: impl FnOnce(Result<Guest>) + Send,
    ) -> bool {
        let body = || match Guest::prepare(root, None, others) {
            Err(crate::Error::Guest(fault)) if fault.errno == Errno::EPERM => {
                eprintln!("skipped: {fault}");
                false
            }
            result => {
                look(result);
                true
            }
        };
        std::thread::scope(|scope| scope.spawn(body).join().unwrap())
    }

    fn bind(source: &Path, target: &str, recursive: bool, flags: MsFlags) -> config::Mount {
        config::Mount {
            source: source.to_owned(),
            target: target.to_owned(),
            kind: MountKind::Bind { recursive },
            flags,
            data: String::new(),
            line: 1,
        }
    }

    fn place(name: &str) -> std::path::PathBuf {
        let place =
            std::env::temp_dir().join(format!("vserver-others-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(place.join("root")).unwrap();
        std::fs::create_dir_all(place.join("out side/below")).unwrap();
        std::fs::write(place.join("out side/file"), "outside").unwrap();
        place
    }

    #[test]
    fn directories_and_files_with_their_flags() {
        let place = place("bind");
        let source = place.join("out side");
        let others = [
            bind(
                &source,
                "srv/da ta",
                true,
                MsFlags::MS_RDONLY | MsFlags::MS_NODEV,
            ),
            bind(&source.join("file"), "etc/x/file", false, MsFlags::MS_NODEV),
        ];
        let root = place.join("root");
        with_guest(&root, &others, |guest| {
            let guest = guest.unwrap();
            assert_eq!(guest.read("/srv/da ta/file").unwrap(), b"outside");
            assert_eq!(guest.read("/etc/x/file").unwrap(), b"outside");
            let written = std::fs::write(root.join("srv/da ta/new"), "");
            assert_eq!(
                written.unwrap_err().kind(),
                std::io::ErrorKind::ReadOnlyFilesystem
            );
            std::fs::write(root.join("etc/x/file"), "changed").unwrap();
        });
        // Outside it is as it was, and what was made inside is empty.
        std::fs::write(source.join("new"), "").unwrap();
        assert!(!root.join("srv/da ta/file").exists());
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn no_link_of_the_guest_is_followed() {
        let place = place("links");
        let root = place.join("root");
        symlink(place.join("out side"), root.join("data")).unwrap();
        symlink("/etc/passwd", root.join("file")).unwrap();
        let source = place.join("out side");
        let none = MsFlags::empty();
        for other in [
            bind(&source, "data", false, none),
            bind(&source, "data/below", false, none),
            bind(&source.join("file"), "file", false, none),
            bind(&source.join("file"), "data/file", false, none),
        ] {
            let said = format!("/{}", other.target.split('/').next().unwrap_or_default());
            with_guest(&root, &[other], |guest| {
                let error = guest.unwrap_err().to_string();
                assert!(
                    error.contains(&said) && error.contains("symbolic link"),
                    "{error}"
                );
            });
        }
        std::fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn blanks_of_mountinfo() {
        assert_eq!(unescaped(b"/a\\040b\\134c"), "/a b\\c");
        assert_eq!(unescaped(b"/a\\04"), "/a\\04");
    }
}
