// SPDX-License-Identifier: GPL-2.0

//! The place of a context's process 1. What it is to numbers is in `hooks/pid/translate.rs`; what its end brings, in
//! `hooks/init.rs`.
//!
//! # Lifetime
//!
//! A process claims the place, once and for all, before it takes it; a request that fails gives the claim back. The pid is
//! held until the memory of the context goes, so readers under RCU who have found the context may use it.

use crate::{
    linux::{OncePid, Pid},
    uapi,
};
use kernel::sync::atomic::{Acquire, Atomic, Full, Release};

/// The process has not exited.
const RUNNING: i32 = -1;

/// The place of a context's process 1.
pub(crate) struct Init {
    /// Whether somebody has the place, or is about to: 0 or 1.
    claimed: Atomic<i32>,
    pid: OncePid,
    /// How it exited, as wait(2) reports it.
    exit: Atomic<i32>,
    /// The first `REBOOT_*` that was asked for.
    reboot: Atomic<u32>,
}

impl Init {
    pub(crate) fn new() -> Self {
        Self {
            claimed: Atomic::new(0),
            pid: OncePid::new(),
            exit: Atomic::new(RUNNING),
            reboot: Atomic::new(uapi::REBOOT_NONE),
        }
    }

    /// `None`: there has never been one.
    pub(crate) fn pid(&self) -> Option<&Pid> {
        self.pid.get()
    }

    /// Its pid as long as it runs.
    pub(crate) fn running(&self) -> Option<&Pid> {
        self.pid().filter(|_| !self.has_exited())
    }

    fn has_exited(&self) -> bool {
        self.exit.load(Acquire) != RUNNING
    }

    /// Its number for the caller, 0 for none.
    pub(crate) fn number(&self) -> i32 {
        self.running().map_or(0, Pid::own_number)
    }

    /// Whether there is something to tell: it has exited, or reboot(2) was called.
    pub(crate) fn has_news(&self) -> bool {
        self.has_exited() || self.reboot.load(Acquire) != uapi::REBOOT_NONE
    }

    /// The fields of [`uapi::Status`] that are about it.
    pub(crate) fn describe(&self, status: &mut uapi::Status) {
        let exit = self.exit.load(Acquire);
        status.init = if self.pid().is_none() {
            uapi::INIT_NONE
        } else if exit == RUNNING {
            uapi::INIT_RUNNING
        } else {
            uapi::INIT_EXITED
        };
        if exit != RUNNING {
            status.init_status = exit as u32;
        }
        status.reboot = self.reboot.load(Acquire);
    }

    /// Whether it is the caller.
    pub(crate) fn is_caller(&self) -> bool {
        self.pid().is_some_and(Pid::is_own)
    }

    /// Claims the place. `false`: somebody has it, or had it.
    pub(crate) fn claim(&self) -> bool {
        self.claimed.cmpxchg(0, 1, Full).is_ok()
    }

    /// Gives a claim back, unless the place has been taken.
    pub(crate) fn give_up_claim(&self) {
        if self.pid().is_none() {
            self.claimed.store(0, Release);
        }
    }

    /// The caller, which has claimed the place, takes it.
    pub(crate) fn take(&self) {
        if let Some(pid) = Pid::own() {
            self.pid.set(pid);
        }
    }

    /// It exits; `status` as wait(2) reports it.
    pub(crate) fn exits(&self, status: i32) {
        self.exit.store(status, Release);
    }

    /// reboot(2) was called. The first one counts.
    pub(crate) fn reboots(&self, what: u32) {
        let _ = self.reboot.cmpxchg(uapi::REBOOT_NONE, what, Full);
    }
}
