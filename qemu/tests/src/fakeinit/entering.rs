// SPDX-License-Identifier: GPL-2.0

//! Becoming process 1, and asking for signals from outside.

use super::{as_init, in_child, sleeper};
use crate::{
    fixture::{child, device, enter, equal, inside, signal, words, Outcome, Sitter},
    syscalls::{self, ioctl, ioctl_address},
    test, Test,
};
use nix::{
    errno::Errno,
    sys::wait::{waitpid, WaitPidFlag, WaitStatus},
    unistd::{getpid, setuid, Pid, Uid},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::only_one", 60, only_one),
    test("fakeinit::of_a_context_that_exists", 60, of_existing),
    test("fakeinit::by_staying", 60, by_staying),
    test("fakeinit::stays_for_good", 60, stays),
    test("fakeinit::failed_requests", 60, failed),
    test("fakeinit::who_may_signal", 60, who_may_signal),
];

fn refused(context: i32) -> Result<(), Errno> {
    enter(context, FLAG_FAKEINIT, 0).map(drop)
}

fn only_one() -> Outcome {
    let first = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || Ok(()))?;
    inside(CONTEXT_ROOT, || {
        equal("by joining", refused(first.context), Err(Errno::EPERM))?;
        equal(
            "and not moved",
            crate::fixture::get(0).map(|info| info.context),
            Ok(0),
        )
    })?;
    inside(first.context, || {
        equal("by staying", refused(CONTEXT_STAY), Err(Errno::EPERM))
    })?;
    as_init(|_| equal("twice", refused(CONTEXT_STAY), Err(Errno::EPERM)))?;
    for context in [CONTEXT_ROOT, CONTEXT_SPECTATOR, CONTEXT_STAY] {
        inside(CONTEXT_ROOT, || {
            equal("nowhere", refused(context), Err(Errno::EINVAL))
        })?;
    }
    Ok(())
}

fn of_existing() -> Outcome {
    let before = Sitter::idle(300)?;
    let init = Sitter::new(300, FLAG_FAKEINIT, || {
        equal("getpid", getpid(), Pid::from_raw(1))
    })?;
    inside(300, || {
        equal(
            "who was there before",
            syscalls::kill_number(before.pid),
            Ok(()),
        )?;
        equal("process 1", syscalls::kill_number(1), Ok(()))
    })?;
    // Its end is the end of all.
    drop(init);
    let ended = waitpid(Pid::from_raw(before.pid), None).map_err(words)?;
    let killed = matches!(
        ended,
        WaitStatus::Signaled(_, nix::sys::signal::Signal::SIGKILL, _)
    );
    equal("killed", killed, true)
}

fn by_staying() -> Outcome {
    child(|| {
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        let real = getpid();
        let child = sleeper()?;
        enter(CONTEXT_STAY, FLAG_FAKEINIT, 0).map_err(words)?;
        equal("getpid", getpid(), Pid::from_raw(1))?;
        in_child(|| {
            equal(
                "the old number",
                syscalls::kill_number(real.as_raw()),
                Err(Errno::ESRCH),
            )
        })?;
        super::end(child)?;
        Ok(String::new())
    })
    .map(drop)
}

fn stays() -> Outcome {
    as_init(|_| {
        for context in [CONTEXT_NEW, 300, CONTEXT_ROOT] {
            let result = enter(context, 0, 0).map(drop);
            equal("leaving", result, Err(Errno::EPERM))?;
        }
        in_child(|| enter(CONTEXT_NEW, 0, 0).map(drop).map_err(words))
    })
}

/// A request that fails leaves the place free.
fn failed() -> Outcome {
    let _keeper = Sitter::idle(300)?;
    inside(CONTEXT_ROOT, || {
        // Read-only for the answer: the kernel reads the request and cannot write it.
        let request = Enter {
            context: 300,
            flags: FLAG_FAKEINIT,
            ..Enter::default()
        };
        let address = syscalls::read_only(&request).map_err(words)?;
        let failed = ioctl_address(&device()?, IOC_ENTER, address).err();
        equal("no room for the answer", failed, Some(Errno::EFAULT))?;
        equal("as before", getpid().as_raw() > 1, true)?;
        enter(300, FLAG_FAKEINIT, 0).map_err(words)?;
        equal("at last", getpid(), Pid::from_raw(1))
    })
}

fn who_may_signal() -> Outcome {
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || Ok(()))?;
    let context = init.context;
    equal("to ask", signal(context, SIGNAL_INIT, 0), Ok(1))?;
    equal("all", signal(context, SIGNAL_ALL, 0), Ok(1))?;
    equal("by number", signal(context, init.pid, 0), Ok(1))?;
    let own = getpid().as_raw();
    for (what, context, pid, number, errno) in [
        ("nobody's number", context, own, 0, Errno::ESRCH),
        ("no context", 48_000, SIGNAL_ALL, 0, Errno::ESRCH),
        ("context 0", 0, SIGNAL_ALL, 0, Errno::EINVAL),
        ("context 1", 1, SIGNAL_ALL, 0, Errno::EINVAL),
        ("no signal", context, SIGNAL_ALL, 65, Errno::EINVAL),
        ("no pid", context, -2, 0, Errno::EINVAL),
    ] {
        equal(what, signal(context, pid, number), Err(errno))?;
    }
    let mut request = Signal {
        context,
        pid: SIGNAL_ALL,
        reserved: [0, 1],
        ..Signal::default()
    };
    let reserved = ioctl(&device()?, IOC_SIGNAL, &mut request).err();
    equal("reserved", reserved, Some(Errno::EINVAL))?;
    inside(context, || {
        equal("inside", signal(context, SIGNAL_ALL, 0), Err(Errno::EPERM))
    })?;
    inside(CONTEXT_SPECTATOR, || {
        equal(
            "the spectator",
            signal(context, SIGNAL_ALL, 0),
            Err(Errno::EPERM),
        )
    })?;
    inside(CONTEXT_ROOT, || {
        setuid(Uid::from_raw(1000)).map_err(words)?;
        equal("a user", signal(context, SIGNAL_ALL, 0), Err(Errno::EPERM))
    })?;
    // A context without one.
    let other = Sitter::idle(300)?;
    equal(
        "nobody is 1",
        signal(other.context, SIGNAL_INIT, 0),
        Err(Errno::ESRCH),
    )?;
    let alive = waitpid(Pid::from_raw(init.pid), Some(WaitPidFlag::WNOHANG));
    equal("alive", alive, Ok(WaitStatus::StillAlive))
}
