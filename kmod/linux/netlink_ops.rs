// SPDX-License-Identifier: GPL-2.0

//! The operations of sockets of netlink of networks: see `netlink_messages.rs`. SAFETY of all: their
//! arguments are those that the kernel calls operations with.

#![allow(clippy::missing_safety_doc)] // The kernel calls them as the functions that they stand for.

use super::{
    netlink_messages::{recvmsg, sendmsg, NetlinkOperations},
    Socket, Table,
};
use crate::bindings::{self, sockaddr_nl, sockaddr_unsized};
use kernel::{
    ffi::{c_int, c_uint},
    prelude::*,
};

impl Table<'_> {
    /// Netlink.
    pub(crate) fn netlink<T: NetlinkOperations>(&mut self) {
        let table = &mut *self.table;
        table.recvmsg = table.recvmsg.and(Some(recvmsg::<T>));
        table.sendmsg = table.sendmsg.and(Some(sendmsg::<T>));
        if self.is_of_context {
            table.bind = table.bind.and(Some(bind::<T>));
            table.setsockopt = table.setsockopt.and(Some(setsockopt::<T>));
        }
    }
}

fn is_deaf<T: NetlinkOperations>(socket: &Socket) -> bool {
    socket.sock().is_some_and(T::is_deaf)
}

/// Binds one that hears nothing to no groups.
unsafe extern "C" fn bind<T: NetlinkOperations>(
    sock: *mut bindings::socket,
    address: *mut sockaddr_unsized,
    length: c_int,
) -> c_int {
    const LENGTH: c_int = size_of::<sockaddr_nl>() as c_int;
    // SAFETY: See above.
    let socket = unsafe { Socket::from_ptr(sock) };
    let Some(original) = socket.ops::<T::Of>().kernels().bind else {
        return EOPNOTSUPP.to_errno();
    };
    if length < LENGTH || !is_deaf::<T>(socket) {
        // SAFETY: The same call, with the same arguments.
        return unsafe { original(sock, address, length) };
    }
    // SAFETY: The address is as long as it is said to be, which is long enough. The kernel's function reads the copy during the
    // call only.
    unsafe {
        let mut copy = address.cast::<sockaddr_nl>().read_unaligned();
        copy.nl_groups = 0;
        original(sock, (&raw mut copy).cast(), LENGTH)
    }
}

/// Has one that hears nothing join no group, and says that it has.
unsafe extern "C" fn setsockopt<T: NetlinkOperations>(
    sock: *mut bindings::socket,
    level: c_int,
    name: c_int,
    value: bindings::sockptr_t,
    length: c_uint,
) -> c_int {
    // SAFETY: See above.
    let socket = unsafe { Socket::from_ptr(sock) };
    let joins = level as c_uint == bindings::SOL_NETLINK
        && name as c_uint == bindings::NETLINK_ADD_MEMBERSHIP;
    if joins && is_deaf::<T>(socket) {
        return 0;
    }
    match socket.ops::<T::Of>().kernels().setsockopt {
        // SAFETY: The same call, with the same arguments.
        Some(original) => unsafe { original(sock, level, name, value, length) },
        None => ENOPROTOOPT.to_errno(),
    }
}
