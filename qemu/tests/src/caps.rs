// SPDX-License-Identifier: GPL-2.0

//! The capability ceiling.

use crate::{
    fixture::{ensure, enter, equal, get, inside, words, Outcome, Sitter},
    test, Test,
};
use nix::{
    errno::Errno,
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    unistd::{setuid, Uid},
};
use std::{os::unix::fs::PermissionsExt, process::Command};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("caps::each_of_the_41", 60, each),
    test("caps::ceiling_of_a_context", 20, ceiling),
    test("caps::ceiling_for_who_joins", 20, joining),
    test("caps::setuid_root_gains_nothing", 20, setuid_root),
    test(
        "caps::file_capabilities_gain_nothing",
        20,
        file_capabilities,
    ),
];

/// As in `linux/capability.h`, in order.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

const ALL: u64 = (1 << 41) - 1;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_SYS_CHROOT: u64 = 1 << 18;
const CAP_KILL: u64 = 1 << 5;

/// One of the masks of `/proc/self/status`.
fn mask(text: &str, name: &str) -> Result<u64, String> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .ok_or_else(|| format!("no {name} in {text}"))?;
    u64::from_str_radix(line.trim(), 16).map_err(words)
}

fn own_status() -> Result<String, String> {
    std::fs::read_to_string("/proc/self/status").map_err(words)
}

/// Given up, in every set, by name; no other one is.
fn each() -> Outcome {
    for (capability, name) in NAMES.into_iter().enumerate() {
        inside(CONTEXT_ROOT, || {
            let bit = 1 << capability;
            let before = own_status()?;
            enter(CONTEXT_STAY, 0, bit).map_err(words)?;
            let after = own_status()?;
            for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
                let expected = mask(&before, set)? & !bit;
                equal(&format!("CAP_{name}, {set}"), mask(&after, set)?, expected)?;
            }
            equal("the bounding set", mask(&after, "CapBnd")?, ALL & !bit)
        })?;
    }
    Ok(())
}

/// What takes CAP_SYS_ADMIN.
fn mount_somewhere() -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(none, "/tmp", Some("tmpfs"), MsFlags::empty(), none)
}

fn ceiling() -> Outcome {
    inside(CONTEXT_ROOT, || {
        let entered = enter(CONTEXT_NEW, 0, CAP_SYS_ADMIN).map_err(words)?;
        let left = mask(&own_status()?, "CapBnd")?;
        equal("left", left, ALL & !CAP_SYS_ADMIN)?;
        let dropped = || get(0).map(|info| info.caps_dropped);
        equal("recorded", dropped(), Ok(CAP_SYS_ADMIN))?;
        let refused = Some(Errno::EPERM);
        equal("of no use", mount_somewhere().err(), refused)?;
        enter(CONTEXT_NEW, 0, CAP_SYS_CHROOT).map_err(words)?;
        let both = CAP_SYS_ADMIN | CAP_SYS_CHROOT;
        equal("inherited", dropped(), Ok(both))?;
        equal("outer", get(0).map(|info| info.outer), Ok(entered.context))?;
        // A user namespace gives capabilities over itself only.
        unshare(CloneFlags::CLONE_NEWUSER).map_err(words)?;
        equal("in a namespace", mount_somewhere().err(), refused)
    })
}

/// The ceiling is the context's, whoever joins it.
fn joining() -> Outcome {
    let (reader, writer) = nix::unistd::pipe().map_err(words)?;
    let _maker = Sitter::new(CONTEXT_ROOT, 0, || {
        let entered = enter(CONTEXT_NEW, 0, CAP_SYS_ADMIN).map_err(words)?;
        let number = entered.context.to_ne_bytes();
        nix::unistd::write(&writer, &number)
            .map(drop)
            .map_err(words)
    })?;
    let mut number = [0; 4];
    nix::unistd::read(&reader, &mut number).map_err(words)?;
    inside(i32::from_ne_bytes(number), || {
        equal(
            "left",
            mask(&own_status()?, "CapEff")?,
            ALL & !CAP_SYS_ADMIN,
        )
    })
}

/// A copy of the tests' program as a setuid-root program, or with file capabilities.
fn program(mode: u32) -> Result<String, String> {
    let path = format!("/tmp/who-am-i-{mode:o}");
    std::fs::copy("/bin/guest-tests", &path).map_err(words)?;
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&path, permissions).map_err(words)?;
    Ok(path)
}

/// What the program says about its capabilities when a user runs it.
fn run(path: &str) -> Result<u64, String> {
    setuid(Uid::from_raw(1000)).map_err(words)?;
    let output = Command::new(path).arg("--status").output().map_err(words)?;
    mask(&String::from_utf8_lossy(&output.stdout), "CapEff")
}

fn setuid_root() -> Outcome {
    let path = program(0o4755)?;
    inside(CONTEXT_ROOT, || equal("outside", run(&path)?, ALL))?;
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, 0, CAP_SYS_ADMIN | CAP_SYS_CHROOT).map_err(words)?;
        let left = ALL & !(CAP_SYS_ADMIN | CAP_SYS_CHROOT);
        equal("inside", run(&path)?, left)
    })
}

fn file_capabilities() -> Outcome {
    let path = program(0o755)?;
    // struct vfs_cap_data, version 2, effective: CAP_SYS_ADMIN and CAP_KILL.
    let permitted = (CAP_SYS_ADMIN | CAP_KILL) as u32;
    let data = [0x0200_0001, permitted, 0, 0, 0];
    let name = std::ffi::CString::new(path.as_str()).map_err(words)?;
    crate::visibility::call(
        libc::SYS_setxattr,
        &[
            name.as_ptr() as usize,
            c"security.capability".as_ptr() as usize,
            data.as_ptr() as usize,
            20,
            0,
        ],
    )
    .map_err(words)?;
    inside(CONTEXT_ROOT, || {
        equal("outside", run(&path)?, CAP_SYS_ADMIN | CAP_KILL)
    })?;
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, 0, CAP_SYS_ADMIN).map_err(words)?;
        // exec refuses a program that says that it needs what it cannot get.
        ensure("refused", run(&path).is_err())
    })
}
