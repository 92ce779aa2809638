// SPDX-License-Identifier: GPL-2.0

//! Going into another root directory, and reading what is there without trusting it.
//!
//! Files are read before the root changes: reading needs descriptors of the host, and a process whose
//! root is that of a vserver must not have one. Its root user could take it and walk to the host's root.

pub use crate::fault::root::Fault;

use crate::beneath::{self, Scope};
use crate::fault::root::{LIMIT, STANDARD};
use crate::{Error, Result};
use nix::errno::Errno;
use nix::fcntl::{open, openat, OFlag};
use nix::sys::stat::{fstat, Mode, SFlag};
use rustix::fs::OFlags;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

/// The caller's descriptors, as files.
const DESCRIPTORS: &str = "/proc/self/fd";

/// A root directory that the process has not gone to yet.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
    /// [`DESCRIPTORS`]: there need be no /proc inside.
    descriptors: File,
    /// As it was named.
    shown: String,
}

impl Root {
    /// Find a directory.
    pub fn open(directory: &Path) -> Result<Self> {
        let shown = directory.display().to_string();
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let opened = open(directory, flags, Mode::empty()).map_err(|errno| Fault::Change {
            directory: shown.clone(),
            errno,
        })?;
        Ok(Self {
            directory: opened,
            descriptors: File::open(DESCRIPTORS).map_err(unreadable)?,
            shown,
        })
    }

    /// Make it the root and the working directory. Descriptors of directories, which would lead out again,
    /// are closed before.
    pub fn enter(self) -> Result<()> {
        let Self {
            directory,
            descriptors,
            shown,
        } = self;
        let failed = |errno| Fault::Change {
            directory: shown.clone(),
            errno,
        };
        nix::unistd::fchdir(&directory).map_err(failed)?;
        drop((directory, descriptors));
        close_directories().map_err(unreadable)??;
        nix::unistd::chroot(".")
            .and_then(|()| nix::unistd::chdir("/"))
            .map_err(failed)?;
        Ok(())
    }

    /// The content of a file inside; `None` when it is not there. Anybody may have made it: it is
    /// opened only when it is a regular file, no link leads out of the directory, and none leads through
    /// /proc, where those of other processes are.
    pub fn read(&self, path: &'static str) -> Result<Option<Vec<u8>>> {
        Ok(self.read_at(path, path)?)
    }

    fn read_at(&self, at: &str, path: &'static str) -> Result<Option<Vec<u8>>, Fault> {
        let failed = |errno| Fault::Read { path, errno };
        let found = beneath::open(&self.directory, Path::new(at), OFlags::PATH, Scope::AsRoot);
        let found = match found.map_err(beneath::errno) {
            Err(Errno::ENOENT) => return Ok(None),
            found => found.map_err(failed)?,
        };
        let data = fstat(&found).map_err(failed)?;
        if data.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFREG.bits() {
            return Err(Fault::NotRegular(path));
        }
        // Files that the kernel makes up, as in /proc, say so too. To read some of them changes something.
        if data.st_size == 0 {
            return Ok(Some(Vec::new()));
        }
        // The very file that was looked at, without waiting for the holder of a lease.
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

fn unreadable(source: std::io::Error) -> Error {
    Error::Read {
        path: DESCRIPTORS.to_owned(),
        source,
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
        let root = Root::open(Path::new("/")).unwrap();
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
        symlink("/proc/version", path("made-up")).unwrap();
        assert_eq!(read(&path("made-up")), Ok(Some(Vec::new())));
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
    fn no_link_leads_out() {
        let place =
            Place(std::env::temp_dir().join(format!("vserver-inside-{}", std::process::id())));
        fs::create_dir_all(place.0.join("one/sub")).unwrap();
        fs::write(place.0.join("file"), "outside").unwrap();
        fs::write(place.0.join("one/file"), "inside").unwrap();
        let root = Root::open(&place.0.join("one")).unwrap();
        for (number, target) in ["/file", "../file", "sub/../../../file", "file"]
            .into_iter()
            .enumerate()
        {
            symlink(target, place.0.join(format!("one/{number}"))).unwrap();
            let read = root.read_at(&number.to_string(), NAME);
            assert_eq!(read, Ok(Some(b"inside".to_vec())), "{target}");
        }
        assert_eq!(
            root.read_at("/../../file", NAME),
            Ok(Some(b"inside".to_vec()))
        );
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
