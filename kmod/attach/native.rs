// SPDX-License-Identifier: GPL-2.0

//! The `patched` lane: the hooks that are members of `struct vserver_ops` of the built-in LSM (`patches/`). What both lanes hook
//! is attached by ftrace (`engine`). One of the files that may contain `unsafe`.
//!
//! The kernel calls the former through static calls, so no wrapped function sleeps inside; only those that may sleep
//! themselves hold [`Inside`](super::Inside). Those that have a function of their own in the stock lane are declared together with
//! it (`#[member(...)]`).

use super::{
    engine,
    handlers::Handlers,
    prototype::NO_OPERATIONS,
    row::{Hook, Place},
};
use crate::bindings::{self, vserver_ops};
use core::{marker::PhantomData, ptr};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::{Atomic, Relaxed},
};

/// The operations, by the declarations of these handlers.
struct Operations<H>(PhantomData<H>);

impl<H: Handlers> Operations<H> {
    const TABLE: vserver_ops = operations(H::ALWAYS);
}

/// How many members there are.
const MEMBERS: usize = size_of::<vserver_ops>() / size_of::<usize>();

/// All members, each from its hook. Does not build with one that has none, or two.
const fn operations(declared: &[&[Hook]]) -> vserver_ops {
    let mut operations = NO_OPERATIONS;
    let mut found = 0;
    let mut index = 0;
    while let Some(hook) = member_at(declared, index) {
        if let Place::Member { offset } = hook.place {
            let member = (&raw mut operations)
                .wrapping_byte_add(offset)
                .cast::<Option<unsafe extern "C" fn()>>();
            // SAFETY: A member is at that offset, and all are function pointers. `hooks!` has made the entry, and has checked
            // that it is of the member's type.
            unsafe {
                assert!((*member).is_none(), "a member of vserver_ops has two hooks");
                *member = Some(core::mem::transmute::<*const (), unsafe extern "C" fn()>(
                    hook.entry,
                ));
            }
            found += 1;
        }
        index += 1;
    }
    assert!(found == MEMBERS, "a member of vserver_ops has no hook");
    operations
}

/// The hook of a member, by its place among them.
const fn member_at(declared: &[&[Hook]], mut index: usize) -> Option<Hook> {
    let mut group = 0;
    while group < declared.len() {
        let hooks = declared[group];
        let mut place = 0;
        while place < hooks.len() {
            if matches!(hooks[place].place, Place::Member { .. }) {
                if index == 0 {
                    return Some(hooks[place]);
                }
                index -= 1;
            }
            place += 1;
        }
        group += 1;
    }
    None
}

/// What is registered, or null.
static REGISTERED: Atomic<*mut vserver_ops> = Atomic::new(ptr::null_mut());

fn is_registered() -> bool {
    !REGISTERED.load(Relaxed).is_null()
}

/// Has the kernel call the handlers. `EBUSY`: another module has; `EOPNOTSUPP`: the LSM is off on this boot.
pub(super) fn register<H: Handlers>() -> Result {
    let operations: &'static vserver_ops = &Operations::<H>::TABLE;
    // SAFETY: All members are set, and the table is static; `detach` unregisters it before the
    // module goes.
    let result = to_result(unsafe { bindings::vserver_register(operations) });
    match result {
        Ok(()) => REGISTERED.store(ptr::from_ref(operations).cast_mut(), Relaxed),
        Err(EOPNOTSUPP) => {
            pr_err!("the vserver LSM is not enabled: boot with it in lsm= or CONFIG_LSM\n")
        }
        Err(EBUSY) => pr_err!("another module is registered with the vserver LSM\n"),
        Err(_) => {}
    }
    result
}

/// Detaches what was attached. Calls can still be under way after it.
pub(super) fn detach() {
    engine::detach();
    let registered = REGISTERED.load(Relaxed);
    if !registered.is_null() {
        REGISTERED.store(ptr::null_mut(), Relaxed);
        // SAFETY: `register` registered this table.
        unsafe { bindings::vserver_unregister(registered) }
    }
}

/// How many hooks are attached, and how many there are.
pub(super) fn hooks() -> (u32, u32) {
    let (attached, total) = engine::hooks();
    let native = if is_registered() { MEMBERS as u32 } else { 0 };
    (attached + native, total + MEMBERS as u32)
}

/// The hook at a place of the list of all, and whether it is attached. `None`: behind the last one.
pub(super) fn hook_at(always: &[&[Hook]], index: usize) -> Option<(Hook, bool)> {
    match index.checked_sub(MEMBERS) {
        None => Some((member_at(always, index)?, is_registered())),
        Some(index) => engine::hook_at(index),
    }
}
