// SPDX-License-Identifier: GPL-2.0

//! Keys and keyrings.
//!
//! C headers: `include/linux/key.h`, `security/keys/internal.h`.

use super::{current_raw, kernel_types, read_once};
use crate::{
    attach::hook::{Argument, Is},
    bindings,
};
use core::{
    ffi::CStr,
    ptr::{self, NonNull},
};
use kernel::{
    error::{from_err_ptr, to_result},
    prelude::*,
    str::CString,
    sync::{
        aref::{ARef, AlwaysRefCounted},
        Refcount,
    },
};

kernel_types! {
    /// A key.
    Key = key;
    /// Credentials.
    Cred = cred;
}

/// `ENOKEY`, which the `kernel` crate does not have.
pub(crate) fn no_key() -> Error {
    Error::from_errno(-(bindings::ENOKEY as i32))
}

/// As security/keys/internal.h has it: the permissions of the keyrings of users.
const USER_KEYRING: u32 =
    (bindings::KEY_POS_ALL & !bindings::KEY_POS_SETATTR) | bindings::KEY_USR_ALL;

const INVALID_GID: bindings::kgid_t = bindings::kgid_t { val: u32::MAX };

/// A reference to a key, and whether the process that it is used for possesses the key.
#[derive(Clone, Copy)]
pub(crate) struct KeyRef(usize);

impl KeyRef {
    /// Whether a keyring of that process leads to the key.
    pub(crate) fn is_possessed(self) -> bool {
        self.0 & 1 != 0
    }

    /// As [`Key::address`].
    pub(crate) fn address(self) -> u64 {
        (self.0 & !1) as u64
    }
}

// SAFETY: It holds the pointer as a number.
unsafe impl Argument for KeyRef {
    type Raw = bindings::key_ref_t;

    #[inline(always)]
    unsafe fn from_raw(raw: Self::Raw) -> Self {
        Self(raw as usize)
    }
}
impl Is<bindings::key_ref_t> for KeyRef {}

/// The place for a reference to a key that a function of the kernel returns, or null.
///
/// # Invariants
///
/// Null, or a place for a pointer that is its caller's.
pub(crate) struct KeyPlace(*mut *mut bindings::key);

// SAFETY: It is the pointer.
unsafe impl Argument for KeyPlace {
    type Raw = *mut *mut bindings::key;

    #[inline(always)]
    unsafe fn from_raw(raw: Self::Raw) -> Self {
        // INVARIANT: An argument that the kernel's function writes to, by the contract of the trait.
        Self(raw)
    }
}
impl Is<*mut *mut bindings::key> for KeyPlace {}

impl KeyPlace {
    pub(crate) fn put(&self, key: ARef<Key>) {
        if !self.0.is_null() {
            // SAFETY: By the type's invariant.
            unsafe { self.0.write(Key::into_raw(Some(key))) };
        }
    }
}

// SAFETY: The kernel counts references to it.
unsafe impl AlwaysRefCounted for Key {
    fn inc_ref(&self) {
        // SAFETY: Valid by the type's invariant, and somebody holds it.
        unsafe { bindings::vserver_inline_key_get(self.as_ptr()) };
    }

    unsafe fn dec_ref(object: NonNull<Self>) {
        // SAFETY: By contract, a reference that is the caller's.
        unsafe { bindings::key_put(object.as_ptr().cast()) }
    }
}

impl Key {
    /// Identifies the key while it exists.
    pub(crate) fn address(&self) -> u64 {
        self.as_ptr() as u64
    }

    /// The count of references. It is zero for a key that is found under RCU before it is freed.
    pub(super) fn usage(&self) -> &Refcount {
        // SAFETY: Valid by the type's invariant; `Refcount` is a transparent wrapper, and others change it atomically.
        unsafe { &*(&raw const (*self.as_ptr()).usage).cast() }
    }

    /// Passes a reference to the caller of a function of the kernel.
    pub(crate) fn into_raw(reference: Option<ARef<Self>>) -> *mut bindings::key {
        reference.map_or(ptr::null_mut(), |key| ARef::into_raw(key).as_ptr().cast())
    }

    /// Whether the key is neither revoked nor expired.
    pub(super) fn is_valid(&self) -> bool {
        // SAFETY: Valid by the type's invariant.
        unsafe { bindings::key_validate(self.as_ptr()) == 0 }
    }

    /// Links another key into this keyring.
    pub(super) fn link(&self, other: &Self) -> Result {
        // SAFETY: Both are valid by the type's invariant. Process context.
        to_result(unsafe { bindings::key_link(self.as_ptr(), other.as_ptr()) })
    }

    /// Rejects the request that this key authorizes.
    pub(crate) fn refuse_request(&self, error: Error) {
        // SAFETY: Valid by the type's invariant; for a key that the kernel gives to its own helper.
        unsafe { bindings::complete_request_key(self.as_ptr(), error.to_errno()) }
    }

    /// Makes a keyring of a user, with the name that the kernel gives to its own.
    pub(super) fn keyring_of_user(prefix: &CStr, cred: &Cred) -> Result<ARef<Self>> {
        let name = CString::try_from_fmt(fmt!("{}.{}", prefix, cred.user_inside()))?;
        // SAFETY: Process context; the name and the credentials are read during the call.
        let key = from_err_ptr(unsafe {
            bindings::keyring_alloc(
                name.as_char_ptr(),
                cred.user(),
                INVALID_GID,
                cred.as_ptr(),
                USER_KEYRING,
                (bindings::KEY_ALLOC_UID_KEYRING | bindings::KEY_ALLOC_IN_QUOTA) as usize,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })?;
        let key = NonNull::new(key).ok_or(ENOMEM)?;
        // SAFETY: The reference that the kernel's function returns.
        Ok(unsafe { ARef::from_raw(key.cast()) })
    }
}

impl Cred {
    /// The effective credentials of the caller, for the time of a call.
    pub(crate) fn of_caller<'a>() -> &'a Self {
        // SAFETY: Only the caller changes them.
        unsafe { Self::from_ptr((*current_raw()).cred) }
    }

    fn user_ns(&self) -> *mut bindings::user_namespace {
        read_once!(self, user_ns)
    }

    /// The number of the user namespace, which no other ever has.
    pub(super) fn user_ns_number(&self) -> u64 {
        // SAFETY: Credentials hold it, and the number does not change.
        unsafe { bindings::vserver_inline_user_ns_id(self.user_ns()) }
    }

    /// The user that keys are counted for.
    pub(super) fn user(&self) -> bindings::kuid_t {
        // SAFETY: Credentials hold it, and it does not change.
        unsafe { (*read_once!(self, user)).uid }
    }

    /// Its number in the user namespace.
    fn user_inside(&self) -> u32 {
        // SAFETY: Credentials hold the namespace.
        unsafe { bindings::from_kuid(self.user_ns(), self.user()) }
    }
}

/// Whether the kernel fills a cache in the caller's name. The credentials that it uses for that have
/// a thread keyring with a name that no process can give to one. Other credentials that are not the
/// caller's (those of access(2) and of io_uring's personalities) are trusted no more than the caller.
pub(crate) fn fills_cache() -> bool {
    if !super::acts_for_another() {
        return false;
    }
    let keyring = read_once!(Cred::of_caller(), thread_keyring);
    // SAFETY: The credentials hold it, and its description never changes.
    !keyring.is_null() && unsafe { *bindings::vserver_inline_key_description(keyring) == b'.' }
}
