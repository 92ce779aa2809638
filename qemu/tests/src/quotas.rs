// SPDX-License-Identifier: GPL-2.0

//! What the kernel counts for each user, apart for each context.

use crate::{
    fixture::{
        child, confine, ensure, enter, equal, inside, until_empty, words, Outcome, Sitter, SECURE,
    },
    module, syscalls, test,
    visibility::call,
    Test,
};
use nix::{
    errno::Errno,
    libc,
    sys::{
        prctl::set_pdeathsig,
        resource::{setrlimit, Resource},
        signal::{SigSet, Signal},
        socket::{
            recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, ControlMessageOwned,
            MsgFlags,
        },
        socket::{SockFlag, SockType},
    },
    unistd::{setgid, setuid, Gid, Uid},
};
use std::{
    fs,
    io::{IoSlice, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("quotas::inotify_instances", 30, || each(&INOTIFY_INSTANCES)),
    test("quotas::inotify_watches", 30, || each(&INOTIFY_WATCHES)),
    test("quotas::fanotify_groups", 30, || each(&FANOTIFY_GROUPS)),
    test("quotas::fanotify_marks", 30, || each(&FANOTIFY_MARKS)),
    test("quotas::epoll_watches", 30, || each(&EPOLL_WATCHES)),
    test("quotas::message_queues", 30, || each(&MESSAGE_QUEUES)),
    test("quotas::pending_signals", 30, || each(&PENDING_SIGNALS)),
    test("quotas::locked_memory", 30, || each(&LOCKED_MEMORY)),
    test("quotas::pinned_memory", 30, || each(&PINNED_MEMORY)),
    test("quotas::pipes", 30, || each(&PIPES)),
    test("quotas::descriptors_in_flight", 30, || each(&IN_FLIGHT)),
    test("quotas::user_namespaces", 30, || each(&USER_NAMESPACES)),
    test("quotas::other_namespaces", 30, || each(&OTHER_NAMESPACES)),
    test("quotas::keys", 30, || each(&KEYS)),
    test("quotas::processes", 30, || each(&PROCESSES)),
    test("quotas::limits_of_the_host_change", 30, changed),
    test("quotas::priority_by_user", 30, priority),
    test("quotas::a_thousand_contexts", 120, thousand),
    test("quotas::what_is_left_outlives_the_module", 60, leftovers),
    test("quotas::contexts_of_one_user", 60, contexts),
    test("quotas::loopbacks_of_one_user", 60, loopbacks),
];

/// Something that is limited.
struct Kind {
    /// Files below /proc/sys, and what is written there meanwhile.
    limits: &'static [(&'static str, &'static str)],
    /// Limits of a process.
    rlimit: Option<(Resource, u64)>,
    /// Takes one, or a part, until the process ends.
    one: fn() -> Result<(), Errno>,
    /// What it says when there is none left.
    full: Errno,
}

const INOTIFY_INSTANCES: Kind = Kind {
    limits: &[("fs/inotify/max_user_instances", "12")],
    rlimit: None,
    one: || instance().map(drop),
    full: Errno::EMFILE,
};

const INOTIFY_WATCHES: Kind = Kind {
    limits: &[("fs/inotify/max_user_watches", "12")],
    rlimit: None,
    one: || instance().and_then(|fd| watch(fd, c"/")).map(drop),
    full: Errno::ENOSPC,
};

const FANOTIFY_GROUPS: Kind = Kind {
    limits: &[("fs/fanotify/max_user_groups", "8")],
    rlimit: None,
    one: || group().map(drop),
    full: Errno::EMFILE,
};

const FANOTIFY_MARKS: Kind = Kind {
    limits: &[("fs/fanotify/max_user_marks", "8")],
    rlimit: None,
    one: || {
        let add = libc::FAN_MARK_ADD as usize;
        let here = libc::AT_FDCWD as usize;
        let arguments = [
            group()?,
            add,
            libc::FAN_CREATE as usize,
            here,
            c"/tmp".as_ptr() as usize,
        ];
        call(libc::SYS_fanotify_mark, &arguments).map(drop)
    },
    full: Errno::ENOSPC,
};

const EPOLL_WATCHES: Kind = Kind {
    limits: &[("fs/epoll/max_user_watches", "12")],
    rlimit: None,
    one: || {
        let set = call(libc::SYS_epoll_create1, &[0])? as usize;
        let target = call(libc::SYS_eventfd2, &[0, 0])? as usize;
        let event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: 0,
        };
        let add = libc::EPOLL_CTL_ADD as usize;
        call(
            libc::SYS_epoll_ctl,
            &[set, add, target, &raw const event as usize],
        )
        .map(drop)
    },
    full: Errno::ENOSPC,
};

const MESSAGE_QUEUES: Kind = Kind {
    limits: &[],
    rlimit: Some((Resource::RLIMIT_MSGQUEUE, 300_000)),
    one: || {
        let name =
            std::ffi::CString::new(format!("quota-{}", number())).map_err(|_| Errno::EINVAL)?;
        let name = name.as_ptr() as usize;
        let attributes = [0i64, 8, 8192, 0, 0, 0, 0, 0];
        let flags = (libc::O_CREAT | libc::O_EXCL | libc::O_RDWR) as usize;
        call(
            libc::SYS_mq_open,
            &[name, flags, 0o600, attributes.as_ptr() as usize],
        )?;
        call(libc::SYS_mq_unlink, &[name]).map(drop)
    },
    full: Errno::EMFILE,
};

const PENDING_SIGNALS: Kind = Kind {
    limits: &[],
    rlimit: Some((Resource::RLIMIT_SIGPENDING, 12)),
    one: || {
        let mut all = SigSet::all();
        all.remove(Signal::SIGKILL);
        all.thread_block()?;
        let signal = libc::SIGRTMIN();
        let mut info = [0i32; 32];
        (info[0], info[2]) = (signal, -1);
        let own = std::process::id() as usize;
        call(
            libc::SYS_rt_sigqueueinfo,
            &[own, signal as usize, info.as_ptr() as usize],
        )
        .map(drop)
    },
    full: Errno::EAGAIN,
};

const LOCKED_MEMORY: Kind = Kind {
    limits: &[],
    rlimit: Some((Resource::RLIMIT_MEMLOCK, 65536)),
    one: || {
        let id = call(libc::SYS_shmget, &[0, 16384, 0o600])? as usize;
        call(libc::SYS_shmat, &[id, 0, 0])?;
        let locked = call(libc::SYS_shmctl, &[id, libc::SHM_LOCK as usize, 0]);
        call(libc::SYS_shmctl, &[id, libc::IPC_RMID as usize, 0])?;
        locked.map(drop)
    },
    full: Errno::ENOMEM,
};

const PINNED_MEMORY: Kind = Kind {
    limits: &[],
    rlimit: Some((Resource::RLIMIT_MEMLOCK, 65536)),
    one: || {
        let ring = io_uring::IoUring::new(2)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        let memory = vec![1u8; 16384].leak();
        let buffer = [memory.as_ptr() as usize, memory.len()];
        let fd = ring.as_raw_fd() as usize;
        std::mem::forget(ring);
        call(
            libc::SYS_io_uring_register,
            &[fd, 0, buffer.as_ptr() as usize, 1],
        )
        .map(drop)
    },
    full: Errno::ENOMEM,
};

const PIPES: Kind = Kind {
    limits: &[("fs/pipe-user-pages-hard", "640")],
    rlimit: None,
    one: || {
        let mut fds = [0i32; 2];
        call(libc::SYS_pipe2, &[fds.as_mut_ptr() as usize, 0]).map(drop)
    },
    full: Errno::ENFILE,
};

const IN_FLIGHT: Kind = Kind {
    limits: &[],
    rlimit: Some((Resource::RLIMIT_NOFILE, 40)),
    one: || {
        let (one, two) = pair()?;
        pass(&one, &[0; 16])?;
        std::mem::forget((one, two));
        Ok(())
    },
    full: Errno::ETOOMANYREFS,
};

const USER_NAMESPACES: Kind = Kind {
    limits: &[("user/max_user_namespaces", "6")],
    rlimit: None,
    one: || namespace(libc::CLONE_NEWUSER),
    full: Errno::ENOSPC,
};

const OTHER_NAMESPACES: Kind = Kind {
    limits: &[("user/max_uts_namespaces", "6")],
    rlimit: None,
    one: || namespace(libc::CLONE_NEWUSER | libc::CLONE_NEWUTS),
    full: Errno::ENOSPC,
};

const KEYS: Kind = Kind {
    limits: &[
        ("kernel/keys/root_maxkeys", "40"),
        ("kernel/keys/maxkeys", "40"),
    ],
    rlimit: None,
    one: || {
        let name =
            std::ffi::CString::new(format!("quota-{}", number())).map_err(|_| Errno::EINVAL)?;
        let (kind, name) = (c"user".as_ptr() as usize, name.as_ptr() as usize);
        // KEY_SPEC_PROCESS_KEYRING
        let keyring = -2isize as usize;
        call(
            libc::SYS_add_key,
            &[kind, name, c"x".as_ptr() as usize, 1, keyring],
        )
        .map(drop)
    },
    full: Errno::EDQUOT,
};

const PROCESSES: Kind = Kind {
    limits: &[],
    rlimit: Some((Resource::RLIMIT_NPROC, 12)),
    one: || sit(|| Ok(())),
    full: Errno::EAGAIN,
};

fn number() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed))
}

fn instance() -> Result<usize, Errno> {
    call(libc::SYS_inotify_init1, &[0]).map(|fd| fd as usize)
}

fn watch(instance: usize, path: &std::ffi::CStr) -> Result<i64, Errno> {
    let mask = libc::IN_CREATE as usize;
    call(
        libc::SYS_inotify_add_watch,
        &[instance, path.as_ptr() as usize, mask],
    )
}

/// A group as any user may have it: events name files by handle.
fn group() -> Result<usize, Errno> {
    let flags = libc::FAN_CLASS_NOTIF | libc::FAN_REPORT_FID;
    call(libc::SYS_fanotify_init, &[flags as usize, 0]).map(|fd| fd as usize)
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::Unix,
        SockType::Datagram,
        None,
        SockFlag::SOCK_CLOEXEC,
    )
}

fn pass(socket: &OwnedFd, fds: &[i32]) -> Result<(), Errno> {
    let rights = [ControlMessage::ScmRights(fds)];
    let word = [IoSlice::new(b"!")];
    sendmsg::<()>(socket.as_raw_fd(), &word, &rights, MsgFlags::empty(), None).map(drop)
}

fn receive(socket: &OwnedFd) -> Result<OwnedFd, String> {
    let mut word = [0];
    let mut parts = [IoSliceMut::new(&mut word)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let none = MsgFlags::empty();
    let got =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), none).map_err(words)?;
    for message in got.cmsgs().map_err(words)? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            return Ok(syscalls::own(fds[0]));
        }
    }
    Err("no descriptor".to_string())
}

/// A child that sits until its parent ends, once it has done something.
fn sit(prepare: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let words = syscalls::shared_words()?;
    if syscalls::fork()? == 0 {
        let errno = prepare().err().map_or(0, |errno| errno as u32);
        let _ = set_pdeathsig(Signal::SIGKILL);
        words[0].store(errno + 1, Relaxed);
        if errno == 0 {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
        syscalls::exit_now(0);
    }
    loop {
        match words[0].load(Relaxed) {
            0 => std::thread::yield_now(),
            1 => return Ok(()),
            errno => return Err(Errno::from_raw(errno as i32 - 1)),
        }
    }
}

fn namespace(flags: i32) -> Result<(), Errno> {
    sit(|| call(libc::SYS_unshare, &[flags as usize]).map(drop))
}

/// Limits of the host, until it is dropped.
struct Limits(Vec<(String, String)>);

impl Limits {
    fn new(limits: &[(&str, &str)]) -> Result<Self, String> {
        let mut before = Self(Vec::new());
        for (name, value) in limits {
            let path = format!("/proc/sys/{name}");
            let old = fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
            fs::write(&path, value).map_err(words)?;
            before.0.push((path, old));
        }
        Ok(before)
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for (path, old) in &self.0 {
            let _ = fs::write(path, old);
        }
    }
}

/// Becomes a user without any capability that exceeds limits.
fn become_user(uid: u32) -> Outcome {
    enter(CONTEXT_STAY, 0, SECURE).map_err(words)?;
    if uid != 0 {
        setgid(Gid::from_raw(uid)).map_err(words)?;
        setuid(Uid::from_raw(uid)).map_err(words)?;
    }
    Ok(())
}

impl Kind {
    fn begin(&self) -> Outcome {
        match self.rlimit {
            Some((resource, limit)) => setrlimit(resource, limit, limit).map_err(words),
            None => Ok(()),
        }
    }

    /// Takes as many as there are.
    fn use_up(&self) -> Outcome {
        self.begin()?;
        for _ in 0..100 {
            if let Err(errno) = (self.one)() {
                return equal("in the end", errno, self.full);
            }
        }
        Err("there is no limit".to_string())
    }

    /// Whether a user in a context gets one.
    fn one_in(&self, context: i32, uid: u32) -> Result<Result<(), Errno>, String> {
        let text = child(|| {
            if context != CONTEXT_ROOT {
                enter(context, 0, 0).map_err(words)?;
            }
            become_user(uid)?;
            self.begin()?;
            let errno = (self.one)().err().map_or(0, |errno| errno as i32);
            Ok(errno.to_string())
        })?;
        match text.parse().map_err(words)? {
            0 => Ok(Ok(())),
            errno => Ok(Err(Errno::from_raw(errno))),
        }
    }
}

fn each(kind: &Kind) -> Outcome {
    let _limits = Limits::new(kind.limits)?;
    let root_has_no_limit = matches!(kind.rlimit, Some((Resource::RLIMIT_NPROC, _)));
    let (there, none) = (Ok(Ok(())), Ok(Err(kind.full)));

    for uid in [0, 1000] {
        let full = Sitter::new(CONTEXT_NEW, 0, || {
            become_user(uid)?;
            kind.use_up()
        })
        .map_err(|error| format!("user {uid} inside: {error}"))?;
        equal(
            "in the same context",
            kind.one_in(full.context, uid),
            none.clone(),
        )?;
        equal("on the host", kind.one_in(CONTEXT_ROOT, uid), there.clone())?;
        equal(
            "in another context",
            kind.one_in(CONTEXT_NEW, uid),
            there.clone(),
        )?;
    }

    let full = Sitter::new(CONTEXT_ROOT, 0, || {
        become_user(1000)?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        kind.use_up()
    })
    .map_err(|error| format!("in a user's context: {error}"))?;
    equal(
        "the user outside",
        kind.one_in(CONTEXT_ROOT, 1000),
        none.clone(),
    )?;
    equal(
        "another user",
        kind.one_in(CONTEXT_ROOT, 1001),
        there.clone(),
    )?;
    drop(full);

    let uid = if root_has_no_limit { 1000 } else { 0 };
    let full = Sitter::new(CONTEXT_NEW, 0, || {
        become_user(uid)?;
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        kind.use_up()
    })
    .map_err(|error| format!("in an inner context: {error}"))?;
    equal("in the outer one", kind.one_in(full.context, uid), none)?;
    equal("outside of both", kind.one_in(CONTEXT_ROOT, uid), there)?;
    drop(full);
    until_empty()
}

/// A living context has the limits that the host has now.
fn changed() -> Outcome {
    let full = Sitter::idle(CONTEXT_NEW)?;
    let _limits = Limits::new(&[("fs/inotify/max_user_instances", "3")])?;
    inside(full.context, || {
        for _ in 0..3 {
            instance().map_err(words)?;
        }
        equal("one more", instance(), Err(Errno::EMFILE))
    })
}

/// PRIO_USER finds the processes of a user whom only a context has, for those who see them.
fn priority() -> Outcome {
    let user = Sitter::new(300, 0, || setuid(Uid::from_raw(4711)).map_err(words))?;
    let get = || call(libc::SYS_getpriority, &[libc::PRIO_USER as usize, 4711]).map(drop);
    inside(301, || equal("elsewhere", get(), Err(Errno::ESRCH)))?;
    equal("on the host", get(), Err(Errno::ESRCH))?;
    inside(CONTEXT_SPECTATOR, || equal("the spectator", get(), Ok(())))?;
    drop(user);
    until_empty()
}

/// What counts comes back to zero.
fn thousand() -> Outcome {
    let _limits = Limits::new(&[
        ("fs/inotify/max_user_instances", "8"),
        ("user/max_user_namespaces", "6"),
    ])?;
    for round in 0..1000 {
        child(|| {
            if round % 2 == 0 {
                become_user(1000)?;
            }
            enter(CONTEXT_NEW, 0, 0).map_err(|error| format!("round {round}: {error}"))?;
            instance().map_err(|error| format!("round {round}: {error}"))?;
            Ok(String::new())
        })?;
    }
    until_empty()?;
    // The kernel frees credentials a grace period later, and what they count elsewhere after another one.
    for uid in [0, 1000] {
        let mut tries = 0;
        while let Err(error) = child(|| {
            become_user(uid)?;
            for _ in 0..8 {
                instance().map_err(words)?;
            }
            for _ in 0..6 {
                namespace(libc::CLONE_NEWUSER).map_err(words)?;
            }
            Ok(String::new())
        }) {
            tries += 1;
            ensure(&format!("user {uid}: {error}"), tries < 100)?;
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
    Ok(())
}

/// A descriptor that was passed out of a context still counts there when the module has gone, and later nowhere.
fn leftovers() -> Outcome {
    let mut left = Vec::new();
    for _ in 0..3 {
        // Closed afterwards: sockets go into the network of the context, too, and that holds the module.
        let (here, there) = pair().map_err(words)?;
        inside(CONTEXT_NEW, || {
            let fd = instance().map_err(words)?;
            watch(fd, c"/").map_err(words)?;
            pass(&there, &[fd as i32]).map_err(words)
        })?;
        left.push(receive(&here)?);
        drop((here, there));
        until_empty()?;
        module::reload()?;
        for fd in &left {
            let fd = fd.as_raw_fd() as usize;
            watch(fd, c"/").map_err(words)?;
            // No context is there to count more.
            equal("another watch", watch(fd, c"/tmp"), Err(Errno::ENOSPC))?;
        }
    }
    left.pop();
    module::reload()?;
    drop(left);
    module::reload()
}

const PARAMETER: &str = "/sys/module/vserver/parameters/max_contexts_per_user";

/// The parameter, until it is dropped.
struct Parameter;

impl Parameter {
    fn set(value: &str) -> Result<Self, String> {
        equal(
            "the default",
            fs::read_to_string(PARAMETER).map_err(words)?.trim(),
            "256",
        )?;
        fs::write(PARAMETER, value).map_err(words)?;
        Ok(Self)
    }
}

impl Drop for Parameter {
    fn drop(&mut self) {
        let _ = fs::write(PARAMETER, "256");
    }
}

fn context_of(uid: u32) -> Result<Sitter, String> {
    Sitter::new(CONTEXT_ROOT, 0, || {
        become_user(uid)?;
        enter(CONTEXT_NEW, 0, 0).map(drop).map_err(words)
    })
}

fn contexts() -> Outcome {
    let _parameter = Parameter::set("3")?;
    let too_many = Err(words(Errno::EAGAIN));
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(context_of(1000)?);
    }
    equal("one more", context_of(1000).map(drop), too_many.clone())?;
    drop(context_of(1001)?);
    for _ in 0..4 {
        all.push(Sitter::idle(CONTEXT_NEW)?);
    }
    all.clear();
    until_empty()?;
    drop(context_of(1000)?);

    // In a context all that are inside count together, at any depth.
    let outer = Sitter::idle(300)?;
    let nested = |uid| {
        Sitter::new(300, 0, || {
            become_user(uid)?;
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            enter(CONTEXT_NEW, 0, 0).map(drop).map_err(words)
        })
    };
    all.push(nested(0)?);
    equal("inside", nested(1000).map(drop), too_many)?;
    drop(context_of(1000)?);
    all.clear();
    drop(outer);
    until_empty()
}

fn loopbacks() -> Outcome {
    let _parameter = Parameter::set("3")?;
    let confined = |uid| {
        Sitter::new(CONTEXT_ROOT, 0, || {
            become_user(uid)?;
            confine(&["10.0.0.5"]).map(drop).map_err(words)
        })
    };
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(confined(1000)?);
    }
    equal(
        "one more",
        confined(1000).map(drop),
        Err(words(Errno::EAGAIN)),
    )?;
    drop(confined(1001)?);
    for _ in 0..4 {
        all.push(Sitter::new(CONTEXT_ROOT, 0, || {
            confine(&["10.0.0.5"]).map(drop).map_err(words)
        })?);
    }
    all.clear();
    let mut tries = 0;
    while let Err(error) = confined(1000) {
        tries += 1;
        ensure(&error, tries < 100)?;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}
