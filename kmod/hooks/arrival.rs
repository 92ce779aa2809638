// SPDX-License-Identifier: GPL-2.0

//! The end of an arrival: a process that has entered executes a program.

use crate::{attach::hook::hooks, bindings::linux_binprm, context::membership, linux::File};
use kernel::ffi::c_int;

hooks! {
    /// The last question before the old program is gone, so that running out of memory can still be the answer.
    mediate fn security_bprm_creds_from_file(_bprm: *mut linux_binprm, _file: &File) -> c_int {
        membership::prepare_to_settle()
    }

    /// The memory and the other threads of the old program are gone, its close-on-exec descriptors are closed, and
    /// the new credentials are in force.
    mediate fn security_bprm_committed_creds(_bprm: *const linux_binprm) {
        membership::settle();
        Ok(())
    }
}
