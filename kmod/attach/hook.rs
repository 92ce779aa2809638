// SPDX-License-Identifier: GPL-2.0

//! How a hook is declared: [`hooks!`]. One of the files that may contain `unsafe`.
//!
//! ```ignore
//! hooks! {
//!     /// Its owner may change its permission bits without any capability.
//!     mediate fn chmod_common(path: &Path, _mode: umode_t) -> c_int {
//!         unless(is_barrier(path.inode()), EPERM)
//!     }
//! }
//! ```
//!
//! The kinds, by what they decide:
//!
//! - `mediate`: may this happen? Asked only for callers in a context; all others pay three instructions. `Ok(())` jumps into the
//!   kernel's function with unchanged arguments, so nothing of the module is on the stack while it runs. An error is the result.
//! - `mediate_anyone`: the same for all callers, up to six arguments.
//! - `redirect`: on whose behalf? Asked only for callers in a context, at the same price. Jumps into the kernel's function
//!   with the result as its first argument.
//! - `answer`: `Some` is the result, for callers in a context only; `None` jumps into the kernel's function. The hook counts as
//!   [`Inside`](super::Inside) while it decides, so it may sleep.
//! - `instead(original)`: what is the answer? Asked for callers in a context or confined to addresses. `None` jumps into
//!   the kernel's function. `Some` is the result, for which `original(…)` may be called with other arguments. That call
//!   is not counted: such a caller has a network, which keeps the module.
//! - `wrap(original)`: what is the answer? `original()` calls the kernel's function. The hook counts as
//!   [`Inside`](super::Inside) meanwhile, so an unload waits for it. `wrap_atomic` does not count: it never sleeps.
//! - `relay(original)`: what runs in place of the kernel's function? Asked for all callers, up to six arguments. `None` jumps
//!   into the kernel's function. `Some` is a [`Call`], also a jump, so it may sleep for any time. Before that, a hook
//!   that counts as [`Inside`](super::Inside) may call `original(…)` with other arguments.
//! - `wrap_inside(original)`: as `wrap`, for callers in a context only, up to six arguments; others jump on. It may
//!   sleep for any time: a context with a process in it holds the module.
//! - `ask`: what is the answer? For members of the patched kernel's operations, for all callers.
//!
//! Arguments are numbers, pointers, or `&T` and `Option<&T>` of types of `linux/`; the result of a `wrap` may be, too. They are
//! checked against the declaration of the kernel's function of that name (`bindings.h`): a hook that differs does not build. Of
//! more than six arguments, a hook that goes on by a jump can use only the first six. Bodies must not use `return`.
//!
//! Other files call the kernel's function past its hook by [`original!`](super::prototype::original).
//!
//! `#[member(NAME)]` in front of a `mediate_anyone` or `wrap` makes one declaration for both lanes: the patched kernel calls the
//! hook by that member of its `struct vserver_ops`, with the same arguments. Where the stock lane goes on into the
//! kernel's function, the result is then 0. An `ask` always has such a member.

#![allow(improper_ctypes)] // Kernel structures cross only as pointers.

#[cfg(not(CONFIG_SECURITY_VSERVER))]
pub(crate) use super::answer::Answered;
pub(crate) use super::{
    answer::{unless, Call},
    argument::{argument, Argument, Is},
    row::Hook,
};

/// Chooses between what a hook of a function is and what a member of the kernel's operations is: here all are the former.
#[cfg(not(CONFIG_SECURITY_VSERVER))]
macro_rules! by_lane {
    ([$($member:ident)?] { $($function:tt)* } { $($other:tt)* }) => { $($function)* };
}
/// Chooses between what a hook of a function is and what a member of the kernel's operations is.
#[cfg(CONFIG_SECURITY_VSERVER)]
macro_rules! by_lane {
    ([] { $($function:tt)* } { $($other:tt)* }) => { $($function)* };
    ([$member:ident] { $($function:tt)* } { $($other:tt)* }) => { $($other)* };
}
pub(crate) use by_lane;

macro_rules! hooks {
    ($(
        $(#[doc = $doc:literal])*
        $(#[cfg($cfg:meta)])?
        $(#[member($member:ident)])?
        $kind:ident $(($original:ident))? fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $return:ty)? $body:block
    )*) => {
        $(
            $(#[cfg($cfg)])?
            mod $name {
                #[allow(dead_code)] // For errors of the build.
                pub(super) enum Name {}
                $crate::attach::hook::by_lane! {
                    [$($member)?]
                    {
                        $crate::attach::entry::trampoline!($name);
                        $crate::attach::entry::entry!($kind $name);
                    }
                    {}
                }
            }
        )*

        /// The hooks of this file.
        pub(crate) static HOOKS: &[$crate::attach::hook::Hook] = &[$(
            $(#[cfg($cfg)])?
            $crate::attach::hook::by_lane! {
                [$($member)?]
                {
                    $crate::attach::hook::hook!(
                        [] $kind $($original)?, $name, ($($arg: $type),*), ($($return)?), $body
                    )
                }
                {
                    $crate::attach::hook::hook!(
                        [$($member)?] $kind $($original)?, $name, ($($arg: $type),*), ($($return)?), $body
                    )
                }
            }
        ),*];
    };
}
pub(crate) use hooks;

macro_rules! hook {
    // What has no result returns nothing.
    ([$($member:ident)?] $kind:ident $($called:ident)?, $name:ident, ($($arg:ident: $type:ty),*), (), $body:block) => {
        $crate::attach::hook::hook!([$($member)?] $kind $($called)?, $name, ($($arg: $type),*), (()), $body)
    };

    ([] $kind:ident $($called:ident)?, $name:ident, ($($arg:ident: $type:ty),*), ($return:ty), $body:block) => {{
        #[allow(unused_imports)] // Without arguments.
        use $crate::attach::argument::Argument;

        // The kernel's declaration, and this one.
        const _: () = {
            let $name: unsafe extern "C" fn($($crate::attach::prototype::any!($arg)),*) -> _ =
                $crate::bindings::$name;
            $crate::attach::prototype::Signature::<$name::Name, ($($type,)*), $return>::NEW.check($name);
        };

        #[allow(improper_ctypes)] // Kernel structures cross only as pointers.
        #[allow(dead_code)] // Some kinds go on by their entry only.
        extern "C" {
            #[link_name = concat!("vserver_orig_", stringify!($name))]
            fn original($($arg: <$type as Argument>::Raw),*) -> $return;
        }

        $crate::attach::hook::hook!(@$kind $($called)?, $name, ($($arg: $type),*), $return, $body);

        // SAFETY: The entry is made of the same declaration, which has been compared with the kernel's above.
        unsafe {
            $crate::attach::row::Hook::new(
                concat!(stringify!($name), "\0"),
                stringify!($kind),
                file!(),
                entry as *const (),
                $crate::attach::row::Place::Function { original: &raw mut $name::ADDRESS },
            )
        }
    }};

    ([$member:ident] $kind:ident $($called:ident)?, $name:ident, ($($arg:ident: $type:ty),*), ($return:ty), $body:block) => {{
        use $crate::attach::argument::Argument;

        // The kernel's declaration, and this one.
        const _: () = {
            let $name = $crate::attach::prototype::NO_OPERATIONS.$member;
            $crate::attach::prototype::Signature::<$name::Name, ($($type,)*), $return>::NEW.check_member($name);
        };

        $crate::attach::hook::hook!(@otherwise $kind, ($($arg: $type),*), $return);
        $crate::attach::hook::hook!(@$kind $($called)?, $name, ($($arg: $type),*), $return, $body);

        // SAFETY: The entry is made of the same declaration, which has been compared with the kernel's above.
        unsafe {
            $crate::attach::row::Hook::new(
                concat!(stringify!($member), "\0"),
                stringify!($kind),
                file!(),
                entry as *const (),
                $crate::attach::row::Place::Member {
                    offset: ::core::mem::offset_of!($crate::bindings::vserver_ops, $member),
                },
            )
        }
    }};

    // What a member answers that has nothing against it.
    (@otherwise ask, ($($arg:ident: $type:ty),*), $return:ty) => {};
    (@otherwise $kind:ident, ($($arg:ident: $type:ty),*), $return:ty) => {
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn original($(_: $crate::attach::hook::hook!(@raw $arg $type)),*) -> $return {
            ::core::default::Default::default()
        }
    };
    (@raw $arg:ident $type:ty) => { <$type as Argument>::Raw };

    // More are passed on the stack, where the entries keep something else.
    (@at_most_six $($arg:ident)*) => {
        const {
            let arguments: &[&str] = &[$(stringify!($arg)),*];
            assert!(arguments.len() <= 6, "at most six arguments");
        }
    };

    (@mediate, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        use self::$name::entry;

        #[export_name = concat!("vserver_check_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn verdict($($arg: <$type as Argument>::Raw),*) -> $crate::attach::answer::Verdict {
            #[inline(always)]
            fn check($($arg: $type),*) -> ::kernel::error::Result $body
            let result = check($(
                // SAFETY: Called in place of the kernel's function, so these are its arguments.
                unsafe { <$type as Argument>::from_raw($arg) }
            ),*);
            // Some who have the mark are in no context, but that is looked up only when it matters.
            $crate::attach::answer::Verdict::new::<$return>(
                result.or_else(|error| {
                    $crate::attach::answer::unless(<$crate::attach::Caller as $crate::attach::IsInside>::is_inside(), error)
                }),
            )
        }
    };

    (@answer, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        use self::$name::entry;

        #[export_name = concat!("vserver_check_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn verdict($($arg: <$type as Argument>::Raw),*) -> $crate::attach::answer::Verdict {
            #[inline(always)]
            fn answer($($arg: $type),*) -> Option<$return> $body
            let _guard = $crate::attach::Inside::enter();
            // SAFETY: Called in place of the kernel's function, so these are its arguments.
            $crate::attach::answer::Verdict::of(answer($(unsafe { <$type as Argument>::from_raw($arg) }),*))
        }
    };

    (@redirect, $name:ident, ($first:ident: $first_type:ty $(, $arg:ident: $type:ty)*), $return:ty, $body:block) => {
        use self::$name::entry;

        #[export_name = concat!("vserver_check_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn first(
            $first: <$first_type as Argument>::Raw $(, $arg: <$type as Argument>::Raw)*
        ) -> usize {
            #[inline(always)]
            fn choose($first: $first_type $(, $arg: $type)*) -> $first_type $body
            // SAFETY: Called in place of the kernel's function, so these are its arguments.
            let chosen = choose(unsafe { <$first_type as Argument>::from_raw($first) } $(,
                // SAFETY: As above.
                unsafe { <$type as Argument>::from_raw($arg) })*);
            $crate::attach::answer::First::register(chosen)
        }
    };

    (@instead $called:ident, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        $crate::attach::hook::hook!(@at_most_six $($arg)*);

        use self::$name::entry;

        #[export_name = concat!("vserver_check_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn verdict($($arg: <$type as Argument>::Raw),*) -> $crate::attach::answer::Verdict {
            #[inline(always)]
            fn answer(
                $called: impl Fn($(<$type as Argument>::Raw),*) -> $return,
                $($arg: $type),*
            ) -> Option<$return> $body
            $crate::attach::answer::Verdict::of(answer(
                // SAFETY: By whoever calls it with pointers: to what is valid as the kernel's arguments are.
                |$($arg),*| unsafe { original($($arg),*) },
                // SAFETY: Called in place of the kernel's function, so these are its arguments.
                $(unsafe { <$type as Argument>::from_raw($arg) }),*
            ))
        }
    };

    (@mediate_anyone, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        $crate::attach::hook::hook!(@at_most_six $($arg)*);

        #[export_name = concat!("vserver_wrap_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn entry($($arg: <$type as Argument>::Raw),*) -> $return {
            #[inline(always)]
            fn check($($arg: $type),*) -> ::kernel::error::Result $body
            // SAFETY: Called in place of the kernel's function, so these are its arguments.
            match check($(unsafe { <$type as Argument>::from_raw($arg) }),*) {
                // SAFETY: The same call, with the same arguments.
                Ok(()) => unsafe { original($($arg),*) },
                Err(error) => <$return as $crate::attach::answer::Refusal>::refusal(error),
            }
        }
    };

    (@relay $called:ident, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        $crate::attach::hook::hook!(@at_most_six $($arg)*);

        #[export_name = concat!("vserver_wrap_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn entry($($arg: <$type as Argument>::Raw),*) -> $return {
            let chosen = {
                // SAFETY: By whoever calls it with pointers: to what is valid as the kernel's arguments are.
                let $called = |$($arg: <$type as Argument>::Raw),*| unsafe { original($($arg),*) };
                // SAFETY: Called in place of the kernel's function, so these are its arguments.
                $(let $arg = unsafe { <$type as Argument>::from_raw($arg) };)*
                $body
            };
            match chosen {
                // Nothing is left to do after either call, so both are jumps.
                Some(call) => $crate::attach::answer::Call::call(call),
                // SAFETY: The same call, with the same arguments.
                None => unsafe { original($($arg),*) },
            }
        }
    };

    (@wrap_inside $called:ident, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        use self::$name::entry;
        $crate::attach::hook::hook!(@at_most_six $($arg)*);

        #[export_name = concat!("vserver_instead_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn instead($($arg: <$type as Argument>::Raw),*) -> $return {
            #[inline(always)]
            fn answer($called: impl FnOnce() -> $return, $($arg: $type),*) -> $return $body
            let _inside = $crate::attach::Inside::enter();
            answer(
                // SAFETY: The same call, with the same arguments.
                || unsafe { original($($arg),*) },
                // SAFETY: Called in place of the kernel's function, so these are its arguments.
                $(unsafe { <$type as Argument>::from_raw($arg) }),*
            )
        }
    };

    (@wrap $called:ident, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        $crate::attach::hook::hook!(@around [$crate::attach::Inside::enter()] $called, $name, ($($arg: $type),*), $return, $body);
    };

    (@wrap_atomic $called:ident, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        $crate::attach::hook::hook!(@around [()] $called, $name, ($($arg: $type),*), $return, $body);
    };

    (@around [$guard:expr] $called:ident, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        #[export_name = concat!("vserver_wrap_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called in place of the kernel\'s function, with its arguments.
        unsafe extern "C" fn entry($($arg: <$type as Argument>::Raw),*) -> $return {
            #[inline(always)]
            // One more than the kernel's function has, which may return nothing.
            #[allow(clippy::too_many_arguments, clippy::unused_unit)]
            fn answer($called: impl FnOnce() -> $return, $($arg: $type),*) -> $return $body
            let _guard = $guard;
            answer(
                // SAFETY: The same call, with the same arguments.
                || unsafe { original($($arg),*) },
                // SAFETY: Called in place of the kernel's function, so these are its arguments.
                $(unsafe { <$type as Argument>::from_raw($arg) }),*
            )
        }
    };

    (@ask, $name:ident, ($($arg:ident: $type:ty),*), $return:ty, $body:block) => {
        #[export_name = concat!("vserver_wrap_", stringify!($name))]
        #[allow(clippy::missing_safety_doc)] // Called by the kernel\'s member of that name, with its arguments.
        unsafe extern "C" fn entry($($arg: <$type as Argument>::Raw),*) -> $return {
            #[inline(always)]
            #[allow(clippy::unused_unit)] // Where it returns nothing.
            fn answer($($arg: $type),*) -> $return $body
            // SAFETY: Called by the kernel with the arguments of that member.
            answer($(unsafe { <$type as Argument>::from_raw($arg) }),*)
        }
    };
}
pub(crate) use hook;
