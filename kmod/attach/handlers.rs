// SPDX-License-Identifier: GPL-2.0

//! What is attached, and what is done around that.

use super::row::Hook;

/// The handlers, and what they do around that they are attached: each function is called once, in this order.
pub(crate) trait Handlers {
    /// What `hooks!` declares and is attached as long as the module is loaded.
    const ALWAYS: &'static [&'static [Hook]];
    /// What is attached with the first process 1 of a context.
    const WITH_INITS: &'static [&'static [Hook]];
    /// They are attached.
    fn attached();
    /// They are about to be detached: there is no context left.
    fn leaving();
    /// They are detached, and nobody is inside them: what else points to the module is not to call it any more.
    fn silence();
    /// A grace period of Tasks RCU after that: nothing is to point to the module any more.
    fn forget();
    /// Another one after that.
    fn gone();
}
