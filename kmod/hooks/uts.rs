// SPDX-License-Identifier: GPL-2.0

//! The host and the domain name of a context are its own, so its root may set them, without a capability that reaches
//! further. It may do so by the files in /proc/sys anyway (`machine_files.rs`).

use crate::{
    attach::hook::hooks,
    bindings::{pt_regs, CAP_SYS_ADMIN},
    context::membership,
    linux::{has_names_of_context, own_euid, Credentials},
};
use kernel::ffi::c_long;

/// The spectator has the host's names.
fn is_root_of_own_names() -> bool {
    membership::is_inside()
        && !membership::is_spectator()
        && has_names_of_context()
        && own_euid() == 0
}

/// Calls with the capability that the kernel asks for. `None`: the caller's own will do.
fn call(original: impl FnOnce(*const pt_regs) -> c_long, regs: *const pt_regs) -> Option<c_long> {
    is_root_of_own_names().then(|| match Credentials::of_caller() {
        Ok(own) => own.with(CAP_SYS_ADMIN).in_force_during(|| original(regs)),
        Err(error) => error.to_errno() as c_long,
    })
}

hooks! {
    instead(original) fn __x64_sys_sethostname(regs: *const pt_regs) -> c_long {
        call(original, regs)
    }

    instead(original) fn __x64_sys_setdomainname(regs: *const pt_regs) -> c_long {
        call(original, regs)
    }

    #[cfg(CONFIG_IA32_EMULATION)]
    instead(original) fn __ia32_sys_sethostname(regs: *const pt_regs) -> c_long {
        call(original, regs)
    }

    #[cfg(CONFIG_IA32_EMULATION)]
    instead(original) fn __ia32_sys_setdomainname(regs: *const pt_regs) -> c_long {
        call(original, regs)
    }
}
