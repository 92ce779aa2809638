// SPDX-License-Identifier: GPL-2.0

//! procfs: whose a file is.

#[cfg(not(CONFIG_SECURITY_VSERVER))]
use super::Seq;
use super::{current_raw, kernel_types, read_once, Dentry, File, Inode, Net, Pid, PidNs};
use crate::{bindings, policy::machine_files};
use core::ptr;
use kernel::sync::rcu;

kernel_types! {
    /// An inode of procfs.
    ProcInode = inode;
    /// An open file of procfs.
    OpenProc = file;
    /// The name of something.
    Name = qstr;
    /// A path in procfs.
    ProcPath = path;
}

/// A namespace of the caller's that has settings.
pub(crate) enum OwnSpace {
    /// UTS or IPC.
    NamesOrIpc,
    /// Network. `is_initial`: it is the machine's.
    Net { is_initial: bool },
    /// Users or pids.
    Other { is_initial: bool },
}

impl Name {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let raw = self.as_ptr();
        // SAFETY: Valid by the type's invariant; a name is as long as it says, and does not change
        // while it is looked for.
        unsafe {
            core::slice::from_raw_parts(
                (*raw).name,
                (*raw).__bindgen_anon_1.__bindgen_anon_1.len as usize,
            )
        }
    }
}

#[cfg(not(CONFIG_SECURITY_VSERVER))]
impl ProcPath {
    pub(crate) fn inode(&self) -> &ProcInode {
        let entry = read_once!(self, dentry);
        // SAFETY: By the meaning of the type; a path holds its entry, and an entry that is held its inode.
        unsafe { ProcInode::from_ptr((&raw const (*entry).d_inode).read_volatile()) }
    }
}

#[cfg(not(CONFIG_SECURITY_VSERVER))]
impl Seq {
    /// The inode of the file, when it is one of procfs.
    pub(crate) fn proc_inode(&self) -> &ProcInode {
        let file = read_once!(self, file);
        // SAFETY: By the meaning of the call. The text is read by way of the file, which keeps its inode.
        unsafe { ProcInode::from_ptr((*file).f_inode) }
    }
}

impl OpenProc {
    pub(crate) fn inode(&self) -> &ProcInode {
        // SAFETY: By the meaning of the type.
        unsafe { ProcInode::from_ptr(read_once!(self, f_inode)) }
    }

    pub(crate) fn dentry(&self) -> &Dentry {
        // SAFETY: An open file keeps its path.
        unsafe { Dentry::from_ptr(read_once!(self, __bindgen_anon_1.f_path.dentry)) }
    }
}

impl File {
    /// Whether it is opened to be written to.
    pub(crate) fn is_for_writing(&self) -> bool {
        // FMODE_WRITE
        read_once!(self, f_mode) & 2 != 0
    }

    /// Its place in its own file system.
    pub(crate) fn dentry(&self) -> &Dentry {
        // SAFETY: An open file keeps its path.
        unsafe { Dentry::from_ptr(read_once!(self, __bindgen_anon_1.f_path.dentry)) }
    }
}

impl ProcInode {
    /// What procfs has around the inode.
    fn layout(&self) -> *const bindings::proc_inode_layout {
        // SAFETY: By the meaning of the type, procfs has made it as a part of that.
        unsafe { kernel::container_of!(self.as_ptr(), bindings::proc_inode_layout, vfs_inode) }
    }

    /// The process whose file it is, which may have been reaped; `None`: it is none of a process. Kept by the inode.
    #[inline(always)]
    pub(crate) fn process(&self) -> Option<&Pid> {
        // SAFETY: By the meaning of the type; a pointer that is set before the inode is found, and kept by it.
        unsafe { Pid::from_nullable((&raw const (*self.layout()).pid).read_volatile()) }
    }

    /// Whether it belongs to a process.
    pub(crate) fn is_of_process(&self) -> bool {
        self.process().is_some()
    }

    /// What an entry of procfs names, if anything, for who holds the entry, or came to it by RCU.
    #[inline(always)]
    pub(crate) fn of_named(entry: &Dentry) -> Option<&Self> {
        // SAFETY: By the meaning of this type; a held entry keeps its inode, and RCU that of
        // another one.
        unsafe { Self::from_nullable(read_once!(entry, d_inode)) }
    }

    /// The pid namespace of the mount that it is in.
    pub(crate) fn namespace(&self) -> &PidNs {
        // SAFETY: An inode's file system lives as long as the inode, and holds its pid namespace.
        unsafe { PidNs::from_ptr(bindings::vserver_inline_proc_pid_ns(read_once!(self, i_sb))) }
    }

    /// Whether it is of the process that has the number 1 as the kernel counts.
    pub(crate) fn is_first(&self) -> bool {
        self.process()
            .is_some_and(|pid| pid.number_in(self.namespace()) == 1)
    }

    /// What an entry of procfs names, if anything.
    #[cfg(not(CONFIG_SECURITY_VSERVER))]
    pub(crate) fn of_entry<'a>(entry: &Dentry, _guard: &'a rcu::Guard) -> Option<&'a Self> {
        // SAFETY: By the meaning of this type; an inode is freed a grace period after its entry has
        // lost it.
        unsafe { Self::from_nullable(read_once!(entry, d_inode)) }
    }

    /// The network namespace that the process has whose `net` this is.
    pub(crate) fn with_network_of_process<R>(&self, look: impl FnOnce(&Net) -> R) -> Option<R> {
        let guard = rcu::read_lock();
        let task = self.process()?.task(&guard)?.as_ptr();
        // SAFETY: The task is kept by RCU. Its lock guards its namespaces, which keep the network namespace meanwhile.
        unsafe {
            bindings::spin_lock(&raw mut (*task).alloc_lock);
            let spaces = (*task).nsproxy;
            let found = (!spaces.is_null()).then(|| look(Net::from_ptr((*spaces).net_ns)));
            bindings::spin_unlock(&raw mut (*task).alloc_lock);
            found
        }
    }

    /// The table below `/proc/sys` that it is of, or null.
    fn table(&self) -> *const bindings::ctl_table_header {
        // SAFETY: By the meaning of the type; a pointer that is set before the inode is found.
        unsafe { (&raw const (*self.layout()).sysctl).read_volatile() }
    }

    /// Whether it is below `/proc/sys`.
    pub(crate) fn is_setting(&self) -> bool {
        !self.table().is_null()
    }

    /// Whether it is a name that UTS namespaces have: all of them have one table
    /// (`kernel/utsname_sysctl.c`).
    fn is_uts_name(&self) -> bool {
        let _guard = rcu::read_lock();
        // SAFETY: The same structure.
        let inode = unsafe { Inode::from_ptr(self.as_ptr()) };
        inode.has_name(|name| {
            name.folder().bytes() == b"kernel"
                && matches!(name.name().bytes(), b"hostname" | b"domainname")
        })
    }

    /// The namespace of the caller's that a setting is about, if any.
    pub(crate) fn own_space(&self) -> Option<OwnSpace> {
        let table = self.table();
        let task = current_raw();
        // SAFETY: An inode of procfs keeps its table. The namespaces are the caller's own, which
        // only the caller changes, and are not null as long as it has a set of them; a pid
        // namespace may have gone when the caller is on its way out. Sets of settings are parts of
        // them, and only compared.
        unsafe {
            let spaces = (*task).nsproxy;
            if table.is_null() || spaces.is_null() {
                return None;
            }
            let set = (*table).set.cast_const();
            let ipc: *const bindings::ipc_namespace = (*spaces).ipc_ns.cast();
            if ptr::eq(set, &raw const (*ipc).ipc_set)
                || ptr::eq(set, &raw const (*ipc).mq_set)
                || self.is_uts_name()
            {
                return Some(OwnSpace::NamesOrIpc);
            }
            let net = (*spaces).net_ns;
            if ptr::eq(set, &raw const (*net).sysctls) {
                return Some(OwnSpace::Net {
                    is_initial: ptr::eq(net, &raw const bindings::init_net),
                });
            }
            let users = (*(*task).cred).user_ns;
            if ptr::eq(set, &raw const (*users).set) {
                return Some(OwnSpace::Other {
                    is_initial: ptr::eq(users, &raw const bindings::init_user_ns),
                });
            }
            let pids = bindings::task_active_pid_ns(task);
            (!pids.is_null() && ptr::eq(set, &raw const (*pids).set)).then(|| OwnSpace::Other {
                is_initial: ptr::eq(pids, &raw const bindings::init_pid_ns),
            })
        }
    }

    /// Whether it is an entry of `/proc/net` of a network namespace that the caller has and the
    /// machine has not.
    pub(crate) fn is_of_own_network(&self) -> bool {
        // SAFETY: By the meaning of the type, and as for `pid`. What is in neither of the other
        // trees is in that of entries, where each has one around it.
        unsafe {
            let entry = (&raw const (*self.layout()).pde).read_volatile();
            if entry.is_null() {
                return false;
            }
            let own = Net::own_raw();
            !own.is_null()
                && ptr::eq(own.cast(), bindings::proc_get_parent_data(self.as_ptr()))
                && !ptr::eq(own, &raw const bindings::init_net)
        }
    }
}

impl Inode {
    /// As one of procfs, if it is.
    pub(crate) fn of_proc(&self) -> Option<&ProcInode> {
        (self.magic() == machine_files::PROCFS).then(|| {
            // SAFETY: Of procfs, so it is what the type says, as long as `self` is.
            unsafe { ProcInode::from_ptr(self.as_ptr()) }
        })
    }

    /// Which kind of file system it is in.
    #[inline(always)]
    pub(crate) fn magic(&self) -> u64 {
        let sb = read_once!(self, i_sb);
        // SAFETY: An inode's file system lives as long as the inode.
        unsafe { (&raw const (*sb).s_magic).read() as u64 }
    }

    /// Its mode, and the number of the group that it belongs to.
    #[inline]
    pub(crate) fn mode_and_group(&self) -> (u16, u32) {
        (read_once!(self, i_mode), read_once!(self, i_gid.val))
    }
}

impl Dentry {
    /// Its name, while nothing renames it: procfs never does.
    pub(crate) fn name(&self) -> &Name {
        // SAFETY: Part of the entry.
        unsafe { Name::from_ptr((&raw const (*self.as_ptr()).__bindgen_anon_1.d_name).cast()) }
    }

    /// The name of the directory that it is in, in procfs.
    pub(crate) fn folder(&self) -> &Name {
        // SAFETY: Never null, and kept by the entry, which nothing moves there.
        unsafe { Dentry::from_ptr(read_once!(self, d_parent)) }.name()
    }

    /// Whether one of the directories around it is so.
    pub(crate) fn any_around(&self, guard: &rcu::Guard, is_so: impl Fn(&Inode) -> bool) -> bool {
        let mut entry = self;
        loop {
            // SAFETY: Never null, and freed a grace period after it has been left.
            let parent = unsafe { Dentry::from_ptr(read_once!(entry, d_parent)) };
            if ptr::eq(parent, entry) {
                return false;
            }
            if entry.around(guard).is_some_and(&is_so) {
                return true;
            }
            entry = parent;
        }
    }
}
