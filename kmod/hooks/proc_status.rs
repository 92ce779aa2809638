// SPDX-License-Identifier: GPL-2.0

//! `/proc/PID/status` and `children`.

use crate::{
    attach::hook::hooks, bindings::seq_file, context::membership, hooks::pid::is_in_view_or_child,
    linux::Pid, uapi::*,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use kernel::{
    ffi::c_int,
    fmt,
    seq_file::SeqFile,
    seq_print,
    task::Task, //
};

hooks! {
    /// A process that is in view may have children that are not. The reader knows its own.
    #[cfg(CONFIG_PROC_CHILDREN)]
    wrap_atomic(original) fn children_seq_show(_file: *mut seq_file, child: &Pid) -> c_int {
        if is_in_view_or_child(child) {
            original()
        } else {
            0
        }
    }
}

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

/// An address as `core` writes it: the kernel's formatting does not know its types.
struct Shown(IpAddr);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::fmt::Display::fmt(&self.0, formatter)
    }
}

/// Adds the context's lines. Tools of 2002 parse them; `s_context` comes first.
pub(crate) fn status(seq: &SeqFile, target: &Task) {
    // One that is being reaped has no context to tell of.
    let Ok(context) = membership::context(target) else {
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
    match context.as_ref().map_or(0, |context| context.init.number()) {
        0 => seq_print!(seq, "\ninitpid: none\nipv4root:"),
        number => seq_print!(seq, "\ninitpid: {}\nipv4root:", number),
    }
    let network = membership::network(target).filter(|network| network.is_confined());
    let Some(network) = network else {
        seq_print!(seq, " 0\nipv4root_bcast: 0\n");
        return;
    };
    for address in network.addresses() {
        let ip: IpAddr = if address.family == FAMILY_IPV4 {
            let [a, b, c, d, ..] = address.address;
            Ipv4Addr::new(a, b, c, d).into()
        } else {
            Ipv6Addr::from(address.address).into()
        };
        seq_print!(seq, " {}/{}", Shown(ip), address.prefix);
    }
    match network.broadcast() {
        0 => seq_print!(seq, "\nipv4root_bcast: 0\n"),
        broadcast => {
            let broadcast = Shown(Ipv4Addr::from(broadcast).into());
            seq_print!(seq, "\nipv4root_bcast: {}\n", broadcast);
        }
    }
}
