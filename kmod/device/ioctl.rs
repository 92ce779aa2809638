// SPDX-License-Identifier: GPL-2.0

//! What the requests of all descriptors have in common: their arguments are structures of the ABI in the caller's memory.

use kernel::{
    prelude::*,
    uaccess::{UserPtr, UserSlice},
};
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub(super) fn read<T: FromBytes + IntoBytes + Default>(arg: usize) -> Result<T> {
    let mut value = T::default();
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .reader()
        .read_slice(value.as_mut_bytes())?;
    Ok(value)
}

pub(super) fn write<T: IntoBytes + Immutable>(arg: usize, value: &T) -> Result {
    UserSlice::new(UserPtr::from_addr(arg), size_of::<T>())
        .writer()
        .write_slice(value.as_bytes())
}

pub(super) fn all_zero<T: IntoBytes + Immutable>(value: &T) -> Result {
    if value.as_bytes().iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(EINVAL)
    }
}
