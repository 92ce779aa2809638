// SPDX-License-Identifier: GPL-2.0

//! Opening what is beneath a directory, on a path that somebody inside may have made.
//!
//! The only caller of openat2(2) with a limit on where the path leads.

use rustix::fs::{openat2, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::thread::yield_now;

/// How often a path is walked anew. openat2(2) gives up with EAGAIN at a ".." when anything on the machine was renamed
/// or mounted since the walk began. So a busy machine costs a few tries, and nobody inside can hold the caller for ever.
const TRIES: usize = 10_000;

/// Where a path may lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Links are followed as if the directory were the root directory; a magic link of /proc is ELOOP.
    AsRoot,
    /// Any link is ELOOP, a way out is EXDEV.
    NoLinks,
    /// A way out is EXDEV, also one to what is mounted beneath.
    OneMount,
}

impl Scope {
    fn flags(self) -> ResolveFlags {
        match self {
            Self::AsRoot => ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
            Self::NoLinks => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Self::OneMount => ResolveFlags::BENEATH | ResolveFlags::NO_XDEV,
        }
    }
}

/// Opens what exists at a path; an empty path is the directory itself. EAGAIN when the machine does not stop to move
/// directories meanwhile.
pub(crate) fn open(
    directory: impl AsFd,
    path: &Path,
    flags: OFlags,
    scope: Scope,
) -> Result<OwnedFd> {
    let path = match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    };
    let flags = flags | OFlags::CLOEXEC;
    for _ in 0..TRIES {
        match openat2(&directory, path, flags, Mode::empty(), scope.flags()) {
            Err(Errno::AGAIN) => yield_now(),
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

/// The same error for those who report it as nix does.
pub(crate) fn errno(errno: Errno) -> nix::errno::Errno {
    nix::errno::Errno::from_raw(errno.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// The kernel's EAGAIN is not an answer: somewhere on a machine something is always renamed.
    #[test]
    fn renames_elsewhere_do_not_matter() {
        let place = std::env::temp_dir().join(format!("vserver-beneath-{}", std::process::id()));
        fs::create_dir_all(place.join("root/down")).unwrap();
        fs::create_dir_all(place.join("there")).unwrap();
        let root = fs::File::open(place.join("root")).unwrap();
        let ready = AtomicBool::new(false);
        let over = AtomicBool::new(false);
        let up = "down/../".repeat(50) + "down";
        let failed = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    fs::rename(place.join("there"), place.join("back")).unwrap();
                    fs::rename(place.join("back"), place.join("there")).unwrap();
                    ready.store(true, Ordering::Relaxed);
                }
            });
            while !ready.load(Ordering::Relaxed) {
                yield_now();
            }
            let failed = (0..20_000)
                .find_map(|_| open(&root, Path::new(&up), OFlags::PATH, Scope::AsRoot).err());
            over.store(true, Ordering::Relaxed);
            failed
        });
        fs::remove_dir_all(&place).unwrap();
        assert_eq!(failed, None);
    }
}
