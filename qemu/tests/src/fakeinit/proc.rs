// SPDX-License-Identifier: GPL-2.0

//! Process 1 in /proc, also where one mount of it is everybody's.

use super::{as_init, end, expect_success, in_child, sleeper, spawn};
use crate::{
    fixture::{addresses_of, child, ensure, enter, equal, get, inside, words, Outcome, Sitter},
    proc::listing,
    test, Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, openat, OFlag},
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    sys::{signal::kill, stat::Mode},
    unistd::{getpid, getppid, Pid},
};
use std::fs;
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::proc_listing", 60, lists),
    test("fakeinit::proc_status", 60, status),
    test("fakeinit::proc_names_of_everybody", 120, names),
    test("fakeinit::proc_names_at_once", 240, at_once),
    test("fakeinit::proc_opened_before", 60, opened_before),
    test("fakeinit::proc_mount_of_its_own", 60, own_mount),
    test("fakeinit::proc_from_outside", 60, from_outside),
    test("fakeinit::proc_around", 60, around),
];

/// The name of a process, by its number in /proc.
fn name(pid: i32) -> Result<String, Errno> {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map(|text| text.trim().to_string())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Gives the caller a name, by which it is known again.
fn be_called(name: &str) -> Outcome {
    fs::write("/proc/self/comm", name).map_err(words)
}

/// A process that is process 1 and is called like this, with a child.
fn init(name: &'static str) -> Result<Sitter, String> {
    Sitter::new(CONTEXT_NEW, FLAG_FAKEINIT, move || be_called(name))
}

fn lists() -> Outcome {
    as_init(|real| {
        be_called("own-init")?;
        let sleeper = sleeper()?;
        in_child(|| {
            let own = getpid().as_raw();
            let mut expected = vec![1, sleeper.as_raw(), own];
            expected.sort_unstable();
            equal("the processes", listing()?, expected)?;
            let mut first = None;
            for entry in fs::read_dir("/proc").map_err(words)? {
                let entry = entry.map_err(words)?.file_name();
                let number = entry.to_str().and_then(|name| name.parse::<i32>().ok());
                first = first.or(number);
            }
            equal("the first", first, Some(1))?;
            equal("its name", name(1), Ok("own-init".to_string()))?;
            equal("under the real number", name(real), Err(Errno::ENOENT))
        })?;
        let own = fs::read_link("/proc/self").map_err(words)?;
        equal("/proc/self", own.to_str(), Some("1"))?;
        let thread = fs::read_link("/proc/thread-self").map_err(words)?;
        equal("/proc/thread-self", thread.to_str(), Some("1/task/1"))?;
        let tasks = fs::read_dir("/proc/1/task").map_err(words)?.count();
        equal("its threads", tasks, 1)?;
        let children = fs::read_to_string("/proc/1/task/1/children").map_err(words)?;
        equal(
            "its children",
            children.trim(),
            sleeper.to_string().as_str(),
        )?;
        end(sleeper)
    })
}

/// A line of /proc/PID/status.
fn line(pid: i32, name: &str) -> Result<String, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(words)?;
    let found = status
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name}:")));
    found
        .map(|value| value.trim().to_string())
        .ok_or(status.clone())
}

fn status() -> Outcome {
    as_init(|real| {
        for (field, value) in [
            ("Tgid", "1"),
            ("Pid", "1"),
            ("PPid", "0"),
            ("NSpid", "1"),
            ("NStgid", "1"),
            ("TracerPid", "0"),
            ("initpid", "1"),
        ] {
            equal(field, line(1, field)?.as_str(), value)?;
        }
        ensure("flags", line(1, "ctxflags")?.contains("fakeinit"))?;
        let stat = fs::read_to_string("/proc/1/stat").map_err(words)?;
        let (_, rest) = stat.rsplit_once(')').ok_or("no name")?;
        ensure(&stat, stat.starts_with("1 ("))?;
        equal(
            "the parent",
            rest.split_ascii_whitespace().nth(1),
            Some("0"),
        )?;
        in_child(|| {
            let own = getpid().as_raw();
            equal("a child's parent", line(own, "PPid")?.as_str(), "1")?;
            equal("a child's number", line(own, "Pid")?, own.to_string())?;
            equal("process 1", line(own, "initpid")?.as_str(), "1")?;
            let stat = fs::read_to_string("/proc/self/stat").map_err(words)?;
            let (_, rest) = stat.rsplit_once(')').ok_or("no name")?;
            equal(
                "its parent",
                rest.split_ascii_whitespace().nth(1),
                Some("1"),
            )?;
            ensure("the real number is nobody's", line(real, "Pid").is_err())
        })
    })
}

/// In one mount: the host, two contexts with a process 1 and one without, in turns.
fn names() -> Outcome {
    let machine = name(1).map_err(words)?;
    let one = init("init-one")?;
    let two = init("init-two")?;
    let other = Sitter::idle(300)?;
    let numbers = [one.pid, two.pid];
    for _ in 0..20 {
        equal("the host's", name(1), Ok(machine.clone()))?;
        for pid in numbers {
            ensure("out of the host's sight", name(pid) == Err(Errno::ENOENT))?;
        }
        for (sitter, called) in [(&one, "init-one"), (&two, "init-two")] {
            inside(sitter.context, || {
                equal("inside", name(1), Ok(called.to_string()))?;
                for pid in numbers {
                    equal("by its real number", name(pid), Err(Errno::ENOENT))?;
                }
                ensure(
                    "listed once",
                    listing()?.iter().filter(|pid| **pid == 1).count() == 1,
                )
            })?;
        }
        inside(other.context, || {
            equal("without one", name(1), Ok(machine.clone()))
        })?;
        inside(CONTEXT_SPECTATOR, || {
            equal("the spectator's 1", name(1), Ok(machine.clone()))?;
            equal("by its number", name(one.pid), Ok("init-one".to_string()))?;
            equal("by its number", name(two.pid), Ok("init-two".to_string()))
        })?;
    }
    Ok(())
}

/// The same, all at the same time.
fn at_once() -> Outcome {
    const ROUNDS: usize = 300;
    let machine = name(1).map_err(words)?;
    let one = init("init-one")?;
    let two = init("init-two")?;
    let watch = |context: i32, called: &str| {
        spawn(|| {
            let enter = match context {
                CONTEXT_ROOT => Ok(()),
                context => enter(context, 0, 0).map(drop),
            };
            let right = || (0..ROUNDS).all(|_| name(1).is_ok_and(|found| found == called));
            i32::from(enter.is_err() || !right())
        })
    };
    let mut watchers = Vec::new();
    for _ in 0..2 {
        watchers.push(watch(CONTEXT_ROOT, &machine)?);
        watchers.push(watch(one.context, "init-one")?);
        watchers.push(watch(two.context, "init-two")?);
    }
    let outcomes: Vec<Outcome> = watchers.into_iter().map(expect_success).collect();
    outcomes.into_iter().collect()
}

/// Directories that the host has opened do not show what is not there inside.
fn opened_before() -> Outcome {
    let machine = name(1).map_err(words)?;
    let directory =
        |path: &str| open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).map_err(words);
    let proc = directory("/proc")?;
    let first = directory("/proc/1")?;
    let own = directory("/proc/self")?;
    as_init(|real| {
        be_called("own-init")?;
        let read = |at: &std::os::fd::OwnedFd, path: &str| {
            let file = openat(at, path, OFlag::O_RDONLY, Mode::empty())?;
            let mut room = [0; 64];
            let length = nix::unistd::read(&file, &mut room)?;
            Ok::<_, Errno>(String::from_utf8_lossy(&room[..length]).trim().to_string())
        };
        equal(
            "process 1 by the host's /proc",
            read(&proc, "1/comm"),
            Ok("own-init".into()),
        )?;
        let by_number = read(&proc, &format!("{real}/comm"));
        equal("the real number", by_number, Err(Errno::ENOENT))?;
        ensure("the machine's", read(&first, "comm") != Ok(machine.clone()))?;
        ensure("who forked it", read(&own, "comm").is_err())
    })
}

fn own_mount() -> Outcome {
    child(|| {
        unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
        let none: Option<&str> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(none, "/", none, private, none).map_err(words)?;
        mount(none, "/proc", Some("proc"), MsFlags::empty(), none).map_err(words)?;
        enter(CONTEXT_NEW, FLAG_FAKEINIT, 0).map_err(words)?;
        be_called("own-init")?;
        equal("its own", name(1), Ok("own-init".to_string()))?;
        equal("alone", listing()?, vec![1])?;
        Ok(String::new())
    })
    .map(drop)
}

fn from_outside() -> Outcome {
    let init = init("own-init")?;
    inside(CONTEXT_SPECTATOR, || {
        equal("initpid", line(init.pid, "initpid")?, init.pid.to_string())?;
        equal("Pid", line(init.pid, "Pid")?, init.pid.to_string())?;
        equal("GET", get(init.pid).map(|info| info.initpid), Ok(init.pid))
    })?;
    let listed = crate::fixture::list_whole().map_err(words)?;
    let found = listed.iter().find(|info| info.context == init.context);
    equal("LIST", found.map(|info| info.initpid), Some(init.pid))?;
    inside(init.context, || {
        equal("GET inside", get(1).map(|info| info.initpid), Ok(1))?;
        ensure("its addresses", addresses_of(1).is_ok())?;
        let real = get(init.pid).map(|info| info.context);
        equal("by the real number", real, Err(Errno::ESRCH))
    })
}

/// A context inside of one that has a process 1, and none of its own: it is shown that one, as others are shown the
/// machine's, and cannot touch it.
fn around() -> Outcome {
    as_init(|real| {
        be_called("outer-init")?;
        in_child(|| {
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            equal("shown", name(1), Ok("outer-init".to_string()))?;
            equal("its parent", getppid().as_raw(), 0)
                .or_else(|_| equal("its parent", getppid(), Pid::from_raw(1)))?;
            equal(
                "not to be signalled",
                kill(Pid::from_raw(1), None),
                Err(Errno::ESRCH),
            )?;
            equal("the real number", name(real), Err(Errno::ENOENT))?;
            // With one of its own it is shown that.
            enter(CONTEXT_STAY, FLAG_FAKEINIT, 0).map_err(words)?;
            be_called("inner-init")?;
            equal("its own", name(1), Ok("inner-init".to_string()))
        })?;
        equal("still the outer one", name(1), Ok("outer-init".to_string()))
    })
}
