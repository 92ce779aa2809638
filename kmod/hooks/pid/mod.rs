// SPDX-License-Identifier: GPL-2.0

//! Processes and their numbers: which processes the caller sees ([`visibility`]), from numbers to
//! processes ([`lookup`], [`open`]), and from processes to numbers ([`translate`]).

pub(crate) mod foreign_init;
pub(crate) mod lookup;
pub(crate) mod open;
pub(crate) mod own_init;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) mod pidfd;
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) mod proc;
pub(crate) mod proc_root;
pub(crate) mod translate;
mod visibility;

pub(crate) use self::visibility::{
    get_task, is_all_in_view, is_in_view, is_in_view_or_child, is_listed, is_process_in_view,
    task_in_view, task_listed,
};
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) use self::visibility::{is_plainly_near, sees};
