// SPDX-License-Identifier: GPL-2.0

//! The number of process 1 in what is held and kept: locks, futexes, System V objects.

use super::{as_both, as_spectator, in_child, named, spawn};
use crate::{
    fixture::{child, ensure, enter, equal, words, Outcome, Sitter},
    syscalls::{shared_words, syscall},
    test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    fcntl::{fcntl, FcntlArg},
    unistd::{getpid, gettid, pipe, read, write},
};
use std::{fs::File, os::fd::AsRawFd, sync::atomic::Ordering};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("fakeinit::locks", 60, locks),
    test("fakeinit::locks_from_outside", 60, locks_from_outside),
    test("fakeinit::locks_of_other_kinds", 60, other_locks),
    test("fakeinit::robust_futex", 60, robust),
    test("fakeinit::priority_futex", 60, priority),
    test("fakeinit::shared_memory", 60, shared_memory),
    test("fakeinit::messages_and_semaphores", 60, messages),
];

/// Whole files, for writing.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Whose lock is in the way; -1 for nobody's.
fn holder_of(file: &File) -> Result<i32, Errno> {
    let mut lock = whole();
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    let free = lock.l_type == libc::F_UNLCK as i16;
    Ok(if free { -1 } else { lock.l_pid })
}

fn take(file: &File) -> Result<i32, Errno> {
    fcntl(file, FcntlArg::F_SETLK(&whole()))
}

/// Whether /proc/locks has a lock of this process's.
fn is_listed(pid: i32) -> Result<bool, String> {
    let all = std::fs::read_to_string("/proc/locks").map_err(words)?;
    Ok(all.contains(&format!(" {pid} ")))
}

fn locks() -> Outcome {
    as_both(|who| {
        let path = format!("/tmp/lock-{}", who.real);
        let file = File::create(&path).map_err(words)?;
        named("F_SETLK", take(&file))?;
        equal("one's own", holder_of(&file), Ok(-1))?;
        in_child(|| {
            equal("F_GETLK", holder_of(&file), Ok(who.number))?;
            ensure("listed", is_listed(who.number)?)?;
            equal("by the real number", is_listed(who.real)?, !who.is_init())
        })?;
        drop(file);
        // That of a child has its number.
        let file = File::create(&path).map_err(words)?;
        let (reader, writer) = pipe().map_err(words)?;
        let holder = spawn(|| {
            if take(&file).is_err() {
                return 1;
            }
            let _ = write(&writer, b"x");
            loop {
                nix::unistd::pause();
            }
        })?;
        read(&reader, &mut [0]).map_err(words)?;
        let number = holder.as_raw();
        equal("a child's", holder_of(&file), Ok(number))?;
        ensure("a child's, listed", is_listed(number)?)?;
        super::end(holder)?;
        equal("nobody's", holder_of(&file), Ok(-1))?;
        std::fs::remove_file(&path).map_err(words)
    })
}

/// Who sees all reads the real number, and who is in another context that has a process 1 nobody's.
fn locks_from_outside() -> Outcome {
    for flags in [FLAG_FAKEINIT, 0] {
        let path = "/tmp/lock-of-a-sitter";
        let file = File::create(path).map_err(words)?;
        let init = Sitter::new(CONTEXT_NEW, flags, || {
            named("F_SETLK", take(&file)).map(drop)
        })?;
        as_spectator(|| {
            equal("F_GETLK", holder_of(&file), Ok(init.pid))?;
            ensure("listed", is_listed(init.pid)?)
        })?;
        super::as_init(|_| {
            equal(
                "not its own",
                holder_of(&file).map(|pid| pid != 1),
                Ok(true),
            )?;
            ensure("not listed", !is_listed(init.pid)? && !is_listed(1)?)
        })?;
    }
    Ok(())
}

/// flock(2) and leases.
fn other_locks() -> Outcome {
    as_both(|who| {
        let path = format!("/tmp/flock-{}", who.real);
        let file = File::create(&path).map_err(words)?;
        let fd = file.as_raw_fd() as usize;
        named(
            "flock",
            call(libc::SYS_flock, &[fd, libc::LOCK_EX as usize]),
        )?;
        ensure("flock", is_listed(who.number)?)?;
        equal("by the real number", is_listed(who.real)?, !who.is_init())?;
        named(
            "flock",
            call(libc::SYS_flock, &[fd, libc::LOCK_UN as usize]),
        )?;
        equal("none left", is_listed(who.number)?, false)?;
        let lease = [fd, libc::F_SETLEASE as usize, libc::F_WRLCK as usize];
        named("lease", call(libc::SYS_fcntl, &lease))?;
        ensure("lease", is_listed(who.number)?)?;
        equal("by the real number", is_listed(who.real)?, !who.is_init())?;
        std::fs::remove_file(&path).map_err(words)
    })
}

const FUTEX_OWNER_DIED: u32 = 0x4000_0000;

/// The lock of a process 1 that ends is marked if its number is in it; the memory is read outside.
fn robust() -> Outcome {
    // With the number that it has, and with its real one.
    for (flags, real, marked) in [
        (FLAG_FAKEINIT, false, true),
        (FLAG_FAKEINIT, true, false),
        (0, false, true),
    ] {
        let memory = shared_words().map_err(words)?;
        child(|| {
            let outside = gettid().as_raw();
            enter(CONTEXT_NEW, flags, 0).map_err(words)?;
            let number = if real { outside } else { gettid().as_raw() };
            memory[0].store(number as u32, Ordering::SeqCst);
            memory[8].store(number as u32, Ordering::SeqCst);
            // struct robust_list_head: the list, the futex's distance from its entry, what is being taken. The
            // entry points back to the head.
            let entry = &raw const memory[4] as usize;
            let head = Box::leak(Box::new([entry, 0usize, 0usize]));
            head[1] = (&raw const memory[0] as usize).wrapping_sub(entry);
            let last = head.as_ptr() as usize;
            memory[4].store(last as u32, Ordering::SeqCst);
            memory[5].store((last >> 32) as u32, Ordering::SeqCst);
            let arguments = [last, size_of_val(head), 0, 0, 0, 0];
            syscall(libc::SYS_set_robust_list, arguments).map_err(words)?;
            Ok(String::new())
        })?;
        let number = memory[8].load(Ordering::SeqCst);
        let left = memory[0].load(Ordering::SeqCst);
        let expected = if marked { FUTEX_OWNER_DIED } else { number };
        equal("the word", left, expected)?;
    }
    Ok(())
}

/// A lock with priority inheritance: its word has the number of who holds it.
fn priority() -> Outcome {
    let memory = shared_words().map_err(words)?;
    let word = || memory[0].load(Ordering::SeqCst);
    let long_ago = [0i64, 1];
    let futex = |operation: i32| {
        let arguments = [
            &raw const memory[0] as usize,
            operation as usize,
            0,
            long_ago.as_ptr() as usize,
        ];
        call(libc::SYS_futex, &arguments).map(drop)
    };
    as_both(|who| {
        memory[0].store(0, Ordering::SeqCst);
        equal("taken", futex(libc::FUTEX_LOCK_PI), Ok(()))?;
        equal("its word", word(), who.number as u32)?;
        let again = futex(libc::FUTEX_LOCK_PI);
        equal("again", again, Err(Errno::EDEADLK))?;
        in_child(|| {
            let waited = futex(libc::FUTEX_LOCK_PI);
            equal("held by it", waited, Err(Errno::ETIMEDOUT))?;
            let other = futex(libc::FUTEX_UNLOCK_PI);
            equal("by somebody else", other, Err(Errno::EPERM))?;
            if who.is_init() {
                memory[0].store(who.real as u32, Ordering::SeqCst);
                let waited = futex(libc::FUTEX_LOCK_PI);
                equal("held by the real number", waited, Err(Errno::ESRCH))?;
            }
            memory[0].store(0x3fff_fff0, Ordering::SeqCst);
            let waited = futex(libc::FUTEX_LOCK_PI);
            equal("held by nobody", waited, Err(Errno::ESRCH))?;
            memory[0].store(who.number as u32, Ordering::SeqCst);
            Ok(())
        })?;
        equal("let go", futex(libc::FUTEX_UNLOCK_PI), Ok(()))?;
        equal("its word", word(), 0)?;
        // And one that a child holds.
        let (reader, writer) = pipe().map_err(words)?;
        let holder = spawn(|| {
            let taken = futex(libc::FUTEX_LOCK_PI) == Ok(());
            let right = word() == getpid().as_raw() as u32;
            let _ = write(&writer, &[u8::from(taken && right)]);
            loop {
                nix::unistd::pause();
            }
        })?;
        let mut right = [0];
        read(&reader, &mut right).map_err(words)?;
        equal("a child's", right, [1])?;
        let waited = futex(libc::FUTEX_LOCK_PI);
        equal("held by a child", waited, Err(Errno::ETIMEDOUT))?;
        super::end(holder)
    })
}

const IPC_RMID: usize = 0;
const IPC_STAT: usize = 2;
/// Words of struct ipc64_perm, which the structures begin with.
const PERMISSIONS: usize = size_of::<libc::ipc_perm>() / 4;

/// The words of what IPC_STAT tells.
fn stat(system_call: i64, id: i64) -> Result<[u32; 64], String> {
    let mut found = [0u32; 64];
    let room = found.as_mut_ptr() as usize;
    named(
        "IPC_STAT",
        call(system_call, &[id as usize, IPC_STAT, room]),
    )?;
    Ok(found)
}

/// A column of a list in /proc/sysvipc that has one line.
fn column(list: &str, at: usize) -> Result<String, String> {
    let text = std::fs::read_to_string(format!("/proc/sysvipc/{list}")).map_err(words)?;
    let line = text.lines().nth(1).unwrap_or_default();
    let word = line.split_ascii_whitespace().nth(at);
    word.map(str::to_string).ok_or(text.clone())
}

/// Who made it, and who used it last.
fn shared_memory() -> Outcome {
    as_both(|who| {
        let id = named("shmget", call(libc::SYS_shmget, &[0, 4096, 0o1600]))?;
        let number = who.number as u32;
        let numbers = || {
            let found = stat(libc::SYS_shmctl, id)?;
            // Behind the size and three times.
            Ok::<_, String>([found[PERMISSIONS + 8], found[PERMISSIONS + 9]])
        };
        in_child(|| {
            equal("its maker", numbers()?, [number, 0])?;
            equal("as listed", column("shm", 4)?, number.to_string())?;
            equal("last used, as listed", column("shm", 5)?, "0".into())
        })?;
        named("shmat", call(libc::SYS_shmat, &[id as usize, 0, 0]))?;
        in_child(|| equal("last used", numbers()?, [number, number]))?;
        let child = spawn(|| {
            let attached = call(libc::SYS_shmat, &[id as usize, 0, 0]);
            i32::from(attached.is_err())
        })?;
        super::expect_success(child)?;
        equal("by a child", numbers()?, [number, child.as_raw() as u32])?;
        let removed = call(libc::SYS_shmctl, &[id as usize, IPC_RMID, 0]);
        named("IPC_RMID", removed).map(drop)
    })
}

/// Who sent and received last; who changed a semaphore last.
fn messages() -> Outcome {
    const GETPID: usize = 11;
    const SETVAL: usize = 16;
    as_both(|who| {
        let id = named("msgget", call(libc::SYS_msgget, &[0, 0o1600]))? as usize;
        let numbers = || {
            let found = stat(libc::SYS_msgctl, id as i64)?;
            // Behind three times and three sizes.
            Ok::<_, String>([found[PERMISSIONS + 12], found[PERMISSIONS + 13]])
        };
        let number = who.number as u32;
        let mut message = [1u64, 0];
        let room = message.as_mut_ptr() as usize;
        let send = || call(libc::SYS_msgsnd, &[id, room, 8, 0]);
        let receive = || call(libc::SYS_msgrcv, &[id, room, 8, 0, 0]);
        named("msgsnd", send())?;
        in_child(|| equal("the sender", numbers()?, [number, 0]))?;
        equal("listed", column("msg", 5)?, number.to_string())?;
        let child = spawn(|| i32::from(receive().is_err()))?;
        super::expect_success(child)?;
        let other = child.as_raw() as u32;
        equal("the receiver", numbers()?, [number, other])?;
        let child = spawn(|| i32::from(send().is_err()))?;
        super::expect_success(child)?;
        named("msgrcv", receive())?;
        let other = child.as_raw() as u32;
        in_child(|| equal("the other way", numbers()?, [other, number]))?;
        named("IPC_RMID", call(libc::SYS_msgctl, &[id, IPC_RMID, 0]))?;

        let id = named("semget", call(libc::SYS_semget, &[0, 1, 0o1600]))? as usize;
        named("SETVAL", call(libc::SYS_semctl, &[id, 0, SETVAL, 1]))?;
        in_child(|| {
            let last = call(libc::SYS_semctl, &[id, 0, GETPID]);
            equal("the semaphore", last, Ok(i64::from(number)))
        })?;
        named("IPC_RMID", call(libc::SYS_semctl, &[id, 0, IPC_RMID])).map(drop)
    })
}
