// SPDX-License-Identifier: GPL-2.0

//! What a hook may take in the place of an argument of the kernel's function. One of the files that may contain `unsafe`.

use crate::bindings;

/// What a hook is given for an argument of the kernel's function.
///
/// # Safety
///
/// `Raw` is passed as the kernel passes what [`Is`] is implemented for.
pub(crate) unsafe trait Argument {
    type Raw: Copy;

    /// # Safety
    ///
    /// `raw` is an argument of a kernel function, of the meaning that its type has there, and is used during that call.
    unsafe fn from_raw(raw: Self::Raw) -> Self;
}

#[allow(dead_code)] // Looked at by the compiler only.
#[diagnostic::on_unimplemented(
    message = "a hook has `{Self}` where the kernel's function has `{Real}`"
)]
/// `Self` stands for an argument or a result of the type `Real` in the kernel's declaration.
pub(crate) trait Is<Real> {}
impl Is<()> for () {}

macro_rules! numbers {
    ($($name:ty),*) => {$(
        // SAFETY: It is itself.
        unsafe impl Argument for $name {
            type Raw = Self;
            #[inline(always)]
            unsafe fn from_raw(raw: Self) -> Self {
                raw
            }
        }
        impl Is<$name> for $name {}
    )*};
}
numbers!(bool, u8, i8, u16, i16, u32, i32, u64, i64, usize, isize);

// SAFETY: It is itself.
unsafe impl Argument for bindings::kuid_t {
    type Raw = Self;
    #[inline(always)]
    unsafe fn from_raw(raw: Self) -> Self {
        raw
    }
}
impl Is<bindings::kuid_t> for bindings::kuid_t {}

// SAFETY: It is itself.
unsafe impl<T> Argument for *mut T {
    type Raw = Self;
    #[inline(always)]
    unsafe fn from_raw(raw: Self) -> Self {
        raw
    }
}
impl<T> Is<*mut T> for *mut T {}
// SAFETY: It is itself.
unsafe impl<T> Argument for *const T {
    type Raw = Self;
    #[inline(always)]
    unsafe fn from_raw(raw: Self) -> Self {
        raw
    }
}
impl<T> Is<*const T> for *const T {}

macro_rules! callbacks {
    ($(fn($($arg:ident),*);)*) => {$(
        // SAFETY: It is itself.
        unsafe impl<$($arg,)* R> Argument for Option<unsafe extern "C" fn($($arg),*) -> R> {
            type Raw = Self;
            #[inline(always)]
            unsafe fn from_raw(raw: Self) -> Self {
                raw
            }
        }
        impl<$($arg,)* R> Is<Self> for Option<unsafe extern "C" fn($($arg),*) -> R> {}
    )*};
}
callbacks! {
    fn(A);
    fn(A, B);
    fn(A, B, C);
}

/// Makes a type of `linux/` one of arguments.
macro_rules! argument {
    ($name:ident, $raw:ident) => {
        // SAFETY: A reference is a pointer.
        unsafe impl $crate::attach::argument::Argument for &$name {
            type Raw = *const $crate::bindings::$raw;
            #[inline(always)]
            unsafe fn from_raw(raw: Self::Raw) -> Self {
                // SAFETY: An argument that the kernel's function follows without asking, by the contract of the trait.
                unsafe { $name::from_ptr(raw) }
            }
        }
        impl $crate::attach::argument::Is<*const $crate::bindings::$raw> for &$name {}
        impl $crate::attach::argument::Is<*mut $crate::bindings::$raw> for &$name {}
        // SAFETY: A reference is a pointer.
        unsafe impl $crate::attach::argument::Argument for Option<&$name> {
            type Raw = *const $crate::bindings::$raw;
            #[inline(always)]
            unsafe fn from_raw(raw: Self::Raw) -> Self {
                // SAFETY: By the contract of the trait.
                unsafe { $name::from_nullable(raw) }
            }
        }
        impl $crate::attach::argument::Is<*const $crate::bindings::$raw> for Option<&$name> {}
        impl $crate::attach::argument::Is<*mut $crate::bindings::$raw> for Option<&$name> {}
    };
}
pub(crate) use argument;
