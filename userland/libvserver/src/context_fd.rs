// SPDX-License-Identifier: GPL-2.0

//! The context fd: holds no context alive, but tells when it has ended.

use crate::error::Operation;
use crate::ioctl;
use crate::{Error, Result};
use nix::errno::Errno;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use vserver_uapi as uapi;

/// A descriptor of one context, for any poll set: `POLLPRI` once its process 1 has exited or called
/// reboot(2), `POLLIN` once the context is empty.
#[derive(Debug)]
pub struct ContextFd(OwnedFd);

impl ContextFd {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Wait until the context is empty, or the time is over; true when it is empty.
    pub fn wait(&self, timeout: PollTimeout) -> Result<bool> {
        let mut set = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        loop {
            match nix::poll::poll(&mut set, timeout) {
                Ok(ready) => return Ok(ready > 0),
                // A timeout starts anew after a signal: being late is harmless, missing the end is
                // not.
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    return Err(Error::Kernel {
                        operation: Operation::Poll,
                        errno,
                    });
                }
            }
        }
    }

    /// What has become of the context.
    pub fn status(&self) -> Result<uapi::Status> {
        ioctl::status(&self.0).map_err(|errno| Error::Kernel {
            operation: Operation::Status,
            errno,
        })
    }

    /// Whether the context is empty now.
    pub fn is_empty(&self) -> Result<bool> {
        self.wait(PollTimeout::ZERO)
    }

    /// What the kernel tells in `fdinfo`, by name.
    pub fn fdinfo(&self) -> Result<BTreeMap<String, String>> {
        let path = format!("/proc/self/fdinfo/{}", self.0.as_raw_fd());
        std::fs::read_to_string(&path)
            .map(|text| parse_fdinfo(&text))
            .map_err(|source| Error::Read { path, source })
    }
}

impl From<OwnedFd> for ContextFd {
    /// A context fd that another process has sent.
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl From<ContextFd> for OwnedFd {
    fn from(context: ContextFd) -> Self {
        context.0
    }
}

impl AsFd for ContextFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn parse_fdinfo(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

/// For fuzzing.
#[cfg(test)]
pub(crate) fn try_text(text: &str) {
    let _ = parse_fdinfo(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fdinfo_is_names_and_values() {
        let map = parse_fdinfo("pos:\t0\nflags:\t02\ncontext:\t100\n");
        assert_eq!(map["context"], "100");
        assert_eq!(map.len(), 3);
    }
}
