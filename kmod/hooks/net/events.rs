// SPDX-License-Identifier: GPL-2.0

//! News by netlink that are not about the network: of processes, of devices, of the audit. They know no contexts, and go to
//! whoever listens. So a process in a context gets sockets of these protocols only where that does no harm, and the processes
//! of contexts are not in the news.

use crate::{
    attach::hook::{hooks, unless},
    bindings::{
        cn_msg, gfp_t, netlink_filter_fn, CN_IDX_PROC, NETLINK_CRYPTO, NETLINK_GENERIC,
        NETLINK_KOBJECT_UEVENT, NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_XFRM,
        TASKSTATS_CMD_ATTR_REGISTER_CPUMASK,
    },
    context::membership::is_inside,
    linux::{is_in_task, Packet, Question, Sock},
};
use kernel::{
    ffi::{c_int, c_void},
    prelude::*,
};

/// Whether a protocol of netlink is for contexts. Not here are those by which processes talk to each other
/// (`NETLINK_USERSOCK`), those of the machine's own business (audit, iSCSI, RDMA, SELinux), the news of processes
/// (`NETLINK_CONNECTOR`), and whatever may come.
pub(crate) fn is_for_contexts(protocol: u32) -> bool {
    matches!(
        protocol,
        NETLINK_ROUTE
            | NETLINK_SOCK_DIAG
            | NETLINK_GENERIC
            | NETLINK_NETFILTER
            | NETLINK_XFRM
            | NETLINK_CRYPTO
            | NETLINK_KOBJECT_UEVENT
    )
}

/// Whether a socket of a context hears nothing. One that waits for devices is told of none, as in a network namespace that no
/// device comes to: many programs listen that get on very well without. In a namespace made inside it is the kernel that
/// sends what is of that namespace only.
pub(crate) fn is_deaf(sock: &Sock) -> bool {
    sock.protocol() == NETLINK_KOBJECT_UEVENT && sock.net().is_of_first_user_namespace()
}

hooks! {
    /// Each task sends its own news. Other groups are sent to from any context, also by functions that may sleep there.
    #[cfg(CONFIG_PROC_EVENTS)]
    wrap(original) fn cn_netlink_send_mult(
        _message: *mut cn_msg, _length: u16, _port: u32, group: u32, _gfp: gfp_t,
        _filter: netlink_filter_fn, _data: *mut c_void,
    ) -> c_int {
        if group == CN_IDX_PROC && is_in_task() && is_inside() {
            0
        } else {
            original()
        }
    }

    /// A process that registers is told of every task that ends. To ask for one by its number is another matter.
    #[cfg(CONFIG_TASKSTATS)]
    mediate fn taskstats_user_cmd(_packet: &Packet, question: &Question) -> c_int {
        unless(question.has(TASKSTATS_CMD_ATTR_REGISTER_CPUMASK), EPERM)
    }
}
