// SPDX-License-Identifier: GPL-2.0

//! Who is inside: tasks in contexts, by a mark; and in functions of the module, by a count.

use crate::bindings;
use kernel::sync::atomic::{Atomic, Relaxed};

/// A task in a context, or confined to addresses, has this bit of its flags. The kernel does not use it: the name goes when it
/// does, and then this does not compile. A task sets it in ENTER, its children inherit it, nothing clears it. So the question
/// whether a task is in a context at all, which is asked far more often than any other, needs no look-up.
pub(crate) const PF_IN_CONTEXT: u32 = bindings::PF__HOLE__40000000;

/// Who calls a hooked function.
pub(crate) struct Caller;

/// What the hooks ask of [`Caller`]. It is answered above, by what knows contexts, and put into each hook by the compiler.
pub(crate) trait IsInside {
    /// Whether the caller is in a context.
    fn is_inside() -> bool;
}

static INSIDE: Atomic<i64> = Atomic::new(0);

/// Held by functions that may sleep for a short time, or whose caller holds the module.
pub(crate) struct Inside(());

impl Inside {
    #[inline]
    pub(crate) fn enter() -> Self {
        INSIDE.add(1, Relaxed);
        Self(())
    }
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        INSIDE.add(-1, Relaxed);
    }
}

/// How many there are.
pub(super) fn count() -> i64 {
    INSIDE.load(Relaxed)
}
