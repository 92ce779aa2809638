// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/status`.

use crate::{task, uapi::*};
use kernel::{seq_file::SeqFile, seq_print, task::Task};

/// The words of `ctxflags`, in the order of the bits.
const FLAG_NAMES: [(u32, &str); 7] = [
    (FLAG_LOCK, "lock"),
    (FLAG_SCHED, "sched"),
    (FLAG_NPROC, "nproc"),
    (FLAG_PRIVATE, "private"),
    (FLAG_FAKEINIT, "fakeinit"),
    (FLAG_HIDEINFO, "hideinfo"),
    (FLAG_ULIMIT, "ulimit"),
];

/// Adds the context's lines. Tools of 2002 parse them; `s_context` comes first.
pub(crate) fn status(seq: &SeqFile, target: &Task) {
    // One that is being reaped has no context to tell of.
    let Ok(context) = task::context(target) else {
        return;
    };
    let flags = context.as_ref().map_or(0, |context| context.flags());
    if flags & FLAG_HIDEINFO != 0 {
        return;
    }
    let number = context
        .as_ref()
        .map_or(CONTEXT_ROOT, |context| context.number());
    seq_print!(seq, "s_context: {}\nctxflags:", number);
    for (bit, name) in FLAG_NAMES {
        if flags & bit != 0 {
            seq_print!(seq, " {}", name);
        }
    }
    if flags == 0 {
        seq_print!(seq, " none");
    }
    seq_print!(seq, "\ninitpid: none\nipv4root: 0\nipv4root_bcast: 0\n");
}
