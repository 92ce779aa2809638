// SPDX-License-Identifier: GPL-2.0

//! Going into another root directory, and reading what is there without trusting it.

use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{openat, openat2, OFlag, OpenHow, ResolveFlag, AT_FDCWD};
use nix::sys::stat::{fstat, Mode, SFlag};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

/// The caller's descriptors, as files.
const DESCRIPTORS: &str = "/proc/self/fd";

/// Standard input, output and error: others are closed without asking.
const STANDARD: [&str; 3] = ["standard input", "standard output", "standard error"];

/// No file that is read is larger.
const LIMIT: u64 = 16 << 20;

/// What is wrong with a root directory or with a file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The root cannot be changed.
    Change {
        /// The directory.
        directory: String,
        /// Why not.
        errno: Errno,
    },
    /// A directory outside would stay open as this one of [`STANDARD`].
    Open(usize),
    /// A file inside cannot be read.
    Read {
        /// The file.
        path: &'static str,
        /// Why not.
        errno: Errno,
    },
    /// It is a pipe, a device or the like.
    NotRegular(&'static str),
    /// It is larger than any such file.
    TooLarge(&'static str),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { directory, errno } => {
                let reason = match errno {
                    Errno::ENOENT => "there is no such directory",
                    Errno::ENOTDIR => "it is not a directory",
                    Errno::EACCES => "it may not be entered, or is behind a barrier",
                    Errno::EPERM => "the capability CAP_SYS_CHROOT is missing",
                    errno => errno.desc(),
                };
                write!(f, "cannot make {directory} the root: {reason}")
            }
            Self::Open(number) => write!(
                f,
                "the {} is a directory, which would lead out of the new root",
                STANDARD[*number]
            ),
            Self::Read {
                path,
                errno: Errno::ELOOP,
            } => write!(
                f,
                "cannot read {path} of the new root: its symbolic links go round or through /proc"
            ),
            Self::Read { path, errno } => {
                write!(f, "cannot read {path} of the new root: {}", errno.desc())
            }
            Self::NotRegular(path) => {
                write!(f, "cannot read {path} of the new root: not a regular file")
            }
            Self::TooLarge(path) => write!(
                f,
                "cannot read {path} of the new root: larger than {} MiB",
                LIMIT >> 20
            ),
        }
    }
}

impl Fault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Change {
                errno: Errno::EACCES,
                ..
            } => {
                "go there before the context is entered: \"cd DIRECTORY; chcontext ... capchroot . ...\""
            }
            Self::Change {
                errno: Errno::EPERM,
                ..
            } => "run it as root, and give the capability up with --nochroot rather than before",
            Self::Change { .. } => "name the root directory of a vserver",
            Self::Open(_) => "redirect it",
            Self::Read { path, .. } | Self::NotRegular(path) | Self::TooLarge(path) => match *path {
                "/etc/passwd" => "put a file with the users there, or give the number of a user",
                _ => "put a regular file there, or none",
            },
        }
    }
}

/// The root directory that the process has gone to.
#[derive(Debug)]
pub struct Root {
    /// [`DESCRIPTORS`] of before: there need be no /proc inside.
    descriptors: File,
}

impl Root {
    /// Make a directory the root and the working directory. Descriptors of directories, which would
    /// lead out again, are closed.
    pub fn enter(directory: &Path) -> Result<Self> {
        let read = |source| Error::Read {
            path: DESCRIPTORS.to_owned(),
            source,
        };
        close_directories().map_err(read)??;
        let descriptors = File::open(DESCRIPTORS).map_err(read)?;
        nix::unistd::chroot(directory)
            .and_then(|()| nix::unistd::chdir("/"))
            .map_err(|errno| Fault::Change {
                directory: directory.display().to_string(),
                errno,
            })?;
        Ok(Self { descriptors })
    }

    /// The content of a file inside; `None` when it is not there. Who has made it may be anybody: it is
    /// opened only when it is a regular file, and no link leads through /proc, where those of
    /// processes outside are.
    pub fn read(&self, path: &'static str) -> Result<Option<Vec<u8>>> {
        Ok(self.read_at(path, path)?)
    }

    fn read_at(&self, at: &str, path: &'static str) -> Result<Option<Vec<u8>>, Fault> {
        let failed = |errno| Fault::Read { path, errno };
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let found = match openat2(AT_FDCWD, at, how) {
            Err(Errno::ENOENT) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let kind = fstat(&found).map_err(failed)?.st_mode & SFlag::S_IFMT.bits();
        if kind != SFlag::S_IFREG.bits() {
            return Err(Fault::NotRegular(path));
        }
        // The very file that was looked at, without waiting for who has a lease of it.
        let name = found.as_raw_fd().to_string();
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let file =
            openat(&self.descriptors, name.as_str(), flags, Mode::empty()).map_err(failed)?;
        let mut content = Vec::new();
        let length = File::from(file)
            .take(LIMIT + 1)
            .read_to_end(&mut content)
            .map_err(|error| failed(Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
        if length as u64 > LIMIT {
            return Err(Fault::TooLarge(path));
        }
        Ok(Some(content))
    }
}

/// Close what is open of directories. Files, sockets and terminals are passed on, as by any command.
fn close_directories() -> std::io::Result<Result<(), Fault>> {
    let open: Vec<RawFd> = fs::read_dir(DESCRIPTORS)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for descriptor in open {
        let is_directory = fs::metadata(format!("{DESCRIPTORS}/{descriptor}"))
            .is_ok_and(|metadata| metadata.is_dir());
        if !is_directory {
            continue;
        }
        match usize::try_from(descriptor) {
            Ok(number) if number < STANDARD.len() => return Ok(Err(Fault::Open(number))),
            // What is left of a failed close is not open.
            _ => drop(nix::unistd::close(descriptor)),
        }
    }
    Ok(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    const NAME: &str = "/etc/passwd";

    /// A place for files, gone when dropped.
    struct Place(std::path::PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn read(path: &Path) -> Result<Option<Vec<u8>>, Fault> {
        let root = Root {
            descriptors: File::open(DESCRIPTORS).unwrap(),
        };
        root.read_at(path.to_str().unwrap(), NAME)
    }

    #[test]
    fn only_what_is_a_regular_file_is_read() {
        let place =
            Place(std::env::temp_dir().join(format!("vserver-root-{}", std::process::id())));
        fs::create_dir(&place.0).unwrap();
        let path = |name: &str| place.0.join(name);
        assert_eq!(read(&path("file")), Ok(None));
        fs::write(path("file"), "content").unwrap();
        assert_eq!(read(&path("file")), Ok(Some(b"content".to_vec())));
        symlink("file", path("link")).unwrap();
        assert_eq!(read(&path("link")), Ok(Some(b"content".to_vec())));
        symlink("nowhere", path("dangling")).unwrap();
        assert_eq!(read(&path("dangling")), Ok(None));
        // Nobody writes to it: it must not be waited for.
        nix::unistd::mkfifo(&path("fifo"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", path("device")).unwrap();
        for name in ["fifo", "device", "."] {
            assert_eq!(read(&path(name)), Err(Fault::NotRegular(NAME)), "{name}");
        }
        let large = File::create(path("large")).unwrap();
        large.set_len(LIMIT).unwrap();
        assert_eq!(read(&path("large")).unwrap().unwrap().len() as u64, LIMIT);
        large.set_len(1 << 40).unwrap();
        assert_eq!(read(&path("large")), Err(Fault::TooLarge(NAME)));
        // The ways through /proc: an open file, and another root.
        let open = File::open(path("file")).unwrap();
        let through = [
            format!("{DESCRIPTORS}/{}", open.as_raw_fd()),
            format!("/proc/self/root{}", path("file").display()),
        ];
        symlink("round", path("round")).unwrap();
        for (number, target) in through.into_iter().chain(["round".to_owned()]).enumerate() {
            let link = path(&number.to_string());
            symlink(&target, &link).unwrap();
            let errno = Errno::ELOOP;
            assert_eq!(
                read(&link),
                Err(Fault::Read { path: NAME, errno }),
                "{target}"
            );
        }
    }

    #[test]
    fn each_fault_says_what_to_do_in_one_line() {
        let change = |errno| Fault::Change {
            directory: "/vservers/one".to_owned(),
            errno,
        };
        for (fault, part) in [
            (change(Errno::ENOENT), "no such directory"),
            (change(Errno::ENOTDIR), "not a directory"),
            (change(Errno::EACCES), "barrier"),
            (change(Errno::EPERM), "CAP_SYS_CHROOT"),
            (change(Errno::EIO), "/vservers/one"),
            (Fault::Open(1), "standard output"),
            (Fault::NotRegular(NAME), NAME),
            (Fault::TooLarge(NAME), "16 MiB"),
        ] {
            let text = format!("{fault}; {}", fault.hint());
            assert!(text.contains(part), "{text}");
            assert!(!text.contains('\n'), "{text}");
        }
    }
}
