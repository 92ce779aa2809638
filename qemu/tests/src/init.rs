// SPDX-License-Identifier: GPL-2.0

//! Init systems as Debian packages them, each as process 1 of a vserver.
//!
//! Every vserver has the file system of its init system (the runner's `trees.rs`), and what it writes is in
//! memory. Nothing waits for a time to be over, but for something to be so.

use crate::{
    filesystem::{mounted, private_mounts},
    fixture::{
        child, confine, ensure, enter, equal, list, signal, status, until_empty, words, Outcome,
        SECURE,
    },
    syscalls, test, Test,
};
use nix::{
    fcntl::OFlag,
    mount::MsFlags,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt, PtyMaster},
    sys::{
        signal::Signal,
        stat::{makedev, mknod, Mode, SFlag},
        wait::waitpid,
    },
    unistd::{chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, execve, read, setpgid, Pid},
};
use std::{
    collections::BTreeMap,
    ffi::CString,
    fs::{self, File},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::symlink,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use vserver_uapi::*;

mod alone;
mod busybox;
pub(crate) mod leftovers;
mod openrc;
mod runit;
mod servers;
mod systemd;
mod sysvinit;

use leftovers::Machine;

pub const TESTS: &[Test] = &[
    alone::FORK_BOMB,
    alone::SIGKILL_STORM,
    busybox::BOOT,
    busybox::ENDS,
    busybox::CYCLES,
    sysvinit::BOOT,
    openrc::BOOT,
    runit::BOOT,
    systemd::BOOT,
    servers::TWO,
    alone::CYCLES,
    alone::THOUSAND_CYCLES,
];

/// The file systems, read-only.
const INITS: &str = "/inits";

/// Where vservers are, behind the barrier.
pub(crate) const VSERVERS: &str = "/vservers";

/// What they are to be like.
pub(crate) const CONFIGURATION: &str = "/etc/vservers";

/// What is written to them.
const WRITTEN: &str = "/tmp/init";

/// How long anything may take on a slow machine with a kernel with checks.
const LIMIT: Duration = Duration::from_secs(900);

/// Waits until something is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> Result<bool, String>) -> Outcome {
    let start = Instant::now();
    while !so()? {
        ensure(&format!("not in time: {what}"), start.elapsed() < LIMIT)?;
        sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// Where what consoles have shown is kept.
const LOGS: &str = "/var/log/vservers";

/// Runs a test with a place for vservers. When it fails, all that the consoles have shown is told.
pub(crate) fn with_vservers(run: impl FnOnce() -> Outcome) -> Outcome {
    until_empty()?;
    crate::inet::addresses()?;
    private_mounts()?;
    let none = MsFlags::empty();
    mounted(Some("tmpfs"), VSERVERS, None, none, "mode=000")?;
    for folder in [WRITTEN, CONFIGURATION, LOGS] {
        fs::create_dir_all(folder).map_err(words)?;
        mounted(Some("tmpfs"), folder, None, none, "mode=700")?;
    }
    run().map_err(|mut reason| {
        for log in fs::read_dir(LOGS).into_iter().flatten().flatten() {
            let text = fs::read(log.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&text).replace('\r', "");
            reason += &format!("\n{}:\n{text}", log.path().display());
        }
        reason
    })
}

/// Makes the file system of a vserver from that of an init system; where it is.
pub(crate) fn furnish(name: &str, tree: &str) -> Result<PathBuf, String> {
    let root = Path::new(VSERVERS).join(name);
    let written = Path::new(WRITTEN).join(name);
    for folder in [&root, &written.join("upper"), &written.join("work")] {
        fs::create_dir_all(folder).map_err(words)?;
    }
    let layers = format!(
        "lowerdir={INITS}/{tree},upperdir={written}/upper,workdir={written}/work",
        written = written.display()
    );
    mounted(Some("overlay"), &root, None, MsFlags::empty(), &layers)?;
    Ok(root)
}

/// A vserver that the commands know.
pub(crate) struct Vserver {
    pub(crate) name: &'static str,
    pub(crate) root: PathBuf,
}

/// Addresses for servers that, as Debian packages them, listen on both families.
fn both_families() -> String {
    format!("{} {}", crate::inet::A, crate::inet::A6)
}

/// A process as `ps` inside shows it.
#[derive(Debug)]
struct Shown {
    pid: i32,
    parent: i32,
    command: String,
}

impl Vserver {
    /// One with the files of an init system, its addresses, and more lines of configuration.
    pub(crate) fn new(
        name: &'static str,
        tree: &str,
        address: &str,
        configuration: &str,
    ) -> Result<Self, String> {
        let root = furnish(name, tree)?;
        let text = format!(
            "S_FLAGS=\"fakeinit\"\nS_HOSTNAME={name}\nIPROOT=\"{address}\"\n\
             START_TIMEOUT={limit}\nSTOP_TIMEOUT={limit}\n{configuration}\n",
            limit = LIMIT.as_secs()
        );
        let file = format!("{CONFIGURATION}/{name}.conf");
        fs::write(file, text).map_err(words)?;
        Ok(Self { name, root })
    }

    /// `vserver NAME …`; its code, and all that it has printed.
    pub(crate) fn command(&self, line: &[&str]) -> Result<(i32, String), String> {
        let ran = Command::new("vserver")
            .arg(self.name)
            .args(line)
            .stdin(Stdio::null())
            .output()
            .map_err(words)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = ran.status.code().unwrap_or(-1);
        Ok((code, text(&ran.stdout) + &text(&ran.stderr)))
    }

    /// The same, when it is to end well.
    pub(crate) fn good(&self, line: &[&str]) -> Result<String, String> {
        let (code, said) = self.command(line)?;
        let what = format!("vserver {} {line:?} ends with {code}: {said}", self.name);
        ensure(&what, code == 0)?;
        Ok(said)
    }

    /// Starts it; its console until it is ready has to show these.
    pub(crate) fn start(&self, shown: &[&str]) -> Outcome {
        let said = self.good(&["start"])?;
        contains(&said, shown)?;
        contains(&said, &[&format!("Server {} is running", self.name)])?;
        equal("it runs", self.running(), Ok(true))
    }

    /// Has its init stop it.
    pub(crate) fn stop(&self, shown: &[&str]) -> Outcome {
        let said = self.good(&["stop"])?;
        contains(&said, shown)?;
        let end = format!("Server {} is stopped (powered off)", self.name);
        contains(&said, &[&end])?;
        equal("it runs", self.running(), Ok(false))
    }

    /// Runs a command inside; what it prints.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<String, String> {
        let said = self.good(&[&["exec"], command].concat())?;
        Ok(said.trim_end().to_string())
    }

    pub(crate) fn running(&self) -> Result<bool, String> {
        let (code, said) = self.command(&["running"])?;
        match (code, said.trim_end()) {
            (0, said) if said == format!("Server {} is running", self.name) => Ok(true),
            (1, said) if said == format!("Server {} is not running", self.name) => Ok(false),
            other => Err(format!("running says {other:?}")),
        }
    }

    /// Its context.
    pub(crate) fn context(&self) -> Result<ContextInfo, String> {
        let file = format!("/var/run/vservers/{}.ctx", self.name);
        let text = fs::read_to_string(file).map_err(words)?;
        let number = text
            .lines()
            .find_map(|line| line.strip_prefix("S_CONTEXT="));
        let number: i32 = number.unwrap_or_default().parse().map_err(words)?;
        let all = crate::fixture::list_all().map_err(words)?;
        let found = all.into_iter().find(|info| info.context == number);
        found.ok_or_else(|| format!("context {number} is not there"))
    }

    /// Asks for a reboot by a command inside, and waits until it has come up again.
    pub(crate) fn reboots(&self, command: &[&str]) -> Outcome {
        self.exec(&["touch", "/run/before"])?;
        // Its shell may be gone before it could say how it ended.
        self.command(&[&["exec"], command].concat())?;
        until("it is another boot", || {
            let (code, _) = self.command(&["exec", "test", "!", "-e", "/run/before"])?;
            Ok(code == 0)
        })
    }

    /// Asks for the end by a command inside, and waits for it.
    fn ends(&self, command: &[&str]) -> Outcome {
        self.command(&[&["exec"], command].concat())?;
        until("it has ended", || Ok(!self.running()?))
    }

    /// All processes, as `ps` inside tells.
    fn processes(&self) -> Result<Vec<Shown>, String> {
        // busybox knows no -e, and others only themselves without it.
        let all = match self.root.join("bin/busybox").exists() {
            true => "ps -o pid,ppid,args",
            false => "ps -e -o pid,ppid,args",
        };
        let text = self.exec(&["sh", "-c", all])?;
        let parse = |line: &str| {
            let mut words = line.split_whitespace();
            Some(Shown {
                pid: words.next()?.parse().ok()?,
                parent: words.next()?.parse().ok()?,
                command: words.collect::<Vec<_>>().join(" "),
            })
        };
        let found: Vec<Shown> = text.lines().skip(1).filter_map(parse).collect();
        equal("lines of ps", found.len() + 1, text.lines().count())?;
        Ok(found)
    }

    /// The processes with this in their command.
    pub(crate) fn pids(&self, command: &str) -> Result<Vec<i32>, String> {
        let found = self.processes()?;
        let named = found.iter().filter(|shown| shown.command.contains(command));
        Ok(named.map(|shown| shown.pid).collect())
    }

    /// The one process with this in its command.
    pub(crate) fn pid(&self, command: &str) -> Result<i32, String> {
        let mut pid = 0;
        until(&format!("there is one {command}"), || {
            let found = self.pids(command)?;
            pid = found.first().copied().unwrap_or(0);
            Ok(found.len() == 1)
        })?;
        Ok(pid)
    }

    /// `ps` inside shows process 1, whose command is this, and those of the context: no more, no less.
    fn sees_its_own(&self, init: &str) -> Outcome {
        let mut last = String::new();
        let same = || -> Result<bool, String> {
            let inside = self.processes()?;
            let Some(first) = inside.iter().find(|shown| shown.pid == 1) else {
                return Err(format!("no process 1 in {inside:#?}"));
            };
            equal("its parent", first.parent, 0)?;
            ensure(
                &format!("process 1 is {:?}", first.command),
                first.command.starts_with(init),
            )?;
            let alive = |pid: i32| inside.iter().any(|shown| shown.pid == pid);
            for shown in inside.iter().filter(|shown| shown.pid != 1) {
                let has_parent = alive(shown.parent) || shown.parent == 0;
                ensure(&format!("who is the parent of {shown:?}"), has_parent)?;
                // So are threads of the kernel shown, and who has ended and is not waited for yet.
                let is_known =
                    !shown.command.starts_with('[') || shown.command.ends_with("<defunct>");
                ensure(&format!("what is {shown:?}"), is_known)?;
            }
            let info = self.context()?;
            let own = |pid: i32| if pid == 1 { info.initpid } else { pid };
            let inside: Vec<i32> = inside.iter().map(|shown| own(shown.pid)).collect();
            let outside = members(info.context)?;
            last = format!("inside {inside:?}, outside {outside:?}");
            let looked = inside.iter().filter(|pid| !outside.contains(pid)).count();
            let all = outside.iter().all(|pid| inside.contains(pid));
            // The shell and ps are gone by now.
            Ok(all && looked <= 2)
        };
        until("ps shows what there is", same).map_err(|error| format!("{error}: {last}"))
    }

    /// Somebody with this in his command is killed, and process 1 or who watches him starts another.
    fn respawns(&self, command: &str) -> Outcome {
        let before = self.pid(command)?;
        self.exec(&["kill", "-9", &before.to_string()])?;
        until(&format!("{command} is there again"), || {
            let now = self.pids(command)?;
            Ok(now.len() == 1 && now[0] != before)
        })
    }
}

impl Drop for Vserver {
    fn drop(&mut self) {
        // Of a test that has failed.
        if let Ok(info) = self.context() {
            let _ = signal(info.context, SIGNAL_ALL, Signal::SIGKILL as i32);
        }
    }
}

/// The processes of a context, by whoever sees them all.
pub(crate) fn members(context: i32) -> Result<Vec<i32>, String> {
    let text = child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        let mut text = String::new();
        for entry in fs::read_dir("/proc").map_err(words)?.flatten() {
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status
                .lines()
                .any(|line| line == format!("s_context: {context}"))
            {
                text += &format!("{}\n", entry.file_name().to_string_lossy());
            }
        }
        Ok(text)
    })?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Fails unless all are in the text.
pub(crate) fn contains(text: &str, parts: &[&str]) -> Outcome {
    for part in parts {
        ensure(&format!("no {part:?} in {text:?}"), text.contains(part))?;
    }
    Ok(())
}
