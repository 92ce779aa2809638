// SPDX-License-Identifier: GPL-2.0

//! Parameters of the module. Those of `module!` are not in sysfs.
//!
//! C header: `include/linux/moduleparam.h`.

use crate::bindings;
use kernel::{
    str::as_char_ptr_in_const_context,
    sync::atomic::{Atomic, Relaxed},
};

/// The kernel's entry for a parameter.
#[repr(transparent)]
struct Entry(bindings::kernel_param);

// SAFETY: Read by the kernel only.
unsafe impl Sync for Entry {}

static MAX_CONTEXTS_PER_USER: Atomic<u32> = Atomic::new(256);

#[used]
#[link_section = "__param"]
static ENTRY: Entry = Entry(bindings::kernel_param {
    name: as_char_ptr_in_const_context(c"max_contexts_per_user"),
    mod_: &raw mut bindings::__this_module,
    ops: &raw const bindings::param_ops_uint,
    perm: 0o644,
    level: -1,
    flags: 0,
    __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 {
        arg: MAX_CONTEXTS_PER_USER.as_ptr().cast(),
    },
});

macro_rules! information {
    ($name:ident, $text:literal) => {
        #[used]
        #[link_section = ".modinfo"]
        static $name: [u8; $text.len()] = *$text;
    };
}
information!(TYPE, b"parmtype=max_contexts_per_user:uint\0");
information!(
    DESCRIPTION,
    b"parm=max_contexts_per_user:Contexts and loopback blocks that one unprivileged user may have at a time\0"
);

/// How many contexts and loopback blocks one unprivileged user may have at a time.
pub(crate) fn max_contexts_per_user() -> u32 {
    MAX_CONTEXTS_PER_USER.load(Relaxed)
}
