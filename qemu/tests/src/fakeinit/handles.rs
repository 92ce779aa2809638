// SPDX-License-Identifier: GPL-2.0

//! System calls that find process 1 by its number, and nobody by the real one.

use super::{as_both, in_child, named, sleeper, Who};
use crate::{
    fixture::{ensure, equal, words, Outcome, Sitter},
    syscalls::{self, own},
    test,
    visibility::call,
    Test,
};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, OwnedFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::look_ups", 60, look_ups),
    test("fakeinit::look_ups_of_priorities", 60, priorities),
    test("fakeinit::look_ups_by_pidfd_open", 60, pidfd_open),
    test("fakeinit::pidfds", 60, pidfds),
    test("fakeinit::pidfds_from_outside", 60, pidfds_from_outside),
    test("fakeinit::clocks_and_timers", 60, clocks),
    test("fakeinit::effects", 60, effects),
];

/// Readable in every test process at the same address.
static WORD: u64 = 7;

/// A way to name a process by its number.
type Way = (&'static str, fn(usize) -> Result<i64, Errno>);

const PRIO_PROCESS: usize = 0;
const IOPRIO_WHO_PROCESS: usize = 1;
/// Best effort, 6.
const IOPRIO: usize = (2 << 13) | 6;
const SCHED_BATCH: usize = 3;

const WAYS: &[Way] = &[
    ("kill", |pid| call(libc::SYS_kill, &[pid, 0])),
    ("tkill", |pid| call(libc::SYS_tkill, &[pid, 0])),
    ("tgkill", |pid| call(libc::SYS_tgkill, &[pid, pid, 0])),
    ("rt_sigqueueinfo", |pid| {
        // SI_QUEUE
        let mut info = [0i32; 32];
        info[2] = -1;
        call(libc::SYS_rt_sigqueueinfo, &[pid, 0, info.as_ptr() as usize])
    }),
    ("getpgid", |pid| call(libc::SYS_getpgid, &[pid])),
    ("getsid", |pid| call(libc::SYS_getsid, &[pid])),
    ("prlimit64", |pid| {
        let mut limit = [0u64; 2];
        let room = limit.as_mut_ptr() as usize;
        call(
            libc::SYS_prlimit64,
            &[pid, libc::RLIMIT_CPU as usize, 0, room],
        )
    }),
    ("get_robust_list", |pid| {
        let mut out = [0usize; 2];
        let room = out.as_mut_ptr() as usize;
        call(libc::SYS_get_robust_list, &[pid, room, room + 8])
    }),
    ("kcmp", |pid| call(libc::SYS_kcmp, &[pid, pid, 1, 0, 0])),
    ("capget", |pid| {
        let header = [0x2008_0522, pid as u32];
        let mut data = [0u32; 6];
        call(
            libc::SYS_capget,
            &[header.as_ptr() as usize, data.as_mut_ptr() as usize],
        )
    }),
    ("move_pages", |pid| {
        call(libc::SYS_move_pages, &[pid, 0, 0, 0, 0, 0])
    }),
    ("migrate_pages", |pid| {
        let nodes = [1u64];
        let address = nodes.as_ptr() as usize;
        call(libc::SYS_migrate_pages, &[pid, 2, address, address])
    }),
    ("process_vm_readv", |pid| {
        let mut own = 0u64;
        let local = [(&raw mut own) as usize, 8];
        let remote = [(&raw const WORD) as usize, 8];
        let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
        call(libc::SYS_process_vm_readv, &[pid, local, 1, remote, 1, 0])
    }),
    ("perf_event_open", |pid| {
        // struct perf_event_attr: software event, its size, the CPU clock.
        let mut attribute = [0u32; 32];
        attribute[..2].copy_from_slice(&[1, 128]);
        let event = [attribute.as_ptr() as usize, pid, usize::MAX, usize::MAX, 0];
        let event = call(libc::SYS_perf_event_open, &event)?;
        call(libc::SYS_close, &[event as usize])
    }),
    ("F_SETOWN", |pid| {
        let fds = nix::unistd::pipe()?;
        let fd = fds.0.as_raw_fd() as usize;
        call(libc::SYS_fcntl, &[fd, libc::F_SETOWN as usize, pid])
    }),
    ("SIOCSPGRP", |pid| {
        const SIOCSPGRP: usize = 0x8902;
        const SIOCGPGRP: usize = 0x8904;
        let socket = own(call(libc::SYS_socket, &[1, 1, 0])? as i32);
        let fd = socket.as_raw_fd() as usize;
        let number = pid as i32;
        let argument = (&raw const number) as usize;
        call(libc::SYS_ioctl, &[fd, SIOCSPGRP, argument])?;
        let mut found = 0i32;
        let argument = (&raw mut found) as usize;
        call(libc::SYS_ioctl, &[fd, SIOCGPGRP, argument])?;
        // It is told as it was given.
        if syscalls::read_i32(&raw const found) == number {
            Ok(0)
        } else {
            Err(Errno::EIO)
        }
    }),
    ("ioctl GET", |pid| {
        crate::fixture::get(pid as i32).map(|_| 0)
    }),
    ("ioctl GET_ADDRESSES", |pid| {
        crate::fixture::addresses_of(pid as i32).map(|_| 0)
    }),
];

const PRIORITIES: &[Way] = &[
    ("getpriority", |pid| {
        call(libc::SYS_getpriority, &[PRIO_PROCESS, pid])
    }),
    ("setpriority", |pid| {
        call(libc::SYS_setpriority, &[PRIO_PROCESS, pid, 5])
    }),
    ("ioprio_get", |pid| {
        call(libc::SYS_ioprio_get, &[IOPRIO_WHO_PROCESS, pid])
    }),
    ("ioprio_set", |pid| {
        call(libc::SYS_ioprio_set, &[IOPRIO_WHO_PROCESS, pid, IOPRIO])
    }),
    ("sched_getscheduler", |pid| {
        call(libc::SYS_sched_getscheduler, &[pid])
    }),
    ("sched_setscheduler", |pid| {
        let priority = 0i32;
        let priority = (&raw const priority) as usize;
        call(libc::SYS_sched_setscheduler, &[pid, SCHED_BATCH, priority])
    }),
    ("sched_getparam", |pid| {
        let mut priority = 0i32;
        call(
            libc::SYS_sched_getparam,
            &[pid, (&raw mut priority) as usize],
        )
    }),
    ("sched_setparam", |pid| {
        let priority = 0i32;
        call(
            libc::SYS_sched_setparam,
            &[pid, (&raw const priority) as usize],
        )
    }),
    ("sched_rr_get_interval", |pid| {
        let mut time = [0u64; 2];
        call(
            libc::SYS_sched_rr_get_interval,
            &[pid, time.as_mut_ptr() as usize],
        )
    }),
    ("sched_getattr", |pid| {
        let mut attributes = [0u64; 8];
        call(
            libc::SYS_sched_getattr,
            &[pid, attributes.as_mut_ptr() as usize, 64, 0],
        )
    }),
    ("sched_getaffinity", |pid| {
        let mut mask = [0u64; 16];
        call(
            libc::SYS_sched_getaffinity,
            &[pid, 128, mask.as_mut_ptr() as usize],
        )
    }),
    ("sched_setaffinity", |pid| {
        let mask = [1u64; 1];
        call(
            libc::SYS_sched_setaffinity,
            &[pid, 8, mask.as_ptr() as usize],
        )
    }),
];

/// Each way, by a child: its parent is there by its own number, and not by the real one if that is another. All that
/// is wrong is told.
fn try_ways(who: Who, ways: &[Way]) -> Outcome {
    in_child(|| {
        let mut wrong = Vec::new();
        for (name, attempt) in ways {
            let got = attempt(who.number as usize).map(drop);
            wrong.extend(equal(name, got, Ok(())).err());
            if who.is_init() {
                let got = attempt(who.real as usize).map(drop);
                let what = format!("{name}, the real number");
                wrong.extend(equal(&what, got, Err(Errno::ESRCH)).err());
            }
        }
        equal("wrong", wrong, vec![])
    })
}

fn look_ups() -> Outcome {
    as_both(|who| {
        try_ways(who, WAYS)?;
        // A child's number is its own in both.
        let child = sleeper()?;
        for (name, attempt) in WAYS {
            let got = attempt(child.as_raw() as usize).map(drop);
            equal(&format!("{name}, a child"), got, Ok(()))?;
        }
        super::end(child)
    })
}

fn priorities() -> Outcome {
    as_both(|who| try_ways(who, PRIORITIES))
}

fn pidfd_open() -> Outcome {
    as_both(|who| {
        try_ways(
            who,
            &[("pidfd_open", |pid| {
                let fd = call(libc::SYS_pidfd_open, &[pid, 0])?;
                call(libc::SYS_close, &[fd as usize])
            })],
        )
    })
}

/// The lines of a pidfd's fdinfo.
fn fdinfo(fd: &impl AsRawFd) -> Result<String, String> {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).map_err(words)
}

/// The process, its group of threads and its parent that a pidfd tells.
fn info_of(fd: &OwnedFd) -> Result<[u32; 3], Errno> {
    const PIDFD_GET_INFO: u32 = 0xc040_ff0b;
    // struct pidfd_info: mask, cgroup, pid, tgid, ppid.
    let mut info = [0u32; 16];
    info[0] = 1;
    syscalls::ioctl(fd, PIDFD_GET_INFO, &mut info)?;
    Ok([info[4], info[5], info[6]])
}

fn pidfds() -> Outcome {
    let outside = nix::unistd::getpid().as_raw() as u32;
    as_both(|who| {
        in_child(|| {
            let fd = call(libc::SYS_pidfd_open, &[who.number as usize, 0]);
            let fd = own(named("pidfd_open", fd)? as i32);
            let told = fdinfo(&fd)?;
            for line in ["Pid", "NSpid"] {
                let line = format!("{line}:\t{}\n", who.number);
                ensure(&told, told.contains(&line))?;
            }
            let send = [fd.as_raw_fd() as usize, 0, 0, 0];
            let sent = call(libc::SYS_pidfd_send_signal, &send);
            equal("pidfd_send_signal", sent, Ok(0))?;
            let number = who.number as u32;
            let parent = if who.is_init() { 0 } else { outside };
            equal("its info", info_of(&fd), Ok([number, number, parent]))?;
            let own_fd = call(
                libc::SYS_pidfd_open,
                &[nix::unistd::getpid().as_raw() as usize, 0],
            );
            let own_fd = own(named("pidfd_open, itself", own_fd)? as i32);
            let own = nix::unistd::getpid().as_raw() as u32;
            equal("its own info", info_of(&own_fd), Ok([own, own, number]))
        })
    })
}

/// One that was opened outside tells the same inside as one that was opened there.
fn pidfds_from_outside() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let (init, fd) = Sitter::after(
            CONTEXT_NEW,
            flags,
            |pid| crate::pidfd::open(pid).map_err(words),
            || Ok(()),
        )?;
        let number = if flags == 0 { init.pid } else { 1 };
        crate::fixture::inside(init.context, || {
            let told = fdinfo(&fd)?;
            ensure(&told, told.contains(&format!("Pid:\t{number}\n")))?;
            let info = info_of(&fd).map(|info| info[0]);
            equal("its info", info, Ok(number as u32))
        })?;
        super::as_spectator(|| {
            let told = fdinfo(&fd)?;
            ensure(&told, told.contains(&format!("Pid:\t{}\n", init.pid)))
        })?;
    }
    Ok(())
}

/// Clocks and timers, which say EINVAL of who is not there.
fn clocks() -> Outcome {
    as_both(|who| {
        let time_of = |pid: i32| {
            // A clock of a process: its number, inverted, in the upper bits.
            let clock = ((!pid << 3) | 2) as usize;
            let mut time = [0u64; 2];
            let room = time.as_mut_ptr() as usize;
            call(libc::SYS_clock_gettime, &[clock, room]).map(drop)
        };
        let timer_for = |thread: i32| {
            // struct sigevent: the value, the signal, SIGEV_THREAD_ID, the thread.
            let mut event = [0i32; 16];
            event[2..5].copy_from_slice(&[libc::SIGUSR1, 4, thread]);
            let mut timer = 0i32;
            let (event, room) = (event.as_ptr() as usize, (&raw mut timer) as usize);
            let monotonic = libc::CLOCK_MONOTONIC as usize;
            call(libc::SYS_timer_create, &[monotonic, event, room]).map(drop)
        };
        equal("a timer for its thread", timer_for(who.number), Ok(()))?;
        equal("its clock", time_of(who.number), Ok(()))?;
        in_child(|| equal("for a child", time_of(who.number), Ok(())))?;
        if who.is_init() {
            let nobody = Err(Errno::EINVAL);
            equal("a timer, the real number", timer_for(who.real), nobody)?;
            equal("the clock of the real number", time_of(who.real), nobody)?;
        }
        Ok(())
    })
}

/// What is asked for process 1 happens to this very process.
fn effects() -> Outcome {
    as_both(|who| {
        in_child(|| {
            let pid = who.number as usize;
            let limit = [64u64, 64];
            let limit = [pid, libc::RLIMIT_CORE as usize, limit.as_ptr() as usize, 0];
            named("prlimit64", call(libc::SYS_prlimit64, &limit))?;
            for (name, attempt) in PRIORITIES {
                named(name, attempt(pid))?;
            }
            Ok(())
        })?;
        let mut limit = [0u64; 2];
        let address = limit.as_mut_ptr() as usize;
        let arguments = [0, libc::RLIMIT_CORE as usize, 0, address];
        call(libc::SYS_prlimit64, &arguments).map_err(words)?;
        equal("the limit", limit, [64, 64])?;
        let nice = call(libc::SYS_getpriority, &[PRIO_PROCESS, 0]);
        equal("the priority", nice, Ok(20 - 5))?;
        let ioprio = call(libc::SYS_ioprio_get, &[IOPRIO_WHO_PROCESS, 0]);
        equal("the priority of input", ioprio, Ok(IOPRIO as i64))?;
        let policy = call(libc::SYS_sched_getscheduler, &[0]);
        equal("the policy", policy, Ok(SCHED_BATCH as i64))?;
        let mut mask = [0u64; 16];
        let room = mask.as_mut_ptr() as usize;
        named(
            "its processors",
            call(libc::SYS_sched_getaffinity, &[0, 128, room]),
        )?;
        equal("its processors", mask[0], 1)
    })
}
