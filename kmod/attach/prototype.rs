// SPDX-License-Identifier: GPL-2.0

//! The kernel's declarations against those of the hooks, and its functions behind them. One of the files that may contain
//! `unsafe`.
//!
//! Nobody writes the prototype of a kernel function here: bindgen takes it from the kernel's headers (`bindings.h`). A hook
//! that differs from it does not build, and [`original!`] has its type from there.

use super::argument::Is;
#[cfg(CONFIG_SECURITY_VSERVER)]
use crate::bindings::vserver_ops;
use core::marker::PhantomData;
#[cfg(CONFIG_SECURITY_VSERVER)]
use core::mem::MaybeUninit;

#[allow(dead_code)] // Looked at by the compiler only.
/// Checks that a kernel function has the arguments and the result that a hook says. Nothing is left of it in the object. An
/// error names the hook by `Name`.
pub(crate) trait Like<Name, Arguments, Return> {}

macro_rules! like {
    ($($own:ident $real:ident),*) => {
        impl<Name, $($own, $real,)* Own, Return> Like<Name, ($($own,)*), Own> for unsafe extern "C" fn($($real),*) -> Return
        where
            $($own: Is<$real>,)*
            Own: Is<Return>,
        {
        }
    };
}
like!();
like!(A RA);
like!(A RA, B RB);
like!(A RA, B RB, C RC);
like!(A RA, B RB, C RC, D RD);
like!(A RA, B RB, C RC, D RD, E RE);
like!(A RA, B RB, C RC, D RD, E RE, F RF);
like!(A RA, B RB, C RC, D RD, E RE, F RF, G RG);
like!(A RA, B RB, C RC, D RD, E RE, F RF, G RG, H RH, I RI);

#[allow(dead_code)] // Looked at by the compiler only.
/// Of a hook: its name, arguments and result.
pub(crate) struct Signature<Name, Arguments, Return>(PhantomData<(Name, Arguments, Return)>);

#[allow(dead_code)] // As above.
impl<Name, Arguments, Return> Signature<Name, Arguments, Return> {
    pub(crate) const NEW: Self = Self(PhantomData);

    /// Does not build unless the kernel's declaration is like it.
    pub(crate) const fn check<F: Copy + Like<Name, Arguments, Return>>(self, _declared: F) {}

    /// The same for a member of the patched kernel's operations.
    #[cfg(CONFIG_SECURITY_VSERVER)]
    pub(crate) const fn check_member<F: Copy + Like<Name, Arguments, Return>>(
        self,
        _declared: Option<F>,
    ) {
    }
}

/// Operations without any, whose members have the kernel's types.
#[cfg(CONFIG_SECURITY_VSERVER)]
// SAFETY: Zeroes are `None` of each member.
pub(crate) const NO_OPERATIONS: vserver_ops = unsafe { MaybeUninit::zeroed().assume_init() };

/// A function as one of the type of another.
///
/// # Safety
///
/// `code` takes and returns what `F`, a function pointer, says.
#[inline(always)]
pub(crate) const unsafe fn of_type<F: Copy>(_: F, code: unsafe extern "C" fn()) -> F {
    const { assert!(size_of::<F>() == size_of::<usize>()) };
    // SAFETY: Both are addresses of code, and `F` is how it is to be called, by contract.
    unsafe { core::mem::transmute_copy(&code) }
}

/// `original!(find_vpid(number))`: calls the kernel's function past its hook. To be used in an `unsafe` block that says why the
/// arguments are valid: the type is that of the kernel's declaration. What has no hook does not link.
macro_rules! original {
    ($name:ident($($value:expr),* $(,)?)) => {({
        #[allow(clashing_extern_declarations)] // The hook names the same code by types of its own.
        extern "C" {
            #[link_name = concat!("vserver_orig_", stringify!($name))]
            fn code();
        }
        // A binding, as its type is inferred from the declaration alone.
        let declared: unsafe extern "C" fn($($crate::attach::prototype::any!($value)),*) -> _ =
            $crate::bindings::$name;
        // The code goes on in that very function, with all registers and the stack as they are: so it has its type.
        $crate::attach::prototype::of_type(declared, code)
    })($($value),*)};
}
pub(crate) use original;

/// A type to be inferred, for each of some tokens.
macro_rules! any {
    ($($token:tt)*) => {
        _
    };
}
pub(crate) use any;
