// SPDX-License-Identifier: GPL-2.0

//! New credentials for the caller.
//!
//! C header: `include/linux/cred.h`.

use super::{Ucounts, User};
use crate::bindings;
use core::{
    mem::{self, ManuallyDrop},
    ptr::{self, NonNull},
};
use kernel::prelude::*;

/// The caller's effective user, outside all user namespaces.
pub(crate) fn own_euid() -> u32 {
    // SAFETY: Only the caller changes its credentials.
    unsafe { (*(*super::current_raw()).cred).euid.val }
}

/// The highest capability that the kernel knows.
pub(crate) const CAP_LAST: u32 = bindings::CAP_LAST_CAP;

/// Credentials that are not in force yet.
///
/// # Invariants
///
/// From `prepare_creds` or `prepare_kernel_cred` by this task, and not committed.
pub(crate) struct Credentials {
    cred: NonNull<bindings::cred>,
    /// The counters that the caller leaves, when its user stays the same.
    left: Option<Ucounts>,
}

impl Credentials {
    /// The caller's, as they are. `ENOMEM` is the only error.
    pub(crate) fn of_caller() -> Result<Self> {
        // SAFETY: Copies those of `current`. INVARIANT: Just prepared.
        let cred = NonNull::new(unsafe { bindings::prepare_creds() }).ok_or(ENOMEM)?;
        Ok(Self { cred, left: None })
    }

    /// Those of the kernel itself. `ENOMEM` is the only error.
    pub(crate) fn of_kernel() -> Result<Self> {
        // SAFETY: Copies those of the first task, which always has some. INVARIANT: Just prepared.
        let cred = unsafe { bindings::prepare_kernel_cred(&raw mut bindings::init_task) };
        let cred = NonNull::new(cred).ok_or(ENOMEM)?;
        Ok(Self { cred, left: None })
    }

    /// Without some capabilities, for good.
    pub(crate) fn without(self, capabilities: u64) -> Self {
        // SAFETY: Not in force, so they are this caller's alone.
        let cred = unsafe { &mut *self.cred.as_ptr() };
        for set in [
            &mut cred.cap_effective,
            &mut cred.cap_permitted,
            &mut cred.cap_inheritable,
            &mut cred.cap_bset,
            &mut cred.cap_ambient,
        ] {
            set.val &= !capabilities;
        }
        self
    }

    /// With one capability (`CAP_*`) in effect.
    pub(crate) fn with(self, capability: u32) -> Self {
        // SAFETY: Not in force, so they are this caller's alone.
        unsafe { (*self.cred.as_ptr()).cap_effective.val |= 1 << capability };
        self
    }

    /// Calls something with them in force, and not beyond that.
    pub(crate) fn in_force_during<R>(self, call: impl FnOnce() -> R) -> R {
        // SAFETY: `self` keeps them during the call, and the caller's own are put back after it.
        let own = unsafe { bindings::vserver_inline_override_creds(self.cred.as_ptr()) };
        let result = call();
        // SAFETY: See above.
        unsafe { bindings::vserver_inline_override_creds(own) };
        result
    }

    /// Without keyrings.
    pub(crate) fn without_keys(self) -> Self {
        #[cfg(CONFIG_KEYS)]
        {
            // SAFETY: Not in force, so they are this caller's alone.
            let cred = unsafe { &mut *self.cred.as_ptr() };
            for key in [
                &mut cred.session_keyring,
                &mut cred.process_keyring,
                &mut cred.thread_keyring,
                &mut cred.request_key_auth,
            ] {
                // SAFETY: The reference that they held, or null.
                unsafe { bindings::key_put(mem::replace(key, ptr::null_mut())) };
            }
        }
        self
    }

    /// What the caller does counts elsewhere.
    pub(crate) fn counted_by(mut self, ucounts: Ucounts, user: User) -> Self {
        // SAFETY: Not in force, so they are this caller's alone; they own a reference to both.
        let (left, is_same_user) = unsafe {
            let cred = &mut *self.cred.as_ptr();
            let left = Ucounts::from_raw(mem::replace(&mut cred.ucounts, ucounts.into_raw()));
            let before = User::from_raw(mem::replace(&mut cred.user, user.into_raw()));
            (left, cred.user == before.as_ptr())
        };
        self.left = is_same_user.then_some(left);
        self
    }

    /// Puts them in force.
    pub(crate) fn commit(self) {
        let mut this = ManuallyDrop::new(self);
        let left = this.left.take();
        if left.is_some() {
            // The kernel moves the process from the old counters to the new ones only when its user changes.
            // SAFETY: Not in force yet.
            let new = unsafe { ManuallyDrop::new(Ucounts::from_raw(this.cred.as_ref().ucounts)) };
            new.count_process(true);
        }
        // SAFETY: By the invariant of the type; this consumes them.
        unsafe { bindings::commit_creds(this.cred.as_ptr()) };
        if let Some(left) = left {
            left.count_process(false);
        }
    }
}

impl Drop for Credentials {
    fn drop(&mut self) {
        // SAFETY: By the invariant of the type (`commit` forgets them).
        unsafe { bindings::abort_creds(self.cred.as_ptr()) }
    }
}
