// SPDX-License-Identifier: GPL-2.0

//! File systems for one test alone: what it mounts goes with it.

use crate::fixture::{child, ensure, words, Outcome};
use nix::{
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    unistd::chroot,
};
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

/// The Debian file system, read-only: see the runner's `guest.rs`.
pub const SERVERS: &str = "/servers";

/// Where the file systems on disks are kept, from the test that first needs one on.
const IMAGES: &str = "/tmp/images";

/// Where Debian's programs find them.
const IMAGES_INSIDE: &str = "/mnt";

/// The disks are sparse files. The smallest that mkfs.xfs takes is 300 MB.
const SIZE: u64 = 320 << 20;

/// From here on this process and its children have mounts of their own.
pub fn private_mounts() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mounted(None, "/", None, private, "")
}

/// Mounts a file system of a kind, or with None what the flags say.
pub fn mounted(
    kind: Option<&str>,
    target: impl AsRef<Path>,
    source: Option<&Path>,
    flags: MsFlags,
    data: &str,
) -> Outcome {
    let target = target.as_ref();
    let source = source.or(kind.map(Path::new));
    mount(source, target, kind, flags, Some(data))
        .map_err(|errno| format!("mounting {kind:?} on {}: {errno}", target.display()))
}

/// Mounts a file system of a kind that needs a disk, empty. It is made once per boot; what is in it when a
/// test ends is removed by the next one.
pub fn disk(kind: &str, target: &str) -> Outcome {
    // A name for the loop device. It is never taken off the file: mounts that go with a process go a
    // little later, and with a second device the same disk would be in use twice.
    let device = format!("{IMAGES}/{kind}.device");
    if !Path::new(&device).exists() {
        make(kind, &device)?;
    }
    let none = MsFlags::empty();
    mounted(Some(kind), target, Some(Path::new(&device)), none, "")?;
    for entry in fs::read_dir(target).map_err(words)? {
        let path = entry.map_err(words)?.path();
        let removed = match path.is_dir() {
            true => fs::remove_dir_all(&path),
            false => fs::remove_file(&path),
        };
        removed.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn make(kind: &str, device: &str) -> Outcome {
    if !Path::new("/dev/loop-control").exists() {
        run(&["modprobe", "loop"])?;
    }
    fs::create_dir_all(IMAGES).map_err(words)?;
    let image = format!("{IMAGES}/{kind}");
    File::create(&image)
        .and_then(|file| file.set_len(SIZE))
        .map_err(words)?;
    child(|| {
        private_mounts()?;
        let inside = format!("{SERVERS}{IMAGES_INSIDE}");
        let bind = MsFlags::MS_BIND;
        mounted(None, inside, Some(Path::new(IMAGES)), bind, "")?;
        let proc = format!("{SERVERS}/proc");
        mounted(Some("proc"), proc, None, MsFlags::empty(), "")?;
        chroot(SERVERS).map_err(words)?;
        let image = format!("{IMAGES_INSIDE}/{kind}");
        run(&[&format!("/usr/sbin/mkfs.{kind}"), "-q", &image])?;
        Ok(String::new())
    })?;
    let free = run(&["losetup", "-f"])?;
    run(&["losetup", &free, &image])?;
    symlink(free, device).map_err(words)
}

/// Runs a program that is to end well; what it says, without the end of line.
fn run(command: &[&str]) -> Result<String, String> {
    let ran = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", command[0]))?;
    let said = String::from_utf8_lossy(&ran.stderr);
    let what = format!("{command:?}: {} {said}", ran.status);
    ensure(&what, ran.status.success())?;
    Ok(String::from_utf8_lossy(&ran.stdout).trim_end().to_string())
}
