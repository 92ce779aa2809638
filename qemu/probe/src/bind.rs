// SPDX-License-Identifier: GPL-2.0

//! Port 80 of every address there is.

use anyhow::Result;
use nix::sys::socket::{listen, socket, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn};
use std::os::fd::{AsRawFd, OwnedFd};

/// A socket that is bound to nothing yet.
pub fn fresh(kind: SockType) -> Result<OwnedFd> {
    Ok(socket(
        AddressFamily::Inet,
        kind,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?)
}

/// Binds it to 0.0.0.0:80; a stream listens then.
#[inline]
pub fn bind(socket: &OwnedFd, kind: SockType) -> Result<()> {
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 80))?;
    if kind == SockType::Stream {
        listen(socket, Backlog::new(16)?)?;
    }
    Ok(())
}

/// The port in use, by TCP and UDP.
pub fn services() -> Result<Vec<OwnedFd>> {
    let mut held = Vec::new();
    for kind in [SockType::Stream, SockType::Datagram] {
        let socket = fresh(kind)?;
        bind(&socket, kind)?;
        held.push(socket);
    }
    Ok(held)
}
