// SPDX-License-Identifier: GPL-2.0

//! Unloading while processes of the host wait, for as long as they like, in kernel functions that the module hooks: for
//! their own memory, whose page faults nobody answers (userfaultfd), or for a file server of their own (FUSE).

use super::{load, remove};
use crate::{
    fixture::{ensure, equal, words, Outcome, Sitter},
    syscalls::{self, syscall},
};
use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    libc,
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    sys::{
        signal::{kill, Signal},
        stat::Mode,
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{setgid, setuid, Gid, Pid, Uid},
};
use std::{
    fs::{self, Permissions},
    os::{fd::IntoRawFd, unix::fs::PermissionsExt},
    time::{Duration, Instant},
};

const SERVED: &str = "/tmp/leaving";

/// A system call, its number first.
type Call = Vec<usize>;

fn make(call: &[usize]) -> Result<i64, Errno> {
    let mut arguments = [0; 6];
    arguments[..call.len() - 1].copy_from_slice(&call[1..]);
    syscall(call[0] as i64, arguments)
}

fn opened(path: &str, flags: OFlag) -> Result<usize, Errno> {
    open(path, flags, Mode::empty()).map(|fd| fd.into_raw_fd() as usize)
}

/// A page of memory; whoever touches it waits for ever.
fn page() -> Result<usize, Errno> {
    const API: u32 = 0xc018_aa3f;
    const REGISTER: u32 = 0xc020_aa00;
    let faults = syscalls::own(make(&[libc::SYS_userfaultfd as usize, 0])? as i32);
    syscalls::ioctl(&faults, API, &mut [0xaau64, 0, 0])?;
    let access = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as usize;
    let map = libc::SYS_mmap as usize;
    let address = make(&[map, 0, 4096, access, flags, usize::MAX, 0])? as usize;
    // Pages that are missing.
    syscalls::ioctl(&faults, REGISTER, &mut [address as u64, 4096, 1, 0])?;
    let _ = faults.into_raw_fd();
    Ok(address)
}

fn read(path: &str, at: usize) -> Result<Call, Errno> {
    let file = opened(path, OFlag::O_RDONLY)?;
    Ok(vec![libc::SYS_pread64 as usize, file, page()?, 8, at])
}

fn write(path: &str) -> Result<Call, Errno> {
    let file = opened(path, OFlag::O_WRONLY)?;
    Ok(vec![libc::SYS_write as usize, file, page()?, 2])
}

fn list(path: &str) -> Result<Call, Errno> {
    let folder = opened(path, OFlag::O_DIRECTORY)?;
    Ok(vec![libc::SYS_getdents64 as usize, folder, page()?, 4096])
}

fn control(path: &str, command: usize) -> Result<Call, Errno> {
    let file = opened(path, OFlag::O_RDWR).or_else(|_| opened(path, OFlag::O_RDONLY))?;
    Ok(vec![libc::SYS_ioctl as usize, file, command, page()?])
}

fn list_addresses() -> Result<Call, Errno> {
    let (family, kind) = (libc::AF_INET as usize, libc::SOCK_DGRAM as usize);
    let socket = make(&[libc::SYS_socket as usize, family, kind, 0])? as usize;
    let command = 0x8912;
    Ok(vec![libc::SYS_ioctl as usize, socket, command, page()?])
}

fn signal() -> Result<Call, Errno> {
    let own = std::process::id() as usize;
    let pidfd = make(&[libc::SYS_pidfd_open as usize, own, 0])? as usize;
    Ok(vec![
        libc::SYS_pidfd_send_signal as usize,
        pidfd,
        0,
        page()?,
        0,
    ])
}

/// As an ordinary user, in a file system that this process serves in its own user namespace, and never answers for.
fn change_mode() -> Result<Call, Errno> {
    let said = |text: std::io::Result<()>| {
        text.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
    };
    setgid(Gid::from_raw(1000))?;
    setuid(Uid::from_raw(1000))?;
    nix::sys::prctl::set_dumpable(true)?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    said(fs::write("/proc/self/setgroups", "deny"))?;
    said(fs::write("/proc/self/gid_map", "0 1000 1"))?;
    said(fs::write("/proc/self/uid_map", "0 1000 1"))?;
    let server = opened("/dev/fuse", OFlag::O_RDWR)?;
    let options = format!("fd={server},rootmode=40000,user_id=0,group_id=0");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("x"),
        SERVED,
        Some("fuse"),
        flags,
        Some(options.as_str()),
    )?;
    let path = c"/tmp/leaving".as_ptr() as usize;
    Ok(vec![libc::SYS_chmod as usize, path, 0o755])
}

static SECRET: [u8; 8] = *b"readable";

/// The name of a kernel function, and a system call that waits in it.
type Wait = (&'static str, fn() -> Result<Call, Errno>);

const WAITS: &[Wait] = &[
    ("chmod_common", change_mode),
    ("mem_read", || {
        read("/proc/self/mem", SECRET.as_ptr() as usize)
    }),
    ("mem_write", || write("/proc/self/mem")),
    ("environ_read", || read("/proc/self/environ", 0)),
    ("auxv_read", || read("/proc/self/auxv", 0)),
    ("pagemap_read", || read("/proc/self/pagemap", 0)),
    ("do_pagemap_cmd", || {
        control("/proc/self/pagemap", 0xc060_6610)
    }),
    ("procfs_procmap_ioctl", || {
        control("/proc/self/maps", 0xc068_6611)
    }),
    ("oom_adj_write", || write("/proc/self/oom_adj")),
    ("oom_score_adj_write", || write("/proc/self/oom_score_adj")),
    ("timerslack_ns_write", || write("/proc/self/timerslack_ns")),
    ("sched_autogroup_write", || write("/proc/self/autogroup")),
    ("proc_coredump_filter_write", || {
        write("/proc/self/coredump_filter")
    }),
    ("clear_refs_write", || write("/proc/self/clear_refs")),
    ("proc_task_readdir", || list("/proc/self/task")),
    ("proc_pid_readdir", || list("/proc")),
    ("kernfs_fop_readdir", || list("/sys/class/net")),
    ("dcache_readdir", || list("/dev/pts")),
    ("dev_ifconf", list_addresses),
    ("do_pidfd_send_signal", signal),
    ("tty_ioctl", || control("/dev/ptmx", libc::TCGETS as usize)),
];

/// A process that waits, until it is dropped.
struct Waiting {
    pid: Pid,
    name: &'static str,
    /// The system call.
    number: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        let _ = waitpid(self.pid, None);
    }
}

impl Waiting {
    /// `None`: the kernel has no such file.
    fn new(
        name: &'static str,
        prepare: fn() -> Result<Call, Errno>,
    ) -> Result<Option<Self>, String> {
        // The number of the call, or that of an error in negative.
        let words_of_both = syscalls::shared_words().map_err(words)?;
        let said = &words_of_both[0];
        let order = std::sync::atomic::Ordering::SeqCst;
        let pid = syscalls::fork().map_err(words)?;
        if pid == 0 {
            match prepare() {
                Ok(call) => {
                    said.store(call[0] as u32 + 1, order);
                    let _ = make(&call);
                }
                Err(errno) => said.store(-(errno as i32) as u32, order),
            }
            syscalls::exit_now(1);
        }
        let mut this = Self {
            pid: Pid::from_raw(pid),
            name,
            number: String::new(),
        };
        for _ in 0..1000 {
            match said.load(order) as i32 {
                0 => (),
                error @ ..0 if -error == libc::ENOENT => return Ok(None),
                error @ ..0 => return Err(format!("{name}: {}", Errno::from_raw(-error))),
                number => {
                    this.number = (number - 1).to_string();
                    if this.waits() {
                        return Ok(Some(this));
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("{name}: does not wait"))
    }

    fn waits(&self) -> bool {
        let path = format!("/proc/{}/syscall", self.pid);
        fs::read_to_string(path).is_ok_and(|text| text.split(' ').next() == Some(&self.number))
    }
}

/// delete_module() by a process of its own, which may take so long at the most.
fn remove_within(time: Duration) -> Result<Result<(), Errno>, Pid> {
    let begun = Instant::now();
    let pid = match syscalls::fork() {
        Ok(0) => syscalls::exit_now(remove().map_or_else(|errno| errno as i32, |()| 0)),
        Ok(pid) => Pid::from_raw(pid),
        Err(errno) => return Ok(Err(errno)),
    };
    while begun.elapsed() < time {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(10)),
            Ok(WaitStatus::Exited(_, 0)) => return Ok(Ok(())),
            Ok(WaitStatus::Exited(_, errno)) => return Ok(Err(Errno::from_raw(errno))),
            _ => return Ok(Err(Errno::UnknownErrno)),
        }
    }
    Err(pid)
}

pub fn leaves() -> Outcome {
    fs::create_dir_all(SERVED).map_err(words)?;
    let before = fs::metadata("/dev/fuse").map_err(words)?.permissions();
    fs::set_permissions("/dev/fuse", Permissions::from_mode(0o666)).map_err(words)?;
    let waiting: Result<Vec<_>, String> = WAITS
        .iter()
        .map(|(name, prepare)| Waiting::new(name, *prepare))
        .collect();
    fs::set_permissions("/dev/fuse", before).map_err(words)?;
    let waiting: Vec<Waiting> = waiting?.into_iter().flatten().collect();
    // While a context lives it refuses at once, before anything is detached.
    let sitter = Sitter::idle(300)?;
    equal(
        "rmmod",
        remove_within(Duration::from_secs(5)),
        Ok(Err(Errno::EWOULDBLOCK)),
    )?;
    drop(sitter);
    crate::fixture::until_empty()?;
    // They end an RCU grace period later.
    let mut removed = remove_within(Duration::from_secs(20));
    for _ in 0..600 {
        if removed != Ok(Err(Errno::EWOULDBLOCK)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        removed = remove_within(Duration::from_secs(20));
    }
    let stuck: Vec<&str> = waiting
        .iter()
        .filter(|one| !one.waits())
        .map(|one| one.name)
        .collect();
    // All of them return, through what is left of the module.
    drop(waiting);
    if let Err(pid) = removed {
        let _ = waitpid(pid, None);
    }
    if removed == Ok(Err(Errno::EWOULDBLOCK)) {
        return Err("rmmod: still in use".to_string());
    }
    load()?;
    equal("rmmod", removed, Ok(Ok(())))?;
    ensure(&format!("these did not wait: {stuck:?}"), stuck.is_empty())
}
