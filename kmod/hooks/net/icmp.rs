// SPDX-License-Identifier: GPL-2.0

//! ICMP: errors for those who have sent a datagram, and who may ping.

use crate::{
    attach::hook::hooks,
    bindings::inet6_skb_parm,
    context::{membership, network::Network},
    hooks::net::lookup::place_of_sender,
    linux::{SkBuff, Sock},
};
use kernel::{ffi::c_int, prelude::*};

hooks! {
    /// The kernel looks for the sender by the address that the datagram came from. A socket bound to "any" in a network is
    /// bound to something else.
    wrap_atomic(original) fn udp_err(skb: &SkBuff, info: u32) -> c_int {
        let place = Network::any().then(|| place_of_sender(&skb.quoted_v4())).flatten();
        match place.and_then(|place| skb.renamed_v4(place)) {
            Some(copy) => copy.udp_err(info),
            None => original(),
        }
    }

    wrap_atomic(original) fn udpv6_err(
        skb: &SkBuff, opt: *mut inet6_skb_parm, kind: u8, code: u8, offset: c_int, info: u32,
    ) -> c_int {
        let place = Network::any().then(|| place_of_sender(&skb.quoted_v6(offset))).flatten();
        match place.and_then(|place| skb.renamed_v6(place)) {
            Some(copy) => copy.udpv6_err(opt, kind, code, offset, info),
            None => original(),
        }
    }

    /// The host says by net.ipv4.ping_group_range who may have sockets for echo requests. Inside everybody may: `ping` is not
    /// privileged there, and sends from the network's addresses only.
    wrap_atomic(original) fn ping_init_sock(_sk: &Sock) -> c_int {
        let error = original();
        if error == EACCES.to_errno() && membership::has_network() { 0 } else { error }
    }
}
