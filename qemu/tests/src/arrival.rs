// SPDX-License-Identifier: GPL-2.0

//! Who has entered and has not executed a program there yet: absent for everybody inside. And who has more
//! capabilities than its context can give.

use crate::{
    fixture::{arrive, child, ensure, enter, equal, inside, list, signal, words, Outcome, Sitter},
    settle::settle,
    syscalls::{self, own, shared_words},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    sched::{unshare, CloneFlags},
    sys::{
        signal::Signal,
        wait::{waitpid, WaitStatus},
    },
    unistd::{getpid, getppid, pipe, read, setuid, write, Pid, Uid},
};
use std::{
    fs,
    os::fd::{AsRawFd, OwnedFd},
    os::unix::process::CommandExt,
    process::Command,
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("arrival::under_attack", 60, under_attack),
    test("arrival::children", 30, children),
    test("arrival::listed_children", 30, listed_children),
    test("arrival::by_vfork", 30, by_vfork),
    test("arrival::by_another_thread", 30, by_thread),
    test("arrival::a_program_that_is_not_there", 30, no_program),
    test("arrival::of_process_1", 30, of_init),
    test("arrival::two_at_once", 30, two),
    test("arrival::staying_is_none", 30, staying),
    test("arrival::signals_of_the_kernel_and_the_host", 30, reached),
    test("arrival::a_tracer_that_asks", 30, traceme),
    test("arrival::an_interactive_shell", 30, shell),
    test("arrival::more_than_the_ceiling", 30, excess),
    test(
        "arrival::a_user_namespace_made_inside",
        30,
        own_user_namespace,
    ),
];

const NUMBER: i32 = 100;

/// What root inside can do to a process, by number; how many of these work.
fn attacks(pid: usize) -> usize {
    let idle = [0i32];
    let fd = || {
        let process = own(call(libc::SYS_pidfd_open, &[pid, 0])? as i32);
        let number = process.as_raw_fd() as usize;
        call(libc::SYS_pidfd_getfd, &[number, 0, 0]).map(|fd| drop(own(fd as i32)))
    };
    let nice = [libc::PRIO_PROCESS as usize, pid, 19];
    [
        fd().is_ok(),
        fs::metadata(format!("/proc/{pid}/stat")).is_ok(),
        call(
            libc::SYS_sched_setscheduler,
            &[pid, 5, idle.as_ptr() as usize],
        )
        .is_ok(),
        call(libc::SYS_setpriority, &nice).is_ok(),
        call(libc::SYS_kill, &[pid, libc::SIGSTOP as usize]).is_ok(),
        call(libc::SYS_kill, &[pid, libc::SIGCONT as usize]).is_ok(),
    ]
    .into_iter()
    .filter(|works| *works)
    .count()
}

/// Whether a number is listed in /proc.
fn is_listed(pid: i32) -> bool {
    let name = pid.to_string();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_str() == Some(&name))
}

/// Whether the caller finds a process by a signal that does nothing.
fn sees(pid: i32) -> bool {
    let found = syscalls::kill_number(pid);
    found.is_ok() || found == Err(Errno::EPERM)
}

/// Fails in a viewer of the same context that sees a process, or does not, as expected.
fn seen(what: &str, pid: i32, expected: bool) -> Outcome {
    inside(NUMBER, || {
        equal(&format!("{what}: kill"), sees(pid), expected)?;
        equal(&format!("{what}: listed"), is_listed(pid), expected)
    })
}

/// Root inside tries everything all the time, while somebody enters slowly.
fn under_attack() -> Outcome {
    const ENTERED: u32 = 1;
    const EXECUTES: u32 = 2;
    const IS_THERE: u32 = 3;
    let [state, forked, done, ..] = shared_words().map_err(words)?;
    let (reader, writer) = pipe().map_err(words)?;
    let pid = match syscalls::fork().map_err(words)? {
        0 => {
            let _ = read(&reader, &mut [0]);
            let slow = || std::thread::sleep(Duration::from_millis(150));
            let entered = enter(NUMBER, 0, 0);
            state.store(ENTERED, SeqCst);
            slow();
            // A child holds what its parent holds.
            let child = syscalls::fork().unwrap_or(-1);
            if child == 0 {
                slow();
                syscalls::exit_now(0);
            }
            forked.store(child as u32, SeqCst);
            slow();
            let _ = waitpid(Pid::from_raw(child), None);
            state.store(EXECUTES, SeqCst);
            let settled = settle();
            state.store(IS_THERE, SeqCst);
            while done.load(SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            syscalls::exit_now(i32::from(entered.is_err() || settled.is_err()))
        }
        pid => pid,
    };
    let attacked = inside(NUMBER, || {
        drop(reader);
        write(&writer, b"!").map_err(words)?;
        let end = Instant::now() + Duration::from_secs(20);
        let mut tries = 0;
        while state.load(SeqCst) < IS_THERE {
            ensure("it arrives", Instant::now() < end)?;
            let works = attacks(pid as usize);
            if state.load(SeqCst) < EXECUTES {
                equal("what works on it", works, 0)?;
                tries += 1;
            }
            let child = forked.load(SeqCst);
            if child != 0 {
                equal("what works on its child", attacks(child as usize), 0)?;
            }
        }
        ensure("there were tries", tries > 10)?;
        equal("what works when it is there", attacks(pid as usize), 6)
    });
    done.store(1, SeqCst);
    let ended = waitpid(Pid::from_raw(pid), None).map_err(words)?;
    attacked?;
    equal("its end", ended, WaitStatus::Exited(Pid::from_raw(pid), 0))
}

/// A child that goes on when a word comes, then executes a program, and sits.
struct Child {
    pid: i32,
    go_on: OwnedFd,
    done: OwnedFd,
}

impl Child {
    fn new() -> Result<Self, String> {
        let (wait, go_on) = pipe().map_err(words)?;
        let (done, says) = pipe().map_err(words)?;
        match syscalls::fork().map_err(words)? {
            0 => {
                drop((go_on, done));
                let _ = read(&wait, &mut [0]);
                let parent = getppid().as_raw();
                let before = sees(parent);
                let settled = settle();
                let right = before && settled.is_ok() && !sees(parent);
                let _ = write(&says, &[u8::from(right)]);
                let _ = read(&wait, &mut [0]);
                syscalls::exit_now(0)
            }
            pid => Ok(Self { pid, go_on, done }),
        }
    }

    fn settle(&self) -> Outcome {
        write(&self.go_on, b"!").map_err(words)?;
        let mut right = [0];
        read(&self.done, &mut right).map_err(words)?;
        equal(
            "the child saw its parent before the program, and not after it",
            right,
            [1],
        )
    }

    fn end(self) -> Outcome {
        write(&self.go_on, b"!").map_err(words)?;
        waitpid(Pid::from_raw(self.pid), None)
            .map(drop)
            .map_err(words)
    }
}

/// Runs something in a process that has entered only, outside of which it is told to a viewer.
fn arriving(run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        enter(NUMBER, 0, 0).map_err(words)?;
        run().map(|()| String::new())
    })
    .map(drop)
}

/// A viewer inside who looks on demand: forks from the host, as the caller is not there any more.
struct Viewer {
    ask: OwnedFd,
    answer: OwnedFd,
    _sitter: Sitter,
}

impl Viewer {
    fn new() -> Result<Self, String> {
        let (question, ask) = pipe().map_err(words)?;
        let (answer, says) = pipe().map_err(words)?;
        let sitter = Sitter::new(NUMBER, 0, || {
            // In a child, so that the sitter can be let go.
            match syscalls::fork().map_err(words)? {
                0 => {
                    let mut pid = [0; 4];
                    while read(&question, &mut pid) == Ok(4) {
                        let pid = i32::from_ne_bytes(pid);
                        if pid == 0 {
                            break;
                        }
                        let answer = u8::from(sees(pid)) + u8::from(is_listed(pid));
                        let _ = write(&says, &[answer]);
                    }
                    syscalls::exit_now(0)
                }
                _ => Ok(()),
            }
        })?;
        Ok(Self {
            ask,
            answer,
            _sitter: sitter,
        })
    }

    fn check(&self, what: &str, pid: i32, expected: bool) -> Outcome {
        write(&self.ask, &pid.to_ne_bytes()).map_err(words)?;
        let mut answer = [0];
        read(&self.answer, &mut answer).map_err(words)?;
        equal(what, answer, [if expected { 2 } else { 0 }])
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = write(&self.ask, &0i32.to_ne_bytes());
    }
}

/// Those of one arrival are there for each other; each child settles by itself.
fn children() -> Outcome {
    let viewer = Viewer::new()?;
    arriving(|| {
        let (one, two) = (Child::new()?, Child::new()?);
        viewer.check("the first", getpid().as_raw(), false)?;
        viewer.check("its child", one.pid, false)?;
        ensure("sees its child", sees(one.pid))?;
        one.settle()?;
        viewer.check("the child with a program", one.pid, true)?;
        viewer.check("its brother", two.pid, false)?;
        viewer.check("its parent", getpid().as_raw(), false)?;
        ensure("still sees its child", sees(one.pid))?;
        one.end()?;
        two.settle()?;
        settle().map_err(words)?;
        viewer.check("at last", getpid().as_raw(), true)?;
        two.end()
    })
}

/// `/proc/PID/task/TID/children` of a parent that has arrived before its child.
fn listed_children() -> Outcome {
    const PATH: &str = "/tmp/arrival-child";
    let parent = Sitter::new(CONTEXT_ROOT, 0, || {
        let (wait, hold) = pipe().map_err(words)?;
        enter(NUMBER, 0, 0).map_err(words)?;
        match syscalls::fork().map_err(words)? {
            0 => {
                drop(hold);
                let _ = read(&wait, &mut [0]);
                syscalls::exit_now(0)
            }
            pid => fs::write(PATH, pid.to_string()).map_err(words)?,
        }
        settle().map_err(words)?;
        // Until its own end.
        std::mem::forget(hold);
        Ok(())
    })?;
    let child = fs::read_to_string(PATH).map_err(words)?;
    fs::remove_file(PATH).map_err(words)?;
    let listed = |context| {
        inside(context, || {
            let path = format!("/proc/{0}/task/{0}/children", parent.pid);
            let all = fs::read_to_string(path).map_err(words)?;
            equal("listed", all.contains(&child), context == CONTEXT_SPECTATOR)
        })
    };
    listed(NUMBER)?;
    listed(CONTEXT_SPECTATOR)
}

/// The ordinary way to start a program.
fn by_vfork() -> Outcome {
    let viewer = Viewer::new()?;
    arriving(|| {
        let mut program = Command::new("/bin/sleep")
            .arg("100")
            .spawn()
            .map_err(words)?;
        let result = viewer
            .check("the program", program.id() as i32, true)
            .and_then(|()| viewer.check("who started it", getpid().as_raw(), false));
        program.kill().map_err(words)?;
        program.wait().map_err(words)?;
        result
    })
}

/// The thread that executes the program becomes the process.
fn by_thread() -> Outcome {
    let viewer = Viewer::new()?;
    let (reader, writer) = pipe().map_err(words)?;
    let pid = match syscalls::fork().map_err(words)? {
        0 => {
            let right = enter(NUMBER, 0, 0).is_ok();
            let thread = std::thread::spawn(move || {
                let _ = write(&writer, &[u8::from(right)]);
                std::thread::sleep(Duration::from_millis(100));
                Command::new("/bin/sleep").arg("100").exec()
            });
            let _ = thread.join();
            syscalls::exit_now(1)
        }
        pid => pid,
    };
    read(&reader, &mut [0]).map_err(words)?;
    let before = viewer.check("before", pid, false);
    let end = Instant::now() + Duration::from_secs(10);
    while fs::read_to_string(format!("/proc/{pid}/comm")).is_err()
        && viewer.check("after", pid, true).is_err()
        && Instant::now() < end
    {
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = viewer.check("after", pid, true);
    signal(NUMBER, pid, libc::SIGKILL).map_err(words)?;
    waitpid(Pid::from_raw(pid), None).map_err(words)?;
    before.and(after)
}

fn no_program() -> Outcome {
    let viewer = Viewer::new()?;
    arriving(|| {
        for path in ["/nowhere", "/etc/passwd", "/proc/self/mem"] {
            let error = Command::new(path).exec();
            ensure(path, error.raw_os_error().is_some())?;
            viewer.check(path, getpid().as_raw(), false)?;
        }
        ensure("it sees itself", sees(getpid().as_raw()))?;
        settle().map_err(words)?;
        viewer.check("at last", getpid().as_raw(), true)
    })
}

/// Process 1 is not shown before it has come, by number 1 or its own.
fn of_init() -> Outcome {
    let init = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(NUMBER, FLAG_FAKEINIT, 0).map(drop).map_err(words)
    })?;
    inside(NUMBER, || {
        equal("kill(1)", syscalls::kill_number(1), Err(Errno::ESRCH))?;
        equal("kill", syscalls::kill_number(init.pid), Err(Errno::ESRCH))?;
        ensure(
            "/proc/1 is not there",
            fs::metadata("/proc/1/stat").is_err(),
        )?;
        ensure("nor listed", !is_listed(1))?;
        for name in ["fd", "root", "environ", "task"] {
            let path = format!("/proc/1/{name}");
            ensure(
                &path,
                fs::read_dir(&path).is_err() && fs::read(&path).is_err(),
            )?;
        }
        Ok(())
    })?;
    // Its end is that of the context, for those who have just come as well.
    let other = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(NUMBER, 0, 0).map(drop).map_err(words)
    })?;
    init.let_go();
    let pid = Pid::from_raw(other.pid);
    equal(
        "the end of the other",
        waitpid(pid, None),
        Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, false)),
    )?;
    drop(init);
    // One that has come is shown.
    let _init = Sitter::new(NUMBER + 1, FLAG_FAKEINIT, || Ok(()))?;
    inside(NUMBER + 1, || {
        equal("kill(1)", syscalls::kill_number(1), Ok(()))?;
        ensure("listed", is_listed(1))
    })
}

/// Two who enter are nothing to each other.
fn two() -> Outcome {
    let one = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(NUMBER, 0, 0).map(drop).map_err(words)
    })?;
    let there = Sitter::idle(NUMBER)?;
    arriving(|| {
        ensure("does not see the other one", !sees(one.pid))?;
        ensure("sees who is there", sees(there.pid))
    })?;
    seen("one", one.pid, false)?;
    seen("who is there", there.pid, true)
}

/// ENTER(STAY) and an ENTER that fails change nothing.
fn staying() -> Outcome {
    let there = Sitter::new(NUMBER, 0, || {
        enter(CONTEXT_STAY, FLAG_NPROC, 1).map_err(words)?;
        equal("by number", enter(300, 0, 0).err(), Some(Errno::EPERM))
    })?;
    seen("stays", there.pid, true)?;
    let coming = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(NUMBER, 0, 0).map_err(words)?;
        enter(CONTEXT_STAY, 0, 1).map(drop).map_err(words)
    })?;
    seen("does not end an arrival", coming.pid, false)
}

/// The host and the kernel reach it.
fn reached() -> Outcome {
    let there = Sitter::idle(NUMBER)?;
    let coming = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(NUMBER, 0, 0).map(drop).map_err(words)
    })?;
    equal("all", signal(NUMBER, SIGNAL_ALL, 0), Ok(2))?;
    inside(NUMBER, || {
        // Nobody it may not signal is told of.
        let all = call(libc::SYS_kill, &[usize::MAX, libc::SIGSTOP as usize]);
        equal("kill(-1)", all, Ok(0))
    })?;
    let pid = Pid::from_raw(coming.pid);
    equal(
        "by the host",
        signal(NUMBER, coming.pid, libc::SIGKILL),
        Ok(1),
    )?;
    equal(
        "its end",
        waitpid(pid, None),
        Ok(WaitStatus::Signaled(pid, Signal::SIGKILL, false)),
    )?;
    equal("on goes", signal(NUMBER, there.pid, libc::SIGCONT), Ok(1))?;
    Ok(())
}

/// PTRACE_TRACEME gives the caller's memory and descriptors to its parent.
fn traceme() -> Outcome {
    let asks = || {
        child(|| {
            let asked = call(libc::SYS_ptrace, &[0, 0, 0, 0]).map(drop);
            Ok(format!("{asked:?}"))
        })
    };
    let refused = format!("{:?}", Err::<(), _>(Errno::EPERM));
    inside(NUMBER, || equal("settled", asks()?.as_str(), "Ok(())"))?;
    arriving(|| {
        equal("of one arrival", asks()?.as_str(), "Ok(())")?;
        // The parent executes a program, the child does not.
        let (reader, writer) = pipe().map_err(words)?;
        let (says, answer) = pipe().map_err(words)?;
        match syscalls::fork().map_err(words)? {
            0 => {
                let _ = read(&reader, &mut [0]);
                let asked = call(libc::SYS_ptrace, &[0, 0, 0, 0]).map(drop);
                let _ = write(&answer, format!("{asked:?}").as_bytes());
                syscalls::exit_now(0)
            }
            pid => {
                settle().map_err(words)?;
                write(&writer, b"!").map_err(words)?;
                let mut text = [0; 64];
                let length = read(&says, &mut text).map_err(words)?;
                waitpid(Pid::from_raw(pid), None).map_err(words)?;
                equal(
                    "of a parent that has come",
                    String::from_utf8_lossy(&text[..length]).as_ref(),
                    refused.as_str(),
                )
            }
        }
    })
}

/// Ctrl-C and job control, of a shell below a parent that waits for it and never executes anything.
fn shell() -> Outcome {
    let terminal = nix::pty::openpty(None, None).map_err(words)?;
    let slave = terminal.slave.as_raw_fd() as usize;
    arriving(|| {
        nix::unistd::setsid().map_err(words)?;
        call(libc::SYS_ioctl, &[slave, libc::TIOCSCTTY as usize, 0]).map_err(words)?;
        let mut program = Command::new("/bin/sh");
        program.args([
            "-c",
            "trap 'exit 7' INT; echo ready; while :; do sleep 1; done",
        ]);
        program.stdout(std::process::Stdio::piped());
        let mut program = program.spawn().map_err(words)?;
        let mut ready = [0; 6];
        if let Some(output) = &mut program.stdout {
            std::io::Read::read_exact(output, &mut ready).map_err(words)?;
        }
        // For the caller as well, which is in the foreground group, too.
        syscalls::set_handler(libc::SIGINT, libc::SIG_IGN).map_err(words)?;
        write(&terminal.master, b"\x03").map_err(words)?;
        let status = program.wait().map_err(words)?;
        equal("its end", status.code(), Some(7))
    })
}

/// The host's root joins a context that an ordinary user has made, and executes a program there: it has
/// all capabilities of the machine, and root of that user namespace has the same user id.
fn excess() -> Outcome {
    let user = Sitter::new(CONTEXT_ROOT, 0, || {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(words)?;
        fs::write("/proc/self/uid_map", "0 0 1").map_err(words)?;
        arrive(CONTEXT_NEW, 0, 0).map(drop).map_err(words)
    })?;
    let number = *list().map_err(words)?.last().ok_or("no context")?;
    let admin = Sitter::new(CONTEXT_ROOT, 0, || {
        arrive(number, 0, 0).map(drop).map_err(words)
    })?;
    let plain = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(number, 0, 0).map_err(words)?;
        setuid(Uid::from_raw(1000)).map_err(words)?;
        settle().map_err(words)
    })?;
    let viewer = |pid: i32| {
        child(|| {
            enter(number, 0, 0).map_err(words)?;
            let process = own(call(libc::SYS_pidfd_open, &[user.pid as usize, 0])
                .map_err(|error| format!("the user: {error}"))?
                as i32);
            nix::sched::setns(&process, CloneFlags::CLONE_NEWUSER).map_err(words)?;
            settle().map_err(words)?;
            Ok(format!(
                "{:?} {}",
                syscalls::kill_number(pid),
                is_listed(pid)
            ))
        })
    };
    let absent = format!("{:?} false", Err::<(), _>(Errno::ESRCH));
    let refused = format!("{:?} true", Err::<(), _>(Errno::EPERM));
    equal("the user", viewer(user.pid)?.as_str(), "Ok(()) true")?;
    equal("the host's root", viewer(admin.pid)?, absent)?;
    equal(
        "an ordinary user of the host's",
        viewer(plain.pid)?,
        refused,
    )?;
    // Its equals see it.
    child(|| {
        arrive(number, 0, 0).map_err(words)?;
        equal("of another one", syscalls::kill_number(admin.pid), Ok(()))?;
        Ok(String::new())
    })
    .map(drop)
}

fn own_user_namespace() -> Outcome {
    let confined = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(NUMBER, 0, 1 << 21).map_err(words)?;
        unshare(CloneFlags::CLONE_NEWUSER).map_err(words)?;
        fs::write("/proc/self/uid_map", "0 0 1").map_err(words)?;
        settle().map_err(words)
    })?;
    seen("one with all capabilities in its own", confined.pid, true)
}
