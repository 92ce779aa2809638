// SPDX-License-Identifier: GPL-2.0

//! SipHash: without the key, nobody can predict a hash or construct a collision.
//!
//! C header: `include/linux/siphash.h`.

use crate::bindings;
use core::mem::MaybeUninit;

/// A key of SipHash.
pub(crate) struct SipHash(bindings::siphash_key_t);

impl SipHash {
    /// A random key.
    pub(crate) fn random() -> Self {
        let mut key = MaybeUninit::<bindings::siphash_key_t>::uninit();
        // SAFETY: The call fills the whole key, and every bit pattern is a valid key.
        unsafe {
            bindings::get_random_bytes(key.as_mut_ptr().cast(), size_of_val(&key));
            Self(key.assume_init())
        }
    }

    /// The hash of these bytes.
    pub(crate) fn of(&self, bytes: &[u8]) -> u64 {
        // SAFETY: Both pointers come from references, and the call only reads what they point to.
        unsafe { bindings::vserver_inline_siphash(bytes.as_ptr().cast(), bytes.len(), &self.0) }
    }
}
