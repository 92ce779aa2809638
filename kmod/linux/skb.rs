// SPDX-License-Identifier: GPL-2.0

//! Packets.

use super::kernel_types;
use crate::{attach::prototype::original, bindings};
use kernel::ffi::c_int;

kernel_types! {
    /// A packet.
    SkBuff = sk_buff;
}

/// A copy of an ICMP error about a datagram, with another source of the datagram.
pub(crate) struct Renamed(*mut bindings::sk_buff);

impl Renamed {
    /// With `place`, an IPv4 address, as the source. `None` without memory for it.
    ///
    /// # Safety
    ///
    /// `skb` must be as [`SkBuff::renamed_v4`] and [`SkBuff::renamed_v6`] get it.
    unsafe fn new(skb: &SkBuff, v6: bool, place: u32) -> Option<Self> {
        // SAFETY: A live packet. A copy has what it has, in memory of its own; at its data begins the header of the datagram,
        // whole, so that its source may be written.
        unsafe {
            let copy = bindings::skb_copy(skb.as_ptr(), bindings::GFP_ATOMIC);
            if copy.is_null() {
                return None;
            }
            let header = (*copy).data;
            if v6 {
                let mut source = [0; 16];
                source[10..12].fill(0xff);
                source[12..].copy_from_slice(&place.to_ne_bytes());
                header.add(8).cast::<[u8; 16]>().write_unaligned(source);
            } else {
                header.add(12).cast::<u32>().write_unaligned(place);
            }
            Some(Self(copy))
        }
    }

    /// The kernel's function.
    pub(crate) fn udp_err(&self, info: u32) -> c_int {
        // SAFETY: As the packet that it is a copy of, which the kernel has called it with.
        unsafe { original!(udp_err(self.0, info)) }
    }

    /// The same for IPv6.
    pub(crate) fn udpv6_err(
        &self,
        opt: *mut bindings::inet6_skb_parm,
        kind: u8,
        code: u8,
        offset: c_int,
        info: u32,
    ) -> c_int {
        // SAFETY: As above; the other arguments are those of the hook, about the packet.
        unsafe { original!(udpv6_err(self.0, opt, kind, code, offset, info)) }
    }
}

impl Drop for Renamed {
    fn drop(&mut self) {
        // SAFETY: From `skb_copy`, and freed once.
        unsafe { bindings::consume_skb(self.0) };
    }
}

/// Of an ICMP error as `udp_err` and `udpv6_err` get it, which begins with the header of the datagram: a copy by which the kernel
/// finds the socket that has sent it, with `place`, where that is bound, as the source.
impl SkBuff {
    /// Of IPv4.
    pub(crate) fn renamed_v4(&self, place: u32) -> Option<Renamed> {
        // SAFETY: A live packet, in softirq, of that form.
        unsafe { Renamed::new(self, false, place) }
    }

    /// Of IPv6.
    pub(crate) fn renamed_v6(&self, place: u32) -> Option<Renamed> {
        // SAFETY: As above.
        unsafe { Renamed::new(self, true, place) }
    }
}
