// SPDX-License-Identifier: GPL-2.0

//! Messages of sendmsg(2) and recvmsg(2), and their control messages.
//!
//! C header: `include/linux/socket.h`.

use super::{kernel_types, read_once, Address, WrittenAddress};
use crate::bindings::{self, cmsghdr, msghdr, sockaddr_in as InetSocketAddressV4};
use core::{marker::PhantomData, slice};
use kernel::ffi::{c_int, c_uint, c_void};

kernel_types! {
    /// A message that a socket operation sends or receives.
    SocketMessage = msghdr;
}

impl SocketMessage {
    /// The buffer of the peer's address, or null.
    #[inline(always)]
    fn raw_name(&self) -> *mut c_void {
        read_once!(self, msg_name)
    }

    #[inline(always)]
    pub(crate) fn has_name(&self) -> bool {
        !self.raw_name().is_null()
    }

    /// The length of the peer's address.
    #[inline(always)]
    pub(crate) fn name_length(&self) -> c_int {
        read_once!(self, msg_namelen)
    }

    fn set_name_length(&self, length: c_int) {
        // SAFETY: `self` is live, and only the caller of the operation uses a message.
        unsafe { (*self.as_ptr()).msg_namelen = length }
    }

    /// Changes the source of one that the kernel has just received, if that has told one.
    #[inline(always)]
    pub(crate) fn with_source(&self, change: impl FnOnce(&mut [u8])) {
        let length = usize::try_from(self.name_length()).unwrap_or(0);
        // SAFETY: The kernel has just written that much of the source, and only the caller of the operation uses it.
        change(unsafe { slice::from_raw_parts_mut(self.raw_name().cast(), length) });
    }

    /// The same, with its length.
    pub(crate) fn with_source_address(&self, change: impl FnOnce(&mut WrittenAddress<'_>)) {
        let length = self.name_length();
        if self.has_name() && length >= 0 {
            // SAFETY: As above, in a buffer for the longest address.
            let mut source = unsafe { WrittenAddress::new(self.raw_name().cast(), length) };
            change(&mut source);
            self.set_name_length(source.length());
        }
    }

    /// The destination.
    #[inline(always)]
    pub(crate) fn name(&self) -> Option<Address<'_>> {
        let name = self.raw_name();
        // SAFETY: The caller of the operation keeps the buffer during the call, and its length is
        // right.
        (!name.is_null()).then(|| unsafe { Address::new(name.cast(), self.name_length()) })
    }

    /// The destination, if that is an IPv4 address.
    #[inline(always)]
    pub(crate) fn name_v4(&self) -> Option<InetSocketAddressV4> {
        let fits = self.name_length() >= size_of::<InetSocketAddressV4>() as c_int;
        let name = self.raw_name().cast::<InetSocketAddressV4>();
        // SAFETY: The buffer is long enough by the test before, and any bytes are a valid
        // `sockaddr_in`.
        let name = (!name.is_null() && fits).then(|| unsafe { name.read() })?;
        (u32::from(name.sin_family) == bindings::AF_INET).then_some(name)
    }

    /// Changes the destination of a message with an IPv4 destination, in the caller's buffer.
    #[inline(always)]
    pub(crate) fn set_name_v4(&self, address: bindings::in_addr) {
        let name = self.raw_name().cast::<InetSocketAddressV4>();
        if !name.is_null() {
            // SAFETY: The caller of the operation keeps the buffer, which holds an IPv4 address.
            unsafe { (*name).sin_addr = address };
        }
    }

    /// `MSG_DONTWAIT` and the like.
    #[inline(always)]
    pub(crate) fn flags(&self) -> c_uint {
        read_once!(self, msg_flags)
    }

    /// The length of the control messages, or of the buffer for them.
    #[inline(always)]
    pub(crate) fn control_length(&self) -> usize {
        read_once!(self, msg_controllen)
    }

    /// The address of the control messages, in user memory if [`Self::control_is_user`].
    #[inline(always)]
    pub(crate) fn control_place(&self) -> usize {
        read_once!(self, __bindgen_anon_1.msg_control) as usize
    }

    /// Whether the control messages are in user memory.
    #[inline(always)]
    pub(crate) fn control_is_user(&self) -> bool {
        // SAFETY: `self` is live, and the call reads one field.
        unsafe { msghdr::msg_control_is_user_raw(self.as_ptr()) }
    }

    /// The control messages, if there are any in kernel memory.
    pub(crate) fn control(&self) -> Option<&[u8]> {
        let length = self.control_length();
        (length != 0 && !self.control_is_user()).then(|| {
            // SAFETY: The caller of the operation keeps that many bytes of kernel memory during the
            // call.
            unsafe { slice::from_raw_parts(self.control_place() as *const u8, length) }
        })
    }

    /// Lets the caller change the destination and the control messages until the result is dropped.
    pub(crate) fn changes<'a>(&'a self) -> Changes<'a> {
        Changes {
            message: self,
            name: self.raw_name(),
            name_length: self.name_length(),
            control: self.control_place(),
            control_length: self.control_length(),
            control_is_user: self.control_is_user(),
            life: PhantomData,
        }
    }
}

/// The former state of a message that is being changed. Dropping this restores it, because a caller
/// may send a message twice. What the message is changed to outlives this.
pub(crate) struct Changes<'a> {
    message: &'a SocketMessage,
    name: *mut c_void,
    name_length: c_int,
    control: usize,
    control_length: usize,
    control_is_user: bool,
    life: PhantomData<&'a mut [u8]>,
}

impl<'a> Changes<'a> {
    /// Changes the destination.
    pub(crate) fn set_name(&self, name: Address<'a>) {
        let raw = self.message.as_ptr();
        // SAFETY: Only the caller of the operation uses a message, and the address outlives the
        // change.
        unsafe { (*raw).msg_name = name.as_ptr().cast() };
        self.message.set_name_length(name.length());
    }

    /// Replaces the control messages.
    pub(crate) fn set_control(&self, control: &'a mut [u8]) {
        self.put_control(control.as_mut_ptr() as usize, control.len(), false);
    }

    fn put_control(&self, place: usize, length: usize, is_user: bool) {
        let raw = self.message.as_ptr();
        // SAFETY: Only the caller of the operation uses a message. The buffer outlives the change,
        // or is the former one.
        unsafe {
            (*raw).__bindgen_anon_1.msg_control = place as *mut c_void;
            (*raw).msg_controllen = length;
            msghdr::set_msg_control_is_user_raw(raw, is_user);
        }
    }
}

impl Drop for Changes<'_> {
    fn drop(&mut self) {
        let raw = self.message.as_ptr();
        // SAFETY: Only the caller of the operation uses a message.
        unsafe { (*raw).msg_name = self.name };
        self.message.set_name_length(self.name_length);
        self.put_control(self.control, self.control_length, self.control_is_user);
    }
}

/// The length of the head of a control message.
const HEAD: usize = size_of::<cmsghdr>();

/// The head of a control message.
#[derive(Clone, Copy)]
pub(crate) struct ControlHead {
    /// The length of the message, with the head.
    pub(crate) length: usize,
    pub(crate) level: u32,
    pub(crate) kind: u32,
}

impl ControlHead {
    /// The length of a head: the offset of the data.
    pub(crate) const LENGTH: usize = HEAD;

    /// `CMSG_LEN`.
    pub(crate) const fn length_of(data: usize) -> usize {
        HEAD + data
    }

    /// `CMSG_SPACE`.
    pub(crate) const fn space_of(data: usize) -> usize {
        Self::length_of(data).next_multiple_of(size_of::<usize>())
    }

    /// The distance to the next message (`CMSG_ALIGN`), for one that [`is_whole`](Self::is_whole).
    pub(crate) fn space(self) -> usize {
        self.length
            .checked_next_multiple_of(size_of::<usize>())
            .unwrap_or(0)
    }

    /// Whether it has this level and kind.
    pub(crate) fn is(self, level: u32, kind: u32) -> bool {
        self.level == level && self.kind == kind
    }

    pub(crate) fn of_bytes(bytes: &[u8; HEAD]) -> Self {
        let word = |at: usize| {
            bytes[at..]
                .first_chunk()
                .map_or(0, |word| u32::from_ne_bytes(*word))
        };
        Self {
            length: bytes
                .first_chunk()
                .map_or(0, |word| usize::from_ne_bytes(*word)),
            level: word(8),
            kind: word(12),
        }
    }

    pub(crate) fn bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&self.length.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.level.to_ne_bytes());
        bytes[12..].copy_from_slice(&self.kind.to_ne_bytes());
        bytes
    }

    /// Whether the message fits into the `left` bytes from its beginning (`CMSG_OK`).
    pub(crate) fn is_whole(self, left: usize) -> bool {
        self.length >= HEAD && self.length <= left
    }
}

/// The length of the data of IP_PKTINFO.
pub(crate) const PKTINFO_V4: usize = size_of::<bindings::in_pktinfo>();
/// The length of the data of IPV6_PKTINFO.
pub(crate) const PKTINFO_V6: usize = size_of::<bindings::in6_pktinfo>();
