// SPDX-License-Identifier: GPL-2.0

//! The spectator: a process in context 1, which sees the processes of every context.
//!
//! Entering is irreversible. A program that only shows something becomes the spectator itself; one
//! that has something to do afterwards sends a [helper](crate::helper).

use crate::process;
use crate::process::Usage;
use crate::{CapabilitySet, Device, Flags, Ipv4root, Kind, Request, Result};
use vserver_uapi as uapi;

/// Proof that the calling process is the spectator.
#[derive(Debug)]
pub struct Spectator {
    device: Device,
}

/// A process of any context.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    /// Its pid.
    pub pid: i32,
    /// The number of its context.
    pub context: i32,
    /// Its figures.
    pub usage: Usage,
}

impl Spectator {
    /// Make the calling process the spectator, for good. Only root in context 0 may.
    pub fn enter(device: Device) -> Result<Self> {
        device.enter(
            Request::Number(uapi::CONTEXT_SPECTATOR),
            Flags::empty(),
            CapabilitySet::EMPTY,
        )?;
        Ok(Self { device })
    }

    /// The number of the context of a process; `None` when there is no such process (any more).
    pub fn context_of(&self, pid: i32) -> Result<Option<i32>> {
        match self.device.get(pid) {
            Ok(info) => Ok(Some(info.context)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every process except the caller. One that ends meanwhile is left out.
    pub fn processes(&self) -> Result<Vec<Process>> {
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        let mut processes = Vec::new();
        for pid in process::pids()? {
            if pid == own {
                continue;
            }
            let Some(usage) = process::usage(pid) else {
                continue;
            };
            if let Some(context) = self.context_of(pid)? {
                processes.push(Process {
                    pid,
                    context,
                    usage,
                });
            }
        }
        Ok(processes)
    }

    /// What a process is confined to; `None`: nothing, or it has gone.
    pub fn addresses(&self, pid: i32) -> Result<Option<Ipv4root>> {
        match self.device.addresses(pid) {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            answer => answer,
        }
    }

    /// All contexts.
    pub fn contexts(&self) -> Result<Vec<uapi::ContextInfo>> {
        self.device.list()
    }
}
