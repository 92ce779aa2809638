// SPDX-License-Identifier: GPL-2.0

//! Generic netlink for processes that are confined to addresses: the families that the policy does
//! not list do not exist.

use crate::{
    attach::hook::hooks,
    bindings::netlink_ext_ack,
    linux::{family_in, Asked, Dump, Message, Net, Packet, Question},
    policy::network_files::{has_family, has_family_called},
};
use kernel::{ffi::c_int, prelude::*};

/// Whether the family that is asked of is absent. The kernel goes by the name where there are both.
fn is_absent(asked: Asked<'_>) -> bool {
    match (asked.name, asked.number) {
        (Some(name), _) => !has_family_called(name),
        (None, Some(number)) => !has_family(number),
        (None, None) => false,
    }
}

hooks! {
    instead(original) fn genl_rcv_msg(
        packet: &Packet, message: &Message, _ack: *mut netlink_ext_ack,
    ) -> c_int {
        let _ = original;
        (!has_family(message.family()) && packet.net().is_narrow()).then(|| ENOENT.to_errno())
    }

    /// Before the kernel loads a module for a family that it does not know.
    instead(original) fn ctrl_getfamily(packet: &Packet, question: &Question) -> c_int {
        let _ = original;
        (packet.net().is_narrow() && is_absent(question.asked())).then(|| ENOENT.to_errno())
    }

    instead(original) fn ctrl_dumppolicy_start(dump: &Dump) -> c_int {
        let _ = original;
        (dump.net().is_narrow() && is_absent(dump.asked())).then(|| ENOENT.to_errno())
    }

    /// All that are listed come first, by their numbers, and fit into one answer: so there is no
    /// second one.
    instead(original) fn ctrl_dumpfamily(packet: &Packet, dump: &Dump) -> c_int {
        if !packet.net().is_narrow() {
            return None;
        }
        packet.filled(
            || original(packet.as_ptr(), dump.as_ptr()),
            |message| family_in(message).is_some_and(has_family),
        );
        Some(0)
    }

    /// News, of the family of families too, which tell what the host loads.
    instead(original) fn genl_bind(net: &Net, _group: c_int) -> c_int {
        let _ = original;
        net.is_narrow().then(|| EPERM.to_errno())
    }
}
