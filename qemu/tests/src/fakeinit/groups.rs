// SPDX-License-Identifier: GPL-2.0

//! Process groups, sessions and terminals of process 1.

use super::{
    as_both, as_init, as_spectator, end, expect_success, in_child, named, sleeper, spawn, Who,
};
use crate::{
    fixture::{ensure, equal, words, Outcome, Sitter},
    syscalls::{self, ioctl, ioctl_address},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    sys::{
        signal::{kill, SigSet, Signal},
        stat::Mode,
        wait::{waitid, waitpid, Id, WaitPidFlag, WaitStatus},
    },
    unistd::{getpgid, getpgrp, getpid, getsid, setpgid, setsid, tcgetpgrp, tcsetpgrp, Pid},
};
use std::os::fd::{AsRawFd, OwnedFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::groups_and_sessions", 60, groups),
    test("fakeinit::groups_by_number", 60, by_number),
    test("fakeinit::groups_in_proc", 60, in_proc),
    test("fakeinit::groups_of_others", 60, of_others),
    test("fakeinit::controlling_terminal", 60, terminal),
    test("fakeinit::terminal_by_opening", 60, terminal_by_opening),
    test("fakeinit::terminal_of_others", 60, terminal_of_others),
    test("fakeinit::signals_to_its_group", 60, to_its_group),
    test("fakeinit::signals_to_everybody", 60, to_everybody),
];

const NOBODY: Pid = Pid::from_raw(0);

fn groups() -> Outcome {
    as_both(|who| {
        let one = who.pid();
        equal("setsid", setsid(), Ok(one))?;
        equal("getsid", getsid(None), Ok(one))?;
        equal("getsid by number", getsid(Some(one)), Ok(one))?;
        equal("getpgrp", getpgrp(), one)?;
        equal("getpgid", getpgid(None), Ok(one))?;
        in_child(|| {
            equal("the session", getsid(None), Ok(one))?;
            equal("its session", getsid(Some(one)), Ok(one))?;
            equal("the group", getpgrp(), one)?;
            equal("its group", getpgid(Some(one)), Ok(one))?;
            let own = getpid();
            setpgid(own, own).map_err(words)?;
            equal("a group of its own", getpgrp(), own)?;
            named("back", setpgid(own, one))?;
            equal("back", getpgrp(), one)
        })?;
        // By its parent, too.
        let child = sleeper()?;
        named("a group of its own", setpgid(child, child))?;
        equal("a group of its own", getpgid(Some(child)), Ok(child))?;
        named("back", setpgid(child, one))?;
        equal("back", getpgid(Some(child)), Ok(one))?;
        if who.is_init() {
            let real = Pid::from_raw(who.real);
            let moved = setpgid(child, real);
            equal("by the real number", moved, Err(Errno::EPERM))?;
            let sent = kill(Pid::from_raw(-who.real), None);
            equal("to the real number's", sent, Err(Errno::ESRCH))?;
        }
        equal("to its group", call(libc::SYS_kill, &[0, 0]), Ok(0))?;
        end(child)
    })
}

/// What is done to a group by its number.
fn by_number() -> Outcome {
    const PRIO_PGRP: usize = 1;
    const IOPRIO_WHO_PGRP: usize = 2;
    const F_OWNER_PGRP: i32 = 2;
    as_both(|who| {
        setpgid(NOBODY, NOBODY).map_err(words)?;
        let number = who.number as usize;
        let child = spawn(|| 5)?;
        let group = waitid(Id::PGid(who.pid()), WaitPidFlag::WEXITED);
        equal("waitid", group, Ok(WaitStatus::Exited(child, 5)))?;
        in_child(|| {
            let nice = |pid: usize| call(libc::SYS_getpriority, &[PRIO_PGRP, pid]);
            let ioprio = |pid: usize| call(libc::SYS_ioprio_get, &[IOPRIO_WHO_PGRP, pid]);
            named("getpriority", nice(number))?;
            named("ioprio_get", ioprio(number))?;
            let (reader, _writer) = nix::unistd::pipe().map_err(words)?;
            let fd = reader.as_raw_fd() as usize;
            let mut owner = [F_OWNER_PGRP, who.number];
            let address = owner.as_mut_ptr() as usize;
            let own = |command: i32| call(libc::SYS_fcntl, &[fd, command as usize, address]);
            named("F_SETOWN_EX", own(F_SETOWN_EX))?;
            named("F_GETOWN_EX", own(F_GETOWN_EX))?;
            equal("F_GETOWN_EX", owner, [F_OWNER_PGRP, who.number])?;
            if who.is_init() {
                let real = who.real as usize;
                let nobody = Err(Errno::ESRCH);
                equal("getpriority, the real number", nice(real), nobody)?;
                equal("ioprio_get, the real number", ioprio(real), nobody)?;
            }
            Ok(())
        })?;
        let real = waitid(Id::PGid(Pid::from_raw(who.real)), WaitPidFlag::WEXITED);
        equal("waitid, the real number", real, Err(Errno::ECHILD))
    })
}

const F_SETOWN_EX: i32 = 15;
const F_GETOWN_EX: i32 = 16;

/// Words of /proc/PID/stat behind the name, from the state on.
fn stat(pid: i32) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).map_err(words)?;
    let (_, rest) = text.rsplit_once(')').ok_or("no name")?;
    Ok(rest.split_ascii_whitespace().map(str::to_string).collect())
}

/// The group and the session of a process.
fn groups_of(pid: i32) -> Result<[String; 2], String> {
    let words = stat(pid)?;
    Ok([words[2].clone(), words[3].clone()])
}

fn in_proc() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let init = Sitter::new(CONTEXT_NEW, flags, || {
            let number = setsid().map_err(words)?.to_string();
            let expected = [number.clone(), number];
            equal("its own", groups_of(getpid().as_raw())?, expected.clone())?;
            in_child(|| equal("a child's", groups_of(getpid().as_raw())?, expected))?;
            let sleeper = sleeper()?;
            super::tell(&writer, sleeper.as_raw())
        })?;
        let sleeper = super::told(&reader)?;
        as_spectator(|| {
            let real = init.pid.to_string();
            let expected = [real.clone(), real];
            equal("from outside", groups_of(init.pid)?, expected.clone())?;
            equal("a child's from outside", groups_of(sleeper)?, expected)
        })?;
        crate::fixture::signal(init.context, sleeper, libc::SIGKILL).map_err(words)?;
    }
    Ok(())
}

/// A group whose leader is elsewhere has no number, as in a pid namespace.
fn of_others() -> Outcome {
    let outside = (getpgrp(), named("getsid", getsid(None))?);
    as_both(|who| {
        let (group, session) = if who.is_init() {
            (NOBODY, NOBODY)
        } else {
            outside
        };
        equal("the group", getpgrp(), group)?;
        equal("the session", getsid(None), Ok(session))?;
        in_child(|| {
            equal("a child's group", getpgrp(), group)?;
            equal("a child's session", getsid(None), Ok(session))?;
            let of_one = getpgid(Some(who.pid()));
            equal("its group, by number", of_one, Ok(group))
        })?;
        let groups = groups_of(who.number)?;
        equal("in /proc", groups, [group.to_string(), session.to_string()])?;
        setpgid(NOBODY, NOBODY).map_err(words)?;
        equal("its own group", getpgrp(), who.pid())
    })
}

/// A terminal, and its master.
fn pair() -> Result<(OwnedFd, OwnedFd), String> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
    let master = named("ptmx", open("/dev/ptmx", flags, Mode::empty()))?;
    named("unlock", ioctl(&master, libc::TIOCSPTLCK as u32, &mut 0i32))?;
    let mut number = 0u32;
    named("number", ioctl(&master, libc::TIOCGPTN as u32, &mut number))?;
    let path = format!("/dev/pts/{number}");
    let terminal = named(&path, open(path.as_str(), flags, Mode::empty()))?;
    Ok((terminal, master))
}

fn session_of(terminal: &OwnedFd) -> Result<i32, Errno> {
    let mut session = 0i32;
    ioctl(terminal, libc::TIOCGSID as u32, &mut session)?;
    Ok(session)
}

/// Begins a session on a terminal; what hangs it up in the end does not matter.
fn session() -> Result<(OwnedFd, OwnedFd), String> {
    named("SIGHUP", syscalls::set_handler(libc::SIGHUP, libc::SIG_IGN))?;
    named("setsid", setsid())?;
    pair()
}

fn terminal() -> Outcome {
    as_both(|who| {
        let (terminal, _master) = session()?;
        let controlling = ioctl_address(&terminal, libc::TIOCSCTTY as u32, 0);
        named("TIOCSCTTY", controlling)?;
        use_terminal(who, &terminal)
    })
}

/// The first terminal that the leader of a session opens becomes its own, as init's console does.
fn terminal_by_opening() -> Outcome {
    as_both(|who| {
        let (terminal, _master) = session()?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", terminal.as_raw_fd()));
        let path = path.map_err(words)?;
        let before = tcgetpgrp(&terminal);
        equal("none yet", before, Err(Errno::ENOTTY))?;
        let terminal = named("open", open(&path, OFlag::O_RDWR, Mode::empty()))?;
        use_terminal(who, &terminal)?;
        let own = named("/dev/tty", open("/dev/tty", OFlag::O_RDWR, Mode::empty()))?;
        equal("/dev/tty", tcgetpgrp(&own), Ok(who.pid()))
    })
}

fn use_terminal(who: Who, terminal: &OwnedFd) -> Outcome {
    let one = who.pid();
    equal("tcgetpgrp", tcgetpgrp(terminal), Ok(one))?;
    equal("tcgetsid", session_of(terminal), Ok(who.number))?;
    in_child(|| {
        equal("for a child", tcgetpgrp(terminal), Ok(one))?;
        equal("for a child", session_of(terminal), Ok(who.number))?;
        let foreground = stat(who.number)?[5].clone();
        equal("in /proc", foreground, who.number.to_string())
    })?;
    // From the background it may set the terminal's group if it ignores the question.
    named(
        "SIGTTOU",
        syscalls::set_handler(libc::SIGTTOU, libc::SIG_IGN),
    )?;
    let child = sleeper()?;
    named("a group", setpgid(child, child))?;
    named("the child's", tcsetpgrp(terminal, child))?;
    equal("the child's", tcgetpgrp(terminal), Ok(child))?;
    if who.is_init() {
        let real = tcsetpgrp(terminal, Pid::from_raw(who.real));
        equal("the real number", real, Err(Errno::ESRCH))?;
    }
    named("its own again", tcsetpgrp(terminal, one))?;
    equal("its own again", tcgetpgrp(terminal), Ok(one))?;
    end(child)
}

/// A session of the host's on a terminal that a process 1 has been given.
fn terminal_of_others() -> Outcome {
    in_child(|| {
        let (terminal, _master) = session()?;
        let controlling = ioctl_address(&terminal, libc::TIOCSCTTY as u32, 0);
        named("TIOCSCTTY", controlling)?;
        let host = getpid();
        as_both(|who| {
            let expected = if who.is_init() { NOBODY } else { host };
            equal("tcgetpgrp", tcgetpgrp(&terminal), Ok(expected))?;
            equal("tcgetsid", session_of(&terminal), Ok(expected.as_raw()))
        })
    })
}

/// kill(0): its group, itself included.
fn to_its_group() -> Outcome {
    as_both(|who| {
        setpgid(NOBODY, NOBODY).map_err(words)?;
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR1);
        blocked.thread_block().map_err(words)?;
        let child = spawn(|| i32::from(blocked.wait() != Ok(Signal::SIGUSR1)))?;
        kill(NOBODY, Signal::SIGUSR1).map_err(words)?;
        expect_success(child)?;
        equal("itself", blocked.wait(), Ok(Signal::SIGUSR1))?;
        // By the number of the group; but -1 is everybody.
        if !who.is_init() {
            let group = Pid::from_raw(-who.number);
            in_child(|| named("its group", kill(group, Signal::SIGUSR1)))?;
            equal("itself again", blocked.wait(), Ok(Signal::SIGUSR1))?;
        }
        Ok(())
    })
}

/// kill(-1), as shutdown does: all but process 1 and whoever calls.
fn to_everybody() -> Outcome {
    as_init(|_| {
        // Nothing is pending for it afterwards.
        let signal = Signal::SIGUSR2;
        let mut blocked = SigSet::empty();
        blocked.add(signal);
        blocked.thread_block().map_err(words)?;
        let killed = |pid: Pid, by: Signal| {
            let ended = waitpid(pid, None).map_err(words)?;
            equal("a sleeper", ended, WaitStatus::Signaled(pid, by, false))
        };
        for by in [Signal::SIGTERM, Signal::SIGKILL] {
            let sleepers = [sleeper()?, sleeper()?];
            expect_success(spawn(|| i32::from(kill(Pid::from_raw(-1), by).is_err()))?)?;
            for pid in sleepers {
                killed(pid, by)?;
            }
            // And by itself.
            let sleeper = sleeper()?;
            named("by itself", kill(Pid::from_raw(-1), by))?;
            killed(sleeper, by)?;
        }
        expect_success(spawn(|| {
            let sent = kill(Pid::from_raw(-1), signal);
            i32::from(sent != Err(Errno::ESRCH))
        })?)?;
        let pending = std::fs::read_to_string("/proc/self/status").map_err(words)?;
        ensure(&pending, pending.contains("ShdPnd:\t0000000000000000\n"))
    })?;
    // The control: where there is no process 1, the first process is one of all.
    super::as_anybody(|_| {
        let first = getpid();
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR2);
        blocked.thread_block().map_err(words)?;
        in_child(|| named("to all", kill(Pid::from_raw(-1), Signal::SIGUSR2)))?;
        equal("the first", blocked.wait(), Ok(Signal::SIGUSR2))?;
        equal("is itself", getpid(), first)
    })
}
