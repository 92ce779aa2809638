// SPDX-License-Identifier: GPL-2.0

//! Birth and end of tasks.

use crate::task::{self, Prepared};
use kernel::{prelude::*, task::Task};

/// A task is being made by the caller: it inherits the context, within the limits. May sleep.
pub(crate) fn alloc(child: &Task) -> Result {
    let (context, network) = (task::own_context(), task::own_network());
    if context.is_none() && network.is_none() {
        return Ok(());
    }
    let entry = Prepared::new(context.clone(), network)?;
    if let Some(context) = context {
        // The caller is in it, so it has not ended.
        context.charge().map_err(|_| EAGAIN)?;
    }
    entry.install(child);
    Ok(())
}

/// A task is being reaped, by its parent or by itself: until now, as a zombie, it counted.
pub(crate) fn release(task: &Task) {
    task::release(task);
}

/// The memory of a task is being freed, also of one that never came to life. Atomic context.
pub(crate) fn free(task: &Task) {
    task::remove(task);
}
