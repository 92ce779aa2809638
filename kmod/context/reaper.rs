// SPDX-License-Identifier: GPL-2.0

//! What is to be done for contexts that have ended and may sleep.

use super::{network::Network, registry};

/// What else is to be given up with a context.
pub(crate) trait AtEnd {
    /// The context of this network has ended.
    fn ended(network: &Network);
}

/// In module init, before there is a context.
pub(crate) fn init<A: AtEnd>() {
    registry::CONTEXTS.init(c"vserver_contexts", reap::<A>);
}

/// At module exit, when no context is left and no hook is attached.
pub(crate) fn exit() {
    registry::CONTEXTS.exit();
}

/// In process context, when contexts have ended and their numbers are free: tells who waits, lets go.
fn reap<A: AtEnd>() {
    registry::CONTEXTS.reap(|context| {
        context.let_go_of_namespaces();
        context.keep_init_hooks(None);
        A::ended(context.network());
        context.news.wake();
    });
}
