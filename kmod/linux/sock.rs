// SPDX-License-Identifier: GPL-2.0

//! Sockets: what a descriptor leads to ([`Socket`]), and the protocol's part of it ([`Sock`]), which may live longer.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

use super::{current_raw, kernel_types, read_once, File, Inode, Net};
use crate::{
    attach::prototype::original,
    bindings::{self, proto_ops},
};
use core::{ffi::CStr, ptr};
use kernel::{
    error::to_result,
    ffi::{c_char, c_int},
    prelude::*,
    sync::atomic::{Atomic, Full},
};

kernel_types! {
    /// A socket of sockfs.
    Socket = socket;
    /// The protocol's part of a socket.
    Sock = sock;
    /// An address that the caller of bind(2) or connect(2) gives.
    SockAddr = sockaddr;
}

impl Socket {
    /// The socket of a file.
    pub(crate) fn of_file(file: &File) -> Option<&Self> {
        // SAFETY: A file holds its socket.
        unsafe { Self::from_nullable(bindings::sock_from_file(file.as_ptr())) }
    }

    /// Its inode, in the same piece of memory.
    #[inline(always)]
    pub(crate) fn inode(&self) -> &Inode {
        // SAFETY: Sockets that a hook or an operation of ours is called with are of sockfs.
        unsafe {
            let whole = kernel::container_of!(self.as_ptr(), bindings::socket_alloc, socket);
            Inode::from_ptr(&raw const (*whole).vfs_inode)
        }
    }

    /// Its operations; null when it is being made or has been released.
    #[inline(always)]
    pub(crate) fn operations(&self) -> *const proto_ops {
        read_once!(self, ops)
    }

    /// # Safety
    ///
    /// They must live as long as the socket has them.
    pub(crate) unsafe fn set_operations(&self, operations: *const proto_ops) {
        // SAFETY: Valid by the type's invariant; a pointer, which is read at once.
        unsafe { (&raw mut (*self.as_ptr()).ops).write_volatile(operations) }
    }

    /// The same unless it has other ones by now than it had.
    ///
    /// # Safety
    ///
    /// As [`Self::set_operations`].
    pub(crate) unsafe fn replace_operations(
        &self,
        had: *const proto_ops,
        new: *const proto_ops,
    ) -> bool {
        // SAFETY: Valid by the type's invariant; a pointer is as large as a word.
        let word: &Atomic<usize> =
            unsafe { Atomic::from_ptr((&raw mut (*self.as_ptr()).ops).cast()) };
        word.cmpxchg(had as usize, new as usize, Full).is_ok()
    }

    /// The protocol's part; `None` when it is being made or has been released.
    #[inline(always)]
    pub(crate) fn sock(&self) -> Option<&Sock> {
        // SAFETY: A socket holds it until it is released, which waits for who uses the socket.
        unsafe { Sock::from_nullable(read_once!(self, sk).cast()) }
    }

    /// `SOCK_STREAM` and the like.
    pub(crate) fn kind(&self) -> u32 {
        read_once!(self, type_) as u32
    }

    /// Whether it has no peer, and does not wait for one.
    pub(crate) fn is_unconnected(&self) -> bool {
        read_once!(self, state) == bindings::socket_state_SS_UNCONNECTED
    }

    /// Whether options of every socket come to its operations, too.
    pub(crate) fn has_custom_options(&self) -> bool {
        read_once!(self, flags) & (1 << bindings::socket_flags_SOCK_CUSTOM_SOCKOPT) != 0
    }

    /// For one that nobody else knows yet.
    pub(crate) fn set_custom_options(&self) {
        // SAFETY: Valid by the type's invariant, and nobody else changes it.
        unsafe { (*self.as_ptr()).flags |= 1 << bindings::socket_flags_SOCK_CUSTOM_SOCKOPT }
    }
}

impl Sock {
    /// `AF_INET` and the like.
    #[inline(always)]
    pub(crate) fn family(&self) -> u32 {
        read_once!(self, __sk_common.skc_family).into()
    }

    /// `IPPROTO_TCP` and the like, in each family its own.
    #[inline(always)]
    pub(crate) fn protocol(&self) -> u32 {
        read_once!(self, sk_protocol).into()
    }

    /// `SOCK_STREAM` and the like.
    pub(crate) fn kind(&self) -> u32 {
        read_once!(self, sk_type).into()
    }

    /// Whether its protocol's state is the one that it was made in.
    pub(crate) fn is_closed(&self) -> bool {
        u32::from(read_once!(self, __sk_common.skc_state)) == bindings::BPF_TCP_CLOSE
    }

    /// The socket; `None` when it is an orphan or has not been accepted yet.
    #[inline(always)]
    pub(crate) fn socket(&self) -> Option<&Socket> {
        // SAFETY: It is detached before the socket goes; under the sock's lock, or by who has the socket open.
        unsafe { Socket::from_nullable(read_once!(self, sk_socket)) }
    }

    /// Whether its protocol is the one that it was made with, or another has taken its place (sockmap).
    pub(crate) fn has_own_protocol(&self) -> bool {
        ptr::eq(
            read_once!(self, __sk_common.skc_prot),
            read_once!(self, sk_prot_creator),
        )
    }

    /// What the kernel has of it as one of a protocol with connections, which it has to be.
    pub(super) fn as_connection(&self) -> *mut bindings::inet_connection_sock {
        self.as_ptr().cast()
    }

    /// Whether one of TCP has an upper layer protocol. With its lock held.
    pub(crate) fn has_ulp(&self) -> bool {
        // SAFETY: Valid by the type's invariant, and of TCP.
        unsafe { !(*self.as_connection()).icsk_ulp_ops.is_null() }
    }

    /// Whether one of IPv4 or IPv6 has a port.
    pub(crate) fn has_port(&self) -> bool {
        let ports = &raw const self.as_common().__bindgen_anon_3.__bindgen_anon_1;
        // SAFETY: Valid by the type's invariant; read at once.
        unsafe { (&raw const (*ports).as_ref().skc_num).read_volatile() != 0 }
    }

    /// Whether one of IPv4 or IPv6 has neither an address nor a port.
    pub(crate) fn is_unbound(&self) -> bool {
        !self.has_port() && self.bound_v4() == 0
    }

    /// The number of the inode of its socket; 0 when no process has it any more.
    pub(crate) fn inode_number(&self) -> u64 {
        if self.is_whole() {
            read_once!(self, sk_ino)
        } else {
            0
        }
    }

    pub(super) fn as_common(&self) -> &bindings::sock_common {
        // SAFETY: Valid by the type's invariant.
        unsafe { &(*self.as_ptr()).__sk_common }
    }

    /// Its network namespace.
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: A sock keeps it.
        unsafe { Net::from_ptr(read_once!(self, __sk_common.skc_net.net)) }
    }

    /// The number of its network namespace, which no other ever has.
    #[inline]
    pub(crate) fn namespace(&self) -> u64 {
        let net = read_once!(self, __sk_common.skc_net.net);
        // SAFETY: A sock keeps its network namespace, and the number does not change.
        unsafe { (*net).net_cookie }
    }
}

impl SockAddr {
    /// Of an address that is long enough to have one.
    pub(crate) fn family(&self, length: c_int) -> Option<u32> {
        (length >= size_of::<bindings::sa_family_t>() as c_int)
            .then(|| u32::from(read_once!(self, sa_family)))
    }
}

/// The number of the caller's network namespace.
pub(crate) fn own_namespace() -> u64 {
    // SAFETY: The caller has namespaces, which only itself changes.
    unsafe { (*(*(*current_raw()).nsproxy).net_ns).net_cookie }
}

/// The number of a network namespace.
///
/// # Safety
///
/// `net` must be one.
pub(crate) unsafe fn namespace(net: *const bindings::net) -> u64 {
    // SAFETY: By contract.
    unsafe { (*net).net_cookie }
}

/// A name of the kernel's, as an argument of a hook.
#[repr(transparent)]
pub(crate) struct KernelName(c_char);

impl KernelName {
    pub(crate) fn is(&self, text: &CStr) -> bool {
        // SAFETY: Made of a pointer to a string that ends with a NUL.
        unsafe { bindings::strcmp(&raw const self.0, text.as_char_ptr()) == 0 }
    }
}

// SAFETY: A reference is a pointer.
unsafe impl crate::attach::hook::Argument for &KernelName {
    type Raw = *const c_char;

    #[inline(always)]
    unsafe fn from_raw(raw: Self::Raw) -> Self {
        // SAFETY: A string that the kernel's function reads, by the contract of the trait.
        unsafe { &*raw.cast() }
    }
}
impl crate::attach::hook::Is<*const c_char> for &KernelName {}

/// Tells lockdep that the lock of a socket of this module, which is locked inside of that of a program's socket, is not of the
/// class of the kernel's other sockets. A program can have one of those: what a listener of MPTCP has accepted from a client
/// without MPTCP.
///
/// # Safety
///
/// `sk` is new, and nobody else knows it.
unsafe fn set_class_of_own(sk: *mut bindings::sock) {
    #[cfg(CONFIG_LOCKDEP)]
    {
        use core::{cell::UnsafeCell, mem::MaybeUninit};

        struct Class(UnsafeCell<bindings::lock_class_key>);
        // SAFETY: lockdep changes it under locks of its own.
        unsafe impl Sync for Class {}
        impl Class {
            const fn new() -> Self {
                // SAFETY: A static class begins as zeroes.
                Self(UnsafeCell::new(unsafe {
                    MaybeUninit::zeroed().assume_init()
                }))
            }
        }
        static CLASSES: [Class; 2] = [Class::new(), Class::new()];
        // SAFETY: By contract. The classes and names are static.
        unsafe {
            bindings::vserver_inline_sock_lock_init_class(
                sk,
                CLASSES[0].0.get(),
                CLASSES[1].0.get(),
            )
        }
    }
    #[cfg(not(CONFIG_LOCKDEP))]
    let _ = sk;
}

/// Has an upper layer protocol of TCP build its tables from the kernel's own operations, if it has to build any: by
/// a socket of the kernel that has no connection, so that it gets no further. It builds them anew when the protocol of
/// the sock is another than the last time, as it is with a sockmap; for such a one, `EINVAL`.
pub(crate) fn build_tables_of_ulp(like: &Sock, name: &CStr) -> Result {
    let mut socket = ptr::null_mut();
    // SAFETY: Process context; `like` keeps the namespace, and the socket is gone when this returns.
    unsafe {
        to_result(bindings::sock_create_kern(
            read_once!(like, __sk_common.skc_net.net),
            like.family() as c_int,
            bindings::sock_type_SOCK_STREAM as c_int,
            bindings::IPPROTO_TCP as c_int,
            &mut socket,
        ))?;
        let sk: *mut bindings::sock = (*socket).sk.cast();
        set_class_of_own(sk);
        bindings::lock_sock_nested(sk, 0);
        let error = if ptr::eq(
            (*sk).__sk_common.skc_prot,
            read_once!(like, __sk_common.skc_prot),
        ) {
            original!(tcp_set_ulp(sk, name.as_char_ptr()))
        } else {
            EINVAL.to_errno()
        };
        bindings::release_sock(sk);
        bindings::sock_release(socket);
        if error == ENOTCONN.to_errno() {
            return Ok(());
        }
        to_result(error)
    }
}
