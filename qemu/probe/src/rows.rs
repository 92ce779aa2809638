// SPDX-License-Identifier: GPL-2.0

//! The rows: each makes its readings.

use crate::{
    clock::now,
    echo::Echo,
    module,
    sys::{self, Program},
};
use anyhow::{ensure, Context, Result};
use nix::{
    fcntl::{open, OFlag},
    sys::{
        signal::kill,
        stat::{stat, Mode},
        uio::pread,
        wait::{waitpid, WaitStatus},
    },
    unistd::{getpgid, getpid, getppid, pipe2, read, write, Pid},
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

/// Something that is measured.
pub struct Row {
    /// Its name on the command line.
    pub name: &'static str,
    /// In words.
    pub what: &'static str,
    /// It enters contexts.
    pub needs_module: bool,
    samples: usize,
    measure: fn(&Sampler) -> Result<Vec<u64>>,
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
            needs_module: false,
            samples,
            measure,
        }
    }

    const fn needs_module(mut self) -> Self {
        self.needs_module = true;
        self
    }

    /// The readings; `overhead` is what reading the clock costs.
    ///
    /// `program` is what the rows that execute something execute.
    pub fn readings(&self, overhead: u64, program: &[CString]) -> Result<Vec<u64>> {
        let sampler = Sampler {
            samples: self.samples,
            overhead,
            program: program.to_vec(),
        };
        (self.measure)(&sampler).with_context(|| format!("{} ({})", self.what, self.name))
    }
}

/// All rows, in the order in which they are measured and shown.
pub const ROWS: &[Row] = &[
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
    Row::new("tcp", "round trip through TCP on loopback", 1000, |s| {
        let echo = Echo::tcp()?;
        s.each(|| echo.trip())
    }),
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
    Row::new("proc-list", "listing of /proc", 50, |s| {
        s.each(|| {
            for entry in std::fs::read_dir("/proc")? {
                entry?;
            }
            Ok(())
        })
    }),
    Row::new(
        "exec",
        "vfork, exec of a static program, exit, wait",
        200,
        |s| {
            let mut program = Program::new(s.program.clone());
            s.each(|| ended_well(program.start(None)?))
        },
    ),
    Row::new(
        "enter-exec",
        "vfork, ENTER of a new context, exec, exit, wait",
        200,
        |s| {
            let device = module::device()?;
            let mut program = Program::new(s.program.clone());
            s.each(|| ended_well(program.start(Some(device.as_raw_fd()))?))
        },
    )
    .needs_module(),
    Row::new(
        "chcontext",
        "vfork, exec of chcontext, exec, exit, wait",
        200,
        |s| {
            let mut words = vec![c"/usr/sbin/chcontext".into(), c"--silent".into()];
            words.extend(s.program.clone());
            let mut program = Program::new(words);
            s.each(|| ended_well(program.start(None)?))
        },
    )
    .needs_module(),
    Row::new("enter", "ENTER of a new context alone", 50, enter).needs_module(),
];

/// Takes the readings of a row.
pub struct Sampler {
    samples: usize,
    overhead: u64,
    program: Vec<CString>,
}

impl Sampler {
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
            *reading = (end - start).saturating_sub(self.overhead);
        }
        Ok(readings)
    }
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
            let reading = (now() - start).saturating_sub(s.overhead);
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
