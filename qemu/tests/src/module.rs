// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading.

use crate::{
    fixture::{ensure, equal, until_empty, words, Outcome, Sitter},
    syscalls, test, Test,
};
use nix::{errno::Errno, kmod};
use vserver_uapi::CONTEXT_ROOT;

pub const TESTS: &[Test] = &[
    test("module::busy_while_a_context_lives", 30, busy),
    test("module::cycles_under_load", 580, cycles),
];

/// As often as the issue of unloading deserves; each waits for RCU several times.
const CYCLES: usize = 100;

fn remove() -> Result<(), Errno> {
    kmod::delete_module(c"vserver", kmod::DeleteModuleFlags::O_NONBLOCK)
}

fn load() -> Outcome {
    let file = std::fs::File::open("/lib/vserver.ko").map_err(words)?;
    kmod::finit_module(&file, c"", kmod::ModuleInitFlags::empty()).map_err(words)
}

fn busy() -> Outcome {
    let sitter = Sitter::idle(300)?;
    // What delete_module(2) answers for a module in use.
    equal("rmmod", remove(), Err(Errno::EWOULDBLOCK))?;
    drop(sitter);
    until_empty()?;
    for _ in 0..200 {
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

/// Forks, signals and reads /proc, over and over, until its pipe closes.
fn load_maker(kind: usize) -> Result<Sitter, String> {
    let parent = nix::unistd::getpid();
    Sitter::new(CONTEXT_ROOT, 0, || {
        // A child of the sitter does the work and ends with it.
        if syscalls::fork().map_err(words)? == 0 {
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            loop {
                match kind {
                    0 => {
                        if let Ok(pid) = syscalls::fork() {
                            if pid == 0 {
                                syscalls::exit_now(0);
                            }
                            let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
                        }
                    }
                    1 => {
                        let _ = nix::sys::signal::kill(parent, None);
                    }
                    _ => {
                        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
                            let _ = std::fs::read(entry.path().join("status"));
                        }
                    }
                }
            }
        }
        Ok(())
    })
}

fn cycles() -> Outcome {
    let load_makers = [load_maker(0)?, load_maker(1)?, load_maker(2)?];
    for cycle in 0..CYCLES {
        remove().map_err(|error| format!("cycle {cycle}: rmmod: {error}"))?;
        load().map_err(|error| format!("cycle {cycle}: insmod: {error}"))?;
    }
    drop(load_makers);
    Ok(())
}
