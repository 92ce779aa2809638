// SPDX-License-Identifier: GPL-2.0

//! Idle processes that are there while something is measured, each in a context of its own or not.

use crate::{bind, module, sys};
use anyhow::{ensure, Context, Result};
use nix::{
    fcntl::OFlag,
    sys::wait::waitpid,
    unistd::{pipe2, read, write, Pid},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

/// Where each of them is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In no context.
    Host,
    /// In a context of its own.
    Context,
    /// The same, as process 1 of it, without an address.
    Init,
}

/// They end when this is dropped.
pub struct Crowd {
    hold: Option<OwnedFd>,
    pids: Vec<i32>,
    /// Contexts alive before.
    contexts: Option<u32>,
}

impl Crowd {
    /// Makes them. In contexts each has, where the module can do that, an address of its own, and a
    /// service on port 80 of it.
    pub fn new(count: usize, place: Place) -> Result<Self> {
        let (held, hold) = pipe2(OFlag::O_CLOEXEC)?;
        let (ready, tell) = pipe2(OFlag::O_CLOEXEC)?;
        let mut crowd = Self {
            hold: Some(hold),
            pids: Vec::with_capacity(count),
            contexts: module::info().map(|info| info.contexts),
        };
        let confined = place == Place::Context && module::has_addresses();
        for index in 0..count {
            let pid = sys::fork()?;
            if pid == 0 {
                crowd.hold = None;
                let services = settle(place, confined.then(|| address(index)));
                let word = if services.is_ok() { b"+" } else { b"-" };
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
                "a new context cannot be entered, or not be given its address and port, after {} of {count}",
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

/// From 10.93.0.1 on.
fn address(index: usize) -> IpAddr {
    let first = u32::from(Ipv4Addr::new(10, 93, 0, 1));
    Ipv4Addr::from(first + index as u32).into()
}

/// Goes where an idle process is to be; returns what it holds there.
fn settle(place: Place, address: Option<IpAddr>) -> Result<Vec<OwnedFd>> {
    if let Some(address) = address {
        module::confine(&[address])?;
    }
    match place {
        Place::Host => (),
        Place::Context => module::enter_new()?,
        Place::Init => module::enter_new_as_init()?,
    }
    match address {
        Some(_) => bind::services(),
        None => Ok(Vec::new()),
    }
}
