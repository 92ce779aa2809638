// SPDX-License-Identifier: GPL-2.0

//! Which number process 1 has, and who has which number for it.

use super::{as_init, end, expect_success, in_child, sleeper, spawn};
use crate::{
    fixture::{child, ensure, enter, equal, words, Outcome},
    syscalls::{self, own, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    sys::{
        signal::{kill, Signal},
        wait::{waitid, waitpid, Id, WaitPidFlag, WaitStatus},
    },
    unistd::{getpgid, getpid, getppid, getsid, gettid, Pid},
};
use std::{os::fd::AsRawFd, sync::mpsc::channel, thread};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::own_number", 60, own_number),
    test("fakeinit::no_number_without_it", 60, without),
    test("fakeinit::children", 60, children),
    test("fakeinit::threads", 60, threads),
    test("fakeinit::wait", 60, wait),
    test("fakeinit::look_ups", 60, look_ups),
    test("fakeinit::pidfds", 60, pidfds),
    test("fakeinit::scheduling", 60, scheduling),
    test("fakeinit::new_process_numbers", 60, new_process_numbers),
    test("fakeinit::core_names", 120, core_names),
];

const ONE: Pid = Pid::from_raw(1);

fn call(number: i64, arguments: &[usize]) -> Result<i64, Errno> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    syscall(number, all)
}

fn own_number() -> Outcome {
    as_init(|real| {
        ensure("not 1 outside", real > 1)?;
        equal("getpid", getpid(), ONE)?;
        equal("gettid", gettid(), ONE)?;
        // Its parent is not there for it.
        equal("getppid", getppid(), Pid::from_raw(0))?;
        equal(
            "in a namespace's stead",
            get_own_context()? >= CONTEXT_DYNAMIC_MIN,
            true,
        )
    })
}

fn get_own_context() -> Result<i32, String> {
    crate::fixture::get(0)
        .map(|info| info.context)
        .map_err(words)
}

/// The control: in any other context all have the machine's numbers.
fn without() -> Outcome {
    child(|| {
        let real = getpid();
        let parent = getppid();
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        equal("getpid", getpid(), real)?;
        equal("getppid", getppid(), parent)?;
        Ok(String::new())
    })
    .map(drop)
}

fn children() -> Outcome {
    as_init(|real| {
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        let child = spawn(|| {
            let right = getppid() == ONE && getpid() != ONE;
            let own = getpid().as_raw().to_ne_bytes();
            let _ = nix::unistd::write(&writer, &own);
            i32::from(!right)
        })?;
        expect_success(child)?;
        let mut own = [0; 4];
        nix::unistd::read(&reader, &mut own).map_err(words)?;
        equal(
            "what the child calls itself",
            i32::from_ne_bytes(own),
            child.as_raw(),
        )?;
        ensure("nobody has the real number", child.as_raw() != real)
    })
}

fn threads() -> Outcome {
    as_init(|_| {
        let (send, receive) = channel();
        let (go, wait) = channel::<()>();
        let thread = thread::spawn(move || {
            let told = (getpid(), gettid(), getppid());
            let child = spawn(|| i32::from(getppid() != ONE)).and_then(expect_success);
            let _ = send.send((told, child));
            let _ = wait.recv();
        });
        let ((pid, tid, ppid), child) = receive.recv().map_err(words)?;
        child?;
        equal("a thread's process", pid, ONE)?;
        equal("its parent", ppid, Pid::from_raw(0))?;
        ensure("a thread's number is its own", tid != ONE)?;
        let tgkill = |group: i32, thread: i32| {
            call(libc::SYS_tgkill, &[group as usize, thread as usize, 0]).map(drop)
        };
        equal("its thread", tgkill(1, tid.as_raw()), Ok(()))?;
        equal("its first thread", tgkill(1, 1), Ok(()))?;
        equal(
            "the thread's group",
            tgkill(tid.as_raw(), tid.as_raw()),
            Err(Errno::ESRCH),
        )?;
        let status = std::fs::read_to_string(format!("/proc/1/task/{tid}/status"));
        let status = status.map_err(words)?;
        ensure("its status", status.contains("\nTgid:\t1\n"))?;
        go.send(()).map_err(words)?;
        thread.join().map_err(|_| "the thread died")?;
        Ok(())
    })?;
    // Another program that a thread becomes is the same process.
    as_init(|_| {
        let thread = thread::spawn(|| {
            let words = [c"sh", c"-c", c"test $$ = 1"];
            nix::unistd::execv(c"/bin/sh", &words).map(drop)
        });
        let _ = thread.join();
        Err("not executed".to_string())
    })
}

fn wait() -> Outcome {
    as_init(|real| {
        let child = spawn(|| 3)?;
        equal(
            "waitpid",
            waitpid(Pid::from_raw(-1), None),
            Ok(WaitStatus::Exited(child, 3)),
        )?;
        let child = spawn(|| 4)?;
        equal(
            "waitid",
            waitid(Id::Pid(child), WaitPidFlag::WEXITED),
            Ok(WaitStatus::Exited(child, 4)),
        )?;
        in_child(|| {
            // It is no child of its children, under either number.
            equal("waitpid of 1", waitpid(ONE, None), Err(Errno::ECHILD))?;
            let other = waitpid(Pid::from_raw(real), None);
            equal("waitpid of the real number", other, Err(Errno::ECHILD))
        })
    })
}

fn look_ups() -> Outcome {
    as_init(|real| {
        in_child(|| {
            equal("kill", kill(ONE, None), Ok(()))?;
            equal("getpgid", getpgid(Some(ONE)).is_ok(), true)?;
            equal("getsid", getsid(Some(ONE)).is_ok(), true)?;
            let gone =
                |what: &str, result: Result<i64, Errno>| equal(what, result, Err(Errno::ESRCH));
            let pid = real as usize;
            gone("kill", call(libc::SYS_kill, &[pid, 0]))?;
            gone("tkill", call(libc::SYS_tkill, &[pid, 0]))?;
            gone("tgkill", call(libc::SYS_tgkill, &[pid, pid, 0]))?;
            gone("getpgid", call(libc::SYS_getpgid, &[pid]))?;
            gone("getsid", call(libc::SYS_getsid, &[pid]))?;
            gone("setpgid", call(libc::SYS_setpgid, &[pid, 0]))?;
            gone("pidfd_open", call(libc::SYS_pidfd_open, &[pid, 0]))?;
            gone("get_robust_list", {
                let mut out = [0usize; 2];
                let address = out.as_mut_ptr() as usize;
                call(libc::SYS_get_robust_list, &[pid, address, address + 8])
            })
        })
    })
}

/// The lines of a pidfd's fdinfo.
fn fdinfo(fd: &impl AsRawFd) -> Result<String, String> {
    std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).map_err(words)
}

fn pidfds() -> Outcome {
    as_init(|_| {
        in_child(|| {
            let fd = own(call(libc::SYS_pidfd_open, &[1, 0]).map_err(words)? as i32);
            let told = fdinfo(&fd)?;
            ensure(
                &told,
                told.contains("Pid:\t1\n") && told.contains("NSpid:\t1\n"),
            )?;
            let send = [fd.as_raw_fd() as usize, 0, 0, 0];
            call(libc::SYS_pidfd_send_signal, &send).map_err(words)?;
            // struct pidfd_info: mask, cgroup, pid, tgid, ppid.
            let mut info = [0u32; 16];
            info[0] = 1;
            let command = 0xc000_ff0b_u32 | (64 << 16);
            syscalls::ioctl(&fd, command, &mut info).map_err(words)?;
            equal("pidfd_info", [info[4], info[5], info[6]], [1, 1, 0])
        })
    })
}

fn scheduling() -> Outcome {
    as_init(|real| {
        in_child(|| {
            let limit = [64u64, 64];
            let address = limit.as_ptr() as usize;
            let prlimit = |pid: usize| {
                call(
                    libc::SYS_prlimit64,
                    &[pid, libc::RLIMIT_CORE as usize, address, 0],
                )
            };
            let nice = |pid: usize| call(libc::SYS_setpriority, &[0, pid, 5]);
            let ask = |pid: usize| call(libc::SYS_getpriority, &[0, pid]);
            let policy = |pid: usize| call(libc::SYS_sched_getscheduler, &[pid]);
            let ioprio = |pid: usize| call(libc::SYS_ioprio_get, &[1, pid]);
            let mut mask = [0usize; 16];
            let room = mask.as_mut_ptr() as usize;
            let affinity = |pid: usize| {
                call(
                    libc::SYS_sched_getaffinity,
                    &[pid, size_of_val(&[0usize; 16]), room],
                )
            };
            for pid in [1, real as usize] {
                let there = pid == 1;
                equal("prlimit", prlimit(pid).is_ok(), there)?;
                equal("setpriority", nice(pid).is_ok(), there)?;
                equal("getpriority", ask(pid).ok(), there.then_some(15))?;
                equal("sched_getscheduler", policy(pid).is_ok(), there)?;
                equal("ioprio_get", ioprio(pid).is_ok(), there)?;
                equal("sched_getaffinity", affinity(pid).is_ok(), there)?;
            }
            Ok(())
        })?;
        // It was this very process.
        let mut limit = [0u64; 2];
        let address = limit.as_mut_ptr() as usize;
        let arguments = [0, libc::RLIMIT_CORE as usize, 0, address];
        call(libc::SYS_prlimit64, &arguments).map_err(words)?;
        equal("the limit", limit, [64, 64])?;
        equal("the priority", call(libc::SYS_getpriority, &[0, 0]), Ok(15))
    })
}

/// clone() tells the child's number in three places.
fn new_process_numbers() -> Outcome {
    as_init(|_| {
        let mut told = 0i32;
        let mut own = 0i32;
        let flags = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_SETTID | libc::SIGCHLD;
        let arguments = [
            flags as usize,
            0,
            (&raw mut told) as usize,
            (&raw mut own) as usize,
            0,
        ];
        match call(libc::SYS_clone, &arguments).map_err(words)? {
            0 => {
                let told = (&raw const own).cast::<i32>();
                let told = std::hint::black_box(told);
                let right = syscalls::read_i32(told) == gettid().as_raw();
                syscalls::exit_now(i32::from(!right))
            }
            pid => {
                equal("parent_tid", i64::from(told), pid)?;
                expect_success(Pid::from_raw(pid as i32))
            }
        }
    })
}

/// `%p` is the number inside, `%P` the machine's.
fn core_names() -> Outcome {
    const PATTERN: &str = "/proc/sys/kernel/core_pattern";
    let before = std::fs::read_to_string(PATTERN).map_err(words)?;
    std::fs::write(PATTERN, "/tmp/core.%p.%P").map_err(words)?;
    let outcome = child(|| {
        let real = getpid().as_raw();
        let child = spawn(|| {
            let _ = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0);
            let unlimited = nix::sys::resource::RLIM_INFINITY;
            let core = nix::sys::resource::Resource::RLIMIT_CORE;
            let _ = nix::sys::resource::setrlimit(core, unlimited, unlimited);
            syscalls::crash()
        })?;
        ensure("another one", child.as_raw() != real)?;
        let ended = waitpid(child, None).map_err(words)?;
        equal(
            "the crash",
            ended,
            WaitStatus::Signaled(child, Signal::SIGSEGV, true),
        )?;
        let file = format!("/tmp/core.1.{child}");
        let found = std::fs::remove_file(&file);
        found.map_err(|error| format!("{file}: {error}"))?;
        Ok(String::new())
    });
    std::fs::write(PATTERN, before.trim()).map_err(words)?;
    outcome.map(drop)?;
    as_init(|_| sleeper().and_then(end))
}
