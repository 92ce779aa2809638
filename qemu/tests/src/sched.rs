// SPDX-License-Identifier: GPL-2.0

//! Scheduling and priorities: of a process, a process group, a user.

use crate::{
    fixture::{equal, inside, words, Outcome, Sitter},
    test,
    visibility::{call, ways},
    Test,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[test(
    "sched::priorities_of_a_user",
    20,
    priorities_of_a_user,
)];

const PROCESS: usize = libc::PRIO_PROCESS as usize;
const GROUP: usize = libc::PRIO_PGRP as usize;
const USER: usize = libc::PRIO_USER as usize;
const IO_PROCESS: usize = 1;
const IO_GROUP: usize = 2;
const IO_USER: usize = 3;
/// Best effort, level 4.
const IO_PRIORITY: usize = (2 << 13) | 4;

/// struct sched_attr of its first version: nothing special.
fn attribute() -> [u32; 12] {
    let mut attribute = [0; 12];
    attribute[0] = 48;
    attribute
}

ways! { "sched":
    getaffinity: May, |target| {
        let mut mask = [0u64; 16];
        call(libc::SYS_sched_getaffinity, &[target.pid, 128, mask.as_mut_ptr() as usize])
    };
    setaffinity: May, |target| {
        let mask = [3u64];
        call(libc::SYS_sched_setaffinity, &[target.pid, 8, mask.as_ptr() as usize])
    };
    getscheduler: May, |target| call(libc::SYS_sched_getscheduler, &[target.pid]);
    setscheduler: May, |target| {
        let parameter = [0i32];
        call(libc::SYS_sched_setscheduler, &[target.pid, 0, parameter.as_ptr() as usize])
    };
    getparam: May, |target| {
        let mut parameter = [0i32];
        call(libc::SYS_sched_getparam, &[target.pid, parameter.as_mut_ptr() as usize])
    };
    setparam: May, |target| {
        let parameter = [0i32];
        call(libc::SYS_sched_setparam, &[target.pid, parameter.as_ptr() as usize])
    };
    getattr: May, |target| {
        let mut out = attribute();
        call(libc::SYS_sched_getattr, &[target.pid, out.as_mut_ptr() as usize, 48, 0])
    };
    setattr: May, |target| {
        call(libc::SYS_sched_setattr, &[target.pid, attribute().as_ptr() as usize, 0])
    };
    rr_get_interval: May, |target| {
        let mut time = [0u64; 2];
        call(libc::SYS_sched_rr_get_interval, &[target.pid, time.as_mut_ptr() as usize])
    };
    getpriority: May, |target| call(libc::SYS_getpriority, &[PROCESS, target.pid]);
    setpriority: May, |target| call(libc::SYS_setpriority, &[PROCESS, target.pid, 0]);
    getpriority_group: May, |target| call(libc::SYS_getpriority, &[GROUP, target.pid]);
    setpriority_group: May, |target| call(libc::SYS_setpriority, &[GROUP, target.pid, 0]);
    getpriority_user: May, |target| call(libc::SYS_getpriority, &[USER, target.uid]);
    setpriority_user: May, |target| call(libc::SYS_setpriority, &[USER, target.uid, 0]);
    ioprio_get: May, |target| call(libc::SYS_ioprio_get, &[IO_PROCESS, target.pid]);
    ioprio_set: May, |target| call(libc::SYS_ioprio_set, &[IO_PROCESS, target.pid, IO_PRIORITY]);
    ioprio_get_group: May, |target| call(libc::SYS_ioprio_get, &[IO_GROUP, target.pid]);
    ioprio_set_group: May, |target| {
        call(libc::SYS_ioprio_set, &[IO_GROUP, target.pid, IO_PRIORITY])
    };
    ioprio_get_user: May, |target| call(libc::SYS_ioprio_get, &[IO_USER, target.uid]);
    ioprio_set_user: May, |target| {
        call(libc::SYS_ioprio_set, &[IO_USER, target.uid, IO_PRIORITY])
    };
}

/// "All processes of a user" are those in view: neither read nor set elsewhere.
fn priorities_of_a_user() -> Outcome {
    let nice = |pid: usize| call(libc::SYS_getpriority, &[PROCESS, pid]);
    let io = |pid: usize| call(libc::SYS_ioprio_get, &[IO_PROCESS, pid]);
    let target = Sitter::new(100, 0, || {
        call(libc::SYS_setpriority, &[PROCESS, 0, -15isize as usize]).map_err(words)?;
        call(libc::SYS_ioprio_set, &[IO_PROCESS, 0, (2 << 13) | 1])
            .map(drop)
            .map_err(words)
    })?;
    inside(101, || {
        // The raw call returns 20 minus the nice value.
        let highest = call(libc::SYS_getpriority, &[USER, 0]);
        equal("highest of the user", highest, Ok(20))?;
        let set = call(libc::SYS_setpriority, &[USER, 0, 5]);
        equal("set for the user", set, Ok(0))?;
        equal("own", nice(0), Ok(15))?;
        let set = call(libc::SYS_ioprio_set, &[IO_USER, 0, IO_PRIORITY]);
        equal("io set for the user", set, Ok(0))?;
        equal("own io", io(0), Ok(IO_PRIORITY as i64))?;
        let highest = call(libc::SYS_ioprio_get, &[IO_USER, 0]);
        equal("highest io of the user", highest, Ok(IO_PRIORITY as i64))
    })?;
    let pid = target.pid as usize;
    inside(100, || {
        equal("untouched", nice(pid), Ok(35))?;
        equal("io untouched", io(pid), Ok((2 << 13) | 1))
    })?;
    inside(CONTEXT_ROOT, || equal("the host's", nice(0), Ok(20)))
}
