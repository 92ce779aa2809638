// SPDX-License-Identifier: GPL-2.0

//! Socket addresses.

use crate::bindings::{self, sockaddr_unsized};
use core::{marker::PhantomData, ptr, slice};
use kernel::ffi::c_int;

/// 127.0.0.1, in network byte order.
pub(crate) const LOCALHOST: u32 = 0x7f00_0001_u32.to_be();

/// An address that is passed to an operation of a socket.
///
/// # Invariants
///
/// For the time of `'a`, `raw` points to `length` initialised bytes that nobody else uses, in a
/// buffer for the longest address of that family: a BPF program that filters connections may write
/// a longer one there.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    raw: *mut sockaddr_unsized,
    length: c_int,
    life: PhantomData<&'a mut [u8]>,
}

impl<'a> Address<'a> {
    /// # Safety
    ///
    /// By the type's invariant.
    #[inline(always)]
    pub(super) unsafe fn new(raw: *mut sockaddr_unsized, length: c_int) -> Self {
        // INVARIANT: By contract.
        Self {
            raw,
            length,
            life: PhantomData,
        }
    }

    pub(super) fn as_ptr(self) -> *mut sockaddr_unsized {
        self.raw
    }

    /// Its length, as the caller of the operation gave it.
    pub(crate) fn length(self) -> c_int {
        self.length
    }

    /// Its bytes.
    pub(crate) fn bytes(self) -> &'a [u8] {
        let length = usize::try_from(self.length).unwrap_or(0);
        // SAFETY: The bytes are there by the type's invariant. Only a call of the kernel's
        // operation changes them, and no caller keeps the result across one.
        unsafe { slice::from_raw_parts(self.raw.cast(), length) }
    }

    /// `AF_INET` and the like. `None` if the address is too short to have a family.
    pub(crate) fn family(self) -> Option<u32> {
        let family = self.bytes().first_chunk()?;
        Some(u16::from_ne_bytes(*family).into())
    }
}

/// An address that the kernel has just written for a program.
///
/// # Invariants
///
/// For the time of `'a`, `raw` points to a buffer for the longest address that nobody else uses, of which `length` bytes are
/// initialised; `length` is not negative.
pub(crate) struct WrittenAddress<'a> {
    raw: *mut bindings::sockaddr_un,
    length: c_int,
    life: PhantomData<&'a mut [u8]>,
}

impl WrittenAddress<'_> {
    /// # Safety
    ///
    /// By the type's invariant.
    pub(super) unsafe fn new(raw: *mut bindings::sockaddr_un, length: c_int) -> Self {
        // INVARIANT: By contract.
        Self {
            raw,
            length,
            life: PhantomData,
        }
    }

    pub(crate) fn length(&self) -> c_int {
        self.length
    }

    pub(crate) fn address(&self) -> Address<'_> {
        // SAFETY: By the type's invariant, for as long as this is borrowed.
        unsafe { Address::new(self.raw.cast(), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: By the type's invariant.
        unsafe { slice::from_raw_parts_mut(self.raw.cast(), self.length as usize) }
    }

    /// Changes the path of a name of the family `AF_UNIX`, given its length, which becomes the result.
    pub(crate) fn change_path(&mut self, change: impl FnOnce(&mut [u8; PATH], usize) -> usize) {
        let Some(length) = (self.length as usize).checked_sub(PATH_AT) else {
            return;
        };
        // SAFETY: By the type's invariant, the buffer has room for a whole path, of which any bytes will do.
        let path = unsafe { &mut (*self.raw).sun_path };
        // INVARIANT: A part of the path.
        self.length = (PATH_AT + change(path, length).min(PATH)) as c_int;
    }
}

/// An address of IPv4 or IPv6: `struct sockaddr_in` or `struct sockaddr_in6`.
#[repr(C, align(4))]
#[derive(Clone, Copy)]
pub(crate) struct InetSocketAddress([u8; Self::LENGTH_V6]);

impl InetSocketAddress {
    /// The length of an IPv4 address.
    pub(crate) const LENGTH_V4: usize = size_of::<bindings::sockaddr_in>();
    /// The length of an IPv6 address.
    pub(crate) const LENGTH_V6: usize = size_of::<bindings::sockaddr_in6>();
    /// The length of an IPv6 address without a scope (`SIN6_LEN_RFC2133`).
    pub(crate) const SHORTEST_V6: usize = 24;

    /// All zeroes.
    pub(crate) const fn new() -> Self {
        Self([0; Self::LENGTH_V6])
    }

    /// An IPv4 address, given in network byte order, with port 0.
    pub(crate) fn of_v4(address: u32) -> Self {
        let mut this = Self::new();
        this.set_family(bindings::AF_INET);
        this.set_v4(address);
        this
    }

    /// An IPv6 address, with port 0.
    pub(crate) fn of_v6(address: [u8; 16]) -> Self {
        let mut this = Self::new();
        this.set_family(bindings::AF_INET6);
        this.set_v6(address);
        this
    }

    /// A copy of the first bytes. Zeroes follow a shorter address.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut this = Self::new();
        let length = bytes.len().min(Self::LENGTH_V6);
        this.0[..length].copy_from_slice(&bytes[..length]);
        this
    }

    pub(crate) fn bytes(&self) -> &[u8; Self::LENGTH_V6] {
        &self.0
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; Self::LENGTH_V6] {
        &mut self.0
    }

    fn part<const LENGTH: usize>(&self, at: usize) -> [u8; LENGTH] {
        let mut part = [0; LENGTH];
        part.copy_from_slice(&self.0[at..at + LENGTH]);
        part
    }

    fn set_part<const LENGTH: usize>(&mut self, at: usize, part: [u8; LENGTH]) {
        self.0[at..at + LENGTH].copy_from_slice(&part);
    }

    /// `AF_INET` and the like.
    pub(crate) fn family(&self) -> u32 {
        u16::from_ne_bytes(self.part(0)).into()
    }

    fn set_family(&mut self, family: u32) {
        self.set_part(0, (family as u16).to_ne_bytes());
    }

    /// The port, in network byte order.
    pub(crate) fn port(&self) -> u16 {
        u16::from_ne_bytes(self.part(2))
    }

    pub(crate) fn set_port(&mut self, port: u16) {
        self.set_part(2, port.to_ne_bytes());
    }

    /// The IPv4 address, in network byte order.
    pub(crate) fn v4(&self) -> u32 {
        u32::from_ne_bytes(self.part(4))
    }

    pub(crate) fn set_v4(&mut self, address: u32) {
        self.set_part(4, address.to_ne_bytes());
    }

    /// The IPv6 address.
    pub(crate) fn v6(&self) -> [u8; 16] {
        self.part(8)
    }

    pub(crate) fn set_v6(&mut self, address: [u8; 16]) {
        self.set_part(8, address);
    }

    /// The number of the device that scopes an IPv6 address.
    pub(crate) fn scope(&self) -> u32 {
        u32::from_ne_bytes(self.part(24))
    }

    pub(crate) fn set_scope(&mut self, scope: u32) {
        self.set_part(24, scope.to_ne_bytes());
    }

    /// The first `length` bytes, to be passed to an operation.
    pub(crate) fn address(&mut self, length: usize) -> Address<'_> {
        // SAFETY: The result borrows `self`, which has room for an address of either family.
        unsafe {
            Address::new(
                self.0.as_mut_ptr().cast(),
                length.min(Self::LENGTH_V6) as c_int,
            )
        }
    }
}

/// The offset of the path in a Unix address.
pub(crate) const PATH_AT: usize = core::mem::offset_of!(bindings::sockaddr_un, sun_path);
/// The longest path of a Unix address.
pub(crate) const PATH: usize = size_of::<bindings::sockaddr_un>() - PATH_AT;

/// An abstract address of a Unix socket.
pub(crate) struct AbstractAddress {
    raw: bindings::sockaddr_un,
    /// The length of the path.
    length: usize,
}

impl AbstractAddress {
    /// The empty name.
    pub(crate) fn new() -> Self {
        Self {
            raw: bindings::sockaddr_un {
                sun_family: bindings::AF_UNIX as u16,
                sun_path: [0; PATH],
            },
            length: 1,
        }
    }

    /// Appends to the name. Panics if the path has no room for it.
    pub(crate) fn push(&mut self, more: &[u8]) {
        self.raw.sun_path[self.length..][..more.len()].copy_from_slice(more);
        self.length += more.len();
    }

    /// To be passed to an operation.
    pub(crate) fn address(&mut self) -> Address<'_> {
        let length = (PATH_AT + self.length) as c_int;
        // SAFETY: The result borrows `self`, which is a whole `sockaddr_un`.
        unsafe { Address::new(ptr::from_mut(&mut self.raw).cast(), length) }
    }
}
