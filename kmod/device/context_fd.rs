// SPDX-License-Identifier: GPL-2.0

//! The context fd: polls `POLLPRI` when the process 1 of its context has exited or reboot(2) was called
//! there, `POLLIN | POLLHUP` when the context has ended, and tells more by STATUS. One of the files
//! that may contain `unsafe`, because the kernel crate has no anonymous inodes.
//!
//! The file owns a reference to the context, and (through `file_operations.owner`) to the module.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use super::ioctl::write;
use crate::{context::Context, uapi::IOC_STATUS};
use core::ptr::NonNull;
use kernel::{
    bindings,
    fs::{file::FileDescriptorReservation, File},
    prelude::*,
    seq_file::SeqFile,
    seq_print,
    sync::{aref::ARef, Arc},
};

struct Operations(bindings::file_operations);

// SAFETY: Never written after it was made.
unsafe impl Sync for Operations {}

static OPERATIONS: Operations = {
    // SAFETY: All-zero is a valid `file_operations`: no operation.
    let mut operations: bindings::file_operations = unsafe { core::mem::zeroed() };
    operations.owner = <crate::LocalModule as kernel::ModuleMetadata>::THIS_MODULE.as_ptr();
    operations.release = Some(release);
    operations.poll = Some(poll);
    operations.unlocked_ioctl = Some(ioctl);
    operations.compat_ioctl = bindings::compat_ptr_ioctl;
    operations.show_fdinfo = Some(show_fdinfo);
    Operations(operations)
};

/// An fd number and a file that are not joined yet.
pub(crate) struct Pending {
    reservation: FileDescriptorReservation,
    file: ARef<File>,
}

impl Pending {
    pub(crate) fn new(context: Arc<Context>) -> Result<Self> {
        let reservation = FileDescriptorReservation::get_unused_fd_flags(bindings::O_CLOEXEC)?;
        let raw = Arc::into_raw(context);
        // SAFETY: The operations are static; on success the file owns `raw`.
        let file = unsafe {
            crate::bindings::anon_inode_getfile(
                c"[vserver]".as_char_ptr(),
                &OPERATIONS.0,
                raw.cast_mut().cast(),
                bindings::O_RDONLY as c_int,
            )
        };
        // A pointer in the last page is an errno.
        let value = file as isize;
        if (-4095..0).contains(&value) {
            // SAFETY: No file was made, so the reference is still ours.
            drop(unsafe { Arc::from_raw(raw) });
            return Err(Error::from_errno(value as i32));
        }
        let file = NonNull::new(file.cast::<File>()).ok_or(ENOMEM)?;
        Ok(Self {
            reservation,
            // SAFETY: A new file with one reference, which is ours; nobody has it in an fd table,
            // so there is no `fdget_pos` region.
            file: unsafe { ARef::from_raw(file) },
        })
    }

    pub(crate) fn fd(&self) -> i32 {
        self.reservation.reserved_fd() as i32
    }

    pub(crate) fn install(self) {
        self.reservation.fd_install(self.file);
    }
}

/// # Safety
///
/// `file` must be one that [`Pending::new`] made.
unsafe fn context_of<'a>(file: *mut bindings::file) -> &'a Context {
    // SAFETY: The file owns a reference, from `Arc::into_raw`, until its release.
    unsafe { &*(*file).private_data.cast::<Context>() }
}

/// # Safety
///
/// As all of [`OPERATIONS`]: for the kernel to call, with a file that [`Pending::new`] made.
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The last use of the file; the reference was leaked for it by `Pending::new`.
    drop(unsafe { Arc::from_raw((*file).private_data.cast::<Context>().cast_const()) });
    0
}

/// # Safety
///
/// As [`release`], with a valid table.
unsafe extern "C" fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: Called for files with our operations only.
    let context = unsafe { context_of(file) };
    // SAFETY: What poll was given; the file holds the context.
    unsafe { context.news.wait(file, table) };
    let mut events = 0;
    if context.init.has_news() {
        events |= bindings::POLLPRI;
    }
    if context.is_over() {
        events |= bindings::POLLIN | bindings::POLLRDNORM | bindings::POLLHUP;
    }
    events
}

/// # Safety
///
/// As [`release`].
unsafe extern "C" fn ioctl(file: *mut bindings::file, command: u32, argument: usize) -> isize {
    // SAFETY: Called for files with our operations only.
    let context = unsafe { context_of(file) };
    let result = match command {
        IOC_STATUS => write(argument, &context.status()),
        _ => Err(ENOTTY),
    };
    match result {
        Ok(()) => 0,
        Err(error) => error.to_errno() as isize,
    }
}

/// # Safety
///
/// As [`release`], with a valid `seq_file`.
unsafe extern "C" fn show_fdinfo(seq: *mut bindings::seq_file, file: *mut bindings::file) {
    // SAFETY: Called for files with our operations only.
    let context = unsafe { context_of(file) };
    // SAFETY: The kernel passes a valid seq_file for the duration of the call.
    let seq = unsafe { SeqFile::from_raw(seq) };
    seq_print!(
        seq,
        "s_context:\t{}\ntasks:\t{}\n",
        context.number(),
        context.tasks()
    );
}
