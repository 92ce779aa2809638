// SPDX-License-Identifier: GPL-2.0

//! Values of socket options.

use crate::bindings::{self, sockptr_t};
use core::marker::PhantomData;
use kernel::{
    ffi::{c_char, c_int, c_uint},
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};

/// The new value of an option, in user or kernel memory.
///
/// # Invariants
///
/// In kernel memory, there are `length` initialised bytes for the time of `'a`.
pub(crate) struct OptionValue<'a> {
    raw: sockptr_t,
    length: c_uint,
    life: PhantomData<&'a mut [u8]>,
}

impl<'a> OptionValue<'a> {
    /// # Safety
    ///
    /// By the type's invariant.
    pub(super) unsafe fn new(raw: sockptr_t, length: c_uint) -> Self {
        // INVARIANT: By contract.
        Self {
            raw,
            length,
            life: PhantomData,
        }
    }

    /// A value in kernel memory.
    pub(crate) fn of_kernel(value: &'a mut [u8]) -> Self {
        // SAFETY: The call only wraps the pointer.
        let raw = unsafe { bindings::vserver_inline_kernel_sockptr(value.as_mut_ptr().cast()) };
        // INVARIANT: The result borrows the bytes.
        Self {
            raw,
            length: value.len() as c_uint,
            life: PhantomData,
        }
    }

    pub(super) fn raw(&self) -> sockptr_t {
        self.raw
    }

    /// Its length.
    pub(crate) fn length(&self) -> c_uint {
        self.length
    }

    /// Fills `to` with the beginning of the value, which must be at least as long.
    pub(crate) fn read_slice(&self, to: &mut [u8]) -> Result {
        if to.len() > self.length as usize {
            return Err(EFAULT);
        }
        // SAFETY: The kernel's bytes are there by the type's invariant, any user address is
        // allowed, and `to` has that much room.
        let left = unsafe {
            bindings::vserver_inline_copy_from_sockptr(to.as_mut_ptr().cast(), self.raw, to.len())
        };
        if left == 0 {
            Ok(())
        } else {
            Err(EFAULT)
        }
    }

    /// Reads the number at the beginning of the value.
    pub(crate) fn read_number(&self) -> Result<c_int> {
        let mut number = [0; size_of::<c_int>()];
        self.read_slice(&mut number)?;
        Ok(c_int::from_ne_bytes(number))
    }

    /// Copies the whole value.
    pub(crate) fn to_vec(&self) -> Result<KVec<u8>> {
        let length = self.length as usize;
        // SAFETY: As in `read_slice`.
        let copy = unsafe { bindings::vserver_inline_memdup_sockptr(self.raw, length) };
        let copy = kernel::error::from_err_ptr(copy)?;
        // SAFETY: The copy has that many bytes, all initialised, comes from kmalloc(), and has no
        // other owner.
        Ok(unsafe { KVec::from_raw_parts(copy.cast(), length, length) })
    }
}

/// Writes a number as the value of an option to user memory, as far as there is room for it.
pub(super) fn answer(number: c_int, value: *mut c_char, length: *mut c_int) -> Result {
    let at = |place: usize, length| UserSlice::new(UserPtr::from_addr(place), length);
    let room: c_int = at(length as usize, size_of::<c_int>()).reader().read()?;
    let room = usize::try_from(room).map_err(|_| EINVAL)?;
    let bytes = number.to_ne_bytes();
    let room = room.min(bytes.len());
    at(length as usize, size_of::<c_int>())
        .writer()
        .write(&(room as c_int))?;
    at(value as usize, room)
        .writer()
        .write_slice(&bytes[..room])
}
