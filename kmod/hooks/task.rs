// SPDX-License-Identifier: GPL-2.0

//! Birth and end of tasks.

use crate::task::{self, Prepared};
use kernel::{current, prelude::*, task::Task};

/// A task is being made by the caller: it inherits the context, within the limits. May sleep.
pub(crate) fn alloc(child: &Task) -> Result {
    let Some(context) = task::context(current!()) else {
        return Ok(());
    };
    let entry = Prepared::new(&context)?;
    if let Err(error) = context.charge_limited() {
        entry.discard();
        return Err(error);
    }
    entry.install(child);
    Ok(())
}

/// A task goes for good. Atomic context.
pub(crate) fn free(task: &Task) {
    task::remove(task);
}
