// SPDX-License-Identifier: GPL-2.0

//! Round trips: a child that sends back each byte that it gets.

use crate::sys;
use anyhow::Result;
use nix::{
    fcntl::OFlag,
    sys::{
        socket::{socketpair, AddressFamily, SockFlag, SockType},
        wait::waitpid,
    },
    unistd::{pipe2, read, write, Pid},
};
use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::fd::{AsFd, OwnedFd},
};

/// The parent's ends and the child.
pub struct Echo {
    to: Option<OwnedFd>,
    from: Option<OwnedFd>,
    pid: i32,
}

/// What one side reads from and writes to.
type Ends = (OwnedFd, OwnedFd);

impl Echo {
    /// Through two pipes.
    pub fn pipe() -> Result<Self> {
        let (there_out, there_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (back_out, back_in) = pipe2(OFlag::O_CLOEXEC)?;
        Self::start((back_out, there_in), (there_out, back_in))
    }

    /// Through a pair of unix stream sockets.
    pub fn unix() -> Result<Self> {
        let (own, other) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Self::start((own.try_clone()?, own), (other.try_clone()?, other))
    }

    /// Through a TCP connection on the loopback device.
    pub fn tcp() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let own = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        own.set_nodelay(true)?;
        other.set_nodelay(true)?;
        Self::start(
            (own.try_clone()?.into(), own.into()),
            (other.try_clone()?.into(), other.into()),
        )
    }

    fn start(own: Ends, other: Ends) -> Result<Self> {
        let pid = sys::fork()?;
        if pid == 0 {
            drop(own);
            let (from, to) = other;
            let mut byte = [0];
            while read(from.as_fd(), &mut byte) == Ok(1) && write(&to, &byte) == Ok(1) {}
            sys::exit_now(0);
        }
        let (from, to) = own;
        Ok(Self {
            to: Some(to),
            from: Some(from),
            pid,
        })
    }

    /// One byte there and back.
    #[inline]
    pub fn trip(&self) -> Result<()> {
        if let (Some(to), Some(from)) = (&self.to, &self.from) {
            write(to, b"x")?;
            read(from.as_fd(), &mut [0])?;
        }
        Ok(())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.to = None;
        self.from = None;
        let _ = waitpid(Pid::from_raw(self.pid), None);
    }
}
