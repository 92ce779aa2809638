// SPDX-License-Identifier: GPL-2.0

//! The contexts, which tasks are in them, and what a context has: its network, its users' counters, its process 1.

pub(crate) mod addresses;
#[expect(clippy::module_inception)] // One context, among what is about all of them.
mod context;
pub(crate) mod init_hooks;
mod init_state;
pub(crate) mod membership;
mod net;
pub(crate) mod network;
pub(crate) mod quotas;
pub(crate) mod reaper;
pub(crate) mod registry;

pub(crate) use self::context::*;

use kernel::prelude::*;

/// In module init, before anything else here.
pub(crate) fn init<A: reaper::AtEnd + init_hooks::Follow>() -> Result {
    reaper::init::<A>();
    init_hooks::init::<A>();
    membership::init();
    addresses::init();
    quotas::init()
}
