// SPDX-License-Identifier: GPL-2.0

//! Process groups, sessions and terminals of process 1.

use super::{as_init, end, expect_success, in_child, sleeper, spawn};
use crate::{
    fixture::{ensure, equal, words, Outcome},
    syscalls::{self, ioctl},
    test, Test,
};
use nix::{
    fcntl::{open, OFlag},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
    sys::{
        signal::{kill, SigSet, Signal},
        stat::Mode,
    },
    unistd::{getpgid, getpgrp, getpid, getsid, setpgid, setsid, tcgetpgrp, tcsetpgrp, Pid},
};

pub const TESTS: &[Test] = &[
    test("fakeinit::groups_and_sessions", 60, groups),
    test("fakeinit::groups_of_others", 60, of_others),
    test("fakeinit::controlling_terminal", 60, terminal),
    test("fakeinit::signals_to_its_group", 60, to_its_group),
];

const ONE: Pid = Pid::from_raw(1);

fn groups() -> Outcome {
    as_init(|_| {
        equal("setsid", setsid(), Ok(ONE))?;
        equal("getsid", getsid(None), Ok(ONE))?;
        equal("getpgrp", getpgrp(), ONE)?;
        equal("getpgid", getpgid(None), Ok(ONE))?;
        in_child(|| {
            equal("the session", getsid(None), Ok(ONE))?;
            equal("the group", getpgrp(), ONE)?;
            equal("the group of 1", getpgid(Some(ONE)), Ok(ONE))?;
            let own = getpid();
            setpgid(own, own).map_err(words)?;
            equal("a group of its own", getpgrp(), own)?;
            setpgid(own, ONE).map_err(words)?;
            equal("back", getpgrp(), ONE)
        })
    })
}

/// A group whose leader is elsewhere has no number, as in a pid namespace.
fn of_others() -> Outcome {
    as_init(|_| {
        equal("the group", getpgrp(), Pid::from_raw(0))?;
        equal("the session", getsid(None), Ok(Pid::from_raw(0)))?;
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
        equal("its own group", getpgrp(), ONE)
    })
}

fn terminal() -> Outcome {
    as_init(|_| {
        setsid().map_err(words)?;
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).map_err(words)?;
        grantpt(&master).map_err(words)?;
        unlockpt(&master).map_err(words)?;
        let name = ptsname_r(&master).map_err(words)?;
        let terminal = open(name.as_str(), OFlag::O_RDWR, Mode::empty()).map_err(words)?;
        equal("tcgetpgrp", tcgetpgrp(&terminal), Ok(ONE))?;
        let mut session = 0i32;
        ioctl(&terminal, libc::TIOCGSID as u32, &mut session).map_err(words)?;
        equal("the session", session, 1)?;
        let child = sleeper()?;
        setpgid(child, child).map_err(words)?;
        tcsetpgrp(&terminal, child).map_err(words)?;
        equal("the child's", tcgetpgrp(&terminal), Ok(child))?;
        tcsetpgrp(&terminal, ONE).map_err(words)?;
        equal("its own again", tcgetpgrp(&terminal), Ok(ONE))?;
        end(child)
    })
}

/// kill(0) and kill(-1): the one is its group, the other is everybody but itself.
fn to_its_group() -> Outcome {
    as_init(|_| {
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
        // Not for itself: it has the signal blocked.
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGUSR1);
        blocked.thread_block().map_err(words)?;
        let child = spawn(|| {
            let got = blocked.wait();
            i32::from(got != Ok(Signal::SIGUSR1))
        })?;
        kill(Pid::from_raw(0), Signal::SIGUSR1).map_err(words)?;
        expect_success(child)?;
        equal("itself", blocked.wait(), Ok(Signal::SIGUSR1))?;
        let child = sleeper()?;
        let killer = spawn(|| {
            let own = setpgid(Pid::from_raw(0), Pid::from_raw(0)).is_ok();
            let sent = kill(Pid::from_raw(-1), Signal::SIGKILL).is_ok();
            i32::from(!own || !sent)
        })?;
        expect_success(killer)?;
        let ended = nix::sys::wait::waitpid(child, None).map_err(words)?;
        ensure(
            "the sleeper was killed",
            matches!(
                ended,
                nix::sys::wait::WaitStatus::Signaled(_, Signal::SIGKILL, _)
            ),
        )?;
        equal(
            "still here",
            syscalls::syscall(libc::SYS_getpid, [0; 6]),
            Ok(1),
        )
    })
}
