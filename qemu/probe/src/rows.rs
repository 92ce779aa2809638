// SPDX-License-Identifier: GPL-2.0

//! The rows: each makes its readings.

use crate::{
    bind,
    clock::now,
    echo::{Echo, Service, Stream, Udp, BLOCKS},
    module,
    site::Site,
    sys::{self, First, Program},
    terminal,
    tree::Tree,
};
use anyhow::{bail, ensure, Context, Result};
use nix::{
    errno::Errno,
    fcntl::{open, renameat, OFlag, AT_FDCWD},
    mount::{mount, umount2, MntFlags, MsFlags},
    sys::{
        signal::kill,
        socket::SockType,
        stat::{fchmodat, stat, FchmodatFlags, Mode},
        termios::tcgetattr,
        uio::pread,
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{getpgid, getpgrp, getpid, getppid, pipe2, read, setuid, write, Pid, Uid},
};
use std::{
    ffi::{CStr, CString, OsString},
    fs::File,
    os::{
        fd::{AsFd, AsRawFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
};

const SOME_FILE: &CStr = c"/etc/passwd";
/// Not root.
const OTHER_USER: Uid = Uid::from_raw(1000);

/// Something that is measured.
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// Unless rows are named.
    pub when: When,
    samples: usize,
    measure: fn(&Sampler) -> Result<Vec<u64>>,
}

/// When a row is measured without being named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In every situation.
    Always,
    /// When there is the module: it enters contexts.
    ModuleLoaded,
    /// Never: it needs a port that others may have.
    Named,
}

/// What is the same for all rows of a run.
pub struct Setting {
    /// What reading the clock costs.
    pub overhead: u64,
    /// What the rows that execute something execute.
    pub program: Vec<CString>,
    /// Where the ends of the network rows are.
    pub site: Site,
}

impl Row {
    const fn new(
        name: &'static str,
        what: &'static str,
        samples: usize,
        measure: fn(&Sampler) -> Result<Vec<u64>>,
    ) -> Self {
        Self {
            name,
            what,
            when: When::Always,
            samples,
            measure,
        }
    }

    const fn when(mut self, when: When) -> Self {
        self.when = when;
        self
    }

    /// The readings.
    pub fn readings(&self, setting: &Setting) -> Result<Vec<u64>> {
        let sampler = Sampler {
            samples: self.samples,
            setting,
        };
        (self.measure)(&sampler).with_context(|| format!("{} ({})", self.what, self.name))
    }
}

/// All rows, in the order in which they are measured and shown.
pub const ROWS: &[Row] = &[
    Row::new("getpid", "getpid", 2000, |s| {
        s.each(|| {
            sys::getpid();
            Ok(())
        })
    }),
    Row::new("getppid", "getppid", 2000, |s| {
        s.each(|| {
            getppid();
            Ok(())
        })
    }),
    Row::new("stat", "stat of a file", 2000, |s| {
        s.each(|| Ok(stat(SOME_FILE).map(drop)?))
    }),
    Row::new("open", "open and close of a file", 2000, |s| {
        s.each(|| Ok(open(SOME_FILE, OFlag::O_RDONLY, Mode::empty()).map(drop)?))
    }),
    Row::new(
        "walk",
        "stat of a file below eight directories",
        2000,
        |s| {
            let tree = Tree::new(false)?;
            s.each(|| Ok(stat(tree.file.as_c_str()).map(drop)?))
        },
    ),
    Row::new(
        "walk-by-right",
        "the same by root, one directory is another user's alone",
        2000,
        |s| {
            let tree = Tree::new(true)?;
            s.each(|| Ok(stat(tree.file.as_c_str()).map(drop)?))
        },
    ),
    Row::new("chmod", "chmod of a file", 2000, |s| {
        let tree = Tree::new(false)?;
        let mut modes = [Mode::S_IRUSR, Mode::S_IRWXU].into_iter().cycle();
        s.each(|| {
            let mode = modes.next().unwrap_or(Mode::S_IRWXU);
            Ok(fchmodat(
                AT_FDCWD,
                tree.file.as_c_str(),
                mode,
                FchmodatFlags::FollowSymlink,
            )?)
        })
    }),
    Row::new("rename", "rename of a file and back", 1000, |s| {
        let tree = Tree::new(false)?;
        let mut other = tree.file.clone().into_bytes();
        other.push(b'2');
        let other = CString::new(other)?;
        let rename = |from: &CStr, to: &CStr| renameat(AT_FDCWD, from, AT_FDCWD, to);
        s.each(|| {
            rename(&tree.file, &other)?;
            Ok(rename(&other, &tree.file)?)
        })
    }),
    Row::new("mount", "mount of a folder on itself, umount", 500, |s| {
        let place = c"/tmp";
        let nothing = None::<&CStr>;
        s.each(
            || match mount(Some(place), place, nothing, MsFlags::MS_BIND, nothing) {
                Ok(()) => Ok(umount2(place, MntFlags::MNT_DETACH)?),
                Err(error) => refused_inside(error),
            },
        )
    }),
    Row::new("read", "read of 64 bytes of a file", 2000, |s| {
        let file = File::open(SOME_FILE.to_str()?)?;
        let mut bytes = [0; 64];
        s.each(|| Ok(pread(&file, &mut bytes, 0).map(drop)?))
    }),
    Row::new("mmap", "mmap, touch and munmap of four pages", 2000, |s| {
        s.each(|| Ok(sys::map_touch_unmap()?))
    }),
    Row::new("kill", "kill(0) of the process itself", 2000, |s| {
        let own = getpid();
        s.each(|| Ok(kill(own, None)?))
    }),
    Row::new("kill-child", "kill(0) of a child", 2000, |s| {
        with_child(|child| s.each(|| Ok(kill(child, None)?)))
    }),
    Row::new("getpgrp", "getpgrp", 2000, |s| {
        s.each(|| {
            getpgrp();
            Ok(())
        })
    }),
    Row::new(
        "wait4",
        "wait4 of a child that runs, without waiting",
        2000,
        |s| {
            with_child(|child| s.each(|| Ok(waitpid(child, Some(WaitPidFlag::WNOHANG)).map(drop)?)))
        },
    ),
    Row::new("fork", "fork, exit and wait", 400, |s| {
        s.each(|| match sys::fork()? {
            0 => sys::exit_now(0),
            pid => ended_well(pid),
        })
    }),
    Row::new("pipe", "round trip through pipes", 1000, |s| {
        let echo = Echo::pipe()?;
        s.each(|| echo.trip())
    }),
    Row::new("unix", "round trip through unix sockets", 1000, |s| {
        let echo = Echo::unix()?;
        s.each(|| echo.trip())
    }),
    Row::new("udp", "round trip through UDP", 1000, |s| {
        let udp = Udp::new(&s.setting.site)?;
        s.each(|| udp.trip())
    }),
    Row::new("tcp", "round trip through TCP", 1000, |s| {
        let echo = Echo::tcp(&s.setting.site)?;
        s.each(|| echo.trip())
    }),
    Row::new(
        "tcp-connect",
        "TCP connection, round trip, close",
        500,
        |s| {
            let service = Service::new(&s.setting.site)?;
            s.each(|| service.visit())
        },
    ),
    Row::new("tcp-stream", "64 KiB through TCP", 400, |s| {
        // What is sent lies in pages of which a process uses up one after the other. A new one begins at
        // the start of a page, and so each block is in as many pieces.
        in_new_process(|| {
            let mut stream = Stream::new(&s.setting.site)?;
            let mut readings = s.each(|| stream.blocks())?;
            for reading in &mut readings {
                *reading /= BLOCKS as u64;
            }
            Ok(readings)
        })
    }),
    Row::new("bind-udp", "bind to 0.0.0.0:80 and close, UDP", 500, |s| {
        s.bind(SockType::Datagram)
    })
    .when(When::Named),
    Row::new(
        "bind-tcp",
        "bind to 0.0.0.0:80, listen and close, TCP",
        500,
        |s| s.bind(SockType::Stream),
    )
    .when(When::Named),
    Row::new("getpgid", "getpgid of a child", 2000, |s| {
        with_child(|child| s.each(|| Ok(getpgid(Some(child)).map(drop)?)))
    }),
    Row::new(
        "proc-status",
        "open, read and close of /proc/self/status",
        500,
        |s| {
            let mut bytes = [0; 4096];
            s.each(|| {
                let file = open(c"/proc/self/status", OFlag::O_RDONLY, Mode::empty())?;
                Ok(read(file.as_fd(), &mut bytes).map(drop)?)
            })
        },
    ),
    Row::new(
        "proc-open",
        "open and close of /proc/self/stat",
        2000,
        |s| opened(s, c"/proc/self/stat"),
    ),
    Row::new(
        "sys-open",
        "open and close of /sys/kernel/uevent_seqnum",
        2000,
        |s| opened(s, c"/sys/kernel/uevent_seqnum"),
    ),
    Row::new("sys-net", "listing of /sys/class/net", 500, |s| {
        s.each(|| {
            for entry in std::fs::read_dir("/sys/class/net")? {
                entry?;
            }
            Ok(())
        })
    }),
    Row::new("proc-list", "listing of /proc", 50, |s| {
        s.each(|| {
            for entry in std::fs::read_dir("/proc")? {
                entry?;
            }
            Ok(())
        })
    }),
    Row::new(
        "pty",
        "a pseudo-terminal: open, open the other end, close both",
        500,
        |s| s.each(|| terminal::pair().map(drop)),
    ),
    Row::new("ptmx", "open and close of /dev/ptmx", 1000, |s| {
        opened(s, c"/dev/ptmx")
    }),
    Row::new("tiocsti", "TIOCSTI of a user, refused", 2000, |s| {
        in_new_process(|| {
            let (_master, other) = terminal::pair()?;
            setuid(OTHER_USER)?;
            s.each(
                || match sys::ioctl(&other, libc::TIOCSTI as u32, &mut b'x') {
                    Err(Errno::EPERM | Errno::EIO) => Ok(()),
                    result => bail!("TIOCSTI is not refused: {result:?}"),
                },
            )
        })
    }),
    Row::new("keyctl", "keyctl, description of a key", 2000, |s| {
        with_key(|key| s.each(|| without_keys(sys::describe_key(key))))
    }),
    Row::new(
        "request-key",
        "request_key of a key of one's own",
        2000,
        |s| with_key(|_| s.each(|| without_keys(sys::request_key(KEY)))),
    ),
    Row::new("tcgets", "tcgetattr of a pseudo-terminal", 2000, |s| {
        let (_master, other) = terminal::pair()?;
        s.each(|| Ok(tcgetattr(&other).map(drop)?))
    }),
    Row::new(
        "exec",
        "vfork, exec of a static program, exit, wait",
        200,
        |s| {
            let mut program = Program::new(s.setting.program.clone());
            s.each(|| ended_well(program.start(First::Nothing)?))
        },
    ),
    Row::new(
        "fork-exec",
        "fork, exec of a static program, exit, wait",
        200,
        |s| {
            let mut program = Program::new(s.setting.program.clone());
            s.each(|| ended_well(program.start(First::Fork)?))
        },
    ),
    Row::new(
        "unshare-exec",
        "fork, unshare of UTS and IPC, exec, exit, wait",
        200,
        |s| {
            let mut program = Program::new(s.setting.program.clone());
            s.each(|| ended_well(program.start(First::Unshare)?))
        },
    ),
    Row::new(
        "enter-exec",
        "fork, ENTER of a new context, exec, exit, wait",
        200,
        |s| {
            let device = module::device()?;
            let mut program = Program::new(s.setting.program.clone());
            s.each(|| ended_well(program.start(First::Enter(device.as_raw_fd()))?))
        },
    )
    .when(When::ModuleLoaded),
    Row::new(
        "chcontext",
        "vfork, exec of chcontext, exec, exit, wait",
        200,
        |s| {
            let mut words = vec![c"/usr/sbin/chcontext".into(), c"--silent".into()];
            words.extend(s.setting.program.clone());
            let mut program = Program::new(words);
            s.each(|| ended_well(program.start(First::Nothing)?))
        },
    )
    .when(When::ModuleLoaded),
    Row::new("enter", "ENTER of a new context alone", 50, enter).when(When::ModuleLoaded),
];

/// Takes the readings of a row.
pub struct Sampler<'a> {
    samples: usize,
    setting: &'a Setting,
}

impl Sampler<'_> {
    /// One reading per call, after as many calls as let caches and deferred work settle.
    #[inline]
    fn each(&self, mut call: impl FnMut() -> Result<()>) -> Result<Vec<u64>> {
        for _ in 0..self.samples / 4 + 2 {
            call()?;
        }
        let mut readings = vec![0; self.samples];
        for reading in &mut readings {
            let start = now();
            let result = call();
            let end = now();
            result?;
            *reading = (end - start).saturating_sub(self.setting.overhead);
        }
        Ok(readings)
    }

    /// The same, of a call that uses up what has to be made for it each time.
    fn each_with<T>(
        &self,
        mut make: impl FnMut() -> Result<T>,
        mut call: impl FnMut(T) -> Result<()>,
    ) -> Result<Vec<u64>> {
        let warm_up = self.samples / 4 + 2;
        let mut readings = vec![0; warm_up + self.samples];
        for reading in &mut readings {
            let made = make()?;
            let start = now();
            let result = call(made);
            let end = now();
            result?;
            *reading = (end - start).saturating_sub(self.setting.overhead);
        }
        Ok(readings.split_off(warm_up))
    }

    fn bind(&self, kind: SockType) -> Result<Vec<u64>> {
        self.each_with(|| bind::fresh(kind), |socket| bind::bind(&socket, kind))
    }
}

/// Takes readings in a child.
fn in_new_process(measure: impl FnOnce() -> Result<Vec<u64>>) -> Result<Vec<u64>> {
    let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
    let pid = sys::fork()?;
    if pid == 0 {
        let result =
            measure().and_then(|readings| Ok(serde_json::to_writer(File::from(to), &readings)?));
        if let Err(error) = &result {
            eprintln!("probe: {error:#}");
        }
        sys::exit_now(result.is_err().into());
    }
    drop(to);
    let readings = std::io::read_to_string(File::from(from))?;
    ended_well(pid)?;
    Ok(serde_json::from_str(&readings)?)
}

/// Each reading is a child's own, as a process can enter a new context only for good.
fn enter(s: &Sampler) -> Result<Vec<u64>> {
    let device = module::device()?;
    let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
    let mut readings = Vec::with_capacity(s.samples);
    // The first ones warm up.
    for index in 0..s.samples + 10 {
        let pid = sys::fork()?;
        if pid == 0 {
            let start = now();
            let result = module::enter_new_by(&device);
            let reading = (now() - start).saturating_sub(s.setting.overhead);
            if result.is_err() {
                sys::exit_now(1);
            }
            let _ = write(&to, &reading.to_le_bytes());
            sys::exit_now(0);
        }
        ended_well(pid)?;
        let mut bytes = [0; 8];
        read(from.as_fd(), &mut bytes)?;
        if index >= 10 {
            readings.push(u64::from_le_bytes(bytes));
        }
    }
    Ok(readings)
}

fn opened(s: &Sampler, file: &CStr) -> Result<Vec<u64>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY;
    s.each(|| Ok(open(file, flags, Mode::empty()).map(drop)?))
}

/// In a context nobody mounts; what that costs is measured then.
fn refused_inside(error: Errno) -> Result<()> {
    ensure!(error == Errno::EPERM, "mount: {error}");
    Ok(())
}

const KEY: &CStr = c"vserver-probe";

/// In a process that has a key; its number, or 0 in a kernel without keys.
fn with_key(measure: impl FnOnce(i64) -> Result<Vec<u64>>) -> Result<Vec<u64>> {
    in_new_process(|| match sys::add_key(KEY) {
        Err(Errno::ENOSYS) => measure(0),
        key => measure(key?),
    })
}

fn without_keys(result: Result<i64, Errno>) -> Result<()> {
    match result {
        Ok(_) | Err(Errno::ENOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The program that is executed: the given words, or else `nothing`, which lies beside the probe.
pub fn program(words: &[OsString]) -> Result<Vec<CString>> {
    if words.is_empty() {
        let nothing = std::env::current_exe()?.with_file_name("nothing");
        return Ok(vec![CString::new(nothing.into_os_string().into_vec())?]);
    }
    let words = words.iter().map(|word| CString::new(word.as_bytes()));
    Ok(words.collect::<Result<_, _>>()?)
}

fn ended_well(pid: i32) -> Result<()> {
    let status = waitpid(Pid::from_raw(pid), None)?;
    ensure!(
        matches!(status, WaitStatus::Exited(_, 0)),
        "the child ended with {status:?}"
    );
    Ok(())
}

/// With a child that waits.
fn with_child<T>(measure: impl FnOnce(Pid) -> Result<T>) -> Result<T> {
    let (held, hold) = pipe2(OFlag::O_CLOEXEC)?;
    let pid = sys::fork()?;
    if pid == 0 {
        drop(hold);
        let _ = read(held.as_fd(), &mut [0]);
        sys::exit_now(0);
    }
    let result = measure(Pid::from_raw(pid));
    drop(hold);
    ended_well(pid)?;
    result
}
