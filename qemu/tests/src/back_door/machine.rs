// SPDX-License-Identifier: GPL-2.0

//! Files that are the machine's: /proc/sys, the rest of /proc, sysfs. They are root's, and a mode is all
//! that the kernel asks for.

use super::*;
use crate::{
    fixture::{ensure, Sitter},
    syscalls::uring,
    test,
};
use io_uring::{opcode, squeue, types, IoUring};
use std::{
    collections::BTreeSet,
    ffi::CString,
    os::unix::fs::{chown, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub const TESTS: &[Test] = &[
    test("back_door::proc_sys", 120, proc_sys),
    test("back_door::proc_sys_by_io_uring", 120, by_ring),
    test("back_door::settings_of_ones_own", 120, own_settings),
    test("back_door::sysrq_trigger", 120, sysrq),
    test("back_door::machine_files", 180, machine_files),
    test("back_door::modes_of_machine_files", 120, modes),
    test("back_door::machines_init", 120, machines_init),
    test("back_door::shell_of_the_machines_init", 120, shell_of_init),
    test("back_door::files_for_root_alone", 180, root_files),
    test("back_door::mounts_for_root_alone", 120, root_mounts),
    test("back_door::locks_of_files", 120, locks),
    test("back_door::device_nodes", 120, device_nodes),
];

/// What would start a program as root of the host, or change the machine for all.
const SETTINGS: [&str; 14] = [
    "kernel/core_pattern",
    "kernel/core_pipe_limit",
    "kernel/modprobe",
    "kernel/poweroff_cmd",
    "kernel/sysrq",
    "kernel/pid_max",
    "kernel/panic",
    "kernel/printk",
    "kernel/random/urandom_min_reseed_secs",
    "vm/swappiness",
    "vm/overcommit_memory",
    "fs/file-max",
    "fs/suid_dumpable",
    "net/ipv4/ip_forward",
];

fn setting(name: &str) -> String {
    format!("/proc/sys/{name}")
}

/// Nothing of /proc/sys can be opened to be written to.
fn nothing_to_set() -> Outcome {
    for name in SETTINGS {
        let got = opened_to_write(&setting(name));
        equal(name, got, Err(Errno::EACCES))?;
        let got = opened(&setting(name), OFlag::O_RDWR).map(drop);
        equal(name, got, Err(Errno::EACCES))?;
        let path = CString::new(setting(name)).map_err(words)?;
        let asked = call(libc::SYS_access, &[path.as_ptr() as usize, 2]);
        equal(name, asked.map(drop), Err(Errno::EACCES))?;
        opened(&setting(name), OFlag::O_RDONLY).map_err(|errno| format!("{name}: {errno}"))?;
    }
    let users = opened_to_write("/proc/sys/user/max_user_namespaces");
    equal("users", users, Err(Errno::EACCES))
}

fn proc_sys() -> Outcome {
    // The same without any capability of this kind: it is the mode that allows it.
    host_without_caps(|| {
        for name in SETTINGS {
            opened_to_write(&setting(name)).map_err(|errno| format!("{name}: {errno}"))?;
        }
        Ok(())
    })?;
    let before = fs::read_to_string(setting("kernel/core_pattern")).map_err(words)?;
    inside_both(nothing_to_set)?;
    inside_without(CONTEXT_SPECTATOR, 0, nothing_to_set)?;
    // As root of a user namespace, with a /proc of his own.
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::CLONE_NEWNS)?;
        for name in SETTINGS {
            equal(name, opened_to_write(&setting(name)), Err(Errno::EACCES))?;
        }
        Ok(())
    })?;
    let after = fs::read_to_string(setting("kernel/core_pattern")).map_err(words)?;
    equal("core_pattern", after, before)
}

/// Threads of the kernel that work for somebody inside are inside.
fn by_ring() -> Outcome {
    let path = CString::new(setting("kernel/core_pattern")).map_err(words)?;
    let open_by = |polled: bool, flags: squeue::Flags| -> Result<Result<i32, Errno>, String> {
        let mut builder = IoUring::builder();
        if polled {
            builder.setup_sqpoll(100);
        }
        let mut ring = builder.build(4).map_err(words)?;
        let at = types::Fd(libc::AT_FDCWD);
        let entry = opcode::OpenAt::new(at, path.as_ptr())
            .flags(libc::O_WRONLY | libc::O_CLOEXEC)
            .build();
        Ok(uring(&mut ring, &entry.flags(flags)))
    };
    let ways = [
        (false, squeue::Flags::empty()),
        (false, squeue::Flags::ASYNC),
        (true, squeue::Flags::empty()),
    ];
    host_without_caps(|| {
        for (polled, flags) in ways {
            open_by(polled, flags)?.map_err(|errno| format!("{polled} {flags:?}: {errno}"))?;
        }
        Ok(())
    })?;
    inside_both(|| {
        for (polled, flags) in ways {
            let got = open_by(polled, flags)?;
            equal(&format!("{polled} {flags:?}"), got, Err(Errno::EACCES))?;
        }
        Ok(())
    })
}

/// What is of namespaces of the context's own is as on a machine of its own.
fn own_settings() -> Outcome {
    let read = |name: &str| fs::read_to_string(setting(name)).map_err(words);
    let own = [
        ("kernel/hostname", "inside\n"),
        ("kernel/domainname", "inside.test\n"),
        ("kernel/shmmax", "65536\n"),
        ("kernel/msgmni", "100\n"),
        ("kernel/sem", "100\t200\t30\t40\n"),
        ("fs/mqueue/queues_max", "10\n"),
    ];
    let mut before = Vec::new();
    for (name, _) in own {
        before.push(read(name)?);
    }
    inside_without(100, SECURE, || {
        for (name, value) in own {
            errno(fs::write(setting(name), value)).map_err(|errno| format!("{name}: {errno}"))?;
            equal(name, read(name)?.as_str(), value)?;
        }
        Ok(())
    })?;
    for ((name, _), before) in own.iter().zip(before) {
        equal(name, read(name)?, before)?;
    }
    // The spectator has those of the host, and changes nothing.
    inside_without(CONTEXT_SPECTATOR, 0, || {
        for (name, _) in own {
            equal(name, opened_to_write(&setting(name)), Err(Errno::EACCES))?;
        }
        Ok(())
    })?;
    // A network namespace that was made inside, and the limits of a user namespace.
    let forward = "net/ipv4/ip_forward";
    let host = read(forward)?;
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::CLONE_NEWNET)?;
        errno(fs::write(setting(forward), "1")).map_err(words)?;
        same("forward", read(forward), "1\n")?;
        errno(fs::write(setting("user/max_net_namespaces"), "5")).map_err(words)?;
        same("limit", read("user/max_net_namespaces"), "5\n")
    })?;
    equal("the host's", read(forward)?, host)
}

fn sysrq() -> Outcome {
    let trigger = "/proc/sysrq-trigger";
    host_without_caps(|| opened_to_write(trigger).map_err(words))?;
    inside_both(|| equal("open", opened_to_write(trigger), Err(Errno::EACCES)))?;
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::CLONE_NEWNS)?;
        equal("open", opened_to_write(trigger), Err(Errno::EACCES))
    })
}

/// All files below a folder that can be opened to be written to, in this file system alone.
fn writable(folder: &Path, device: u64, found: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(data) = fs::symlink_metadata(&path) else {
            continue;
        };
        let Some(name) = path.to_str() else { continue };
        if data.is_dir() && data.dev() == device {
            // Those of processes are another matter.
            let of_process = folder == Path::new("/proc")
                && entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(|c: char| c.is_ascii_digit());
            if !of_process {
                writable(&path, device, found);
            }
        } else if data.is_file()
            && data.permissions().mode() & 0o222 != 0
            && opened_to_write(name).is_ok()
        {
            found.insert(name.to_string());
        }
    }
}

fn all_writable() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for top in ["/proc", "/sys", "/sys/fs/cgroup"] {
        if let Ok(data) = fs::metadata(top) {
            writable(Path::new(top), data.dev(), &mut found);
        }
    }
    found
}

/// Whether somebody inside may open it to write, and why.
fn is_for_all(path: &str) -> bool {
    // For everybody, and tell him only when the machine is short of something.
    path.starts_with("/proc/pressure/")
        // Of the context's own namespaces: names, System V IPC, message queues.
        || path.starts_with("/proc/sys/fs/mqueue/")
        || path
            .strip_prefix("/proc/sys/kernel/")
            .is_some_and(|name| {
                matches!(name, "hostname" | "domainname" | "sem" | "auto_msgmni")
                    || name.starts_with("shm")
                    || name.starts_with("msg")
            })
}

fn machine_files() -> Outcome {
    host_without_caps(|| {
        let found = all_writable();
        let closed = found.iter().filter(|path| !is_for_all(path)).count();
        for top in [
            "/proc/sys/",
            "/proc/sysrq-trigger",
            "/sys/module/",
            "/sys/fs/cgroup/",
        ] {
            let some = found.iter().any(|path| path.starts_with(top));
            ensure(&format!("nothing to write to below {top}"), some)?;
        }
        ensure(&format!("only {closed}"), closed > 300)
    })?;
    inside_both(|| {
        let found = all_writable();
        let open: Vec<&String> = found.iter().filter(|path| !is_for_all(path)).collect();
        equal("files that can be written to", open, Vec::new())?;
        ensure("own settings", found.contains("/proc/sys/kernel/hostname"))
    })
}

/// Whose a file is, and who may write to it, is the same for all who see it.
fn modes() -> Outcome {
    let files = [
        "/proc/sysrq-trigger",
        "/proc/meminfo",
        "/sys/module/printk/parameters/time",
        "/sys/kernel",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup",
    ];
    let mode = |file: &str| fs::metadata(file).map(|data| data.permissions().mode());
    let set =
        |file: &str, mode: u32| errno(fs::set_permissions(file, PermissionsExt::from_mode(mode)));
    host_without_caps(|| {
        for file in files {
            let now = mode(file).map_err(words)?;
            set(file, now).map_err(|errno| format!("{file}: {errno}"))?;
        }
        Ok(())
    })?;
    inside_both(|| {
        for file in files {
            let now = mode(file).map_err(words)?;
            equal(file, set(file, now | 0o006), Err(Errno::EPERM))?;
            equal(
                file,
                errno(chown(file, Some(1000), None)),
                Err(Errno::EPERM),
            )?;
            equal(file, mode(file).map_err(words)?, now)?;
        }
        // A size is not asked for by name: what is open for all is written to as ever.
        match fs::File::create("/proc/pressure/cpu") {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map(drop).map_err(words),
        }
    })
}

/// Shown in every context, and nobody's inside.
fn machines_init() -> Outcome {
    let files = [
        ("oom_score_adj", "500"),
        ("oom_adj", "5"),
        ("coredump_filter", "0x0"),
        ("clear_refs", "1"),
        ("sched", "0"),
        ("autogroup", "5"),
        ("timerslack_ns", "50000"),
        ("comm", "stolen"),
        ("uid_map", "0 0 1"),
        ("projid_map", "0 0 1"),
        ("setgroups", "deny"),
    ];
    let score = "/proc/1/oom_score_adj";
    let before = fs::read_to_string(score).map_err(words)?;
    host_without_caps(|| errno(fs::write(score, &before)).map_err(words))?;
    inside_both(|| {
        for (name, text) in files {
            let got = errno(fs::write(format!("/proc/1/{name}"), text));
            ensure(name, got.is_err())?;
            // One's own is another matter.
            if name == "oom_score_adj" || name == "coredump_filter" {
                let own = errno(fs::write(format!("/proc/self/{name}"), text));
                ensure(name, matches!(own, Ok(()) | Err(Errno::ENOENT)))?;
            }
        }
        for name in [
            "mem", "environ", "maps", "auxv", "pagemap", "root/etc", "cwd/etc", "fd",
        ] {
            let path = format!("/proc/1/{name}");
            let got = match name {
                "fd" => errno(fs::read_dir(&path)).map(drop),
                _ => opened(&path, OFlag::O_RDONLY).map(drop),
            };
            ensure(&format!("{path}: {got:?}"), got.is_err())?;
        }
        Ok(())
    })?;
    equal("score", fs::read_to_string(score).map_err(words)?, before)
}

/// Tools find a process 1: its name, and that it runs.
fn shell_of_init() -> Outcome {
    const SHOWN: [&str; 4] = ["cmdline", "comm", "stat", "status"];
    let list = || -> Result<BTreeSet<String>, String> {
        let entries = fs::read_dir("/proc/1").map_err(words)?;
        Ok(entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    };
    let all = list()?;
    ensure(&format!("{all:?}"), all.len() > 20)?;
    let deeper = [
        "task/1/children",
        "task/1/comm",
        "net/dev",
        "ns/mnt",
        "fd/0",
        "attr/current",
    ];
    // By now the kernel has all of these names in its cache.
    for name in all.iter().map(String::as_str).chain(deeper) {
        let _ = fs::symlink_metadata(format!("/proc/1/{name}"));
    }
    inside_both(|| {
        equal("listed", list()?, SHOWN.map(str::to_string).into())?;
        for name in all.iter().map(String::as_str).chain(deeper) {
            let path = format!("/proc/1/{name}");
            let got = errno(fs::symlink_metadata(&path)).map(drop);
            let read = opened(&path, OFlag::O_RDONLY).map(drop);
            if SHOWN.contains(&name) {
                equal(&path, (got, read), (Ok(()), Ok(())))?;
                fs::read(&path).map_err(words)?;
            } else {
                equal(&path, (got, read), (Err(Errno::ENOENT), Err(Errno::ENOENT)))?;
            }
        }
        let own = errno(fs::read("/proc/self/mountinfo")).map(drop);
        equal("the caller's own", own, Ok(()))
    })?;
    // All of it is there for the spectator, and for the host.
    inside_without(CONTEXT_SPECTATOR, 0, || {
        equal("listed", list()?, all.clone())
    })?;
    equal("listed", list()?, all)
}

/// What is found below a folder of one file system: the files and folders that only root may open,
/// by their mode, and that opened.
struct ForRoot {
    /// By its own mode.
    open: BTreeSet<String>,
    closed: usize,
    /// What everybody may read.
    others: usize,
}

fn for_root(folder: &Path, device: u64, found: &mut ForRoot) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(data) = fs::symlink_metadata(&path) else {
            continue;
        };
        let (Some(name), mode) = (path.to_str(), data.permissions().mode()) else {
            continue;
        };
        let of_process = folder == Path::new("/proc")
            && entry
                .file_name()
                .to_string_lossy()
                .starts_with(|c: char| c.is_ascii_digit());
        if data.dev() != device || data.is_symlink() || of_process {
            continue;
        }
        let is_open = || opened(name, OFlag::O_RDONLY).is_ok();
        let only_root = mode & 0o004 == 0 && (mode & 0o040 == 0 || data.gid() == 0);
        match only_root {
            true if is_open() => {
                found.open.insert(name.to_string());
            }
            true => found.closed += 1,
            // Thousands of them, all alike.
            false if name.starts_with("/sys/kernel/slab/") => {}
            false => found.others += usize::from(data.is_file() && is_open()),
        }
        if data.is_dir() {
            for_root(&path, device, found);
        }
    }
}

fn all_for_root(top: &str) -> Result<ForRoot, String> {
    let device = fs::metadata(top).map_err(words)?.dev();
    let mut found = ForRoot {
        open: BTreeSet::new(),
        closed: 0,
        others: 0,
    };
    for_root(Path::new(top), device, &mut found);
    Ok(found)
}

/// A file that only root may read is the host's root's, in whatever mount.
fn root_files() -> Outcome {
    let key = "/proc/sys/net/ipv4/tcp_fastopen_key";
    let line = "/proc/tty/driver";
    host_without_caps(|| {
        for (top, at_least) in [("/proc", 5), ("/sys", 20)] {
            let found = all_for_root(top)?;
            ensure(
                &format!("{top}: {:?}", found.open),
                found.open.len() > at_least,
            )?;
            ensure(top, found.others > 100)?;
        }
        ensure("a folder", fs::read_dir(line).map_err(words)?.count() > 0)?;
        fs::read(key).map(drop).map_err(words)
    })?;
    let lines: Vec<String> = fs::read_dir(line)
        .map_err(words)?
        .flatten()
        .map(|entry| entry.path().display().to_string())
        .collect();
    inside_both(|| {
        for top in ["/proc", "/sys"] {
            let found = all_for_root(top)?;
            equal(top, found.open, BTreeSet::new())?;
            ensure(top, found.closed > 5 && found.others > 100)?;
        }
        // A closed folder: what everybody may read is below it.
        equal(
            line,
            errno(fs::read_dir(line)).map(drop),
            Err(Errno::EACCES),
        )?;
        for line in &lines {
            let got = opened(line, OFlag::O_RDONLY).map(drop);
            equal(line, got, Err(Errno::EACCES))?;
        }
        // By a descriptor that was no permission to read.
        let path = open(key, OFlag::O_PATH, Mode::empty()).map_err(words)?;
        let got = opened(&link_of(&path), OFlag::O_RDONLY).map(drop);
        equal("by a path", got, Err(Errno::EACCES))?;
        // Processes keep the kernel's rules.
        for name in ["environ", "auxv", "fd", "fdinfo"] {
            let own = format!("/proc/self/{name}");
            opened(&own, OFlag::O_RDONLY).map_err(|errno| format!("{own}: {errno}"))?;
        }
        Ok(())
    })?;
    // Of a network namespace that was made inside it is the secret of who made it.
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
        fs::read(key).map_err(words)?;
        let got = opened("/proc/sys/kernel/cad_pid", OFlag::O_RDONLY).map(drop);
        equal("the machine's", got, Err(Errno::EACCES))
    })
}

/// File systems that the host has mounted where somebody inside comes to.
fn root_mounts() -> Outcome {
    const PLACE: &str = "/tmp/root-mounts";
    child(|| {
        place(PLACE)?;
        let mut mounts = Vec::new();
        for kind in [
            "debugfs",
            "tracefs",
            "securityfs",
            "configfs",
            "pstore",
            "proc",
            "sysfs",
        ] {
            let path = format!("{PLACE}/{kind}");
            fs::create_dir(&path).map_err(words)?;
            if try_mount(Some(kind), &path, MsFlags::empty()).is_ok() {
                mounts.push(path);
            }
        }
        let debugfs = format!("{PLACE}/debugfs");
        ensure(&format!("{mounts:?}"), mounts.contains(&debugfs))?;
        let tops = |path: &str| -> Vec<String> {
            fs::read_dir(path).map_or_else(
                |_| Vec::new(),
                |entries| {
                    entries
                        .flatten()
                        .map(|entry| entry.path().display().to_string())
                        .collect()
                },
            )
        };
        let below = tops(&debugfs);
        ensure("something in debugfs", below.len() > 3)?;
        inside_both(|| {
            for path in &mounts {
                // Its processes are the same.
                if !path.ends_with("/proc") {
                    equal(path, all_for_root(path)?.open, BTreeSet::new())?;
                }
            }
            // Mounted for root alone: whatever the modes are of what is below.
            for path in below.iter().chain([&debugfs]) {
                let got = opened(path, OFlag::O_RDONLY).map(drop);
                equal(path, got, Err(Errno::EACCES))?;
            }
            Ok(())
        })?;
        // When the host opens it to everybody: to read what its files' modes allow, never to write.
        let mode = |mode: u32| {
            fs::set_permissions(&debugfs, PermissionsExt::from_mode(mode)).map_err(words)
        };
        mode(0o755)?;
        let outcome = inside_both(|| {
            let device = fs::metadata(&debugfs).map_err(words)?.dev();
            let (mut read, mut written) = (0, 0);
            let mut folders = vec![PathBuf::from(&debugfs)];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).map_err(words)?.flatten() {
                    let path = entry.path();
                    let Ok(data) = fs::symlink_metadata(&path) else {
                        continue;
                    };
                    let mode = data.permissions().mode();
                    let name = path.display().to_string();
                    if data.is_dir() && data.dev() == device && mode & 0o005 == 0o005 {
                        folders.push(path);
                    } else if data.is_file() && mode & 0o222 != 0 && mode & 0o002 == 0 {
                        equal(&name, opened_to_write(&name), Err(Errno::EACCES))?;
                        written += 1;
                    } else if data.is_file() && mode & 0o004 != 0 {
                        read += usize::from(opened(&name, OFlag::O_RDONLY).is_ok());
                    }
                }
            }
            ensure(&format!("{read} {written}"), read > 0 && written > 0)
        });
        mode(0o700)?;
        outcome.map(|()| String::new())
    })
    .map(drop)
}

/// The list of all locks has the numbers of those who hold them.
fn locks() -> Outcome {
    let holder = |context: i32| {
        Sitter::new(context, 0, || {
            let path = format!("/tmp/lock-{context}");
            let file = fs::File::create(&path).map_err(words)?;
            fs::remove_file(&path).map_err(words)?;
            // LOCK_EX
            call(libc::SYS_flock, &[file.as_raw_fd() as usize, 2]).map_err(words)?;
            std::mem::forget(file);
            Ok(())
        })
    };
    let (host, one, two) = (holder(CONTEXT_ROOT)?, holder(100)?, holder(200)?);
    let listed = |expected: [bool; 3]| {
        let text = fs::read_to_string("/proc/locks").map_err(words)?;
        let has = |pid: i32| {
            let pid = pid.to_string();
            text.lines()
                .any(|line| line.split_whitespace().any(|word| word == pid))
        };
        equal(
            "listed",
            [has(host.pid), has(one.pid), has(two.pid)],
            expected,
        )
    };
    listed([true, false, false])?;
    inside_without(100, 0, || listed([false, true, false]))?;
    inside_without(200, SECURE, || listed([false, false, true]))?;
    inside_without(CONTEXT_SPECTATOR, 0, || listed([true, true, true]))
}

/// Devices of the host are reached by nodes, and these are made with a capability.
fn device_nodes() -> Outcome {
    const PLACE: &str = "/tmp/nodes";
    child(|| {
        place(PLACE)?;
        let make = |name: &str, kind: u32, major: u64, minor: u64| {
            let path = CString::new(format!("{PLACE}/{name}")).map_err(|_| Errno::EINVAL)?;
            let mode = (kind | 0o600) as usize;
            let device = ((major << 8) | minor) as usize;
            let made = call(libc::SYS_mknod, &[path.as_ptr() as usize, mode, device]);
            let _ = fs::remove_file(format!("{PLACE}/{name}"));
            made.map(drop)
        };
        let nodes = [
            ("mem", libc::S_IFCHR, 1, 1),
            ("port", libc::S_IFCHR, 1, 4),
            ("kmsg", libc::S_IFCHR, 1, 11),
            ("loop", libc::S_IFBLK, 7, 0),
            ("disk", libc::S_IFBLK, 254, 0),
        ];
        inside_without(100, SECURE, || {
            for (name, kind, major, minor) in nodes {
                equal(name, make(name, kind, major, minor), Err(Errno::EPERM))?;
            }
            // What stands for a file that is gone in an overlay is no device.
            equal("whiteout", make("gone", libc::S_IFCHR, 0, 0), Ok(()))?;
            own_user_namespace(CloneFlags::CLONE_NEWNS)?;
            for (name, kind, major, minor) in nodes {
                equal(name, make(name, kind, major, minor), Err(Errno::EPERM))?;
            }
            Ok(())
        })?;
        // With CAP_MKNOD it is as good as the host.
        inside_without(100, 0, || {
            for (name, kind, major, minor) in nodes {
                equal(name, make(name, kind, major, minor), Ok(()))?;
            }
            Ok(())
        })?;
        Ok(String::new())
    })
    .map(drop)
}
