// SPDX-License-Identifier: GPL-2.0

//! What a process that is confined to addresses finds of the network stack in `/proc` and by
//! generic netlink. What is not listed here is absent: a new file or family stays so until somebody
//! has looked at it.

/// The files of `/proc/net` that list what is the reader's: sockets of its context, devices,
/// addresses and routes of its network.
pub const LISTS: [&[u8]; 17] = [
    b"tcp",
    b"tcp6",
    b"udp",
    b"udp6",
    b"raw",
    b"raw6",
    b"icmp",
    b"icmp6",
    b"unix",
    b"packet",
    b"netlink",
    b"dev",
    b"arp",
    b"route",
    b"fib_trie",
    b"if_inet6",
    b"ipv6_route",
];

/// The files of `/proc/net` with counters of the whole stack. `ss -s` and `netstat -s` want the
/// names in them; the numbers are of everybody's traffic, so they are zeroes.
pub const COUNTERS: [&[u8]; 5] = [b"sockstat", b"sockstat6", b"snmp", b"snmp6", b"netstat"];

/// Whether `/proc/net` has a file of this name.
pub fn is_in_proc_net(name: &[u8]) -> bool {
    LISTS.contains(&name) || COUNTERS.contains(&name)
}

/// The folders of `/proc/sys/net` with one entry for each device.
pub const PER_DEVICE: [&[u8]; 2] = [b"conf", b"neigh"];

/// The entries beside those of devices: what holds for all, and for those that come.
pub const FOR_ALL_DEVICES: [&[u8]; 2] = [b"all", b"default"];

/// Whether an entry of a folder of `/proc/sys/net` stands for one device.
pub fn is_of_device(folder: &[u8], name: &[u8]) -> bool {
    PER_DEVICE.contains(&folder) && !FOR_ALL_DEVICES.contains(&name)
}

/// The families of generic netlink, by number: of those that have a number for ever, the one that
/// tells of families. Others (ethtool, netdev, tcp_metrics, nl80211, devlink, …) tell of devices
/// and peers, or change them.
pub const FAMILIES: [(u16, &[u8]); 1] = [(16, b"nlctrl")];

/// Whether the family with this number exists.
pub fn has_family(number: u16) -> bool {
    FAMILIES.iter().any(|(known, _)| *known == number)
}

/// Whether the family with this name exists.
pub fn has_family_called(name: &[u8]) -> bool {
    FAMILIES.iter().any(|(_, known)| *known == name)
}
