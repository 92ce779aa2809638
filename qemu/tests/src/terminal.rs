// SPDX-License-Identifier: GPL-2.0

//! A shell in a context, used as a person does: the terminal is made outside, by whoever has the keyboard, and all
//! processes on it are inside.

use crate::{
    fixture::{child, ensure, equal, until_empty, words, Outcome},
    syscalls::{self, ioctl},
    test, Test,
};
use nix::{
    fcntl::OFlag,
    mount::{mount, MsFlags},
    poll::{poll, PollFd, PollFlags, PollTimeout},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt, PtyMaster},
    sched::{unshare, CloneFlags},
    sys::{
        signal::Signal,
        termios::{tcgetattr, LocalFlags},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{read, setsid, write, Pid},
};
use std::{
    fs::{self, File},
    os::{fd::AsFd, unix::process::CommandExt},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = &[
    test("terminal::interrupt", 120, || at_a_shell(interrupt)),
    test("terminal::quit", 120, || at_a_shell(quit)),
    test("terminal::job_control", 180, || at_a_shell(job_control)),
    test("terminal::background", 120, || at_a_shell(background)),
    test("terminal::resize", 120, || at_a_shell(resize)),
    test("terminal::settings", 120, || at_a_shell(settings)),
    test("terminal::end_of_file", 120, || at_a_shell(end_of_file)),
    test("terminal::hang_up", 120, || at_a_shell(hang_up)),
    test("terminal::made_inside", 180, || at_a_shell(made_inside)),
];

const CONTEXT: &str = "300";

/// How long anything may take on a slow machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What a shell says when it waits for a command.
const PROMPT: &str = "ready> ";

/// The keyboard and the screen, and who has been started on them.
pub(crate) struct Terminal {
    master: PtyMaster,
    leader: Pid,
    /// What has been shown and not been looked for yet.
    shown: String,
}

impl Terminal {
    /// Starts a program.
    pub(crate) fn new(program: &[&str]) -> Result<Self, String> {
        let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC);
        let master = master.map_err(words)?;
        grantpt(&master).map_err(words)?;
        unlockpt(&master).map_err(words)?;
        let name = ptsname_r(&master).map_err(words)?;
        let leader = match syscalls::fork().map_err(words)? {
            0 => {
                let error = Self::start(&name, program);
                eprintln!("{program:?}: {error}");
                syscalls::exit_now(127)
            }
            pid => Pid::from_raw(pid),
        };
        Ok(Self {
            master,
            leader,
            shown: String::new(),
        })
    }

    /// In the new process, which comes back only when that fails.
    fn start(name: &str, program: &[&str]) -> String {
        let terminal = || {
            setsid().map_err(words)?;
            // The first one that a session's leader opens is its controlling terminal.
            let terminal = File::options().read(true).write(true).open(name);
            terminal.map_err(words)
        };
        let copy = |terminal: &File| terminal.try_clone().map_err(words);
        match terminal().and_then(|one| Ok((copy(&one)?, copy(&one)?, one))) {
            Ok((input, output, errors)) => Command::new(program[0])
                .args(&program[1..])
                .env_clear()
                .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
                .env("HOME", "/tmp")
                .env("TERM", "dumb")
                .env("LC_ALL", "C.UTF-8")
                .env("PS1", PROMPT)
                .stdin(input)
                .stdout(output)
                .stderr(errors)
                .exec()
                .to_string(),
            Err(error) => error,
        }
    }

    /// Presses keys.
    pub(crate) fn press(&self, keys: &str) -> Outcome {
        write(&self.master, keys.as_bytes())
            .map(drop)
            .map_err(words)
    }

    /// Waits until something is shown, and takes all until then.
    pub(crate) fn until(&mut self, what: &str) -> Result<String, String> {
        let start = Instant::now();
        loop {
            if let Some(at) = self.shown.find(what) {
                let rest = self.shown.split_off(at + what.len());
                return Ok(std::mem::replace(&mut self.shown, rest));
            }
            let left = LIMIT.saturating_sub(start.elapsed());
            let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let time = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if left.is_zero() || poll(&mut ready, time) == Ok(0) {
                return Err(format!("no {what:?} is shown, but {:?}", self.shown));
            }
            let mut room = [0; 4096];
            match read(&self.master, &mut room) {
                Ok(length) => self.shown += &String::from_utf8_lossy(&room[..length]),
                Err(errno) => return Err(format!("no {what:?} but {errno}: {:?}", self.shown)),
            }
        }
    }

    /// Signals who has been started on it.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        nix::sys::signal::kill(self.leader, signal).map_err(words)
    }

    /// The side of the keyboard and the screen.
    pub(crate) fn master(&self) -> &PtyMaster {
        &self.master
    }

    /// What it shows until it ends, and the code that it ends with.
    pub(crate) fn until_its_end(mut self) -> Result<(String, i32), String> {
        let start = Instant::now();
        let mut room = [0; 4096];
        loop {
            let left = LIMIT.saturating_sub(start.elapsed());
            let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let time = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if left.is_zero() || poll(&mut ready, time) == Ok(0) {
                return Err(format!("it does not end: {:?}", self.shown));
            }
            // Nobody has the terminal open any more: EIO.
            let Ok(length) = read(&self.master, &mut room) else {
                break;
            };
            self.shown += &String::from_utf8_lossy(&room[..length]);
        }
        match end_of(self.leader)? {
            WaitStatus::Exited(_, code) => Ok((self.shown, code)),
            other => Err(format!("{other:?}: {:?}", self.shown)),
        }
    }

    /// Types a command and takes what it shows, to the next prompt.
    pub(crate) fn run(&mut self, command: &str, prompt: &str) -> Result<String, String> {
        self.press(&format!("{command}\n"))?;
        self.until(prompt)
    }

    /// A number that the shell computes.
    fn value(&mut self, expression: &str) -> Result<i32, String> {
        // What is typed is shown, too, so what comes out must look different.
        let said = self.run(&format!("echo \"<\"{expression}\">\""), PROMPT)?;
        let words = || {
            let (_, rest) = said.rsplit_once('<')?;
            rest.split_once('>')?.0.parse().ok()
        };
        words().ok_or_else(|| format!("{expression}: {said:?}"))
    }

    /// The process group in the foreground.
    fn foreground(&self) -> Result<i32, String> {
        let mut group = 0i32;
        ioctl(&self.master, libc::TIOCGPGRP as u32, &mut group).map_err(words)?;
        Ok(group)
    }

    /// Starts a program that stays, and waits until it runs. Not a shell: bash takes no SIGQUIT, and
    /// dash, which catches SIGINT, forgets one that comes when it is about to become another program.
    fn stay(&mut self) -> Outcome {
        self.press("perl -e '$| = 1; print \"be\", \"gun\\n\"; sleep 1000'\n")?;
        self.until("begun\r\n").map(drop)
    }

    /// Types a command that stays, and waits until it is what keys go to.
    fn begin(&mut self, command: &str) -> Outcome {
        let shell = self.foreground()?;
        self.press(&format!("{command}\n"))?;
        until(&format!("{command} is in the foreground"), || {
            Ok(self.foreground()? != shell)
        })
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Outcome {
        let mut size = [rows, columns, 0, 0];
        ioctl(&self.master, libc::TIOCSWINSZ as u32, &mut size)
            .map(drop)
            .map_err(words)
    }
}

/// How somebody who was started here has ended.
fn end_of(leader: Pid) -> Result<WaitStatus, String> {
    let mut end = WaitStatus::StillAlive;
    until("the shell has ended", || {
        end = waitpid(leader, Some(WaitPidFlag::WNOHANG)).map_err(words)?;
        Ok(end != WaitStatus::StillAlive)
    })?;
    Ok(end)
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> Result<bool, String>) -> Outcome {
    let start = Instant::now();
    while !so()? {
        ensure(&format!("not in time: {what}"), start.elapsed() < LIMIT)?;
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The Debian root with what a shell needs, for this process alone.
fn furnish() -> Outcome {
    let none: Option<&str> = None;
    let bind = |from: &str, to: &str| {
        mount(Some(from), to, none, MsFlags::MS_BIND, none)
            .map_err(|errno| format!("binding {from} to {to}: {errno}"))
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).map_err(words)?;
    fs::create_dir_all("/tmp/terminal").map_err(words)?;
    for (from, to) in [
        ("/proc", "/servers/proc"),
        ("/dev", "/servers/dev"),
        ("/dev/pts", "/servers/dev/pts"),
        ("/tmp/terminal", "/servers/tmp"),
    ] {
        bind(from, to)?;
    }
    Ok(())
}

/// Runs a session with a shell in a context. What it leaves in the background goes with it.
fn at_a_shell(session: fn(Terminal) -> Outcome) -> Outcome {
    until_empty()?;
    let outcome = child(|| {
        furnish()?;
        let mut terminal = Terminal::new(&[
            "chcontext",
            "--silent",
            "--secure",
            "--ctx",
            CONTEXT,
            "chroot",
            "/servers",
            "bash",
            "--norc",
            "--noprofile",
            "-i",
        ])?;
        terminal.until(PROMPT)?;
        session(terminal).map(|()| String::new())
    });
    let _ = fs::remove_dir_all("/tmp/terminal");
    outcome.map(drop).and(until_empty())
}

fn interrupt(mut terminal: Terminal) -> Outcome {
    // Nobody inside sees who made the terminal, and the shell has job control all the same.
    terminal.stay()?;
    terminal.press("\x03")?;
    terminal.until(PROMPT)?;
    equal("the status", terminal.value("$?")?, 130)?;
    // A shell that waits for a line goes on.
    terminal.press("never\x03")?;
    terminal.until(PROMPT)?;
    equal("the status", terminal.value("$?")?, 130)
}

fn quit(mut terminal: Terminal) -> Outcome {
    terminal.stay()?;
    terminal.press("\x1c")?;
    terminal.until(PROMPT)?;
    equal("the status", terminal.value("$?")?, 131)
}

fn job_control(mut terminal: Terminal) -> Outcome {
    let shell = terminal.foreground()?;
    terminal.stay()?;
    let job = terminal.foreground()?;
    terminal.press("\x1a")?;
    terminal.until("Stopped")?;
    terminal.until(PROMPT)?;
    equal("keys go to the shell", terminal.foreground()?, shell)?;
    let jobs = terminal.run("jobs", PROMPT)?;
    ensure(&format!("stopped: {jobs:?}"), jobs.contains("Stopped"))?;
    terminal.run("bg", PROMPT)?;
    let jobs = terminal.run("jobs", PROMPT)?;
    ensure(&format!("running: {jobs:?}"), jobs.contains("Running"))?;
    terminal.begin("fg")?;
    equal("keys go to the job", terminal.foreground()?, job)?;
    terminal.press("\x1a")?;
    terminal.until("Stopped")?;
    terminal.until(PROMPT)?;
    terminal.begin("fg %1")?;
    terminal.press("\x03")?;
    terminal.until(PROMPT)?;
    let jobs = terminal.run("jobs", PROMPT)?;
    ensure(&format!("gone: {jobs:?}"), !jobs.contains("sleep"))
}

/// SIGTTIN and SIGTTOU.
fn background(mut terminal: Terminal) -> Outcome {
    let stopped = |terminal: &mut Terminal, state: &str| {
        until(state, || {
            Ok(terminal.run("jobs -l", PROMPT)?.contains(state))
        })
    };
    terminal.run("cat /dev/tty &", PROMPT)?;
    stopped(&mut terminal, "tty input")?;
    terminal.begin("fg")?;
    terminal.press("a line\n")?;
    terminal.until("a line\r\na line\r\n")?;
    terminal.press("\x04")?;
    terminal.until(PROMPT)?;
    terminal.run("stty tostop", PROMPT)?;
    terminal.run("printf 'o%s\\n' ut &", PROMPT)?;
    stopped(&mut terminal, "tty output")?;
    terminal.press("fg\n")?;
    terminal.until("out\r\n")?;
    terminal.until(PROMPT).map(drop)
}

fn resize(mut terminal: Terminal) -> Outcome {
    for (rows, columns) in [(40, 100), (25, 80)] {
        terminal.resize(rows, columns)?;
        // The shell may have shown its prompt once more, for the new width.
        terminal.press("stty size\n")?;
        terminal.until(&format!("\n{rows} {columns}\r\n"))?;
        terminal.until(PROMPT)?;
    }
    // Who is in the foreground hears of it.
    terminal
        .begin("bash -c 'trap \"stty size; exit\" WINCH; echo set; while :; do sleep 0.1; done'")?;
    terminal.until("set\r\n")?;
    terminal.resize(33, 77)?;
    terminal.until("33 77\r\n")?;
    terminal.until(PROMPT).map(drop)
}

fn settings(mut terminal: Terminal) -> Outcome {
    let own = terminal.run("tty; [ -t 0 ] && echo it is one", PROMPT)?;
    ensure(&format!("{own:?}"), own.contains("it is one\r\n"))?;
    terminal.press("stty -echo; read word; stty echo; echo \"$word\" | tr a-z A-Z\n")?;
    terminal.until("\r\n")?;
    until("the echo is off", || {
        let now = tcgetattr(&terminal.master).map_err(words)?;
        Ok(!now.local_flags.contains(LocalFlags::ECHO))
    })?;
    terminal.press("secret\n")?;
    let shown = terminal.until("SECRET")?;
    ensure(&format!("{shown:?}"), !shown.contains("secret"))?;
    terminal.until(PROMPT)?;
    // What opens the terminal by name, in whatever way.
    terminal.run(
        "exec 3>/dev/tty; echo one >&3; echo two >/dev/stderr; exec 3>&-",
        PROMPT,
    )?;
    let name = terminal.run("echo three >$(tty) && echo done", PROMPT)?;
    ensure(
        &format!("{name:?}"),
        name.contains("\nthree\r") && name.contains("\ndone\r"),
    )
}

fn end_of_file(mut terminal: Terminal) -> Outcome {
    terminal.run("false", PROMPT)?;
    terminal.press("\x04")?;
    terminal.until("exit")?;
    // Its last status is handed on by chcontext.
    let expected = WaitStatus::Exited(terminal.leader, 1);
    equal("the end", end_of(terminal.leader)?, expected)
}

fn hang_up(mut terminal: Terminal) -> Outcome {
    let heard = || fs::read_to_string("/tmp/terminal/heard").unwrap_or_default();
    let hears = |who: &str| {
        format!("bash -c 'trap \"echo {who} >>/tmp/heard; exit\" HUP; echo be\"\"gun; while :; do sleep 0.1; done'")
    };
    terminal.run("setsid sleep 1000 &", PROMPT)?;
    terminal.press(&format!("{} &\n", hears("behind")))?;
    terminal.until("begun")?;
    terminal.begin(&hears("before"))?;
    terminal.until("begun")?;
    let leader = terminal.leader;
    drop(terminal);
    let by = WaitStatus::Signaled(leader, Signal::SIGHUP, false);
    equal("the shell's end", end_of(leader)?, by)?;
    until("both jobs have heard of it", || {
        Ok(["before\n", "behind\n"]
            .iter()
            .all(|who| heard().contains(who)))
    })?;
    // Who has a session of his own stays, as on the host.
    let kill = Command::new("chcontext")
        .args(["--silent", "--ctx", CONTEXT, "killall", "-9", "sleep"])
        .status()
        .map_err(words)?;
    ensure("somebody was left", kill.success())
}

/// A terminal of the context's own, as sshd or script makes one.
fn made_inside(mut terminal: Terminal) -> Outcome {
    terminal.begin("script -qc 'bash --norc --noprofile -i' /dev/null")?;
    terminal.until(PROMPT)?;
    let inner = terminal.run("tty", PROMPT)?;
    ensure(&format!("{inner:?}"), inner.contains("\n/dev/pts/"))?;
    // The outer terminal hands keys through, and the inner one makes signals of them.
    terminal.stay()?;
    terminal.press("\x03")?;
    terminal.until(PROMPT)?;
    equal("the status", terminal.value("$?")?, 130)?;
    terminal.stay()?;
    terminal.press("\x1a")?;
    terminal.until("Stopped")?;
    terminal.until(PROMPT)?;
    terminal.press("fg\n")?;
    terminal.until("sleep 1000'")?;
    terminal.press("\x03")?;
    terminal.until(PROMPT)?;
    terminal.press("exit\n")?;
    terminal.until(PROMPT).map(drop)
}
