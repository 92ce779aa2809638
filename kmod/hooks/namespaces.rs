// SPDX-License-Identifier: GPL-2.0

//! Namespaces that the caller is in none of: those of the host and of other contexts, which have
//! their own.

use crate::attach::hook::hooks;
use kernel::prelude::*;

hooks! {
    /// Asked by listns(), by the handles of namespaces, and for the mount namespace before or after
    /// one. The kernel looks for a capability over the machine, which a context may have.
    mediate fn may_see_all_namespaces() -> bool {
        Err(EPERM)
    }
}
