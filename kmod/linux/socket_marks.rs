// SPDX-License-Identifier: GPL-2.0

//! What is noted of a socket of a network in bits that the kernel does not use.

/// Numbers of bits of `socket.flags`: as the program sees it.
pub(crate) mod socket_bit {
    /// It is bound to "any": to what the network has.
    pub(crate) const ANY: u32 = 24;
    /// IPV6_V6ONLY.
    pub(crate) const V6ONLY: u32 = 25;
}

/// Numbers of bits of `sock.sk_flags`, for packets and for other sockets. The kernel changes its own bits of that word without
/// atomics, under the lock of the sock: these are changed under it, too.
pub(crate) mod sock_bit {
    /// Bound to "any": it can be found by the addresses of its network.
    pub(crate) const ANY: u32 = 48;
    /// The same, but not by IPv4 ones.
    pub(crate) const V6ONLY: u32 = 49;
    /// Of IPv6, bound to ::ffff:0.0.0.0.
    pub(crate) const V4ONLY: u32 = 50;
    /// See `hooks/net/ports.rs`.
    pub(crate) const PENDING: u32 = 51;
}

// The kernel's own bits end below.
const _: () = {
    use crate::bindings;
    assert!(bindings::socket_flags_SOCK_CUSTOM_SOCKOPT < socket_bit::ANY);
    assert!(bindings::sock_flags_SOCK_TIMESTAMPING_ANY < sock_bit::ANY);
};
