// SPDX-License-Identifier: GPL-2.0

//! Terminals.

use super::{kernel_types, read_once, Dentry, File, Inode, Pid};
use crate::{attach::kallsyms, bindings};
use core::{ops::Deref, ptr::NonNull};
use kernel::sync::rcu;

kernel_types! {
    /// A terminal, or one side of a pair.
    Tty = tty_struct;
}

impl Tty {
    fn is_in_pairs(&self, side: bindings::tty_driver_subtype) -> bool {
        let driver = read_once!(self, driver);
        // SAFETY: A terminal holds its driver, in which these do not change.
        unsafe {
            (*driver).type_ == bindings::tty_driver_type_TTY_DRIVER_TYPE_PTY
                && (*driver).subtype == side
        }
    }

    /// The side of a pair that programs run on; of another terminal itself.
    pub(crate) fn terminal_side(&self) -> Option<&Tty> {
        if self.is_in_pairs(bindings::tty_driver_subtype_PTY_TYPE_MASTER) {
            // SAFETY: Both sides of a pair end together.
            unsafe { Tty::from_nullable(read_once!(self, link)) }
        } else {
            Some(self)
        }
    }

    /// Whether it is the side of a pair that programs run on.
    pub(crate) fn is_pseudo(&self) -> bool {
        self.is_in_pairs(bindings::tty_driver_subtype_PTY_TYPE_SLAVE)
    }

    /// Whether it is the master's side of a pair.
    pub(crate) fn is_master(&self) -> bool {
        self.is_in_pairs(bindings::tty_driver_subtype_PTY_TYPE_MASTER)
    }

    /// The inode of a pair's terminal side; `None`: it is of another kind, or its master is gone, and nobody can do
    /// anything with it. The mark that the master has gone is set before the entry is, and the memory of that stays for a
    /// grace period.
    pub(crate) fn pty<'a>(&self, _guard: &'a rcu::Guard) -> Option<&'a Inode> {
        if !self.is_pseudo() {
            return None;
        }
        let entry: *const bindings::dentry = read_once!(self, driver_data).cast();
        // Ones with BSD names have no entry.
        // On x86 no later load comes before this one.
        if entry.is_null()
            || read_once!(self, flags) & (1 << bindings::tty_struct_flags_TTY_OTHER_CLOSED) != 0
        {
            return None;
        }
        // SAFETY: See above.
        unsafe { Inode::from_nullable(read_once!(Dentry::from_ptr(entry), d_inode)) }
    }

    /// Whether there is somebody in the session on it for whom this is so.
    pub(crate) fn has_in_session(&self, is_so: impl FnOnce(&Pid) -> bool) -> bool {
        let tty = self.as_ptr();
        // SAFETY: The lock guards the session, which is held until after the question.
        unsafe {
            bindings::vserver_inline_spin_lock_irq(&raw mut (*tty).ctrl.lock);
            let session = (*tty).ctrl.session;
            if !session.is_null() {
                bindings::vserver_inline_get_pid(session);
            }
            bindings::vserver_inline_spin_unlock_irq(&raw mut (*tty).ctrl.lock);
            let found = !session.is_null() && is_so(Pid::from_ptr(session));
            bindings::put_pid(session);
            found
        }
    }
}

/// The caller's own terminal.
pub(crate) struct OwnTty(NonNull<bindings::tty_struct>);

impl OwnTty {
    pub(crate) fn get() -> Option<Self> {
        // SAFETY: Process context. The reference that it returns is ours.
        NonNull::new(unsafe { bindings::get_current_tty() }).map(Self)
    }
}

impl Deref for OwnTty {
    type Target = Tty;

    fn deref(&self) -> &Tty {
        // SAFETY: Held.
        unsafe { Tty::from_ptr(self.0.as_ptr()) }
    }
}

impl Drop for OwnTty {
    fn drop(&mut self) {
        // SAFETY: Got by `get`.
        unsafe { bindings::tty_kref_put(self.0.as_ptr()) }
    }
}

impl File {
    /// Whether it is a terminal's that is in use: one that is open as a path only, or that has been hung up, has other
    /// operations.
    pub(crate) fn is_terminal(&self) -> bool {
        let operations = read_once!(self, f_op);
        // SAFETY: A file holds its operations.
        kallsyms::TTY_IOCTL.is(unsafe { (*operations).unlocked_ioctl })
    }

    /// Of a file of the terminals' driver.
    pub(crate) fn tty(&self) -> Option<&Tty> {
        let private: *const bindings::tty_file_private = read_once!(self, private_data).cast();
        // SAFETY: What the driver's open has set.
        unsafe {
            private
                .as_ref()
                .and_then(|private| Tty::from_nullable(private.tty))
        }
    }
}
