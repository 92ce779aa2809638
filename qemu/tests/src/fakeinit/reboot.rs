// SPDX-License-Identifier: GPL-2.0

//! reboot(2) in a context.

use super::{as_init, in_child, need_32_bits, spawn, tell, told};
use crate::{
    fixture::{
        child, ensure, enter, equal, inside, open_context, status, until_empty, words, Outcome,
        Sitter,
    },
    syscalls::{syscall, syscall_32},
    test, Test,
};
use nix::{
    errno::Errno,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    sched::{unshare, CloneFlags},
    sys::{
        signal::Signal,
        wait::{waitpid, WaitStatus},
    },
    unistd::{pipe, read, setuid, write, Uid},
};
use std::os::fd::AsFd;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::reboot_ends_the_context", 120, ends),
    test("fakeinit::reboot_refused", 60, refused),
    test("fakeinit::reboot_of_others", 60, others),
    test("fakeinit::reboot_by_several", 120, several),
    test("fakeinit::reboot_further_inside", 60, further_inside),
    test("fakeinit::reboot_for_32_bits", 60, for_32_bits),
];

const MAGIC: [usize; 2] = [0xfee1_dead, 672_274_793];
const RESTART: usize = 0x0123_4567;
const RESTART2: usize = 0xa1b2_c3d4;
const HALT: usize = 0xcdef_0123;
const POWER_OFF: usize = 0x4321_fedc;
const CAD_ON: usize = 0x89ab_cdef;
const CAD_OFF: usize = 0;
const KEXEC: usize = 0x4558_4543;
const SW_SUSPEND: usize = 0xd000_fce2;

fn reboot(command: usize) -> Result<i64, Errno> {
    let text = c"elsewhere";
    syscall(
        libc::SYS_reboot,
        [MAGIC[0], MAGIC[1], command, text.as_ptr() as usize, 0, 0],
    )
}

fn ends() -> Outcome {
    for (command, what) in [
        (RESTART, REBOOT_RESTART),
        (RESTART2, REBOOT_RESTART),
        (HALT, REBOOT_HALT),
        (POWER_OFF, REBOOT_POWER_OFF),
    ] {
        for by_child in [false, true] {
            let (reader, writer) = pipe().map_err(words)?;
            let (wait, go) = pipe().map_err(words)?;
            // All capabilities are given up: it takes none.
            let init = spawn(|| {
                let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, u64::MAX >> 23) else {
                    return 99;
                };
                let _ = tell(&writer, entered.context);
                let _ = read(&wait, &mut [0]);
                let run = || {
                    let _ = reboot(command);
                    // Never here.
                    1
                };
                if by_child {
                    let _ = spawn(run);
                    loop {
                        nix::unistd::pause();
                    }
                }
                run()
            })?;
            let fd = open_context(told(&reader)?).map_err(words)?;
            write(&go, b"x").map_err(words)?;
            let mut set = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
            poll(&mut set, PollTimeout::NONE).map_err(words)?;
            equal("which", status(&fd).map(|status| status.reboot), Ok(what))?;
            let ended = waitpid(init, None).map_err(words)?;
            equal(
                "killed",
                ended,
                WaitStatus::Signaled(init, Signal::SIGKILL, false),
            )?;
            super::end::until_empty(&fd)?;
            equal(
                "and later",
                status(&fd).map(|status| status.reboot),
                Ok(what),
            )?;
        }
    }
    until_empty()
}

/// In a context with a process 1: what is the machine's, nonsense, and who is not root.
fn refused() -> Outcome {
    as_init(|_| {
        for command in [CAD_ON, CAD_OFF] {
            equal("the keyboard", reboot(command), Err(Errno::EPERM))?;
        }
        for command in [KEXEC, SW_SUSPEND, 7] {
            equal("no such thing", reboot(command), Err(Errno::EINVAL))?;
        }
        let wrong = syscall(libc::SYS_reboot, [MAGIC[0], 7, POWER_OFF, 0, 0, 0]);
        equal("the magic", wrong, Err(Errno::EINVAL))?;
        in_child(|| {
            setuid(Uid::from_raw(1000)).map_err(words)?;
            equal("a user", reboot(POWER_OFF), Err(Errno::EPERM))?;
            unshare(CloneFlags::CLONE_NEWUSER).map_err(words)?;
            equal("as root of his own", reboot(POWER_OFF), Err(Errno::EPERM))
        })?;
        // A context inside that has none of its own does not end this one.
        in_child(|| {
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            equal("from further inside", reboot(POWER_OFF), Err(Errno::EPERM))
        })
    })
}

/// Where there is no process 1 to be ended, with all capabilities.
fn others() -> Outcome {
    let _sitter = Sitter::idle(300)?;
    for context in [300, CONTEXT_SPECTATOR] {
        inside(context, || {
            for command in [RESTART, HALT, POWER_OFF, CAD_OFF, KEXEC] {
                equal("refused", reboot(command), Err(Errno::EPERM))?;
            }
            Ok(())
        })?;
    }
    // The control: the host may, and asks for nothing that would show.
    child(|| {
        equal("the host", reboot(7), Err(Errno::EINVAL))?;
        Ok(String::new())
    })
    .map(drop)
}

/// The first one counts, whoever else asks for something else at the same time.
fn several() -> Outcome {
    for _ in 0..20 {
        let (reader, writer) = pipe().map_err(words)?;
        let (wait, go) = pipe().map_err(words)?;
        let init = spawn(|| {
            let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
                return 99;
            };
            for command in [RESTART, HALT, POWER_OFF, HALT] {
                let _ = spawn(|| {
                    let _ = read(&wait, &mut [0]);
                    let _ = reboot(command);
                    1
                });
            }
            let _ = tell(&writer, entered.context);
            loop {
                nix::unistd::pause();
            }
        })?;
        let fd = open_context(told(&reader)?).map_err(words)?;
        let which = || status(&fd).map(|status| status.reboot).map_err(words);
        write(&go, b"1234").map_err(words)?;
        let mut set = [PollFd::new(fd.as_fd(), PollFlags::POLLPRI)];
        poll(&mut set, PollTimeout::NONE).map_err(words)?;
        let first = which()?;
        ensure(&format!("which: {first}"), (1..=3).contains(&first))?;
        waitpid(init, None).map_err(words)?;
        super::end::until_empty(&fd)?;
        equal("and later", which()?, first)?;
    }
    until_empty()
}

/// A context inside of another ends alone; then the other one, with a command of its own.
fn further_inside() -> Outcome {
    let (reader, writer) = pipe().map_err(words)?;
    let (wait, go) = pipe().map_err(words)?;
    let outer = spawn(|| {
        let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0) else {
            return 99;
        };
        let _ = tell(&writer, entered.context);
        let inner = spawn(|| {
            let entered = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0);
            let _ = tell(&writer, entered.map_or(0, |entered| entered.context));
            let _ = read(&wait, &mut [0]);
            let _ = reboot(RESTART);
            1
        });
        let ended = inner.and_then(|inner| waitpid(inner, None).map_err(words));
        let killed = matches!(ended, Ok(WaitStatus::Signaled(_, Signal::SIGKILL, _)));
        let _ = tell(&writer, i32::from(killed));
        let _ = read(&wait, &mut [0]);
        let _ = reboot(POWER_OFF);
        1
    })?;
    let outer_fd = open_context(told(&reader)?).map_err(words)?;
    let inner_fd = open_context(told(&reader)?).map_err(words)?;
    let which = |fd| status(fd).map(|status| [status.reboot, status.init]);
    write(&go, b"x").map_err(words)?;
    equal("the inner one was killed", told(&reader)?, 1)?;
    super::end::until_empty(&inner_fd)?;
    let inner = Ok([REBOOT_RESTART, INIT_EXITED]);
    equal("the inner one", which(&inner_fd), inner)?;
    let running = Ok([REBOOT_NONE, INIT_RUNNING]);
    equal("the outer one", which(&outer_fd), running)?;
    write(&go, b"x").map_err(words)?;
    waitpid(outer, None).map_err(words)?;
    super::end::until_empty(&outer_fd)?;
    equal("the inner one, later", which(&inner_fd), inner)?;
    let outer = Ok([REBOOT_POWER_OFF, INIT_EXITED]);
    equal("the outer one, later", which(&outer_fd), outer)
}

const REBOOT_32: u32 = 88;

/// The same by the entry for programs of 32 bits.
fn for_32_bits() -> Outcome {
    need_32_bits()?;
    let ask = |second: usize, command: usize| {
        let arguments = [MAGIC[0] as u32, second as u32, command as u32, 0];
        syscall_32(REBOOT_32, arguments)
    };
    for (command, what) in [(RESTART, REBOOT_RESTART), (POWER_OFF, REBOOT_POWER_OFF)] {
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, || {
            equal("the magic", ask(7, POWER_OFF), Err(Errno::EINVAL))?;
            for command in [CAD_ON, CAD_OFF] {
                equal("the keyboard", ask(MAGIC[1], command), Err(Errno::EPERM))?;
            }
            for command in [KEXEC, SW_SUSPEND, 7] {
                equal("nonsense", ask(MAGIC[1], command), Err(Errno::EINVAL))?;
            }
            in_child(|| {
                setuid(Uid::from_raw(1000)).map_err(words)?;
                equal("a user", ask(MAGIC[1], POWER_OFF), Err(Errno::EPERM))
            })
        })?;
        let fd = open_context(init.context).map_err(words)?;
        let guest = spawn(|| {
            let _ = enter(init.context, 0, 0).and_then(|_| ask(MAGIC[1], command));
            1
        })?;
        let killed = WaitStatus::Signaled(guest, Signal::SIGKILL, false);
        equal("who asked", waitpid(guest, None), Ok(killed))?;
        drop(init);
        super::end::until_empty(&fd)?;
        let told = status(&fd).map(|status| status.reboot);
        equal("which", told, Ok(what))?;
    }
    for context in [CONTEXT_NEW, CONTEXT_SPECTATOR] {
        inside(context, || {
            for command in [RESTART, HALT, POWER_OFF, CAD_OFF, KEXEC] {
                equal("refused", ask(MAGIC[1], command), Err(Errno::EPERM))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
