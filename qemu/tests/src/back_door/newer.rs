// SPDX-License-Identifier: GPL-2.0

//! Recent interfaces of the kernel: namespaces, mounts and processes by number; and families of
//! sockets and tunnels that know no addresses of a context.

use super::*;
use crate::{
    fixture::{confine, ensure, Sitter},
    syscalls::{ioctl, own},
    test,
};
use std::{collections::BTreeSet, process::Command};

pub const TESTS: &[Test] = &[
    test("back_door::namespaces_by_number", 60, namespaces),
    test("back_door::mounts_by_number", 60, mounts),
    test("back_door::processes_by_pidfs", 60, pidfs),
    test("back_door::tunnels_and_devices", 60, tunnels),
];

const SYS_STATMOUNT: i64 = 457;
const SYS_LISTMOUNT: i64 = 458;
const SYS_LISTNS: i64 = 470;

const NS_GET_MNTNS_ID: u32 = 0x8008_b705;
const NS_GET_ID: u32 = 0x8008_b70d;

/// All namespaces, or those of a user namespace.
fn list(user_ns: u64) -> Result<BTreeSet<u64>, Errno> {
    // struct ns_id_req
    let request = [32u64, 0, 0, user_ns];
    let mut found = [0u64; 512];
    let arguments = [
        request.as_ptr() as usize,
        found.as_mut_ptr() as usize,
        found.len(),
        0,
    ];
    let count = call(SYS_LISTNS, &arguments)? as usize;
    Ok(found[..count].iter().copied().collect())
}

/// The caller's namespaces, by what /proc shows.
fn own_namespaces() -> Result<BTreeSet<u64>, String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc/thread-self/ns").map_err(words)? {
        let path = entry.map_err(words)?.path();
        let file = opened(&path.display().to_string(), OFlag::O_RDONLY).map_err(words)?;
        let mut id = 0u64;
        ioctl(&file, NS_GET_ID, &mut id).map_err(words)?;
        found.insert(id);
    }
    Ok(found)
}

/// LISTNS_CURRENT_USER
const OF_OWN_USER_NS: u64 = u64::MAX;

fn namespaces() -> Outcome {
    // A context has namespaces of its own.
    let other = Sitter::idle(200)?;
    let all = list(0).map_err(words)?;
    let own = own_namespaces()?;
    ensure(
        &format!("{all:?}"),
        all.len() > own.len() && all.is_superset(&own),
    )?;
    inside_both(|| {
        let own = own_namespaces()?;
        for which in [0, OF_OWN_USER_NS] {
            let found = list(which).map_err(words)?;
            ensure(&format!("{found:?} of {own:?}"), found.is_subset(&own))?;
        }
        // From one mount namespace to the one before.
        let mount = opened("/proc/self/ns/mnt", OFlag::O_RDONLY).map_err(words)?;
        let got = ioctl(&mount, 0x8010_b70c, &mut [16u64, 0]).map(drop);
        equal("the one before", got, Err(Errno::EPERM))
    })?;
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS)?;
        let own = own_namespaces()?;
        for which in [0, OF_OWN_USER_NS] {
            let found = list(which).map_err(words)?;
            ensure(&format!("{found:?} of {own:?}"), found.is_subset(&own))?;
        }
        Ok(())
    })?;
    drop(other);
    Ok(())
}

/// LSMT_ROOT
const ROOT: u64 = u64::MAX;

/// The mounts below one, in a mount namespace; zero: the caller's.
fn list_mounts(mount: u64, namespace: u64) -> Result<Vec<u64>, Errno> {
    // struct mnt_id_req
    let request = [32u64, mount, 0, namespace];
    let mut found = [0u64; 512];
    let arguments = [
        request.as_ptr() as usize,
        found.as_mut_ptr() as usize,
        found.len(),
        0,
    ];
    let count = call(SYS_LISTMOUNT, &arguments)? as usize;
    Ok(found[..count].to_vec())
}

fn about_mount(mount: u64, namespace: u64) -> Result<(), Errno> {
    // STATMOUNT_MNT_BASIC, STATMOUNT_MNT_POINT
    let request = [32u64, mount, 2 | 0x10, namespace];
    let mut room = [0u64; 1024];
    let arguments = [
        request.as_ptr() as usize,
        room.as_mut_ptr() as usize,
        size_of_val(&room),
        0,
    ];
    call(SYS_STATMOUNT, &arguments).map(drop)
}

fn mounts() -> Outcome {
    const PLACE: &str = "/tmp/mounts-by-number";
    let file = opened("/proc/self/ns/mnt", OFlag::O_RDONLY).map_err(words)?;
    let mut host = 0u64;
    ioctl(&file, NS_GET_MNTNS_ID, &mut host).map_err(words)?;
    child(|| {
        place(PLACE)?;
        // With its capability the host sees the one that it has left.
        let of_host = list_mounts(ROOT, host).map_err(words)?;
        ensure(&format!("{of_host:?}"), of_host.len() > 1)?;
        about_mount(of_host[0], host).map_err(words)?;
        let around = list_mounts(ROOT, 0).map_err(words)?;
        inside_without(100, SECURE, || {
            equal(
                "another's",
                list_mounts(ROOT, host).map(drop),
                Err(Errno::ENOENT),
            )?;
            for mount in &of_host {
                equal("of another", about_mount(*mount, host), Err(Errno::EPERM))?;
                equal("of another", about_mount(*mount, 0), Err(Errno::ENOENT))?;
            }
            // What is not below the root directory.
            nix::unistd::chroot(PLACE).map_err(words)?;
            std::env::set_current_dir("/").map_err(words)?;
            let seen = list_mounts(ROOT, 0).map_err(words)?;
            for mount in &around {
                let got = about_mount(*mount, 0);
                let got_list = list_mounts(*mount, 0).map(drop);
                // The mount that the root directory is in is there.
                if !seen.contains(mount) && got.is_err() {
                    equal(
                        "around",
                        (got, got_list),
                        (Err(Errno::EPERM), Err(Errno::EPERM)),
                    )?;
                }
            }
            let there = around
                .iter()
                .filter(|mount| about_mount(**mount, 0).is_ok());
            ensure("only the one of the root directory", there.count() <= 1)
        })?;
        Ok(String::new())
    })
    .map(drop)
}

fn pidfs() -> Outcome {
    const PIDFD_GET_INFO: u32 = 0xc050_ff0b;
    // struct pidfd_info: mask, cgroup; pid and tgid; ppid and ruid.
    let info = |pidfd: &OwnedFd| {
        let mut info = [0u64; 10];
        info[0] = 1;
        ioctl(pidfd, PIDFD_GET_INFO, &mut info).map(|_| info)
    };
    let open = |pid: i32| call(libc::SYS_pidfd_open, &[pid as usize, 0]).map(|fd| own(fd as i32));
    let host = open(std::process::id() as i32).map_err(words)?;
    info(&host).map_err(words)?;
    inside_both(|| {
        let own = open(std::process::id() as i32).map_err(words)?;
        let told = info(&own).map_err(words)?;
        equal("pid", told[2] as u32, std::process::id())?;
        equal(
            "parent",
            told[3] as u32,
            std::os::unix::process::parent_id(),
        )?;
        equal("the host's", info(&host).map(drop), Err(Errno::ESRCH))?;
        // By its link, which leads to no process that is not there.
        let path = link_of(&host);
        if let Ok(again) = opened(&path, OFlag::O_RDONLY) {
            equal("opened anew", info(&again).map(drop), Err(Errno::ESRCH))?;
        }
        equal("the machine's init", open(1).map(drop), Err(Errno::ESRCH))
    })
}

/// Devices that are tunnels, and families of sockets that go around the addresses.
fn tunnels() -> Outcome {
    let add = |kind: &str| {
        let line = ["link", "add", "door0", "type", kind];
        let output = Command::new("/bin/ip").args(line).output();
        let _ = Command::new("/bin/ip")
            .args(["link", "del", "door0"])
            .output();
        output.map(|output| output.status.success()).map_err(words)
    };
    ensure("the host adds one", add("dummy")?)?;
    child(|| {
        confine(&["127.0.0.1"]).map_err(words)?;
        enter(100, 0, SECURE).map_err(words)?;
        for kind in ["dummy", "wireguard", "vxlan", "ipip", "tun", "veth"] {
            ensure(kind, !add(kind)?)?;
        }
        // Refused by the family, where it is there, or by the addresses.
        for (name, family) in [
            ("RDS", 21),
            ("TIPC", 30),
            ("XDP", 44),
            ("SMC", 43),
            ("QIPCRTR", 42),
        ] {
            let got = call(libc::SYS_socket, &[family, 5, 0]).map(drop);
            ensure(&format!("{name}: {got:?}"), got.is_err())?;
        }
        Ok(String::new())
    })
    .map(drop)
}
