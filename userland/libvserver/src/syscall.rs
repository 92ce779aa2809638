// SPDX-License-Identifier: GPL-2.0

//! System calls that no crate wraps safely. Beside `ioctl.rs` the only file of userland that has `unsafe`.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use std::os::fd::RawFd;

/// `struct sched_attr` as of its first version.
#[repr(C)]
#[derive(Default)]
struct SchedulingAttributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

/// Close the descriptors from `first` to `last`.
pub(crate) fn close_range(first: RawFd, last: RawFd) -> Result<(), Errno> {
    // SAFETY: The call takes numbers only. Whoever owns one of these descriptors finds it closed, which is
    // an error of its later calls, and no violation of memory.
    let answer = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(answer).map(drop)
}

/// Give the calling thread the ordinary scheduling policy, with this nice value.
pub(crate) fn schedule_normally(nice: i32) -> Result<(), Errno> {
    let attributes = SchedulingAttributes {
        size: size_of::<SchedulingAttributes>() as u32,
        policy: libc::SCHED_OTHER as u32,
        nice,
        ..Default::default()
    };
    // SAFETY: `attributes` lives until the call returns, and says its own size; the kernel reads it only.
    let answer = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    Errno::result(answer).map(drop)
}

/// Give the calling thread the I/O priority that follows from its nice value.
pub(crate) fn reset_io_priority() -> Result<(), Errno> {
    const WHO_PROCESS: libc::c_int = 1;
    // SAFETY: The call takes numbers only.
    let answer = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, 0) };
    Errno::result(answer).map(drop)
}

/// Give the calling thread the system's policy of placing memory.
pub(crate) fn reset_memory_policy() -> Result<(), Errno> {
    let no_nodes: *const libc::c_ulong = std::ptr::null();
    // SAFETY: MPOL_DEFAULT comes without a set of nodes: the kernel reads nothing.
    let answer = unsafe { libc::syscall(libc::SYS_set_mempolicy, libc::MPOL_DEFAULT, no_nodes, 0) };
    Errno::result(answer).map(drop)
}

/// Let every signal do what it does by default.
pub(crate) fn reset_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: The default needs no code of ours. The kernel refuses it for SIGKILL and SIGSTOP, which
        // have no other; the C library for its own two signals, which it never ignores.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
