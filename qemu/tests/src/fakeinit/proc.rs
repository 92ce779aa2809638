// SPDX-License-Identifier: GPL-2.0

//! Process 1 in /proc, also where one mount of it is everybody's.

use super::{as_both, as_init, end, in_child, named, sleeper};
use crate::{
    fixture::{child, ensure, enter, equal, get, inside, words, Outcome, Sitter},
    proc::listing,
    syscalls::own,
    test, Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, openat, OFlag},
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    sys::{
        signal::{kill, Signal},
        socket::{
            recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, ControlMessageOwned,
            MsgFlags, SockFlag, SockType,
        },
        stat::Mode,
    },
    unistd::{getpid, getppid, Pid},
};
use std::{
    fs,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::proc_listing", 60, lists),
    test("fakeinit::proc_status", 60, status),
    test("fakeinit::proc_handed_over", 60, handed_over),
    test("fakeinit::proc_all_numbers", 120, all_numbers),
    test("fakeinit::proc_mount_of_its_own", 60, own_mount),
    test("fakeinit::proc_from_outside", 60, from_outside),
    test("fakeinit::proc_around", 60, around),
];

/// The name of a process, by its number in /proc.
pub fn name(pid: i32) -> Result<String, Errno> {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .map(|text| text.trim().to_string())
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))
}

/// Gives the caller a name, by which it is known again.
pub fn be_called(name: &str) -> Outcome {
    fs::write("/proc/self/comm", name).map_err(words)
}

fn lists() -> Outcome {
    let machine = named("the machine's", name(1))?;
    as_both(|who| {
        be_called("own-init")?;
        let sleeper = sleeper()?;
        in_child(|| {
            let own = getpid().as_raw();
            let mut expected = vec![1, sleeper.as_raw(), own];
            if !who.is_init() {
                expected.push(who.real);
            }
            expected.sort_unstable();
            equal("the processes", listing()?, expected)?;
            let mut first = None;
            for entry in fs::read_dir("/proc").map_err(words)? {
                let entry = entry.map_err(words)?.file_name();
                let number = entry.to_str().and_then(|name| name.parse::<i32>().ok());
                first = first.or(number);
            }
            equal("the first", first, Some(1))?;
            let called = "own-init".to_string();
            equal("its name", name(who.number), Ok(called.clone()))?;
            let one = if who.is_init() { &called } else { &machine };
            equal("the name of 1", name(1), Ok(one.clone()))?;
            if who.is_init() {
                let real = name(who.real);
                equal("under the real number", real, Err(Errno::ENOENT))?;
            }
            Ok(())
        })?;
        let number = who.number;
        let own = fs::read_link("/proc/self").map_err(words)?;
        equal(
            "/proc/self",
            own.to_str(),
            Some(number.to_string().as_str()),
        )?;
        let thread = fs::read_link("/proc/thread-self").map_err(words)?;
        let expected = format!("{number}/task/{number}");
        equal(
            "/proc/thread-self",
            thread.to_str(),
            Some(expected.as_str()),
        )?;
        let mut tasks = Vec::new();
        for entry in fs::read_dir(format!("/proc/{number}/task")).map_err(words)? {
            tasks.push(entry.map_err(words)?.file_name().into_string());
        }
        equal("its threads", tasks, vec![Ok(number.to_string())])?;
        if who.is_init() {
            let path = format!("/proc/1/task/{}", who.real);
            ensure("a thread by the real number", fs::metadata(path).is_err())?;
        }
        let children = format!("/proc/{number}/task/{number}/children");
        let children = fs::read_to_string(children).map_err(words)?;
        let expected = sleeper.to_string();
        equal("its children", children.trim(), expected.as_str())?;
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

/// The number of the parent in /proc/PID/stat, which begins with its own.
fn stat(pid: i32) -> Result<[String; 2], String> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(words)?;
    let (first, _) = text.split_once(' ').ok_or("no number")?;
    let (_, rest) = text.rsplit_once(')').ok_or("no name")?;
    let parent = rest.split_ascii_whitespace().nth(1).unwrap_or_default();
    Ok([first.to_string(), parent.to_string()])
}

fn status() -> Outcome {
    let outside = getpid().to_string();
    as_both(|who| {
        let number = who.number.to_string();
        let parent = if who.is_init() { "0" } else { &outside };
        let init = if who.is_init() { "1" } else { "none" };
        for (field, value) in [
            ("Tgid", number.as_str()),
            ("Pid", &number),
            ("PPid", parent),
            ("NSpid", &number),
            ("NStgid", &number),
            ("TracerPid", "0"),
            ("initpid", init),
        ] {
            equal(field, line(who.number, field)?.as_str(), value)?;
        }
        let flagged = line(who.number, "ctxflags")?.contains("fakeinit");
        equal("flags", flagged, who.is_init())?;
        let expected = [number.clone(), parent.to_string()];
        equal("stat", stat(who.number)?, expected)?;
        in_child(|| {
            let own = getpid().as_raw();
            equal("a child's parent", line(own, "PPid")?, number.clone())?;
            equal("a child's number", line(own, "Pid")?, own.to_string())?;
            equal("process 1", line(own, "initpid")?.as_str(), init)?;
            let expected = [own.to_string(), number.clone()];
            equal("a child's stat", stat(own)?, expected)?;
            let gone = line(who.real, "Pid").is_err();
            equal("the real number is nobody's", gone, who.is_init())
        })
    })
}

/// Directories that the host has opened and hands over do not show what is not there inside.
fn handed_over() -> Outcome {
    let machine = named("the machine's", name(1))?;
    for flags in [FLAG_FAKEINIT, 0] {
        let (one, two) = socketpair(
            AddressFamily::Unix,
            SockType::Datagram,
            None,
            SockFlag::empty(),
        )
        .map_err(words)?;
        let host = getpid().as_raw();
        let directory = |path: &str| {
            let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
            open(path, flags, Mode::empty()).map_err(words)
        };
        // Of the one that becomes process 1, too, whose number this is only outside.
        let give = |real: i32| {
            let paths = ["/proc", "/proc/1", "/proc/self"].map(str::to_string);
            let paths = [&paths[..], &[format!("/proc/{real}")]].concat();
            let opened: Result<Vec<_>, _> = paths.iter().map(|path| directory(path)).collect();
            let opened = opened?;
            let fds: Vec<i32> = opened.iter().map(AsRawFd::as_raw_fd).collect();
            let control = [ControlMessage::ScmRights(&fds)];
            let number = real.to_ne_bytes();
            let bytes = [IoSlice::new(&number)];
            let none = MsgFlags::empty();
            sendmsg::<()>(one.as_raw_fd(), &bytes, &control, none, None).map_err(words)?;
            Ok(())
        };
        let take = || {
            let mut number = [0; 4];
            let mut bytes = [IoSliceMut::new(&mut number)];
            let mut space = nix::cmsg_space!([i32; 4]);
            let none = MsgFlags::empty();
            let message = recvmsg::<()>(two.as_raw_fd(), &mut bytes, Some(&mut space), none);
            let message = message.map_err(words)?;
            let mut messages = message.cmsgs().map_err(words)?;
            let fds = messages.find_map(|message| match message {
                ControlMessageOwned::ScmRights(fds) => Some(fds),
                _ => None,
            });
            let fds = fds.ok_or("no descriptors")?;
            let fds: Vec<OwnedFd> = fds.into_iter().map(own).collect();
            equal("descriptors", fds.len(), 4)?;
            Ok::<_, String>((i32::from_ne_bytes(number), fds))
        };
        Sitter::after(CONTEXT_NEW, flags, give, || {
            be_called("own-init")?;
            let (real, fds) = take()?;
            let own: Result<String, Errno> = Ok("own-init".to_string());
            let nobody = Err(Errno::ENOENT);
            let one = if flags == 0 {
                Ok(machine.clone())
            } else {
                own.clone()
            };
            equal("process 1", read_at(&fds[0], "1/comm"), one.clone())?;
            let by_number = read_at(&fds[0], &format!("{real}/comm"));
            let other = if flags == 0 {
                own.clone()
            } else {
                nobody.clone()
            };
            equal("the real number", by_number, other)?;
            equal("/proc/self", read_at(&fds[0], "self/comm"), own.clone())?;
            let outside = read_at(&fds[0], &format!("{host}/comm"));
            equal("the host's", outside, nobody.clone())?;
            let machine = if flags == 0 { one } else { nobody.clone() };
            equal("the machine's", read_at(&fds[1], "comm"), machine)?;
            equal("who opened it", read_at(&fds[2], "comm"), nobody)?;
            // Its own, however it came by it.
            equal("its own", read_at(&fds[3], "comm"), own)?;
            let status = read_at(&fds[3], "status").map_err(words)?;
            let number = if flags == 0 { real } else { 1 };
            ensure(&status, status.contains(&format!("\nPid:\t{number}\n")))
        })?;
    }
    Ok(())
}

/// Reads a file, by its path from a directory.
fn read_at(at: &OwnedFd, path: &str) -> Result<String, Errno> {
    let file = openat(at, path, OFlag::O_RDONLY, Mode::empty())?;
    let mut room = [0; 4096];
    let length = nix::unistd::read(&file, &mut room)?;
    Ok(String::from_utf8_lossy(&room[..length]).trim().to_string())
}

/// No number leads to the machine's init, nor to anybody else who is not inside: neither of a process nor of a thread.
fn all_numbers() -> Outcome {
    let machine = named("the machine's", name(1))?;
    let highest = child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        let last = listing()?.last().copied();
        Ok(last.unwrap_or(0).to_string())
    })?;
    let highest: i32 = highest.parse().map_err(words)?;
    as_init(|_| {
        be_called("own-init")?;
        let sleeper = sleeper()?;
        let found: Vec<_> = (0..highest + 100)
            .filter_map(|number| name(number).ok().map(|name| (number, name)))
            .collect();
        let called = "own-init".to_string();
        let expected = vec![(1, called.clone()), (sleeper.as_raw(), called)];
        equal("the numbers that lead to somebody", found, expected)?;
        end(sleeper)
    })?;
    super::as_anybody(|real| {
        be_called("anybody")?;
        let found: Vec<_> = (0..highest + 100)
            .filter_map(|number| name(number).ok().map(|name| (number, name)))
            .collect();
        let expected = vec![(1, machine.clone()), (real, "anybody".to_string())];
        equal("of the control", found, expected)
    })
}

/// A mount made for the context, in which the host has looked up all before.
fn own_mount() -> Outcome {
    let machine = named("the machine's", name(1))?;
    for flags in [FLAG_FAKEINIT, 0] {
        in_child(|| {
            let real = getpid().as_raw();
            unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
            let none: Option<&str> = None;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(none, "/", none, private, none).map_err(words)?;
            mount(none, "/proc", Some("proc"), MsFlags::empty(), none).map_err(words)?;
            be_called("own-init")?;
            let called = "own-init".to_string();
            equal("outside", name(real), Ok(called.clone()))?;
            equal("the machine's", name(1), Ok(machine.clone()))?;
            enter(CONTEXT_NEW, flags, 0).map_err(words)?;
            if flags == 0 {
                equal("the machine's", name(1), Ok(machine.clone()))?;
                equal("its own", name(real), Ok(called))?;
                return equal("with the machine's", listing()?, vec![1, real]);
            }
            equal("its own", name(1), Ok(called))?;
            equal("the real number", name(real), Err(Errno::ENOENT))?;
            equal("alone", listing()?, vec![1])
        })?;
    }
    Ok(())
}

/// `initpid` outside, and the requests of the device inside.
fn from_outside() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let init = Sitter::new(CONTEXT_NEW, flags, || be_called("own-init"))?;
        let (number, inside_, shown) = match flags {
            0 => (0, 0, "none".to_string()),
            _ => (init.pid, 1, init.pid.to_string()),
        };
        inside(CONTEXT_SPECTATOR, || {
            equal("initpid", line(init.pid, "initpid")?, shown)?;
            equal("Pid", line(init.pid, "Pid")?, init.pid.to_string())?;
            let told = get(init.pid).map(|info| info.initpid);
            equal("GET", told, Ok(number))
        })?;
        let listed = crate::fixture::list_all().map_err(words)?;
        let found = listed.iter().find(|info| info.context == init.context);
        equal("LIST", found.map(|info| info.initpid), Some(number))?;
        inside(init.context, || {
            let told = get(0).map(|info| info.initpid);
            equal("GET inside", told, Ok(inside_))
        })?;
    }
    Ok(())
}

/// A context inside of one that has a process 1, and none of its own: it is shown that one, as others are shown the
/// machine's, and cannot touch it.
fn around() -> Outcome {
    as_both(|who| {
        be_called("outer-init")?;
        let called = "outer-init".to_string();
        in_child(|| {
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            let shown = name(1) == Ok(called.clone());
            equal("shown", shown, who.is_init())?;
            let mut all = vec![1, getpid().as_raw()];
            all.dedup();
            equal("and nobody else", listing()?, all)?;
            equal("its parent", getppid(), who.pid())?;
            for (what, signal) in [("asked", None), ("killed", Some(Signal::SIGKILL))] {
                let sent = kill(Pid::from_raw(1), signal);
                equal(what, sent, Err(Errno::ESRCH))?;
            }
            let opened = crate::pidfd::open(1).map(drop);
            equal("pidfd_open", opened, Err(Errno::ESRCH))?;
            equal("the real number", name(who.real), Err(Errno::ENOENT))?;
            equal("GET", get(1).err(), Some(Errno::ESRCH))?;
            // With one of its own it is shown that.
            enter(CONTEXT_STAY, FLAG_FAKEINIT, 0).map_err(words)?;
            be_called("inner-init")?;
            equal("its own", name(1), Ok("inner-init".to_string()))?;
            equal("its parent", getppid(), Pid::from_raw(0))?;
            equal("alone", listing()?, vec![1])
        })?;
        equal("still the outer one", name(who.number), Ok(called.clone()))
    })
}
