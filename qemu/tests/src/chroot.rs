// SPDX-License-Identifier: GPL-2.0

//! Changing the root: withheld, and what else changes it. Nothing of it leads past a barrier, out of the
//! addresses or above the capability ceiling.

use crate::{
    barrier::{denied, on, open_at, path_fd, refused, try_mount, ONE, TOP, WALL},
    fixture::{child, confine, ensure, enter, equal, inside, words, Outcome, Sitter},
    inet::{addresses, A, B},
    syscalls::{own, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    mount::MsFlags,
    sched::{setns, unshare, CloneFlags},
    sys::{
        socket::{socket, AddressFamily, SockFlag, SockProtocol, SockType},
        stat::{makedev, mknod, Mode, SFlag},
    },
    unistd::{chdir, chroot, fchdir, getpid},
};
use std::{
    fs::{self, File},
    net::TcpListener,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("chroot::withheld", 30, withheld),
    test("chroot::withheld_from_all_ways", 60, || {
        on("tmpfs", all_ways)
    }),
    test("chroot::no_other_root_by_setns", 60, || {
        on("tmpfs", other_root)
    }),
    test("chroot::no_user_namespaces_below", 60, || {
        on("tmpfs", below)
    }),
    test("chroot::user_namespaces_lead_nowhere", 60, || {
        on("tmpfs", user_namespaces)
    }),
];

const CAP_SYS_CHROOT: u64 = 1 << 18;
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// UNSHARE_EMPTY_MNTNS
const EMPTY: usize = 0x0010_0000;

fn own_mounts() -> Result<File, String> {
    File::open("/proc/self/ns/mnt").map_err(words)
}

/// In a new context, without these capabilities.
fn without(capabilities: u64, run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        enter(CONTEXT_NEW, 0, capabilities).map_err(words)?;
        run().map(|()| String::new())
    })
    .map(drop)
}

fn withheld() -> Outcome {
    without(0, || equal("with it", chroot("/tmp"), Ok(())))?;
    without(CAP_SYS_CHROOT, || {
        equal("without it", chroot("/tmp"), Err(Errno::EPERM))?;
        equal("once more", chroot("/"), Err(Errno::EPERM))
    })?;
    // Whoever joins has it no more than who was first.
    let first = Sitter::new(CONTEXT_ROOT, 0, || {
        enter(300, 0, CAP_SYS_CHROOT).map(drop).map_err(words)
    })?;
    let joined = inside(300, || {
        equal("who joins", chroot("/tmp"), Err(Errno::EPERM))
    });
    drop(first);
    joined
}

/// A system call with a path for the second argument.
fn with_path(
    call: i64,
    first: usize,
    path: &std::ffi::CStr,
    rest: [usize; 3],
) -> Result<i64, Errno> {
    let [a, b, c] = rest;
    syscall(call, [first, path.as_ptr() as usize, a, b, c, 0])
}

const HERE: usize = libc::AT_FDCWD as usize;

/// OPEN_TREE_CLONE
const CLONE: usize = 1;

/// The tree from a directory on, as a mount of its own.
fn clone_tree(path: &std::ffi::CStr) -> Result<OwnedFd, Errno> {
    with_path(libc::SYS_open_tree, HERE, path, [CLONE, 0, 0]).map(|fd| own(fd as i32))
}

/// A way to another root or another tree; what is handed to it are the mounts of before.
type Way = fn(&File) -> Result<(), Errno>;

const WAYS: [(&str, Way); 9] = [
    ("chroot", |_| chroot("/tmp")),
    ("unshare", |_| unshare(CloneFlags::CLONE_NEWNS)),
    ("unshare into nothing", |_| {
        syscall(libc::SYS_unshare, [EMPTY, 0, 0, 0, 0, 0]).map(drop)
    }),
    ("setns", |mounts| setns(mounts, CloneFlags::CLONE_NEWNS)),
    ("mount", |_| {
        try_mount(Some("tmpfs"), TOP, None, MsFlags::empty(), "")
    }),
    ("pivot_root", |_| {
        // A tree that can become the root; without the right to make one the answer is the same.
        let _ = unshare(CloneFlags::CLONE_NEWNS);
        let _ = try_mount(Some("tmpfs"), TOP, None, MsFlags::empty(), "");
        chdir(TOP)?;
        nix::unistd::pivot_root(".", ".")
    }),
    ("fsopen", |_| {
        let kind = c"tmpfs".as_ptr() as usize;
        syscall(libc::SYS_fsopen, [kind, 0, 0, 0, 0, 0]).map(|fd| drop(own(fd as i32)))
    }),
    ("open_tree", |_| clone_tree(c"/tmp").map(drop)),
    ("move_mount", |_| {
        // Whose mount it is, is asked last.
        let tree = path_fd(TOP)?;
        let from = c"".as_ptr() as usize;
        let to = c"/tmp/barrier/lower".as_ptr() as usize;
        // MOVE_MOUNT_F_EMPTY_PATH
        let arguments = [tree.as_raw_fd() as usize, from, HERE, to, 4, 0];
        syscall(libc::SYS_move_mount, arguments).map(drop)
    }),
];

/// With CAP_SYS_ADMIN there are more ways than chroot(), so both are to be given up.
fn all_ways() -> Outcome {
    for (name, way) in WAYS {
        without(0, || {
            let got = way(&own_mounts()?);
            ensure(&format!("{name}: {got:?}"), got != Err(Errno::EPERM))
        })?;
        without(CAP_SYS_CHROOT | CAP_SYS_ADMIN, || {
            equal(name, way(&own_mounts()?), Err(Errno::EPERM))
        })?;
    }
    Ok(())
}

/// Whether the root is now that of the machine.
fn is_outside() -> bool {
    Path::new(WALL).exists()
}

/// A mount namespace has a root, and who goes into it goes there: for who is in a changed root, past all
/// that is between.
fn other_root() -> Outcome {
    let ways: [(&str, Way); 5] = [
        ("its own", |mounts| setns(mounts, CloneFlags::CLONE_NEWNS)),
        ("by the process", |_| {
            let pid = getpid().as_raw() as usize;
            let process = syscall(libc::SYS_pidfd_open, [pid, 0, 0, 0, 0, 0])?;
            setns(own(process as i32), CloneFlags::CLONE_NEWNS)
        }),
        ("a copy", |_| {
            unshare(CloneFlags::CLONE_NEWNS)?;
            let copy = File::open("/proc/self/ns/mnt").map_err(|_| Errno::ENOENT)?;
            setns(copy, CloneFlags::CLONE_NEWNS)
        }),
        ("from nothing", |mounts| {
            syscall(libc::SYS_unshare, [EMPTY, 0, 0, 0, 0, 0])?;
            setns(mounts, CloneFlags::CLONE_NEWNS)
        }),
        // OPEN_TREE_NAMESPACE: what is below, with nothing above.
        ("a new one", |mounts| {
            let tree = with_path(libc::SYS_open_tree, HERE, c"/", [2, 0, 0])?;
            setns(own(tree as i32), CloneFlags::CLONE_NEWNS)?;
            setns(mounts, CloneFlags::CLONE_NEWNS)
        }),
    ];
    for (name, way) in ways {
        let run = |context: i32| {
            child(|| {
                let mounts = own_mounts()?;
                let held = path_fd(ONE).map_err(words)?;
                fs::create_dir_all(format!("{ONE}/proc")).map_err(words)?;
                let proc = format!("{ONE}/proc");
                try_mount(Some("proc"), &proc, None, MsFlags::empty(), "").map_err(words)?;
                fchdir(&held).map_err(words)?;
                if context != CONTEXT_ROOT {
                    enter(context, 0, 0).map_err(words)?;
                }
                chroot(".").map_err(words)?;
                let got = way(&mounts);
                Ok(format!("{got:?} {}", is_outside()))
            })
            .map_err(|text| format!("{name}, context {context}: {text}"))
        };
        equal(name, run(CONTEXT_ROOT)?.as_str(), "Ok(()) true")?;
        equal(name, run(300)?.as_str(), "Err(EPERM) false")?;
    }
    Ok(())
}

/// Where the root is another one than that of the mounts, the kernel makes no user namespace.
fn below() -> Outcome {
    for context in [CONTEXT_ROOT, 300] {
        let run = |change: bool| {
            child(|| {
                chdir(ONE).map_err(words)?;
                if context != CONTEXT_ROOT {
                    enter(context, 0, 0).map_err(words)?;
                }
                if change {
                    chroot(".").map_err(words)?;
                }
                Ok(format!("{:?}", unshare(CloneFlags::CLONE_NEWUSER)))
            })
        };
        equal("in the machine's root", run(false)?.as_str(), "Ok(())")?;
        equal("below", run(true)?.as_str(), "Err(EPERM)")?;
    }
    Ok(())
}

/// Goes into a user namespace, as root there, and a mount namespace of it.
fn all_capabilities() -> Outcome {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(words)?;
    fs::write("/proc/self/setgroups", "deny").map_err(words)?;
    fs::write("/proc/self/uid_map", "0 0 1").map_err(words)?;
    fs::write("/proc/self/gid_map", "0 0 1").map_err(words)
}

/// There a process has all capabilities, over what is made there.
fn user_namespaces() -> Outcome {
    addresses()?;
    // Without a context the wall is none.
    child(|| {
        all_capabilities()?;
        fs::read_dir(WALL).map(drop).map_err(words)?;
        Ok(String::new())
    })?;
    // The right to set a file's capabilities is asked for when a namespace has a root.
    let kept = 1 << 31;
    child(|| {
        confine(&[A]).map_err(words)?;
        enter(300, 0, ((1 << 41) - 1) & !kept).map_err(words)?;
        let parent = File::open("/proc/self/ns/user").map_err(words)?;
        let mounts = own_mounts()?;
        equal("before", chroot("/tmp"), Err(Errno::EPERM))?;
        all_capabilities()?;
        child(|| {
            equal("there", chroot("/tmp"), Ok(()))?;
            Ok(String::new())
        })?;
        // The barrier.
        walled(WALL)?;
        for (from, to) in [(TOP, "/mnt"), (TOP, "/tmp/barrier/lower"), ("/", "/mnt")] {
            let _ = fs::create_dir_all(to);
            let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
            try_mount(None, to, Some(from), bind, "").map_err(words)?;
            let below = WALL.strip_prefix(from).unwrap_or_default();
            walled(&format!("{to}/{}", below.trim_start_matches('/')))?;
        }
        let tmpfs = try_mount(Some("tmpfs"), WALL, None, MsFlags::empty(), "");
        denied("on it", tmpfs)?;
        let tree = clone_tree(c"/tmp/barrier/top").map_err(words)?;
        denied(
            "in a clone",
            open_at(&tree, "wall/one", nix::fcntl::OFlag::O_PATH),
        )?;
        child(|| {
            chroot(TOP).map_err(words)?;
            chdir("/").map_err(words)?;
            walled("/wall")?;
            Ok(String::new())
        })?;
        // The addresses.
        TcpListener::bind((A, 0)).map_err(words)?;
        let foreign = TcpListener::bind((B, 0)).map(drop);
        let foreign = foreign.map_err(|error| error.raw_os_error());
        equal("an address", foreign, Err(Some(libc::EADDRNOTAVAIL)))?;
        let raw = |family, kind| {
            let protocol: Option<SockProtocol> = None;
            socket(family, kind, SockFlag::empty(), protocol).map(drop)
        };
        equal(
            "a packet socket",
            raw(AddressFamily::Packet, SockType::Raw),
            Err(Errno::EPERM),
        )?;
        // The ceiling.
        let device = mknod("/tmp/node", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5));
        equal("a device", device, Err(Errno::EPERM))?;
        let entered = enter(301, 0, 0).map(drop);
        equal("another context", entered, Err(Errno::EPERM))?;
        let reboot = syscall(
            libc::SYS_reboot,
            [0xfee1_dead, 0x2812_1969, 0x89ab_cdef, 0, 0, 0],
        );
        equal("Ctrl-Alt-Del", reboot.map(drop), Err(Errno::EPERM))?;
        // There is no way back.
        let back = setns(parent, CloneFlags::CLONE_NEWUSER);
        equal("the namespace before", back, Err(Errno::EPERM))?;
        let back = setns(mounts, CloneFlags::CLONE_NEWNS);
        equal("the mounts before", back, Err(Errno::EPERM))?;
        Ok(String::new())
    })
    .map(drop)
}

/// Fails unless a barrier stops the caller.
fn walled(wall: &str) -> Outcome {
    refused(wall, fs::read_dir(wall))?;
    refused(wall, fs::metadata(format!("{wall}/one")))?;
    refused(wall, fs::read(format!("{wall}/one/file")))?;
    denied(wall, chroot(wall))
}
