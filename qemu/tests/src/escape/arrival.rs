// SPDX-License-Identifier: GPL-2.0

//! CVE-2016-9962, and CVE-2019-5736: somebody enters, as `chcontext` does and runc did. Until he has left
//! behind what is the host's, he is inside with it, and those who wait for him are root.

use super::*;
use crate::{fixture::arrive, syscalls::own, test, visibility::call};
use nix::fcntl::{open, OFlag};
use std::{
    os::fd::AsRawFd,
    process::{Command, Stdio},
};

pub const TESTS: &[Test] = &[
    test("escape::arrival_with_the_hosts_root", 60, || {
        arrives(with_root, &ALL)
    }),
    test("escape::arrival_with_a_directory_of_the_host", 60, || {
        arrives(with_directory, &["cwd", "ptrace", "memory"])
    }),
    test("escape::arrival_with_a_program_of_the_host", 60, || {
        arrives(with_program, &["exe"])
    }),
    test("escape::those_who_have_arrived", 60, arrived),
];

/// What can be tried on somebody, by name.
const ALL: [&str; 7] = [
    "root",
    "cwd",
    "exe",
    "ptrace",
    "memory",
    "descriptor",
    "namespace",
];

fn attempt(way: &str, pid: usize) -> Result<(), Errno> {
    let process = || Ok::<_, Errno>(own(call(libc::SYS_pidfd_open, &[pid, 0])? as i32));
    match way {
        "root" => read_secret(&format!("/proc/{pid}/root{SECRET}")),
        "cwd" => read_secret(&format!("/proc/{pid}/cwd/secret")),
        // Held until nobody runs it, it could be written.
        "exe" => {
            let path = format!("/proc/{pid}/exe");
            open(path.as_str(), OFlag::O_PATH, Mode::empty()).map(drop)
        }
        "ptrace" => call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, pid]).map(drop),
        "memory" => {
            let mut own = [0u8; 16];
            let local = [own.as_mut_ptr() as usize, own.len()];
            let remote = [TOKEN.as_ptr() as usize, own.len()];
            let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
            call(libc::SYS_process_vm_readv, &[pid, local, 1, remote, 1, 0]).map(drop)
        }
        "descriptor" => {
            let process = process()?;
            call(libc::SYS_pidfd_getfd, &[process.as_raw_fd() as usize, 0, 0])
                .map(|fd| drop(own(fd as i32)))
        }
        "namespace" => nix::sched::setns(process()?, CloneFlags::CLONE_NEWUTS),
        _ => Err(Errno::EINVAL),
    }
}

fn enters(context: i32) -> Outcome {
    if context != CONTEXT_ROOT {
        arrive(context, 0, 0).map_err(words)?;
    }
    Ok(())
}

fn with_root(context: i32) -> Outcome {
    enters(context)?;
    chdir(PLACE).map_err(words)
}

fn with_directory(context: i32) -> Outcome {
    let left = open(PLACE, OFlag::O_PATH, Mode::empty()).map_err(words)?;
    chdir(ONE).map_err(words)?;
    enters(context)?;
    chroot(".").map_err(words)?;
    nix::unistd::fchdir(left).map_err(words)
}

fn with_program(context: i32) -> Outcome {
    chdir(ONE).map_err(words)?;
    enters(context)?;
    chroot(".").map_err(words)
}

/// A process that is in the vserver, where it has executed a program, and has something of the host still; and one that
/// waited for it there. `arrival.rs` is about the time before that program.
fn arrives(with: fn(i32) -> Outcome, ways: &[&str]) -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    for (jail, context) in [
        (Jail::Chroot, CONTEXT_ROOT),
        (Jail::Vserver(SECURE), NUMBER),
        (Jail::Vserver(0), NUMBER),
    ] {
        let arriving = Sitter::new(CONTEXT_ROOT, 0, || with(context))?;
        let outside = Outside {
            pid: arriving.pid as usize,
            brought: None,
        };
        for way in ways {
            let got = tried(jail, &outside, |outside| attempt(way, outside.pid))?;
            let expected = match (jail, *way) {
                (Jail::Chroot, _) => Ok(()),
                (_, "root" | "cwd" | "exe") => Err(Errno::EACCES),
                _ => Err(Errno::EPERM),
            };
            equal(&format!("{jail:?}, {way}"), got, expected)?;
        }
    }
    Ok(())
}

/// Inside, debuggers and the like work as ever, also on who is in a chroot below.
fn arrived() -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    fs::copy("/bin/busybox", format!("{ONE}/busybox")).map_err(words)?;
    fs::copy("/bin/busybox", format!("{ONE}/sub/busybox")).map_err(words)?;
    let outside = Outside {
        pid: 0,
        brought: None,
    };
    let got = tried(Jail::Vserver(0), &outside, |_| {
        for arguments in [&["cat"][..], &["chroot", "/sub", "/busybox", "cat"]] {
            let mut process = Command::new("/busybox")
                .args(arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(errno)?;
            // It runs when it has answered.
            let mut pipes = (process.stdin.take(), process.stdout.take());
            if let (Some(input), Some(output)) = (&mut pipes.0, &mut pipes.1) {
                io::Write::write_all(input, b"!").map_err(errno)?;
                io::Read::read_exact(output, &mut [0]).map_err(errno)?;
            }
            let pid = process.id() as usize;
            for way in ["exe", "descriptor", "namespace", "ptrace"] {
                attempt(way, pid)
                    .inspect_err(|errno| eprintln!("{way} on {arguments:?}: {errno}"))?;
            }
            fs::read_link(format!("/proc/{pid}/root")).map_err(errno)?;
            drop(pipes);
            let _ = process.kill();
            process.wait().map_err(errno)?;
        }
        Ok(())
    })?;
    equal("inside", got, Ok(()))
}
