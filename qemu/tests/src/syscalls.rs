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

/// The present value of a word that the kernel may have written to.
pub fn read_i32(address: *const i32) -> i32 {
    // SAFETY: The callers pass the address of a local of their own.
    unsafe { address.read_volatile() }
}

/// Ends the process by an instruction that only the kernel may execute.
pub fn halt() -> ! {
    // SAFETY: The processor refuses it, and SIGSEGV ends the process.
    unsafe { std::arch::asm!("hlt", options(noreturn)) }
}

/// Ends the process by an instruction that no processor knows.
pub fn undefined_instruction() -> ! {
    // SAFETY: SIGILL ends the process.
    unsafe { std::arch::asm!("ud2", options(noreturn)) }
}

/// Ends the process by SIGSEGV, as a fault does.
pub fn crash() -> ! {
    // SAFETY: Nothing is mapped there; the kernel ends the process.
    unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(0) };
    exit_now(1)
}

/// Words in memory that children share with their parent.
pub fn shared_words() -> Result<&'static [std::sync::atomic::AtomicU32; 16], Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: A new mapping at an address that the kernel chooses.
    let memory = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    // SAFETY: A page of zeros that is never unmapped, and only accessed atomically.
    Ok(unsafe { &*memory.cast() })
}

/// kill() with signal 0.
pub fn kill_number(pid: i32) -> Result<(), Errno> {
    syscall(libc::SYS_kill, [pid as usize, 0, 0, 0, 0, 0]).map(drop)
}

/// A copy of a value in memory that cannot be written to; its address.
pub fn read_only<T: Copy>(value: &T) -> Result<usize, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: A new mapping at an address that the kernel chooses, as large as the value or larger.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
        if memory == libc::MAP_FAILED {
            return Err(Errno::last());
        }
        memory.cast::<T>().write(*value);
        Errno::result(libc::mprotect(memory, 4096, libc::PROT_READ))?;
        Ok(memory as usize)
    }
}

/// sigaction with SIG_DFL, SIG_IGN, or a handler that only touches atomics.
pub fn set_handler(signal: i32, handler: libc::sighandler_t) -> Result<(), Errno> {
    // SAFETY: All zeros are a valid value of the structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: The callers' handlers only store to an atomic, which is async-signal-safe.
    Errno::result(unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) }).map(drop)
}

/// A system call as a program of 32 bits makes it.
pub fn syscall_32(number: u32, a: [u32; 4]) -> Result<i32, Errno> {
    let result: i64;
    // SAFETY: As in `syscall`; no caller passes an address.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "mov ebx, {first:e}",
            "int 0x80",
            "pop rbx",
            first = in(reg) a[0],
            inlateout("rax") i64::from(number) => result,
            in("rcx") u64::from(a[1]),
            in("rdx") u64::from(a[2]),
            in("rsi") u64::from(a[3]),
            in("rdi") 0u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let result = result as i32;
    if (-4095..0).contains(&result) {
        return Err(Errno::from_raw(-result));
    }
    Ok(result)
}
