// SPDX-License-Identifier: GPL-2.0

//! `/proc/net` and `/proc/sys/net` for processes that are confined to addresses: what the policy
//! does not list is absent, and so are the settings of devices that the network does not see. What
//! the listed files show is the business of `hooks/net/procfs.rs`, except for counters.

use crate::{
    attach::hook::hooks,
    bindings::dentry,
    linux::{Dentry, Name, Net, OpenProc, ProcInode, Reader, Seq},
    policy::{
        counters::without_counts,
        network_files::{is_in_proc_net, is_of_device},
    },
};
use kernel::{
    ffi::{c_int, c_uint, c_void},
    prelude::*,
};

/// Whether the caller is confined in the network namespace of the process whose `net` it looks at.
fn is_narrow(net: &ProcInode) -> bool {
    net.with_network_of_process(Net::is_narrow) == Some(true)
}

/// Whether the caller is confined, and does not see the device that an entry of a folder of
/// settings stands for.
fn is_hidden(folder: &Name, name: &Name) -> bool {
    is_of_device(folder.bytes(), name.bytes())
        && Net::own().is_some_and(|net| net.is_narrow() && !net.shows_device(name.bytes()))
}

fn counters(seq: &Seq, show: impl FnOnce() -> c_int) -> Option<c_int> {
    seq.net_of_single()
        .is_narrow()
        .then(|| seq.changed(show, without_counts))
}

hooks! {
    instead(original) fn proc_tgid_net_lookup(
        dir: &ProcInode, dentry: &Dentry, _flags: c_uint,
    ) -> *mut dentry {
        let _ = original;
        (!is_in_proc_net(dentry.name().bytes()) && is_narrow(dir)).then(|| ENOENT.to_ptr())
    }

    instead(original) fn proc_tgid_net_readdir(file: &OpenProc, reader: &Reader) -> c_int {
        if !is_narrow(file.inode()) {
            return None;
        }
        Some(reader.narrowed(is_in_proc_net, |reader| original(file.as_ptr(), reader)))
    }

    instead(original) fn proc_sys_lookup(
        _dir: &ProcInode, dentry: &Dentry, _flags: c_uint,
    ) -> *mut dentry {
        let _ = original;
        is_hidden(dentry.folder(), dentry.name()).then(|| ENOENT.to_ptr())
    }

    /// Names that others have looked up before. An error, unlike 0, does not throw them out.
    instead(original) fn proc_sys_revalidate(
        _dir: &ProcInode, name: &Name, dentry: &Dentry, _flags: c_uint,
    ) -> c_int {
        let _ = original;
        is_hidden(dentry.folder(), name).then(|| ENOENT.to_errno())
    }

    instead(original) fn proc_sys_readdir(file: &OpenProc, reader: &Reader) -> c_int {
        let net = Net::own().filter(|net| net.is_narrow())?;
        let folder = file.dentry().name();
        let is_shown = |name: &[u8]| !is_of_device(folder.bytes(), name) || net.shows_device(name);
        Some(reader.narrowed(is_shown, |reader| original(file.as_ptr(), reader)))
    }

    instead(original) fn sockstat_seq_show(seq: &Seq, value: *mut c_void) -> c_int {
        counters(seq, || original(seq.as_ptr(), value))
    }

    instead(original) fn sockstat6_seq_show(seq: &Seq, value: *mut c_void) -> c_int {
        counters(seq, || original(seq.as_ptr(), value))
    }

    instead(original) fn snmp_seq_show(seq: &Seq, value: *mut c_void) -> c_int {
        counters(seq, || original(seq.as_ptr(), value))
    }

    instead(original) fn snmp6_seq_show(seq: &Seq, value: *mut c_void) -> c_int {
        counters(seq, || original(seq.as_ptr(), value))
    }

    instead(original) fn netstat_seq_show(seq: &Seq, value: *mut c_void) -> c_int {
        counters(seq, || original(seq.as_ptr(), value))
    }
}
