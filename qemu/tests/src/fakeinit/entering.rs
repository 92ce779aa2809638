// SPDX-License-Identifier: GPL-2.0

//! Becoming process 1, and asking for signals from outside.

use super::{as_init, in_child, sleeper, spawn};
use crate::{
    fixture::{child, device, enter, equal, get, inside, signal, words, Outcome, Sitter},
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
    test("fakeinit::nowhere_in_0_and_1", 60, nowhere),
    test("fakeinit::one_of_many", 60, race),
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
        equal("and not moved", get(0).map(|info| info.context), Ok(0))
    })?;
    inside(first.context, || {
        equal("by staying", refused(CONTEXT_STAY), Err(Errno::EPERM))
    })?;
    as_init(|_| equal("twice", refused(CONTEXT_STAY), Err(Errno::EPERM)))?;
    // The control: of two contexts each has its own.
    let second = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || Ok(()))?;
    equal("others", first.context != second.context, true)
}

/// In contexts 0 and 1 nobody is process 1 but the machine's.
fn nowhere() -> Outcome {
    for context in [CONTEXT_ROOT, CONTEXT_SPECTATOR, CONTEXT_STAY] {
        inside(CONTEXT_ROOT, || {
            equal("nowhere", refused(context), Err(Errno::EINVAL))?;
            equal("as before", get(0).map(|info| info.context), Ok(0))?;
            // It may still be one elsewhere.
            equal("elsewhere", refused(CONTEXT_NEW), Ok(()))?;
            equal("elsewhere", getpid(), Pid::from_raw(1))
        })?;
    }
    inside(CONTEXT_SPECTATOR, || {
        equal("by staying", refused(CONTEXT_STAY), Err(Errno::EINVAL))?;
        equal("by leaving", refused(CONTEXT_NEW), Err(Errno::EPERM))
    })
}

/// One place, and many who want it at the same time.
fn race() -> Outcome {
    for _ in 0..20 {
        let keeper = Sitter::idle(CONTEXT_NEW)?;
        let (hold, go) = nix::unistd::pipe().map_err(words)?;
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let mut all = Vec::new();
        for _ in 0..4 {
            all.push(spawn(|| {
                let _ = nix::unistd::read(&hold, &mut [0]);
                let entered = refused(keeper.context);
                let word = match entered {
                    Ok(()) if getpid().as_raw() == 1 => b"1",
                    Err(Errno::EPERM) if getpid().as_raw() > 1 => b"0",
                    _ => b"?",
                };
                let _ = nix::unistd::write(&writer, word);
                loop {
                    nix::unistd::pause();
                }
            })?);
        }
        nix::unistd::write(&go, b"1234").map_err(words)?;
        let mut said = [0; 4];
        for word in &mut said {
            nix::unistd::read(&reader, std::slice::from_mut(word)).map_err(words)?;
        }
        said.sort_unstable();
        equal("who is process 1", &said, b"0001")?;
        let sent = signal(keeper.context, SIGNAL_INIT, libc::SIGKILL);
        equal("its end", sent, Ok(1))?;
        for pid in all {
            // That of the others; process 1 has gone.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            waitpid(pid, None).map_err(words)?;
        }
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
        equal("still process 1", getpid(), Pid::from_raw(1))?;
        // It may give up capabilities; its children may leave.
        enter(CONTEXT_STAY, 0, 1 << 18).map_err(words)?;
        in_child(|| enter(CONTEXT_NEW, 0, 0).map(drop).map_err(words))
    })?;
    // The control.
    super::as_anybody(|_| enter(CONTEXT_NEW, 0, 0).map(drop).map_err(words))
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
        equal("not moved", get(0).map(|info| info.context), Ok(0))?;
        enter(300, FLAG_FAKEINIT, 0).map_err(words)?;
        equal("at last", getpid(), Pid::from_raw(1))
    })?;
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        let stay = Enter {
            context: CONTEXT_STAY,
            flags: FLAG_FAKEINIT,
            ..Enter::default()
        };
        let address = syscalls::read_only(&stay).map_err(words)?;
        let failed = ioctl_address(&device()?, IOC_ENTER, address).err();
        equal("staying", failed, Some(Errno::EFAULT))?;
        equal("as before", getpid().as_raw() > 1, true)?;
        let flags = get(0).map(|info| (info.flags, info.initpid));
        equal("no flag", flags, Ok((0, 0)))?;
        // Every descriptor is in use: none for the answer.
        let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
        let device = device()?;
        nix::sys::resource::setrlimit(limit, 0, 4096).map_err(words)?;
        let mut request = Enter {
            options: ENTER_OPEN_FD,
            ..stay
        };
        let failed = ioctl(&device, IOC_ENTER, &mut request).err();
        equal("no descriptor", failed, Some(Errno::EMFILE))?;
        nix::sys::resource::setrlimit(limit, 1024, 4096).map_err(words)?;
        enter(CONTEXT_STAY, FLAG_FAKEINIT, 0).map_err(words)?;
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
        ("no pid", context, i32::MIN, 0, Errno::EINVAL),
        ("no number of a context", 65_536, 0, 0, Errno::EINVAL),
        ("no number of a context", -1, 0, 0, Errno::EINVAL),
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
    request.reserved = [0; 2];
    request.processes = 1;
    let given = ioctl(&device()?, IOC_SIGNAL, &mut request).err();
    equal("an answer given", given, Some(Errno::EINVAL))?;
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
