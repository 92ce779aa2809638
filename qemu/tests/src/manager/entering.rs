// SPDX-License-Identifier: GPL-2.0

//! What a command that enters has with it at that moment, as the kernel tells it outside; and what root inside gets hold
//! of meanwhile, with all the time that he can make himself.

use super::{killed::keeper_of, *};
use crate::{
    fixture::{child, device},
    syscalls::{fork, ioctl, own, syscall},
};
use nix::{
    fcntl::OFlag,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt, PtyMaster},
    sched::{setns, CloneFlags},
    sys::{
        ptrace,
        signal::{raise, Signal},
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, execvp, setsid, Pid},
};
use std::{
    ffi::CString,
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt, unix::fs::FileTypeExt, unix::fs::MetadataExt},
    time::{Duration, Instant},
};
use vserver_uapi::{Enter, IOC_ENTER};

pub const BROUGHT: Test = test("manager::entering_brings_nothing", 300, brought);
pub const CAPCHROOT: Test = test("manager::capchroot_brings_nothing", 120, capchroot);
pub const ATTACKED: Test = test("manager::entering_attacked", 600, attacked);
pub const ATTACKED_IN_THE_OLD_WAY: Test = test(
    "manager::entering_attacked_in_the_old_way",
    300,
    attacked_in_the_old_way,
);

/// A process at the moment before a system call.
#[derive(Debug, Default)]
struct Seen {
    /// Number, what it is, and whether it closes when another program starts.
    descriptors: Vec<(i32, String, bool)>,
    program: String,
    root: String,
    directory: String,
    /// The files that are mapped.
    mapped: Vec<String>,
}

impl Seen {
    fn of(pid: Pid) -> Result<Self, String> {
        let link = |name: &str| -> Result<String, String> {
            let target = fs::read_link(format!("/proc/{pid}/{name}")).map_err(words)?;
            Ok(target.to_string_lossy().into_owned())
        };
        let mut descriptors = Vec::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).map_err(words)? {
            let name = entry.map_err(words)?.file_name();
            let name = name.to_string_lossy();
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{name}")).map_err(words)?;
            let flags = info
                .lines()
                .find_map(|line| line.strip_prefix("flags:"))
                .and_then(|flags| i32::from_str_radix(flags.trim(), 8).ok())
                .ok_or("no flags")?;
            let closes = flags & OFlag::O_CLOEXEC.bits() != 0;
            let number = name.parse().map_err(words)?;
            descriptors.push((number, link(&format!("fd/{name}"))?, closes));
        }
        descriptors.sort();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).map_err(words)?;
        let mut mapped: Vec<String> = maps
            .lines()
            .filter_map(|line| line.find('/').map(|start| line[start..].to_string()))
            .collect();
        mapped.dedup();
        Ok(Self {
            descriptors,
            program: link("exe")?,
            root: link("root")?,
            directory: link("cwd")?,
            mapped,
        })
    }
}

/// Which system call is waited for.
#[derive(Clone, Copy)]
enum At {
    /// ENTER of a context that is not the spectator's.
    Enter,
    Chroot,
}

impl At {
    fn is_here(self, pid: Pid) -> Result<bool, String> {
        let registers = ptrace::getregs(pid).map_err(words)?;
        // At the end of a call this is its result.
        if registers.rax != (-i64::from(libc::ENOSYS)) as u64 {
            return Ok(false);
        }
        match (self, registers.orig_rax as i64) {
            (Self::Chroot, libc::SYS_chroot) => Ok(true),
            (Self::Enter, libc::SYS_ioctl) if registers.rsi as u32 == IOC_ENTER => {
                let mut bytes = [0; size_of::<Enter>()];
                let memory = File::open(format!("/proc/{pid}/mem")).map_err(words)?;
                memory
                    .read_exact_at(&mut bytes, registers.rdx)
                    .map_err(words)?;
                // The number is the first field.
                let number = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                Ok(number != vserver_uapi::CONTEXT_SPECTATOR
                    && number != vserver_uapi::CONTEXT_STAY)
            }
            _ => Ok(false),
        }
    }
}

/// Follows a process that has stopped and all that it starts, until one is at that call; that one goes on untraced, as
/// nobody who is traced enters.
fn follow(at: At) -> Result<Seen, String> {
    let options = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACEFORK
        | ptrace::Options::PTRACE_O_TRACEVFORK
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_TRACEEXEC;
    let mut is_first = true;
    loop {
        let status = waitpid(None, Some(WaitPidFlag::__WALL))
            .map_err(|errno| format!("nobody was at that call: {errno}"))?;
        let (pid, signal) = match status {
            WaitStatus::PtraceSyscall(pid) => {
                if at.is_here(pid)? {
                    let seen = Seen::of(pid)?;
                    ptrace::detach(pid, None).map_err(words)?;
                    return Ok(seen);
                }
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, ..) | WaitStatus::Stopped(pid, Signal::SIGSTOP) => {
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => continue,
        };
        if is_first {
            // What it starts has them from it.
            ptrace::setoptions(pid, options).map_err(words)?;
            is_first = false;
        }
        // It may have been killed.
        let _ = ptrace::syscall(pid, signal);
    }
}

/// Runs a command line until one of its processes is at that call. It goes on by itself.
fn seen(at: At, line: &[&str], terminal: bool, check: fn(&Seen) -> Outcome) -> Outcome {
    child(|| {
        let arguments: Vec<CString> = line
            .iter()
            .map(|word| CString::new(*word))
            .collect::<Result<_, _>>()
            .map_err(words)?;
        let master = terminal.then(pair).transpose()?;
        match fork().map_err(words)? {
            0 => {
                let run = || -> Outcome {
                    let file = match &master {
                        Some((_, name)) => {
                            setsid().map_err(words)?;
                            name.as_str()
                        }
                        None => "/dev/null",
                    };
                    let file = File::options()
                        .read(true)
                        .write(true)
                        .open(file)
                        .map_err(words)?;
                    dup2_stdin(&file).map_err(words)?;
                    dup2_stdout(&file).map_err(words)?;
                    dup2_stderr(&file).map_err(words)?;
                    // Whoever calls has directories open, which it does not close when it runs a command.
                    let _left = nix::unistd::dup(File::open("/").map_err(words)?);
                    ptrace::traceme().map_err(words)?;
                    raise(Signal::SIGSTOP).map_err(words)?;
                    execvp(&arguments[0], &arguments).map_err(words)?;
                    Ok(())
                };
                let _ = run();
                crate::syscalls::exit_now(1)
            }
            _ => follow(at)
                .and_then(|seen| check(&seen).map_err(|error| format!("{error}: {seen:#?}")))
                .map(|()| String::new()),
        }
    })
    .map(drop)
    .map_err(|error| format!("{line:?}: {error}"))
}

fn pair() -> Result<(PtyMaster, String), String> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).map_err(words)?;
    grantpt(&master).map_err(words)?;
    unlockpt(&master).map_err(words)?;
    let name = ptsname_r(&master).map_err(words)?;
    Ok((master, name))
}

const ROOT: &str = "/vservers/box";

/// Nothing of the host: its root, its directory, what is mapped, and all descriptors but the three for the command.
fn nothing_of_the_host(seen: &Seen, sockets: usize) -> Outcome {
    const COPY: &str = "/memfd:vserver (deleted)";
    equal("root", seen.root.as_str(), ROOT)?;
    equal("directory", seen.directory.as_str(), ROOT)?;
    equal("program", seen.program.as_str(), COPY)?;
    let foreign = seen.mapped.iter().find(|name| *name != COPY);
    equal("mapped", foreign, None)?;
    let own: Vec<_> = seen
        .descriptors
        .iter()
        .filter(|(number, ..)| *number > 2)
        .collect();
    let count = |start: &str| {
        let named = own.iter().filter(|(_, name, _)| name.starts_with(start));
        named.count()
    };
    equal("devices", count("/dev/vserver"), 1)?;
    equal("pipes", count("pipe:"), 2)?;
    equal("sockets", count("socket:"), sockets)?;
    equal("all", own.len(), 3 + sockets)?;
    ensure("they close", own.iter().all(|(.., closes)| *closes))
}

fn brought() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        let check: fn(&Seen) -> Outcome = |seen| nothing_of_the_host(seen, 0);
        seen(At::Enter, &["vserver", "box", "start"], false, check)?;
        until("it runs", || vserver.running())?;
        for line in [
            &["vserver", "box", "exec", "true"][..],
            &["vserver", "box", "exec", "--user", "root", "true"],
            &["vserver", "box", "suexec", "root", "true"],
            &["vserver", "box", "enter"],
        ] {
            seen(At::Enter, line, false, check)?;
        }
        let check_terminal: fn(&Seen) -> Outcome = |seen| nothing_of_the_host(seen, 1);
        seen(
            At::Enter,
            &["vserver", "box", "enter"],
            true,
            check_terminal,
        )?;
        // Started anew by the keeper, by itself.
        let keeper = keeper_of("box")?.ok_or("no keeper")?;
        let status = child(|| {
            let pid = Pid::from_raw(keeper);
            ptrace::attach(pid).map_err(words)?;
            // Stops when it is attached; then it gets to know.
            match fork().map_err(words)? {
                0 => {
                    let _ = Command::new("vserver")
                        .args(["box", "exec", "reboot"])
                        .stdin(Stdio::null())
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .spawn();
                    crate::syscalls::exit_now(0)
                }
                _ => follow(At::Enter),
            }
            .and_then(|seen| check(&seen).map_err(|error| format!("{error}: {seen:#?}")))
            .map(|()| String::new())
        });
        status.map_err(|error| format!("reboot: {error}"))?;
        until("it runs again", || {
            Ok(vserver.command(&["exec", "true"])?.0 == 0)
        })?;
        vserver.stop(&[])?;
        // Whoever calls chcontext gives it what the command gets, and this adds the device.
        let line = ["chcontext", "--ctx", "300", "--silent", "true"];
        let check: fn(&Seen) -> Outcome = |seen| {
            let own = seen.descriptors.iter().filter(|(number, ..)| *number > 2);
            let added: Vec<_> = own.filter(|(.., closes)| *closes).collect();
            equal("descriptors", added.len(), 1)?;
            equal("it", added[0].1.as_str(), "/dev/vserver")
        };
        seen(At::Enter, &line, false, check)
    })
}

/// It is inside already, and its root becomes that of the others.
fn capchroot() -> Outcome {
    with_vservers(|| {
        let _vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        for line in [
            &["capchroot", ROOT, "true"][..],
            &["capchroot", "--nochroot", "--suid", "root", ROOT, "true"],
        ] {
            let check: fn(&Seen) -> Outcome = |seen| {
                equal("directory", seen.directory.as_str(), ROOT)?;
                let own = seen.descriptors.iter().filter(|(number, ..)| *number > 2);
                let foreign = own
                    .map(|(_, name, _)| name.as_str())
                    .find(|name| *name != "/dev/vserver");
                equal("descriptors", foreign, None)
            };
            seen(At::Chroot, line, false, check)?;
        }
        Ok(())
    })
}

/// What the newcomers run. Root inside has a lease of it, so that they wait for him on their way to it.
const PROGRAM: &str = "/busybox";

/// Another name of it, by which it is a shell.
const SHELL: &str = "/sh";

/// So often each command comes.
const ROUNDS: usize = 3;

/// How long root inside looks around while they wait.
const LOOK: Duration = Duration::from_millis(300);

/// Root inside, with a lease of the program: waits for somebody who comes, and tries all that there is on each process
/// that was not there before. What he has got, a line each.
fn lurk() -> Result<String, String> {
    crate::syscalls::set_handler(libc::SIGIO, libc::SIG_IGN).map_err(words)?;
    let program = File::open(PROGRAM).map_err(words)?;
    let call = |command: i32, value: i32| {
        let number = program.as_raw_fd() as usize;
        let arguments = [number, command as usize, value as usize, 0, 0, 0];
        syscall(libc::SYS_fcntl, arguments).map_err(words)
    };
    let before = numbers()?;
    call(libc::F_SETLEASE, libc::F_WRLCK)?;
    fs::write("/run/ready", "").map_err(words)?;
    let start = Instant::now();
    while call(libc::F_GETLEASE, 0)? == i64::from(libc::F_WRLCK) {
        ensure("nobody came", start.elapsed() < Duration::from_secs(60))?;
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut got = Vec::new();
    let start = Instant::now();
    while start.elapsed() < LOOK {
        for pid in numbers()?.iter().filter(|pid| !before.contains(pid)) {
            got.extend(tried_on(*pid));
        }
    }
    call(libc::F_SETLEASE, libc::F_UNLCK)?;
    got.sort();
    got.dedup();
    Ok(got.join("\n"))
}

fn numbers() -> Result<Vec<usize>, String> {
    let entries = fs::read_dir("/proc").map_err(words)?.flatten();
    let own = std::process::id() as usize;
    Ok(entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect())
}

/// What leads out, or is more than root inside has.
fn tried_on(pid: usize) -> Vec<String> {
    let mut got = Vec::new();
    // Who runs only when nobody else wants to takes long for each step.
    let idle = [0i32];
    let arguments = [
        pid,
        libc::SCHED_IDLE as usize,
        idle.as_ptr() as usize,
        0,
        0,
        0,
    ];
    if syscall(libc::SYS_sched_setscheduler, arguments).is_ok() {
        got.push("its scheduling".to_owned());
    }
    if let Ok(process) = syscall(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0]) {
        let process = own(process as i32);
        for number in 0..64 {
            let arguments = [process.as_raw_fd() as usize, number, 0, 0, 0, 0];
            let Ok(taken) = syscall(libc::SYS_pidfd_getfd, arguments) else {
                continue;
            };
            let taken = File::from(own(taken as i32));
            let Ok(data) = taken.metadata() else { continue };
            let kind = data.file_type();
            let name = fs::read_link(format!("/proc/self/fd/{}", taken.as_raw_fd()));
            let name = name.unwrap_or_default();
            if !(kind.is_fifo() || kind.is_char_device()) {
                got.push(format!("descriptor {number}: {}", name.display()));
            }
        }
    }
    let own_root = fs::metadata("/").map(|data| (data.dev(), data.ino()));
    for link in ["root", "cwd"] {
        let there = fs::metadata(format!("/proc/{pid}/{link}"));
        if let (Ok(there), Ok(root)) = (there, &own_root) {
            if link == "root" && (there.dev(), there.ino()) != *root {
                got.push(link.to_string());
            }
            if fs::metadata(format!("/proc/{pid}/{link}/../vservers")).is_ok() {
                got.push(format!("{link} leads out"));
            }
        }
    }
    let program = format!("/proc/{pid}/exe");
    if File::options().write(true).open(program).is_ok() {
        got.push("its program, to write to".to_owned());
    }
    let excess = permitted(&pid.to_string()) & !permitted("self");
    if excess != 0 {
        got.push(format!("capabilities {excess:#x}"));
    }
    got
}

/// The permitted capabilities of a process, 0 if it cannot be seen.
fn permitted(pid: &str) -> u64 {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|line| line.strip_prefix("CapPrm:\t"))
        .and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .unwrap_or(0)
}

/// Root inside lurks while somebody enters.
fn attack(mounts: i32, context: i32, line: &[&str], expected: &str) -> Outcome {
    let ready = format!("/proc/{mounts}/root{ROOT}/run/ready");
    let _ = fs::remove_file(&ready);
    let place = File::open(format!("/proc/{mounts}/ns/mnt")).map_err(words)?;
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(words)?;
    let pid = match fork().map_err(words)? {
        0 => {
            drop(reader);
            let run = || -> Result<String, String> {
                setns(&place, CloneFlags::CLONE_NEWNS).map_err(words)?;
                drop(place);
                let device = device()?;
                chdir(ROOT).map_err(words)?;
                chroot(".").map_err(words)?;
                let mut request = Enter {
                    context,
                    ..Enter::default()
                };
                ioctl(&device, IOC_ENTER, &mut request).map_err(words)?;
                drop(device);
                lurk()
            };
            let text = match run() {
                Ok(text) => text,
                Err(error) => format!("failed: {error}"),
            };
            let _ = nix::unistd::write(&writer, text.as_bytes());
            crate::syscalls::exit_now(0)
        }
        pid => pid,
    };
    drop(writer);
    let start = Instant::now();
    while !Path::new(&ready).exists() {
        ensure(
            "root inside is not ready",
            start.elapsed() < Duration::from_secs(60),
        )?;
        std::thread::sleep(Duration::from_millis(5));
    }
    ends(0, line)?;
    let mut text = String::new();
    std::io::Read::read_to_string(&mut File::from(reader), &mut text).map_err(words)?;
    waitpid(Pid::from_raw(pid), None).map_err(words)?;
    equal(
        &format!("what root inside gets of {line:?}"),
        text.as_str(),
        expected,
    )
}

/// A vserver with these settings, where root inside has prepared all for those who come: its context, and the process
/// that keeps its mounts.
fn lair(settings: &str) -> Result<(Vserver, i32, i32), String> {
    let vserver = Vserver::new("box", "busybox", crate::inet::A, settings)?;
    // Long to read, as somebody inside may make it.
    let passwd = vserver.root.join("etc/passwd");
    let users = fs::read_to_string(&passwd).map_err(words)?;
    let users = users.replace("/bin/sh", SHELL);
    let anna = format!("anna:x:1000:1000::/:{PROGRAM}\nfill:x:1001:1001::/:");
    fs::write(&passwd, users + &anna + &"/".repeat(12 << 20)).map_err(words)?;
    vserver.start(&[])?;
    let keeper = keeper_of("box")?.ok_or("no keeper")?;
    let place = |name: &str| format!("/proc/{keeper}/root{ROOT}{name}");
    let executable = |name: &str, content: &[u8]| -> Outcome {
        fs::write(place(name), content).map_err(words)?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(place(name), mode).map_err(words)
    };
    executable(PROGRAM, &fs::read("/bin/busybox").map_err(words)?)?;
    // The same file is root's shell, and runs the script of a service.
    fs::hard_link(place(PROGRAM), place(SHELL)).map_err(words)?;
    fs::create_dir_all(place("/etc/init.d")).map_err(words)?;
    executable("/etc/init.d/lured", format!("#!{SHELL}\n").as_bytes())?;
    let context = vserver.context()?.context;
    Ok((vserver, keeper, context))
}

fn attacked() -> Outcome {
    with_vservers(|| {
        let (vserver, keeper, context) = lair("S_CAPS=\"!CAP_SYS_CHROOT\"")?;
        for line in [
            &["vserver", "box", "exec", PROGRAM, "true"][..],
            &["vserver", "box", "exec", "--user", "root", PROGRAM, "true"],
            &["vserver", "box", "suexec", "anna", PROGRAM, "true"],
            &["vserver", "box", "enter"],
            &["vserver", "box", "service", "lured", "start"],
        ] {
            for _ in 0..ROUNDS {
                attack(keeper, context, line, "")?;
            }
        }
        vserver.stop(&[])
    })
}

/// As scripts for 0.10 enter: capchroot is inside when it begins.
fn attacked_in_the_old_way() -> Outcome {
    with_vservers(|| {
        let (vserver, keeper, context) = lair("")?;
        let line = format!(
            "cd {ROOT} && exec chcontext --silent --ctx {context} capchroot . {PROGRAM} true"
        );
        for _ in 0..ROUNDS {
            // Like any other process there it can be slowed down.
            attack(keeper, context, &["sh", "-c", &line], "its scheduling")?;
        }
        vserver.stop(&[])
    })
}
