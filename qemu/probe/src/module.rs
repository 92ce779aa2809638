// SPDX-License-Identifier: GPL-2.0

//! `/dev/vserver`, as far as the probe needs it.

use crate::sys;
use anyhow::{Context, Result};
use std::fs::File;
use vserver_uapi::{Enter, Info, CONTEXT_NEW, IOC_ENTER, IOC_INFO};

/// The device.
pub fn device() -> Result<File> {
    File::open("/dev/vserver").context("/dev/vserver: is the module loaded?")
}

/// What the module says of itself; `None` when it is not there.
pub fn info() -> Option<Info> {
    let mut info = Info::default();
    sys::ioctl(&device().ok()?, IOC_INFO, &mut info).ok()?;
    Some(info)
}

/// Moves the calling process into a new context, for good.
pub fn enter_new() -> Result<()> {
    enter_new_by(&device()?)
}

/// The same by a device that is open already.
pub fn enter_new_by(device: &File) -> Result<()> {
    let mut request = Enter {
        context: CONTEXT_NEW,
        ..Enter::default()
    };
    sys::ioctl(device, IOC_ENTER, &mut request).context("a new context cannot be entered")
}
