// SPDX-License-Identifier: GPL-2.0

//! Starting a program inside a vserver.
//!
//! Entering is for ever, so this program starts itself again, and that process goes inside and becomes the
//! other program. Root inside may be hostile and may see it as soon as it has entered, so it has nothing of the host by
//! then: it runs from a sealed copy in memory, its root is that of the vserver, all that it reads has been read, and of
//! descriptors it has the standard files of the other program, two pipes and the device, which it closes at once.
//! What comes out of the pipe is therefore not believed: the starter asks the kernel for the context itself.
//!
//! It gets what to do as a message on its standard input, tells the number of a new context, goes on when
//! that is recorded, and says in words when it comes no further; that it has become the other program closes
//! the pipe. If its starter dies before, it ends, and nothing runs that nobody knows of.

mod enter;
mod heard;
pub(crate) mod order;
mod program;
mod start;

pub(crate) use enter::serve;
#[cfg(test)]
pub(crate) use order::try_message;
pub(crate) use order::Order;
pub(crate) use order::Terminal;
pub(crate) use order::ARGUMENT;
pub(crate) use start::start;
pub(crate) use start::start_recorded;
pub(crate) use start::Files;
pub(crate) use start::Launched;
