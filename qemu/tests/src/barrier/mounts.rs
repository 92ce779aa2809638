// SPDX-License-Identifier: GPL-2.0

//! What is mounted on a barrier, and other places where it is seen: binds, overlays, copies.

use super::*;

/// On it and from it.
pub fn mounts() -> Outcome {
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
        mounted(None, &free, Some(Path::new(WALL)), bind, "")?;
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

/// A snapshot has the same walls as what it is one of.
pub fn snapshots() -> Outcome {
    inside(100, || {
        let top = fs::File::open(TOP).map_err(words)?;
        // struct btrfs_ioctl_vol_args; BTRFS_IOC_SNAP_CREATE
        let mut arguments = [0u8; 4096];
        arguments[..8].copy_from_slice(&i64::from(top.as_raw_fd()).to_ne_bytes());
        arguments[8..12].copy_from_slice(b"snap");
        ioctl(&top, 0x5000_9401, &mut arguments).map_err(words)?;
        let wall = format!("{TOP}/snap/wall");
        equal("it is there", fs::metadata(&wall).is_ok(), true)?;
        refused("list", fs::read_dir(&wall))?;
        refused("walk", fs::read(format!("{wall}/one/file")))?;
        denied("chroot", chroot(wall.as_str()))
    })?;
    fs::read(format!("{TOP}/snap/wall/one/file")).map_err(words)?;
    // rmdir takes an empty one only, and what removes the rest does not know of subvolumes.
    fs::remove_dir_all(format!("{TOP}/snap")).map_err(words)
}

/// A mount on which other users own the files.
pub fn mapped() -> Outcome {
    // The users of a namespace, which are the same by other numbers.
    let users = Sitter::new(CONTEXT_ROOT, 0, || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(words)
    })?;
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", users.pid), "0 1000 1").map_err(words)?;
    }
    let users = fs::File::open(format!("/proc/{}/ns/user", users.pid)).map_err(words)?;
    let tree = || -> Result<OwnedFd, Errno> {
        let (empty, top) = (
            c"".as_ptr() as usize,
            CString::new(TOP).map_err(|_| Errno::EINVAL)?,
        );
        let here = libc::AT_FDCWD as usize;
        // OPEN_TREE_CLONE
        let arguments = [here, top.as_ptr() as usize, 1, 0, 0, 0];
        let tree = own(syscall(libc::SYS_open_tree, arguments)? as i32);
        // struct mount_attr: MOUNT_ATTR_IDMAP is set; AT_EMPTY_PATH.
        let attributes = [0x0010_0000, 0, 0, users.as_raw_fd() as u64];
        let arguments = [
            tree.as_raw_fd() as usize,
            empty,
            0x1000,
            attributes.as_ptr() as usize,
            size_of_val(&attributes),
            0,
        ];
        syscall(libc::SYS_mount_setattr, arguments)?;
        Ok(tree)
    };
    match tree() {
        Ok(tree) => drop(open_at(&tree, "wall/one", OFlag::O_PATH).map_err(words)?),
        // Overlays cannot be.
        Err(Errno::EINVAL) if is_overlay()? => return Ok(()),
        Err(errno) => return Err(format!("on the host: {errno}")),
    }
    inside(100, || {
        let tree = tree().map_err(words)?;
        drop(open_at(&tree, ".", OFlag::O_RDONLY).map_err(words)?);
        denied("walk", open_at(&tree, "wall/one", OFlag::O_PATH))?;
        denied("list", open_at(&tree, "wall", OFlag::O_RDONLY))
    })
}

fn is_overlay() -> Result<bool, String> {
    let kind = nix::sys::statfs::statfs(TOP)
        .map_err(words)?
        .filesystem_type();
    Ok(kind == nix::sys::statfs::OVERLAYFS_SUPER_MAGIC)
}

/// What open_tree gives; OPEN_TREE_CLONE and AT_RECURSIVE.
fn clone_tree(path: &str) -> Result<OwnedFd, Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let here = libc::AT_FDCWD as usize;
    let arguments = [here, path.as_ptr() as usize, 0x8001, 0, 0, 0];
    syscall(libc::SYS_open_tree, arguments).map(|fd| own(fd as i32))
}

/// A new tmpfs that is nowhere yet.
fn new_tmpfs() -> Result<OwnedFd, Errno> {
    let kind = c"tmpfs".as_ptr() as usize;
    let system = own(syscall(libc::SYS_fsopen, [kind, 0, 0, 0, 0, 0])? as i32);
    let system = system.as_raw_fd() as usize;
    // FSCONFIG_CMD_CREATE
    syscall(libc::SYS_fsconfig, [system, 6, 0, 0, 0, 0])?;
    syscall(libc::SYS_fsmount, [system, 0, 0, 0, 0, 0]).map(|fd| own(fd as i32))
}

/// Puts such a mount somewhere; MOVE_MOUNT_F_EMPTY_PATH.
fn move_to(tree: &OwnedFd, path: &str) -> Result<(), Errno> {
    let path = CString::new(path).map_err(|_| Errno::EINVAL)?;
    let empty = c"".as_ptr() as usize;
    let here = libc::AT_FDCWD as usize;
    let tree = tree.as_raw_fd() as usize;
    let arguments = [tree, empty, here, path.as_ptr() as usize, 4, 0];
    syscall(libc::SYS_move_mount, arguments).map(drop)
}

/// The newer calls, by which a mount is a descriptor before it is anywhere.
pub fn by_descriptor() -> Outcome {
    drop(clone_tree(ONE).map_err(|errno| format!("on the host: {errno}"))?);
    let free = format!("{TOP}/free");
    fs::create_dir(&free).map_err(words)?;
    inside(100, || {
        let tmpfs = new_tmpfs().map_err(words)?;
        denied("on it", move_to(&tmpfs, WALL))?;
        denied("below it", move_to(&tmpfs, ONE))?;
        move_to(&tmpfs, &free).map_err(words)?;
        umount2(free.as_str(), MntFlags::MNT_DETACH).map_err(words)?;
        denied("from below", clone_tree(ONE))?;
        for (from, below) in [(TOP, "wall"), (WALL, ".")] {
            let tree = clone_tree(from).map_err(words)?;
            let way = |beyond| format!("{below}/{beyond}");
            for beyond in ["one", "one/file", "..", "."] {
                let got = open_at(&tree, &way(beyond), OFlag::O_PATH);
                denied(&format!("{from}: {beyond}"), got)?;
            }
            denied("list", open_at(&tree, below, OFlag::O_RDONLY))?;
            move_to(&tree, &free).map_err(words)?;
            let path = format!("{free}/{}", way("one"));
            refused("where it is put", fs::metadata(path))?;
            umount2(free.as_str(), MntFlags::MNT_DETACH).map_err(words)?;
        }
        Ok(())
    })
}
