// SPDX-License-Identifier: GPL-2.0

//! Raw system calls. The one file of the tests that has `unsafe`.

use io_uring::{squeue, IoUring};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A system call by number.
pub fn syscall(number: i64, a: [usize; 6]) -> Result<i64, Errno> {
    // SAFETY: The callers in this crate pass numbers, flags, and addresses of live objects of
    // their own; tests of bad addresses pass such that the kernel refuses.
    let result = unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) };
    Errno::result(result)
}

/// One request to io_uring, and what comes of it.
pub fn uring(ring: &mut IoUring, entry: &squeue::Entry) -> Result<i32, Errno> {
    // SAFETY: What the entry points to are locals of the caller, and this returns when it is done.
    unsafe { ring.submission().push(entry) }.map_err(|_| Errno::ENOSPC)?;
    ring.submit_and_wait(1)
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
    let result = ring.completion().next().ok_or(Errno::ENODATA)?.result();
    if result < 0 {
        return Err(Errno::from_raw(-result));
    }
    Ok(result)
}

/// setsockopt, with a number or several, or bytes.
pub fn set_option<T>(
    socket: &impl AsRawFd,
    level: i32,
    name: i32,
    value: &[T],
) -> Result<(), Errno> {
    let arguments = [
        socket.as_raw_fd() as usize,
        level as usize,
        name as usize,
        value.as_ptr() as usize,
        size_of_val(value),
        0,
    ];
    syscall(libc::SYS_setsockopt, arguments).map(drop)
}

/// An ioctl whose argument is a structure of the ABI.
pub fn ioctl<T>(file: &impl AsRawFd, command: u32, argument: &mut T) -> Result<i64, Errno> {
    ioctl_address(file, command, std::ptr::from_mut(argument) as usize)
}

/// An ioctl with any argument.
pub fn ioctl_address(file: &impl AsRawFd, command: u32, argument: usize) -> Result<i64, Errno> {
    let fd = file.as_raw_fd() as usize;
    syscall(libc::SYS_ioctl, [fd, command as usize, argument, 0, 0, 0])
}

/// Takes over a descriptor that the kernel has just made for this process.
pub fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: The callers pass what an ioctl or pidfd_open has just returned.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Fork, here without its `unsafe`: the tests are single-threaded when they call it.
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: No other thread exists that could hold a lock in the child.
    Errno::result(unsafe { libc::fork() })
}

/// A child that shares with its parent what the flags say, and ends with what the function returns.
pub fn clone(flags: i32, run: fn() -> i32) -> Result<i32, Errno> {
    extern "C" fn start(run: *mut libc::c_void) -> i32 {
        // SAFETY: It is the function that was passed below.
        let run: fn() -> i32 = unsafe { std::mem::transmute(run) };
        run()
    }
    // Never freed: the child may still be on it.
    let stack = vec![0u128; 1 << 14].leak();
    let top = stack.as_mut_ptr_range().end;
    // SAFETY: The stack is the child's alone, and the caller waits for its end.
    Errno::result(unsafe { libc::clone(start, top.cast(), flags | libc::SIGCHLD, run as *mut _) })
}

/// Ends the process without running anything of it.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: Never returns; no destructor of ours matters in a forked child.
    unsafe { libc::_exit(code) }
}
