// SPDX-License-Identifier: GPL-2.0

//! Mounts of what is outside, by paths that lead there, and what mounted file systems show of it.

use super::*;
use crate::{
    syscalls::{own, syscall},
    visibility::call,
};
use nix::{
    fcntl::{openat, OFlag},
    sys::stat::makedev,
};
use std::{ffi::CString, io::Read, os::fd::AsRawFd};

escapes! {
    bind_of_above: secure EPERM whole EACCES, |_| {
        chroot("/sub")?;
        fs::create_dir_all("/mnt").map_err(errno)?;
        bind("../..", "/mnt")?;
        read_secret("/mnt/secret")
    };
    overlay_of_above: secure EPERM whole EACCES, |_| {
        chroot("/sub")?;
        fs::create_dir_all("/mnt").map_err(errno)?;
        fs::create_dir_all("/other").map_err(errno)?;
        let none: Option<&str> = None;
        mount(none, "/other", Some("tmpfs"), MsFlags::empty(), none)?;
        let layers = Some("lowerdir=../..:/other");
        mount(none, "/mnt", Some("overlay"), MsFlags::empty(), layers)?;
        read_secret("/mnt/secret")
    };
    open_tree_of_above: secure EPERM whole EACCES, |_| {
        chroot("/sub")?;
        let tree = open_tree("../..")?;
        let file = openat(&tree, "secret", OFlag::O_RDONLY, Mode::empty())?;
        let mut text = Vec::new();
        fs::File::from(file).read_to_end(&mut text).map_err(errno)?;
        if text == TOKEN { Ok(()) } else { Err(Errno::ENODATA) }
    };
    mount_on_the_barrier: secure EPERM whole EACCES, |_| {
        chroot("/sub")?;
        // With something open in its place there is no barrier.
        let over = new_tmpfs()?;
        move_mount(&over, "..")?;
        chdir("../..")?;
        read_secret("secret")
    };
    proc_mounted: secure EPERM whole ENOENT, |outside| {
        let none: Option<&str> = None;
        mount(Some("proc"), "/mnt", Some("proc"), MsFlags::empty(), none)?;
        read_secret(&format!("/mnt/{}/root{SECRET}", outside.pid))
    };
    device_node_of_memory: secure EPERM, |_| {
        let _ = fs::remove_file("/dev/mem");
        mknod("/dev/mem", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 1))?;
        let mut memory = fs::File::open("/dev/mem").map_err(errno)?;
        memory.read_exact(&mut [0; 16]).map_err(errno)
    };
    devtmpfs_mounted: secure EPERM, |_| {
        let none: Option<&str> = None;
        mount(none, "/mnt", Some("devtmpfs"), MsFlags::empty(), none)?;
        fs::metadata("/mnt/kmsg").map(drop).map_err(errno)
    };
    sysfs_mounted: secure EPERM, |_| {
        let none: Option<&str> = None;
        mount(none, "/mnt", Some("sysfs"), MsFlags::empty(), none)?;
        fs::metadata("/mnt/kernel").map(drop).map_err(errno)
    };
    cgroup_release_agent: secure EPERM, |_| {
        // CVE-2022-0492: a program that the kernel starts on the host when a group is empty.
        let none: Option<&str> = None;
        let data = Some("none,name=escape");
        mount(none, "/mnt", Some("cgroup"), MsFlags::empty(), data)?;
        fs::metadata("/mnt/release_agent").map(drop).map_err(errno)
    };
    binfmt_misc_handler: secure EPERM, |_| {
        // An interpreter for what the host runs.
        let none: Option<&str> = None;
        mount(none, "/mnt", Some("binfmt_misc"), MsFlags::empty(), none)?;
        fs::metadata("/mnt/register").map(drop).map_err(errno)
    };
}

fn bind(source: &str, target: &str) -> Result<(), Errno> {
    let none: Option<&str> = None;
    mount(Some(source), target, none, MsFlags::MS_BIND, none)
}

/// A copy of the mount that a path leads to, in no namespace.
fn open_tree(path: &str) -> Result<OwnedFd, Errno> {
    const CLONE: usize = 1;
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let arguments = [libc::AT_FDCWD as usize, path.as_ptr() as usize, CLONE];
    call(libc::SYS_open_tree, &arguments).map(|fd| own(fd as i32))
}

/// An empty file system in no namespace, by fsopen() and fsmount().
fn new_tmpfs() -> Result<OwnedFd, Errno> {
    const CREATE: usize = 6;
    let context = own(call(libc::SYS_fsopen, &[c"tmpfs".as_ptr() as usize, 0])? as i32);
    let fd = context.as_raw_fd() as usize;
    call(libc::SYS_fsconfig, &[fd, CREATE, 0, 0, 0])?;
    call(libc::SYS_fsmount, &[fd, 0, 0]).map(|fd| own(fd as i32))
}

fn move_mount(tree: &OwnedFd, target: &str) -> Result<(), Errno> {
    const F_EMPTY_PATH: usize = 4;
    let target = CString::new(target).map_err(|_| Errno::EINVAL)?;
    let arguments = [
        tree.as_raw_fd() as usize,
        c"".as_ptr() as usize,
        libc::AT_FDCWD as usize,
        target.as_ptr() as usize,
        F_EMPTY_PATH,
        0,
    ];
    syscall(libc::SYS_move_mount, arguments).map(drop)
}
