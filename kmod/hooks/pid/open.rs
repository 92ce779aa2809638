// SPDX-License-Identifier: GPL-2.0

//! pidfd_open(2) of process 1 of a context. The compiler may have inlined the look-up into it, so
//! that the hooks of `lookup.rs` do not run. So the number that process 1 has outside is replaced by
//! a number of no process, and when the kernel finds no process for 1, it is called again with the
//! number that it knows.

use super::own_init::init_in_own_ns;
use crate::{
    attach::hook::hooks,
    linux::{PidNs, Registers},
};
use kernel::{
    error::code::ESRCH,
    ffi::{c_int, c_long},
    sync::rcu,
};

const NOBODY: c_int = c_int::MAX;

/// The kernel's number of process 1 of the caller's context, if `number` means that process inside
/// or outside.
fn named_init(number: c_int) -> Option<c_int> {
    let guard = rcu::read_lock();
    let raw = init_in_own_ns(&guard)?.number_in(PidNs::own()?);
    (number == 1 || number == raw).then_some(raw)
}

/// `None`: the number means the same to the caller and to the kernel.
fn open(number: c_int, mut call: impl FnMut(c_int) -> c_long) -> Option<c_long> {
    let raw = named_init(number)?;
    if number != 1 {
        return Some(call(NOBODY));
    }
    let result = call(number);
    Some(if result == ESRCH.to_errno() as c_long && raw > 1 {
        call(raw)
    } else {
        result
    })
}

hooks! {
    instead(original) fn __x64_sys_pidfd_open(registers: &Registers) -> c_long {
        let mut changed = registers.copy();
        open(changed.di as c_int, |number| {
            changed.di = number as usize;
            original(&raw const changed)
        })
    }

    #[cfg(CONFIG_IA32_EMULATION)]
    instead(original) fn __ia32_sys_pidfd_open(registers: &Registers) -> c_long {
        let mut changed = registers.copy();
        open(changed.bx as c_int, |number| {
            changed.bx = number as usize;
            original(&raw const changed)
        })
    }
}
