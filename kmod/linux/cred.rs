// SPDX-License-Identifier: GPL-2.0

//! User namespaces, and the credentials of tasks.

use crate::{bindings, policy::visibility::UserNamespace};
use core::ptr::NonNull;
use kernel::{sync::rcu, task::Task};

/// A user namespace, with a reference.
pub(crate) struct UserNs(NonNull<bindings::user_namespace>);

// SAFETY: Counted by an atomic; any task may drop a reference.
unsafe impl Send for UserNs {}
// SAFETY: Only compared, and read where it never changes.
unsafe impl Sync for UserNs {}

impl UserNs {
    /// The caller's.
    pub(crate) fn own() -> Self {
        // SAFETY: The caller's credentials hold it, and it never is null.
        unsafe {
            Self(NonNull::new_unchecked(
                bindings::vserver_inline_get_user_ns(bindings::current_user_ns()),
            ))
        }
    }

    /// Whether the caller has CAP_SYS_ADMIN there. No audit of a mere question.
    pub(crate) fn is_caller_admin(&self) -> bool {
        // SAFETY: `self` holds it.
        unsafe { bindings::ns_capable_noaudit(self.0.as_ptr(), bindings::CAP_SYS_ADMIN as i32) }
    }

    /// Where a task's user namespace is, seen from this one, and its permitted capabilities there.
    pub(crate) fn authority_of(&self, task: &Task, _guard: &rcu::Guard) -> (UserNamespace, u64) {
        // SAFETY: Credentials are freed a grace period after a task has changed them. They hold their
        // user namespace, and that holds those above it.
        unsafe {
            let credentials = (&raw const (*task.as_ptr()).real_cred).read_volatile();
            let permitted = (*credentials).cap_permitted.val;
            let mut namespace = (*credentials).user_ns;
            if namespace == self.0.as_ptr() {
                return (UserNamespace::Same, permitted);
            }
            while !namespace.is_null() {
                namespace = (*namespace).parent;
                if namespace == self.0.as_ptr() {
                    return (UserNamespace::Inner, permitted);
                }
            }
            (UserNamespace::Other, permitted)
        }
    }
}

impl Drop for UserNs {
    fn drop(&mut self) {
        // SAFETY: The reference that `own` took.
        unsafe { bindings::vserver_inline_put_user_ns(self.0.as_ptr()) }
    }
}
