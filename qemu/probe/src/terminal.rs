// SPDX-License-Identifier: GPL-2.0

//! Pseudo-terminals.

use anyhow::Result;
use nix::{
    fcntl::{open, OFlag},
    pty::{posix_openpt, ptsname_r, unlockpt, PtyMaster},
    sys::stat::Mode,
};
use std::os::fd::OwnedFd;

/// They are opened without becoming the caller's own.
const FLAGS: OFlag = OFlag::O_RDWR.union(OFlag::O_NOCTTY);

/// A new one, both ends.
pub fn pair() -> Result<(PtyMaster, OwnedFd)> {
    let master = posix_openpt(FLAGS)?;
    unlockpt(&master)?;
    let other = open(ptsname_r(&master)?.as_str(), FLAGS, Mode::empty())?;
    Ok((master, other))
}
