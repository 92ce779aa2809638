// SPDX-License-Identifier: GPL-2.0

//! Init systems as Debian packages them, each as process 1 of a vserver.
//!
//! Every vserver has the file system of its init system (the runner's `trees.rs`), and what it writes is in
//! memory. Nothing waits for a time to be over, but for something to be so.

use crate::{
    filesystem::{mounted, private_mounts},
    fixture::{
        child, confine, ensure, enter, equal, list, signal, status, until_empty, words, Outcome,
        SECURE,
    },
    syscalls, test, Test,
};
use nix::{
    fcntl::OFlag,
    mount::MsFlags,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt, PtyMaster},
    sys::{
        signal::Signal,
        stat::{makedev, mknod, Mode, SFlag},
        wait::waitpid,
    },
    unistd::{chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, execve, read, setpgid, Pid},
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use vserver_uapi::*;

mod alone;
mod busybox;
mod leftovers;
mod openrc;
mod runit;
mod servers;
mod systemd;
mod sysvinit;

use leftovers::Machine;

pub const TESTS: &[Test] = &[
    alone::CYCLES,
    alone::FORK_BOMB,
    alone::SIGKILL_STORM,
];

/// The file systems, read-only.
const INITS: &str = "/inits";

/// Where vservers are, behind the barrier.
const VSERVERS: &str = "/vservers";

/// What is written to them.
const WRITTEN: &str = "/tmp/init";

/// How long anything may take on a slow machine with a kernel with checks.
const LIMIT: Duration = Duration::from_secs(300);

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> Result<bool, String>) -> Outcome {
    let start = Instant::now();
    while !so()? {
        ensure(&format!("not in time: {what}"), start.elapsed() < LIMIT)?;
        sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Waits for what there is at last.
fn await_some<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T, String> {
    let mut some = None;
    until(what, || {
        some = found();
        Ok(some.is_some())
    })?;
    some.ok_or_else(|| what.to_string())
}

/// Runs a test with a place for vservers, and looks whether it has left the machine as it was.
fn with_vservers(run: impl FnOnce() -> Outcome) -> Outcome {
    until_empty()?;
    private_mounts()?;
    let none = MsFlags::empty();
    mounted(Some("tmpfs"), VSERVERS, None, none, "mode=000")?;
    fs::create_dir_all(WRITTEN).map_err(words)?;
    mounted(Some("tmpfs"), WRITTEN, None, none, "mode=700")?;
    run()
}

/// Makes the file system of a vserver from that of an init system; where it is.
fn furnish(name: &str, tree: &str) -> Result<PathBuf, String> {
    let root = Path::new(VSERVERS).join(name);
    let written = Path::new(WRITTEN).join(name);
    for folder in [&root, &written.join("upper"), &written.join("work")] {
        fs::create_dir_all(folder).map_err(words)?;
    }
    let layers = format!(
        "lowerdir={INITS}/{tree},upperdir={written}/upper,workdir={written}/work",
        written = written.display()
    );
    mounted(Some("overlay"), &root, None, MsFlags::empty(), &layers)?;
    Ok(root)
}
