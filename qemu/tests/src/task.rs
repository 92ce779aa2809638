// SPDX-License-Identifier: GPL-2.0

//! Birth and end of tasks: every way to make one keeps the context, every end is counted.

use crate::{
    fixture::{
        child, ensure, enter, equal, get, inside, list, signal, until_empty, words, Outcome, Sitter,
    },
    settle::settle,
    syscalls, test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sys::wait::{waitid, waitpid, Id, WaitPidFlag},
    unistd::{pipe, Pid},
};
use std::{
    fs::File,
    io::Read,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::Duration,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("task::fork_and_exec", 20, fork_and_exec),
    test("task::clone_in_every_way", 20, clone),
    test("task::no_sibling_outside", 20, no_sibling_outside),
    test("task::exec_from_another_thread", 20, exec_from_thread),
    test("task::threads_count", 20, threads),
    test("task::a_zombie_still_counts", 20, zombie),
    test("task::a_reaped_one_does_not", 60, reaped),
    test("task::an_orphan_keeps_its_context", 20, orphan),
    test("task::enter_races_with_threads", 60, enter_with_threads),
    test("task::enter_races_with_a_tracer", 60, enter_with_tracer),
    test(
        "task::enter_with_a_kernel_made_thread",
        20,
        enter_with_sqpoll,
    ),
];

fn own_number() -> Result<String, String> {
    get(0).map(|info| info.context.to_string()).map_err(words)
}

fn fork_and_exec() -> Outcome {
    inside(300, || {
        let said = child(|| child(own_number))?;
        equal("grandchild", said.as_str(), "300")?;
        // By vfork, as the C library does it.
        let program = Command::new("/bin/grep")
            .args(["s_context", "/proc/self/status"])
            .output()
            .map_err(words)?;
        equal(
            "after exec",
            String::from_utf8_lossy(&program.stdout).trim(),
            "s_context: 300",
        )?;
        let thread = std::thread::spawn(|| get(0).map(|info| info.context));
        let said = thread.join().map_err(|_| "the thread panicked")?;
        equal("thread", said, Ok(300))
    })
}

/// clone() of a process with these flags; what it says about its context comes by a pipe.
fn cloned(flags: i32) -> Result<String, String> {
    let (reader, writer) = pipe().map_err(words)?;
    let flags = (flags | libc::SIGCHLD) as usize;
    if call(libc::SYS_clone, &[flags, 0, 0, 0, 0]).map_err(words)? == 0 {
        let said = own_number().unwrap_or_else(|error| error);
        let _ = nix::unistd::write(&writer, said.as_bytes());
        syscalls::exit_now(0);
    }
    // One piece, not until the end of file: with CLONE_FILES to close an end is to close it for both.
    let mut room = [0; 64];
    let length = nix::unistd::read(&reader, &mut room).map_err(words)?;
    drop(writer);
    Ok(String::from_utf8_lossy(&room[..length]).into_owned())
}

fn clone() -> Outcome {
    for flags in [
        0,
        libc::CLONE_VFORK,
        libc::CLONE_FS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS,
    ] {
        inside(300, || {
            equal(&format!("flags {flags:#x}"), cloned(flags)?.as_str(), "300")
        })?;
    }
    inside(300, || {
        let said = child(|| cloned(libc::CLONE_PARENT))?;
        equal("a sibling", said.as_str(), "300")?;
        waitpid(None, None).map(drop).map_err(words)
    })?;
    until_empty()
}

/// CLONE_PARENT: a parent outside is given no children, dead ones that it would have to wait for included.
fn no_sibling_outside() -> Outcome {
    let clone = || cloned(libc::CLONE_PARENT);
    let refused = Err(Errno::EINVAL.to_string());
    inside(300, || equal("of the host", clone(), refused.clone()))?;
    inside(300, || {
        inside(CONTEXT_NEW, || {
            equal("of an outer context", clone(), refused.clone())
        })
    })?;
    equal("none came", waitpid(None, None), Err(Errno::ECHILD))?;
    // Of one that has entered and executes nothing.
    child(|| {
        enter(300, 0, 0).map_err(words)?;
        child(|| {
            equal("of its own arrival", clone().is_ok(), true)?;
            settle().map_err(words)?;
            equal("of one that is not there", clone(), refused.clone())?;
            Ok(String::new())
        })?;
        waitpid(None, None).map_err(words)?;
        Ok(String::new())
    })?;
    // Threads have their parent's, too.
    inside(300, || {
        let thread = std::thread::spawn(|| get(0).map(|info| info.context));
        equal("a thread", thread.join().ok(), Some(Ok(300)))
    })
}

/// exec makes the thread the leader and ends the others: one task is left, in the same context.
fn exec_from_thread() -> Outcome {
    inside(300, || {
        let (reader, writer) = pipe().map_err(words)?;
        let pid = match syscalls::fork().map_err(words)? {
            0 => {
                let thread = std::thread::spawn(move || {
                    Command::new("/bin/sh")
                        .args(["-c", "grep s_context /proc/self/status; read word; :"])
                        .stdout(Stdio::from(writer))
                        .stdin(Stdio::null())
                        .exec()
                });
                let _ = thread.join();
                syscalls::exit_now(1)
            }
            pid => Pid::from_raw(pid),
        };
        drop(writer);
        let mut said = String::new();
        File::from(reader)
            .read_to_string(&mut said)
            .map_err(words)?;
        equal("said", said.trim(), "s_context: 300")?;
        waitpid(pid, None).map_err(words)?;
        equal("tasks", get(0).map(|info| info.tasks), Ok(1))
    })
}

fn threads() -> Outcome {
    inside(300, || {
        let tasks = || get(0).map(|info| info.tasks);
        let (reader, writer) = pipe().map_err(words)?;
        let reader = std::sync::Arc::new(reader);
        let threads: Vec<_> = (0..5)
            .map(|_| {
                let reader = reader.clone();
                std::thread::spawn(move || nix::unistd::read(&*reader, &mut [0]))
            })
            .collect();
        equal("with five", tasks(), Ok(6))?;
        drop(writer);
        for thread in threads {
            let _ = thread.join();
        }
        // A thread reaps itself a moment after join() has heard of its end.
        for _ in 0..500 {
            if tasks() == Ok(1) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        equal("without", tasks(), Ok(1))
    })
}

fn zombie() -> Outcome {
    let sitter = Sitter::idle(300)?;
    sitter.let_go();
    let pid = Id::Pid(Pid::from_raw(sitter.pid));
    waitid(pid, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).map_err(words)?;
    std::thread::sleep(Duration::from_millis(200));
    equal("with the zombie", list(), Ok(vec![300]))
}

/// The context has ended when wait() returns, and its number can be had again at once.
fn reaped() -> Outcome {
    for _ in 0..40 {
        let sitter = Sitter::new(300, FLAG_PRIVATE, || Ok(()))?;
        equal("alive", list(), Ok(vec![300]))?;
        drop(sitter);
        equal("over", list(), Ok(vec![]))?;
    }
    until_empty()
}

/// Its parent is then the machine's init, which is in context 0.
fn orphan() -> Outcome {
    let (reader, writer) = pipe().map_err(words)?;
    inside(300, || {
        if syscalls::fork().map_err(words)? == 0 {
            // Until its parent has gone.
            while nix::unistd::getppid().as_raw() != 1 {
                std::thread::sleep(Duration::from_millis(5));
            }
            let said = own_number().unwrap_or_else(|error| error);
            let _ = nix::unistd::write(&writer, said.as_bytes());
            syscalls::exit_now(0);
        }
        Ok(())
    })?;
    drop(writer);
    let mut said = String::new();
    File::from(reader)
        .read_to_string(&mut said)
        .map_err(words)?;
    equal("context", said.as_str(), "300")?;
    until_empty()
}

/// Threads that enter while others are made and end: only a process of one thread ever enters.
fn enter_with_threads() -> Outcome {
    for _ in 0..8 {
        inside(CONTEXT_ROOT, || {
            let entering: Vec<_> = (0..2)
                .map(|_| {
                    std::thread::spawn(|| {
                        (0..100).all(|_| {
                            let _ = std::thread::spawn(|| ()).join();
                            enter(CONTEXT_NEW, 0, 0).err() == Some(Errno::EINVAL)
                        })
                    })
                })
                .collect();
            let refused = entering
                .into_iter()
                .all(|thread| thread.join().unwrap_or(false));
            ensure("a thread has entered", refused)?;
            equal("still in 0", get(0).map(|info| info.context), Ok(0))
        })?;
    }
    until_empty()
}

/// A process is either traced from outside or inside, never both.
fn enter_with_tracer() -> Outcome {
    let (mut traced, mut entered) = (0, 0);
    for _ in 0..150 {
        let (reader, writer) = pipe().map_err(words)?;
        let pid = match syscalls::fork().map_err(words)? {
            0 => {
                let said = [u8::from(enter(CONTEXT_NEW, 0, 0).is_ok())];
                let _ = nix::unistd::write(&writer, &said);
                drop(writer);
                std::thread::sleep(Duration::from_secs(60));
                syscalls::exit_now(0)
            }
            pid => pid as usize,
        };
        let mut seized = Err(Errno::EAGAIN);
        let mut said = [2];
        while said == [2] {
            if seized.is_err() {
                seized = call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, pid]);
            }
            let mut ready = [nix::poll::PollFd::new(
                std::os::fd::AsFd::as_fd(&reader),
                nix::poll::PollFlags::POLLIN,
            )];
            if nix::poll::poll(&mut ready, 0u16) == Ok(1) {
                nix::unistd::read(&reader, &mut said).map_err(words)?;
            }
        }
        if seized.is_err() {
            seized = call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, pid]);
        }
        traced += usize::from(seized.is_ok());
        entered += usize::from(said == [1]);
        let both = seized.is_ok() && said == [1];
        // It is out of the reach of a signal when it has entered, and has executed nothing: by the device then.
        let _ = call(libc::SYS_kill, &[pid, libc::SIGKILL as usize]);
        if said == [1] {
            let context = list().map_err(words)?;
            for context in context {
                signal(context, SIGNAL_ALL, libc::SIGKILL).map_err(words)?;
            }
        }
        waitpid(Pid::from_raw(pid as i32), Some(WaitPidFlag::__WALL)).map_err(words)?;
        ensure("traced and inside", !both)?;
    }
    eprintln!("traced {traced} times, entered {entered} times");
    until_empty()
}

/// A thread that the kernel made for the process counts as a thread.
fn enter_with_sqpoll() -> Outcome {
    inside(CONTEXT_ROOT, || {
        // struct io_uring_params: flags IORING_SETUP_SQPOLL.
        let mut parameters = [0u32; 30];
        parameters[2] = 2;
        let ring = call(
            libc::SYS_io_uring_setup,
            &[4, parameters.as_mut_ptr() as usize],
        )
        .map_err(words)?;
        let with = enter(CONTEXT_NEW, 0, 0).err();
        call(libc::SYS_close, &[ring as usize]).map_err(words)?;
        equal("with its thread", with, Some(Errno::EINVAL))
    })
}
