// SPDX-License-Identifier: GPL-2.0

//! Tracing and reading memory; entering while traced.

use crate::{
    fixture::{child, enter, equal, get, inside, words, Outcome, Sitter},
    syscalls::{exit_now, fork},
    test,
    visibility::{call, ways},
    Test,
};
use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::Signal,
        wait::{waitpid, WaitStatus},
    },
    unistd::Pid,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("ptrace::traceme_stays_possible", 20, traceme),
    test(
        "ptrace::traceme_by_a_parent_elsewhere",
        20,
        traceme_elsewhere,
    ),
    test("ptrace::nobody_enters_while_traced", 20, traced),
    test("ptrace::nobody_enters_while_tracing", 20, tracing),
];

/// Readable and writable in every test process at the same address.
static WORD: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7);

fn memory(number: i64, pid: usize) -> Result<i64, Errno> {
    let mut own = [7u8, 0, 0, 0, 0, 0, 0, 0];
    let local = [own.as_mut_ptr() as usize, own.len()];
    let remote = [WORD.as_ptr() as usize, own.len()];
    let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
    call(number, &[pid, local, 1, remote, 1, 0])
}

ways! { "ptrace":
    attach: MayNot, |target| {
        let attached = call(libc::SYS_ptrace, &[libc::PTRACE_ATTACH as usize, target.pid])?;
        // Let go of it again, or it stays stopped.
        call(libc::SYS_wait4, &[target.pid, 0, libc::__WALL as usize, 0])?;
        call(libc::SYS_ptrace, &[libc::PTRACE_DETACH as usize, target.pid, 0, 0])?;
        Ok(attached)
    };
    seize: MayNot, |target| {
        call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, target.pid])
    };
    process_vm_readv: MayNot, |target| memory(libc::SYS_process_vm_readv, target.pid);
    process_vm_writev: MayNot, |target| memory(libc::SYS_process_vm_writev, target.pid);
}

/// Inside a context a debugger works.
fn traceme() -> Outcome {
    inside(100, || {
        let pid = match fork().map_err(words)? {
            0 => {
                let code = ptrace::traceme().map_or(1, |()| 0);
                let _ = nix::sys::signal::raise(Signal::SIGSTOP);
                exit_now(code)
            }
            pid => Pid::from_raw(pid),
        };
        equal(
            "stop",
            waitpid(pid, None),
            Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)),
        )?;
        ptrace::cont(pid, None).map_err(words)?;
        equal("end", waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)))
    })
}

/// A parent outside does not become the tracer of a child that has entered.
fn traceme_elsewhere() -> Outcome {
    child(|| {
        enter(100, 0, 0).map_err(words)?;
        equal("traceme", ptrace::traceme(), Err(Errno::EPERM)).map(|()| String::new())
    })
    .map(drop)
}

/// The tracer would stay one, from outside.
fn traced() -> Outcome {
    let pid = match fork().map_err(words)? {
        0 => {
            let mut code = 1;
            if ptrace::traceme().is_ok() {
                let refused = [CONTEXT_NEW, 100, CONTEXT_SPECTATOR]
                    .map(|context| enter(context, 0, 0).err() == Some(Errno::EPERM));
                let stays = enter(CONTEXT_STAY, 0, 1).is_ok();
                let here = get(0).map(|info| info.context) == Ok(CONTEXT_ROOT);
                code = i32::from(refused != [true; 3] || !stays || !here);
            }
            exit_now(code)
        }
        pid => Pid::from_raw(pid),
    };
    equal("end", waitpid(pid, None), Ok(WaitStatus::Exited(pid, 0)))
}

/// And a tracer would take its reach with it.
fn tracing() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    inside(CONTEXT_ROOT, || {
        let pid = Pid::from_raw(host.pid);
        ptrace::seize(pid, ptrace::Options::empty()).map_err(words)?;
        equal(
            "while tracing",
            enter(CONTEXT_NEW, 0, 0).err(),
            Some(Errno::EPERM),
        )?;
        ptrace::interrupt(pid).map_err(words)?;
        waitpid(pid, None).map_err(words)?;
        ptrace::detach(pid, None).map_err(words)?;
        equal("afterwards", enter(CONTEXT_NEW, 0, 0).err(), None)
    })
}
