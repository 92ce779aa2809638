// SPDX-License-Identifier: GPL-2.0

//! What the module knows of a hook: a row of the tables that [`hooks!`](super::hook::hooks) makes.

use crate::uapi::{self, HookInfo, HOOK_FILE_LEN, HOOK_KIND_LEN, HOOK_NAME_LEN};
use core::ffi::CStr;

/// A hook.
///
/// # Invariants
///
/// `entry` may be called at `place`, with the arguments and for the result of the function or member there.
#[derive(Clone, Copy)]
pub(crate) struct Hook {
    /// The kernel's function, or the member of its operations.
    pub(super) name: &'static CStr,
    /// `mediate`, `wrap` and so on.
    pub(super) kind: &'static str,
    /// Where it is declared, below `kmod/`.
    pub(super) file: &'static str,
    /// What is called in its place: code of this module.
    pub(super) entry: *const (),
    pub(super) place: Place,
}

/// Where the kernel calls a hook.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Where the function of its name begins. The static of this module is for the address at which `vserver_orig_NAME` goes on.
    Function { original: *mut usize },
    /// By the member of `struct vserver_ops` at this offset.
    #[cfg(CONFIG_SECURITY_VSERVER)]
    Member { offset: usize },
}

// SAFETY: Only read; the pointers are to code and statics.
unsafe impl Send for Hook {}
// SAFETY: As above.
unsafe impl Sync for Hook {}

impl Hook {
    /// For tables, which are made at build time: so a name that does not fit the ABI does not build. `name` ends with a NUL,
    /// and `file` is as `file!()` names it.
    ///
    /// # Safety
    ///
    /// By the type's invariant. For [`hooks!`](super::hook::hooks) alone.
    pub(crate) const unsafe fn new(
        name: &'static str,
        kind: &'static str,
        file: &'static str,
        entry: *const (),
        place: Place,
    ) -> Self {
        let Ok(name) = CStr::from_bytes_with_nul(name.as_bytes()) else {
            panic!("a name ends with its only NUL");
        };
        let file = below_kmod(file);
        assert!(name.count_bytes() < HOOK_NAME_LEN);
        assert!(kind.len() < HOOK_KIND_LEN);
        assert!(file.len() < HOOK_FILE_LEN);
        // INVARIANT: By contract.
        Self {
            name,
            kind,
            file,
            entry,
            place,
        }
    }

    /// Its name, for the log.
    pub(crate) fn name(&self) -> &'static str {
        self.name.to_str().unwrap_or("?")
    }

    /// What the ABI tells of it.
    pub(crate) fn info(&self, attached: bool) -> HookInfo {
        HookInfo {
            name: padded(self.name.to_bytes()),
            kind: padded(self.kind.as_bytes()),
            file: padded(self.file.as_bytes()),
            place: match self.place {
                Place::Function { .. } => uapi::HOOK_FUNCTION,
                #[cfg(CONFIG_SECURITY_VSERVER)]
                Place::Member { .. } => uapi::HOOK_MEMBER,
            },
            attached: attached.into(),
            reserved: [0; 2],
        }
    }
}

/// A text with NULs behind it. One that is too long, which `Hook::new` refuses, would be cut.
fn padded<const LEN: usize>(text: &[u8]) -> [u8; LEN] {
    let mut padded = [0; LEN];
    for (to, from) in padded[..LEN - 1].iter_mut().zip(text) {
        *to = *from;
    }
    padded
}

/// The path of a source file below `kmod/`, which is where this file is `attach/row.rs`.
const fn below_kmod(path: &'static str) -> &'static str {
    let above = file!().len() - "attach/row.rs".len();
    let (_, below) = path.as_bytes().split_at(above);
    match core::str::from_utf8(below) {
        Ok(below) => below,
        Err(_) => panic!("a path of ASCII characters"),
    }
}
