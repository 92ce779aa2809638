// SPDX-License-Identifier: GPL-2.0

//! What is sent with a message on a Unix socket.
//!
//! C header: `include/net/scm.h`.

use super::{kernel_types, read_once, Pid};
use crate::bindings;

kernel_types! {
    /// What is being sent with a message.
    ScmCookie = scm_cookie;
}

impl ScmCookie {
    /// The process whose credentials are.
    pub(crate) fn pid(&self) -> Option<&Pid> {
        // SAFETY: Held by the cookie.
        unsafe { Pid::from_nullable(read_once!(self, pid)) }
    }

    /// Lets go of all of it. Sleeps.
    pub(crate) fn destroy(&self) {
        // SAFETY: The sender's own, which nobody else uses yet.
        unsafe { bindings::vserver_inline_scm_destroy(self.as_ptr()) }
    }
}
