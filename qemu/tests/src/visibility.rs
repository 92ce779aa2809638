// SPDX-License-Identifier: GPL-2.0

//! Every way in which a process can name another one, tried by a process of the same context, of
//! another one, of the host, and by the spectator; and from a context towards the host.

use crate::{
    fixture::{equal, inside, words, Outcome, Sitter},
    syscalls::{own, syscall},
    test, Test,
};
use nix::errno::Errno;
use vserver_uapi::*;

const TARGET: i32 = 100;
const OTHER: i32 = 101;

/// Readable in every test process at the same address.
static WORD: [u8; 8] = *b"vserver!";

type Try = fn(i32) -> Result<i64, Errno>;

fn call(number: i64, arguments: &[usize]) -> Result<i64, Errno> {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    syscall(number, all)
}

/// What the spectator gets: it sees all, signals and attaches to nothing.
#[derive(Clone, Copy)]
enum Spectator {
    May,
    MayNot,
}

fn matrix(attempt: Try, spectator: Spectator) -> Outcome {
    let target = Sitter::idle(TARGET)?;
    let other = Sitter::idle(OTHER)?;
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let pid = target.pid;
    let of_spectator = match spectator {
        Spectator::May => Ok(()),
        Spectator::MayNot => Err(Errno::EPERM),
    };
    let tried = move |pid| attempt(pid).map(drop);
    inside(TARGET, || equal("same context", tried(pid), Ok(())))?;
    inside(OTHER, || {
        equal("other context", tried(pid), Err(Errno::ESRCH))
    })?;
    inside(CONTEXT_ROOT, || {
        equal("host", tried(pid), Err(Errno::ESRCH))
    })?;
    inside(CONTEXT_SPECTATOR, || {
        equal("spectator", tried(pid), of_spectator)
    })?;
    let (host, other) = (host.pid, other.pid);
    inside(TARGET, || {
        equal("towards the host", tried(host), Err(Errno::ESRCH))
    })?;
    inside(CONTEXT_ROOT, || equal("host to host", tried(host), Ok(())))?;
    inside(OTHER, || equal("other to itself", tried(other), Ok(())))
}

fn siginfo() -> [u32; 32] {
    let mut info = [0; 32];
    info[0] = 0;
    // si_code = SI_QUEUE
    info[2] = -1i32 as u32;
    info
}

macro_rules! ways {
    ($($name:ident: $spectator:ident, |$pid:ident| $body:expr;)*) => {
        $(fn $name() -> Outcome {
            fn attempt($pid: i32) -> Result<i64, Errno> {
                let $pid = $pid as usize;
                $body
            }
            matrix(attempt, Spectator::$spectator)
        })*
        pub const TESTS: &[Test] = &[
            $(test(concat!("visibility::", stringify!($name)), 20, $name),)*
            test("visibility::kill_all_stays_inside", 20, kill_all_stays_inside),
            test("visibility::kill_process_group_over_two_contexts", 20, kill_group),
            test("visibility::pidfd_opened_before_entering", 20, pidfd_before),
            test("visibility::priorities_of_a_user", 20, priorities_of_a_user),
            test("visibility::the_machines_init_cannot_be_signalled", 20, machine_init),
        ];
    };
}

ways! {
    kill: MayNot, |pid| call(libc::SYS_kill, &[pid, 0]);
    kill_term: MayNot, |pid| call(libc::SYS_kill, &[pid, libc::SIGCONT as usize]);
    tkill: MayNot, |pid| call(libc::SYS_tkill, &[pid, 0]);
    tgkill: MayNot, |pid| call(libc::SYS_tgkill, &[pid, pid, 0]);
    rt_sigqueueinfo: MayNot, |pid| {
        let info = siginfo();
        call(libc::SYS_rt_sigqueueinfo, &[pid, 0, info.as_ptr() as usize])
    };
    rt_tgsigqueueinfo: MayNot, |pid| {
        let info = siginfo();
        call(libc::SYS_rt_tgsigqueueinfo, &[pid, pid, 0, info.as_ptr() as usize])
    };
    pidfd_open: May, |pid| call(libc::SYS_pidfd_open, &[pid, 0]);
    pidfd_send_signal: MayNot, |pid| {
        let fd = own(call(libc::SYS_pidfd_open, &[pid, 0])? as i32);
        use std::os::fd::AsRawFd;
        call(libc::SYS_pidfd_send_signal, &[fd.as_raw_fd() as usize, 0, 0, 0])
    };
    ptrace_attach: MayNot, |pid| {
        let attached = call(libc::SYS_ptrace, &[libc::PTRACE_ATTACH as usize, pid])?;
        // Let go of it again, or it stays stopped.
        call(libc::SYS_wait4, &[pid, 0, libc::__WALL as usize, 0])?;
        call(libc::SYS_ptrace, &[libc::PTRACE_DETACH as usize, pid, 0, 0])?;
        Ok(attached)
    };
    ptrace_seize: MayNot, |pid| call(libc::SYS_ptrace, &[libc::PTRACE_SEIZE as usize, pid]);
    process_vm_readv: MayNot, |pid| {
        let mut to = [0u8; 8];
        let local = [to.as_mut_ptr() as usize, to.len()];
        let remote = [WORD.as_ptr() as usize, WORD.len()];
        call(
            libc::SYS_process_vm_readv,
            &[pid, local.as_ptr() as usize, 1, remote.as_ptr() as usize, 1, 0],
        )
    };
    sched_getaffinity: May, |pid| {
        let mut mask = [0u64; 16];
        call(libc::SYS_sched_getaffinity, &[pid, 128, mask.as_mut_ptr() as usize])
    };
    sched_getscheduler: May, |pid| call(libc::SYS_sched_getscheduler, &[pid]);
    sched_getparam: May, |pid| {
        let mut parameter = [0i32; 4];
        call(libc::SYS_sched_getparam, &[pid, parameter.as_mut_ptr() as usize])
    };
    sched_setscheduler: May, |pid| {
        let parameter = [0i32; 4];
        call(libc::SYS_sched_setscheduler, &[pid, 0, parameter.as_ptr() as usize])
    };
    sched_rr_get_interval: May, |pid| {
        let mut time = [0u64; 2];
        call(libc::SYS_sched_rr_get_interval, &[pid, time.as_mut_ptr() as usize])
    };
    getpriority: May, |pid| call(libc::SYS_getpriority, &[libc::PRIO_PROCESS as usize, pid]);
    setpriority: May, |pid| call(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, pid, 0]);
    prlimit: May, |pid| {
        let mut limit = [0u64; 2];
        call(
            libc::SYS_prlimit64,
            &[pid, libc::RLIMIT_NOFILE as usize, 0, limit.as_mut_ptr() as usize],
        )
    };
    getpgid: May, |pid| call(libc::SYS_getpgid, &[pid]);
    getsid: May, |pid| call(libc::SYS_getsid, &[pid]);
    ioprio_get: May, |pid| call(libc::SYS_ioprio_get, &[1, pid]);
    ioprio_set: May, |pid| call(libc::SYS_ioprio_set, &[1, pid, (2 << 13) | 4]);
    migrate_pages: May, |pid| {
        let nodes = [1u64];
        let address = nodes.as_ptr() as usize;
        call(libc::SYS_migrate_pages, &[pid, 2, address, address])
    };
    move_pages: May, |pid| call(libc::SYS_move_pages, &[pid, 0, 0, 0, 0, 0]);
    kcmp: May, |pid| call(libc::SYS_kcmp, &[pid, pid, 1, 0, 0]);
    f_setown: May, |pid| {
        let (reader, _writer) = nix::unistd::pipe()?;
        use std::os::fd::AsRawFd;
        call(libc::SYS_fcntl, &[reader.as_raw_fd() as usize, libc::F_SETOWN as usize, pid])
    };
    get_robust_list: May, |pid| {
        let mut out = [0usize; 2];
        let address = out.as_mut_ptr() as usize;
        call(libc::SYS_get_robust_list, &[pid, address, address + 8])
    };
}

/// kill(-1) of root inside a context reaches its own processes and nobody else's.
fn kill_all_stays_inside() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let other = Sitter::idle(OTHER)?;
    let own = Sitter::idle(TARGET)?;
    inside(TARGET, || {
        equal("kill(-1)", call(libc::SYS_kill, &[usize::MAX, 9]), Ok(0))
    })?;
    inside(CONTEXT_ROOT, || {
        equal(
            "the host's process",
            call(libc::SYS_kill, &[host.pid as usize, 0]),
            Ok(0),
        )
    })?;
    inside(OTHER, || {
        equal(
            "the other context's",
            call(libc::SYS_kill, &[other.pid as usize, 0]),
            Ok(0),
        )
    })?;
    let end = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(own.pid), None).map_err(words)?;
    equal(
        "its own process",
        end,
        nix::sys::wait::WaitStatus::Signaled(
            nix::unistd::Pid::from_raw(own.pid),
            nix::sys::signal::Signal::SIGKILL,
            false,
        ),
    )
}

/// A process group with members in two contexts: a signal reaches the sender's side only.
fn kill_group() -> Outcome {
    inside(CONTEXT_ROOT, || {
        nix::unistd::setpgid(nix::unistd::Pid::from_raw(0), nix::unistd::Pid::from_raw(0))
            .map_err(words)?;
        let group = nix::unistd::getpid().as_raw();
        let within = Sitter::idle(TARGET)?;
        let negative = (-group) as isize as usize;
        inside(TARGET, || {
            equal("from inside", call(libc::SYS_kill, &[negative, 0]), Ok(0))
        })?;
        inside(OTHER, || {
            // Joined the group by fork, so that it has a member here too: only itself.
            equal(
                "from the third",
                call(libc::SYS_kill, &[negative, 0]),
                Ok(0),
            )
        })?;
        inside(TARGET, || {
            nix::unistd::setsid().map_err(words)?;
            equal(
                "member in view",
                call(libc::SYS_kill, &[negative, 9]),
                Ok(0),
            )
        })?;
        let end = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(within.pid), None);
        let killed = matches!(end, Ok(nix::sys::wait::WaitStatus::Signaled(..)));
        crate::fixture::ensure(
            "the member inside was killed, the leader outside was not",
            killed,
        )
    })
}

/// A descriptor of a process, from before: the process is gone for its holder.
fn pidfd_before() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    inside(CONTEXT_ROOT, || {
        let fd = own(call(libc::SYS_pidfd_open, &[host.pid as usize, 0]).map_err(words)? as i32);
        use std::os::fd::AsRawFd;
        let raw = fd.as_raw_fd() as usize;
        let send = || call(libc::SYS_pidfd_send_signal, &[raw, 0, 0, 0]);
        equal("before entering", send(), Ok(0))?;
        crate::fixture::enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        equal("after entering", send(), Err(Errno::ESRCH))
    })
}

/// Priorities of "all processes of a user" are those in view: neither read nor set elsewhere.
fn priorities_of_a_user() -> Outcome {
    let who = libc::PRIO_USER as usize;
    let one = libc::PRIO_PROCESS as usize;
    let target = Sitter::new(TARGET, 0, || {
        call(
            libc::SYS_setpriority,
            &[libc::PRIO_PROCESS as usize, 0, (-15isize) as usize],
        )
        .map(drop)
        .map_err(words)
    })?;
    inside(OTHER, || {
        // The raw call returns 20 minus the nice value.
        equal(
            "highest of the user",
            call(libc::SYS_getpriority, &[who, 0]),
            Ok(20),
        )?;
        equal(
            "set for the user",
            call(libc::SYS_setpriority, &[who, 0, 5]),
            Ok(0),
        )?;
        equal("own", call(libc::SYS_getpriority, &[one, 0]), Ok(15))
    })?;
    let pid = target.pid as usize;
    inside(TARGET, || {
        equal(
            "untouched",
            call(libc::SYS_getpriority, &[one, pid]),
            Ok(35),
        )
    })
}

/// Process 1 is shown in /proc and is out of reach all the same.
fn machine_init() -> Outcome {
    inside(TARGET, || {
        equal("kill(1)", call(libc::SYS_kill, &[1, 0]), Err(Errno::ESRCH))?;
        equal(
            "pidfd_open(1)",
            call(libc::SYS_pidfd_open, &[1, 0]),
            Err(Errno::ESRCH),
        )?;
        equal(
            "setpriority(1)",
            call(libc::SYS_setpriority, &[libc::PRIO_PROCESS as usize, 1, 5]),
            Err(Errno::ESRCH),
        )?;
        std::fs::read_to_string("/proc/1/status")
            .map(drop)
            .map_err(words)
    })
}
