// SPDX-License-Identifier: GPL-2.0

//! The starter's end: what the process that goes inside tells.

use super::order::Report;
use super::order::REPORTS_MAX;
use anyhow::bail;
use nix::errno::Errno;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// What the process that goes inside tells, until it has become the other program or is gone. Somebody inside may hold the
/// pipe open, so that its end is not waited for alone.
pub(super) struct Heard<'a> {
    reports: File,
    pidfd: &'a OwnedFd,
    deadline: Option<Instant>,
    bytes: Vec<u8>,
    total: usize,
}

impl<'a> Heard<'a> {
    pub(super) fn new(reports: OwnedFd, pidfd: &'a OwnedFd, deadline: Option<Instant>) -> Self {
        Self {
            reports: reports.into(),
            pidfd,
            deadline,
            bytes: Vec::new(),
            total: 0,
        }
    }

    /// `None`: it tells no more.
    pub(super) fn hear(&mut self) -> anyhow::Result<Option<Report>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).collect();
                return Ok(serde_json::from_slice(&line).ok());
            }
            let mut room = [0; 4096];
            match self.is_there_more()? {
                true => match self.reports.read(&mut room) {
                    Ok(0) => return Ok(None),
                    Ok(length) => {
                        self.total += length;
                        self.bytes.extend_from_slice(&room[..length]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                },
                false => return Ok(None),
            }
            if self.total > REPORTS_MAX {
                return Ok(None);
            }
        }
    }

    fn is_there_more(&self) -> anyhow::Result<bool> {
        loop {
            let mut set = [
                PollFd::new(self.reports.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN),
            ];
            let timeout = match self.deadline {
                None => PollTimeout::NONE,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
                }
            };
            match poll(&mut set, timeout) {
                Ok(0) => bail!("the program was not started in time"),
                Ok(_) => {}
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
            return Ok(set[0].any() == Some(true));
        }
    }
}
