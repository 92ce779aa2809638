// SPDX-License-Identifier: GPL-2.0

//! The `patched` lane: the hooks that are members of `struct vserver_ops` of the built-in LSM (`patches/`), and by ftrace what
//! both lanes hook. One of the files that may contain `unsafe`.
//!
//! The kernel calls the former through static calls, so no wrapped function sleeps inside; only those that may sleep
//! themselves hold [`Inside`]. Those that have a function of their own in the stock lane are declared together with it
//! (`#[member(...)]`), the others here.

use super::{
    engine,
    hook::hooks,
    prototype::NO_OPERATIONS,
    row::{Hook, Place},
    Inside,
};
use crate::{
    bindings::{self, pid_type, task_struct, vserver_ops},
    hooks,
    linux::{is_for_the_kernel, Pid, PidRole, Seq, TaskRef, TasksKept},
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::{Atomic, Relaxed},
        rcu,
    },
};

/// Where members of the operations are declared: in all that is attached always, and here.
const DECLARED: [&[&[Hook]]; 2] = [hooks::ALWAYS, &[HOOKS]];

static OPS: vserver_ops = operations();

/// How many members there are.
const MEMBERS: usize = size_of::<vserver_ops>() / size_of::<usize>();

/// All members, each from its hook. Does not build with one that has none, or two.
const fn operations() -> vserver_ops {
    let mut operations = NO_OPERATIONS;
    let mut found = 0;
    let mut index = 0;
    while let Some(hook) = member_at(index) {
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
const fn member_at(mut index: usize) -> Option<Hook> {
    let mut declared = 0;
    while declared < DECLARED.len() {
        let mut group = 0;
        while group < DECLARED[declared].len() {
            let hooks = DECLARED[declared][group];
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
        declared += 1;
    }
    None
}

static ATTACHED: Atomic<bool> = Atomic::new(false);

/// Attaches all hooks. `EBUSY`: another module has; `EOPNOTSUPP`: the LSM is off on this boot.
pub(super) fn attach(always: &[&[Hook]], with_inits: &[&[Hook]]) -> Result {
    // SAFETY: All members are set, and the table is static; `detach` unregisters it before the
    // module goes.
    let result = to_result(unsafe { bindings::vserver_register(&OPS) });
    match result {
        Ok(()) => {
            ATTACHED.store(true, Relaxed);
            return engine::attach(always, with_inits);
        }
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
    if ATTACHED.load(Relaxed) {
        ATTACHED.store(false, Relaxed);
        // SAFETY: `attach` registered this table.
        unsafe { bindings::vserver_unregister(&OPS) }
    }
}

/// How many hooks are attached, and how many there are.
pub(super) fn hooks() -> (u32, u32) {
    let (attached, total) = engine::hooks();
    let native = if ATTACHED.load(Relaxed) {
        MEMBERS as u32
    } else {
        0
    };
    (attached + native, total + MEMBERS as u32)
}

/// The hook at a place of the list of all, and whether it is attached. `None`: behind the last one.
pub(super) fn hook_at(index: usize) -> Option<(Hook, bool)> {
    match index.checked_sub(MEMBERS) {
        None => Some((member_at(index)?, ATTACHED.load(Relaxed))),
        Some(index) => engine::hook_at(index),
    }
}

hooks! {
    /// The caller holds RCU or tasklist_lock.
    #[member(task_visible)]
    ask fn task_visible(task: &TaskRef) -> bool {
        hooks::pid::task_in_view(task.as_task())
    }

    /// The caller holds RCU or tasklist_lock.
    #[member(task_listed)]
    ask fn task_listed(task: &TaskRef) -> bool {
        hooks::pid::task_listed(task.as_task()) || is_for_the_kernel()
    }

    #[member(pid_visible)]
    ask fn pid_visible(pid: &Pid) -> bool {
        // SAFETY: The caller holds RCU or tasklist_lock.
        hooks::pid::is_in_view(pid, unsafe { TasksKept::by_caller() })
    }

    #[member(pid_listed)]
    ask fn pid_listed(pid: &Pid) -> bool {
        // SAFETY: The caller holds RCU or tasklist_lock.
        hooks::pid::is_listed(pid, unsafe { TasksKept::by_caller() })
    }

    #[member(pid_waitable)]
    ask fn pid_waitable(pid: &Pid) -> bool {
        hooks::pid::is_in_view_or_child(pid)
    }

    #[member(pid_all_visible)]
    ask fn pid_all_visible(pid: &Pid, role: pid_type) -> bool {
        // SAFETY: The caller holds RCU or tasklist_lock.
        let kept = unsafe { TasksKept::by_caller() };
        PidRole::of(role).is_none_or(|role| hooks::pid::is_all_in_view(pid, role, kept))
    }

    #[member(proc_status)]
    ask fn proc_status(seq: &Seq, task: &TaskRef) -> () {
        let _inside = Inside::enter();
        hooks::proc_status::status(seq.as_seq_file(), task.as_task());
    }

    /// Who adopts the orphans of the caller, which exits; `reaper` would do so outside.
    #[member(child_reaper)]
    ask fn child_reaper(reaper: *mut task_struct) -> *mut task_struct {
        let guard = rcu::read_lock();
        hooks::init::reaper(&guard).map_or(reaper, |thread| thread.as_ptr().cast())
    }
}
