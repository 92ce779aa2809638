// SPDX-License-Identifier: GPL-2.0

//! System calls that have no safe form. One of the two files of the probe that have `unsafe`.

use nix::errno::Errno;
use std::{
    ffi::{c_char, c_int, c_void, CStr, CString},
    os::fd::{AsRawFd, RawFd},
    ptr,
};
use vserver_uapi::{Enter, CONTEXT_NEW, IOC_ENTER};

/// The size of a page.
const PAGE: usize = 4096;

/// From here on a process that wakes up another one keeps the processor until it sleeps itself, so that
/// a round trip is always the same sequence of switches. Inherited by children.
pub fn take_turns() -> Result<(), Errno> {
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: The structure is live and only read.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    Errno::result(result).map(drop)
}

/// An ioctl whose argument is a structure of the ABI.
pub fn ioctl<T>(file: &impl AsRawFd, command: u32, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: The callers pair the command with its structure, which is live and writable; every
    // bit pattern is valid for it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), command.into(), ptr::from_mut(argument)) };
    Errno::result(result).map(drop)
}

/// Fork: the probe never has a second thread.
pub fn fork() -> Result<i32, Errno> {
    // SAFETY: No other thread exists that could hold a lock in the child.
    Errno::result(unsafe { libc::fork() })
}

/// Ends the process without running anything of it.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: Never returns; no destructor of ours matters in a forked child.
    unsafe { libc::_exit(code) }
}

/// A key with a description of the caller's, in the keyring of its process. Returns its number.
pub fn add_key(description: &CStr) -> Result<i64, Errno> {
    let payload = b"probe";
    // SAFETY: Both texts end with a NUL, and the payload is as long as said; all are only read.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_add_key,
            c"user".as_ptr(),
            description.as_ptr(),
            payload.as_ptr(),
            payload.len(),
            libc::KEY_SPEC_PROCESS_KEYRING,
        )
    })
}

/// The same key, looked for.
pub fn request_key(description: &CStr) -> Result<i64, Errno> {
    // SAFETY: Both texts end with a NUL and are only read; nothing else is passed.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_request_key,
            c"user".as_ptr(),
            description.as_ptr(),
            ptr::null::<c_char>(),
            0,
        )
    })
}

/// keyctl(KEYCTL_DESCRIBE), of which the length alone is wanted.
pub fn describe_key(key: i64) -> Result<i64, Errno> {
    // SAFETY: The kernel writes nothing into a buffer without a size.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            libc::KEYCTL_DESCRIBE,
            key,
            ptr::null::<c_char>(),
            0,
        )
    })
}

/// getpid(2) by the kernel.
pub fn getpid() {
    // SAFETY: No arguments.
    unsafe { libc::syscall(libc::SYS_getpid) };
}

/// Maps four pages, writes to each, unmaps them.
pub fn map_touch_unmap() -> Result<(), Errno> {
    let length = 4 * PAGE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: A new mapping at an address of the kernel's choice disturbs none.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    for offset in (0..length).step_by(PAGE) {
        // SAFETY: Inside the new mapping, which is writable.
        unsafe { start.cast::<u8>().add(offset).write_volatile(1) };
    }
    // SAFETY: The mapping made above, to which no reference exists.
    Errno::result(unsafe { libc::munmap(start, length) }).map(drop)
}

/// A program to be started over and over.
pub struct Program {
    words: Vec<CString>,
    stack: Vec<u8>,
}

/// What it does before it executes the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// By vfork. What is done otherwise must be done by fork: nobody enters who shares memory.
    Nothing,
    /// By fork as well, for comparison.
    Fork,
    /// ENTER of a new context, by this descriptor of the device.
    Enter(RawFd),
    /// unshare of the namespaces that a context has for itself.
    Unshare,
}

/// What the child of [`Program::start`] reads; on the parent's stack, which waits meanwhile.
struct Plan {
    arguments: *const *const c_char,
    first: First,
}

impl Program {
    /// The path, then the arguments.
    pub fn new(words: Vec<CString>) -> Self {
        Self {
            words,
            stack: vec![0; 16 * PAGE],
        }
    }

    /// Starts it and returns its pid.
    pub fn start(&mut self, first: First) -> Result<i32, Errno> {
        let arguments: Vec<*const c_char> = self
            .words
            .iter()
            .map(|word| word.as_ptr())
            .chain([ptr::null()])
            .collect();
        let plan = Plan {
            arguments: arguments.as_ptr(),
            first,
        };
        let memory = match first {
            First::Nothing => libc::CLONE_VM,
            First::Fork | First::Enter(_) | First::Unshare => 0,
        };
        let top = self.stack.as_mut_ptr_range().end;
        // SAFETY: With CLONE_VFORK this thread waits until the child has executed the program or
        // ended, so `plan` and what it points to live long enough. The child runs on a stack of its
        // own, whose end the C library aligns, and does nothing but system calls.
        let pid = unsafe {
            libc::clone(
                child,
                top.cast(),
                memory | libc::CLONE_VFORK | libc::SIGCHLD,
                ptr::from_ref(&plan).cast_mut().cast::<c_void>(),
            )
        };
        Errno::result(pid)
    }
}

extern "C" fn child(plan: *mut c_void) -> c_int {
    // SAFETY: See `start`: the parent keeps the plan and waits.
    let plan = unsafe { &*plan.cast::<Plan>() };
    if plan.first == First::Unshare {
        // SAFETY: No pointers.
        if unsafe { libc::unshare(libc::CLONE_NEWUTS | libc::CLONE_NEWIPC) } != 0 {
            exit_now(126);
        }
    }
    if let First::Enter(device) = plan.first {
        let mut request = Enter {
            context: CONTEXT_NEW,
            ..Enter::default()
        };
        // SAFETY: The structure of this number, live and writable.
        if unsafe { libc::ioctl(device, IOC_ENTER.into(), &raw mut request) } != 0 {
            exit_now(126);
        }
    }
    let environment = [ptr::null::<c_char>()];
    // SAFETY: Both lists end in a null pointer; the first has the program's path at its head.
    unsafe { libc::execve(*plan.arguments, plan.arguments, environment.as_ptr()) };
    exit_now(127)
}
