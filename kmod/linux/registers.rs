// SPDX-License-Identifier: GPL-2.0

//! The registers that a system call is called with.

use super::kernel_types;
use crate::bindings;

kernel_types! {
    /// The registers of the caller.
    Registers = pt_regs;
}

impl Registers {
    /// A copy, to call with other arguments.
    pub(crate) fn copy(&self) -> bindings::pt_regs {
        // SAFETY: Valid by the type's invariant. They are the caller's own, which it does not change meanwhile.
        unsafe { *self.as_ptr() }
    }
}

/// A system call that sends a signal by a number. It names a process, and also the group and the session that this leads or has
/// led; these may have members in view when the process is not.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOfSignal {
    /// kill(-1).
    ToAll,
    /// kill or rt_sigqueueinfo of a number above 0, which means the process and nothing else.
    ToProcess,
    /// Any other call.
    Other,
}

#[cfg(not(CONFIG_SECURITY_VSERVER))]
impl CallOfSignal {
    /// The one that the caller is in.
    pub(crate) fn of_caller() -> Self {
        // SAFETY: The caller's own, which are there as long as it is in the kernel.
        let registers = unsafe { &*bindings::vserver_inline_task_pt_regs(super::current_raw()) };
        // SAFETY: Looks at the caller only.
        let is_ia32 = unsafe { bindings::vserver_inline_in_ia32_syscall() };
        let number = registers.orig_ax as u32;
        let (is_kill, is_queue, to) = if is_ia32 {
            (
                number == bindings::__NR_ia32_kill,
                number == bindings::__NR_ia32_rt_sigqueueinfo,
                registers.bx as i32,
            )
        } else {
            (
                number == bindings::__NR_kill,
                number == bindings::__NR_rt_sigqueueinfo,
                registers.di as i32,
            )
        };
        match to {
            -1 if is_kill => Self::ToAll,
            1.. if is_kill || is_queue => Self::ToProcess,
            _ => Self::Other,
        }
    }
}
