// SPDX-License-Identifier: GPL-2.0

//! Ways out of a context that are no way through the front: files of the machine, links of /proc, keys,
//! messages, facilities of the kernel. Each is tried by root inside, with what `chcontext --secure` leaves
//! and with every capability, and from the host, where it works. See docs/back-doors.md.

use crate::{
    fixture::{child, enter, equal, words, Outcome, SECURE},
    syscalls::syscall,
    Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    sys::stat::Mode,
    unistd::getuid,
};
use std::{
    fs,
    os::fd::{AsRawFd, OwnedFd},
};
use vserver_uapi::*;

mod cgroups;
mod kernel;
mod keys;
mod links;
mod machine;
mod messages;
mod newer;
mod rings;

pub const TESTS: &[&[Test]] = &[
    machine::TESTS,
    cgroups::TESTS,
    links::TESTS,
    keys::TESTS,
    messages::TESTS,
    newer::TESTS,
    rings::TESTS,
    kernel::TESTS,
];

/// A system call with as many arguments as it has.
fn call(number: i64, arguments: &[usize]) -> Result<i64, Errno> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    syscall(number, all)
}

/// The error of a standard library call.
fn errno<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Runs something as root in a context, without these capabilities.
fn inside_without(context: i32, caps: u64, run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        enter(context, 0, caps).map_err(|error| format!("entering {context}: {error}"))?;
        run().map(|()| String::new())
    })
    .map(drop)
    .map_err(|text| format!("in context {context} without {caps:x}: {text}"))
}

/// Runs something as root in a context: with what `--secure` leaves, and with every capability.
fn inside_both(run: impl Fn() -> Outcome) -> Outcome {
    inside_without(100, SECURE, &run)?;
    inside_without(100, 0, &run)
}

/// Runs something on the host, without the capabilities that `--secure` gives up: what a file mode
/// allows to root.
fn host_without_caps(run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        enter(CONTEXT_STAY, 0, SECURE).map_err(words)?;
        run().map(|()| String::new())
    })
    .map(drop)
    .map_err(|text| format!("on the host: {text}"))
}

/// Makes the caller root of a user namespace of his own, with more namespaces.
fn own_user_namespace(more: CloneFlags) -> Outcome {
    let uid = getuid();
    unshare(CloneFlags::CLONE_NEWUSER | more).map_err(words)?;
    fs::write("/proc/self/setgroups", "deny").map_err(words)?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(words)?;
    fs::write("/proc/self/gid_map", "0 0 1").map_err(words)
}

/// A file opened, and nothing done with it.
fn opened(path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    open(path, flags, Mode::empty())
}

fn opened_to_write(path: &str) -> Result<(), Errno> {
    opened(path, OFlag::O_WRONLY).map(drop)
}

/// The link of /proc to a descriptor.
fn link_of(file: &impl AsRawFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// A mount namespace of the test's own with an empty file system.
fn place(at: &str) -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mounted(None, "/", private)?;
    fs::create_dir_all(at).map_err(words)?;
    mounted(Some("tmpfs"), at, MsFlags::empty())
}

fn mounted(kind: Option<&str>, target: &str, flags: MsFlags) -> Outcome {
    try_mount(kind, target, flags)
        .map_err(|errno| format!("mounting {kind:?} on {target}: {errno}"))
}

fn try_mount(kind: Option<&str>, target: &str, flags: MsFlags) -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(kind, target, kind, flags, none)
}

/// Fails unless the word is the same.
fn same(what: &str, got: Result<String, String>, expected: &str) -> Outcome {
    equal(what, got?.as_str(), expected)
}
