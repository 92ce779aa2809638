// SPDX-License-Identifier: GPL-2.0

//! Text files.

use super::{kernel_types, Net, Sock};
use crate::{
    attach::hook::{Argument, Is},
    bindings,
};
use core::slice;
use kernel::ffi::{c_int, c_void};
use kernel::seq_file::SeqFile;

kernel_types! {
    /// A text that is being written.
    Seq = seq_file;
    /// The place of a sock in the list of its family.
    SockNode = hlist_node;
}

/// What `show` answers for an element that is not to be shown.
pub(crate) const SEQ_SKIP: c_int = bindings::SEQ_SKIP as c_int;

/// What a line is about: `None` for the heading, and for nothing.
///
/// # Invariants
///
/// As those of [`kernel_types`].
pub(crate) struct Row<'a, T>(Option<&'a T>);

impl<'a, T> Row<'a, T> {
    /// The element of the list, unless it is the heading.
    pub(crate) fn element(&self) -> Option<&'a T> {
        self.0
    }
}

// SAFETY: `Raw` is how `show` gets an element of its list.
unsafe impl<T> Argument for Row<'_, T> {
    type Raw = *mut c_void;

    #[inline(always)]
    unsafe fn from_raw(raw: Self::Raw) -> Self {
        /// `SEQ_START_TOKEN`, which a cast makes a pointer of.
        const HEADING: usize = 1;
        if raw as usize == HEADING {
            return Self(None);
        }
        // INVARIANT: By the contract of the trait.
        // SAFETY: Null, or an element of the list that the function shows, which the iterator keeps during the call; `T` is
        // what that function takes it for.
        Self(unsafe { raw.cast::<T>().as_ref() })
    }
}
impl<T> Is<*mut c_void> for Row<'_, T> {}

impl SockNode {
    /// The sock.
    pub(crate) fn sock(&self) -> &Sock {
        // SAFETY: A place is a part of its sock.
        unsafe { Sock::from_ptr(bindings::vserver_inline_sk_of_node(self.as_ptr())) }
    }
}

impl Seq {
    /// The text as a type of the `kernel` crate.
    pub(crate) fn as_seq_file(&self) -> &SeqFile {
        // SAFETY: Valid by the type's invariant.
        unsafe { SeqFile::from_raw(self.as_ptr()) }
    }

    /// The network namespace of a file of `/proc/net` that is written line by line.
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: `seq_open_net` puts it into the beginning of what is `private`, and keeps it.
        unsafe { Net::from_ptr(bindings::vserver_inline_seq_file_net(self.as_ptr())) }
    }

    /// The network namespace of a file of `/proc/net` that is written at once.
    pub(crate) fn net_of_single(&self) -> &Net {
        // SAFETY: `single_open_net` puts it there, and keeps it.
        unsafe { Net::from_ptr((*self.as_ptr()).private.cast()) }
    }

    /// Has `show` write, and `change` what it wrote: it returns how much is left. What does not fit
    /// is not touched: the kernel has it written anew, with more room.
    pub(crate) fn changed(
        &self,
        show: impl FnOnce() -> c_int,
        change: impl FnOnce(&mut [u8]) -> usize,
    ) -> c_int {
        let raw = self.as_ptr();
        // SAFETY: Valid by the type's invariant; only the caller, with its lock, writes to it.
        let before = unsafe { (*raw).count };
        let answer = show();
        // SAFETY: As above; `count` bytes of the buffer are written.
        unsafe {
            let count = (*raw).count;
            if answer == 0 && before <= count && count < (*raw).size {
                let written =
                    slice::from_raw_parts_mut((*raw).buf.cast::<u8>().add(before), count - before);
                (*raw).count = before + change(written);
            }
        }
        answer
    }

    /// Takes back the last `length` bytes, and writes others in their place. A text that did not fit is not touched, nor one
    /// that is shorter.
    pub(crate) fn replace_end(&self, length: usize, bytes: impl Iterator<Item = u8>) {
        let raw = self.as_ptr();
        // SAFETY: Valid by the type's invariant; only the caller, with its lock, writes to it.
        let (count, size) = unsafe { ((*raw).count, (*raw).size) };
        if count == size || count < length {
            return;
        }
        // SAFETY: As above; the text gets shorter.
        unsafe { (*raw).count = count - length };
        for byte in bytes {
            // SAFETY: As above; what does not fit is not written.
            unsafe { bindings::seq_putc(raw, byte) };
        }
    }
}
