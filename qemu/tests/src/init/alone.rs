// SPDX-License-Identifier: GPL-2.0

//! busybox's init without the commands around it: many times, and against those who would break it.

use super::*;
use nix::sys::resource::{setrlimit, Resource};
use std::os::unix::fs::PermissionsExt;

pub const CYCLES: Test = test("init::cycles", 300, || cycles(2));
pub const THOUSAND_CYCLES: Test = test("soak::init_cycles", 900, || cycles(25));
pub const FORK_BOMB: Test = test("init::fork_bomb", 900, fork_bomb);
pub const SIGKILL_STORM: Test = test("init::sigkill_storm", 900, storm);

/// So many at once, as an end takes two seconds that busybox sleeps.
const AT_ONCE: usize = 40;

/// An init with a console.
pub struct Guest {
    context: i32,
    process: Pid,
    console: PtyMaster,
    shown: String,
    end: OwnedFd,
}

impl Guest {
    /// Starts `/sbin/init` in a new context.
    pub fn start(root: &Path) -> Result<Self, String> {
        let console = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)
            .map_err(|errno| format!("a terminal: {errno}"))?;
        grantpt(&console).map_err(words)?;
        unlockpt(&console).map_err(words)?;
        let name = ptsname_r(&console).map_err(words)?;
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(words)?;
        let process = match syscalls::fork().map_err(words)? {
            0 => {
                drop(reader);
                let error = become_init(root, &name, &writer);
                let _ = nix::unistd::write(&writer, format!("!{error}").as_bytes());
                syscalls::exit_now(127)
            }
            pid => Pid::from_raw(pid),
        };
        drop(writer);
        let mut said = String::new();
        std::io::Read::read_to_string(&mut File::from(reader), &mut said).map_err(words)?;
        let (context, error) = said.split_once('!').unwrap_or((&said, ""));
        ensure(&format!("init does not start: {error}"), error.is_empty())?;
        let context: i32 = context.parse().map_err(words)?;
        Ok(Self {
            context,
            process,
            console,
            shown: String::new(),
            end: crate::fixture::open_context(context).map_err(words)?,
        })
    }

    /// Waits until the console shows something, and takes all until then.
    pub fn until(&mut self, what: &str) -> Result<String, String> {
        let start = Instant::now();
        loop {
            if let Some(at) = self.shown.find(what) {
                let rest = self.shown.split_off(at + what.len());
                return Ok(std::mem::replace(&mut self.shown, rest));
            }
            let left = LIMIT.saturating_sub(start.elapsed());
            let mut ready = [PollFd::new(self.console.as_fd(), PollFlags::POLLIN)];
            let time = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if left.is_zero() || poll(&mut ready, time) == Ok(0) {
                return Err(format!("no {what:?} is shown, but {:?}", self.shown));
            }
            let mut room = [0; 4096];
            match read(&self.console, &mut room) {
                Ok(length) => self.shown += &String::from_utf8_lossy(&room[..length]),
                Err(errno) => return Err(format!("no {what:?} but {errno}: {:?}", self.shown)),
            }
        }
    }

    /// Sends a signal to process 1.
    pub fn signal(&self, kind: Signal) -> Outcome {
        let sent = signal(self.context, SIGNAL_INIT, kind as i32);
        equal("processes that get it", sent, Ok(1))
    }

    /// Waits for the end of the context; what was told of it.
    pub fn end(self) -> Result<Status, String> {
        waitpid(self.process, None).map_err(words)?;
        let mut ready = [PollFd::new(self.end.as_fd(), PollFlags::POLLIN)];
        let time = PollTimeout::try_from(LIMIT).map_err(words)?;
        let events = poll(&mut ready, time).map_err(words)?;
        ensure("the context has not ended", events == 1)?;
        status(&self.end).map_err(words)
    }
}

/// In the new process; comes back only when something fails. `told` gets the context's number.
fn become_init(root: &Path, console: &str, told: &OwnedFd) -> String {
    let become_it = || -> Result<std::convert::Infallible, String> {
        // With mounts and a loopback of its own, as a vserver has.
        private_mounts()?;
        let target = root.join("dev/console");
        let bind = MsFlags::MS_BIND;
        mounted(None, &target, Some(Path::new(console)), bind, "")?;
        // Whoever enters with a terminal has it on loan, and may open it there again.
        let terminal = File::options()
            .read(true)
            .write(true)
            .open(console)
            .map_err(|error| format!("the console: {error}"))?;
        dup2_stdin(&terminal).map_err(words)?;
        dup2_stdout(&terminal).map_err(words)?;
        dup2_stderr(&terminal).map_err(words)?;
        confine(&[crate::inet::A]).map_err(words)?;
        // The way there leads through the barrier.
        chdir(root).map_err(words)?;
        // Not a session's leader, who would take the console for himself.
        setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(words)?;
        let entered = enter(
            CONTEXT_NEW,
            FLAG_FAKEINIT | FLAG_NPROC | FLAG_ULIMIT,
            SECURE,
        )
        .map_err(words)?;
        nix::unistd::write(told, entered.context.to_string().as_bytes()).map_err(words)?;
        chroot(".").map_err(words)?;
        let text = |text: &str| CString::new(text).map_err(words);
        let environment = [
            text("PATH=/sbin:/bin:/usr/sbin:/usr/bin")?,
            text("TERM=linux")?,
        ];
        execve(&text("/sbin/init")?, &[text("/sbin/init")?], &environment).map_err(words)
    };
    match become_it() {
        Err(error) => error,
        Ok(never) => match never {},
    }
}

/// A file system with busybox's init, and the devices that a vserver has.
fn furnished(inittab: &str) -> Result<PathBuf, String> {
    crate::inet::addresses()?;
    let root = furnish("alone", "busybox")?;
    fs::write(root.join("etc/inittab"), inittab).map_err(words)?;
    let dev = root.join("dev");
    mounted(Some("tmpfs"), &dev, None, MsFlags::empty(), "mode=755")?;
    for (name, minor) in [("null", 3), ("zero", 5)] {
        let mode = Mode::from_bits_truncate(0o666);
        mknod(&dev.join(name), SFlag::S_IFCHR, mode, makedev(1, minor)).map_err(words)?;
    }
    File::create(dev.join("console")).map_err(words)?;
    symlink("/proc/self/fd", dev.join("fd")).map_err(words)?;
    let proc = root.join("proc");
    mounted(Some("proc"), &proc, None, MsFlags::empty(), "")?;
    Ok(root)
}

const INITTAB: &str = "::sysinit:/etc/init.d/rcS\n\
                       ::respawn:/sbin/getty 38400 console\n\
                       ::shutdown:/bin/echo going down\n";

/// Starts and clean ends, in rounds of [`AT_ONCE`].
fn cycles(rounds: usize) -> Outcome {
    with_vservers(|| {
        let root = furnished(INITTAB)?;
        let mut before = None;
        for round in 0..=rounds {
            // The first round makes what is made once: slabs of the kernel, names of the page cache.
            let count = if round == 0 { 1 } else { AT_ONCE };
            let mut guests = Vec::new();
            for _ in 0..count {
                guests.push(Guest::start(&root)?);
            }
            for guest in &mut guests {
                guest.until("this is rcS")?;
                guest.until("login: ")?;
            }
            for guest in &guests {
                guest.signal(Signal::SIGUSR2)?;
            }
            for mut guest in guests {
                guest.until("going down")?;
                guest.until("Requesting system poweroff")?;
                let end = guest.end()?;
                equal("what it asked for", end.reboot, REBOOT_POWER_OFF)?;
                equal("its state", end.state, STATE_ENDED)?;
            }
            let machine: &Machine = match &before {
                None => before.insert(Machine::now()?),
                Some(before) => before,
            };
            if round == rounds {
                machine.until_again()?;
            }
        }
        Ok(())
    })
}

/// So many tasks at most.
const TASKS: u32 = 200;

/// Starts itself twice over, for ever.
const BOMB: &str = "#!/bin/sh\nbomb() { bomb | bomb & }\nwhile :; do bomb; done 2>/dev/null\n";

/// Kills all but itself and process 1, for ever; each time those who come have a little longer, so that they get
/// anywhere on whatever machine.
const STORM: &str = "#!/bin/sh\nn=1\nwhile :; do sleep $n; kill -9 -1; n=$((n + 1)); done\n";

/// Writes a program that init starts.
fn program(root: &Path, name: &str, text: &str) -> Outcome {
    let path = root.join(name);
    fs::write(&path, text).map_err(words)?;
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, all).map_err(words)
}

/// Nothing is left of it, whether init comes to its end in between or is killed.
fn fork_bomb() -> Outcome {
    with_vservers(|| {
        let inittab = INITTAB.to_string() + "::respawn:/bin/bomb\n";
        let root = furnished(&inittab)?;
        program(&root, "bin/bomb", BOMB)?;
        let before = Machine::now()?;
        setrlimit(Resource::RLIMIT_NPROC, TASKS.into(), 1000).map_err(words)?;
        for by in [Signal::SIGUSR2, Signal::SIGKILL] {
            let mut guest = Guest::start(&root)?;
            guest.until("this is rcS")?;
            until("there are as many as may be", || {
                let tasks = status(&guest.end).map_err(words)?.tasks;
                ensure(&format!("{tasks} tasks"), tasks <= TASKS)?;
                Ok(tasks > TASKS - 10)
            })?;
            guest.signal(by)?;
            // It does not have to get to its reboot(): that takes a process more.
            let end = guest.end()?;
            equal("its end", (end.init, end.tasks), (INIT_EXITED, 0))?;
            before.until_again()?;
        }
        Ok(())
    })
}

/// Inside, everybody is killed again and again, and init starts them anew; then from outside, and nobody
/// is left.
fn storm() -> Outcome {
    with_vservers(|| {
        let inittab = INITTAB.to_string() + "::respawn:/bin/storm\n";
        let root = furnished(&inittab)?;
        program(&root, "bin/storm", STORM)?;
        let before = Machine::now()?;
        let mut guests = Vec::new();
        for _ in 0..5 {
            guests.push(Guest::start(&root)?);
        }
        for guest in &mut guests {
            for _ in 0..5 {
                guest.until("login: ")?;
            }
        }
        for guest in &guests {
            let state = status(&guest.end).map_err(words)?;
            equal("init", state.init, INIT_RUNNING)?;
            signal(guest.context, SIGNAL_ALL, Signal::SIGKILL as i32).map_err(words)?;
        }
        for guest in guests {
            let end = guest.end()?;
            equal("how init ended", end.init_status, Signal::SIGKILL as u32)?;
            equal("tasks", end.tasks, 0)?;
        }
        before.until_again()
    })
}
