// SPDX-License-Identifier: GPL-2.0

//! Files that are the machine's, in the kernel's own file systems, whoever has mounted these. They
//! belong to root, and the kernel asks for no capability beyond that; so root inside would use them
//! as the host's does, whatever it has given up.
//!
//! A process in a context opens none that only root may read, and writes to none of `/proc/sys` and
//! of the other files of `/proc` that are not a process's, with any capability (for sysfs and control
//! groups see `kernfs.rs`). Files of processes keep the kernel's rules, and those of the caller's own namespaces
//! are its own. All this is asked when a file is opened: a descriptor that the host hands in is the
//! host's business.

use crate::{
    attach::hook::{hooks, unless},
    bindings::MAY_WRITE,
    context::membership::is_spectator,
    linux::{File, Inode, MntIdmap, Net, OwnSpace, ProcInode},
    policy::machine_files::{
        holds_machine_files, not_everybody_writes, only_root_reads, only_root_searches,
    },
};
use kernel::{ffi::c_int, prelude::*, sync::rcu};

/// Whether the host's root alone can open it: by its own mode, or by that of a directory on the way
/// to it.
#[cold]
fn is_for_root_alone(file: &File, inode: &Inode) -> bool {
    let (mode, group) = inode.mode_and_group();
    match inode.of_proc() {
        Some(inode) if inode.is_of_process() => return false,
        // The hooks below know which of these are the caller's to write to.
        Some(_) => (),
        None if file.is_for_writing() && not_everybody_writes(mode) => return true,
        None => (),
    }
    let guard = rcu::read_lock();
    only_root_reads(mode, group)
        || file.dentry().any_around(&guard, |around| {
            let (mode, group) = around.mode_and_group();
            only_root_searches(mode, group)
        })
}

/// Whether a setting is of a namespace that the caller, in a context, has and the machine has not.
fn is_own_setting(setting: &ProcInode) -> bool {
    match setting.own_space() {
        // The spectator has the host's.
        Some(OwnSpace::NamesOrIpc) => !is_spectator(),
        Some(OwnSpace::Net { is_initial }) => {
            !is_initial && !Net::own().is_some_and(Net::is_narrow)
        }
        Some(OwnSpace::Other { is_initial }) => !is_initial,
        None => false,
    }
}

fn is_own(inode: &Inode) -> bool {
    inode.of_proc().is_some_and(|inode| {
        if inode.is_setting() {
            is_own_setting(inode)
        } else {
            inode.is_of_own_network()
        }
    })
}

fn writes(mask: c_int) -> bool {
    mask as u32 & MAY_WRITE != 0
}

hooks! {
    mediate fn security_file_open(file: &File) -> c_int {
        let inode = file.inode();
        unless(
            holds_machine_files(inode.magic()) && is_for_root_alone(file, inode) && !is_own(inode),
            EACCES,
        )
    }

    wrap_inside(original) fn proc_sys_permission(
        _idmap: &MntIdmap, setting: &ProcInode, mask: c_int,
    ) -> c_int {
        let error = original();
        if error == 0 && writes(mask) && !is_own_setting(setting) {
            EACCES.to_errno()
        } else {
            error
        }
    }

    /// What anybody may write is no privilege: pressure stall triggers.
    mediate fn proc_reg_open(inode: &Inode, file: &File) -> c_int {
        unless(file.is_for_writing() && not_everybody_writes(inode.mode_and_group().0), EACCES)
    }
}
