// SPDX-License-Identifier: GPL-2.0

//! The barrier: a directory with the permission bits 000, for whoever is in a context. Each way that leads
//! somewhere by a path, on several file systems.

use crate::{
    fixture::{child, confine, ensure, enter, equal, inside, words, Outcome},
    syscalls::{own, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    mount::{mount, umount2, MntFlags, MsFlags},
    sys::stat::Mode,
    unistd::{chdir, chroot, fchdir},
};
use std::{
    ffi::CString,
    fs::{self, Permissions},
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("barrier::host_walks_through", 60, || everywhere(host)),
    test("barrier::walks", 60, || everywhere(walks)),
    test("barrier::changes", 60, || everywhere(changes)),
    test("barrier::mounts", 60, || everywhere(mounts)),
    test("barrier::handles", 60, || everywhere(handles)),
    test("barrier::from_below", 60, || everywhere(from_below)),
    test("barrier::from_a_chroot", 60, || everywhere(from_a_chroot)),
    test("barrier::others_are_none", 60, || everywhere(others)),
    test("barrier::overlays_work", 60, overlays_work),
];

const PLACE: &str = "/tmp/barrier";

/// Where the file systems are tried: the barrier is `top/wall`, and behind it `one` and `two`.
const TOP: &str = "/tmp/barrier/top";
const WALL: &str = "/tmp/barrier/top/wall";
const ONE: &str = "/tmp/barrier/top/wall/one";

/// Any context but 0, with every capability.
const INSIDE: [i32; 2] = [100, CONTEXT_SPECTATOR];

/// Mounts a file system at `TOP`, for this process alone, after something has been put in its lower layer.
fn place(kind: &str, fill: impl FnOnce() -> Outcome) -> Outcome {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(words)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mounted(None, "/", None, private, "")?;
    fs::create_dir_all(PLACE).map_err(words)?;
    mounted(Some("tmpfs"), PLACE, None, MsFlags::empty(), "mode=755")?;
    for part in ["top", "lower", "upper", "work"] {
        fs::create_dir(format!("{PLACE}/{part}")).map_err(words)?;
    }
    fill()?;
    let layers = format!("lowerdir={PLACE}/lower,upperdir={PLACE}/upper,workdir={PLACE}/work");
    let data = if kind == "overlay" {
        &layers
    } else {
        "mode=755"
    };
    mounted(Some(kind), TOP, None, MsFlags::empty(), data)
}

/// Runs something with a barrier on each kind of file system.
fn everywhere(run: fn() -> Outcome) -> Outcome {
    for kind in ["tmpfs", "overlay"] {
        child(|| {
            place(kind, || Ok(()))?;
            for name in ["one", "two"] {
                fs::create_dir_all(format!("{WALL}/{name}/folder")).map_err(words)?;
                fs::write(format!("{WALL}/{name}/file"), name).map_err(words)?;
            }
            fs::set_permissions(WALL, Permissions::from_mode(0o000)).map_err(words)?;
            run().map(|()| String::new())
        })
        .map_err(|text| format!("{kind}: {text}"))?;
    }
    Ok(())
}

fn mounted(
    kind: Option<&str>,
    target: &str,
    source: Option<&str>,
    flags: MsFlags,
    data: &str,
) -> Outcome {
    try_mount(kind, target, source, flags, data)
        .map_err(|errno| format!("mounting {kind:?} on {target}: {errno}"))
}

fn try_mount(
    kind: Option<&str>,
    target: &str,
    source: Option<&str>,
    flags: MsFlags,
    data: &str,
) -> Result<(), Errno> {
    mount(source.or(kind), target, kind, flags, Some(data))
}

fn refused<T>(what: &str, got: Result<T, std::io::Error>) -> Outcome {
    let got = got.map(drop).map_err(|error| error.raw_os_error());
    equal(what, got, Err(Some(libc::EACCES)))
}

fn denied<T>(what: &str, got: Result<T, Errno>) -> Outcome {
    equal(what, got.map(drop), Err(Errno::EACCES))
}

fn path_fd(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

fn open_at(at: &impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
    nix::fcntl::openat(at, path, flags | OFlag::O_CLOEXEC, Mode::empty())
}

/// openat2 from the working directory.
fn open_with(path: &str, resolve: u64) -> Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let how = [libc::O_PATH as u64, 0, resolve];
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        how.as_ptr() as usize,
        size_of_val(&how),
        0,
        0,
    ];
    syscall(libc::SYS_openat2, arguments).map(|fd| own(fd as i32))
}

/// Context 0 is not concerned, also when it is confined to addresses.
fn host() -> Outcome {
    let all = || {
        equal(
            "list",
            fs::read_dir(WALL).map(Iterator::count).ok(),
            Some(2),
        )?;
        equal(
            "read",
            fs::read_to_string(format!("{ONE}/file")).ok().as_deref(),
            Some("one"),
        )?;
        chdir(WALL).map_err(words)?;
        equal(
            "from there",
            fs::read_to_string("two/file").ok().as_deref(),
            Some("two"),
        )
    };
    child(|| all().map(|()| String::new()))?;
    child(|| {
        confine(&["10.77.0.5"]).map_err(words)?;
        all().map(|()| String::new())
    })
    .map(drop)
}

fn walks() -> Outcome {
    for context in INSIDE {
        inside(context, || {
            // That it is there is no secret.
            equal(
                "stat",
                fs::metadata(WALL).map(|data| data.is_dir()).ok(),
                Some(true),
            )?;
            refused("list", fs::read_dir(WALL))?;
            for below in [
                "one",
                "one/file",
                "one/folder",
                "none",
                "..",
                ".",
                "one/../two",
            ] {
                let path = format!("{WALL}/{below}");
                refused(&format!("stat {below}"), fs::metadata(&path))?;
                refused(&format!("lstat {below}"), fs::symlink_metadata(&path))?;
                denied(&format!("O_PATH {below}"), path_fd(&path))?;
                denied(&format!("chdir {below}"), chdir(path.as_str()))?;
                denied(&format!("chroot {below}"), chroot(path.as_str()))?;
                let write = OFlag::O_WRONLY | OFlag::O_CREAT;
                denied(
                    &format!("create {below}"),
                    open(path.as_str(), write, Mode::S_IRWXU),
                )?;
            }
            denied("chdir", chdir(WALL))?;
            denied("chroot", chroot(WALL))?;
            let top = path_fd(TOP).map_err(words)?;
            fchdir(&top).map_err(words)?;
            // RESOLVE_NO_XDEV, NO_MAGICLINKS, NO_SYMLINKS, BENEATH, IN_ROOT, CACHED.
            for resolve in [0, 1, 2, 4, 8, 16, 32] {
                let got = open_with("wall/one", resolve).map(drop).map_err(|errno| {
                    // Not in the cache, or not known to be.
                    if resolve == 32 && errno == Errno::EAGAIN {
                        Errno::EACCES
                    } else {
                        errno
                    }
                });
                denied(&format!("openat2 with {resolve}"), got)?;
            }
            // A descriptor of the wall itself is no way through.
            let wall = path_fd(WALL).map_err(words)?;
            denied("openat", open_at(&wall, "one", OFlag::O_PATH))?;
            denied("openat ..", open_at(&wall, "..", OFlag::O_PATH))?;
            denied("openat .", open_at(&wall, ".", OFlag::O_RDONLY))?;
            denied("fchdir", fchdir(&wall))?;
            let again = format!("/proc/self/fd/{}", wall.as_raw_fd());
            refused("by the link", fs::read_dir(&again))?;
            refused("through the link", fs::metadata(format!("{again}/one")))?;
            denied("chroot by the link", chroot(again.as_str()))?;
            refused(
                "execute",
                std::process::Command::new(format!("{ONE}/file")).status(),
            )
        })?;
    }
    Ok(())
}

fn changes() -> Outcome {
    for context in INSIDE {
        inside(context, || {
            let (file, other) = (format!("{ONE}/file"), format!("{TOP}/other"));
            fs::write(&other, "other").map_err(words)?;
            refused("rename out", fs::rename(ONE, format!("{TOP}/x")))?;
            refused("rename in", fs::rename(&other, format!("{WALL}/x")))?;
            refused("rename inside", fs::rename(&file, format!("{ONE}/x")))?;
            refused("link out", fs::hard_link(&file, format!("{TOP}/x")))?;
            refused("link in", fs::hard_link(&other, format!("{WALL}/x")))?;
            refused("unlink", fs::remove_file(&file))?;
            refused("mkdir", fs::create_dir(format!("{WALL}/x")))?;
            refused(
                "symlink",
                std::os::unix::fs::symlink("x", format!("{WALL}/x")),
            )?;
            refused("truncate", fs::File::options().write(true).open(&file))?;
            // A link from outside is not followed through it either.
            let link = format!("{TOP}/link{context}");
            std::os::unix::fs::symlink("wall/one/file", &link).map_err(words)?;
            refused("by a symbolic link", fs::read(&link))?;
            fs::remove_file(&link).map_err(words)?;
            // And it stays what it is.
            for mode in [0o755, 0o700, 0o001, 0o1000] {
                let got = fs::set_permissions(WALL, Permissions::from_mode(mode));
                let got = got.map_err(|error| error.raw_os_error());
                equal("chmod", got, Err(Some(libc::EPERM)))?;
            }
            let wall = path_fd(WALL).map_err(words)?;
            let by_fd = format!("/proc/self/fd/{}", wall.as_raw_fd());
            let got = fs::set_permissions(by_fd, Permissions::from_mode(0o755));
            equal("by a descriptor", got.is_err(), true)?;
            equal("access control list", set_acl(WALL), Err(Errno::EPERM))?;
            // Whose it is does not matter.
            let _ = std::os::unix::fs::chown(WALL, Some(1000), Some(1000));
            refused("after chown", fs::read_dir(WALL))?;
            std::os::unix::fs::chown(WALL, Some(0), Some(0)).map_err(words)?;
            refused("at last", fs::read_dir(WALL))
        })?;
        let mode = fs::metadata(WALL).map_err(words)?.permissions().mode();
        equal("mode", mode & 0o7777, 0)?;
    }
    Ok(())
}

/// user::rwx, user:0:rwx, group::rwx, mask::rwx, other::rwx
fn set_acl(path: &str) -> Result<(), Errno> {
    let mut acl = vec![2u8, 0, 0, 0];
    for (tag, id) in [
        (1u16, u32::MAX),
        (2, 0),
        (4, u32::MAX),
        (16, u32::MAX),
        (32, u32::MAX),
    ] {
        acl.extend(tag.to_le_bytes());
        acl.extend(7u16.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let name = c"system.posix_acl_access";
    let arguments = [
        path.as_ptr() as usize,
        name.as_ptr() as usize,
        acl.as_ptr() as usize,
        acl.len(),
        0,
        0,
    ];
    syscall(libc::SYS_setxattr, arguments).map(drop)
}

fn mounts() -> Outcome {
    // On the host the list could be set, or the refusal inside would prove nothing.
    fs::create_dir(format!("{TOP}/free")).map_err(words)?;
    equal(
        "access control list",
        set_acl(&format!("{TOP}/free")),
        Ok(()),
    )?;
    inside(100, || {
        let free = format!("{TOP}/free");
        let (bind, none) = (MsFlags::MS_BIND, MsFlags::empty());
        denied("on it", try_mount(Some("tmpfs"), WALL, None, none, ""))?;
        denied("bind on it", try_mount(None, WALL, Some(&free), bind, ""))?;
        denied(
            "bind from below",
            try_mount(None, &free, Some(ONE), bind, ""),
        )?;
        // Seen from somewhere else it is the same wall.
        mounted(None, &free, Some(WALL), bind, "")?;
        refused("bound", fs::read_dir(&free))?;
        refused("through it", fs::metadata(format!("{free}/one")))?;
        umount2(free.as_str(), MntFlags::MNT_DETACH).map_err(words)?;
        let up = format!("{PLACE}/up");
        for part in [&up, &format!("{PLACE}/up/u"), &format!("{PLACE}/up/w")] {
            fs::create_dir(part).map_err(words)?;
        }
        let layers = format!("lowerdir={WALL},upperdir={up}/u,workdir={up}/w");
        if try_mount(Some("overlay"), &free, None, none, &layers).is_ok() {
            let listed = fs::read_dir(&free).map(|list| list.flatten().count());
            ensure("a layer of another", matches!(listed, Err(_) | Ok(0)))?;
            ensure("through it", fs::read(format!("{free}/one/file")).is_err())?;
            umount2(free.as_str(), MntFlags::MNT_DETACH).map_err(words)?;
        }
        // Below a layer in which it is open.
        fs::create_dir(format!("{up}/u/wall")).map_err(words)?;
        let layers = format!("lowerdir={TOP},upperdir={up}/u,workdir={up}/w");
        if try_mount(Some("overlay"), &free, None, none, &layers).is_ok() {
            let through = fs::read(format!("{free}/wall/one/file"));
            ensure("through an open one", through.is_err())?;
            let listed = fs::read_dir(format!("{free}/wall")).map(|list| list.flatten().count());
            ensure("an open one", matches!(listed, Err(_) | Ok(0)))?;
            // The overlay itself works.
            fs::create_dir_all(format!("{up}/u/made")).map_err(words)?;
            umount2(free.as_str(), MntFlags::MNT_DETACH).map_err(words)?;
        }
        Ok(())
    })
}

/// name_to_handle_at: a handle and the mount's number.
fn handle_of(path: &str) -> Result<[u8; 136], Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let mut handle = [0u8; 136];
    handle[0] = 128;
    let mut mount = 0i32;
    let arguments = [
        libc::AT_FDCWD as usize,
        path.as_ptr() as usize,
        handle.as_mut_ptr() as usize,
        std::ptr::from_mut(&mut mount) as usize,
        0,
        0,
    ];
    syscall(libc::SYS_name_to_handle_at, arguments).map(|_| handle)
}

fn open_handle(at: &OwnedFd, handle: &[u8; 136]) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDONLY as usize;
    let arguments = [
        at.as_raw_fd() as usize,
        handle.as_ptr() as usize,
        flags,
        0,
        0,
        0,
    ];
    syscall(libc::SYS_open_by_handle_at, arguments).map(|fd| own(fd as i32))
}

/// A handle, which can be guessed, opens nothing inside.
fn handles() -> Outcome {
    let path = format!("{ONE}/file");
    let Ok(handle) = handle_of(&path) else {
        // Overlays have handles only when they are told to.
        return Ok(());
    };
    let top = fs::File::open(TOP).map_err(words)?;
    let top = OwnedFd::from(top);
    open_handle(&top, &handle).map_err(|errno| format!("on the host: {errno}"))?;
    for context in INSIDE {
        inside(context, || {
            denied("name_to_handle_at", handle_of(&path))?;
            let got = open_handle(&top, &handle).map(drop);
            equal("open_by_handle_at", got, Err(Errno::ESTALE))
        })?;
    }
    Ok(())
}

/// From a place behind it there is no way up.
fn from_below() -> Outcome {
    for context in INSIDE {
        for start in [ONE, "/tmp/barrier/top/wall/one/folder"] {
            child(|| {
                chdir(start).map_err(words)?;
                enter(context, 0, 0).map_err(words)?;
                let up = if start == ONE { ".." } else { "../.." };
                // The wall itself can be named, as from outside.
                fs::metadata(up).map_err(words)?;
                for beyond in ["..", ".", "two", "two/file", "../.."] {
                    let path = format!("{up}/{beyond}");
                    refused(&format!("{start}: {path}"), fs::metadata(&path))?;
                    denied(&format!("{start}: chdir {path}"), chdir(path.as_str()))?;
                }
                denied("chdir", chdir(up))?;
                let wall = path_fd(up).map_err(words)?;
                denied("fchdir", fchdir(&wall))?;
                denied("openat", open_at(&wall, "..", OFlag::O_PATH))?;
                denied("openat", open_at(&wall, "two", OFlag::O_PATH))?;
                let got = fs::set_permissions(up, Permissions::from_mode(0o755));
                equal(
                    "chmod",
                    got.map_err(|error| error.raw_os_error()),
                    Err(Some(libc::EPERM)),
                )?;
                // What is below is his.
                fs::metadata(".").map_err(words)?;
                Ok(String::new())
            })
            .map_err(|text| format!("in context {context}: {text}"))?;
        }
    }
    Ok(())
}

/// Whether the way out of a chroot that every root knows ends in the root of the machine.
fn breaks_out() -> Result<bool, String> {
    chroot(ONE).map_err(words)?;
    chdir("/").map_err(words)?;
    equal("inside", Path::new("/file").exists(), true)?;
    let outside = path_fd(".").map_err(words)?;
    fs::create_dir_all("/folder").map_err(words)?;
    chroot("/folder").map_err(words)?;
    fchdir(&outside).map_err(words)?;
    for _ in 0..64 {
        if chdir("..").is_err() {
            break;
        }
    }
    Ok(chroot(".").is_ok() && Path::new(WALL).exists())
}

/// It works for who is not in a context, and for who is in one it ends at the wall.
fn from_a_chroot() -> Outcome {
    let out = child(|| breaks_out().map(|out| out.to_string()))?;
    equal("without a context", out.as_str(), "true")?;
    // Entered from behind the wall, as a vserver is.
    let out = child(|| {
        let held = path_fd(ONE).map_err(words)?;
        fchdir(&held).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        chroot(".").map_err(words)?;
        fs::create_dir_all("/folder").map_err(words)?;
        let outside = path_fd("/").map_err(words)?;
        chroot("/folder").map_err(words)?;
        fchdir(&outside).map_err(words)?;
        let mut steps = 0;
        while steps < 64 && chdir("..").is_ok() {
            steps += 1;
        }
        equal("steps", steps, 0)?;
        denied("two", path_fd("../two"))?;
        denied("beyond", path_fd("../.."))?;
        Ok(String::new())
    });
    out.map(drop)
}

/// An overlay has a directory of that mode for itself: who is inside writes to it as ever.
fn overlays_work() -> Outcome {
    child(|| {
        place("overlay", || {
            fs::create_dir(format!("{PLACE}/lower/folder")).map_err(words)?;
            for file in ["file", "gone", "folder/file"] {
                fs::write(format!("{PLACE}/lower/{file}"), "x").map_err(words)?;
            }
            Ok(())
        })?;
        inside(100, || {
            fs::write(format!("{TOP}/file"), "copied up").map_err(words)?;
            fs::write(format!("{TOP}/folder/file"), "too").map_err(words)?;
            fs::remove_file(format!("{TOP}/gone")).map_err(words)?;
            fs::write(format!("{TOP}/gone"), "back").map_err(words)?;
            fs::create_dir(format!("{TOP}/folder/new")).map_err(words)?;
            // By its own path it is a barrier like any other.
            refused(
                "the work",
                fs::read_dir(Path::new(PLACE).join("work").join("work")),
            )
        })?;
        Ok(String::new())
    })
    .map(drop)
}

/// Only 000 is a barrier: root inside is root in all other directories.
fn others() -> Outcome {
    let other = format!("{TOP}/closed");
    fs::create_dir(&other).map_err(words)?;
    fs::write(format!("{other}/file"), "x").map_err(words)?;
    std::os::unix::fs::chown(&other, Some(1000), Some(1000)).map_err(words)?;
    for mode in [0o100, 0o001, 0o400, 0o700] {
        fs::set_permissions(&other, Permissions::from_mode(mode)).map_err(words)?;
        inside(100, || {
            fs::read(format!("{other}/file")).map_err(|error| format!("{mode:o}: {error}"))?;
            fs::read_dir(&other)
                .map(drop)
                .map_err(|error| format!("{mode:o}: {error}"))
        })?;
    }
    // A file of that mode is none either.
    let file = format!("{TOP}/none");
    fs::write(&file, "x").map_err(words)?;
    fs::set_permissions(&file, Permissions::from_mode(0o000)).map_err(words)?;
    inside(100, || {
        fs::read(&file).map_err(words)?;
        fs::set_permissions(&file, Permissions::from_mode(0o600)).map_err(words)?;
        // One that is made inside stops who has made it, too; it can be removed.
        let made = format!("{TOP}/made");
        fs::create_dir(&made).map_err(words)?;
        fs::set_permissions(&made, Permissions::from_mode(0o000)).map_err(words)?;
        refused("one's own", fs::read_dir(&made))?;
        fs::remove_dir(&made).map_err(words)
    })
}
