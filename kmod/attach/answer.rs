// SPDX-License-Identifier: GPL-2.0

//! What a hook answers, and how the kernel's function would return it.

use super::{Caller, IsInside};
use crate::bindings;
use kernel::prelude::*;

/// How the kernel's function says no.
pub(crate) trait Refusal {
    fn refusal(error: Error) -> Self;
    /// As it is returned.
    fn register(self) -> usize;
}

impl Refusal for i32 {
    #[inline(always)]
    fn refusal(error: Error) -> Self {
        error.to_errno()
    }
    #[inline(always)]
    fn register(self) -> usize {
        self as u32 as usize
    }
}
impl Refusal for i64 {
    #[inline(always)]
    fn refusal(error: Error) -> Self {
        error.to_errno().into()
    }
    #[inline(always)]
    fn register(self) -> usize {
        self as usize
    }
}
impl Refusal for isize {
    #[inline(always)]
    fn refusal(error: Error) -> Self {
        error.to_errno() as isize
    }
    #[inline(always)]
    fn register(self) -> usize {
        self as usize
    }
}
impl Refusal for bool {
    #[inline(always)]
    fn refusal(_: Error) -> Self {
        false
    }
    #[inline(always)]
    fn register(self) -> usize {
        self.into()
    }
}
impl Refusal for () {
    #[inline(always)]
    fn refusal(_: Error) -> Self {}
    #[inline(always)]
    fn register(self) -> usize {
        0
    }
}
impl<T> Refusal for *mut T {
    #[inline(always)]
    fn refusal(error: Error) -> Self {
        error.to_ptr()
    }
    #[inline(always)]
    fn register(self) -> usize {
        self as usize
    }
}
impl<T> Refusal for *const T {
    #[inline(always)]
    fn refusal(error: Error) -> Self {
        error.to_ptr()
    }
    #[inline(always)]
    fn register(self) -> usize {
        self as usize
    }
}

/// What a `relay` ends with.
pub(crate) trait Call<Return> {
    /// Calls one function as the last thing. To be inlined always, so that this is a jump.
    fn call(self) -> Return;
}

/// An answer that is there already.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) struct Answered<Return>(pub(crate) Return);

#[cfg(not(CONFIG_SECURITY_VSERVER))]
impl<Return> Call<Return> for Answered<Return> {
    #[inline(always)]
    fn call(self) -> Return {
        self.0
    }
}

/// A first argument as it is passed.
pub(crate) trait First {
    fn register(self) -> usize;
}

impl<T> First for *mut T {
    #[inline(always)]
    fn register(self) -> usize {
        self as usize
    }
}

impl First for bindings::kuid_t {
    #[inline(always)]
    fn register(self) -> usize {
        self.val as usize
    }
}

/// What the entry of a `mediate` is told, in two registers.
#[repr(C)]
pub(crate) struct Verdict {
    answer: usize,
    refused: usize,
}

impl Verdict {
    #[inline(always)]
    pub(crate) fn new<Return: Refusal>(result: Result) -> Self {
        match result {
            Ok(()) => Self {
                answer: 0,
                refused: 0,
            },
            Err(error) => Self {
                answer: Return::refusal(error).register(),
                refused: 1,
            },
        }
    }

    /// `None`: the kernel's function answers.
    #[inline(always)]
    pub(crate) fn of(answer: Option<impl Refusal>) -> Self {
        Self {
            refused: answer.is_some().into(),
            answer: answer.map_or(0, Refusal::register),
        }
    }
}

/// What the entry of a `wrap_inside` asks.
#[no_mangle]
extern "C" fn vserver_caller_is_inside() -> Verdict {
    Verdict {
        answer: 0,
        refused: Caller::is_inside().into(),
    }
}

/// An error when something is so.
#[inline(always)]
pub(crate) fn unless(refused: bool, error: Error) -> Result {
    if refused {
        Err(error)
    } else {
        Ok(())
    }
}
