// SPDX-License-Identifier: GPL-2.0

//! reboot(2) in a context.

use super::{as_init, in_child, spawn};
use crate::{
    fixture::{
        child, enter, equal, inside, open_context, status, until_empty, words, Outcome, Sitter,
    },
    syscalls::syscall,
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
    unistd::{read, setuid, write, Uid},
};
use std::os::fd::AsFd;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::reboot_ends_the_context", 120, ends),
    test("fakeinit::reboot_refused", 60, refused),
    test("fakeinit::reboot_of_others", 60, others),
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
            let (reader, writer) = nix::unistd::pipe().map_err(words)?;
            let (wait, go) = nix::unistd::pipe().map_err(words)?;
            let init = spawn(|| {
                let Ok(entered) = enter(CONTEXT_NEW, FLAG_FAKEINIT, u64::MAX >> 23) else {
                    return 99;
                };
                let _ = write(&writer, &entered.context.to_ne_bytes());
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
            let mut context = [0; 4];
            read(&reader, &mut context).map_err(words)?;
            let fd = open_context(i32::from_ne_bytes(context)).map_err(words)?;
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
