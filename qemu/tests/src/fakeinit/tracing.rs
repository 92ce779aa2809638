// SPDX-License-Identifier: GPL-2.0

//! Process 1 as one that is traced, and that traces.

use super::{as_both, in_child, named, sleeper};
use crate::{
    fixture::{ensure, equal, words, Outcome},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::{kill, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{getpid, Pid},
};

pub const TESTS: &[Test] = &[
    test("fakeinit::tracer", 60, tracer),
    test("fakeinit::traced", 60, traced),
    test("fakeinit::told_of_a_fork", 60, fork_event),
    test("fakeinit::sibling_of_process_1", 60, sibling),
];

/// What /proc says of who traces a process.
fn tracer_of(pid: Pid) -> Result<String, String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(words)?;
    let mut lines = status.lines();
    let found = lines.find_map(|line| line.strip_prefix("TracerPid:\t"));
    found.map(str::to_string).ok_or(status.clone())
}

/// It traces a child.
fn tracer() -> Outcome {
    as_both(|who| {
        let child = sleeper()?;
        named("attach", ptrace::attach(child))?;
        let stopped = waitpid(child, None);
        let expected = WaitStatus::Stopped(child, Signal::SIGSTOP);
        equal("stopped", stopped, Ok(expected))?;
        in_child(|| equal("who", tracer_of(child)?, who.number.to_string()))?;
        named("detach", ptrace::detach(child, None))?;
        equal("nobody", tracer_of(child)?, "0".to_string())?;
        super::end(child)
    })
}

/// A child traces it: by its number, and waits for that.
fn traced() -> Outcome {
    as_both(|who| {
        in_child(|| {
            let one = who.pid();
            if who.is_init() {
                let real = ptrace::attach(Pid::from_raw(who.real));
                equal("by the real number", real, Err(Errno::ESRCH))?;
            }
            named("attach", ptrace::attach(one))?;
            let stopped = waitpid(one, None);
            let expected = WaitStatus::Stopped(one, Signal::SIGSTOP);
            equal("stopped", stopped, Ok(expected))?;
            equal("who", tracer_of(one)?, getpid().to_string())?;
            named("detach", ptrace::detach(one, None))
        })?;
        equal("still there", getpid(), who.pid())
    })
}

/// A tracer is told the number of a child, as the tracer knows it.
fn fork_event() -> Outcome {
    as_both(|who| {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let (wait, go) = nix::unistd::pipe().map_err(words)?;
        let child = super::spawn(|| {
            let _ = nix::unistd::read(&wait, &mut [0]);
            let grandchild = sleeper();
            let number = grandchild.map_or(0, Pid::as_raw);
            let _ = super::tell(&writer, number);
            loop {
                nix::unistd::pause();
            }
        })?;
        let options = ptrace::Options::PTRACE_O_TRACEFORK;
        named("seize", ptrace::seize(child, options))?;
        nix::unistd::write(&go, b"x").map_err(words)?;
        let event = waitpid(child, None).map_err(words)?;
        let told = matches!(event, WaitStatus::PtraceEvent(pid, ..) if pid == child);
        ensure(&format!("{event:?}"), told)?;
        let grandchild = named("its number", ptrace::getevent(child))?;
        named("go on", ptrace::cont(child, None))?;
        let number = super::told(&reader)?;
        equal("the number", grandchild, i64::from(number))?;
        ensure("is not 1", number > 1 && number != who.real)?;
        let grandchild = Pid::from_raw(number);
        named("kill", kill(grandchild, Signal::SIGKILL))?;
        named("kill", kill(child, Signal::SIGKILL)).map(drop)
    })
}

/// CLONE_PARENT: not for process 1, whose siblings would be outside; its children's are its own.
fn sibling() -> Outcome {
    as_both(|who| {
        let flags = (libc::CLONE_PARENT | libc::SIGCHLD) as usize;
        let clone = || call(libc::SYS_clone, &[flags, 0, 0, 0, 0]);
        // The kernel says so of every process that is unkillable, the module of one whose parent is outside.
        equal("its own", clone(), Err(Errno::EINVAL))?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        in_child(|| match named("clone", clone())? {
            0 => {
                let _ = super::tell(&writer, nix::unistd::getppid().as_raw());
                crate::syscalls::exit_now(3)
            }
            _ => Ok(()),
        })?;
        equal("its parent", super::told(&reader)?, who.number)?;
        match waitpid(Pid::from_raw(-1), None).map_err(words)? {
            WaitStatus::Exited(_, 3) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
}
