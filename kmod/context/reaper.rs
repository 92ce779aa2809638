// SPDX-License-Identifier: GPL-2.0

//! What is to be done for contexts that have ended and may sleep.

use super::{
    context::{take_ended, Context, REAPING},
    network::Network,
    registry,
};
use crate::linux;
use kernel::sync::{atomic::Relaxed, rcu, Arc};

/// What else is to be given up with a context.
pub(crate) trait AtEnd {
    /// The context of this network has ended.
    fn ended(network: &Network);
}

/// In module init, before there is a context.
pub(crate) fn init<A: AtEnd>() {
    REAPING.init(reap::<A>);
}

/// At module exit, when no context is left and no hook is attached.
pub(crate) fn exit() {
    REAPING.flush();
    rcu::rcu_barrier();
    registry::exit();
}

/// In process context: frees the numbers of the contexts that ended, tells who waits, lets go.
fn reap<A: AtEnd>() {
    let first = take_ended();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: On the stack, a context is kept by its life, which is dropped below only.
        let context = unsafe { &*next };
        registry::remove(context);
        context.let_go_of_namespaces();
        context.keep_init_hooks(None);
        A::ended(context.network());
        context.news.wake();
        next = context.ended_next.load(Relaxed);
    }
    if first.is_null() {
        return;
    }
    // Whoever found one of them through a task has taken a reference by then, or none at all.
    rcu::synchronize_rcu();
    next = first;
    while !next.is_null() {
        // SAFETY: `born` leaked this reference for us, and each context is pushed once.
        let context: Arc<Context> = unsafe { Arc::from_raw(next.cast_const()) };
        next = context.ended_next.load(Relaxed);
        drop(context);
        linux::module_put();
    }
}
