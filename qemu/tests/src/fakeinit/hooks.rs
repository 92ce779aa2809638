// SPDX-License-Identifier: GPL-2.0

//! The hooks that only a process 1 needs come with the first one, and go some time after the last one.

use super::{as_init, expect_success, in_child, named, spawn};
use crate::{
    fixture::{
        device, ensure, enter, equal, hooks, open_context, until_empty, words, Outcome, Sitter,
    },
    module::{self, reload, Load},
    syscalls, test, Test,
};
use nix::{
    errno::Errno,
    libc,
    sys::signal::kill,
    unistd::{getpid, getppid, Pid},
};
use std::{
    collections::BTreeSet,
    fs,
    os::fd::{AsRawFd, OwnedFd},
    thread::sleep,
    time::{Duration, Instant},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::hooks_go_with_the_last", 180, go),
    test("fakeinit::hooks_stay_for_whom", 180, stay),
    test("fakeinit::hooks_come_back", 300, come_back),
    test("fakeinit::hooks_cycles", 300, cycles),
    test("fakeinit::hooks_unload", 300, unload),
    test("fakeinit::hooks_that_cannot_be_attached", 120, refused),
];

/// How long the module keeps them when nobody needs them.
const DELAY: Duration = Duration::from_secs(5);

/// More than it takes to detach them on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many starts and ends, in each of two processes.
const CYCLES: usize = 500;

/// The names of those of the group that are attached, and of those that are not.
fn group() -> Result<[BTreeSet<String>; 2], String> {
    let mut info = Info::default();
    syscalls::ioctl(&device()?, IOC_INFO, &mut info).map_err(words)?;
    let mut group = [BTreeSet::new(), BTreeSet::new()];
    for hook in hooks(512).map_err(words)? {
        let text = |field: &[u8]| {
            String::from_utf8_lossy(field)
                .trim_end_matches('\0')
                .to_string()
        };
        let (name, file) = (text(&hook.name), text(&hook.file));
        let is_of_group = match file.as_str() {
            "hooks/pid/translate.rs" | "hooks/pid/open.rs" | "hooks/pid/proc_root.rs" => true,
            // In the other lane also others are found by number.
            "hooks/pid/lookup.rs" => info.lane == LANE_PATCHED && hook.place == HOOK_FUNCTION,
            _ => ["disassociate_ctty", "security_task_prctl"].contains(&name.as_str()),
        };
        if is_of_group {
            group[usize::from(hook.attached == 0)].insert(name);
        } else {
            equal(&name, hook.attached, 1)?;
        }
    }
    ensure(&format!("{group:?}"), group[0].len() + group[1].len() > 7)?;
    Ok(group)
}

/// All of them are attached, or none: which?
fn are_attached() -> Result<bool, String> {
    let [attached, others] = group()?;
    ensure(
        &format!("a part is attached: {attached:?}, not {others:?}"),
        attached.is_empty() || others.is_empty(),
    )?;
    Ok(others.is_empty())
}

/// Waits until they are detached; how long that took.
fn until_detached() -> Result<Duration, String> {
    let start = Instant::now();
    while are_attached()? {
        ensure("they are detached", start.elapsed() < DELAY + PATIENCE)?;
        sleep(Duration::from_millis(10));
    }
    Ok(start.elapsed())
}

/// What the hooks do for a process 1.
fn translated() -> Outcome {
    equal("getpid", getpid().as_raw(), 1)?;
    equal("getppid", getppid().as_raw(), 0)?;
    equal("kill", kill(Pid::from_raw(1), None), Ok(()))?;
    let pidfd = syscalls::syscall(libc::SYS_pidfd_open, [1, 0, 0, 0, 0, 0]);
    drop(syscalls::own(
        pidfd.map_err(|errno| format!("pidfd_open: {errno}"))? as i32,
    ));
    let own = fs::read_to_string("/proc/1/stat").map_err(words)?;
    ensure(&own, own.starts_with("1 ("))?;
    let child = spawn(|| i32::from(getppid().as_raw() != 1))?;
    expect_success(child)
}

fn go() -> Outcome {
    until_empty()?;
    until_detached()?;
    // One without a process 1 needs none of them.
    drop(Sitter::idle(CONTEXT_NEW)?);
    equal("without a process 1", are_attached()?, false)?;
    let name = fs::read_to_string("/proc/1/comm").map_err(words)?;
    let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, translated)?;
    equal("with one", are_attached()?, true)?;
    // Its descriptor does not need them.
    let fd = open_context(init.context).map_err(words)?;
    drop(init);
    let start = Instant::now();
    let soon = are_attached()?;
    if start.elapsed() < DELAY / 2 {
        equal("soon after it", soon, true)?;
    }
    let took = until_detached()?;
    println!("detached after {took:?}");
    ensure(&format!("after {took:?}"), took > DELAY / 2)?;
    drop(fd);
    equal(
        "/proc/1",
        fs::read_to_string("/proc/1/comm").map_err(words),
        Ok(name),
    )?;
    let info = std::process::Command::new("vserver")
        .args(["info", "--hooks", "--json"])
        .output()
        .map_err(words)?;
    let json: serde_json::Value = serde_json::from_slice(&info.stdout).map_err(words)?;
    let listed = json["hooks"].as_array().ok_or("no hooks")?;
    let found = listed.iter().find(|hook| hook["name"] == "pid_vnr");
    let found = found.ok_or("no pid_vnr")?;
    equal("vserver info", found["attached"].as_bool(), Some(false))
}

/// Waits for longer than they would be kept.
fn equal_after_delay(what: &str, attached: bool) -> Outcome {
    sleep(DELAY + Duration::from_secs(3));
    equal(what, are_attached()?, attached)
}

fn stay() -> Outcome {
    let one = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, translated)?;
    let two = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, translated)?;
    // Process 1 of both cannot be had; who fails does not count.
    for _ in 0..10 {
        let again = in_child(|| {
            equal(
                "a second one",
                enter(one.context, FLAG_FAKEINIT, 0).err(),
                Some(Errno::EPERM),
            )
        });
        again?;
    }
    drop(one);
    equal_after_delay("with another one", true)?;
    drop(two);
    // Reaped is what counts: a zombie is still told of by its number.
    let zombie = spawn(|| {
        let entered = enter(CONTEXT_NEW, FLAG_FAKEINIT, 0);
        i32::from(entered.is_err())
    })?;
    equal_after_delay("with a zombie", true)?;
    expect_success(zombie)?;
    until_detached()?;
    // Process 1 inside of a context that has none.
    let outer = Sitter::new(CONTEXT_NEW, 0, || {
        spawn(|| {
            if enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).is_ok() {
                loop {
                    nix::unistd::pause();
                }
            }
            1
        })?;
        sleep(Duration::from_millis(300));
        Ok(())
    })?;
    equal_after_delay("inside", true)?;
    crate::fixture::signal(outer.context, SIGNAL_ALL, libc::SIGKILL).map_err(words)?;
    drop(outer);
    until_empty()?;
    until_detached().map(drop)
}

/// Around the moment at which they go: before it, while it is to begin, while it goes on, after it.
fn come_back() -> Outcome {
    for milliseconds in [4700, 4900, 4980, 5000, 5020, 5050, 5100, 5200, 5300, 7000] {
        as_init(|_| translated())?;
        until_empty()?;
        sleep(Duration::from_millis(milliseconds));
        as_init(|_| translated()).map_err(|text| format!("{milliseconds} ms: {text}"))?;
        let init = Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, translated)?;
        equal(&format!("{milliseconds} ms"), are_attached()?, true)?;
        drop(init);
    }
    until_empty()?;
    until_detached().map(drop)
}

/// Many starts and ends, side by side, on a machine that is at work; they are attached once.
fn cycles() -> Outcome {
    let at_work = module::at_work()?;
    let run = || {
        for cycle in 0..CYCLES {
            // Some do not get that far.
            let flags = [FLAG_FAKEINIT, FLAG_FAKEINIT, 0][cycle % 3];
            let ended = spawn(|| {
                let entered = enter(CONTEXT_NEW, flags, 0).is_ok();
                let number = getpid().as_raw();
                i32::from(!entered || (number == 1) != (flags != 0))
            });
            if ended.and_then(expect_success).is_err() {
                return 1;
            }
        }
        0
    };
    let [one, two] = [spawn(run)?, spawn(run)?];
    expect_success(one)?;
    expect_success(two)?;
    drop(at_work);
    until_empty()?;
    until_detached().map(drop)
}

/// While they are to be detached, while they are being detached, after that; with processes of the host inside of them.
fn unload() -> Outcome {
    let at_work: [Load; 3] = module::at_work()?;
    for milliseconds in [0, 1000, 5000, 5060, 5120, 5200, 5300, 6000] {
        as_init(|_| translated()).map_err(|text| format!("{milliseconds} ms: {text}"))?;
        until_empty()?;
        sleep(Duration::from_millis(milliseconds));
        reload().map_err(|text| format!("{milliseconds} ms: {text}"))?;
        equal("a new one", are_attached()?, false)?;
    }
    drop(at_work);
    as_init(|_| translated())
}

/// BTF's kinds whose description goes on behind the first twelve bytes: by so many, and by so many for each member.
fn length_of(kind: u32, members: usize) -> usize {
    match kind {
        1 | 14 | 17 => 4,
        3 => 12,
        4 | 5 | 15 => 12 * members,
        6 | 13 => 8 * members,
        19 => 12 * members,
        _ => 0,
    }
}

/// The number of a function in the types of the running kernel.
fn number_of(function: &str) -> Result<u32, String> {
    let btf = fs::read("/sys/kernel/btf/vmlinux").map_err(words)?;
    let word = |at: usize| -> Result<u32, String> {
        let bytes = btf.get(at..at + 4).ok_or("BTF ends too early")?;
        Ok(u32::from_ne_bytes(bytes.try_into().map_err(words)?))
    };
    let head = word(4)? as usize;
    let types = head + word(8)? as usize;
    let types_end = types + word(12)? as usize;
    let names = head + word(16)? as usize;
    let (mut at, mut number) = (types, 1);
    while at < types_end {
        let name = names + word(at)? as usize;
        let info = word(at + 4)?;
        let kind = (info >> 24) & 31;
        let end = name + function.len();
        if kind == 12 && btf.get(name..end) == Some(function.as_bytes()) && btf[end] == 0 {
            return Ok(number);
        }
        at += 12 + length_of(kind, (info & 0xffff) as usize);
        number += 1;
    }
    Err(format!("BTF has no {function}"))
}

/// A program in the kernel that is called where a function begins, as long as both live.
fn program_at(function: &str) -> Result<[OwnedFd; 2], String> {
    let call = |command: usize, attributes: &[u32; 36]| {
        let [address, size] = [attributes.as_ptr() as usize, size_of_val(attributes)];
        syscalls::syscall(libc::SYS_bpf, [command, address, size, 0, 0, 0])
            .map(|fd| syscalls::own(fd as i32))
    };
    // r0 = 0; exit.
    let code = [0xb7u64, 0x95];
    let (code, license) = (code.as_ptr() as u64, c"GPL".as_ptr() as u64);
    let mut load = [0u32; 36];
    // BPF_PROG_LOAD: the kind is TRACING, of two instructions, with a licence.
    load[..6].copy_from_slice(&[
        26,
        2,
        code as u32,
        (code >> 32) as u32,
        license as u32,
        (license >> 32) as u32,
    ]);
    // expected_attach_type: BPF_TRACE_FENTRY; attach_btf_id.
    load[17] = 24;
    load[27] = number_of(function)?;
    let program = named("BPF_PROG_LOAD", call(5, &load))?;
    // BPF_RAW_TRACEPOINT_OPEN.
    let mut open = [0u32; 36];
    open[2] = program.as_raw_fd() as u32;
    let link = named("BPF_RAW_TRACEPOINT_OPEN", call(17, &open))?;
    Ok([program, link])
}

/// One of them is another's: ENTER says so, and leaves nothing.
fn refused() -> Outcome {
    if !fs::exists("/sys/kernel/btf/vmlinux").unwrap_or(false) {
        println!("this lane's kernel does not tell its types");
        std::process::exit(77);
    }
    until_empty()?;
    until_detached()?;
    let other = program_at("do_notify_parent")?;
    for _ in 0..3 {
        in_child(|| {
            let before = syscalls::syscall(libc::SYS_getpid, [0; 6]);
            equal(
                "ENTER",
                enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).err(),
                Some(Errno::ETXTBSY),
            )?;
            equal(
                "getpid",
                syscalls::syscall(libc::SYS_getpid, [0; 6]),
                before,
            )?;
            equal(
                "the context",
                crate::fixture::get(0).map(|info| info.context),
                Ok(0),
            )
        })?;
        equal("none is attached", are_attached()?, false)?;
        equal(
            "no context",
            crate::fixture::list().map(|list| list.len()),
            Ok(0),
        )?;
    }
    // Who needs none of them enters.
    drop(Sitter::idle(CONTEXT_NEW)?);
    drop(other);
    // The other one lets go some time after.
    let start = Instant::now();
    let _init = loop {
        match Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, translated) {
            Ok(init) => break init,
            Err(text) => ensure(&text, start.elapsed() < PATIENCE)?,
        }
        sleep(Duration::from_millis(100));
    };
    equal("after it", are_attached()?, true)?;
    // What the failures have queued meets one that lives.
    equal_after_delay("while one lives", true)
}
