// SPDX-License-Identifier: GPL-2.0

//! The matrix: every way in which a process can name another one is tried by a process of the same
//! context, of another one, of the host (context 0) and by the spectator, each towards
//! each. The ways stand in the files of the subsystems, one row per way: see [`ways`].

use crate::{
    fixture::{arrive, child, enter, equal, words, Outcome, Sitter},
    syscalls::syscall,
};
use nix::{
    errno::Errno,
    unistd::{setpgid, setuid, Pid, Uid},
};
use std::os::fd::{AsRawFd, OwnedFd};
use vserver_uapi::*;

/// What the spectator gets: it sees all, signals and attaches to nothing.
#[derive(Clone, Copy)]
pub enum Spectator {
    /// What anybody gets who sees the process.
    May,
    /// `EPERM`.
    MayNot,
}

/// Takes hold of a process before it enters its context.
pub type Hold = fn(pid: i32) -> Result<OwnedFd, Errno>;

/// One way to name a process.
pub struct Way {
    /// Success when the process is there and may be dealt with so.
    pub attempt: fn(&Target) -> Result<i64, Errno>,
    /// What the spectator gets.
    pub spectator: Spectator,
    /// What the process is named by, if not by its number.
    pub hold: Option<Hold>,
    /// What everybody gets who does not see the process.
    pub absent: Errno,
}

/// A process that is to be named. It is the leader of a process group and has a user of its own.
pub struct Target {
    /// Its number.
    pub pid: usize,
    /// Its user.
    pub uid: usize,
    hold: Option<OwnedFd>,
}

impl Target {
    /// What [`Way::hold`] has made.
    pub fn fd(&self) -> usize {
        self.hold.as_ref().map_or(-1, |fd| fd.as_raw_fd()) as usize
    }

    /// The number of its process group, negative, as kill() and fcntl() take it.
    pub fn group(&self) -> usize {
        self.pid.wrapping_neg()
    }
}

/// A system call with as many arguments as it has.
pub fn call(number: i64, arguments: &[usize]) -> Result<i64, Errno> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    syscall(number, all)
}

/// Who tries and is tried: two contexts, the host, the spectator.
const CONTEXTS: [i32; 4] = [100, 101, CONTEXT_ROOT, CONTEXT_SPECTATOR];

/// `arriving`: it has entered and executes no program there.
fn target(context: i32, arriving: bool, hold: Option<Hold>) -> Result<(Sitter, Target), String> {
    let uid = 2000 + context as usize + 1000 * usize::from(arriving);
    let (sitter, hold) = Sitter::after(
        if arriving { CONTEXT_ROOT } else { context },
        0,
        |pid| hold.map(|hold| hold(pid)).transpose().map_err(words),
        || {
            if arriving {
                enter(context, 0, 0).map_err(words)?;
            }
            setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
            setuid(Uid::from_raw(uid as u32)).map_err(words)
        },
    )?;
    let pid = sitter.pid as usize;
    Ok((sitter, Target { pid, uid, hold }))
}

/// Tries a way from everywhere to everywhere.
pub fn matrix(way: &Way) -> Outcome {
    let mut sitters = Vec::new();
    let mut targets = Vec::new();
    for context in CONTEXTS {
        let (sitter, target) = target(context, false, way.hold)?;
        sitters.push(sitter);
        targets.push((context, false, target));
    }
    let (sitter, target) = target(CONTEXTS[0], true, way.hold)?;
    sitters.push(sitter);
    targets.push((CONTEXTS[0], true, target));
    for viewer in CONTEXTS {
        child(|| {
            if viewer != CONTEXT_ROOT {
                arrive(viewer, 0, 0).map_err(|error| format!("entering {viewer}: {error}"))?;
            }
            for (context, arriving, target) in &targets {
                let expected = match way.spectator {
                    _ if viewer == *context && !arriving => Ok(()),
                    Spectator::May if viewer == CONTEXT_SPECTATOR => Ok(()),
                    Spectator::MayNot if viewer == CONTEXT_SPECTATOR => Err(Errno::EPERM),
                    _ => Err(way.absent),
                };
                let got = (way.attempt)(target).map(drop);
                // Memory that was opened before is gone with the program that had it.
                let executed = *context != CONTEXT_ROOT && !arriving;
                if way.hold.is_some()
                    && executed
                    && expected.is_ok()
                    && matches!(got, Err(Errno::ENODATA | Errno::ESRCH))
                {
                    continue;
                }
                let towards = if *arriving {
                    "one that arrives in "
                } else {
                    ""
                };
                equal(
                    &format!("{viewer} towards {towards}{context}"),
                    got,
                    expected,
                )?;
            }
            Ok(String::new())
        })?;
    }
    Ok(())
}

/// A table of ways, one row each; every row is a test.
///
/// `NAME: May|MayNot [by HOLD] [absent ERRNO], |target| ATTEMPT;`
macro_rules! ways {
    ($module:literal: $(
        $name:ident: $spectator:ident $(by $hold:ident)? $(absent $errno:ident)?,
        |$target:ident| $attempt:expr;
    )*) => {
        /// The rows of this file's table.
        pub const WAYS: &[crate::Test] = &[$(
            crate::test(concat!($module, "::", stringify!($name)), 30, || {
                fn attempt($target: &crate::visibility::Target) -> Result<i64, nix::errno::Errno> {
                    $attempt
                }
                #[allow(unused_mut, unused_assignments)]
                let mut way = crate::visibility::Way {
                    attempt,
                    spectator: crate::visibility::Spectator::$spectator,
                    hold: None,
                    absent: nix::errno::Errno::ESRCH,
                };
                $(way.hold = Some($hold);)?
                $(way.absent = nix::errno::Errno::$errno;)?
                crate::visibility::matrix(&way)
            }),
        )*];
    };
}
pub(crate) use ways;
