// SPDX-License-Identifier: GPL-2.0

//! Idle processes that are there while something is measured, each in a context of its own or not.

use crate::{module, sys};
use anyhow::{ensure, Context, Result};
use nix::{
    fcntl::OFlag,
    sys::wait::waitpid,
    unistd::{pipe2, read, write, Pid},
};
use std::{
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// They end when this is dropped.
pub struct Crowd {
    hold: Option<OwnedFd>,
    pids: Vec<i32>,
    /// Contexts alive before.
    contexts: Option<u32>,
}

impl Crowd {
    /// Makes them.
    pub fn new(count: usize, contexts: bool) -> Result<Self> {
        let (held, hold) = pipe2(OFlag::O_CLOEXEC)?;
        let (ready, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let mut crowd = Self {
            hold: Some(hold),
            pids: Vec::with_capacity(count),
            contexts: module::info().map(|info| info.contexts),
        };
        for _ in 0..count {
            let pid = sys::fork()?;
            if pid == 0 {
                crowd.hold = None;
                let word = match contexts.then(module::enter_new) {
                    None | Some(Ok(())) => b"+",
                    Some(Err(_)) => b"-",
                };
                let _ = write(&tell, word);
                // Until the end of file: no signal from the host reaches into a context.
                let _ = read(held.as_fd(), &mut [0]);
                sys::exit_now(0);
            }
            crowd.pids.push(pid);
            let mut word = [0];
            read(ready.as_fd(), &mut word)?;
            ensure!(
                word == *b"+",
                "a new context cannot be entered after {} of {count}",
                crowd.pids.len() - 1
            );
        }
        Ok(crowd)
    }

    /// Ends them and waits until their contexts have ended too.
    pub fn end(mut self) -> Result<()> {
        self.hold = None;
        for pid in std::mem::take(&mut self.pids) {
            waitpid(Pid::from_raw(pid), None).context("an idle process cannot be waited for")?;
        }
        // A context ends an RCU grace period after its last process.
        for _ in 0..1000 {
            if module::info().map(|info| info.contexts) <= self.contexts {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        anyhow::bail!("contexts are left behind")
    }
}
