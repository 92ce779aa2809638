// SPDX-License-Identifier: GPL-2.0

//! The names of Unix sockets.

use super::{Sock, WrittenAddress};
use crate::bindings::{self, sockaddr_un};
use core::{mem::offset_of, slice};
use kernel::ffi::c_int;

const PATH: usize = offset_of!(sockaddr_un, sun_path);
const MOST: usize = size_of::<sockaddr_un>();

/// A name that a Unix socket is bound to: a copy.
///
/// # Invariants
///
/// `length` is at most [`MOST`].
pub(crate) struct UnixName {
    bytes: [u8; MOST],
    length: usize,
}

impl Sock {
    /// Whether a Unix socket is bound.
    pub(crate) fn has_unix_name(&self) -> bool {
        // SAFETY: `self` is a live Unix socket, and the call reads one field.
        unsafe { !bindings::vserver_inline_unix_address(self.as_ptr().cast()).is_null() }
    }

    /// Whether the kernel passes the sender's credentials on (SO_PASSCRED, SO_PASSPIDFD).
    pub(crate) fn names_sender(&self) -> bool {
        // SAFETY: Valid by the type's invariant; a byte of bits, read as it is at the moment.
        unsafe {
            let flags = (&raw const (*self.as_ptr()).__bindgen_anon_4.__bindgen_anon_1).cast();
            bindings::sock__bindgen_ty_5__bindgen_ty_1::sk_scm_credentials_raw(flags) != 0
                || bindings::sock__bindgen_ty_5__bindgen_ty_1::sk_scm_pidfd_raw(flags) != 0
        }
    }

    /// The name of one of the family `AF_UNIX`, for callers that keep it from being destroyed meanwhile.
    pub(crate) fn unix_name(&self) -> Option<UnixName> {
        // SAFETY: Valid by the type's invariant, and all callers have a socket of that family.
        let address = unsafe { bindings::vserver_inline_unix_address(self.as_ptr().cast()) };
        // SAFETY: A socket gets a name once and keeps it for its life; the name does not change.
        let address = unsafe { address.as_ref() }?;
        let length = (address.len as usize).min(MOST);
        // SAFETY: `len` bytes of the name are behind its head.
        let name = unsafe { slice::from_raw_parts(address.name.as_ptr().cast::<u8>(), length) };
        let mut bytes = [0; MOST];
        bytes[..length].copy_from_slice(name);
        // INVARIANT: See above.
        Some(UnixName { bytes, length })
    }
}

impl UnixName {
    /// Of what is behind the family. `None`: no name is as long, or nothing at all.
    pub(crate) fn new(path: &[u8]) -> Option<Self> {
        if path.is_empty() || path.len() > MOST - PATH {
            return None;
        }
        let mut bytes = [0; MOST];
        bytes[..PATH].copy_from_slice(&(bindings::AF_UNIX as u16).to_ne_bytes());
        let length = PATH + path.len();
        bytes[PATH..length].copy_from_slice(path);
        // INVARIANT: See above.
        Some(Self { bytes, length })
    }

    /// What is behind the family; an abstract name begins with a NUL.
    pub(crate) fn path(&self) -> &[u8] {
        &self.bytes[PATH.min(self.length)..self.length]
    }

    /// It is changed as an address that the kernel has written.
    pub(crate) fn change(mut self, change: impl FnOnce(&mut WrittenAddress<'_>)) -> Self {
        // SAFETY: As many bytes are initialised, there is room for a whole address, and the buffer is borrowed meanwhile.
        let mut written =
            unsafe { WrittenAddress::new(self.bytes.as_mut_ptr().cast(), self.length as c_int) };
        change(&mut written);
        // INVARIANT: The result is the length of an address.
        self.length = (written.length() as usize).min(MOST);
        self
    }
}
