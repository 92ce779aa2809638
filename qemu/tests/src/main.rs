// SPDX-License-Identifier: GPL-2.0

//! The tests that run inside the guest. `--list` prints `NAME SECONDS` per line; `NAME` runs one:
//! status 0 it passed, 77 it was skipped (the last line says why), anything else it failed.
//! `--status` prints `/proc/self/status` and `--chroot` what chroot() says: what some tests start as
//! another program.

mod arrival;
mod back_door;
mod barrier;
mod caps;
mod chroot;
mod context;
mod device;
mod escape;
mod fakeinit;
mod filesystem;
mod first_hour;
mod fixture;
mod harness;
mod inet;
mod init;
mod limits;
mod load;
mod manager;
mod meanwhile;
mod mistakes;
mod module;
mod names;
mod netdev;
mod pid;
mod pidfd;
mod planted;
mod proc;
mod programs;
mod ptrace;
mod pty;
mod quotas;
mod random;
mod scale;
mod sched;
mod scm;
mod settle;
mod signal;
mod sockets;
mod syscalls;
mod task;
mod terminal;
mod trees;
mod userland;
mod visibility;
mod wire;

use fixture::Outcome;

/// One test.
pub struct Test {
    name: &'static str,
    seconds: u64,
    run: fn() -> Outcome,
}

const fn test(name: &'static str, seconds: u64, run: fn() -> Outcome) -> Test {
    Test { name, seconds, run }
}

fn all() -> impl Iterator<Item = &'static Test> {
    [
        device::TESTS,
        context::TESTS,
        caps::TESTS,
        task::TESTS,
        arrival::TESTS,
        signal::WAYS,
        signal::TESTS,
        pid::WAYS,
        pid::TESTS,
        pidfd::WAYS,
        pidfd::TESTS,
        ptrace::WAYS,
        ptrace::TESTS,
        sched::WAYS,
        sched::TESTS,
        scm::WAYS,
        scm::TESTS,
        proc::WAYS,
        proc::TESTS,
        inet::TESTS,
        names::TESTS,
        mistakes::TESTS,
        planted::TESTS,
        barrier::TESTS,
        chroot::TESTS,
        pty::TESTS,
        terminal::TESTS,
        netdev::TESTS,
        sockets::TESTS,
        wire::TESTS,
        programs::TESTS,
        init::TESTS,
        manager::TESTS,
        trees::TESTS,
        first_hour::TESTS,
        limits::TESTS,
        quotas::TESTS,
        scale::TESTS,
        harness::TESTS,
        load::TESTS,
        module::TESTS,
    ]
    .into_iter()
    .chain(fakeinit::tests())
    .chain(userland::TESTS.iter().copied())
    .chain(escape::TESTS.iter().copied())
    .chain(back_door::TESTS.iter().copied())
    .flatten()
}

/// What a test that has failed may have left behind.
fn end_contexts() {
    for context in fixture::list().unwrap_or_default() {
        let _ = fixture::signal(context, vserver_uapi::SIGNAL_ALL, libc::SIGKILL);
    }
}

fn main() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == settle::ARGUMENT {
        settle::resume(&std::env::args().nth(2).unwrap_or_default());
    }
    if argument == "--list" {
        for test in all() {
            println!("{} {}", test.name, test.seconds);
        }
        return;
    }
    if argument == "--end-contexts" {
        end_contexts();
        return;
    }
    if argument == "--status" {
        print!(
            "{}",
            std::fs::read_to_string("/proc/self/status").unwrap_or_default()
        );
        return;
    }
    if argument == "--chroot" {
        println!("{:?}", nix::unistd::chroot("/"));
        return;
    }
    // Not of what a test starts as another program: the kernel undoes it for a setuid one, each time.
    settle::fix_addresses();
    let Some(test) = all().find(|test| test.name == argument) else {
        eprintln!("guest-tests: no test is named {argument:?}; see --list");
        std::process::exit(2);
    };
    if let Err(reason) = (test.run)() {
        eprintln!("{reason}");
        std::process::exit(1);
    }
}
