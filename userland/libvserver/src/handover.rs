// SPDX-License-Identifier: GPL-2.0

//! What a process hands on when it enters a context: what is meant to be passed on, and nothing else.

use crate::syscall;
use nix::errno::Errno;
use nix::sys::personality::Persona;
use nix::sys::resource::{getrlimit, rlim_t, setrlimit, Resource, RLIM_INFINITY};
use nix::sys::signal::SigSet;
use nix::sys::stat::{umask, Mode};
use rustix::process::DumpableBehavior;
use rustix::thread::{CapabilitiesSecureBits, CpuSet};
use std::fs;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

/// The highest standard file.
const STANDARD_LAST: RawFd = 2;

/// Close all descriptors but the standard files and those that are named.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> nix::Result<()> {
    let mut kept: Vec<RawFd> = kept.iter().map(BorrowedFd::as_raw_fd).collect();
    kept.sort_unstable();
    let mut first = STANDARD_LAST + 1;
    for descriptor in kept {
        if descriptor > first {
            syscall::close_range(first, descriptor - 1)?;
        }
        first = first.max(descriptor + 1);
    }
    syscall::close_range(first, RawFd::MAX)
}

/// Deny others the memory and the descriptors of this process until it has become another program. Root with
/// CAP_SYS_PTRACE gets at them all the same, as long as the kernel shows it the process.
pub fn hide() -> nix::Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|error| Errno::from_raw(error.raw_os_error()))
}

/// How long timers may be late by default, in nanoseconds.
const TIMER_SLACK: NonZeroU64 = NonZeroU64::new(50_000).unwrap();

/// What of memory is in a core dump by default: private and shared anonymous memory, headers of programs, and
/// private huge pages.
const COREDUMP_FILTER: &str = "0x33";

/// The login user and session of a process that nobody has logged in for.
const UNSET: &str = "4294967295";

/// No kernel has more processors.
const PROCESSORS_MAX: usize = CpuSet::MAX_CPU;

/// What goes before the process is started that is going to enter: a program's default timer slack is the present
/// one of its parent.
pub fn prepare() {
    let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK));
}

/// Give the calling process, which is root in context 0, what a service has that the host starts at boot, whoever
/// has called the command. So a program inside runs the same, whether the boot, an administrator or a script of his
/// has started it. Returns, in words, that the login user stays.
///
/// The environment, the descriptors and the limits of the configuration are the caller's business. Entering leaves
/// the keyrings behind.
pub fn reset(nice: Option<i32>) -> nix::Result<Option<String>> {
    let stays = reset_login();
    write("oom_score_adj", "0");
    write("coredump_filter", COREDUMP_FILTER);
    umask(Mode::from_bits_truncate(0o022));
    syscall::reset_signals();
    SigSet::empty().thread_set_mask()?;
    syscall::schedule_normally(nice.unwrap_or(0))?;
    // A kernel may have been built without these.
    let _ = syscall::reset_io_priority();
    let _ = syscall::reset_memory_policy();
    let _ = rustix::thread::disable_transparent_huge_pages(false);
    let mut all = CpuSet::new();
    (0..PROCESSORS_MAX).for_each(|processor| all.set(processor));
    let _ = rustix::thread::sched_setaffinity(None, &all);
    let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK));
    nix::sys::personality::set(Persona::empty())?;
    let _ = rustix::thread::clear_ambient_capability_set();
    // Locked ones stay.
    let _ = rustix::thread::set_capabilities_secure_bits(CapabilitiesSecureBits::empty());
    reset_limits()?;
    Ok(stays)
}

fn write(file: &str, value: &str) {
    // A kernel may have been built without it.
    let _ = fs::write(format!("/proc/self/{file}"), value);
}

/// A session inside is not one of the user who has started the vserver. The session's number goes with the user's.
fn reset_login() -> Option<String> {
    const FILE: &str = "/proc/self/loginuid";
    let now = fs::read_to_string(FILE).ok()?;
    if now.trim() == UNSET {
        return None;
    }
    let error = fs::write(FILE, UNSET).err()?;
    Some(match error.kind() {
        io::ErrorKind::PermissionDenied => format!(
            "the login user {} stays that of what runs inside, as the host's audit rules have it \
             (loginuid_immutable): programs that open sessions inside may refuse to; start it by a service of the host",
            now.trim()
        ),
        _ => format!("the login user {} stays: {error}", now.trim()),
    })
}

/// What the kernel begins with; for files, as many as systemd gives to services.
const LIMITS: [(Resource, rlim_t, rlim_t); 14] = {
    const MIB: rlim_t = 1 << 20;
    const ANY: rlim_t = RLIM_INFINITY;
    [
        (Resource::RLIMIT_AS, ANY, ANY),
        (Resource::RLIMIT_CORE, 0, ANY),
        (Resource::RLIMIT_CPU, ANY, ANY),
        (Resource::RLIMIT_DATA, ANY, ANY),
        (Resource::RLIMIT_FSIZE, ANY, ANY),
        (Resource::RLIMIT_LOCKS, ANY, ANY),
        (Resource::RLIMIT_MEMLOCK, 8 * MIB, 8 * MIB),
        (Resource::RLIMIT_MSGQUEUE, 819_200, 819_200),
        (Resource::RLIMIT_NICE, 0, 0),
        (Resource::RLIMIT_NOFILE, 1024, 524_288),
        (Resource::RLIMIT_RSS, ANY, ANY),
        (Resource::RLIMIT_RTPRIO, 0, 0),
        (Resource::RLIMIT_RTTIME, ANY, ANY),
        (Resource::RLIMIT_STACK, 8 * MIB, ANY),
    ]
};

/// Those of them that depend on how much memory there is, by their names in /proc/PID/limits. The host's init has
/// them as the kernel has computed them.
const COMPUTED: [(Resource, &str); 2] = [
    (Resource::RLIMIT_NPROC, "Max processes"),
    (Resource::RLIMIT_SIGPENDING, "Max pending signals"),
];

fn reset_limits() -> nix::Result<()> {
    for (resource, soft, hard) in LIMITS {
        set_limit(resource, soft, hard)?;
    }
    let text = fs::read_to_string("/proc/1/limits").unwrap_or_default();
    for (resource, name) in COMPUTED {
        if let Some((soft, hard)) = limit_of(&text, name) {
            set_limit(resource, soft, hard)?;
        }
    }
    Ok(())
}

fn set_limit(resource: Resource, soft: rlim_t, hard: rlim_t) -> nix::Result<()> {
    match setrlimit(resource, soft, hard) {
        // More than the machine allows to any process (fs.nr_open), or to root in a container.
        Err(Errno::EPERM) => {
            let (_, hard) = getrlimit(resource)?;
            setrlimit(resource, soft.min(hard), hard)
        }
        set => set,
    }
}

/// One line of /proc/PID/limits.
fn limit_of(text: &str, name: &str) -> Option<(rlim_t, rlim_t)> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut values = line.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Some(RLIM_INFINITY),
        number => number.parse().ok(),
    });
    Some((values.next()??, values.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn limits_of_a_process() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max processes             15602                unlimited            processes \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(
            limit_of(text, "Max processes"),
            Some((15602, RLIM_INFINITY))
        );
        assert_eq!(limit_of(text, "Max open files"), Some((1024, 524_288)));
        assert_eq!(limit_of(text, "Max pending signals"), None);
        assert_eq!(limit_of("Max processes x y\n", "Max processes"), None);
    }

    /// In a process of its own: the other tests have descriptors.
    #[test]
    fn only_what_is_named_stays_open() {
        const MARK: &str = "VSERVER_TEST_DESCRIPTORS";
        if std::env::var_os(MARK).is_some() {
            let open: Vec<File> = (0..6).map(|_| File::open("/dev/null").unwrap()).collect();
            close_all_but(&[open[4].as_fd(), open[1].as_fd(), open[2].as_fd()]).unwrap();
            for (index, file) in open.iter().enumerate() {
                let is_open = file.metadata().is_ok();
                assert_eq!(is_open, [1, 2, 4].contains(&index), "{index}");
            }
            open.into_iter().for_each(std::mem::forget);
            return;
        }
        let status = std::process::Command::new("/proc/self/exe")
            .args(["--exact", "handover::tests::only_what_is_named_stays_open"])
            .arg("--test-threads=1")
            .env(MARK, "1")
            .output()
            .unwrap();
        assert!(status.status.success(), "{status:?}");
    }
}
