// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading.

use crate::{
    fixture::{
        child,
        device,
        ensure,
        equal,
        hooks,
        inside,
        until_empty,
        words,
        Outcome,
        Sitter, //
    },
    syscalls, test, Test,
};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    kmod, libc,
    sys::{
        prctl::set_pdeathsig,
        signal::{kill, Signal},
        wait::waitpid,
    },
    unistd::{getppid, setuid, Pid, Uid},
};
use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use vserver_uapi::{
    HookInfo, Info, CONTEXT_SPECTATOR, FLAG_FAKEINIT, HOOK_FUNCTION, HOOK_MEMBER, IOC_INFO,
    LANE_PATCHED,
};

mod leaving;

pub const TESTS: &[Test] = &[
    test("module::busy_while_a_context_lives", 30, busy),
    test("module::leaves_processes_that_wait", 120, leaving::leaves),
    test("module::hooks", 60, all_hooks),
    test("module::hooks_for_whom", 30, hooks_for_whom),
    test("module::unload", 120, unload),
    test("module::cycles_under_load", 300, cycles),
];

/// Enough to see that it works: `load::cycles` goes on for long. Each cycle waits for RCU several times.
const CYCLES: usize = 12;

/// After each time.
const BREAK: std::time::Duration = std::time::Duration::from_micros(500);

fn remove() -> Result<(), Errno> {
    kmod::delete_module(c"vserver", kmod::DeleteModuleFlags::O_NONBLOCK)
}

fn load() -> Outcome {
    let file = std::fs::File::open("/lib/vserver.ko").map_err(words)?;
    kmod::finit_module(&file, c"", kmod::ModuleInitFlags::empty()).map_err(words)
}

/// Takes it out and puts it back, once no context is left.
pub fn reload() -> Outcome {
    let mut tries = 0;
    while let Err(errno) = remove() {
        tries += 1;
        ensure(&format!("rmmod: {errno}"), tries < 6000)?;
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    load()
}

fn busy() -> Outcome {
    let sitter = Sitter::idle(300)?;
    // What delete_module(2) answers for a module in use.
    equal("rmmod", remove(), Err(Errno::EWOULDBLOCK))?;
    drop(sitter);
    until_empty()?;
    for _ in 0..6000 {
        match remove() {
            Ok(()) => {
                let status = std::fs::read_to_string("/proc/self/status").map_err(words)?;
                load()?;
                ensure("no trace in status", !status.contains("s_context"))?;
                return Ok(());
            }
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    }
    Err("the module does not go although no context is left".to_string())
}

/// A text that ends with a NUL, and has nothing behind it.
fn text_of(field: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(field).map_err(words)?;
    let bare = text.trim_end_matches('\0');
    ensure(
        bare,
        bare.len() < text.len() && !bare.is_empty() && !bare.contains('\0'),
    )?;
    Ok(bare)
}

/// Once there is a process 1 of a context, every hook of every table is attached.
fn all_hooks() -> Outcome {
    let _init = Sitter::new(300, FLAG_FAKEINIT, || Ok(()))?;
    let all = hooks(512).map_err(words)?;
    ensure(&format!("{} hooks", all.len()), all.len() > 100)?;
    equal("in small pieces", hooks(7).as_ref(), Ok(&all))?;
    let mut info = Info::default();
    syscalls::ioctl(&device()?, IOC_INFO, &mut info).map_err(words)?;
    equal(
        "as many as INFO tells",
        all.len(),
        info.hooks_total as usize,
    )?;
    let mut names = std::collections::BTreeSet::new();
    for hook in &all {
        let name = text_of(&hook.name)?;
        equal(name, hook.attached, 1)?;
        equal(name, hook.reserved, [0; 2])?;
        ensure(name, names.insert(name.to_owned()))?;
        ensure(
            name,
            text_of(&hook.kind)?
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        )?;
        let file = text_of(&hook.file)?;
        ensure(file, file.ends_with(".rs") && !file.starts_with('/'))?;
    }
    let member = |hook: &&HookInfo| hook.place == HOOK_MEMBER;
    let function = |hook: &&HookInfo| hook.place == HOOK_FUNCTION;
    let members = all.iter().filter(member).count();
    equal(
        "places",
        members + all.iter().filter(function).count(),
        all.len(),
    )?;
    equal(
        "members in the patched lane",
        members > 0,
        info.lane == LANE_PATCHED,
    )?;
    // One of another lane's name each, from the same declaration.
    let kill = if info.lane == LANE_PATCHED {
        "task_kill"
    } else {
        "security_task_kill"
    };
    let said = Command::new("vserver")
        .args(["info", "--hooks", "--json"])
        .output()
        .map_err(words)?;
    equal("vserver info --hooks", said.status.code(), Some(0))?;
    let json: serde_json::Value = serde_json::from_slice(&said.stdout).map_err(words)?;
    let listed = json["hooks"].as_array().ok_or("no hooks")?;
    equal("listed", listed.len(), all.len())?;
    let found = listed.iter().find(|hook| hook["name"] == kill);
    let found = found.ok_or("no hook of kill")?;
    equal("kind", found["kind"].as_str(), Some("mediate_anyone"))?;
    equal("file", found["file"].as_str(), Some("hooks/signal.rs"))?;
    equal("attached", found["attached"].as_bool(), Some(true))
}

/// Root in context 0 alone.
fn hooks_for_whom() -> Outcome {
    let refused = || equal("LIST_HOOKS", hooks(8).err(), Some(Errno::EPERM));
    inside(300, refused)?;
    inside(CONTEXT_SPECTATOR, refused)?;
    child(|| {
        setuid(Uid::from_raw(1000)).map_err(words)?;
        refused().map(|()| String::new())
    })?;
    until_empty()?;
    ensure("the host's root", hooks(8).is_ok())
}

/// `vserver unload` goes on until the kernel lets the module go, and names what keeps it.
fn unload() -> Outcome {
    let unload = |wait: &str| -> Result<(Option<i32>, String), String> {
        let mut command = Command::new("vserver");
        let said = command.args(["unload", "--wait", wait]).output();
        let said = said.map_err(words)?;
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        Ok((said.status.code(), text))
    };
    let is_there = || Path::new("/dev/vserver").exists();
    until_empty()?;
    let sitter = Sitter::idle(300)?;
    let start = Instant::now();
    let (code, said) = unload("60")?;
    equal("with a context", code, Some(1))?;
    ensure(&said, said.contains("alive are context 300;"))?;
    ensure(
        "it does not wait for it",
        start.elapsed() < Duration::from_secs(30),
    )?;
    // At once after the last process has ended.
    drop(sitter);
    equal("after it", unload("60")?, (Some(0), String::new()))?;
    ensure("it is gone", !is_there())?;
    equal("once more", unload("0")?.0, Some(0))?;
    let info = Command::new("vserver")
        .arg("info")
        .output()
        .map_err(words)?;
    equal("info", info.status.code(), Some(3))?;
    load()?;
    let device = std::fs::File::open("/dev/vserver").map_err(words)?;
    let (code, said) = unload("1")?;
    equal("with an open device", code, Some(1))?;
    ensure(&said, said.contains("/dev/vserver"))?;
    drop(device);
    let holder = "exec 3</dev/vserver; echo; sleep 1";
    let mut command = Command::new("sh");
    let mut holder = command
        .args(["-c", holder])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(words)?;
    let mut out = holder.stdout.take().ok_or("no output")?;
    std::io::Read::read_exact(&mut out, &mut [0]).map_err(words)?;
    equal("meanwhile closed", unload("60")?, (Some(0), String::new()))?;
    holder.wait().map_err(words)?;
    load()?;
    ensure("it is there", is_there())
}

/// A process that is killed when it is dropped.
pub struct Load(Pid);

impl Drop for Load {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// Does something over and over. The break lets a cycle's waits for every task end soon.
fn load_of(work: fn()) -> Result<Load, String> {
    match syscalls::fork().map_err(words)? {
        0 => {
            let _ = set_pdeathsig(Signal::SIGKILL);
            loop {
                work();
                std::thread::sleep(BREAK);
            }
        }
        pid => Ok(Load(Pid::from_raw(pid))),
    }
}

pub fn fork_and_wait() {
    if let Ok(pid) = syscalls::fork() {
        if pid == 0 {
            syscalls::exit_now(0);
        }
        let _ = waitpid(Pid::from_raw(pid), None);
    }
}

fn signal_parent() {
    let _ = kill(getppid(), None);
}

fn read_proc() {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let _ = std::fs::read(entry.path().join("status"));
    }
}

fn read_sys() {
    for entry in std::fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten()
    {
        let _ = std::fs::read_link(entry.path());
        let _ = std::fs::read(entry.path().join("mtu"));
    }
}

/// What the barrier is asked about: permission bits, and a directory that has none.
fn change_modes() {
    let made = "/tmp/cycles";
    let _ = std::fs::create_dir(made);
    for mode in [0o755, 0o000] {
        let _ = std::fs::set_permissions(made, Permissions::from_mode(mode));
        let _ = std::fs::read_dir(made);
    }
}

/// What their entries, and the list of them, are asked.
fn use_terminals() {
    let pair = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY);
    let _ = std::fs::read_dir("/dev/pts").map(|entries| {
        for entry in entries.flatten() {
            let _ = std::fs::metadata(entry.path());
        }
    });
    drop(pair);
}

/// One process for all of these: each more makes the cycles longer.
fn use_files() {
    use_terminals();
    read_proc();
    read_sys();
    change_modes();
}

/// Processes of the host that keep the hooks busy; the caller runs before them, so that a cycle is no longer than
/// its waits.
pub fn at_work() -> Result<[Load; 3], String> {
    let at_work = [
        load_of(fork_and_wait)?,
        load_of(signal_parent)?,
        load_of(use_files)?,
    ];
    let first = [libc::PRIO_PROCESS as usize, 0, -20isize as usize, 0, 0, 0];
    syscalls::syscall(libc::SYS_setpriority, first).map_err(words)?;
    Ok(at_work)
}

fn cycles() -> Outcome {
    let at_work = at_work()?;
    for cycle in 0..CYCLES {
        remove().map_err(|error| format!("cycle {cycle}: rmmod: {error}"))?;
        load().map_err(|error| format!("cycle {cycle}: insmod: {error}"))?;
    }
    drop(at_work);
    Ok(())
}
