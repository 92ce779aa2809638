// SPDX-License-Identifier: GPL-2.0

//! Process 1 of a context and process 1 of a pid namespace, one inside of the other; control groups.

use super::{as_both, expect_success, in_child, named, sleeper, spawn, tell, told};
use crate::{
    fixture::{enter, equal, words, Outcome},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sched::{unshare, CloneFlags},
    sys::signal::kill,
    unistd::{getpid, getppid, gettid, pipe, Pid},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::pid_namespace_inside", 60, namespace_inside),
    test("fakeinit::inside_a_pid_namespace", 60, inside_namespace),
    test("fakeinit::control_group", 60, control_group),
];

const ONE: Pid = Pid::from_raw(1);
const NOBODY: Pid = Pid::from_raw(0);

/// In a pid namespace made inside, 1 is the namespace's.
fn namespace_inside() -> Outcome {
    as_both(|who| {
        let (reader, writer) = pipe().map_err(words)?;
        in_child(|| {
            named("unshare", unshare(CloneFlags::CLONE_NEWPID))?;
            let first = spawn(|| {
                let run = || {
                    equal("getpid", getpid(), ONE)?;
                    equal("getppid", getppid(), NOBODY)?;
                    equal("kill", kill(ONE, None), Ok(()))?;
                    let outside = kill(Pid::from_raw(who.real), None);
                    equal("nobody else", outside, Err(Errno::ESRCH))?;
                    in_child(|| {
                        equal("a child", getpid(), Pid::from_raw(2))?;
                        equal("its parent", getppid(), ONE)
                    })
                };
                let outcome = run();
                if let Err(text) = &outcome {
                    eprintln!("in the namespace: {text}");
                }
                let _ = tell(&writer, 0);
                nix::unistd::pause();
                i32::from(outcome.is_err())
            })?;
            told(&reader)?;
            // Outside of the namespace it has a number as any child has.
            equal("not 1", first.as_raw() > 1 && first != who.pid(), true)?;
            let path = format!("/proc/{first}/status");
            let status = std::fs::read_to_string(path).map_err(words)?;
            let line = format!("\nNSpid:\t{first}\t1\n");
            equal(&status, status.contains(&line), true)?;
            super::end(first)
        })
    })
}

/// A process of a pid namespace becomes process 1 of a context: it is 1 for its context, in the namespace's stead.
fn inside_namespace() -> Outcome {
    in_child(|| {
        named("unshare", unshare(CloneFlags::CLONE_NEWPID))?;
        let first = spawn(|| {
            let run = || {
                equal("the namespace's", getpid(), ONE)?;
                for flags in [FLAG_FAKEINIT, 0] {
                    let child = spawn(|| {
                        let real = getpid();
                        let run = || {
                            named("enter", enter(CONTEXT_NEW, flags, 0))?;
                            let own = if flags == 0 { real } else { ONE };
                            equal("getpid", getpid(), own)?;
                            equal("gettid", gettid(), own)?;
                            in_child(|| {
                                equal("getppid", getppid(), own)?;
                                equal("kill", kill(own, None), Ok(()))?;
                                if flags != 0 {
                                    let gone = kill(real, None);
                                    equal("the number before", gone, Err(Errno::ESRCH))?;
                                }
                                Ok(())
                            })
                        };
                        let outcome = run();
                        if let Err(text) = &outcome {
                            eprintln!("flags {flags}: {text}");
                        }
                        i32::from(outcome.is_err())
                    })?;
                    expect_success(child)?;
                }
                Ok::<_, String>(())
            };
            let outcome = run();
            if let Err(text) = &outcome {
                eprintln!("{text}");
            }
            i32::from(outcome.is_err())
        })?;
        expect_success(first)
    })?;
    // The first one of a namespace becomes the first one of a context as well.
    in_child(|| {
        named("unshare", unshare(CloneFlags::CLONE_NEWPID))?;
        let first = spawn(|| {
            let entered = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0);
            let child = spawn(|| i32::from(getppid() != ONE)).and_then(expect_success);
            let right = entered.is_ok() && getpid() == ONE && child.is_ok();
            i32::from(!right)
        })?;
        expect_success(first)
    })
}

/// The list of a control group's processes.
fn control_group() -> Outcome {
    as_both(|who| {
        let sleeper = sleeper()?;
        in_child(|| {
            let listed = std::fs::read_to_string("/sys/fs/cgroup/cgroup.procs").map_err(words)?;
            let is_listed = |pid: i32| {
                let number = pid.to_string();
                listed.lines().filter(|line| **line == number).count()
            };
            equal("process 1", is_listed(who.number), 1)?;
            equal("its child", is_listed(sleeper.as_raw()), 1)?;
            let real = is_listed(who.real);
            equal("the real number", real, usize::from(!who.is_init()))?;
            let own = call(libc::SYS_getpid, &[]).map_or(0, |pid| pid as i32);
            equal("oneself", is_listed(own), 1)
        })?;
        super::end(sleeper)
    })
}
