// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading.

use crate::{
    fixture::{ensure, equal, until_empty, words, Outcome, Sitter},
    syscalls, test, Test,
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    kmod, libc,
    sys::{
        prctl::set_pdeathsig,
        signal::{kill, Signal},
        wait::waitpid,
    },
    unistd::{getppid, Pid},
};
use std::{fs::Permissions, os::unix::fs::PermissionsExt};

pub const TESTS: &[Test] = &[
    test("module::busy_while_a_context_lives", 30, busy),
    test("module::cycles_under_load", 1200, cycles),
];

/// As often as the issue of unloading deserves; each waits for RCU several times.
const CYCLES: usize = 100;

/// After each time.
const BREAK: std::time::Duration = std::time::Duration::from_micros(500);

fn remove() -> Result<(), Errno> {
    kmod::delete_module(c"vserver", kmod::DeleteModuleFlags::O_NONBLOCK)
}

fn load() -> Outcome {
    let file = std::fs::File::open("/lib/vserver.ko").map_err(words)?;
    kmod::finit_module(&file, c"", kmod::ModuleInitFlags::empty()).map_err(words)
}

/// Takes it out and puts it back, once no context is left.
pub fn reload() -> Outcome {
    let mut tries = 0;
    while let Err(errno) = remove() {
        tries += 1;
        ensure(&format!("rmmod: {errno}"), tries < 6000)?;
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    load()
}

fn busy() -> Outcome {
    let sitter = Sitter::idle(300)?;
    // What delete_module(2) answers for a module in use.
    equal("rmmod", remove(), Err(Errno::EWOULDBLOCK))?;
    drop(sitter);
    until_empty()?;
    for _ in 0..6000 {
        match remove() {
            Ok(()) => {
                let status = std::fs::read_to_string("/proc/self/status").map_err(words)?;
                load()?;
                ensure("no trace in status", !status.contains("s_context"))?;
                return Ok(());
            }
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    Err("the module does not go although no context is left".to_string())
}

/// A process that is killed when it is dropped.
struct Load(Pid);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Does something over and over. The break lets a cycle's waits for every task end soon.
fn load_of(work: fn()) -> Result<Load, String> {
    match syscalls::fork().map_err(words)? {
        0 => {
            let _ = set_pdeathsig(Signal::SIGKILL);
            loop {
                work();
                std::thread::sleep(BREAK);
            }
        }
        pid => Ok(Load(Pid::from_raw(pid))),
    }
}

fn fork_and_wait() {
    if let Ok(pid) = syscalls::fork() {
        if pid == 0 {
            syscalls::exit_now(0);
        }
        let _ = waitpid(Pid::from_raw(pid), None);
    }
}

fn signal_parent() {
    let _ = kill(getppid(), None);
}

fn read_proc() {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let _ = std::fs::read(entry.path().join("status"));
    }
}

fn read_sys() {
    for entry in std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
    {
        let _ = std::fs::read_link(entry.path());
        let _ = std::fs::read(entry.path().join("mtu"));
    }
}

/// What the barrier is asked about: permission bits, and a directory that has none.
fn change_modes() {
    let made = "/tmp/cycles";
    let _ = std::fs::create_dir(made);
    for mode in [0o755, 0o000] {
        let _ = std::fs::set_permissions(made, Permissions::from_mode(mode));
        let _ = std::fs::read_dir(made);
    }
}

/// What their entries, and the list of them, are asked.
fn use_terminals() {
    let pair = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY);
    let _ = std::fs::read_dir("/dev/pts").map(|entries| {
        for entry in entries.flatten() {
            let _ = std::fs::metadata(entry.path());
        }
    });
    drop(pair);
}

/// One process for all of these: each more makes the cycles longer.
fn use_files() {
    use_terminals();
    read_proc();
    read_sys();
    change_modes();
}

fn cycles() -> Outcome {
    let at_work = [
        load_of(fork_and_wait)?,
        load_of(signal_parent)?,
        load_of(use_files)?,
    ];
    // Before them, so that the cycles are no longer than their waits.
    let first = [libc::PRIO_PROCESS as usize, 0, -20isize as usize, 0, 0, 0];
    syscalls::syscall(libc::SYS_setpriority, first).map_err(words)?;
    for cycle in 0..CYCLES {
        remove().map_err(|error| format!("cycle {cycle}: rmmod: {error}"))?;
        load().map_err(|error| format!("cycle {cycle}: insmod: {error}"))?;
    }
    drop(at_work);
    Ok(())
}
