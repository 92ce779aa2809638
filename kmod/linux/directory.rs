// SPDX-License-Identifier: GPL-2.0

//! Directories that are not listed completely, or one entry at a time.

#![allow(clippy::missing_safety_doc)] // The kernel calls them as the functions that they stand for.

use super::{kernel_types, read_once, File};
use crate::{attach::hook::Call, bindings};
use kernel::ffi::{c_char, c_int, c_uint};

kernel_types! {
    /// Who reads a directory.
    Reader = dir_context;
}

/// A reader that does not hear of all entries.
///
/// # Invariants
///
/// `reader` is valid as long as this is.
#[repr(C)]
struct Narrowed<Shown> {
    /// First: what is passed to `tell` is a pointer to it.
    context: bindings::dir_context,
    reader: *mut bindings::dir_context,
    is_shown: Shown,
}

unsafe extern "C" fn tell<Shown: FnMut(&[u8]) -> bool>(
    context: *mut bindings::dir_context,
    name: *const c_char,
    length: c_int,
    position: bindings::loff_t,
    inode: u64,
    kind: c_uint,
) -> bool {
    // SAFETY: Set as the actor of a `Narrowed` of this type only, of which it is the first field. A
    // name is as long as said.
    unsafe {
        let narrowed = &mut *context.cast::<Narrowed<Shown>>();
        let reader = narrowed.reader;
        (*reader).pos = narrowed.context.pos;
        let bytes = core::slice::from_raw_parts(name.cast::<u8>(), length as usize);
        if !matches!(bytes, b"." | b"..") && !(narrowed.is_shown)(bytes) {
            return true;
        }
        match (*reader).actor {
            Some(actor) => actor(reader, name, length, position, inode, kind),
            None => false,
        }
    }
}

impl Reader {
    /// Has `read` read the directory for a reader that hears of the entries that `is_shown` tells,
    /// and does what it does for this one.
    pub(crate) fn narrowed<Shown: FnMut(&[u8]) -> bool>(
        &self,
        is_shown: Shown,
        read: impl FnOnce(*const bindings::dir_context) -> c_int,
    ) -> c_int {
        let reader = self.as_ptr();
        let mut narrowed = Narrowed {
            // SAFETY: Valid by the type's invariant, and plain values.
            context: unsafe { reader.read() },
            reader,
            is_shown,
        };
        narrowed.context.actor = Some(tell::<Shown>);
        let answer = read((&raw mut narrowed).cast());
        // SAFETY: As above.
        unsafe { (*reader).pos = narrowed.context.pos };
        answer
    }
}

/// An entry of a directory as its reader is told of it.
#[repr(C)]
pub(crate) struct Listed {
    name: [u8; 12],
    length: u32,
    position: u32,
    inode: u32,
    kind: u32,
}

/// A reader that takes the first entry that is not hidden, and stops at the second.
///
/// # Invariants
///
/// `listed` is valid as long as this is.
#[repr(C)]
struct Taker<Hidden> {
    /// First: what is passed to `take` is a pointer to it.
    context: bindings::dir_context,
    listed: *mut Listed,
    is_hidden: Hidden,
}

unsafe extern "C" fn take<Hidden: FnMut(&[u8]) -> bool>(
    context: *mut bindings::dir_context,
    name: *const c_char,
    length: c_int,
    position: bindings::loff_t,
    inode: u64,
    kind: c_uint,
) -> bool {
    // SAFETY: Set as the actor of a `Taker` of this type only, of which it is the first field. A
    // name is as long as said.
    let (taker, name) = unsafe {
        (
            &mut *context.cast::<Taker<Hidden>>(),
            core::slice::from_raw_parts(name.cast::<u8>(), length as usize),
        )
    };
    if (taker.is_hidden)(name) {
        return true;
    }
    // SAFETY: By the invariant.
    let listed = unsafe { &mut *taker.listed };
    let Some(place) = listed.name.get_mut(..name.len()) else {
        return false;
    };
    if listed.length != 0 {
        return false;
    }
    place.copy_from_slice(name);
    listed.length = length as u32;
    listed.position = position as u32;
    listed.inode = inode as u32;
    listed.kind = kind;
    true
}

/// Where the name of a cursor has room: behind the only one that a cursor has, `/`.
const ROOM: usize = 8;
const _: () = assert!(ROOM + size_of::<Listed>() <= size_of::<bindings::shortname_store>());

impl File {
    /// Of an open directory whose entries are in the kernel's cache only: has `read`, that is
    /// `dcache_readdir()`, read it up to the next entry that is not hidden. The entry lies in the
    /// name of the cursor that each such open directory has. There it lives as long as the file,
    /// and until the next call.
    pub(crate) fn next_listed<Hidden: FnMut(&[u8]) -> bool>(
        &self,
        reader: &Reader,
        is_hidden: Hidden,
        read: impl FnOnce(*const bindings::file, *const bindings::dir_context) -> c_int,
    ) -> Option<&Listed> {
        let cursor: *mut bindings::dentry = read_once!(self, private_data).cast();
        // SAFETY: `dcache_dir_open()` has put the cursor there, and the file keeps it. The kernel
        // reads a directory for one caller at a time, and does not look at the name. The assertion
        // above says that there is room.
        let listed: *mut Listed = unsafe { (&raw mut (*cursor).d_shortname).byte_add(ROOM).cast() };
        let mut taker = Taker {
            context: bindings::dir_context {
                actor: Some(take::<Hidden>),
                pos: read_once!(reader, pos),
                ..Default::default()
            },
            listed,
            is_hidden,
        };
        // SAFETY: As above.
        unsafe { (*listed).length = 0 };
        read(self.as_ptr(), (&raw mut taker).cast());
        // SAFETY: As above, and the reader is valid by its type's invariant.
        unsafe {
            (*reader.as_ptr()).pos = taker.context.pos;
            ((*listed).length != 0).then(|| &*listed)
        }
    }
}

/// A reader who is told of an entry, if there is one.
pub(crate) struct Tell<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) listed: Option<&'a Listed>,
}

/// An actor, with its answer as the kernel's function returns it.
type Actor = unsafe extern "C" fn(
    *mut bindings::dir_context,
    *const c_char,
    c_int,
    bindings::loff_t,
    u64,
    c_uint,
) -> c_int;

impl Call<c_int> for Tell<'_> {
    #[inline(always)]
    fn call(self) -> c_int {
        let reader = self.reader.as_ptr();
        let Some(listed) = self.listed else { return 0 };
        // SAFETY: Valid by the type's invariant. A truth value is returned in the register of a
        // number, and the kernel's callers only ask whether that is negative. A name is as long as
        // said.
        unsafe {
            let actor = core::mem::transmute::<bindings::filldir_t, Option<Actor>>((*reader).actor);
            match actor {
                Some(actor) => actor(
                    reader,
                    (&raw const listed.name).cast(),
                    listed.length as c_int,
                    listed.position.into(),
                    listed.inode.into(),
                    listed.kind,
                ),
                None => 0,
            }
        }
    }
}
