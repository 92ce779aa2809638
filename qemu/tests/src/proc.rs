// SPDX-License-Identifier: GPL-2.0

//! /proc: listing, lookup, what was opened before, the status lines.

use crate::{
    fixture::{child, ensure, enter, equal, inside, words, Outcome, Sitter},
    test,
    visibility::{call, ways},
    Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, openat, OFlag},
    sched::{unshare, CloneFlags},
    sys::stat::Mode,
    unistd::getpid,
};
use std::os::fd::OwnedFd;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("proc::listing_of_a_fresh_context", 20, fresh),
    test("proc::dentries_stay_for_others", 20, dentries),
    test("proc::descriptors_from_before", 20, before),
    test("proc::children_from_before", 20, children),
    test("proc::mounted_in_a_user_namespace", 20, mounted),
    test("proc::status_lines", 20, status),
    test("proc::hideinfo", 20, hideinfo),
];

/// The numbers in /proc, in order.
pub fn listing() -> Result<Vec<i32>, String> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir("/proc").map_err(words)? {
        let name = entry.map_err(words)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Readable and writable in every test process at the same address.
static WORD: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(7);

fn errno(error: std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(0))
}

/// Opens something below /proc/PID; for one that has no name, /proc/PID itself.
fn open_below(pid: i32, name: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    open(format!("/proc/{pid}/{name}").as_str(), flags, Mode::empty())
}

macro_rules! holds {
    ($($hold:ident: $name:literal $flags:ident;)*) => {
        $(fn $hold(pid: i32) -> Result<OwnedFd, Errno> {
            open_below(pid, $name, OFlag::$flags)
        })*
    };
}

holds! {
    folder: "" O_DIRECTORY;
    folder_task: "task" O_DIRECTORY;
    folder_fd: "fd" O_DIRECTORY;
    folder_fdinfo: "fdinfo" O_DIRECTORY;
    folder_map_files: "map_files" O_DIRECTORY;
    folder_ns: "ns" O_DIRECTORY;
    folder_net: "net" O_DIRECTORY;
    folder_attr: "attr" O_DIRECTORY;
    file_status: "status" O_RDONLY;
    file_stat: "stat" O_RDONLY;
    file_cmdline: "cmdline" O_RDONLY;
    file_comm: "comm" O_RDWR;
    file_io: "io" O_RDONLY;
    file_environ: "environ" O_RDONLY;
    file_auxv: "auxv" O_RDONLY;
    file_maps: "maps" O_RDONLY;
    file_smaps_rollup: "smaps_rollup" O_RDONLY;
    file_pagemap: "pagemap" O_RDONLY;
    file_mem: "mem" O_RDWR;
    file_oom_score_adj: "oom_score_adj" O_RDWR;
}

/// openat() of a name below what is held; nothing is done with what it opens.
fn at(fd: usize, name: &std::ffi::CStr) -> Result<i64, Errno> {
    let flags = (libc::O_PATH | libc::O_NOFOLLOW) as usize;
    let fd = call(libc::SYS_openat, &[fd, name.as_ptr() as usize, flags])?;
    call(libc::SYS_close, &[fd as usize])
}

/// Whether a folder that is held shows any name.
fn names(fd: usize) -> Result<i64, Errno> {
    call(libc::SYS_lseek, &[fd, 0, 0])?;
    let mut room = [0u64; 512];
    let length = call(
        libc::SYS_getdents64,
        &[fd, room.as_mut_ptr() as usize, 4096],
    )?;
    // Each of "." and ".." takes three words.
    if length > 48 {
        Ok(length)
    } else {
        Err(Errno::ENOENT)
    }
}

/// Whether a file that is held has something to say.
fn says(fd: usize, offset: usize) -> Result<i64, Errno> {
    let mut room = [0u64; 512];
    match call(
        libc::SYS_pread64,
        &[fd, room.as_mut_ptr() as usize, 8, offset],
    )? {
        0 => Err(Errno::ENODATA),
        length => Ok(length),
    }
}

fn write_at(fd: usize, text: &[u8], offset: usize) -> Result<i64, Errno> {
    call(
        libc::SYS_pwrite64,
        &[fd, text.as_ptr() as usize, text.len(), offset],
    )
}

const PROCMAP_QUERY: usize = 0xc068_6611;
const PAGEMAP_SCAN: usize = 0xc060_6610;

ways! { "proc":
    listed: May absent ENOENT, |target| {
        let numbers = listing().map_err(|_| Errno::EIO)?;
        numbers.contains(&(target.pid as i32)).then_some(0).ok_or(Errno::ENOENT)
    };
    stat: May absent ENOENT, |target| {
        std::fs::metadata(format!("/proc/{}", target.pid)).map_err(errno).map(|_| 0)
    };
    open: May absent ENOENT, |target| {
        open_below(target.pid as i32, "status", OFlag::O_RDONLY).map(|_| 0)
    };
    link: May absent ENOENT, |target| {
        std::fs::read_link(format!("/proc/{}/exe", target.pid)).map_err(errno).map(|_| 0)
    };
    task: May absent ENOENT, |target| {
        std::fs::read_dir(format!("/proc/{}/task", target.pid)).map_err(errno).map(|_| 0)
    };
    thread: May absent ENOENT, |target| {
        let path = format!("/proc/{0}/task/{0}/status", target.pid);
        std::fs::read(path).map_err(errno).map(|_| 0)
    };
    // Every task has a folder by its number, listed or not.
    thread_by_number: May absent ENOENT, |target| {
        let path = format!("/proc/{}/comm", target.pid);
        std::fs::read(path).map_err(errno).map(|_| 0)
    };
    folder_fstat: May by folder absent ENOENT, |target| {
        let mut stat = [0u64; 32];
        call(libc::SYS_fstat, &[target.fd(), stat.as_mut_ptr() as usize])
    };
    folder_names: May by folder absent ENOENT, |target| names(target.fd());
    folder_status: May by folder absent ENOENT, |target| at(target.fd(), c"status");
    folder_exe: May by folder absent ENOENT, |target| at(target.fd(), c"exe");
    folder_fd: May by folder absent ENOENT, |target| at(target.fd(), c"fd/0");
    task_names: May by folder_task absent ENOENT, |target| names(target.fd());
    task_thread: May by folder_task absent ENOENT, |target| {
        let name = std::ffi::CString::new(target.pid.to_string()).map_err(|_| Errno::EINVAL)?;
        at(target.fd(), &name)
    };
    fd_names: May by folder_fd absent ENOENT, |target| names(target.fd());
    fd_one: May by folder_fd absent ENOENT, |target| at(target.fd(), c"0");
    fdinfo_names: May by folder_fdinfo absent ENOENT, |target| names(target.fd());
    fdinfo_one: May by folder_fdinfo absent ESRCH, |target| at(target.fd(), c"0");
    map_files_names: May by folder_map_files absent ENOENT, |target| names(target.fd());
    ns_names: May by folder_ns absent ENOENT, |target| names(target.fd());
    ns_one: May by folder_ns absent ENOENT, |target| at(target.fd(), c"uts");
    net_names: May by folder_net absent EINVAL, |target| names(target.fd());
    net_one: May by folder_net absent ENOENT, |target| at(target.fd(), c"dev");
    attr_names: May by folder_attr absent ENOENT, |target| names(target.fd());
    attr_one: May by folder_attr absent ENOENT, |target| at(target.fd(), c"current");
    read_status: May by file_status, |target| says(target.fd(), 0);
    read_stat: May by file_stat, |target| says(target.fd(), 0);
    read_cmdline: May by file_cmdline, |target| says(target.fd(), 0);
    read_comm: May by file_comm, |target| says(target.fd(), 0);
    read_io: May by file_io, |target| says(target.fd(), 0);
    read_environ: May by file_environ, |target| says(target.fd(), 0);
    read_auxv: May by file_auxv, |target| says(target.fd(), 0);
    read_maps: May by file_maps, |target| says(target.fd(), 0);
    read_smaps_rollup: May by file_smaps_rollup, |target| says(target.fd(), 0);
    read_pagemap: May by file_pagemap, |target| says(target.fd(), (WORD.as_ptr() as usize >> 12) * 8);
    read_mem: May by file_mem, |target| says(target.fd(), WORD.as_ptr() as usize);
    read_oom_score_adj: May by file_oom_score_adj, |target| says(target.fd(), 0);
    write_mem: May by file_mem, |target| {
        write_at(target.fd(), &7u64.to_ne_bytes(), WORD.as_ptr() as usize)
    };
    write_oom_score_adj: May by file_oom_score_adj, |target| write_at(target.fd(), b"0", 0);
    query_maps: May by file_maps, |target| {
        // struct procmap_query: size, flags (this mapping or the next), address.
        let mut query = [0u64; 13];
        query[..2].copy_from_slice(&[104, 0x10]);
        call(libc::SYS_ioctl, &[target.fd(), PROCMAP_QUERY, query.as_mut_ptr() as usize])
    };
    scan_pagemap: May by file_pagemap, |target| {
        // struct pm_scan_arg: size, flags, first and last address; no output.
        let mut scan = [0u64; 12];
        scan[..4].copy_from_slice(&[96, 0, 0, 1 << 20]);
        call(libc::SYS_ioctl, &[target.fd(), PAGEMAP_SCAN, scan.as_mut_ptr() as usize])
    };
}

/// The machine's init, as tools expect a process 1, and oneself.
fn fresh() -> Outcome {
    inside(CONTEXT_NEW, || {
        let own = getpid().as_raw();
        equal("alone", listing()?, vec![1, own])?;
        let sitter = Sitter::idle(CONTEXT_ROOT)?;
        let mut both = vec![1, own, sitter.pid];
        both.sort_unstable();
        equal("with a child", listing()?, both)?;
        let nested = Sitter::idle(CONTEXT_NEW)?;
        ensure("not the nested one", !listing()?.contains(&nested.pid))?;
        drop(sitter);
        equal("alone again", listing()?, vec![1, own])
    })?;
    // Of the kernel's threads, too, none is in a context.
    inside(CONTEXT_ROOT, || {
        ensure("kthreadd", listing()?.contains(&2))?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        equal("kill", call(libc::SYS_kill, &[2, 0]), Err(Errno::ESRCH))
    })
}

/// Those who may not see a process do not throw its cached names out for those who may.
fn dentries() -> Outcome {
    let target = Sitter::idle(100)?;
    let path = format!("/proc/{}/status", target.pid);
    for _ in 0..3 {
        inside(100, || std::fs::read(&path).map(drop).map_err(words))?;
        inside(101, || {
            let error = std::fs::read(&path)
                .err()
                .and_then(|error| error.raw_os_error());
            equal("elsewhere", error, Some(libc::ENOENT))
        })?;
    }
    Ok(())
}

/// What was opened before its holder entered, known to the dentry cache or not.
fn before() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let pid = host.pid;
    inside(CONTEXT_ROOT, || {
        let folder =
            |path: String| open(path.as_str(), OFlag::O_DIRECTORY, Mode::empty()).map_err(words);
        let process = folder(format!("/proc/{pid}"))?;
        let tasks = folder(format!("/proc/{pid}/task"))?;
        let task = folder(format!("/proc/{pid}/task/{pid}"))?;
        // Known to the dentry cache, and not known to it.
        let all = [
            (&process, "status".to_string()),
            (&process, "stat".to_string()),
            (&process, "task".to_string()),
            (&tasks, pid.to_string()),
            (&task, "status".to_string()),
            (&task, "comm".to_string()),
        ];
        for (folder, name) in &all[..1] {
            openat(folder, name.as_str(), OFlag::O_RDONLY, Mode::empty()).map_err(words)?;
        }
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        for (folder, name) in &all {
            let got = openat(*folder, name.as_str(), OFlag::O_RDONLY, Mode::empty()).err();
            equal(name, got, Some(Errno::ENOENT))?;
        }
        for (what, folder) in [("/proc/PID", process), ("task", tasks), ("task/TID", task)] {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&folder) as usize;
            equal(what, names(fd), Err(Errno::ENOENT))?;
        }
        Ok(())
    })
}

/// Not even the number of a child is told.
fn children() -> Outcome {
    let parent = Sitter::new(CONTEXT_ROOT, 0, || {
        std::mem::forget(Sitter::idle(CONTEXT_ROOT)?);
        Ok(())
    })?;
    let pid = parent.pid;
    inside(CONTEXT_ROOT, || {
        let file = open_below(pid, &format!("task/{pid}/children"), OFlag::O_RDONLY);
        let file = file.map_err(words)?;
        let says = || says(std::os::fd::AsRawFd::as_raw_fd(&file) as usize, 0);
        ensure("before", says().is_ok())?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        equal("after", says(), Err(Errno::ENODATA))
    })
}

/// A /proc that root of a user namespace mounts shows what that root may see.
fn mounted() -> Outcome {
    inside(100, || {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)
            .map_err(words)?;
        child(|| {
            nix::mount::mount(
                Some("proc"),
                "/proc",
                Some("proc"),
                nix::mount::MsFlags::empty(),
                None::<&str>,
            )
            .map_err(words)?;
            equal("listed", listing()?, vec![1])?;
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            equal("after entering", listing()?, vec![1])?;
            Ok(String::new())
        })
        .map(drop)
    })
}

fn status_of(pid: &str) -> Result<String, String> {
    std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(words)
}

fn status() -> Outcome {
    let lines = |context: i32, flags: &str| {
        format!(
            "s_context: {context}\nctxflags: {flags}\ninitpid: none\nipv4root: 0\nipv4root_bcast: 0\n"
        )
    };
    ensure("host", status_of("self")?.ends_with(&lines(0, "none")))?;
    let sitter = Sitter::new(300, FLAG_LOCK | FLAG_NPROC, || Ok(()))?;
    inside(CONTEXT_SPECTATOR, || {
        let text = status_of(&sitter.pid.to_string())?;
        ensure(
            &format!("flags in {text}"),
            text.ends_with(&lines(300, "lock nproc")),
        )?;
        ensure("own", status_of("self")?.ends_with(&lines(1, "none")))
    })
}

fn hideinfo() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_HIDEINFO, 0).map_err(words)?;
        ensure("hidden", !status_of("self")?.contains("s_context"))
    })
}
