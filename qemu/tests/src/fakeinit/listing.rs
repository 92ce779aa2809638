// SPDX-License-Identifier: GPL-2.0

//! Directories of /proc read in small pieces, and the files of process 1.

use super::{as_both, end, in_child, named, sleeper};
use crate::{
    fixture::{ensure, equal, words, Outcome},
    syscalls, test,
    visibility::call,
    Test,
};
use nix::{
    fcntl::{open, OFlag},
    sys::{
        stat::Mode,
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::{getpid, gettid, Pid},
};
use std::{fs, os::fd::AsRawFd, sync::mpsc::channel, thread};

pub const TESTS: &[Test] = &[
    test("fakeinit::proc_in_pieces", 60, processes),
    test("fakeinit::proc_threads_in_pieces", 60, threads),
    test("fakeinit::proc_files", 60, files),
    test("fakeinit::proc_who_stays", 300, who_stays),
];

/// How often a list is taken while processes come and go.
const LISTS: usize = 30;

/// The numbers in a directory, by as little at a time as the kernel gives; read twice from the same descriptor.
fn in_pieces(path: &str) -> Result<Vec<i32>, String> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let directory = named(path, open(path, flags, Mode::empty()))?;
    let fd = directory.as_raw_fd() as usize;
    let mut both = Vec::new();
    for _ in 0..2 {
        named("lseek", call(libc::SYS_lseek, &[fd, 0, 0]))?;
        let mut numbers = Vec::new();
        loop {
            // One name, or two short ones: an inode, an offset, a length, a type, a name that ends with 0.
            let mut room = [0u8; 48];
            let address = room.as_mut_ptr() as usize;
            let got = call(libc::SYS_getdents64, &[fd, address, room.len()]);
            let length = named("getdents64", got)? as usize;
            if length == 0 {
                break;
            }
            let mut at = 0;
            while at < length {
                let size = usize::from(u16::from_ne_bytes([room[at + 16], room[at + 17]]));
                let name = &room[at + 19..at + size];
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let name = String::from_utf8_lossy(name);
                numbers.extend(name.parse::<i32>().ok());
                at += size;
            }
        }
        both.push(numbers);
    }
    equal("the second time", &both[1], &both[0])?;
    Ok(both.swap_remove(0))
}

fn processes() -> Outcome {
    as_both(|who| {
        let sleepers = [sleeper()?, sleeper()?, sleeper()?];
        in_child(|| {
            let mut expected = vec![1, getpid().as_raw()];
            expected.extend(sleepers.iter().map(|pid| pid.as_raw()));
            if !who.is_init() {
                expected.push(who.real);
            }
            expected.sort_unstable();
            equal("in their order", in_pieces("/proc")?, expected)
        })?;
        sleepers.into_iter().try_for_each(end)
    })
}

fn threads() -> Outcome {
    as_both(|who| {
        let (send, receive) = channel();
        let mut expected = vec![who.number];
        for _ in 0..5 {
            let send = send.clone();
            thread::spawn(move || {
                let _ = send.send(gettid().as_raw());
                loop {
                    thread::park();
                }
            });
            expected.push(receive.recv().map_err(words)?);
        }
        let path = format!("/proc/{}/task", who.number);
        equal("its own", in_pieces(&path)?, expected.clone())?;
        in_child(|| equal("for a child", in_pieces(&path)?, expected))
    })
}

/// A child of its own user reads what it reads of itself.
fn files() -> Outcome {
    as_both(|who| {
        let own = |name: &str| format!("/proc/{}/{name}", who.number);
        let words_of = |name: &str| fs::read_to_string(own(name)).map_err(words);
        in_child(|| {
            let same = fs::read_link(own("exe")).map_err(words)?;
            let expected = fs::read_link("/proc/self/exe").map_err(words)?;
            equal("exe", same, expected)?;
            let expected = fs::read_to_string("/proc/self/cmdline").map_err(words)?;
            equal("cmdline", words_of("cmdline")?, expected)?;
            for link in ["root", "cwd", "ns/uts", "fd/0"] {
                named(
                    link,
                    fs::read_link(own(link)).map_err(|error| {
                        nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0))
                    }),
                )?;
            }
            for file in ["status", "maps", "environ", "limits", "cgroup", "mountinfo"] {
                ensure(file, !words_of(file)?.is_empty())?;
            }
            let thread = format!("task/{}/comm", who.number);
            equal("a thread", words_of(&thread)?, words_of("comm")?)?;
            ensure("fdinfo", words_of("fdinfo/0")?.contains("flags:"))
        })?;
        if who.is_init() {
            for name in ["exe", "status", "fd", "task"] {
                let path = format!("/proc/{}/{name}", who.real);
                let gone = fs::symlink_metadata(&path).err();
                let errno = gone.and_then(|error| error.raw_os_error());
                equal(&path, errno, Some(libc::ENOENT))?;
            }
        }
        Ok(())
    })
}

/// Makes processes that end at once, and orphans that do, for ever.
fn churn() -> ! {
    loop {
        match syscalls::fork() {
            Ok(0) => {
                let _ = syscalls::fork();
                syscalls::exit_now(0)
            }
            Ok(pid) => {
                let _ = waitpid(Pid::from_raw(pid), None);
            }
            Err(_) => thread::yield_now(),
        }
    }
}

/// They are in a list of /proc, and found by their numbers.
fn all_are_there<'a>(processes: impl Iterator<Item = &'a Pid>) -> Outcome {
    let listed: Vec<i32> = fs::read_dir("/proc")
        .map_err(words)?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    for pid in processes.map(|pid| pid.as_raw()) {
        ensure(
            &format!("{pid} is not in {listed:?}"),
            listed.contains(&pid),
        )?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        ensure(&format!("{pid}: {stat:?}"), stat.is_ok())?;
    }
    Ok(())
}

/// Who is there all the time is in every list, however many come and go meanwhile.
fn who_stays() -> Outcome {
    as_both(|_| {
        let mut staying = Vec::new();
        for _ in 0..20 {
            staying.push(sleeper()?);
        }
        let mut churning = Vec::new();
        for _ in 0..3 {
            match syscalls::fork().map_err(words)? {
                0 => churn(),
                pid => churning.push(Pid::from_raw(pid)),
            }
        }
        let mut outcome = Ok(());
        for round in 0..LISTS {
            outcome = all_are_there(staying.iter().chain(&churning))
                .map_err(|text| format!("list {round}: {text}"));
            if outcome.is_err() {
                break;
            }
            // Orphans, which come faster than one at a time.
            while let Ok(WaitStatus::Exited(..)) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {}
        }
        churning.into_iter().chain(staying).try_for_each(end)?;
        outcome
    })
}
