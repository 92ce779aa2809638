// SPDX-License-Identifier: GPL-2.0

//! Up, by directories that are held or have been left.

use super::*;
use crate::{
    syscalls::{fork, own, syscall},
    test,
};
use nix::{
    fcntl::{open, OFlag},
    sys::{
        socket::{
            recvmsg, sendmsg, socketpair, AddressFamily, ControlMessage, ControlMessageOwned,
            MsgFlags, SockFlag, SockType,
        },
        wait::waitpid,
    },
    unistd::{fchdir, pipe, read, Pid},
};
use std::{
    ffi::CString,
    io::{IoSlice, IoSliceMut},
    os::fd::AsRawFd,
};

pub const TESTS: &[Test] = &[test("escape::without_cap_sys_chroot", 60, without_chroot)];

escapes! {
    chroot_again: secure EACCES whole EACCES, |_| {
        // The working directory stays where it is: above the new root.
        chroot("/sub")?;
        walk_up()
    };
    descriptor_kept: secure EACCES whole EACCES, |_| {
        let top = open("/", OFlag::O_PATH, Mode::empty())?;
        chroot("/sub")?;
        chdir("/")?;
        fchdir(&top)?;
        walk_up()
    };
    descriptor_received: secure EACCES whole EACCES brings neighbours_descriptor, |outside| {
        let top = received(outside)?;
        fchdir(&top)?;
        walk_up()
    };
    directory_moved_away: secure EACCES whole EACCES, |_| {
        fs::create_dir_all("/a/b").map_err(errno)?;
        chdir("/a/b")?;
        let (wait, go_on) = pipe()?;
        let mover = match fork()? {
            0 => {
                drop(go_on);
                let _ = read(&wait, &mut [0]);
                let moved = fs::rename("/a/b", "/b");
                crate::syscalls::exit_now(i32::from(moved.is_err()))
            }
            pid => Pid::from_raw(pid),
        };
        // It is below the new root, as it should be; then it is somewhere else.
        chroot("/a")?;
        drop(go_on);
        waitpid(mover, None)?;
        walk_up()
    };
    file_handle: secure ESTALE whole ESTALE brings handle_of_the_secret, |outside| {
        // The program of 2014, "shocker", guessed it: on many file systems it is the number 2.
        let mut handle = [0u8; 136];
        let from = outside.brought.as_ref().ok_or(Errno::EBADF)?;
        read(from, &mut handle)?;
        let top = open("/", OFlag::O_RDONLY, Mode::empty())?;
        let arguments = [
            top.as_raw_fd() as usize,
            handle.as_ptr() as usize,
            libc::O_RDONLY as usize,
            0,
            0,
            0,
        ];
        let file = own(syscall(libc::SYS_open_by_handle_at, arguments)? as i32);
        let mut text = [0; 16];
        read(&file, &mut text)?;
        if text == TOKEN { Ok(()) } else { Err(Errno::ENODATA) }
    };
}

/// Where the capability is withheld there is no way to begin with.
fn without_chroot() -> Outcome {
    const CAP_SYS_CHROOT: u64 = 1 << 18;
    inet::addresses()?;
    let _place = Place::new()?;
    let outside = Outside {
        pid: 0,
        brought: None,
    };
    for (drop, expected) in [(0, Errno::EACCES), (CAP_SYS_CHROOT, Errno::EPERM)] {
        let got = tried(Jail::Vserver(drop), &outside, |_| {
            chroot("/sub")?;
            walk_up()
        })?;
        equal(&format!("without {drop:#x}"), got, Err(expected))?;
    }
    // Nor has root in a user namespace the capability over the namespaces of mounts that there are.
    let got = tried(Jail::Context(CAP_SYS_CHROOT), &outside, |_| {
        let before = open("/proc/self/ns/mnt", OFlag::O_RDONLY, Mode::empty())?;
        unshare(CloneFlags::CLONE_NEWUSER)?;
        nix::sched::setns(before, CloneFlags::CLONE_NEWNS)
    })?;
    equal("in a user namespace", got, Err(Errno::EPERM))
}

/// In another vserver there is somebody who passes on a descriptor of his root directory.
fn neighbours_descriptor() -> Result<OwnedFd, String> {
    let (own, his) = socketpair(
        AddressFamily::Unix,
        SockType::Datagram,
        None,
        SockFlag::empty(),
    )
    .map_err(words)?;
    child(|| {
        chroot(TWO).map_err(words)?;
        chdir("/").map_err(words)?;
        let top = open("/", OFlag::O_PATH, Mode::empty()).map_err(words)?;
        let passed = [top.as_raw_fd()];
        let none: Option<&()> = None;
        sendmsg(
            his.as_raw_fd(),
            &[IoSlice::new(b"!")],
            &[ControlMessage::ScmRights(&passed)],
            MsgFlags::empty(),
            none,
        )
        .map_err(words)?;
        Ok(String::new())
    })?;
    Ok(own)
}

fn received(outside: &Outside) -> Result<OwnedFd, Errno> {
    let from = outside.brought.as_ref().ok_or(Errno::EBADF)?;
    let mut room = nix::cmsg_space!([i32; 1]);
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let got = recvmsg::<()>(
        from.as_raw_fd(),
        &mut parts,
        Some(&mut room),
        MsgFlags::empty(),
    )?;
    for message in got.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            return fds.first().copied().map(own).ok_or(Errno::EBADF);
        }
    }
    Err(Errno::EBADF)
}

/// A pipe with the handle of the secret in it.
fn handle_of_the_secret() -> Result<OwnedFd, String> {
    let path = CString::new(SECRET).map_err(words)?;
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
    syscall(libc::SYS_name_to_handle_at, arguments).map_err(words)?;
    let (reader, writer) = pipe().map_err(words)?;
    nix::unistd::write(&writer, &handle).map_err(words)?;
    Ok(reader)
}
