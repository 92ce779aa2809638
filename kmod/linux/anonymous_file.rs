// SPDX-License-Identifier: GPL-2.0

//! Files that are on no file system, and what they do. (The kernel crate has no anonymous inodes.)
//!
//! C header: `include/linux/anon_inodes.h`.

use super::PollQueue;
use core::{ffi::CStr, marker::PhantomData, mem, ptr::NonNull};
use kernel::{
    bindings,
    error::from_err_ptr,
    fs::{file::FileDescriptorReservation, File},
    prelude::*,
    seq_file::SeqFile,
    sync::{aref::ARef, Arc},
};

/// What a file of its own stands for, and how it answers.
pub(crate) trait AnonymousFile: Send + Sync + 'static {
    /// What the link to the file in /proc says.
    const NAME: &'static CStr;
    /// Where who polls the file waits.
    fn news(&self) -> &PollQueue;
    /// What is there for who polls it (`POLL*`).
    fn events(&self) -> u32;
    fn ioctl(&self, command: u32, argument: usize) -> Result;
    /// What `fdinfo` says.
    fn describe(&self, text: &SeqFile);
}

/// Its operations. Each gets a file that [`PendingFile::new`] has made, and holds the reference that is in it.
struct Operations<T>(PhantomData<T>);

impl<T: AnonymousFile> Operations<T> {
    const TABLE: bindings::file_operations = {
        // SAFETY: All-zero is a valid `file_operations`: no operation.
        let mut operations: bindings::file_operations = unsafe { mem::zeroed() };
        operations.owner = <crate::LocalModule as kernel::ModuleMetadata>::THIS_MODULE.as_ptr();
        operations.release = Some(Self::release);
        operations.poll = Some(Self::poll);
        operations.unlocked_ioctl = Some(Self::ioctl);
        operations.compat_ioctl = bindings::compat_ptr_ioctl;
        operations.show_fdinfo = Some(Self::show_fdinfo);
        operations
    };

    /// # Safety
    ///
    /// `file` must be one with these operations, which is not released as long as the result is used.
    unsafe fn of<'a>(file: *mut bindings::file) -> &'a T {
        // SAFETY: By contract. Nobody changes it.
        let data = unsafe { (*file).private_data };
        // SAFETY: The file owns a reference, from `Arc::into_raw`, until its release.
        unsafe { &*data.cast::<T>() }
    }

    /// # Safety
    ///
    /// As all of them: for the kernel to call, with a file that has these operations.
    unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
        // SAFETY: By contract.
        let data = unsafe { (*file).private_data };
        // SAFETY: The last use of the file, which owns this reference.
        drop(unsafe { Arc::from_raw(data.cast::<T>().cast_const()) });
        0
    }

    /// # Safety
    ///
    /// As [`Self::release`], with a valid table.
    unsafe extern "C" fn poll(
        file: *mut bindings::file,
        table: *mut bindings::poll_table_struct,
    ) -> bindings::__poll_t {
        // SAFETY: By contract; a file that is polled is not released.
        let this = unsafe { Self::of(file) };
        // SAFETY: What poll was given. The file holds what the queue is a part of.
        unsafe { this.news().wait(file, table) };
        this.events()
    }

    /// # Safety
    ///
    /// As [`Self::release`].
    unsafe extern "C" fn ioctl(file: *mut bindings::file, command: u32, argument: usize) -> isize {
        // SAFETY: By contract; the caller holds the file.
        let this = unsafe { Self::of(file) };
        match this.ioctl(command, argument) {
            Ok(()) => 0,
            Err(error) => error.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// As [`Self::release`], with a valid `seq_file`.
    unsafe extern "C" fn show_fdinfo(seq: *mut bindings::seq_file, file: *mut bindings::file) {
        // SAFETY: By contract; the caller holds the file.
        let this = unsafe { Self::of(file) };
        // SAFETY: By contract, valid for the duration of the call.
        this.describe(unsafe { SeqFile::from_raw(seq) });
    }
}

/// An fd number and a file that are not joined yet.
pub(crate) struct PendingFile {
    reservation: FileDescriptorReservation,
    file: ARef<File>,
}

impl PendingFile {
    /// A file, closed on exec, that holds what it stands for, and the module.
    pub(crate) fn new<T: AnonymousFile>(what: Arc<T>) -> Result<Self> {
        let reservation = FileDescriptorReservation::get_unused_fd_flags(bindings::O_CLOEXEC)?;
        let raw = Arc::into_raw(what);
        // SAFETY: The operations are static, and those of a file that owns a reference to a `T`: on success, it owns `raw`.
        let file = unsafe {
            crate::bindings::anon_inode_getfile(
                T::NAME.as_char_ptr(),
                &Operations::<T>::TABLE,
                raw.cast_mut().cast(),
                bindings::O_RDONLY as c_int,
            )
        };
        let file = from_err_ptr(file).inspect_err(|_| {
            // SAFETY: No file was made, so the reference is still ours.
            drop(unsafe { Arc::from_raw(raw) });
        })?;
        let file = NonNull::new(file.cast::<File>()).ok_or(ENOMEM)?;
        Ok(Self {
            reservation,
            // SAFETY: A new file with one reference, which is ours; nobody has it in an fd table, so there is no `fdget_pos`
            // region.
            file: unsafe { ARef::from_raw(file) },
        })
    }

    pub(crate) fn fd(&self) -> i32 {
        self.reservation.reserved_fd() as i32
    }

    /// From now on the number means the file, for the caller's process.
    pub(crate) fn install(self) {
        self.reservation.fd_install(self.file);
    }
}
