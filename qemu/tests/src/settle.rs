// SPDX-License-Identifier: GPL-2.0

//! A process that has entered is absent for everybody inside until it executes a program. Here it executes
//! this program once more and goes on where it was, with the same memory, registers and descriptors.
//!
//! That works because the program is static and runs at the same addresses each time ([`fix_addresses`]):
//! the old memory is written to a file in memory, and the new program reads it back into place.

use nix::errno::Errno;
use std::{
    arch::{asm, global_asm},
    ffi::CString,
    fs::{read_link, File},
    io::Read,
    os::unix::{ffi::OsStrExt, process::CommandExt},
    process::Command,
};

/// What the program is called with to go on, before the number of the file.
pub const ARGUMENT: &str = "--resume";

/// Where the new program works while it replaces its memory: nothing else is there.
const WORK: usize = 0x2000_0000_0000;
const WORK_SIZE: usize = size_of::<State>().next_multiple_of(4096) + (1 << 16);

const REGIONS: usize = 200;

#[derive(Clone, Copy)]
#[repr(C)]
struct Region {
    start: usize,
    length: usize,
    protection: i32,
    kind: Kind,
    /// Of what is shared.
    fd: i32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
enum Kind {
    /// The program's data and its stack, which the new program has as well.
    Own,
    Heap,
    Anonymous,
    Shared,
}

/// What is in the file, followed by the contents of all regions that are not shared.
#[repr(C)]
struct State {
    stack_pointer: usize,
    thread_pointer: usize,
    count: usize,
    regions: [Region; REGIONS],
    /// For the old program only.
    plan: Plan,
}

struct Plan {
    fd: i32,
    program: CString,
    arguments: [CString; 3],
}

global_asm!(
    // Saves the registers that a function keeps, and calls the second argument with the first.
    ".globl settle_save",
    "settle_save:",
    "push rbx",
    "push rbp",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "mov [rdi], rsp",
    "sub rsp, 8",
    "call rsi",
    "add rsp, 8",
    ".globl settle_return",
    "settle_return:",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbp",
    "pop rbx",
    "ret",
    // Calls the second argument with the third on the stack that ends at the first.
    ".globl settle_on_stack",
    "settle_on_stack:",
    "mov rsp, rdi",
    "mov rdi, rdx",
    "call rsi",
    "ud2",
);

unsafe extern "C" {
    static environ: *const *const u8;

    fn settle_save(state: *mut usize, call: extern "C" fn(*mut usize) -> i32) -> i32;
    fn settle_on_stack(top: usize, call: extern "C" fn(usize) -> !, argument: usize) -> !;
}

/// A system call that does not touch errno.
fn raw(number: i64, a: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: The callers' business: they put memory where memory is meant to be.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
        );
    }
    result
}

/// Executes the program anew, once, without randomised addresses, and without restartable sequences: the kernel
/// kills who changes the memory that it keeps their state in, as a program does that reads its memory back.
pub fn fix_addresses() {
    const ADDR_NO_RANDOMIZE: u64 = 0x004_0000;
    const TUNABLES: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    let now = raw(libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]) as u64;
    let tuned = std::env::var_os(TUNABLES.0).is_some_and(|value| value == TUNABLES.1);
    if now & ADDR_NO_RANDOMIZE == 0 || !tuned {
        let wanted = (now | ADDR_NO_RANDOMIZE) as usize;
        raw(libc::SYS_personality, [wanted, 0, 0, 0, 0, 0]);
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        // By its own name, as `ps` shows it.
        let program = read_link("/proc/self/exe").unwrap_or_default();
        let error = Command::new(program)
            .arg0(name)
            .args(arguments)
            .env(TUNABLES.0, TUNABLES.1)
            .exec();
        eprintln!("guest-tests: {error}");
    }
}

fn parse(line: &str) -> Option<Region> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let access = fields.next()?;
    let inode = fields.nth(2)?;
    let name = fields.next().unwrap_or_default();
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let kind = if access.ends_with('s') {
        Kind::Shared
    } else if name == "[heap]" {
        Kind::Heap
    } else if name == "[stack]" || (inode != "0" && access.contains('w')) {
        Kind::Own
    } else if inode == "0" && name.is_empty() {
        Kind::Anonymous
    } else {
        return None;
    };
    let mut protection = 0;
    for (letter, bit) in [
        ('r', libc::PROT_READ),
        ('w', libc::PROT_WRITE),
        ('x', libc::PROT_EXEC),
    ] {
        if access.contains(letter) {
            protection |= bit;
        }
    }
    Some(Region {
        start,
        length: end - start,
        protection,
        kind,
        fd: -1,
    })
}

/// The descriptors of the process that do not survive a program, made such that do. They are tried one by one, which
/// for thousands is much quicker than their list in /proc.
fn keep_descriptors() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let size = status
        .lines()
        .find_map(|line| line.strip_prefix("FDSize:")?.trim().parse().ok())
        .unwrap_or(1024);
    let mut kept = Vec::new();
    for fd in 0..size {
        let flags = raw(
            libc::SYS_fcntl,
            [fd as usize, libc::F_GETFD as usize, 0, 0, 0, 0],
        );
        if flags == libc::FD_CLOEXEC as isize && set_close_on_exec(fd, 0) == 0 {
            kept.push(fd);
        }
    }
    kept
}

fn set_close_on_exec(fd: i32, flag: usize) -> isize {
    raw(
        libc::SYS_fcntl,
        [fd as usize, libc::F_SETFD as usize, flag, 0, 0, 0],
    )
}

/// The caller, which has one thread, executes this program and returns.
pub fn settle() -> Result<(), Errno> {
    let kept = keep_descriptors();
    let result = prepare().and_then(|mut state| {
        // SAFETY: The function returns once: after `save` has failed, or in the new program.
        match unsafe { settle_save((&raw mut *state).cast(), save) } {
            0 => Ok(state),
            errno => Err(Errno::from_raw(errno)),
        }
    });
    for fd in kept {
        set_close_on_exec(fd, 1);
    }
    if let Ok(state) = &result {
        let fds = state.regions[..state.count].iter().map(|region| region.fd);
        for fd in fds.chain([state.plan.fd]) {
            raw(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]);
        }
    }
    raw(libc::SYS_munmap, [WORK, WORK_SIZE, 0, 0, 0, 0]);
    result.map(drop)
}

fn prepare() -> Result<Box<State>, Errno> {
    let io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let program = read_link("/proc/self/exe").map_err(io)?;
    let program = CString::new(program.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let fd = Errno::result(raw(
        libc::SYS_memfd_create,
        [c"memory".as_ptr() as usize, 0, 0, 0, 0, 0],
    ) as i32)
    .map_err(|_| Errno::ENFILE)?;
    let arguments = [
        program.clone(),
        CString::new(ARGUMENT).unwrap_or_default(),
        CString::new(fd.to_string()).unwrap_or_default(),
    ];
    let empty = Region {
        start: 0,
        length: 0,
        protection: 0,
        kind: Kind::Own,
        fd: -1,
    };
    let mut state = Box::new(State {
        stack_pointer: 0,
        thread_pointer: 0,
        count: 0,
        regions: [empty; REGIONS],
        plan: Plan {
            fd,
            program,
            arguments,
        },
    });
    // Room for all that is allocated from here on: the heap must not grow after its line has been read.
    let mut maps = String::with_capacity(1 << 16);
    drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 15)));
    File::open("/proc/self/maps")
        .and_then(|mut file| file.read_to_string(&mut maps))
        .map_err(io)?;
    for mut region in maps.lines().filter_map(parse) {
        if region.kind == Kind::Shared {
            let (start, end) = (region.start, region.start + region.length);
            let path = CString::new(format!("/proc/self/map_files/{start:x}-{end:x}"));
            let path = path.map_err(|_| Errno::EINVAL)?;
            let flags = libc::O_RDWR as usize;
            region.fd = raw(
                libc::SYS_openat,
                [usize::MAX, path.as_ptr() as usize, flags, 0, 0, 0],
            ) as i32;
        }
        *state.regions.get_mut(state.count).ok_or(Errno::E2BIG)? = region;
        state.count += 1;
    }
    // Nor may it shrink.
    std::mem::forget(maps);
    Ok(state)
}

fn write_all(fd: i32, mut from: usize, mut length: usize) -> Result<(), i32> {
    while length > 0 {
        match raw(libc::SYS_write, [fd as usize, from, length, 0, 0, 0]) {
            written @ 1.. => {
                from += written as usize;
                length -= written as usize;
            }
            error => return Err(-error as i32),
        }
    }
    Ok(())
}

extern "C" fn save(state: *mut usize) -> i32 {
    // SAFETY: From `settle`, which waits.
    let state = unsafe { &mut *state.cast::<State>() };
    let plan = &state.plan;
    const ARCH_GET_FS: usize = 0x1003;
    let thread_pointer = &raw mut state.thread_pointer as usize;
    raw(
        libc::SYS_arch_prctl,
        [ARCH_GET_FS, thread_pointer, 0, 0, 0, 0],
    );
    let mut result = write_all(
        plan.fd,
        std::ptr::from_ref(state) as usize,
        size_of::<State>(),
    );
    for region in &state.regions[..state.count] {
        if result.is_ok() && region.kind != Kind::Shared && region.protection & libc::PROT_READ != 0
        {
            result = write_all(plan.fd, region.start, region.length);
        }
    }
    if let Err(errno) = result {
        return errno;
    }
    let [name, argument, fd] = &plan.arguments;
    let arguments = [
        name.as_ptr(),
        argument.as_ptr(),
        fd.as_ptr(),
        std::ptr::null(),
    ];
    // SAFETY: One thread.
    let environment = unsafe { environ };
    let error = raw(
        libc::SYS_execve,
        [
            plan.program.as_ptr() as usize,
            arguments.as_ptr() as usize,
            environment as usize,
            0,
            0,
            0,
        ],
    );
    -error as i32
}

const PRIVATE: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
const WRITABLE: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn map(start: usize, length: usize, protection: i32, flags: i32, fd: i32) {
    raw(
        libc::SYS_mmap,
        [
            start,
            length,
            protection as usize,
            flags as usize,
            fd as isize as usize,
            0,
        ],
    );
}

fn read_all(fd: usize, mut to: usize, mut length: usize) {
    while length > 0 {
        let got = raw(libc::SYS_read, [fd, to, length, 0, 0, 0]);
        if got <= 0 {
            raw(libc::SYS_exit_group, [99, 0, 0, 0, 0, 0]);
        }
        to += got as usize;
        length -= got as usize;
    }
}

/// In the new program: becomes the process whose memory is in the file.
pub fn resume(fd: &str) -> ! {
    let fd = fd.parse().unwrap_or(0);
    map(WORK, WORK_SIZE, WRITABLE, PRIVATE, -1);
    raw(libc::SYS_lseek, [fd, 0, 0, 0, 0, 0]);
    read_all(fd, WORK, size_of::<State>());
    // SAFETY: The stack is not in use, and a multiple of 16.
    unsafe { settle_on_stack(WORK + WORK_SIZE, restore, fd) }
}

/// On a stack of its own, with nothing but system calls: all other memory changes.
extern "C" fn restore(fd: usize) -> ! {
    // SAFETY: `resume` has read it to there.
    let state = unsafe { &*(WORK as *const State) };
    for region in &state.regions[..state.count] {
        let &Region {
            start,
            length,
            protection,
            kind,
            ..
        } = region;
        match kind {
            Kind::Own => (),
            Kind::Heap => {
                raw(libc::SYS_brk, [start + length, 0, 0, 0, 0, 0]);
            }
            Kind::Anonymous => map(start, length, WRITABLE, PRIVATE, -1),
            Kind::Shared => {
                let flags = libc::MAP_SHARED | libc::MAP_FIXED;
                map(start, length, protection, flags, region.fd);
                continue;
            }
        }
        if protection & libc::PROT_READ != 0 {
            read_all(fd, start, length);
        }
        if kind == Kind::Anonymous {
            raw(
                libc::SYS_mprotect,
                [start, length, protection as usize, 0, 0, 0],
            );
        }
    }
    const ARCH_SET_FS: usize = 0x1002;
    raw(
        libc::SYS_arch_prctl,
        [ARCH_SET_FS, state.thread_pointer, 0, 0, 0, 0],
    );
    // SAFETY: The stack of `settle_save`, as it was.
    unsafe {
        asm!(
            "mov rsp, {}",
            "xor eax, eax",
            "jmp settle_return",
            in(reg) state.stack_pointer,
            options(noreturn)
        )
    }
}
