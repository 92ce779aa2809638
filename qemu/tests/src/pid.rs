// SPDX-License-Identifier: GPL-2.0

//! System calls that look a process up by its number, and are not of another file's subsystem.

use crate::{
    fixture::{child, enter, equal, get, inside, words, Outcome, Sitter},
    test,
    visibility::{call, ways},
    Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    sched::{unshare, CloneFlags},
    sys::{
        stat::Mode,
        wait::{waitpid, WaitPidFlag, WaitStatus},
    },
    unistd::Pid,
};
use std::os::fd::{AsRawFd, OwnedFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("pid::setpgid_of_a_child_elsewhere", 20, setpgid),
    test("pid::wait_for_a_child_elsewhere", 20, wait),
    test("pid::namespace_inside_a_context", 20, namespace),
    test("pid::the_number_of_a_group", 20, number_of_group),
    test("pid::owners_of_locks", 20, owners_of_locks),
    test("pid::owners_of_files", 20, owners_of_files),
];

fn cgroup_procs_file(_pid: i32) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    open("/sys/fs/cgroup/cgroup.procs", flags, Mode::empty())
}

ways! { "pid":
    ioctl_get: May, |target| get(target.pid as i32).map(|_| 0);
    getpgid: May, |target| call(libc::SYS_getpgid, &[target.pid]);
    getsid: May, |target| call(libc::SYS_getsid, &[target.pid]);
    prlimit: May, |target| {
        let mut limit = [0u64; 2];
        let address = limit.as_mut_ptr() as usize;
        call(libc::SYS_prlimit64, &[target.pid, libc::RLIMIT_CPU as usize, 0, address])
    };
    prlimit_set: May, |target| {
        let limit = [u64::MAX; 2];
        let address = limit.as_ptr() as usize;
        call(libc::SYS_prlimit64, &[target.pid, libc::RLIMIT_CPU as usize, address, 0])
    };
    capget: May, |target| {
        let header = [0x2008_0522, target.pid as u32];
        let mut data = [0u32; 6];
        call(
            libc::SYS_capget,
            &[header.as_ptr() as usize, data.as_mut_ptr() as usize],
        )
    };
    kcmp: May, |target| call(libc::SYS_kcmp, &[target.pid, target.pid, 1, 0, 0]);
    get_robust_list: May, |target| {
        let mut out = [0usize; 2];
        let address = out.as_mut_ptr() as usize;
        call(libc::SYS_get_robust_list, &[target.pid, address, address + 8])
    };
    migrate_pages: May, |target| {
        let nodes = [1u64];
        let address = nodes.as_ptr() as usize;
        call(libc::SYS_migrate_pages, &[target.pid, 2, address, address])
    };
    move_pages: May, |target| call(libc::SYS_move_pages, &[target.pid, 0, 0, 0, 0, 0]);
    // A clock of a process: its number, inverted, in the upper bits.
    clock_gettime: May absent EINVAL, |target| {
        let clock = (!(target.pid as i32) << 3) | 2;
        let mut time = [0u64; 2];
        call(libc::SYS_clock_gettime, &[clock as usize, time.as_mut_ptr() as usize])
    };
    perf_event_open: May, |target| {
        // struct perf_event_attr: software event, its size, the CPU clock.
        let mut attribute = [0u32; 32];
        attribute[..2].copy_from_slice(&[1, 128]);
        let event = call(
            libc::SYS_perf_event_open,
            &[attribute.as_ptr() as usize, target.pid, usize::MAX, usize::MAX, 0],
        )?;
        call(libc::SYS_close, &[event as usize])
    };
    cgroup_procs_listed: May absent ENOENT, |target| {
        let listed = std::fs::read_to_string("/sys/fs/cgroup/cgroup.procs");
        let listed = listed.map_err(|_| Errno::EIO)?;
        let number = target.pid.to_string();
        listed.lines().any(|line| line == number).then_some(0).ok_or(Errno::ENOENT)
    };
    // Opened outside: inside, nobody may (back_door::control_groups).
    cgroup_procs: May by cgroup_procs_file, |target| {
        let number = target.pid.to_string();
        let address = number.as_ptr() as usize;
        call(libc::SYS_write, &[target.fd(), address, number.len()])
    };
}

/// A parent does not see its child in another context, and setpgid() is no way around.
fn setpgid() -> Outcome {
    let here = Sitter::idle(CONTEXT_ROOT)?;
    let there = Sitter::idle(100)?;
    let setpgid = |sitter: &Sitter| call(libc::SYS_setpgid, &[sitter.pid as usize, 0]);
    equal("here", setpgid(&here), Ok(0))?;
    equal("there", setpgid(&there), Err(Errno::ESRCH))
}

/// But it hears of its end, in every way that there is to wait.
fn wait() -> Outcome {
    let sitter = Sitter::idle(100)?;
    let pid = Pid::from_raw(sitter.pid);
    let number = sitter.pid as usize;
    equal(
        "wait4",
        waitpid(pid, Some(WaitPidFlag::WNOHANG)),
        Ok(WaitStatus::StillAlive),
    )?;
    let fd = crate::syscalls::own(call(libc::SYS_pidfd_open, &[number, 0]).map_err(words)? as i32);
    let waitid = |kind: u32, id: usize, options: i32| {
        let mut info = [0i32; 32];
        let address = info.as_mut_ptr() as usize;
        call(
            libc::SYS_waitid,
            &[
                kind as usize,
                id,
                address,
                (libc::WEXITED | options) as usize,
                0,
            ],
        )
        // si_pid
        .map(|_| info[4])
    };
    let raw = fd.as_raw_fd() as usize;
    equal("by pid", waitid(libc::P_PID, number, libc::WNOHANG), Ok(0))?;
    equal("by pidfd", waitid(libc::P_PIDFD, raw, libc::WNOHANG), Ok(0))?;
    // Ends without being waited for.
    sitter.let_go();
    equal(
        "its end by pidfd",
        waitid(libc::P_PIDFD, raw, libc::WNOWAIT),
        Ok(sitter.pid),
    )?;
    equal(
        "by somebody else, by pidfd",
        child(|| Ok(format!("{:?}", waitid(libc::P_PIDFD, raw, libc::WNOHANG))))?,
        format!("{:?}", Err::<i32, _>(Errno::ECHILD)),
    )?;
    equal(
        "by anyone",
        waitid(libc::P_ALL, 0, libc::WNOWAIT),
        Ok(sitter.pid),
    )
}

/// Numbers of a pid namespace are no way around either: neither of one made inside a context, nor
/// from a namespace that two contexts share.
fn namespace() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    inside(100, || {
        unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS).map_err(words)?;
        // The first child is process 1 of the namespace.
        child(|| {
            equal("own number", nix::unistd::getpid().as_raw(), 1)?;
            equal("kill(1), itself", call(libc::SYS_kill, &[1, 0]), Ok(0))?;
            let nobody = Err(Errno::ESRCH);
            equal(
                "kill",
                call(libc::SYS_kill, &[host.pid as usize, 0]),
                nobody,
            )?;
            // Number 2, in a context of its own.
            let nested = Sitter::idle(CONTEXT_NEW)?;
            equal("number", nested.pid, 2)?;
            equal("nested", call(libc::SYS_kill, &[2, 0]), nobody)?;
            equal("nested by GET", get(2).err(), Some(Errno::ESRCH))?;
            child(|| {
                enter(CONTEXT_NEW, 0, 0).map_err(words)?;
                equal("sideways", call(libc::SYS_kill, &[2, 0]), nobody)?;
                equal("process 1", call(libc::SYS_kill, &[1, 0]), nobody)?;
                Ok(String::new())
            })?;
            // A /proc of the namespace shows the namespace's members in view.
            nix::mount::mount(
                Some("proc"),
                "/proc",
                Some("proc"),
                nix::mount::MsFlags::empty(),
                None::<&str>,
            )
            .map_err(words)?;
            equal("listed", crate::proc::listing(), Ok(vec![1]))?;
            Ok(String::new())
        })
        .map(drop)
    })
}

/// A process of the host leads a group and a session with a member inside: that one makes the number known, but not
/// the process.
fn number_of_group() -> Outcome {
    let leader = Sitter::new(CONTEXT_ROOT, 0, || {
        nix::unistd::setsid().map_err(words)?;
        match crate::syscalls::fork().map_err(words)? {
            0 => {
                let arrived = crate::fixture::arrive(100, 0, 0).is_ok();
                while arrived && nix::unistd::getppid().as_raw() != 1 {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                crate::syscalls::exit_now(0)
            }
            _ => Ok(()),
        }
    })?;
    let own = Sitter::new(100, 0, || nix::unistd::setsid().map(drop).map_err(words))?;
    inside(100, || {
        let clock = |pid: i32| ((!pid << 3) | 2) as usize;
        let mut time = [0u64; 4];
        let address = time.as_mut_ptr() as usize;
        let mut timer = 0i32;
        // struct sigevent: SIGEV_NONE.
        let event = [0u32, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let event = event.as_ptr() as usize;
        let timer = std::ptr::from_mut(&mut timer) as usize;
        let group = |pid: i32| call(libc::SYS_kill, &[(pid as usize).wrapping_neg(), 0]);
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while group(leader.pid).is_err() && std::time::Instant::now() < until {}
        equal("the group is there", group(leader.pid), Ok(0))?;
        for (pid, expected) in [(own.pid, Ok(0)), (leader.pid, Err(Errno::EINVAL))] {
            let clock = clock(pid);
            let ways = [
                ("gettime", call(libc::SYS_clock_gettime, &[clock, address])),
                ("getres", call(libc::SYS_clock_getres, &[clock, address])),
                (
                    "timer",
                    call(libc::SYS_timer_create, &[clock, event, timer]),
                ),
                (
                    "nanosleep",
                    // TIMER_ABSTIME: long ago.
                    call(libc::SYS_clock_nanosleep, &[clock, 1, address, 0]),
                ),
            ];
            for (name, got) in ways {
                equal(&format!("{name} of {pid}"), got, expected)?;
            }
            let set = call(libc::SYS_clock_settime, &[clock, address]).err();
            let expected = expected.err().or(Some(Errno::EPERM));
            equal(&format!("settime of {pid}"), set, expected)?;
        }
        let absent = Some(Errno::ESRCH);
        equal("GET", get(leader.pid).err(), absent)?;
        let addresses = crate::fixture::addresses_of(leader.pid).err();
        equal("GET_ADDRESSES", addresses, absent)?;
        equal(
            "kill",
            call(libc::SYS_kill, &[leader.pid as usize, 0]).err(),
            absent,
        )?;
        equal(
            "GET of its own",
            get(own.pid).map(|info| info.context),
            Ok(100),
        )
    })
}

/// Who has a lock on a file that somebody inside uses as well.
fn owners_of_locks() -> Outcome {
    const PATH: &str = "/tmp/owners-of-locks";
    const F_OFD_GETLK: usize = 36;
    let file = std::fs::File::create(PATH).map_err(words)?;
    let whole = || libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let lock = |command: usize| {
        let file = std::fs::File::options()
            .write(true)
            .open(PATH)
            .map_err(words)?;
        let mut lock = whole();
        let address = std::ptr::from_mut(&mut lock) as usize;
        call(
            libc::SYS_fcntl,
            &[file.as_raw_fd() as usize, command, address],
        )
        .map_err(words)?;
        std::mem::forget(file);
        Ok::<_, String>(lock.l_pid)
    };
    let holds = |context| Sitter::new(context, 0, || lock(libc::F_SETLK as usize).map(drop));
    let owner = |context| {
        child(|| {
            if context != CONTEXT_ROOT {
                enter(context, 0, 0).map_err(words)?;
            }
            let classic = lock(libc::F_GETLK as usize)?;
            equal("of a description", lock(F_OFD_GETLK)?, classic)?;
            Ok(classic.to_string())
        })
    };
    for context in [CONTEXT_ROOT, 101] {
        let holder = holds(context)?;
        let number = holder.pid.to_string();
        equal("100", owner(100)?.as_str(), "0")?;
        equal("the spectator", owner(CONTEXT_SPECTATOR)?, number.clone())?;
        equal("its own", owner(context)?, number)?;
    }
    // Who waits for a lock is listed below it.
    let _holder = holds(100)?;
    let waiter = Sitter::new(CONTEXT_ROOT, 0, || {
        match crate::syscalls::fork().map_err(words)? {
            0 => {
                let _ = lock(libc::F_SETLKW as usize);
                crate::syscalls::exit_now(0)
            }
            pid => std::fs::write(format!("{PATH}-waiter"), pid.to_string()).map_err(words),
        }
    })?;
    let number = std::fs::read_to_string(format!("{PATH}-waiter")).map_err(words)?;
    let listed = || {
        let all = std::fs::read_to_string("/proc/locks").map_err(words)?;
        Ok::<_, String>((all.contains(" -> "), all.contains(&format!(" {number} "))))
    };
    inside(100, || {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while !listed()?.0 && std::time::Instant::now() < until {}
        equal("a waiter, without a number", listed()?, (true, false))
    })?;
    let pid = number.parse().map_err(words)?;
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    drop((waiter, file));
    for path in [PATH.to_string(), format!("{PATH}-waiter")] {
        std::fs::remove_file(path).map_err(words)?;
    }
    Ok(())
}

/// Who gets a signal when a file is ready that was handed in.
fn owners_of_files() -> Outcome {
    const F_GETOWN_EX: usize = 16;
    const SIOCGPGRP: usize = 0x8904;
    let (one, _other) = std::os::unix::net::UnixStream::pair().map_err(words)?;
    let fd = one.as_raw_fd() as usize;
    let fcntl = |command: usize, argument| call(libc::SYS_fcntl, &[fd, command, argument]);
    let asked = || {
        let mut owner = [0i32; 2];
        let extended = fcntl(F_GETOWN_EX, owner.as_mut_ptr() as usize).map(|_| owner[1]);
        let mut number = -1i32;
        let address = std::ptr::from_mut(&mut number) as usize;
        let of_socket = call(libc::SYS_ioctl, &[fd, SIOCGPGRP, address]).map(|_| number);
        (fcntl(libc::F_GETOWN as usize, 0), extended, of_socket)
    };
    let own = std::process::id() as i32;
    let known = |number: i32| (Ok(number.into()), Ok(number), Ok(number));
    fcntl(libc::F_SETOWN as usize, own as usize).map_err(words)?;
    equal("outside", asked(), known(own))?;
    inside(100, || {
        let absent = Errno::ESRCH;
        equal("inside", asked(), (Err(absent), Err(absent), Ok(0)))?;
        let own = std::process::id() as i32;
        fcntl(libc::F_SETOWN as usize, own as usize).map_err(words)?;
        equal("its own", asked(), known(own))?;
        fcntl(libc::F_SETOWN as usize, 0).map(drop).map_err(words)?;
        equal("none", asked(), known(0))
    })
}
