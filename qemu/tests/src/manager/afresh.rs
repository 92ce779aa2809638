// SPDX-License-Identifier: GPL-2.0

//! What runs inside is the same, whoever has started it: the administrator of this test has changed all that a process
//! inherits. And an ordinary user gets rid of nothing by entering.

use super::*;
use crate::{
    fixture::{child, enter},
    syscalls::{set_handler, syscall},
};
use nix::{
    errno::Errno,
    sched::{sched_setaffinity, CpuSet},
    sys::{
        personality::{self, Persona},
        prctl,
        resource::{setrlimit, Resource},
        signal::{SigSet, Signal},
        stat::{umask, Mode},
    },
    unistd::{setresgid, setresuid, Gid, Pid, Uid},
};
use std::collections::BTreeMap;
use vserver_uapi::CONTEXT_SPECTATOR;

pub const ALL: Test = test("manager::starts_afresh", 180, all);
pub const IMMUTABLE: Test = test("manager::loginuid_immutable", 120, immutable);
pub const KEPT: Test = test("manager::user_keeps_what_counts", 60, kept);

const NOBODY: &str = "4294967295";

fn own(file: &str, value: &str) -> Outcome {
    fs::write(format!("/proc/self/{file}"), value).map_err(|error| format!("{file}: {error}"))
}

/// Changes all of it for the calling process and what it starts.
fn change() -> Outcome {
    own("loginuid", "1234")?;
    own("oom_score_adj", "500")?;
    own("coredump_filter", "0x7f")?;
    umask(Mode::from_bits_truncate(0o077));
    set_handler(libc::SIGHUP, libc::SIG_IGN).map_err(words)?;
    set_handler(libc::SIGUSR2, libc::SIG_IGN).map_err(words)?;
    SigSet::from(Signal::SIGUSR1)
        .thread_block()
        .map_err(words)?;
    prctl::set_timerslack(12_345).map_err(words)?;
    prctl::set_thp_disable(true).map_err(words)?;
    personality::set(Persona::ADDR_NO_RANDOMIZE).map_err(words)?;
    for (resource, value) in [
        (Resource::RLIMIT_NOFILE, 256),
        (Resource::RLIMIT_CORE, 7 << 20),
        (Resource::RLIMIT_NPROC, 300),
        (Resource::RLIMIT_STACK, 4 << 20),
    ] {
        setrlimit(resource, value, value).map_err(words)?;
    }
    let mut first = CpuSet::new();
    first.set(0).map_err(words)?;
    sched_setaffinity(Pid::from_raw(0), &first).map_err(words)?;
    // The lowest class of the best-effort I/O priorities.
    let priority = (2 << 13) | 7;
    syscall(libc::SYS_ioprio_set, [1, 0, priority, 0, 0, 0]).map_err(words)?;
    let batch = [0i32];
    let batch = [
        0,
        libc::SCHED_BATCH as usize,
        batch.as_ptr() as usize,
        0,
        0,
        0,
    ];
    syscall(libc::SYS_sched_setscheduler, batch).map_err(words)?;
    syscall(libc::SYS_setpriority, [0, 0, 9, 0, 0, 0]).map_err(words)?;
    Ok(())
}

/// The timer slack of all processes of a context, which is one.
fn timer_slack(context: i32) -> Result<String, String> {
    let members = crate::init::members(context)?;
    child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        let mut slacks = std::collections::BTreeSet::new();
        for pid in &members {
            // What has ended by now has none.
            if let Ok(text) = fs::read_to_string(format!("/proc/{pid}/timerslack_ns")) {
                slacks.insert(text.trim().to_string());
            }
        }
        Ok(slacks.into_iter().collect::<Vec<_>>().join(" "))
    })
}

/// What /proc tells of a process inside.
fn told(vserver: &Vserver, pid: &str) -> Result<BTreeMap<String, String>, String> {
    let files = "loginuid sessionid oom_score_adj coredump_filter timerslack_ns personality";
    let mut told = BTreeMap::new();
    let script =
        format!("for f in {files}; do echo \"$f=$(cat /proc/{pid}/$f 2>/dev/null)\"; done");
    let said = vserver.exec(&["sh", "-c", &script])?;
    for line in said.lines() {
        let (file, value) = line.split_once('=').ok_or(line)?;
        told.insert(file.to_string(), value.to_string());
    }
    if pid != "self" {
        // Of another process it needs CAP_SYS_NICE, which nobody has inside.
        equal("timerslack_ns inside", told["timerslack_ns"].as_str(), "")?;
        let context = vserver.context()?.context;
        told.insert("timerslack_ns".to_string(), timer_slack(context)?);
    }
    let status = vserver.exec(&["cat", &format!("/proc/{pid}/status")])?;
    for line in status.lines() {
        if let Some((name, value)) = line.split_once(':') {
            let named = [
                "Umask",
                "SigBlk",
                "SigIgn",
                "Cpus_allowed_list",
                "CapAmb",
                "THP_enabled",
            ];
            if named.contains(&name) {
                told.insert(name.to_string(), value.trim().to_string());
            }
        }
    }
    let limits = vserver.exec(&["cat", &format!("/proc/{pid}/limits")])?;
    for line in limits.lines().skip(1) {
        let (name, values) = line.split_at(26.min(line.len()));
        let values: Vec<&str> = values.split_whitespace().take(2).collect();
        told.insert(name.trim().to_string(), values.join(" "));
    }
    let stat = vserver.exec(&["cat", &format!("/proc/{pid}/stat")])?;
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default();
    for (number, name) in [(19, "nice"), (41, "policy")] {
        let field = fields.get(number - 3).unwrap_or(&"").to_string();
        told.insert(name.to_string(), field);
    }
    let priority = match pid {
        "self" => vserver.exec(&["ionice"])?,
        pid => vserver.exec(&["ionice", "-p", pid])?,
    };
    told.insert("ionice".to_string(), priority);
    Ok(told)
}

/// What everybody has by default, as `/proc/PID/status` says it.
struct Machine {
    processors: String,
    /// "0" also where the kernel has none.
    huge_pages: String,
}

impl Machine {
    fn now() -> Result<Self, String> {
        let status = fs::read_to_string("/proc/self/status").map_err(words)?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map(|value| value.trim().to_string())
                .ok_or(format!("no {name} in status"))
        };
        Ok(Self {
            processors: value("Cpus_allowed_list:")?,
            huge_pages: value("THP_enabled:")?,
        })
    }
}

/// Those that are to be so.
fn is_afresh(what: &str, told: &BTreeMap<String, String>, machine: &Machine) -> Outcome {
    for (name, value) in [
        ("loginuid", NOBODY),
        ("sessionid", NOBODY),
        ("oom_score_adj", "0"),
        ("coredump_filter", "00000033"),
        ("timerslack_ns", "50000"),
        ("personality", "00000000"),
        ("SigBlk", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("THP_enabled", &machine.huge_pages),
        ("Cpus_allowed_list", &machine.processors),
        ("nice", "0"),
        ("policy", "0"),
        ("Max open files", "1024 524288"),
        ("Max core file size", "0 unlimited"),
        ("Max stack size", "8388608 unlimited"),
    ] {
        let got = told.get(name).map(String::as_str);
        equal(&format!("{what}: {name}"), got, Some(value))?;
    }
    let number = told["Max processes"].split(' ').next().unwrap_or_default();
    ensure("Max processes", number != "300")?;
    let priority = &told["ionice"];
    ensure(&format!("{what}: {priority}"), priority.starts_with("none"))
}

fn all() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        let machine = Machine::now()?;
        child(|| {
            change()?;
            vserver.start(&[])?;
            // What is wrong with the test would be wrong here too.
            let before = fs::read_to_string("/proc/self/loginuid").map_err(words)?;
            equal("the caller", before.as_str(), "1234")?;
            let init = told(&vserver, "1")?;
            is_afresh("process 1", &init, &machine)?;
            let newcomer = told(&vserver, "self")?;
            is_afresh("exec", &newcomer, &machine)?;
            // The shell and cat have set nothing themselves.
            equal("exec: Umask", newcomer["Umask"].as_str(), "0022")?;
            let ignored = u64::from_str_radix(&newcomer["SigIgn"], 16).map_err(words)?;
            let ours = (1 << (libc::SIGHUP - 1)) | (1 << (libc::SIGUSR2 - 1));
            equal("exec: SigIgn", ignored & ours, 0)?;
            // A key of whoever has called is nobody's inside.
            let none = vserver.exec(&["cat", "/proc/keys"])?;
            equal("keys", none.as_str(), "")?;
            vserver.stop(&[])?;
            // What the configuration says remains so.
            configure("box", "conf", "S_NICE=5\nULIMIT=\"-n 300\"\n")?;
            vserver.start(&[])?;
            for pid in ["1", "self"] {
                let told = told(&vserver, pid)?;
                equal("nice", told["nice"].as_str(), "5")?;
                equal("files", told["Max open files"].as_str(), "300 300")?;
            }
            vserver.stop(&[])?;
            Ok(String::new())
        })
        .map(drop)
    })
}

/// AUDIT_SET_FEATURE of loginuid_immutable, by a netlink message to the kernel's audit.
fn set_immutable(on: bool) -> Result<(), Errno> {
    use nix::sys::socket::{
        bind, recv, sendto, socket, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol,
        SockType,
    };
    use std::os::fd::AsRawFd;
    const AUDIT_SET_FEATURE: u16 = 1018;
    const LOGINUID_IMMUTABLE: u32 = 1 << 1;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    let audit = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkAudit,
    )?;
    bind(audit.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // Version 1, which features are meant, which are on, and which are locked.
    let value = if on { LOGINUID_IMMUTABLE } else { 0 };
    let mut message = Vec::new();
    message.extend(32u32.to_ne_bytes());
    message.extend(AUDIT_SET_FEATURE.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]);
    for word in [1, LOGINUID_IMMUTABLE, value, 0] {
        message.extend(word.to_ne_bytes());
    }
    let kernel = NetlinkAddr::new(0, 0);
    sendto(audit.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
    let mut answer = [0; 256];
    let length = recv(audit.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer.get(16..20).filter(|_| length >= 20);
    let error = error.map_or(0, |bytes| {
        i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    });
    match error {
        0 => Ok(()),
        error => Err(Errno::from_raw(-error)),
    }
}

/// The host has it that nobody changes a login user: that is told, and the vserver runs.
fn immutable() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        child(|| {
            own("loginuid", "1234")?;
            set_immutable(true).map_err(|errno| format!("loginuid_immutable: {errno}"))?;
            let run = || -> Outcome {
                vserver.start(&[])?;
                let stays = vserver.exec(&["cat", "/proc/1/loginuid"])?;
                equal("inside", stays.as_str(), "1234")?;
                let log = vserver.good(&["logs"])?;
                contains(&log, &["the login user 1234 stays", "loginuid_immutable"])?;
                vserver.stop(&[])
            };
            let outcome = run();
            set_immutable(false).map_err(words)?;
            outcome.map(|()| String::new())
        })
        .map(drop)
    })
}

/// Entering is no way for an ordinary user to become nobody for the audit, or harder to kill than he was.
fn kept() -> Outcome {
    const USER: u32 = 1000;
    child(|| {
        own("loginuid", "1234")?;
        own("oom_score_adj", "300")?;
        let session = fs::read_to_string("/proc/self/sessionid").map_err(words)?;
        setresgid(
            Gid::from_raw(USER),
            Gid::from_raw(USER),
            Gid::from_raw(USER),
        )
        .map_err(words)?;
        setresuid(
            Uid::from_raw(USER),
            Uid::from_raw(USER),
            Uid::from_raw(USER),
        )
        .map_err(words)?;
        const TRIED: &str = "\
            cd /proc/self; cat loginuid; echo; cat sessionid; echo; cat oom_score_adj
            for change in loginuid:4294967295 loginuid:0 oom_score_adj:0; do
                echo ${change#*:} 2>/dev/null >/proc/$$/${change%:*} && echo changed $change
            done; true";
        let said = ends(0, &["chcontext", "--silent", "sh", "-c", TRIED])?;
        let said: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("error"))
            .collect();
        equal("inside", said, vec!["1234", session.as_str(), "300"])?;
        Ok(String::new())
    })
    .map(drop)
}
