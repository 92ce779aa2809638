// SPDX-License-Identifier: GPL-2.0

//! The harness itself: what its watch on the console must not take for a complaint of the kernel. If it did, the
//! runner would report a failure of the whole machine.

use crate::{
    fixture::{ensure, equal, words, Outcome},
    syscalls, test, Test,
};
use nix::{
    fcntl::OFlag,
    sys::{
        prctl,
        signal::Signal,
        stat::Mode,
        wait::{waitpid, WaitStatus},
    },
    unistd::Pid,
};
use std::{
    ffi::CStr,
    fs::File,
    io::{ErrorKind, Read, Seek, SeekFrom},
};

pub const TESTS: &[Test] = &[test("harness::faults_of_programs", 30, faults_of_programs)];

/// A program that faults.
struct Fault {
    /// Its name, as a hostile program would choose it.
    name: &'static CStr,
    run: fn() -> !,
    signal: Signal,
    /// What the kernel reports.
    report: &'static str,
}

const FAULTS: [Fault; 4] = [
    Fault {
        name: c"program",
        run: syscalls::halt,
        signal: Signal::SIGSEGV,
        report: "traps: program[",
    },
    Fault {
        name: c"Oops: x",
        run: syscalls::halt,
        signal: Signal::SIGSEGV,
        report: "] general protection fault ip:",
    },
    Fault {
        name: c"kernel BUG at x",
        run: syscalls::undefined_instruction,
        signal: Signal::SIGILL,
        report: "] trap invalid opcode ip:",
    },
    Fault {
        name: c"BUG: x",
        run: syscalls::crash,
        signal: Signal::SIGSEGV,
        report: "]: segfault at ",
    },
];

fn faults_of_programs() -> Outcome {
    let mut log = File::from(
        nix::fcntl::open(
            "/dev/kmsg",
            OFlag::O_RDONLY | OFlag::O_NONBLOCK,
            Mode::empty(),
        )
        .map_err(words)?,
    );
    log.seek(SeekFrom::End(0)).map_err(words)?;
    for Fault {
        name,
        run,
        signal,
        report,
    } in FAULTS
    {
        let pid = match syscalls::fork().map_err(words)? {
            0 => {
                let _ = prctl::set_name(name);
                run()
            }
            pid => Pid::from_raw(pid),
        };
        let end = waitpid(pid, None).map_err(words)?;
        ensure(
            &format!("{name:?}: {end:?}"),
            matches!(end, WaitStatus::Signaled(_, by, _) if by == signal),
        )?;
        let said = news(&mut log)?;
        let found = said
            .iter()
            .any(|line| line.contains(report) && line.contains(&*name.to_string_lossy()));
        equal(
            &format!("a report with {report:?} in {said:?}"),
            found,
            true,
        )?;
    }
    Ok(())
}

/// The records that have come to the kernel's log since the last call.
fn news(log: &mut File) -> Result<Vec<String>, String> {
    let mut records = Vec::new();
    loop {
        let mut room = [0; 8192];
        match log.read(&mut room) {
            Ok(length) => records.push(String::from_utf8_lossy(&room[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(records),
            // Records were lost to newer ones.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(words(error)),
        }
    }
}
