// SPDX-License-Identifier: GPL-2.0

//! The kernel's declarations: those that the `kernel` crate has bound, and those of `bindings.h` beside them.
//!
//! Only `linux/` and `attach/` use this.

#![allow(
    clippy::all,
    clippy::cast_lossless,
    clippy::missing_safety_doc,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unused_imports,
    unsafe_op_in_unsafe_fn
)]

use kernel::ffi;
use pin_init::MaybeZeroable;

// What is bound here, too, hides what has the same name there.
pub(crate) use kernel::bindings::*;

include!(env!("VSERVER_BINDINGS"));
