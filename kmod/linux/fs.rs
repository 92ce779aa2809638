// SPDX-License-Identifier: GPL-2.0

//! Inodes, their names, and mounts.

use super::{kernel_types, read_once, Pid, PidNs, PidRole};
use crate::{
    attach::hook::{Argument, Is},
    bindings,
};
#[cfg(not(CONFIG_SECURITY_VSERVER))]
use core::ptr;
use core::{ffi::CStr, ops::Deref, ptr::NonNull};
#[cfg(not(CONFIG_SECURITY_VSERVER))]
use kernel::error::from_err_ptr;
use kernel::{
    ffi::{c_int, c_void},
    str::CStrExt as _,
    sync::{atomic::Atomic, rcu},
};

kernel_types! {
    /// An inode.
    Inode = inode;
    /// A name, with or without an inode.
    Dentry = dentry;
    /// A place in a mount. What it names has an inode.
    Path = path;
    /// A mount.
    Mount = vfsmount;
    /// A mount's mapping of users.
    MntIdmap = mnt_idmap;
    /// An open file.
    File = file;
    /// A question about a lock on a file, and its answer.
    FileLock = flock;
    /// What is to become of an inode's owner, mode and so on.
    Attributes = iattr;
}

const KIND: u16 = bindings::S_IFMT as u16;
const REGULAR: u16 = bindings::S_IFREG as u16;
const BLOCK_DEVICE: u16 = bindings::S_IFBLK as u16;
const DIRECTORY: u16 = bindings::S_IFDIR as u16;

impl Inode {
    /// Whether it is a directory with exactly these permission bits.
    #[inline(always)]
    pub(crate) fn is_directory_of_mode(&self, mode: u16) -> bool {
        read_once!(self, i_mode) & (KIND | 0o777) == DIRECTORY | mode
    }

    #[inline]
    fn is_of_kind(&self, kind: u16) -> bool {
        read_once!(self, i_mode) & KIND == kind
    }

    #[inline]
    pub(crate) fn is_regular(&self) -> bool {
        self.is_of_kind(REGULAR)
    }

    #[inline]
    pub(crate) fn is_directory(&self) -> bool {
        self.is_of_kind(DIRECTORY)
    }

    #[inline]
    pub(crate) fn is_block_device(&self) -> bool {
        self.is_of_kind(BLOCK_DEVICE)
    }

    /// The number of the device that it stands for.
    #[inline(always)]
    pub(crate) fn device(&self) -> u32 {
        read_once!(self, i_rdev)
    }

    /// `i_private`, where the file system does not use it.
    #[inline(always)]
    pub(crate) fn private(&self) -> u64 {
        read_once!(self, i_private) as u64
    }

    pub(crate) fn set_private(&self, value: u64) {
        // SAFETY: Valid by the type's invariant; a number of one word, which is read at once.
        unsafe {
            (&raw mut (*self.as_ptr()).i_private).write_volatile(value as *mut kernel::ffi::c_void)
        }
    }

    /// The same, where it is changed by more than one.
    #[inline(always)]
    pub(crate) fn private_word(&self) -> &Atomic<usize> {
        // SAFETY: Valid by the type's invariant; a pointer is as large as a word, and is changed by this only.
        unsafe { Atomic::from_ptr((&raw mut (*self.as_ptr()).i_private).cast()) }
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        read_once!(self, i_ino)
    }

    /// Which inode it is, as long as it lives.
    #[inline]
    pub(crate) fn address(&self) -> u64 {
        self.as_ptr() as u64
    }

    /// Whether an overlay works in it (`I_OVL_INUSE`).
    pub(crate) fn is_in_use_by_overlay(&self) -> bool {
        read_once!(self, i_state.__state) & bindings::inode_state_flags_enum_I_OVL_INUSE != 0
    }

    /// Whether one of its names is so.
    pub(crate) fn has_name(&self, mut is_so: impl FnMut(&Dentry) -> bool) -> bool {
        let inode = self.as_ptr();
        // SAFETY: Valid by the type's invariant. The lock guards the list of names, whose entries live while it is held.
        unsafe {
            bindings::spin_lock(&raw mut (*inode).i_lock);
            let mut node = (*inode).__bindgen_anon_2.i_dentry.first;
            let mut found = false;
            while !node.is_null() && !found {
                let name = kernel::container_of!(node, bindings::dentry, __bindgen_anon_2.d_alias);
                found = is_so(Dentry::from_ptr(name));
                node = (*node).next;
            }
            bindings::spin_unlock(&raw mut (*inode).i_lock);
            found
        }
    }
}

#[cfg(not(CONFIG_SECURITY_VSERVER))]
impl Dentry {
    /// Of pidfs, as a function of the kernel has returned it: with a reference, or none, or an error. Null when this is so of its
    /// pid.
    pub(crate) fn unless_of_pid(
        made: *mut bindings::dentry,
        is_so: impl FnOnce(&Pid) -> bool,
    ) -> *mut bindings::dentry {
        let Ok(Some(raw)) = from_err_ptr(made).map(NonNull::new) else {
            return made;
        };
        // SAFETY: The reference keeps the entry, that its inode, and that its pid.
        let is_so = unsafe { is_so(Pid::from_ptr((*(*raw.as_ptr()).d_inode).i_private.cast())) };
        if !is_so {
            return made;
        }
        // SAFETY: The reference that the function has returned.
        unsafe { bindings::dput(made) };
        ptr::null_mut()
    }
}

impl Dentry {
    /// What a function of the kernel has made and returned, for the caller that is handed it.
    /// `None`: an error.
    #[inline(always)]
    pub(crate) fn of_result<'a>(made: *mut bindings::dentry) -> Option<&'a Self> {
        // IS_ERR(), which is a call in the kernel crate.
        let is_error = (-4095..0).contains(&(made as isize));
        // SAFETY: What is no error is an entry, which the function's caller has from now on.
        (!is_error).then(|| unsafe { Self::from_ptr(made) })
    }

    /// Its inode, for who holds it. `None`: it names nothing.
    #[inline(always)]
    pub(crate) fn inode(&self) -> Option<&Inode> {
        // SAFETY: A held dentry keeps its inode.
        unsafe { Inode::from_nullable(read_once!(self, d_inode)) }
    }

    /// The inode of the directory that it is in.
    pub(crate) fn around<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a Inode> {
        // SAFETY: Never null, and freed a grace period after it has been left.
        let parent = unsafe { Dentry::from_ptr(read_once!(self, d_parent)) };
        // SAFETY: As above.
        unsafe { Inode::from_nullable(read_once!(parent, d_inode)) }
    }

    /// Whether it is called so. It may be on the way to another name.
    pub(crate) fn is_called(&self, name: &CStr) -> bool {
        let own = read_once!(self, __bindgen_anon_1.d_name.name);
        // SAFETY: Ends with a NUL, and stays for a grace period.
        unsafe { bindings::strcmp(own, name.as_char_ptr()) == 0 }
    }
}

impl Path {
    /// What it names.
    #[inline(always)]
    pub(crate) fn inode(&self) -> &Inode {
        // SAFETY: By the meaning of the type; a held path holds its dentry, and that its inode.
        unsafe { Inode::from_ptr((*read_once!(self, dentry)).d_inode) }
    }

    /// Whether the mount is the kernel's own, as those of pipes and of memory: no path leads to it.
    pub(crate) fn is_internal(&self) -> bool {
        // SAFETY: A held path holds its mount.
        let flags = unsafe { Mount::from_ptr(read_once!(self, mnt)) };
        read_once!(flags, mnt_flags) as u32 & bindings::mount_flags_MNT_INTERNAL != 0
    }

    /// Whether its file system is the kernel's own, whatever mount it is seen through, or all of it is meant.
    pub(crate) fn is_whole_or_internal(&self) -> bool {
        let entry = read_once!(self, dentry);
        // SAFETY: A held path holds its entry, and that its super block, which keeps its root.
        unsafe {
            let sb = (*entry).d_sb;
            (*sb).s_root == entry || (*sb).s_flags & bindings::vserver_inline_sb_nouser() != 0
        }
    }

    /// Whether it is below another one, or the same, also when one of them is seen through another mount, or in another
    /// namespace.
    pub(crate) fn is_below(&self, root: &Self) -> bool {
        // SAFETY: Both are held.
        unsafe {
            bindings::path_is_under(self.as_ptr(), root.as_ptr())
                || bindings::is_subdir((*self.as_ptr()).dentry, (*root.as_ptr()).dentry)
        }
    }

    /// Whether both are of one entry, perhaps through different mounts.
    pub(crate) fn has_entry_of(&self, other: &Self) -> bool {
        read_once!(self, dentry) == read_once!(other, dentry)
    }

    /// Whether it is above another one, and not the same.
    pub(crate) fn is_above(&self, other: &Self) -> bool {
        if self.has_entry_of(other) {
            // SAFETY: Both are held.
            let is_under = || unsafe { bindings::path_is_under(other.as_ptr(), self.as_ptr()) };
            read_once!(self, mnt) != read_once!(other, mnt) && is_under()
        } else {
            other.is_below(self)
        }
    }

    /// Opens it anew. `how` is what `do_file_open()` was given.
    pub(crate) fn open(&self, how: *const bindings::open_flags) -> *mut bindings::file {
        // SAFETY: The kernel does this in the caller's place, with a path that is held.
        unsafe { bindings::vserver_call_do_file_open_root(self.as_ptr(), c"".as_char_ptr(), how) }
    }

    /// Gives up the reference that a function of the kernel was given with it.
    pub(crate) fn release(&self) {
        // SAFETY: The hook that calls this answers in the place of that function, which nobody else does.
        unsafe { bindings::path_put(self.as_ptr()) }
    }
}

/// The caller's root directory.
///
/// # Invariants
///
/// Holds a reference to the path.
pub(crate) struct OwnRoot(bindings::path);

impl OwnRoot {
    pub(crate) fn get() -> Self {
        let mut root = bindings::path::default();
        // SAFETY: A task that makes system calls has directories, which only itself replaces.
        unsafe {
            bindings::vserver_inline_get_fs_root((*super::current_raw()).fs.cast(), &mut root)
        };
        // INVARIANT: The call has taken it.
        Self(root)
    }

    /// Whether a path is below it, also when one of them is seen through another mount, or in another namespace.
    pub(crate) fn is_above(&self, path: &Path) -> bool {
        // SAFETY: Held by `self`.
        path.is_below(unsafe { Path::from_ptr(&self.0) })
    }

    /// Whether an entry is below it, seen through the mount of another path.
    pub(crate) fn is_above_entry(&self, entry: &Dentry, through: &Path) -> bool {
        let path = bindings::path {
            mnt: read_once!(through, mnt),
            dentry: entry.as_ptr(),
        };
        // SAFETY: Both are held, and used for this call only.
        self.is_above(unsafe { Path::from_ptr(&path) })
    }
}

impl Drop for OwnRoot {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { bindings::path_put(&self.0) }
    }
}

/// A path name that a function of the kernel was given, or an error in its place.
#[derive(Clone, Copy)]
pub(crate) struct FileName(*mut bindings::filename);

// SAFETY: A pointer.
unsafe impl Argument for FileName {
    type Raw = *mut bindings::filename;
    #[inline(always)]
    unsafe fn from_raw(raw: Self::Raw) -> Self {
        Self(raw)
    }
}
impl Is<*mut bindings::filename> for FileName {}

impl FileName {
    /// Whether it is a name without characters.
    #[inline(always)]
    pub(crate) fn is_empty(self) -> bool {
        kernel::error::from_err_ptr(self.0).is_ok_and(|name| {
            // SAFETY: A name that is no error is held by the function's caller, and ends with a NUL.
            unsafe { *bindings::vserver_inline_filename(name) == 0 }
        })
    }
}

/// A file that is held.
///
/// # Invariants
///
/// A reference to a file.
pub(crate) struct OpenFile(NonNull<bindings::file>);

impl OpenFile {
    /// By its number, also one that is open as a path only.
    pub(crate) fn by_descriptor(number: kernel::ffi::c_int) -> Option<Self> {
        // SAFETY: Any number will do.
        // INVARIANT: The call has taken the reference.
        NonNull::new(unsafe { bindings::fget_raw(number as u32) }).map(Self)
    }

    /// The caller's with the lowest descriptor from `descriptor` on, which it then is.
    pub(crate) fn at_or_after(descriptor: &mut u32) -> Option<Self> {
        // SAFETY: The caller's own table.
        // INVARIANT: The call has taken the reference.
        NonNull::new(unsafe { bindings::fget_task_next(super::current_raw(), descriptor) })
            .map(Self)
    }
}

impl Deref for OpenFile {
    type Target = File;

    fn deref(&self) -> &File {
        // SAFETY: By the invariant.
        unsafe { File::from_ptr(self.0.as_ptr()) }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: By the invariant.
        unsafe { bindings::fput(self.0.as_ptr()) }
    }
}

impl File {
    /// The inode that it is of.
    #[inline]
    pub(crate) fn inode(&self) -> &Inode {
        // SAFETY: An open file holds its inode, and keeps it.
        unsafe { Inode::from_ptr(read_once!(self, f_inode)) }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        // SAFETY: An open file holds its path, and keeps it.
        unsafe { Path::from_ptr(&raw const (*self.as_ptr()).__bindgen_anon_1.f_path) }
    }
}

impl Attributes {
    /// Whether they are about who may use a file.
    pub(crate) fn change_access(&self) -> bool {
        read_once!(self, ia_valid) & (bindings::ATTR_MODE | bindings::ATTR_UID | bindings::ATTR_GID)
            != 0
    }
}

impl Mount {
    /// Whether its file system says itself who may find files by a handle, and is not the one of namespaces.
    pub(crate) fn decides_about_handles(&self) -> bool {
        let sb = read_once!(self, mnt_sb);
        // SAFETY: A mount holds its super block, and that its operations. The kernel crate does not know what is in them.
        unsafe {
            let operations = (*sb).s_export_op.cast::<bindings::export_operations>();
            !operations.is_null()
                && (*operations).permission.is_some()
                && (*sb).s_magic != bindings::NSFS_MAGIC as usize
        }
    }
}

impl FileLock {
    /// Changes the number of the process that has the lock, when the answer names one.
    pub(crate) fn rename_owner(&self, name: impl FnOnce(i32) -> i32) {
        let lock = self.as_ptr();
        if i32::from(read_once!(self, l_type)) != bindings::F_UNLCK as i32 {
            // SAFETY: Valid by the type's invariant, and the caller's alone.
            unsafe { (*lock).l_pid = name((*lock).l_pid) };
        }
    }
}

/// A lock on a file, as the list of all locks passes it on: a pointer to its place in that list.
///
/// # Invariants
///
/// Points to the `flc_link` of a lock. The lock of the list, which is held, keeps it.
pub(crate) struct ListedLock(NonNull<bindings::hlist_node>);

// SAFETY: A pointer.
unsafe impl Argument for ListedLock {
    type Raw = *mut kernel::ffi::c_void;
    #[inline(always)]
    unsafe fn from_raw(raw: Self::Raw) -> Self {
        // INVARIANT: Only `locks_show` has an argument of this type.
        // SAFETY: The list shows what is in it, which is not null.
        Self(unsafe { NonNull::new_unchecked(raw.cast()) })
    }
}
impl Is<*mut kernel::ffi::c_void> for ListedLock {}

impl ListedLock {
    /// Whether this is so of the process that has it. Not when there is none any more.
    pub(crate) fn has_owner(&self, is_so: impl FnOnce(&Pid) -> bool) -> bool {
        // SAFETY: By the invariant.
        let number = unsafe {
            (*kernel::container_of!(self.0.as_ptr(), bindings::file_lock_core, flc_link)).flc_pid
        };
        PidNs::first()
            .find(number, &rcu::read_lock())
            .is_some_and(is_so)
    }
}

impl File {
    /// Whether it has an owner, to be sent signals when it is ready, for which this is so. It is asked with a lock
    /// held.
    pub(crate) fn has_owner(&self, is_so: impl FnOnce(&Pid, PidRole) -> bool) -> bool {
        let owner = read_once!(self, f_owner);
        if owner.is_null() {
            return false;
        }
        // SAFETY: Set once, for as long as the file is open. The lock guards what is in it.
        unsafe {
            bindings::vserver_inline_read_lock_irq(&raw mut (*owner).lock);
            let pid = (*owner).pid;
            let found = Pid::from_nullable(pid)
                .zip(PidRole::of((*owner).pid_type))
                .is_some_and(|(pid, role)| is_so(pid, role));
            bindings::vserver_inline_read_unlock_irq(&raw mut (*owner).lock);
            found
        }
    }
}

/// Who is asked about a name that a handle leads to.
pub(crate) type Acceptable =
    Option<unsafe extern "C" fn(*mut c_void, *mut bindings::dentry) -> c_int>;
