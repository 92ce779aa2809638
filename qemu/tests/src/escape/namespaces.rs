// SPDX-License-Identifier: GPL-2.0

//! Namespaces: back into the machine's, and new ones in which root can do more.

use super::*;
use crate::{syscalls::own, test, visibility::call};
use nix::{
    fcntl::{open, OFlag},
    mount::{umount2, MntFlags},
    sched::setns,
    unistd::{pivot_root, read, write},
};
use std::os::fd::AsRawFd;

pub const TESTS: &[Test] = &[
    test("escape::namespace_before_this_one", 60, || {
        pivoted(before_this)
    }),
    test("escape::namespace_by_its_handle", 60, || pivoted(by_handle)),
];

escapes! {
    setns_to_the_namespace_one_is_in: secure EPERM whole EPERM, |_| {
        // Its root is the host's.
        setns(file("/proc/self/ns/mnt")?, CloneFlags::CLONE_NEWNS)?;
        read_secret(SECRET)
    };
    setns_to_a_new_namespace: secure EPERM whole EPERM, |_| {
        // Of a copy as well.
        unshare(CloneFlags::CLONE_NEWNS)?;
        setns(file("/proc/self/ns/mnt")?, CloneFlags::CLONE_NEWNS)?;
        read_secret(SECRET)
    };
    setns_from_an_empty_namespace: secure EPERM whole EPERM, |_| {
        // Made by UNSHARE_EMPTY_MNTNS: there one is at the root, so that nobody finds a chroot.
        let before = file("/proc/self/ns/mnt")?;
        call(libc::SYS_unshare, &[0x0010_0000])?;
        setns(before, CloneFlags::CLONE_NEWNS)?;
        read_secret(SECRET)
    };
    setns_of_a_process: secure ENOENT whole ENOENT, |outside| {
        let path = format!("/proc/{}/ns/mnt", outside.pid);
        setns(file(&path)?, CloneFlags::CLONE_NEWNS)?;
        read_secret(SECRET)
    };
    setns_by_pidfd: secure ESRCH whole ESRCH, |outside| {
        let process = own(call(libc::SYS_pidfd_open, &[outside.pid, 0])? as i32);
        setns(process, CloneFlags::CLONE_NEWNS)?;
        read_secret(SECRET)
    };
    user_namespace: secure EACCES whole EACCES open true, |_| {
        // Root over itself, with every capability, so also those that walk through closed directories.
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny").map_err(errno)?;
        fs::write("/proc/self/uid_map", "0 0 1").map_err(errno)?;
        fs::write("/proc/self/gid_map", "0 0 1").map_err(errno)?;
        fs::read(format!("{ONE}/file")).map(drop).map_err(errno)
    };
}

fn file(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
}

/// In a namespace of mounts that has nothing but the vserver, as container programs make it, with every
/// capability: in a context it is no way out, and without one it is.
fn pivoted(attempt: fn(&OwnedFd) -> Result<(), Errno>) -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    for (context, expected) in [(CONTEXT_ROOT, Ok(())), (NUMBER, Err(Errno::EPERM))] {
        child(|| {
            let device = fs::File::open("/dev/vserver").map_err(words)?;
            let (reader, writer) = nix::unistd::pipe().map_err(words)?;
            write(
                &writer,
                &handle_of(&file("/proc/self/ns/mnt").map_err(words)?).map_err(words)?,
            )
            .map_err(words)?;
            own_mounts()?;
            pivot().map_err(|errno| format!("pivot_root: {errno}"))?;
            if context != CONTEXT_ROOT {
                enter(context, 0, 0).map_err(words)?;
            }
            drop(device);
            let got = attempt(&reader);
            equal(&format!("in context {context}"), got, expected)?;
            Ok(String::new())
        })?;
    }
    Ok(())
}

fn pivot() -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(
        Some(ONE),
        ONE,
        none,
        MsFlags::MS_BIND | MsFlags::MS_REC,
        none,
    )?;
    chdir(ONE)?;
    pivot_root(".", ".")?;
    umount2(".", MntFlags::MNT_DETACH)?;
    chdir("/")
}

/// The kernel tells the neighbours of a namespace in the list of all.
fn before_this(_: &OwnedFd) -> Result<(), Errno> {
    const NS_MNT_GET_PREV: u32 = 0x8010_b70c;
    let mut at = file("/proc/self/ns/mnt")?;
    // struct mnt_ns_info
    let mut info = [16u64, 0];
    for _ in 0..64 {
        let previous = crate::syscalls::ioctl(&at, NS_MNT_GET_PREV, &mut info);
        at = own(previous.map_err(|errno| match errno {
            // There is none: for who is inside the list ends.
            Errno::ENOENT => Errno::EPERM,
            other => other,
        })? as i32);
        setns(&at, CloneFlags::CLONE_NEWNS)?;
        if read_secret(SECRET).is_ok() {
            return Ok(());
        }
    }
    Err(Errno::ENODATA)
}

fn handle_of(file: &OwnedFd) -> Result<[u8; 64], Errno> {
    let mut handle = [0u8; 64];
    handle[0] = 56;
    let mut mount = 0i32;
    call(
        libc::SYS_name_to_handle_at,
        &[
            file.as_raw_fd() as usize,
            c"".as_ptr() as usize,
            handle.as_mut_ptr() as usize,
            std::ptr::from_mut(&mut mount) as usize,
            libc::AT_EMPTY_PATH as usize,
        ],
    )?;
    Ok(handle)
}

/// Namespaces have handles, made of their number.
fn by_handle(known: &OwnedFd) -> Result<(), Errno> {
    let mut handle = [0u8; 64];
    read(known, &mut handle)?;
    let own_one = file("/proc/self/ns/mnt")?;
    let arguments = [own_one.as_raw_fd() as usize, handle.as_ptr() as usize, 0];
    let found = call(libc::SYS_open_by_handle_at, &arguments).map_err(|errno| match errno {
        // What there is not.
        Errno::ESTALE => Errno::EPERM,
        other => other,
    })?;
    setns(own(found as i32), CloneFlags::CLONE_NEWNS)?;
    read_secret(SECRET)
}
