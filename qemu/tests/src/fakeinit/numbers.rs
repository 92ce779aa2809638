// SPDX-License-Identifier: GPL-2.0

//! Which number process 1 has, and who has which number for it.

use super::{
    as_both, as_init, as_spectator, expect_success, in_child, named, need_32_bits, sleeper, spawn,
    tell, told,
};
use crate::{
    fixture::{child, ensure, enter, equal, get, signal, words, Outcome, Sitter},
    syscalls::{self, own},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sys::{
        signal::Signal,
        wait::{waitid, waitpid, Id, WaitPidFlag, WaitStatus},
    },
    unistd::{getpid, getppid, gettid, pipe, Pid},
};
use std::{fs, sync::mpsc::channel, thread};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::own_number", 60, own_number),
    test("fakeinit::numbers_of_children", 60, children),
    test("fakeinit::numbers_of_threads", 60, threads),
    test("fakeinit::exec_by_a_thread", 60, exec_by_thread),
    test("fakeinit::numbers_seen_from_outside", 60, seen),
    test("fakeinit::numbers_from_wait", 60, wait),
    test("fakeinit::numbers_from_clone", 60, from_clone),
    test("fakeinit::numbers_for_32_bits", 60, for_32_bits),
    test("fakeinit::core_names", 120, core_names),
];

const ONE: Pid = Pid::from_raw(1);
const NOBODY: Pid = Pid::from_raw(0);

fn own_number() -> Outcome {
    let outside = getpid();
    as_both(|who| {
        ensure("not 1 outside", who.real > 1)?;
        equal("getpid", getpid(), who.pid())?;
        equal("gettid", gettid(), who.pid())?;
        equal("set_tid_address", call(libc::SYS_set_tid_address, &[0]), {
            Ok(i64::from(who.number))
        })?;
        // Its parent is not there for process 1; others are told.
        let parent = if who.is_init() { NOBODY } else { outside };
        equal("getppid", getppid(), parent)?;
        let context = get(0).map(|info| info.context);
        equal(
            "a context",
            context.map(|number| number > CONTEXT_MIN),
            Ok(true),
        )
    })
}

fn children() -> Outcome {
    as_both(|who| {
        let (reader, writer) = pipe().map_err(words)?;
        let child = spawn(|| {
            let told = tell(&writer, getpid().as_raw()).and_then(|()| {
                tell(&writer, gettid().as_raw())?;
                tell(&writer, getppid().as_raw())
            });
            i32::from(told.is_err())
        })?;
        expect_success(child)?;
        let numbers = [told(&reader)?, told(&reader)?, told(&reader)?];
        let number = child.as_raw();
        equal(
            "what it is told",
            numbers,
            [number, number, who.pid().as_raw()],
        )?;
        ensure("nobody has the real number", number != who.real)
    })
}

fn threads() -> Outcome {
    let outside = getpid();
    as_both(|who| {
        let (send, receive) = channel();
        let (go, wait) = channel::<()>();
        let thread = thread::spawn(move || {
            let told = (getpid(), gettid(), getppid());
            let child = spawn(|| i32::from(getppid() != who.pid())).and_then(expect_success);
            let _ = send.send((told, child));
            let _ = wait.recv();
        });
        let ((pid, tid, ppid), child) = receive.recv().map_err(words)?;
        child.map_err(|text| format!("forked by a thread: {text}"))?;
        equal("a thread's process", pid, who.pid())?;
        equal(
            "its parent",
            ppid,
            if who.is_init() { NOBODY } else { outside },
        )?;
        ensure(
            "a thread's number is its own",
            tid != who.pid() && tid.as_raw() > 1,
        )?;
        let tgkill = |group: Pid, thread: Pid| {
            let numbers = [group.as_raw() as usize, thread.as_raw() as usize, 0];
            call(libc::SYS_tgkill, &numbers).map(drop)
        };
        let nobody = Err(Errno::ESRCH);
        equal("its thread", tgkill(who.pid(), tid), Ok(()))?;
        equal("its first thread", tgkill(who.pid(), who.pid()), Ok(()))?;
        equal("the thread's group", tgkill(tid, tid), nobody)?;
        if who.is_init() {
            let real = Pid::from_raw(who.real);
            equal("by the real number", tgkill(real, tid), nobody)?;
            equal("by both", tgkill(real, real), nobody)?;
            equal("the first by it", tgkill(ONE, real), nobody)?;
        }
        let status = fs::read_to_string(format!("/proc/{}/task/{tid}/status", who.number));
        let status = status.map_err(words)?;
        for line in [format!("\nTgid:\t{}\n", who.number), {
            format!("\nPid:\t{tid}\n")
        }] {
            ensure(&status, status.contains(&line))?;
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/task", who.number)).map_err(words)? {
            names.push(entry.map_err(words)?.file_name().into_string());
        }
        let expected = vec![Ok(who.number.to_string()), Ok(tid.to_string())];
        equal("the threads", names, expected)?;
        go.send(()).map_err(words)?;
        thread.join().map_err(|_| "the thread died")?;
        Ok(())
    })
}

/// Another program that a thread becomes is the same process.
fn exec_by_thread() -> Outcome {
    as_both(|who| {
        // The last command is not the shell's last: it has a process of its own.
        let test = format!(
            "test $$ = {0} && read n rest </proc/self/stat && test $n = $$ && \
             sh -c 'test $PPID = {0}' && exit 0; exit 1",
            who.number
        );
        let test = std::ffi::CString::new(test).map_err(words)?;
        let thread = thread::spawn(move || {
            let words = [c"sh", c"-c", test.as_c_str()];
            nix::unistd::execv(c"/bin/sh", &words).map(drop)
        });
        let _ = thread.join();
        Err("not executed".to_string())
    })
}

/// Outside there is no number 1 but the machine's: who sees all sees the real ones.
fn seen() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let (reader, writer) = pipe().map_err(words)?;
        let init = Sitter::new(CONTEXT_NEW, flags, || {
            let (send, receive) = channel();
            thread::spawn(move || {
                let _ = send.send(gettid().as_raw());
                loop {
                    thread::park();
                }
            });
            tell(&writer, receive.recv().map_err(words)?)?;
            tell(&writer, sleeper()?.as_raw())
        })?;
        let (thread, sleeper) = (told(&reader)?, told(&reader)?);
        for (what, pid) in [("process 1", init.pid), ("its child", sleeper)] {
            equal(what, signal(init.context, pid, 0), Ok(1))?;
        }
        as_spectator(|| {
            let line = |pid: i32, tid: i32, name: &str| {
                let status = fs::read_to_string(format!("/proc/{pid}/task/{tid}/status"));
                let status = status.map_err(words)?;
                let mut lines = status.lines();
                let found = lines.find_map(|line| line.strip_prefix(&format!("{name}:\t")));
                found
                    .and_then(|text| text.parse::<i32>().ok())
                    .ok_or(status.clone())
            };
            let real = init.pid;
            equal("its thread", line(real, thread, "Pid")?, thread)?;
            equal("the thread's process", line(real, thread, "Tgid")?, real)?;
            equal("its own", line(real, real, "Pid")?, real)?;
            equal("the child's parent", line(sleeper, sleeper, "PPid")?, real)?;
            equal("the child's own", line(sleeper, sleeper, "NSpid")?, sleeper)
        })?;
        // The sleeper of the control does not end with it.
        signal(init.context, sleeper, libc::SIGKILL).map_err(words)?;
    }
    Ok(())
}

fn wait() -> Outcome {
    as_both(|who| {
        let exited = |pid: Pid, code: i32| Ok(WaitStatus::Exited(pid, code));
        let child = spawn(|| 3)?;
        let ended = waitpid(Pid::from_raw(-1), None);
        equal("waitpid of any", ended, exited(child, 3))?;
        let child = spawn(|| 4)?;
        let kind = WaitPidFlag::WEXITED;
        // By si_pid.
        equal("waitid", waitid(Id::Pid(child), kind), exited(child, 4))?;
        let child = spawn(|| 5)?;
        equal("waitid of any", waitid(Id::All, kind), exited(child, 5))?;
        let child = spawn(|| 6)?;
        let fd = call(libc::SYS_pidfd_open, &[child.as_raw() as usize, 0]);
        let fd = own(named("pidfd_open", fd)? as i32);
        equal(
            "waitid of a descriptor",
            waitid(Id::PIDFd(std::os::fd::AsFd::as_fd(&fd)), kind),
            exited(child, 6),
        )?;
        let nobody = Err(Errno::ECHILD);
        equal("of none", waitpid(Pid::from_raw(-1), None), nobody)?;
        equal("of itself", waitpid(who.pid(), None), nobody)?;
        let real = Pid::from_raw(who.real);
        equal("of the real number", waitpid(real, None), nobody)?;
        in_child(|| {
            // It is no child of its children, under either number.
            equal("by a child", waitpid(who.pid(), None), nobody)?;
            equal(
                "of the real number, by a child",
                waitpid(real, None),
                nobody,
            )
        })
    })
}

/// clone() tells the child's number in three places, of a thread's as of a process's.
fn from_clone() -> Outcome {
    as_both(|_| {
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
                let right = syscalls::read_i32(&raw const own) == gettid().as_raw();
                syscalls::exit_now(i32::from(!right))
            }
            pid => {
                let told = syscalls::read_i32(&raw const told);
                equal("parent_tid", i64::from(told), pid)?;
                expect_success(Pid::from_raw(pid as i32))
            }
        }
    })
}

const GETPID_32: u32 = 20;
const KILL_32: u32 = 37;
const GETPPID_32: u32 = 64;
const GETTID_32: u32 = 224;

fn for_32_bits() -> Outcome {
    need_32_bits()?;
    as_both(|who| {
        let ask = |number: u32| syscalls::syscall_32(number, [0; 4]);
        equal("getpid", ask(GETPID_32), Ok(who.number))?;
        equal("gettid", ask(GETTID_32), Ok(who.number))?;
        in_child(|| {
            equal("getppid", ask(GETPPID_32), Ok(who.number))?;
            let kill = |pid: i32| syscalls::syscall_32(KILL_32, [pid as u32, 0, 0, 0]);
            equal("kill", kill(who.number), Ok(0))?;
            let real = if who.is_init() {
                Err(Errno::ESRCH)
            } else {
                Ok(0)
            };
            equal("the real number", kill(who.real), real)
        })
    })
}

/// `%p` is the number inside, `%P` the machine's.
fn core_names() -> Outcome {
    const PATTERN: &str = "/proc/sys/kernel/core_pattern";
    let before = fs::read_to_string(PATTERN).map_err(words)?;
    fs::write(PATTERN, "/tmp/core.%p.%P").map_err(words)?;
    let crash = |flags: u32| {
        let pid = spawn(|| {
            let unlimited = nix::sys::resource::RLIM_INFINITY;
            let core = nix::sys::resource::Resource::RLIMIT_CORE;
            let _ = nix::sys::resource::setrlimit(core, unlimited, unlimited);
            let _ = enter(CONTEXT_NEW, flags, 0);
            syscalls::crash()
        })?;
        let ended = waitpid(pid, None).map_err(words)?;
        let expected = WaitStatus::Signaled(pid, Signal::SIGSEGV, true);
        equal("the crash", ended, expected)?;
        let number = if flags == 0 { pid } else { ONE };
        let file = format!("/tmp/core.{number}.{pid}");
        fs::remove_file(&file).map_err(|error| format!("{file}: {error}"))
    };
    let outcome = child(|| {
        crash(FLAG_FAKEINIT)?;
        crash(0).map(|()| String::new())
    });
    fs::write(PATTERN, before.trim()).map_err(words)?;
    outcome.map(drop)?;
    // A child of process 1 has its own number for both.
    as_init(|_| sleeper().and_then(super::end))
}
