// SPDX-License-Identifier: GPL-2.0

//! All contexts, by number.
//!
//! # Locks
//!
//! The mutex of `CONTEXTS` guards the numbers. Nothing that can come from a hook takes it; hooks run
//! under tasklist_lock, RCU, and in softirq. Inside it no other lock of ours is taken. The task
//! map's lock is a leaf and never held together with it.
//!
//! Nothing here walks all tasks. All contexts are walked for a spectator only.

use super::{
    context::{begun, Context, Made, NoCharge},
    membership,
    network::Network,
};
use crate::{
    linux::{Fresh, Lives, LockedLives, TaskCharge},
    policy::enter::Decision,
    uapi::*, //
};
use kernel::{
    prelude::*,
    sync::{rcu, Arc},
};

/// The numbers that are in use.
pub(super) static CONTEXTS: Lives<Context> = Lives::new();

/// The most contexts at once.
pub(crate) const CONTEXTS_MAX: u32 = (CONTEXT_MAX - CONTEXT_MIN + 1) as u32;

/// Finds or makes the context of a decision that is not `Stay`, and charges it for the caller, who has not moved yet and whose
/// network is `from`.
pub(crate) fn obtain(
    decision: Decision,
    flags: u32,
    caps_dropped: u64,
    outer: Option<Arc<Context>>,
    from: Option<&Network>,
) -> Result<TaskCharge<Context>> {
    let within = membership::own_context();
    match decision {
        Decision::Stay => Err(EINVAL),
        Decision::New => {
            let made = Made {
                within: within.as_deref(),
                is_spectator: false,
            };
            let context = Context::new(flags, caps_dropped, outer, from, &made)?;
            publish(CONTEXTS.lock(), context, CONTEXT_DYNAMIC_MIN, CONTEXT_MAX)
        }
        Decision::Numbered {
            context: number,
            create,
        } => {
            let mut fresh = None;
            loop {
                let mut contexts = CONTEXTS.lock();
                if let Some(found) = contexts.find(number) {
                    if found.flags() & FLAG_PRIVATE != 0 && !found.is_over() {
                        return Err(EPERM);
                    }
                    match Context::charge(found) {
                        Ok(charge) => {
                            charge.thing().add_flags(flags);
                            return Ok(charge);
                        }
                        Err(NoCharge::Full | NoCharge::Ending) => return Err(EAGAIN),
                        Err(NoCharge::Ended) => (),
                    }
                    // It has ended and is not reaped yet: its number is free.
                    contexts.remove(number);
                }
                let Some(context) = fresh.take() else {
                    drop(contexts);
                    if !create {
                        return Err(EINVAL);
                    }
                    // Not under the lock, as it allocates; then the context is looked for once more.
                    let made = Made {
                        within: within.as_deref(),
                        is_spectator: number == CONTEXT_SPECTATOR,
                    };
                    fresh = Some(Context::new(flags, caps_dropped, None, from, &made)?);
                    continue;
                };
                return publish(contexts, context, number, number);
            }
        }
    }
}

/// Gives a context a number of a range, and lets go of the lock. `EAGAIN`: all are in use.
fn publish(
    mut contexts: LockedLives<Context>,
    context: Fresh<Context>,
    first: i32,
    last: i32,
) -> Result<TaskCharge<Context>> {
    let result = contexts.next_free(context, first, last, |context, number| {
        context.set_number(number);
        begun(context);
    });
    // What has no number goes after that.
    drop(contexts);
    result.map_err(|(error, _context)| if error == ENOSPC { EAGAIN } else { error })
}

/// A context that exists, by number.
pub(crate) fn find(number: i32) -> Option<Arc<Context>> {
    let found = CONTEXTS.lock().find(number);
    found.filter(|context| !context.is_over())
}

/// The next living vserver context above a number.
pub(crate) fn after(number: i32) -> Option<Arc<Context>> {
    let contexts = CONTEXTS.lock();
    let mut next = number.checked_add(1)?.max(CONTEXT_MIN);
    loop {
        let context = contexts.at_or_after(next)?;
        if !context.is_over() {
            return Some(context);
        }
        next = context.number() + 1;
    }
}

/// The first answer of a context that has one. Callable under RCU only, by which a context that is found here is kept.
pub(crate) fn find_map<T>(
    guard: &rcu::Guard,
    mut ask: impl FnMut(&Context) -> Option<T>,
) -> Option<T> {
    let mut next = CONTEXT_MIN;
    loop {
        let context = CONTEXTS.at_or_after(next, guard)?;
        if let Some(answer) = ask(context) {
            return Some(answer);
        }
        next = context.number().checked_add(1)?;
    }
}
