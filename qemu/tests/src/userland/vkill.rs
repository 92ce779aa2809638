// SPDX-License-Identifier: GPL-2.0

//! `vkill`.

use super::*;
use nix::{
    sys::wait::{waitpid, WaitPidFlag, WaitStatus},
    unistd::Pid,
};

pub const TESTS: &[Test] = &[
    test("userland::vkill_reaches_every_context", 30, reaches),
    test("userland::vkill_errors", 30, errors),
];

/// Whether it is still alive, without reaping it.
fn alive(sitter: &Sitter) -> Result<bool, String> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let status = nix::sys::wait::waitid(nix::sys::wait::Id::Pid(Pid::from_raw(sitter.pid)), flags);
    Ok(status.map_err(words)? == WaitStatus::StillAlive)
}

/// The signal that ended it.
fn ended_by(sitter: &Sitter) -> Result<i32, String> {
    match waitpid(Pid::from_raw(sitter.pid), None).map_err(words)? {
        WaitStatus::Signaled(_, signal, _) => Ok(signal as i32),
        other => Err(format!("{other:?}")),
    }
}

fn reaches() -> Outcome {
    for (options, signal) in [
        ("", 15),
        ("-9 ", 9),
        ("-KILL ", 9),
        ("-SIGUSR1 ", 10),
        ("-s hup ", 1),
        ("-s 12 ", 12),
    ] {
        let sitter = Sitter::idle(300)?;
        run(&format!("vkill {options}{}", sitter.pid))?.printed("")?;
        equal(options, ended_by(&sitter)?, signal)?;
    }
    // Of the host, of the spectator, of a handed-out number, several at once.
    let sitters = [
        Sitter::idle(CONTEXT_ROOT)?,
        Sitter::idle(CONTEXT_SPECTATOR)?,
        Sitter::idle(CONTEXT_NEW)?,
        Sitter::idle(300)?,
    ];
    let pids: Vec<String> = sitters
        .iter()
        .map(|sitter| sitter.pid.to_string())
        .collect();
    run(&format!("vkill -0 {}", pids.join(" ")))?.printed("")?;
    for sitter in &sitters {
        ensure("signal 0 kills nobody", alive(sitter)?)?;
    }
    run(&format!("vkill {}", pids.join(" ")))?.printed("")?;
    for sitter in &sitters {
        equal("by vkill", ended_by(sitter)?, 15)?;
    }
    drop(sitters);
    // Nobody joins a private context, and a signal does not: it comes from outside.
    let private = Sitter::new(302, FLAG_PRIVATE, || Ok(()))?;
    run(&format!("vkill {}", private.pid))?.printed("")?;
    equal("in a private context", ended_by(&private)?, 15)?;
    drop(private);
    until_empty()
}

fn errors() -> Outcome {
    for (line, part) in [
        ("vkill", "<PID>"),
        ("vkill 0", "0 is not in"),
        ("vkill -- -5", "-5 is not in"),
        ("vkill x", "'x'"),
        ("vkill -s NOPE 1", "there is no signal \"NOPE\""),
        ("vkill -s 99 1", "there is no signal \"99\""),
    ] {
        run(line)?.misused(part)?;
    }
    run("vkill 999999")?.complained(
        1,
        &[
            "vkill: cannot signal process 999999: there is no such process",
            "vps ax",
        ],
    )?;
    // One that is missing does not spare the others.
    let sitter = Sitter::idle(300)?;
    run(&format!("vkill 999999 {}", sitter.pid))?.complained(1, &["999999"])?;
    equal("the other", ended_by(&sitter)?, 15)?;
    drop(sitter);
    let sitter = Sitter::idle(300)?;
    run_as(USER, &format!("vkill {}", sitter.pid))?.complained(
        4,
        &["vkill: cannot become the spectator", "as root in context 0"],
    )?;
    run(&format!(
        "chcontext --silent --ctx 301 vkill {}",
        sitter.pid
    ))?
    .complained(4, &["only root in context 0"])?;
    ensure("unharmed", alive(&sitter)?)?;
    drop(sitter);
    until_empty()
}
