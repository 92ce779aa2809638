// SPDX-License-Identifier: GPL-2.0

//! The barrier: a directory with the permission bits 000, for whoever is in a context. Each way that leads
//! somewhere by a path, on several file systems.

use crate::{
    filesystem::{disk, mounted, private_mounts},
    fixture::{child, confine, ensure, enter, equal, inside, words, Outcome, Sitter},
    syscalls::{ioctl, own, syscall},
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

mod handles;
mod mounts;
mod overlays;

pub const TESTS: &[Test] = &[
    test("barrier::host_walks_through", 120, || everywhere(host)),
    test("barrier::walks", 120, || everywhere(walks)),
    test("barrier::changes", 60, || everywhere(changes)),
    test("barrier::mounts", 60, || everywhere(mounts::mounts)),
    test("barrier::mounts_by_descriptor", 60, || {
        everywhere(mounts::by_descriptor)
    }),
    test("barrier::handles", 120, handles::everywhere),
    test("barrier::handles_of_xfs", 60, || on("xfs", handles::of_xfs)),
    test("barrier::from_below", 60, || everywhere(from_below)),
    test("barrier::from_a_chroot", 60, || everywhere(from_a_chroot)),
    test("barrier::others_are_none", 60, || everywhere(others)),
    test("barrier::overlays_work", 60, overlays::writable),
    test("barrier::not_their_work", 60, || {
        on("tmpfs", overlays::not_their_work)
    }),
    test("barrier::snapshots", 60, || on("btrfs", mounts::snapshots)),
    test("barrier::mapped_mounts", 120, || everywhere(mounts::mapped)),
];

const PLACE: &str = "/tmp/barrier";

/// Where the file systems are tried: the barrier is `top/wall`, and behind it `one` and `two`.
pub const TOP: &str = "/tmp/barrier/top";
pub const WALL: &str = "/tmp/barrier/top/wall";
pub const ONE: &str = "/tmp/barrier/top/wall/one";

/// Any context but 0, with every capability.
const INSIDE: [i32; 2] = [100, CONTEXT_SPECTATOR];

/// What a barrier is tried on.
const KINDS: [&str; 5] = ["tmpfs", "overlay", "ext4", "xfs", "btrfs"];

/// An overlay whose files have handles.
const EXPORTED: &str = "overlay,index=on,nfs_export=on";

/// Mounts a file system at `TOP`, for this process alone, after something has been put in its lower layer.
fn place(kind: &str, fill: impl FnOnce() -> Outcome) -> Outcome {
    private_mounts()?;
    fs::create_dir_all(PLACE).map_err(words)?;
    mounted(Some("tmpfs"), PLACE, None, MsFlags::empty(), "mode=755")?;
    for part in ["top", "lower", "upper", "work"] {
        fs::create_dir(format!("{PLACE}/{part}")).map_err(words)?;
    }
    fill()?;
    let mut layers = format!("lowerdir={PLACE}/lower,upperdir={PLACE}/upper,workdir={PLACE}/work");
    let (kind, options) = kind.split_at(kind.find(',').unwrap_or(kind.len()));
    layers += options;
    match kind {
        "overlay" => mounted(Some(kind), TOP, None, MsFlags::empty(), &layers),
        "tmpfs" => mounted(Some(kind), TOP, None, MsFlags::empty(), "mode=755"),
        kind => disk(kind, TOP),
    }
}

/// Runs something with a barrier on each kind of file system.
fn everywhere(run: fn() -> Outcome) -> Outcome {
    KINDS.into_iter().try_for_each(|kind| on(kind, run))
}

/// Runs something with a barrier on one.
pub fn on(kind: &str, run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        place(kind, || Ok(()))?;
        for name in ["one", "two"] {
            fs::create_dir_all(format!("{WALL}/{name}/folder")).map_err(words)?;
            fs::write(format!("{WALL}/{name}/file"), name).map_err(words)?;
        }
        fs::set_permissions(WALL, Permissions::from_mode(0o000)).map_err(words)?;
        run().map(|()| String::new())
    })
    .map(drop)
    .map_err(|text| format!("{kind}: {text}"))
}

pub fn try_mount(
    kind: Option<&str>,
    target: &str,
    source: Option<&str>,
    flags: MsFlags,
    data: &str,
) -> Result<(), Errno> {
    mount(source.or(kind), target, kind, flags, Some(data))
}

pub fn refused<T>(what: &str, got: Result<T, std::io::Error>) -> Outcome {
    let got = got.map(drop).map_err(|error| error.raw_os_error());
    equal(what, got, Err(Some(libc::EACCES)))
}

pub fn denied<T>(what: &str, got: Result<T, Errno>) -> Outcome {
    equal(what, got.map(drop), Err(Errno::EACCES))
}

pub fn path_fd(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
}

pub fn open_at(at: &impl AsFd, path: &str, flags: OFlag) -> Result<OwnedFd, Errno> {
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
