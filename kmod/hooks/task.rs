// SPDX-License-Identifier: GPL-2.0

//! Birth and end of tasks.

use crate::{
    attach::hook::hooks,
    bindings::{CLONE_PARENT, CLONE_THREAD},
    context::{
        membership::{self, Prepared},
        Context,
    },
    linux::{self, FreedTask, NewTask, ReapedTask},
};
use kernel::{current, prelude::*, sync::rcu};

/// Whether the caller's parent, whose child a new process would be, is there for the caller.
fn has_parent_inside() -> bool {
    let guard = rcu::read_lock();
    membership::may_touch(current!(), linux::own_parent(&guard))
}

/// A task is being made by the caller: it inherits the context, within the limits. May sleep.
fn alloc(child: &NewTask, clone_flags: u64) -> Result {
    let (context, network) = (membership::own_context(), membership::own_network());
    if context.is_none() && network.is_none() {
        return Ok(());
    }
    // A parent outside would have to wait for it. The kernel refuses the same to a process 1.
    let adopts = clone_flags & u64::from(CLONE_PARENT | CLONE_THREAD) == u64::from(CLONE_PARENT);
    if adopts && context.is_some() && !has_parent_inside() {
        return Err(EINVAL);
    }
    let entry = Prepared::of_child(context.as_deref(), network)?;
    let charge = match context {
        // The caller is in it, so it has not ended.
        Some(context) => Some(Context::charge(context).map_err(|_| EAGAIN)?),
        None => None,
    };
    entry.install(child, charge);
    Ok(())
}

/// A task is being reaped, by its parent or by itself: until now, as a zombie, it counted.
fn release(task: &ReapedTask) {
    membership::release(task);
}

/// The memory of a task is being freed, also of one that never came to life. Atomic context.
#[inline(never)] // What it has on the stack would keep the hook from going on by a jump.
fn free(task: &FreedTask) {
    membership::remove(task);
}

hooks! {
    #[member(task_alloc)]
    wrap(original) fn security_task_alloc(child: &NewTask, flags: u64) -> ::kernel::ffi::c_int {
        let error = original();
        if error != 0 {
            return error;
        }
        match alloc(child, flags) {
            Ok(()) => 0,
            Err(error) => {
                // The caller takes a failure to mean that nothing is left of the security modules' share. The kernel itself
                // sees to that for its own modules.
                #[cfg(not(CONFIG_SECURITY_VSERVER))]
                linux::security_task_free(child);
                error.to_errno()
            }
        }
    }

    /// The task is still whole when its security share is freed.
    #[member(task_free)]
    mediate_anyone fn security_task_free(task: &FreedTask) -> () {
        free(task);
        Ok(())
    }

    /// `release_task` calls it once for each task that it reaps. (It may reap two in one call.)
    #[member(task_release)]
    mediate_anyone fn pidfs_exit(task: &ReapedTask) -> () {
        release(task);
        Ok(())
    }
}
