// SPDX-License-Identifier: GPL-2.0

//! What a context has for itself: host and domain names, System V IPC and POSIX message queues. In both
//! directions, the host included.

use crate::{
    fixture::{child, device, ensure, enter, equal, inside, until_empty, words, Outcome, Sitter},
    syscalls::{ioctl, own, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    sched::{unshare, CloneFlags},
    sys::utsname::uname,
    unistd::{gethostname, sethostname, setuid, Uid},
};
use std::os::fd::{AsFd, OwnedFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("names::host_and_domain", 60, host_and_domain),
    test("names::set_by_root_inside", 60, set_by_root_inside),
    test("names::inherited", 60, inherited),
    test("names::spectator", 60, spectator),
    test("ipc::same_key", 60, same_key),
    test("ipc::lists", 60, lists),
    test("ipc::attached_before", 60, attached_before),
    test("ipc::gone_with_the_context", 60, gone),
    test("ipc::message_queues", 60, message_queues),
];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
const DOMAINNAME: &str = "/proc/sys/kernel/domainname";

fn read(file: &str) -> Result<String, String> {
    Ok(std::fs::read_to_string(file)
        .map_err(words)?
        .trim()
        .to_string())
}

/// The host and the domain name, as all ways to ask have them.
fn both() -> Result<(String, String), String> {
    let host = gethostname().map_err(words)?.to_string_lossy().into_owned();
    let asked = uname().map_err(words)?;
    equal("uname", asked.nodename().to_str(), Some(host.as_str()))?;
    equal("hostname file", read(HOSTNAME)?, host.clone())?;
    let domain = asked.domainname().to_string_lossy().into_owned();
    equal("domainname file", read(DOMAINNAME)?, domain.clone())?;
    Ok((host, domain))
}

fn host_and_domain() -> Outcome {
    let before = both()?;
    let set = |host: &'static str, domain: &'static str| {
        move || {
            sethostname(host).map_err(words)?;
            let set = [domain.as_ptr() as usize, domain.len(), 0, 0, 0, 0];
            syscall(libc::SYS_setdomainname, set)
                .map(drop)
                .map_err(words)
        }
    };
    let _one = Sitter::new(300, 0, set("one", "one.test"))?;
    let _two = Sitter::new(301, 0, set("two", ""))?;
    let names = |host: &str, domain: &str| (host.to_string(), domain.to_string());
    equal("the host", both()?, before.clone())?;
    // Whoever comes later has them too, and changes them for all.
    inside(300, || {
        equal("one", both()?, names("one", "one.test"))?;
        std::fs::write(HOSTNAME, "first").map_err(words)
    })?;
    inside(300, || {
        equal("changed", both()?, names("first", "one.test"))
    })?;
    inside(301, || equal("two", both()?, names("two", "")))?;
    // The host's changes are nobody else's.
    sethostname("machine").map_err(words)?;
    let unmoved = inside(300, || equal("one", both()?.0, "first".to_string()));
    sethostname(&before.0).map_err(words)?;
    unmoved?;
    equal("the host at last", both()?, before)
}

/// They are the context's own: its root sets them without any capability, nobody else does, and the host's are
/// not touched.
fn set_by_root_inside() -> Outcome {
    let before = both()?;
    let _keeper = Sitter::idle(300)?;
    inside(300, || {
        enter(CONTEXT_STAY, 0, u64::MAX >> 23).map_err(words)?;
        sethostname("renamed").map_err(words)?;
        let domain = "renamed.test";
        let set = [domain.as_ptr() as usize, domain.len(), 0, 0, 0, 0];
        syscall(libc::SYS_setdomainname, set).map_err(words)?;
        let too_long = "x".repeat(65);
        equal("too long", sethostname(&too_long), Err(Errno::EINVAL))
    })?;
    inside(300, || {
        equal("names", both()?, ("renamed".into(), "renamed.test".into()))?;
        setuid(Uid::from_raw(1000)).map_err(words)?;
        equal("a user", sethostname("stolen"), Err(Errno::EPERM))?;
        // The root of a user namespace of his own is still him.
        unshare(CloneFlags::CLONE_NEWUSER).map_err(words)?;
        equal("in a namespace", sethostname("stolen"), Err(Errno::EPERM))
    })?;
    let spectator = inside(CONTEXT_SPECTATOR, || {
        enter(CONTEXT_STAY, 0, 1 << 21).map_err(words)?;
        equal("the spectator", sethostname("stolen"), Err(Errno::EPERM))
    });
    spectator?;
    equal("the host", both()?, before)
}

/// A new context begins with the names of who makes it, and what that is called later is not its affair.
fn inherited() -> Outcome {
    inside(300, || {
        sethostname("outer").map_err(words)?;
        let inner = child(|| {
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            equal("inherited", both()?.0, "outer".to_string())?;
            sethostname("inner").map_err(words)?;
            Ok(String::new())
        });
        inner?;
        equal("outer", both()?.0, "outer".to_string())
    })
}

/// The spectator stays where he was.
fn spectator() -> Outcome {
    let host = both()?;
    let key = 0x7601;
    let id = shmget(key, 4096, libc::IPC_CREAT | 0o600).map_err(words)?;
    let outcome = inside(CONTEXT_SPECTATOR, || {
        equal("names", both()?, host)?;
        equal("memory", shmget(key, 0, 0), Ok(id))
    });
    remove(libc::SYS_shmctl, id)?;
    outcome
}

fn shmget(key: i32, size: usize, flags: i32) -> Result<i32, Errno> {
    let arguments = [key as usize, size, flags as usize, 0, 0, 0];
    syscall(libc::SYS_shmget, arguments).map(|id| id as i32)
}

fn remove(call: i64, id: i32) -> Outcome {
    // Of semaphores the command is the third argument.
    let remove = libc::IPC_RMID as usize;
    let arguments = match call {
        libc::SYS_semctl => [id as usize, 0, remove, 0, 0, 0],
        _ => [id as usize, remove, 0, 0, 0, 0],
    };
    syscall(call, arguments).map(drop).map_err(words)
}

/// A piece of memory, a set of semaphores and a queue with a message, all new, under one key.
fn make(key: i32, word: u8) -> Outcome {
    let flags = libc::IPC_CREAT | libc::IPC_EXCL | 0o600;
    let id = shmget(key, 4096, flags).map_err(words)?;
    let at = syscall(libc::SYS_shmat, [id as usize, 0, 0, 0, 0, 0]).map_err(words)?;
    put(at as usize, word)?;
    let sem = [key as usize, 1, flags as usize, 0, 0, 0];
    let id = syscall(libc::SYS_semget, sem).map_err(words)?;
    // SETVAL
    let value = [id as usize, 0, 16, word as usize, 0, 0];
    syscall(libc::SYS_semctl, value).map_err(words)?;
    let queue = [key as usize, flags as usize, 0, 0, 0, 0];
    let id = syscall(libc::SYS_msgget, queue).map_err(words)?;
    let mut message = [0u8; 9];
    message[..8].copy_from_slice(&1i64.to_ne_bytes());
    message[8] = word;
    let send = [id as usize, message.as_ptr() as usize, 1, 0, 0, 0];
    syscall(libc::SYS_msgsnd, send).map(drop).map_err(words)
}

/// Writes to memory that the kernel has mapped here, through /proc: these tests have no pointers.
fn put(at: usize, word: u8) -> Outcome {
    use std::os::unix::fs::FileExt;
    let memory = std::fs::File::options().write(true).open("/proc/self/mem");
    memory
        .and_then(|memory| memory.write_all_at(&[word], at as u64))
        .map_err(words)
}

fn fetch(at: usize) -> Result<u8, String> {
    use std::os::unix::fs::FileExt;
    let mut word = [0];
    std::fs::File::open("/proc/self/mem")
        .and_then(|memory| memory.read_exact_at(&mut word, at as u64))
        .map_err(words)?;
    Ok(word[0])
}

/// What is under a key: the words of the three.
fn found(key: i32) -> Result<[u8; 3], String> {
    let id = shmget(key, 0, 0).map_err(words)?;
    let read_only = libc::SHM_RDONLY as usize;
    let at = syscall(libc::SYS_shmat, [id as usize, 0, read_only, 0, 0, 0]).map_err(words)?;
    let memory = fetch(at as usize)?;
    let id = syscall(libc::SYS_semget, [key as usize, 0, 0, 0, 0, 0]).map_err(words)?;
    // GETVAL
    let value = syscall(libc::SYS_semctl, [id as usize, 0, 12, 0, 0, 0]).map_err(words)?;
    let id = syscall(libc::SYS_msgget, [key as usize, 0, 0, 0, 0, 0]).map_err(words)?;
    let mut message = [0u8; 9];
    let receive = [id as usize, message.as_mut_ptr() as usize, 1, 0, 0o4000, 0];
    syscall(libc::SYS_msgrcv, receive).map_err(words)?;
    let send = [id as usize, message.as_ptr() as usize, 1, 0, 0, 0];
    syscall(libc::SYS_msgsnd, send).map_err(words)?;
    Ok([memory, value as u8, message[8]])
}

const KEY: i32 = 0x7602;

/// Takes away what the host has under a key.
fn clear(key: i32) -> Outcome {
    remove(libc::SYS_shmctl, shmget(key, 0, 0).map_err(words)?)?;
    let by_key = |call, more: [usize; 2]| {
        syscall(call, [key as usize, more[0], more[1], 0, 0, 0]).map(|id| id as i32)
    };
    let sem = by_key(libc::SYS_semget, [0, 0]).map_err(words)?;
    remove(libc::SYS_semctl, sem)?;
    let queue = by_key(libc::SYS_msgget, [0, 0]).map_err(words)?;
    remove(libc::SYS_msgctl, queue)
}

/// One key is another object in each, and what there is under a number stays out of reach.
fn same_key() -> Outcome {
    make(KEY, b'h')?;
    let outcome = (|| {
        let _one = Sitter::new(300, 0, || make(KEY, b'1'))?;
        let _two = Sitter::new(301, 0, || make(KEY, b'2'))?;
        equal("the host", found(KEY)?, [b'h'; 3])?;
        inside(300, || equal("one", found(KEY)?, [b'1'; 3]))?;
        inside(301, || equal("two", found(KEY)?, [b'2'; 3]))?;
        // A third one has none of it.
        inside(302, || {
            equal("none", shmget(KEY, 0, 0), Err(Errno::ENOENT))?;
            for id in 0..64 {
                let at = syscall(libc::SYS_shmat, [id, 0, 0, 0, 0, 0]).map(drop);
                equal("by number", at, Err(Errno::EINVAL))?;
            }
            Ok(())
        })
    })();
    clear(KEY)?;
    outcome?;
    until_empty()
}

/// How many lines each list has, without its head.
fn listed() -> Result<[usize; 3], String> {
    let mut counts = [0; 3];
    for (count, name) in counts.iter_mut().zip(["shm", "sem", "msg"]) {
        let text = std::fs::read_to_string(format!("/proc/sysvipc/{name}")).map_err(words)?;
        *count = text.lines().count() - 1;
    }
    Ok(counts)
}

fn lists() -> Outcome {
    let before = listed()?;
    make(KEY, b'h')?;
    let outcome = (|| {
        let _one = Sitter::new(300, 0, || {
            make(KEY, b'1')?;
            make(KEY + 1, b'1')
        })?;
        equal("the host", listed()?, before.map(|count| count + 1))?;
        inside(300, || equal("one", listed()?, [2; 3]))?;
        inside(301, || equal("two", listed()?, [0; 3]))
    })();
    clear(KEY)?;
    outcome?;
    until_empty()
}

/// Memory that was attached before stays attached; by its key or number it is not there any more.
fn attached_before() -> Outcome {
    let id = shmget(KEY, 4096, libc::IPC_CREAT | 0o600).map_err(words)?;
    let at = syscall(libc::SYS_shmat, [id as usize, 0, 0, 0, 0, 0]).map_err(words)? as usize;
    let outcome = inside(300, || {
        put(at, b'i')?;
        equal("read back", fetch(at)?, b'i')?;
        equal("by key", shmget(KEY, 0, 0), Err(Errno::ENOENT))?;
        let again = syscall(libc::SYS_shmat, [id as usize, 0, 0, 0, 0, 0]).map(drop);
        equal("by number", again, Err(Errno::EINVAL))
    });
    let word = fetch(at);
    syscall(libc::SYS_shmdt, [at, 0, 0, 0, 0, 0]).map_err(words)?;
    remove(libc::SYS_shmctl, id)?;
    outcome?;
    equal("written from inside", word?, b'i')?;
    until_empty()
}

/// kB of memory that is shared.
pub fn shared() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/meminfo").map_err(words)?;
    text.lines()
        .find_map(|line| line.strip_prefix("Shmem:")?.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| format!("no Shmem in {text}"))
}

/// Nothing of a context is left when it has ended, also while somebody holds a descriptor of it.
fn gone() -> Outcome {
    const SIZE: usize = 32 << 20;
    const MOST: u64 = 4 << 10;
    let before = shared()?;
    let mut room = [0];
    let (told, tell) = nix::unistd::pipe().map_err(words)?;
    let fill = || {
        let id = shmget(KEY, SIZE, libc::IPC_CREAT | 0o600).map_err(words)?;
        let at = syscall(libc::SYS_shmat, [id as usize, 0, 0, 0, 0, 0]).map_err(words)? as usize;
        for page in 0..SIZE / 4096 {
            put(at + page * 4096, b'x')?;
        }
        nix::unistd::write(&tell, b"!").map(drop).map_err(words)
    };
    let sitter = Sitter::new(300, 0, fill)?;
    nix::unistd::read(told.as_fd(), &mut room).map_err(words)?;
    let mut request = Open {
        context: 300,
        ..Open::default()
    };
    ioctl(&device()?, IOC_OPEN, &mut request).map_err(words)?;
    let held = own(request.fd);
    let full = shared()?;
    ensure(
        &format!("{before} kB, then {full} kB"),
        full >= before + (SIZE as u64 >> 10) - MOST,
    )?;
    drop(sitter);
    until_empty()?;
    // The kernel frees what is in a namespace a little later.
    for _ in 0..6000 {
        if shared()? < before + MOST {
            drop(held);
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(format!(
        "{} kB are left of {full}, {before} before",
        shared()?
    ))
}

fn mq_open(name: &[u8], flags: i32) -> Result<OwnedFd, Errno> {
    let none = 0;
    let arguments = [name.as_ptr() as usize, flags as usize, 0o600, none, 0, 0];
    syscall(libc::SYS_mq_open, arguments).map(|fd| own(fd as i32))
}

fn message_queues() -> Outcome {
    let name = b"names\0";
    let new = libc::O_CREAT | libc::O_EXCL | libc::O_RDWR;
    let _host = mq_open(name, new).map_err(words)?;
    let outcome = (|| {
        let _one = Sitter::new(300, 0, || mq_open(name, new).map(drop).map_err(words))?;
        inside(300, || mq_open(name, libc::O_RDWR).map(drop).map_err(words))?;
        inside(301, || {
            let got = mq_open(name, libc::O_RDWR).map(drop);
            equal("in another", got, Err(Errno::ENOENT))
        })
    })();
    let unlink = [name.as_ptr() as usize, 0, 0, 0, 0, 0];
    syscall(libc::SYS_mq_unlink, unlink).map_err(words)?;
    outcome?;
    until_empty()
}
