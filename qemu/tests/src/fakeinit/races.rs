// SPDX-License-Identifier: GPL-2.0

//! The end of process 1 while its context does all it can to stay.

use super::{
    end::{stay, until_empty},
    spawn, tell, told,
};
use crate::{
    fixture::{
        child, ensure, enter, equal, list, open_context, signal, status, until_empty as all_empty,
        words, Outcome, Sitter,
    },
    syscalls::{self, syscall},
    test, Test,
};
use nix::{
    sys::{
        signal::{kill, SigSet, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{pipe, Pid},
};
use std::thread;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::end_of_threads", 120, threads),
    test("fakeinit::end_of_a_fork_bomb", 300, fork_bomb),
    test("fakeinit::end_in_a_storm", 300, storm),
    test("fakeinit::end_and_who_enters", 300, entering),
    test("fakeinit::cycles", 120, || cycles(100)),
    test("soak::fakeinit_cycles", 600, || cycles(1000)),
];

/// All threads end at the same moment, the first one or another one last, by exit(2) or by exit_group(2).
fn threads() -> Outcome {
    for round in 0..40 {
        let (reader, writer) = pipe().map_err(words)?;
        let (wait, go) = pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 99;
            };
            let _ = spawn(|| stay());
            let barrier = std::sync::Arc::new(std::sync::Barrier::new(5));
            for _ in 0..4 {
                let barrier = barrier.clone();
                thread::spawn(move || {
                    barrier.wait();
                    if round % 4 == 3 {
                        syscalls::exit_now(7)
                    }
                    exit_thread()
                });
            }
            let _ = tell(&writer, entered.context);
            let _ = nix::unistd::read(&wait, &mut [0]);
            barrier.wait();
            match round % 4 {
                0 | 1 => exit_thread(),
                _ => 7,
            }
        })?;
        let fd = open_context(told(&reader)?).map_err(words)?;
        equal("runs", status(&fd).map(|status| status.tasks), Ok(6))?;
        nix::unistd::write(&go, b"x").map_err(words)?;
        let code = match waitpid(init, None).map_err(words)? {
            WaitStatus::Exited(_, code) => code,
            other => return Err(format!("{other:?}")),
        };
        until_empty(&fd)?;
        let told = status(&fd).map_err(words)?;
        equal("told", told.init, INIT_EXITED)?;
        equal("its code", told.init_status, (code as u32) << 8)?;
        if round % 4 > 1 {
            equal("the code", code, 7)?;
        }
    }
    all_empty()
}

/// exit(2) of the calling thread alone.
fn exit_thread() -> ! {
    loop {
        let _ = syscall(libc::SYS_exit, [0; 6]);
    }
}

/// Forks as fast as it can, for ever, and takes no signal that it can refuse.
fn bomb() -> ! {
    for number in 1..=64 {
        let _ = syscalls::set_handler(number, libc::SIG_IGN);
    }
    let _ = SigSet::all().thread_block();
    loop {
        if syscalls::fork().is_err() {
            thread::yield_now();
        }
    }
}

fn fork_bomb() -> Outcome {
    let before = programs()?;
    for _ in 0..8 {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
            let few = 300;
            let kind = nix::sys::resource::Resource::RLIMIT_NPROC;
            nix::sys::resource::setrlimit(kind, few, few).map_err(words)?;
            enter(CONTEXT_STAY, FLAG_NPROC, 0).map_err(words)?;
            spawn(|| bomb()).map(drop)
        })?;
        let fd = open_context(init.context).map_err(words)?;
        while status(&fd).map_err(words)?.tasks < 200 {
            thread::yield_now();
        }
        drop(init);
        until_empty(&fd)?;
    }
    all_empty()?;
    equal("what is left", programs()?, before)
}

/// Its processes kill one another while they fork, and it is killed in the middle.
fn storm() -> Outcome {
    for _ in 0..10 {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
            for _ in 0..4 {
                spawn(|| loop {
                    if let Ok(pid) = spawn(|| stay()) {
                        let _ = kill(pid, Signal::SIGKILL);
                        let _ = waitpid(pid, None);
                    }
                })?;
            }
            // One that kills all but process 1 and itself, again and again.
            spawn(|| loop {
                let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
            })
            .map(drop)
        })?;
        let fd = open_context(init.context).map_err(words)?;
        thread::sleep(std::time::Duration::from_millis(50));
        equal(
            "sent",
            signal(init.context, SIGNAL_INIT, libc::SIGKILL),
            Ok(1),
        )?;
        drop(init);
        until_empty(&fd)?;
    }
    all_empty()
}

/// Processes enter while the context ends: none of them is left in it.
fn entering() -> Outcome {
    for _ in 0..20 {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || Ok(()))?;
        let context = init.context;
        let fd = open_context(context).map_err(words)?;
        let mut guests = Vec::new();
        for _ in 0..6 {
            guests.push(spawn(|| {
                // One after the other, until there is nobody to enter to.
                loop {
                    match spawn(|| match enter(context, 0, 0) {
                        Ok(_) => stay(),
                        Err(_) => 0,
                    }) {
                        Ok(_) if list().is_ok_and(|all| all.contains(&context)) => {}
                        _ => break,
                    }
                    if status(&fd).is_ok_and(|status| status.state != STATE_ALIVE) {
                        break;
                    }
                }
                while waitpid(Pid::from_raw(-1), None).is_ok() {}
                0
            })?);
        }
        thread::sleep(std::time::Duration::from_millis(20));
        drop(init);
        for guest in guests {
            waitpid(guest, None).map_err(words)?;
        }
        until_empty(&fd)?;
    }
    all_empty()
}

/// The programs that run on the whole machine, by the spectator's count: threads of the kernel come and go.
fn programs() -> Result<Vec<i32>, String> {
    let numbers = child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        let own = nix::unistd::getpid().as_raw();
        let is_program = |pid: &i32| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status"));
            *pid != own && status.is_ok_and(|text| text.contains("\nKthread:\t0\n"))
        };
        let listed = crate::proc::listing()?;
        let programs: Vec<_> = listed.iter().filter(|pid| is_program(pid)).collect();
        serde_json::to_string(&programs).map_err(words)
    })?;
    serde_json::from_str(&numbers).map_err(words)
}

fn terminals() -> Result<usize, String> {
    let count = std::fs::read_to_string("/proc/sys/kernel/pty/nr").map_err(words)?;
    count.trim().parse().map_err(words)
}

fn cycles(count: usize) -> Outcome {
    all_empty()?;
    let before = (programs()?, terminals()?);
    ensure("programs", before.0.len() > 1 && before.0[0] == 1)?;
    for _ in 0..count {
        let init = spawn(|| {
            let Ok(_) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 1;
            };
            for _ in 0..2 {
                let _ = spawn(|| stay());
            }
            // A terminal that nobody closes.
            let flags = nix::fcntl::OFlag::O_RDWR | nix::fcntl::OFlag::O_NOCTTY;
            let terminal = nix::pty::posix_openpt(flags);
            let right = terminal.is_ok();
            std::mem::forget(terminal);
            i32::from(!right)
        })?;
        super::expect_success(init)?;
    }
    all_empty()?;
    equal("what is left", (programs()?, terminals()?), before)
}
