// SPDX-License-Identifier: GPL-2.0

//! Through the kernel: what it runs, and what it lets root do to the machine.

use super::*;
use crate::{syscalls::fork, test, visibility::call};
use nix::{
    sys::{
        signal::{raise, Signal},
        wait::waitpid,
    },
    unistd::Pid,
};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[test("escape::tracing_switched_off", 60, tracing_off)];

escapes! {
    core_pattern: secure EACCES whole EACCES beside agent, |_| {
        with_setting("/proc/sys/kernel/core_pattern", &format!("|{AGENT}"), || {
            match fork()? {
                0 => {
                    let _ = raise(Signal::SIGQUIT);
                    crate::syscalls::exit_now(1)
                }
                pid => waitpid(Pid::from_raw(pid), None).map(drop),
            }
        })
    };
    modprobe_path: secure EACCES whole EACCES beside agent, |_| {
        with_setting("/proc/sys/kernel/modprobe", AGENT, || {
            // A protocol that no kernel here has: its module is asked for.
            let _ = call(libc::SYS_socket, &[libc::AF_X25 as usize, libc::SOCK_STREAM as usize, 0]);
            Ok(())
        })
    };
    magic_keys: secure EACCES whole EACCES, |_| {
        // Of no effect but a line on the console; others kill, crash and restart.
        fs::write("/proc/sysrq-trigger", "h").map_err(errno)
    };
    load_a_module: secure EPERM, |_| {
        let nothing = [0u8; 16];
        let arguments = [nothing.as_ptr() as usize, nothing.len(), c"".as_ptr() as usize];
        match call(libc::SYS_init_module, &arguments) {
            // It was looked at.
            Err(Errno::ENOEXEC) => Ok(()),
            other => other.map(drop),
        }
    };
    ports: secure EPERM, |_| {
        call(libc::SYS_ioperm, &[0x80, 1, 1]).map(drop)
    };
    reboot: secure EPERM, |_| {
        // What Ctrl-Alt-Del does; as it is.
        let (one, two, on) = (0xfee1_dead, 0x2812_1969, 0x89ab_cdef);
        call(libc::SYS_reboot, &[one, two, on, 0]).map(drop)
    };
    clock: secure EPERM, |_| {
        let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_REALTIME)?;
        let now = [now.tv_sec(), now.tv_nsec()];
        call(libc::SYS_clock_settime, &[0, now.as_ptr() as usize]).map(drop)
    };
    kernel_log: secure EPERM, |_| {
        // SYSLOG_ACTION_CONSOLE_ON: as it is.
        call(libc::SYS_syslog, &[7, 0, 0]).map(drop)
    };
}

/// A program in the vserver, where the host sees it: it takes the secret inside.
const AGENT: &str = "/tmp/escape/wall/one/agent";

fn agent() -> Outcome {
    let text = format!("#!/bin/sh\n/bin/cat {SECRET} >{ONE}/loot\n");
    fs::write(AGENT, text).map_err(words)?;
    fs::set_permissions(AGENT, Permissions::from_mode(0o755)).map_err(words)
}

/// Changes a setting of the kernel for so long; `Ok` when the agent has run.
fn with_setting(
    file: &str,
    value: &str,
    trigger: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let before = fs::read(file).map_err(errno)?;
    fs::write(file, value).map_err(errno)?;
    let triggered = trigger();
    let start = Instant::now();
    let mut taken = false;
    while triggered.is_ok() && !taken && start.elapsed() < Duration::from_secs(20) {
        taken = read_secret("/loot").is_ok();
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(file, before).map_err(errno)?;
    triggered?;
    if taken {
        Ok(())
    } else {
        Err(Errno::ENODATA)
    }
}

/// The hooks are attached by tracing; that it is switched off, by whoever may, leaves them in place.
fn tracing_off() -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let outside = Outside {
        pid: host.pid as usize,
        brought: None,
    };
    let switch = "/proc/sys/kernel/ftrace_enabled";
    if fs::metadata(switch).is_err() {
        return Err(format!("no {switch}"));
    }
    let _ = fs::write(switch, "0");
    let got = tried(Jail::Vserver(0), &outside, |outside| {
        let _ = fs::write(switch, "0");
        call(libc::SYS_kill, &[outside.pid, 0]).map(drop)
    });
    let _ = fs::write(switch, "1");
    equal("kill", got?, Err(Errno::ESRCH))
}
