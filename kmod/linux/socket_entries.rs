// SPDX-License-Identifier: GPL-2.0

//! The operations of sockets of networks: from the kernel's calls to [`Operations`]. One entry each for all kinds of
//! sockets; the compiler makes one of each for each kind.
//!
//! SAFETY of all entries: the kernel calls them through a table of operations, with the arguments of that operation: an open
//! socket; an address of the length given, in a buffer for the longest one; a message that only this call uses; an option's
//! value of the length given.

#![allow(clippy::missing_safety_doc)] // The kernel calls them as the functions that they stand for.

use super::{
    is_sctp, sock_option, Address, NetworkSocket, OptionValue, Socket, SocketMessage,
    SocketOperations, Table, WrittenAddress,
};
use crate::bindings::{
    self, msghdr, sockaddr, sockaddr_unsized, socket, sockptr_t, SCTP_SOCKOPT_PEELOFF,
    SCTP_SOCKOPT_PEELOFF_FLAGS, SOL_SCTP,
};
use core::ptr::NonNull;
use kernel::{
    ffi::{c_char, c_int, c_uint},
    prelude::*,
};

/// What sockets of one kind do in the place of the kernel's operations, by default what these do. The others are functions that
/// a [`Table`] is given.
pub(crate) trait Operations {
    /// What the sockets are of.
    type Of: SocketOperations;

    /// listen(2).
    fn listen(sock: NetworkSocket<'_>, backlog: c_int) -> c_int {
        sock.listen(backlog)
    }

    /// getsockname(2) and getpeername(2): changes what the kernel's function has written, at least one byte.
    fn name(_sock: NetworkSocket<'_>, _name: &mut WrittenAddress<'_>, _is_peer: bool) {}

    /// setsockopt(2): the answer of the kernel's function.
    fn setsockopt(
        sock: NetworkSocket<'_>,
        level: c_int,
        name: c_int,
        value: &OptionValue<'_>,
    ) -> Result<c_int> {
        Ok(sock.setsockopt(level, name, value))
    }

    /// getsockopt(2): the value of an option that differs from the kernel's, else `None`.
    fn getsockopt(_sock: NetworkSocket<'_>, _level: c_int, _name: c_int) -> Result<Option<c_int>> {
        Ok(None)
    }
}

fn errno(result: Result) -> c_int {
    result.map_or_else(Error::to_errno, |()| 0)
}

/// bind(2): a function without captures.
pub(crate) trait Binding: Fn(NetworkSocket<'_>, Address<'_>) -> c_int + Copy {}
impl<F: Fn(NetworkSocket<'_>, Address<'_>) -> c_int + Copy> Binding for F {}

/// connect(2): a function without captures.
pub(crate) trait Connecting:
    Fn(NetworkSocket<'_>, Address<'_>, c_int) -> c_int + Copy
{
}
impl<F: Fn(NetworkSocket<'_>, Address<'_>, c_int) -> c_int + Copy> Connecting for F {}

/// sendmsg(2): a function without captures.
pub(crate) trait Sending:
    Fn(NetworkSocket<'_>, &SocketMessage, usize) -> c_int + Copy
{
}
impl<F: Fn(NetworkSocket<'_>, &SocketMessage, usize) -> c_int + Copy> Sending for F {}

/// recvmsg(2): a function without captures.
pub(crate) trait Receiving:
    Fn(NetworkSocket<'_>, &SocketMessage, usize, c_int) -> c_int + Copy
{
}
impl<F: Fn(NetworkSocket<'_>, &SocketMessage, usize, c_int) -> c_int + Copy> Receiving for F {}

/// A function without captures, by its type. (A method of a trait of this crate would be kept for other crates, with all that
/// it calls, which costs instructions on the path of data.)
///
/// # Safety
///
/// There has been a value of the type.
#[inline(always)]
unsafe fn function<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0) };
    // SAFETY: Reads no bytes, from an address that is aligned; by contract, and as it is `Copy`, there may be one more.
    unsafe { NonNull::<F>::dangling().read() }
}

unsafe extern "C" fn bind<O: SocketOperations, F: Binding>(
    sock: *mut socket,
    address: *mut sockaddr_unsized,
    length: c_int,
) -> c_int {
    // SAFETY: See above: an open socket.
    let sock = unsafe { NetworkSocket::new::<O>(sock) };
    // SAFETY: See above: an address of that length in a buffer for the longest one.
    let address = unsafe { Address::new(address, length) };
    // SAFETY: `Table` was given one, or this would not be in a table.
    let work = unsafe { function::<F>() };
    work(sock, address)
}

unsafe extern "C" fn connect<O: SocketOperations, F: Connecting>(
    sock: *mut socket,
    address: *mut sockaddr_unsized,
    length: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: See above: an open socket.
    let sock = unsafe { NetworkSocket::new::<O>(sock) };
    // SAFETY: See above: an address of that length in a buffer for the longest one.
    let address = unsafe { Address::new(address, length) };
    // SAFETY: `Table` was given one, or this would not be in a table.
    let work = unsafe { function::<F>() };
    work(sock, address, flags)
}

unsafe extern "C" fn listen<T: Operations>(sock: *mut socket, backlog: c_int) -> c_int {
    // SAFETY: See above: an open socket.
    T::listen(unsafe { NetworkSocket::new::<T::Of>(sock) }, backlog)
}

unsafe extern "C" fn getname<T: Operations>(
    sock: *mut socket,
    address: *mut sockaddr,
    peer: c_int,
) -> c_int {
    // SAFETY: See above: an open socket.
    let sock = unsafe { NetworkSocket::new::<T::Of>(sock) };
    // SAFETY: The kernel passes a buffer for the longest address (`sockaddr_storage`).
    let length = unsafe { sock.getname(address, peer) };
    if length <= 0 {
        return length;
    }
    // SAFETY: As above, and the kernel's function has just written `length` bytes of it.
    let mut name = unsafe { WrittenAddress::new(address.cast(), length) };
    T::name(sock, &mut name, peer != 0);
    name.length()
}

/// An operation on the path of data. The cold path for a socket without a record is a separate function that calls the
/// operation again, so that the fast path needs no stack frame.
macro_rules! data_operation {
    ($name:ident, $again:ident, $kind:ident, ($($argument:ident: $type:ty),*)) => {
        unsafe extern "C" fn $name<O: SocketOperations, F: $kind>(
            sock: *mut socket,
            message: *mut msghdr,
            $($argument: $type),*
        ) -> c_int {
            // SAFETY: See above: an open socket.
            match unsafe { NetworkSocket::recorded(sock) } {
                Some(sock) => {
                    // SAFETY: See above: a message that only this call uses.
                    let message = unsafe { SocketMessage::from_ptr(message) };
                    // SAFETY: `Table` was given one, or this would not be in a table.
                    let work = unsafe { function::<F>() };
                    work(sock, message, $($argument),*)
                }
                // SAFETY: The same call, with the same arguments.
                None => unsafe { $again::<O, F>(sock, message, $($argument),*) },
            }
        }

        #[cold]
        #[inline(never)]
        unsafe extern "C" fn $again<O: SocketOperations, F: $kind>(
            sock: *mut socket,
            message: *mut msghdr,
            $($argument: $type),*
        ) -> c_int {
            // SAFETY: See above: an open socket.
            unsafe { NetworkSocket::new::<O>(sock) };
            // SAFETY: The same call, with the same arguments.
            unsafe { $name::<O, F>(sock, message, $($argument),*) }
        }
    };
}

data_operation!(sendmsg, sendmsg_of_stray, Sending, (size: usize));
data_operation!(recvmsg, recvmsg_of_stray, Receiving, (size: usize, flags: c_int));

unsafe extern "C" fn setsockopt<T: Operations>(
    sock: *mut socket,
    level: c_int,
    name: c_int,
    value: sockptr_t,
    length: c_uint,
) -> c_int {
    // SAFETY: See above: an open socket.
    let sock = unsafe { NetworkSocket::new::<T::Of>(sock) };
    // SAFETY: See above: a value of that length.
    let value = unsafe { OptionValue::new(value, length) };
    let answer = T::setsockopt(sock, level, name, &value).unwrap_or_else(Error::to_errno);
    // An upper layer protocol replaces the operations: wrap the new ones.
    let wrapped = errno(sock.socket().wrap_again::<T::Of>());
    if answer == 0 {
        wrapped
    } else {
        answer
    }
}

unsafe extern "C" fn getsockopt<T: Operations>(
    sock: *mut socket,
    level: c_int,
    name: c_int,
    value: *mut c_char,
    length: *mut c_int,
) -> c_int {
    // SAFETY: See above: an open socket.
    let sock = unsafe { NetworkSocket::new::<T::Of>(sock) };
    match T::getsockopt(sock, level, name) {
        Ok(Some(number)) => errno(sock_option::answer(number, value, length)),
        // SAFETY: The same call, with the same arguments.
        Ok(None) => unsafe { sock.getsockopt(level, name, value, length) },
        Err(error) => error.to_errno(),
    }
}

/// The same for SCTP: an option may make a socket. The kernel makes it, copies the operations of this one into it, and gives
/// it a descriptor, all in one call; so the new one gets its record when it is made, see [`peeled_from`](super::peeled_from).
unsafe extern "C" fn getsockopt_of_sctp<T: Operations>(
    sock: *mut socket,
    level: c_int,
    name: c_int,
    value: *mut c_char,
    length: *mut c_int,
) -> c_int {
    let peels_off = level as c_uint == SOL_SCTP
        && matches!(
            name as c_uint,
            SCTP_SOCKOPT_PEELOFF | SCTP_SOCKOPT_PEELOFF_FLAGS
        );
    // SAFETY: The same call, with the same arguments.
    let get = || unsafe { getsockopt::<T>(sock, level, name, value, length) };
    if !peels_off {
        return get();
    }
    // SAFETY: See above: an open socket.
    let socket = unsafe { Socket::from_ptr(sock) };
    socket.while_peeling::<T::Of>(get)
}

unsafe extern "C" fn accept<O: SocketOperations>(
    sock: *mut socket,
    newsock: *mut socket,
    arg: *mut kernel::bindings::proto_accept_arg,
) -> c_int {
    // SAFETY: See above: an open socket.
    let parent = unsafe { Socket::from_ptr(sock) };
    // SAFETY: And a new one, that nobody else knows.
    let child = unsafe { Socket::from_ptr(newsock) };
    let ops = parent.ops::<O>();
    if let Err(error) = O::inherit(ops.into(), child) {
        return error.to_errno();
    }
    if parent.has_custom_options() {
        child.set_custom_options();
    }
    // The listener may have had other ones when these were taken from it.
    if !child.operations().is_null() {
        child.set_operations_of(ops);
    }
    let Some(accept) = ops.kernels().accept else {
        return EOPNOTSUPP.to_errno();
    };
    // SAFETY: The same call, with the same arguments.
    let error = unsafe { accept(sock, newsock, arg) };
    if error != 0 {
        return error;
    }
    // It has the marks of the listener, but is not found by them.
    if let Some(sock) = child.sock() {
        O::forget(sock);
    }
    errno(child.wrap_again::<O>())
}

impl Table<'_> {
    /// Has accept(2), of what the kernel accepts at all.
    pub(crate) fn accept<O: SocketOperations>(&mut self) {
        let accepts = self
            .original
            .accept
            .is_some_and(|accept| accept as usize != bindings::sock_no_accept as usize);
        if accepts {
            self.table.accept = Some(accept::<O>);
        }
    }

    /// Has options only.
    pub(crate) fn options<T: Operations>(&mut self) {
        self.table.setsockopt = self.original.setsockopt.and(Some(setsockopt::<T>));
        self.table.getsockopt = self.original.getsockopt.and(Some(getsockopt_of_sctp::<T>));
    }

    /// Has bind(2).
    pub(crate) fn bind<O: SocketOperations, F: Binding>(&mut self, _bind: F) {
        self.table.bind = Some(bind::<O, F>);
    }

    /// Has connect(2).
    pub(crate) fn connect<O: SocketOperations, F: Connecting>(&mut self, _connect: F) {
        self.table.connect = Some(connect::<O, F>);
    }

    fn options_of<T: Operations>(&mut self) {
        self.table.setsockopt = Some(setsockopt::<T>);
        self.table.getsockopt = self.original.getsockopt.and(Some(getsockopt::<T>));
    }

    /// What a socket of IPv4 or IPv6 has that does not listen.
    pub(crate) fn datagrams<T: Operations, S: Sending, R: Receiving>(
        &mut self,
        _send: S,
        _receive: R,
    ) {
        self.table.getname = Some(getname::<T>);
        self.options_of::<T>();
        self.table.sendmsg = Some(sendmsg::<T::Of, S>);
        self.table.recvmsg = Some(recvmsg::<T::Of, R>);
    }

    /// A stream of IPv4 or IPv6, which receives without any address.
    pub(crate) fn streams<T: Operations, S: Sending>(&mut self, _send: S) {
        self.table.getname = Some(getname::<T>);
        self.options_of::<T>();
        self.table.listen = Some(listen::<T>);
        self.table.sendmsg = Some(sendmsg::<T::Of, S>);
    }

    /// SCTP.
    pub(crate) fn associations<T: Operations, S: Sending, R: Receiving>(
        &mut self,
        send: S,
        receive: R,
    ) {
        self.datagrams::<T, S, R>(send, receive);
        self.table.listen = Some(listen::<T>);
        self.table.getsockopt = self.original.getsockopt.and(Some(getsockopt_of_sctp::<T>));
    }

    /// A Unix socket. Messages of a stream carry no addresses.
    pub(crate) fn unix<T: Operations, S: Sending, R: Receiving>(&mut self, _send: S, _receive: R) {
        self.table.getname = Some(getname::<T>);
        if !self.listens() {
            self.table.sendmsg = Some(sendmsg::<T::Of, S>);
        }
        self.table.recvmsg = Some(recvmsg::<T::Of, R>);
    }

    /// Whether its sockets can listen.
    pub(crate) fn listens(&self) -> bool {
        self.original
            .listen
            .is_some_and(|listen| listen as usize != bindings::sock_no_listen as usize)
    }

    /// Whether they are of SCTP.
    pub(crate) fn is_of_sctp(&self) -> bool {
        is_sctp(self.original)
    }
}
