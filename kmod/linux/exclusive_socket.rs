// SPDX-License-Identifier: GPL-2.0

//! One thread at a time binds, connects and disconnects a socket of datagrams, and changes its groups.

use super::NetworkSocket;
use crate::bindings::{self, rw_semaphore, sock_type_SOCK_SEQPACKET, sock_type_SOCK_STREAM};
use core::ops::Deref;
use kernel::{error::to_result, prelude::*};

/// A socket that no other thread binds, connects, disconnects, or gives groups to.
///
/// The kernel does each of these under the lock of the sock. What the module does around them takes several such steps, between
/// which the lock is free. So the holder has the `i_rwsem` of the socket's inode, too: no other socket has it, and the kernel
/// takes it only to change the owner or the attributes of a socket.
///
/// Lock order: it comes before all locks of sockets, RTNL and the mutex of the receivers (`hooks/net/multicast.rs`).
///
/// Streams and SCTP are not locked: there connect(2) waits for the peer, and other threads must be answered meanwhile.
/// `hooks/net/bind.rs` says what keeps them apart.
///
/// # Invariants
///
/// `locked` is the lock of the socket's own inode, and is held for writing.
pub(crate) struct ExclusiveSocket<'a> {
    sock: NetworkSocket<'a>,
    locked: Option<*mut rw_semaphore>,
}

impl<'a> NetworkSocket<'a> {
    /// Waits for the others. `EINTR`: the process is to die. Sleeps.
    pub(crate) fn exclusively(self) -> Result<ExclusiveSocket<'a>> {
        let kind = self.sock().kind();
        if kind == sock_type_SOCK_STREAM || kind == sock_type_SOCK_SEQPACKET {
            // INVARIANT: Nothing is held.
            return Ok(ExclusiveSocket {
                sock: self,
                locked: None,
            });
        }
        let inode = self.socket().inode().as_ptr();
        // SAFETY: The inode is in one piece of memory with the socket, which is open.
        let lock = unsafe { &raw mut (*inode).i_rwsem };
        // SAFETY: The lock of an inode in use was initialised with it. Operations of sockets may sleep.
        to_result(unsafe { bindings::down_write_killable(lock) })?;
        // INVARIANT: Just taken.
        Ok(ExclusiveSocket {
            sock: self,
            locked: Some(lock),
        })
    }
}

impl<'a> Deref for ExclusiveSocket<'a> {
    type Target = NetworkSocket<'a>;

    fn deref(&self) -> &NetworkSocket<'a> {
        &self.sock
    }
}

impl Drop for ExclusiveSocket<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.locked {
            // SAFETY: By the type's invariant it is held, and by this thread: the type has a raw pointer, so it is not `Send`.
            unsafe { bindings::up_write(lock) };
        }
    }
}
