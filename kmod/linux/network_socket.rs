// SPDX-License-Identifier: GPL-2.0

//! Sockets of networks inside their operations, and calls of the operations that the kernel would
//! have used.

use super::{
    is_sctp, Address, Net, OptionValue, Sock, Socket, SocketMessage, SocketOperations, SocketOps,
    TheNetwork, LOCALHOST,
};
use crate::bindings;
use kernel::ffi::c_int;

/// A socket of a network in one of its operations.
///
/// # Invariants
///
/// The caller of the operation keeps `socket` open, so that the socket has its sock. `ops` was the
/// socket's record at some time during the operation: the socket holds it, and the operations that
/// it was copied from are for this socket.
#[derive(Clone, Copy)]
pub(crate) struct NetworkSocket<'a> {
    socket: &'a Socket,
    ops: &'a SocketOps,
}

/// Calls the kernel's operation that one of this module replaces.
macro_rules! original {
    ($this:ident, $name:ident ($($argument:expr),*)) => {{
        // SAFETY: An operation is replaced only where the kernel has one.
        let function = unsafe { $this.ops.kernels().$name.unwrap_unchecked() };
        // SAFETY: By the type's invariant, the operation is one for this socket, and the other
        // arguments are valid by their types or by the contract of the caller.
        unsafe { function($this.socket.as_ptr(), $($argument),*) }
    }};
}

impl<'a> NetworkSocket<'a> {
    /// # Safety
    ///
    /// The kernel must have called an operation of this module with `socket`, and the result must
    /// not outlive that call.
    #[inline(always)]
    pub(super) unsafe fn new<O: SocketOperations>(socket: *const bindings::socket) -> Self {
        // SAFETY: By contract.
        let socket = unsafe { Socket::from_ptr(socket) };
        // INVARIANT: By contract.
        Self {
            socket,
            ops: socket.ops::<O>(),
        }
    }

    pub(crate) fn socket(self) -> &'a Socket {
        self.socket
    }

    /// The same for a socket that has a record already, as practically all have: see `stray` in
    /// `socket_ops.rs`.
    ///
    /// # Safety
    ///
    /// As [`Self::new`].
    #[inline(always)]
    pub(super) unsafe fn recorded(socket: *const bindings::socket) -> Option<Self> {
        // SAFETY: By contract.
        let socket = unsafe { Socket::from_ptr(socket) };
        // INVARIANT: By contract.
        socket.record().map(|ops| Self { socket, ops })
    }

    /// The protocol's part of the socket.
    #[inline(always)]
    pub(crate) fn sock(self) -> &'a Sock {
        // SAFETY: By the type's invariant, the socket has its sock.
        unsafe { self.socket.sock().unwrap_unchecked() }
    }

    pub(crate) fn net(self) -> &'a Net {
        self.sock().net()
    }

    /// Its network.
    #[inline(always)]
    pub(crate) fn network_as<N: TheNetwork>(self) -> &'a N {
        self.ops.network_as()
    }

    /// What 127.0.0.1 inside is outside, in network byte order.
    #[inline(always)]
    pub(crate) fn localhost(self) -> u32 {
        self.ops.localhost()
    }

    /// Whether the kernel's operations of the socket are those of IPv4.
    #[inline(always)]
    pub(crate) fn has_operations_v4(self) -> bool {
        self.ops.kernels().family as u32 == bindings::PF_INET
    }

    /// Whether an address belongs to the loopback of the network. `false` if the network has the
    /// host's 127.0.0.1.
    #[inline(always)]
    pub(crate) fn is_own_loopback(self, address: u32) -> bool {
        (address ^ self.localhost()) & 0xffff_ff00_u32.to_be() == 0 && self.localhost() != LOCALHOST
    }

    pub(crate) fn bind(self, address: Address<'_>) -> c_int {
        original!(self, bind(address.as_ptr(), address.length()))
    }

    pub(crate) fn connect(self, address: Address<'_>, flags: c_int) -> c_int {
        original!(self, connect(address.as_ptr(), address.length(), flags))
    }

    pub(crate) fn listen(self, backlog: c_int) -> c_int {
        original!(self, listen(backlog))
    }

    #[inline(always)]
    pub(crate) fn sendmsg(self, message: &SocketMessage, size: usize) -> c_int {
        original!(self, sendmsg(message.as_ptr(), size))
    }

    #[inline(always)]
    pub(crate) fn recvmsg(self, message: &SocketMessage, size: usize, flags: c_int) -> c_int {
        original!(self, recvmsg(message.as_ptr(), size, flags))
    }

    /// Writes the address of the socket or of its peer; returns its length.
    ///
    /// # Safety
    ///
    /// `address` must point to a buffer for the longest address.
    pub(super) unsafe fn getname(self, address: *mut bindings::sockaddr, peer: c_int) -> c_int {
        original!(self, getname(address, peer))
    }

    pub(crate) fn setsockopt(self, level: c_int, name: c_int, value: &OptionValue<'_>) -> c_int {
        original!(self, setsockopt(level, name, value.raw(), value.length()))
    }

    /// # Safety
    ///
    /// The pointers must be those that the operation was called with.
    pub(super) unsafe fn getsockopt(
        self,
        level: c_int,
        name: c_int,
        value: *mut kernel::ffi::c_char,
        length: *mut c_int,
    ) -> c_int {
        original!(self, getsockopt(level, name, value, length))
    }

    /// Sets an option of SOL_SOCKET.
    pub(crate) fn set_general_option(self, name: c_int, value: &OptionValue<'_>) -> c_int {
        // SAFETY: `self` is live, and the value is as long as its type says.
        unsafe {
            bindings::sock_setsockopt(
                self.socket.as_ptr(),
                bindings::SOL_SOCKET as c_int,
                name,
                value.raw(),
                value.length(),
            )
        }
    }

    /// Whether these are operations of SCTP.
    pub(crate) fn is_sctp(self) -> bool {
        is_sctp(self.ops.kernels())
    }
}

impl Socket {
    /// The same outside of its operations. `None`: it is of no network, or it has no sock.
    pub(crate) fn as_network_socket(&self) -> Option<NetworkSocket<'_>> {
        let ops = self.record()?;
        // INVARIANT: The caller keeps it open as long as it is borrowed, and it has its sock.
        self.sock().map(|_| NetworkSocket { socket: self, ops })
    }
}
