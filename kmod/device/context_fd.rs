// SPDX-License-Identifier: GPL-2.0

//! The context fd: polls `POLLPRI` when the process 1 of its context has exited or reboot(2) was called
//! there, `POLLIN | POLLHUP` when the context has ended, and tells more by STATUS.
//!
//! The file owns a reference to the context, and one to the module.

use super::ioctl::write;
use crate::{
    context::Context,
    linux::{AnonymousFile, PollQueue},
    uapi::IOC_STATUS,
};
use core::ffi::CStr;
use kernel::{
    bindings::{POLLHUP, POLLIN, POLLPRI, POLLRDNORM},
    prelude::*,
    seq_file::SeqFile,
    seq_print,
};

/// A descriptor of a context that nobody has yet.
pub(crate) use crate::linux::PendingFile as Pending;

impl AnonymousFile for Context {
    const NAME: &'static CStr = c"[vserver]";

    fn news(&self) -> &PollQueue {
        &self.news
    }

    fn events(&self) -> u32 {
        let mut events = 0;
        if self.init.has_news() {
            events |= POLLPRI;
        }
        if self.is_over() {
            events |= POLLIN | POLLRDNORM | POLLHUP;
        }
        events
    }

    fn ioctl(&self, command: u32, argument: usize) -> Result {
        match command {
            IOC_STATUS => write(argument, &self.status()),
            _ => Err(ENOTTY),
        }
    }

    fn describe(&self, text: &SeqFile) {
        seq_print!(
            text,
            "s_context:\t{}\ntasks:\t{}\n",
            self.number(),
            self.tasks()
        );
    }
}
