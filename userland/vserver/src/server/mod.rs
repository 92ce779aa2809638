// SPDX-License-Identifier: GPL-2.0

//! One vserver: where its things are, what it is to be like, and the processes that are at work for it.

pub(crate) mod channel;
mod cleanup;
pub(crate) mod console_log;
mod context;
pub(crate) mod creation;
pub(crate) mod events;
#[cfg(test)]
mod fuzz;
pub(crate) mod hook;
pub(crate) mod inside;
pub(crate) mod message;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod rc;
pub(crate) mod readiness;
pub(crate) mod relay;
mod running_config;
pub(crate) mod services;
pub(crate) mod state;
pub(crate) mod supervisor;
mod vserver;
pub(crate) mod watch;

pub(crate) use context::Running;
pub(crate) use context::State;
pub(crate) use running_config::has_init;
pub(crate) use vserver::make_directory;
pub(crate) use vserver::Server;
pub(crate) use vserver::ROOTS;
