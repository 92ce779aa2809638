// SPDX-License-Identifier: GPL-2.0

//! Process 1 of the test machine. Reads its job from `/etc/vserver-job`:
//!
//! - `test`, filter, `PART/PARTS`: the tests of `/bin/guest-tests` that are of that part, results as KTAP on the port
//!   `results`;
//! - `exec`, command: `/bin/sh -c`, output on the ports `stdout` and `stderr`, `exit N` on `results`;
//! - `bare`, command: as `exec`, but without the module loaded;
//! - `tour`: as `exec` with `/bin/tour`;
//! - `tour-shell`, rows and columns: the same on the terminal, then a shell there.
//!
//! `settle=SECONDS` on the kernel's command line: so long the machine is left alone before the job.

mod relay;

use anyhow::{Context, Result};
use nix::{
    mount::{mount, MsFlags},
    sys::{
        reboot::{reboot, RebootMode},
        signal::{kill, Signal},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::Pid,
};
use relay::Relay;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const MODULE: &str = "/lib/vserver.ko";
/// The visitor's terminal; the kernel's messages have the serial line for themselves.
const TERMINAL: &str = "/dev/hvc0";
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

fn main() {
    if let Err(error) = work() {
        eprintln!("guest-init: {error:#}");
        say(&format!("# guest-init: {error:#}"));
    }
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_POWER_OFF);
}

fn mounts() -> Result<()> {
    for (kind, target, data) in [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
        ("tmpfs", "/tmp", "mode=1777"),
        ("tmpfs", "/dev/shm", "mode=1777"),
        ("cgroup2", "/sys/fs/cgroup", ""),
    ] {
        let _ = fs::create_dir_all(target);
        mount(Some(kind), target, Some(kind), MsFlags::empty(), Some(data))
            .with_context(|| format!("cannot mount {kind} on {target}"))?;
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        std::os::unix::fs::symlink(target, format!("/dev/{name}"))?;
    }
    // There when the runner exported a folder under that name.
    for tag in ["vservers", "servers", "inits", "share"] {
        let target = format!("/{tag}");
        let none: Option<&str> = None;
        let _ = mount(
            Some(tag),
            target.as_str(),
            Some("virtiofs"),
            MsFlags::empty(),
            none,
        );
    }
    Ok(())
}

/// A virtio port by its name.
fn port(name: &str) -> Result<File> {
    for entry in fs::read_dir("/sys/class/virtio-ports").context("no virtio ports")? {
        let path = entry?.path();
        if fs::read_to_string(path.join("name")).is_ok_and(|found| found.trim() == name) {
            let device = PathBuf::from("/dev").join(path.file_name().unwrap_or_default());
            return OpenOptions::new()
                .write(true)
                .open(&device)
                .with_context(|| format!("cannot open {}", device.display()));
        }
    }
    anyhow::bail!("no virtio port is named {name}")
}

/// A line on the result port.
fn say(line: &str) {
    if let Ok(mut port) = port("results") {
        let _ = writeln!(port, "{line}");
    }
}

fn work() -> Result<()> {
    mounts()?;
    let job = fs::read_to_string("/etc/vserver-job").context("no job")?;
    let (kind, rest) = job.split_once('\n').unwrap_or((job.as_str(), ""));
    if kind != "bare" {
        let file = File::open(MODULE).with_context(|| format!("no module at {MODULE}"))?;
        nix::kmod::finit_module(&file, c"", nix::kmod::ModuleInitFlags::empty())
            .context("the module does not load; see the console")?;
    }
    loopback()?;
    settle();
    match kind {
        "test" => {
            let mut lines = rest.lines();
            let filter = lines.next().unwrap_or_default();
            tests(filter, lines.next().unwrap_or_default())
        }
        "exec" | "bare" => on_ports(&["/bin/sh", "-c", rest.strip_suffix('\n').unwrap_or(rest)]),
        "tour" => on_ports(&["/bin/tour"]),
        "tour-shell" => visit(rest.trim_end()),
        other => anyhow::bail!("unknown job {other}"),
    }
}

/// The network that every machine has.
fn loopback() -> Result<()> {
    let status = base("/bin/ip")
        .args(["link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .status()
        .context("cannot start ip")?;
    anyhow::ensure!(status.success(), "the loopback device does not come up");
    Ok(())
}

/// The kernel passes parameters that it does not know to its process 1 as variables.
fn settle() {
    let seconds = std::env::var("settle").ok();
    if let Some(seconds) = seconds.and_then(|seconds| seconds.parse().ok()) {
        std::thread::sleep(Duration::from_secs(seconds));
    }
}

fn base(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("TERM", "linux")
        .current_dir("/root");
    command
}

const MOMENT: Duration = Duration::from_millis(2);

/// Waits for one child and reaps every orphan meanwhile. `None`: the time is over.
fn wait_for(pid: Pid, limit: Option<Duration>) -> Option<i32> {
    let start = Instant::now();
    // Without a limit there is nothing to look up from, and nobody's measurement is disturbed.
    let flags = limit.map(|_| WaitPidFlag::WNOHANG);
    loop {
        match waitpid(None, flags) {
            Ok(WaitStatus::Exited(done, code)) if done == pid => return Some(code),
            Ok(WaitStatus::Signaled(done, signal, _)) if done == pid => {
                return Some(128 + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => {
                if limit.is_some_and(|limit| start.elapsed() > limit) {
                    return None;
                }
                // Short tests are many, and long ones not to be disturbed.
                std::thread::sleep((start.elapsed() / 50).clamp(MOMENT, 50 * MOMENT));
            }
            Ok(_) => {}
        }
    }
}

/// The tour on the terminal, then a shell there.
fn visit(size: &str) -> Result<()> {
    let (rows, columns) = size.split_once(' ').context("no size of the terminal")?;
    // Held to the end: a line that nobody has open forgets its settings.
    let mut terminal = OpenOptions::new().write(true).open(TERMINAL)?;
    let setup = base("/bin/stty")
        .args(["-F", TERMINAL, "sane", "rows", rows, "cols", columns])
        .status()?;
    anyhow::ensure!(setup.success(), "{TERMINAL} cannot be set up");
    on_terminal(&["/bin/tour"])?;
    writeln!(
        terminal,
        "\nA shell on that machine; exit or Ctrl-D powers it off. For example:\n\n  \
         chcontext --ctx 100 chroot /vservers/one bash\n  vps\n  vserver-stat\n"
    )?;
    on_terminal(&["/bin/setsid", "-c", "/bin/sh", "-l"])
}

/// Runs a command with its output on the ports and reports its status.
fn on_ports(words: &[&str]) -> Result<()> {
    let mut relays = Vec::new();
    let mut command = base(words[0]);
    command.args(&words[1..]).stdin(Stdio::null());
    // Pipes, as a port cannot be opened again, and /dev/stderr would do that.
    let (stdout, relay) = Relay::new(port("stdout")?)?;
    relays.push(relay);
    let (stderr, relay) = Relay::new(port("stderr")?)?;
    relays.push(relay);
    command.stdout(stdout).stderr(stderr);
    report(command, relays)
}

/// Runs a command on the terminal and reports its status.
fn on_terminal(words: &[&str]) -> Result<()> {
    let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL)?;
    let mut command = base(words[0]);
    command
        .args(&words[1..])
        // The runner looks for this prompt.
        .env("PS1", "host# ")
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal);
    report(command, Vec::new())
}

fn report(mut command: Command, relays: Vec<Relay>) -> Result<()> {
    let child = command
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    drop(command);
    let code = wait_for(Pid::from_raw(child.id() as i32), None).unwrap_or(1);
    for relay in relays {
        relay.finish()?;
    }
    say(&format!("exit {code}"));
    Ok(())
}

/// So many times longer than a test says, it may last on a machine that others use too.
const SLOWEST: u32 = 5;

/// Whole systems, programs and servers that call nothing which others do not call, and take minutes: they run in
/// `make test-long`, and when they are asked for.
const MORE: [&str; 8] = [
    "init::commands_cycles",
    "init::openrc",
    "init::runit",
    "init::two_with_servers",
    "manager::sample_of_0_10",
    "programs::dnsmasq",
    "programs::postgresql_sysv",
    "programs::redis",
];

/// The same in a kernel with checks, which is slow: of programs, of a great many contexts, and of our commands, by how
/// the names begin. Those are about files and the host's tables, or what a command leaves that was killed, and hardly
/// about the kernel; `userland::` has each of them once.
const MORE_WITH_CHECKS: [&str; 12] = [
    "first_hour::",
    "inet::tcp_a_thousand_contexts",
    "init::sysvinit",
    "manager::",
    "mistakes::",
    "planted::",
    "programs::iperf3",
    "programs::postgresql",
    "programs::python",
    "quotas::a_thousand_contexts",
    "scale::three_hundred_contexts",
    "trees::",
];

/// What of these is about the kernel, and stays.
const NOT_MORE: [&str; 1] = ["manager::entering_"];

/// Calls that a lane with two machines for calls leaves to the second one, by how the names begin: what our commands
/// do, processes 1, and whatever has many processes.
const APART: [&str; 8] = [
    "manager::",
    "userland::",
    "fakeinit::",
    "task::",
    "scale::",
    "barrier::",
    "escape::",
    "ipc::",
];

/// Whether a machine that runs one part of the tests runs this one: all; those with programs and systems as Debian
/// packages them (for a kernel with checks: some of them); the others (there: some of them, in two parts); or what a lane
/// leaves out.
fn is_in_part(name: &str, part: &str) -> Result<bool> {
    let begins = |list: &[&str]| list.iter().any(|begin| name.starts_with(begin));
    let system = begins(&["programs::", "init::"]);
    let more = MORE.contains(&name);
    let more_with_checks = more || begins(&MORE_WITH_CHECKS) && !begins(&NOT_MORE);
    let apart = begins(&APART);
    match part {
        "all" => Ok(true),
        "systems" => Ok(system && !more),
        "some-systems" => Ok(system && !more_with_checks),
        "calls" => Ok(!system && !more),
        "some-calls" => Ok(!system && !more_with_checks && !apart),
        "some-commands" => Ok(!system && !more_with_checks && apart),
        "more" => Ok(more),
        "more-with-checks" => Ok(more_with_checks),
        other => anyhow::bail!("no part {other:?} of the tests"),
    }
}

/// Groups of tests that take too long for every run (`make test-long`): only a filter that begins with the group's
/// name selects them.
const LONG: [&str; 3] = ["long::", "load::", "soak::"];

/// Whether a name contains the filter, or one of several with `|` between them.
fn is_selected(name: &str, filter: &str) -> bool {
    filter.split('|').any(|part| {
        let apart = LONG
            .iter()
            .any(|group| name.starts_with(group) && !part.starts_with(group));
        name.contains(part) && !apart
    })
}

/// Whether the kernel looks for leaks, and has not been told not to.
fn leaks_are_noted() -> bool {
    let parameters = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let off = parameters
        .split_ascii_whitespace()
        .any(|word| word == "kmemleak=off");
    !off && mount_debugfs().is_ok() && Path::new(KMEMLEAK).exists()
}

fn tests(filter: &str, part: &str) -> Result<()> {
    let list = base("/bin/guest-tests")
        .arg("--list")
        .output()
        .context("no guest tests")?;
    let list = String::from_utf8(list.stdout)?;
    let mut tests: Vec<(&str, u64)> = Vec::new();
    for (name, seconds) in list.lines().filter_map(|line| line.split_once(' ')) {
        if is_selected(name, filter) && is_in_part(name, part)? {
            tests.push((name, seconds.parse().unwrap_or(30)));
        }
    }
    // At the end.
    let leaks = leaks_are_noted();
    say("KTAP version 1");
    say(&format!("1..{}", tests.len() + usize::from(leaks)));
    for (index, (name, seconds)) in tests.iter().enumerate() {
        say(&format!("# running {name}"));
        test(index + 1, name, SLOWEST * Duration::from_secs(*seconds))?;
    }
    if leaks {
        say("# running leaks::kmemleak");
        match leaked() {
            Ok(report) if report.is_empty() => {
                say(&format!("ok {} leaks::kmemleak", tests.len() + 1));
            }
            other => {
                let text = other.unwrap_or_else(|error| format!("{error:#}"));
                for line in text.lines() {
                    say(&format!("# {line}"));
                }
                say(&format!("not ok {} leaks::kmemleak", tests.len() + 1));
            }
        }
    }
    say("# end");
    Ok(())
}

fn mount_debugfs() -> nix::Result<()> {
    let none: Option<&str> = None;
    mount(
        none,
        "/sys/kernel/debug",
        Some("debugfs"),
        MsFlags::empty(),
        none,
    )
}

/// What kmemleak found that belongs to nobody, once the module is gone: what only the module
/// pointed to is lost then.
fn leaked() -> Result<String> {
    // Contexts end, and sockets go, a little after their last process.
    let mut tries = 0;
    while let Err(error) =
        nix::kmod::delete_module(c"vserver", nix::kmod::DeleteModuleFlags::O_NONBLOCK)
    {
        tries += 1;
        if tries == 50 {
            return Err(error).context("the module cannot be removed after the tests");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    // It takes nothing for lost that is younger than five seconds, and wants to miss it twice.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(6));
        fs::write(KMEMLEAK, "scan").context("cannot start kmemleak")?;
    }
    fs::read_to_string(KMEMLEAK).context("cannot read kmemleak")
}

fn test(number: usize, name: &str, limit: Duration) -> Result<()> {
    // The console names the test too, for whoever reads a kernel's complaint there.
    if let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // One write is one record there.
        let _ = kmsg.write_all(format!("test {name}\n").as_bytes());
    }
    let output = "/tmp/test-output";
    let file = File::create(output)?;
    let child = base("/bin/guest-tests")
        .arg(name)
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_raw(child.id() as i32);
    let code = wait_for(pid, Some(limit));
    let _ = kill(Pid::from_raw(-pid.as_raw()), Signal::SIGKILL);
    if code.is_none() {
        let _ = kill(pid, Signal::SIGKILL);
        wait_for(pid, Some(Duration::from_secs(10)));
    }
    let output = fs::read(output).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    match code {
        Some(0) => say(&format!("ok {number} {name}")),
        Some(77) => {
            let reason = output.lines().last().unwrap_or("no reason given");
            say(&format!("ok {number} {name} # SKIP {reason}"));
        }
        failed => {
            let end = base("/bin/guest-tests").arg("--end-contexts").spawn()?;
            wait_for(
                Pid::from_raw(end.id() as i32),
                Some(Duration::from_secs(10)),
            );
            for line in output.lines() {
                say(&format!("# {line}"));
            }
            match failed {
                Some(code) => say(&format!("# status {code}")),
                None => say(&format!("# no end after {} s", limit.as_secs())),
            }
            say(&format!("not ok {number} {name}"));
        }
    }
    Ok(())
}
