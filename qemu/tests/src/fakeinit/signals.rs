// SPDX-License-Identifier: GPL-2.0

//! Which signals from inside reach process 1.

use super::{as_anybody, as_both, as_init, end, in_child, named, sleeper, spawn};
use crate::{
    fixture::{ensure, equal, words, Outcome},
    syscalls::{self, own},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sys::{
        signal::{SigSet, Signal},
        wait::{waitpid, WaitStatus},
    },
    unistd::{getpid, gettid, Pid},
};
use std::{
    os::fd::AsRawFd,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
    thread,
};

pub const TESTS: &[Test] = &[
    test("fakeinit::signals_without_a_handler", 120, without_handler),
    test("fakeinit::signals_by_descriptor", 60, by_descriptor),
    test("fakeinit::signals_to_a_thread", 60, to_a_thread),
    test("fakeinit::signals_while_traced", 60, while_traced),
    test("fakeinit::signals_of_its_own", 60, of_its_own),
    test("fakeinit::signals_with_a_handler", 60, with_handler),
    test("fakeinit::signals_with_a_handler_once", 60, handler_once),
    test("fakeinit::signals_of_the_kernel", 60, of_the_kernel),
    test("fakeinit::a_crash", 60, crash),
];

const SIGNALS: std::ops::RangeInclusive<i32> = 1..=64;

fn send(pid: i32, number: i32) -> Result<(), Errno> {
    call(libc::SYS_kill, &[pid as usize, number as usize]).map(drop)
}

/// Takes all handlers away that the language's runtime has set.
fn all_default() {
    for number in SIGNALS {
        let _ = syscalls::set_handler(number, libc::SIG_DFL);
    }
}

/// What a signal does to who has no handler for it.
fn default_end(number: i32) -> Result<Option<bool>, String> {
    let child = sleeper()?;
    named("sent", send(child.as_raw(), number))?;
    // What does nothing does nothing: it is still there for the next one.
    let does_nothing = [
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGURG,
        libc::SIGWINCH,
        // Who has no shell to go on by is not stopped by these.
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
    ];
    if does_nothing.contains(&number) {
        end(child)?;
        return Ok(None);
    }
    // Real-time signals have no name in the wrapper of this call.
    let mut status = 0i32;
    let room = (&raw mut status) as usize;
    let wait = [child.as_raw() as usize, room, libc::WUNTRACED as usize, 0];
    named("wait4", call(libc::SYS_wait4, &wait))?;
    let status = syscalls::read_i32(&raw const status);
    if libc::WIFSTOPPED(status) {
        equal("stopped by", libc::WSTOPSIG(status), number)?;
        end(child)?;
        return Ok(Some(true));
    }
    ensure("ended by a signal", libc::WIFSIGNALED(status))?;
    equal("ended by", libc::WTERMSIG(status), number)?;
    Ok(Some(false))
}

/// Nothing that comes from inside ends or stops process 1; anybody else it does.
fn without_handler() -> Outcome {
    as_init(|_| {
        all_default();
        in_child(|| {
            for number in SIGNALS {
                equal(&format!("kill, {number}"), send(1, number), Ok(()))?;
                let number = number as usize;
                let sent = call(libc::SYS_tgkill, &[1, 1, number]).map(drop);
                equal(&format!("tgkill, {number}"), sent, Ok(()))?;
                let sent = call(libc::SYS_tkill, &[1, number]).map(drop);
                equal(&format!("tkill, {number}"), sent, Ok(()))?;
                let mut info = [0i32; 32];
                // SI_QUEUE
                info[2] = -1;
                let info = info.as_ptr() as usize;
                let sent = call(libc::SYS_rt_sigqueueinfo, &[1, number, info]).map(drop);
                equal(&format!("rt_sigqueueinfo, {number}"), sent, Ok(()))?;
            }
            Ok(())
        })?;
        // It would be stopped or dead by now, as a child is.
        for number in [libc::SIGKILL, libc::SIGSTOP, libc::SIGTERM] {
            ensure("a child", default_end(number)?.is_some())?;
        }
        equal("still process 1", getpid(), Pid::from_raw(1))
    })?;
    // The control: all of the others, the first of a context included, end or stop.
    as_anybody(|_| {
        all_default();
        for number in SIGNALS {
            let stopped = default_end(number)?;
            let expected = number == libc::SIGSTOP;
            ensure(
                &format!("{number}"),
                stopped.is_none_or(|stopped| stopped == expected),
            )?;
        }
        Ok(())
    })?;
    let first = super::as_anybody(|_| {
        let own = getpid().as_raw();
        in_child(|| named("kill", send(own, libc::SIGKILL)))
    });
    ensure(
        "the first one of a context without",
        first.is_err_and(|text| text.contains("SIGKILL")),
    )
}

fn by_descriptor() -> Outcome {
    as_init(|_| {
        all_default();
        in_child(|| {
            let fd = named("pidfd_open", call(libc::SYS_pidfd_open, &[1, 0]))?;
            let fd = own(fd as i32);
            for number in SIGNALS {
                let arguments = [fd.as_raw_fd() as usize, number as usize, 0, 0];
                let sent = call(libc::SYS_pidfd_send_signal, &arguments);
                equal(&format!("{number}"), sent, Ok(0))?;
            }
            Ok(())
        })
    })
}

/// To one thread of several.
fn to_a_thread() -> Outcome {
    as_init(|_| {
        all_default();
        let (send, receive) = channel();
        let (go, wait) = channel::<()>();
        let thread = thread::spawn(move || {
            let _ = send.send(gettid().as_raw() as usize);
            let _ = wait.recv();
        });
        let tid = receive.recv().map_err(words)?;
        in_child(|| {
            for number in SIGNALS {
                let number = number as usize;
                let sent = call(libc::SYS_tgkill, &[1, tid, number]);
                equal("tgkill", sent, Ok(0))?;
                let sent = call(libc::SYS_tkill, &[tid, number]);
                equal("tkill", sent, Ok(0))?;
            }
            Ok(())
        })?;
        go.send(()).map_err(words)?;
        thread.join().map_err(|_| "the thread died".to_string())
    })
}

fn while_traced() -> Outcome {
    as_both(|who| {
        all_default();
        in_child(|| {
            let one = who.pid();
            named("attach", nix::sys::ptrace::attach(one))?;
            let stopped = Ok(WaitStatus::Stopped(one, Signal::SIGSTOP));
            equal("stopped", waitpid(one, None), stopped)?;
            named("sent", send(who.number, libc::SIGTERM))?;
            named("go on", nix::sys::ptrace::cont(one, None))?;
            // The tracer is told, and lets it through or not.
            let told = Ok(WaitStatus::Stopped(one, Signal::SIGTERM));
            equal("told", waitpid(one, None), told)?;
            let through = who.is_init().then_some(Signal::SIGTERM);
            named("let through", nix::sys::ptrace::detach(one, through))
        })?;
        equal("still there", getpid(), who.pid())
    })
}

/// What it sends to itself, and what the kernel sends for what it does.
fn of_its_own() -> Outcome {
    as_init(|_| {
        all_default();
        for number in SIGNALS {
            named("to itself", send(1, number))?;
            let thread = call(libc::SYS_tkill, &[1, number as usize]);
            named("to its thread", thread)?;
        }
        equal("still process 1", getpid(), Pid::from_raw(1))
    })
}

static CAUGHT: AtomicU64 = AtomicU64::new(0);

extern "C" fn catch(number: i32) {
    CAUGHT.fetch_or(1 << (number - 1), Ordering::SeqCst);
}

/// All that a program may have a handler for; two belong to the C library.
fn catchable() -> impl Iterator<Item = i32> {
    SIGNALS.filter(|number| ![libc::SIGKILL, libc::SIGSTOP, 32, 33, 34].contains(number))
}

fn with_handler() -> Outcome {
    as_both(|who| {
        CAUGHT.store(0, Ordering::SeqCst);
        let handler = catch as extern "C" fn(i32) as libc::sighandler_t;
        for number in catchable() {
            let set = syscalls::set_handler(number, handler);
            named(&format!("handler of {number}"), set)?;
        }
        // One after the other: those that stop and those that go on cancel each other while they wait.
        for number in catchable() {
            in_child(|| named("sent", send(who.number, number)))?;
        }
        let all: u64 = catchable().map(|number| 1 << (number - 1)).sum();
        let caught = CAUGHT.load(Ordering::SeqCst);
        equal("caught", format!("{caught:#x}"), format!("{all:#x}"))
    })
}

/// One that has a handler only for a while, and one that waits for a signal that it blocks.
fn handler_once() -> Outcome {
    as_init(|_| {
        all_default();
        CAUGHT.store(0, Ordering::SeqCst);
        let handler = catch as extern "C" fn(i32) as libc::sighandler_t;
        for (set, caught) in [(handler, true), (libc::SIG_DFL, false), (handler, true)] {
            named("set", syscalls::set_handler(libc::SIGTERM, set))?;
            CAUGHT.store(0, Ordering::SeqCst);
            in_child(|| named("sent", send(1, libc::SIGTERM)))?;
            equal("caught", CAUGHT.load(Ordering::SeqCst) != 0, caught)?;
        }
        named("set", syscalls::set_handler(libc::SIGTERM, libc::SIG_DFL))?;
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block().map_err(words)?;
        in_child(|| named("sent", send(1, libc::SIGTERM)))?;
        equal("waited for", set.wait(), Ok(Signal::SIGTERM))?;
        // Let through, it does nothing.
        in_child(|| named("sent", send(1, libc::SIGINT)))?;
        set.thread_unblock().map_err(words)?;
        equal("still process 1", getpid(), Pid::from_raw(1))
    })
}

/// A pipe without a reader, a timer, a limit.
fn of_the_kernel() -> Outcome {
    let tries = |_: i32| {
        all_default();
        let (reader, writer) = nix::unistd::pipe().map_err(words)?;
        drop(reader);
        let written = nix::unistd::write(&writer, b"x");
        equal("a pipe without a reader", written, Err(Errno::EPIPE))
    };
    let alarm = |_: i32| {
        all_default();
        // Repeated, in microseconds: the sleep is longer than many of them.
        let time = [0i64, 1000, 0, 1000];
        let set = [libc::ITIMER_REAL as usize, time.as_ptr() as usize, 0];
        named("a timer", call(libc::SYS_setitimer, &set))?;
        thread::sleep(std::time::Duration::from_millis(50));
        Ok(())
    };
    as_init(tries)?;
    as_init(alarm)?;
    for (run, signal) in [
        (&tries as &dyn Fn(i32) -> Outcome, "SIGPIPE"),
        (&alarm, "SIGALRM"),
    ] {
        let outcome = as_anybody(run);
        let ended = outcome.as_ref().is_err_and(|text| text.contains(signal));
        ensure(&format!("the control, {signal}: {outcome:?}"), ended)?;
    }
    Ok(())
}

/// A fault of its own ends it: it cannot go on.
fn crash() -> Outcome {
    for handlers in [true, false] {
        for flags in [vserver_uapi::FLAG_FAKEINIT, 0] {
            let init = spawn(|| {
                if !handlers {
                    all_default();
                }
                let context = vserver_uapi::CONTEXT_NEW;
                let _ = crate::fixture::enter(context, flags, 0);
                syscalls::crash()
            })?;
            match waitpid(init, None).map_err(words)? {
                WaitStatus::Signaled(_, Signal::SIGSEGV, _) => {}
                other => return Err(format!("{other:?}")),
            }
        }
    }
    crate::fixture::until_empty()
}
