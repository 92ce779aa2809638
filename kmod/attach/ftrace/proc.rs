// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID`: listing, lookup, and what was opened before.

use super::*;

extern "C" {
    fn vserver_orig_pid_revalidate(
        dir: *mut bindings::inode,
        name: *const c_void,
        dentry: *mut bindings::dentry,
        flags: c_uint,
    ) -> c_int;
    fn vserver_orig_proc_pid_permission(
        idmap: *mut c_void,
        inode: *mut bindings::inode,
        mask: c_int,
    ) -> c_int;
    fn vserver_orig_proc_task_readdir(file: *mut bindings::file, context: *mut c_void) -> c_int;
    fn vserver_orig_pid_getattr(
        idmap: *mut c_void,
        path: *const c_void,
        stat: *mut c_void,
        mask: c_uint,
        flags: c_uint,
    ) -> c_int;
    fn vserver_orig_get_proc_task_net(dir: *mut bindings::inode) -> *mut c_void;
    fn vserver_orig_children_seq_start(
        seq: *mut bindings::seq_file,
        position: *mut bindings::loff_t,
    ) -> *mut c_void;
    fn vserver_orig_procfs_procmap_ioctl(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long;
    fn vserver_orig_do_pagemap_cmd(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long;
    fn vserver_orig_proc_pid_status(
        seq: *mut bindings::seq_file,
        ns: *mut bindings::pid_namespace,
        pid: *mut bindings::pid,
        task: *mut bindings::task_struct,
    ) -> c_int;

    fn vserver_path_inode(path: *const c_void) -> *mut bindings::inode;
    fn vserver_dentry_inode(dentry: *mut bindings::dentry) -> *mut bindings::inode;
    fn vserver_proc_task(inode: *mut bindings::inode) -> *mut bindings::task_struct;
}

/// Whether the process behind a `/proc/PID` inode is listed for the caller. One that has gone is
/// left to the kernel's own checks.
///
/// # Safety
///
/// `inode` must be one of `/proc/PID` or below.
unsafe fn inode_listed(inode: *mut bindings::inode) -> bool {
    let _guard = rcu::read_lock();
    // SAFETY: By contract, and the RCU read lock is held.
    let task = unsafe { vserver_proc_task(inode) };
    // SAFETY: Valid under the RCU read lock.
    task.is_null() || hooks::pid::task_listed(unsafe { as_task(task) })
}

/// The inode of an open file.
///
/// # Safety
///
/// `file` must be valid.
unsafe fn inode_of(file: *mut bindings::file) -> *mut bindings::inode {
    // SAFETY: By contract; never changes while the file is open.
    unsafe { (*file).f_inode }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_pid_revalidate(
    dir: *mut bindings::inode,
    name: *const c_void,
    dentry: *mut bindings::dentry,
    flags: c_uint,
) -> c_int {
    let _inside = Inside::enter();
    let guard = rcu::read_lock();
    // SAFETY: The dentry is held by the path walk, its inode at least by RCU.
    let inode = unsafe { vserver_dentry_inode(dentry) };
    // SAFETY: A dentry with this operation has an inode below /proc/PID.
    if !inode.is_null() && !unsafe { inode_listed(inode) } {
        // An error, unlike 0, does not throw the dentry out for those who may see it.
        return ENOENT.to_errno();
    }
    drop(guard);
    // SAFETY: See above.
    unsafe { vserver_orig_pid_revalidate(dir, name, dentry, flags) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_pid_permission(
    idmap: *mut c_void,
    inode: *mut bindings::inode,
    mask: c_int,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The permission operation of /proc/PID directories only.
    if !unsafe { inode_listed(inode) } {
        return ENOENT.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_pid_permission(idmap, inode, mask) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_task_readdir(
    file: *mut bindings::file,
    context: *mut c_void,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: An open /proc/PID/task directory.
    if !unsafe { inode_listed(inode_of(file)) } {
        return ENOENT.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_proc_task_readdir(file, context) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_pid_getattr(
    idmap: *mut c_void,
    path: *const c_void,
    stat: *mut c_void,
    mask: c_uint,
    flags: c_uint,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: The path of something below /proc/PID.
    if !unsafe { inode_listed(vserver_path_inode(path)) } {
        return ENOENT.to_errno();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_pid_getattr(idmap, path, stat, mask, flags) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_get_proc_task_net(dir: *mut bindings::inode) -> *mut c_void {
    // SAFETY: A /proc/PID/net directory.
    if !unsafe { inode_listed(dir) } {
        return ptr::null_mut();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_get_proc_task_net(dir) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_children_seq_start(
    seq: *mut bindings::seq_file,
    position: *mut bindings::loff_t,
) -> *mut c_void {
    // SAFETY: The file is /proc/PID/task/TID/children.
    if !unsafe { inode_listed(inode_of((*seq).file.cast_mut())) } {
        return ptr::null_mut();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_children_seq_start(seq, position) }
}

/// Files that hold the process's memory from their opening on: nothing looks for the process
/// again when they are used.
macro_rules! wrap_memory {
    ($($wrap:ident, $original:ident;)*) => {
        extern "C" {
            $(fn $original(
                file: *mut bindings::file,
                buffer: *mut c_void,
                count: usize,
                position: *mut bindings::loff_t,
            ) -> isize;)*
        }

        $(#[no_mangle]
        unsafe extern "C" fn $wrap(
            file: *mut bindings::file,
            buffer: *mut c_void,
            count: usize,
            position: *mut bindings::loff_t,
        ) -> isize {
            let _inside = Inside::enter();
            // SAFETY: An open file below /proc/PID.
            if !unsafe { inode_listed(inode_of(file)) } {
                return ESRCH.to_errno() as isize;
            }
            // SAFETY: See above.
            unsafe { $original(file, buffer, count, position) }
        })*
    };
}

wrap_memory! {
    vserver_wrap_mem_read, vserver_orig_mem_read;
    vserver_wrap_mem_write, vserver_orig_mem_write;
    vserver_wrap_environ_read, vserver_orig_environ_read;
    vserver_wrap_auxv_read, vserver_orig_auxv_read;
    vserver_wrap_pagemap_read, vserver_orig_pagemap_read;
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_procfs_procmap_ioctl(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    let _inside = Inside::enter();
    // SAFETY: An open /proc/PID/maps.
    if !unsafe { inode_listed(inode_of(file)) } {
        return ESRCH.to_errno().into();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_procfs_procmap_ioctl(file, command, argument) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_do_pagemap_cmd(
    file: *mut bindings::file,
    command: c_uint,
    argument: c_ulong,
) -> c_long {
    let _inside = Inside::enter();
    // SAFETY: An open /proc/PID/pagemap.
    if !unsafe { inode_listed(inode_of(file)) } {
        return ESRCH.to_errno().into();
    }
    // SAFETY: See above.
    unsafe { vserver_orig_do_pagemap_cmd(file, command, argument) }
}

#[no_mangle]
unsafe extern "C" fn vserver_wrap_proc_pid_status(
    seq: *mut bindings::seq_file,
    ns: *mut bindings::pid_namespace,
    pid: *mut bindings::pid,
    task: *mut bindings::task_struct,
) -> c_int {
    let _inside = Inside::enter();
    // SAFETY: See above.
    let result = unsafe { vserver_orig_proc_pid_status(seq, ns, pid, task) };
    if result == 0 {
        // SAFETY: Both are held by the caller.
        hooks::proc::status(unsafe { SeqFile::from_raw(seq) }, unsafe { as_task(task) });
    }
    result
}
