// SPDX-License-Identifier: GPL-2.0

use crate::address::*;
use crate::ports::{Held, Sharing};
use crate::uapi::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn v4(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn v6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

fn told(text: &str) -> Address {
    let (ip, prefix) = text.split_once('/').unwrap_or((text, ""));
    let mut address = Address::default();
    if let Ok(ip) = ip.parse::<Ipv4Addr>() {
        address.family = FAMILY_IPV4;
        address.address[..4].copy_from_slice(&ip.octets());
        address.prefix = 32;
    } else {
        address.family = FAMILY_IPV6;
        address.address = ip.parse::<Ipv6Addr>().unwrap().octets();
        address.prefix = 128;
    }
    if let Ok(prefix) = prefix.parse() {
        address.prefix = prefix;
        address.flags = ADDRESS_PREFIX;
    }
    address
}

fn ranges(texts: &[&str]) -> Vec<Range> {
    let mut ranges: Vec<_> = texts
        .iter()
        .map(|text| Range::new(&told(text)).unwrap())
        .collect();
    sort(&mut ranges);
    ranges
}

static NAMES: Names = Names::new();

fn set(ranges: &[Range]) -> Set<'_> {
    Set {
        names: &NAMES,
        ranges,
        broadcast: v4("10.0.0.255"),
        loopback: 7,
    }
}

#[test]
fn what_a_set_has() {
    let ranges = ranges(&[
        "10.0.0.9",
        "10.0.0.5",
        "10.8.0.0/16",
        "fd00::5",
        "fd01::/64",
    ]);
    let set = set(&ranges);
    for own in ["10.0.0.5", "10.0.0.9", "10.8.0.0", "10.8.255.255"] {
        assert!(set.has(Ip::V4(v4(own))), "{own}");
    }
    for own in ["fd00::5", "fd01::1234"] {
        assert!(set.has(Ip::V6(v6(own))), "{own}");
    }
    for foreign in [
        "10.0.0.4",
        "10.0.0.6",
        "10.9.0.0",
        "10.7.255.255",
        "127.0.0.1",
    ] {
        assert!(!set.has(Ip::V4(v4(foreign))), "{foreign}");
    }
    assert!(!set.has(Ip::V6(v6("fd01:0:0:1::"))));
}

#[test]
fn binding() {
    let own = ranges(&["10.0.0.5", "fd00::5"]);
    let set = set(&own);
    let exact = |text| Ok(Bind::Exact(Ip::V4(v4(text))));
    assert_eq!(set.bind_v4(0), Ok(Bind::Any));
    assert_eq!(set.bind_v4(v4("10.0.0.5")), exact("10.0.0.5"));
    assert_eq!(set.bind_v4(v4("10.0.0.255")), exact("10.0.0.255"));
    assert_eq!(set.bind_v4(v4("224.0.0.251")), exact("224.0.0.251"));
    assert_eq!(set.bind_v4(v4("127.0.0.1")), exact("127.1.7.1"));
    assert_eq!(set.bind_v4(v4("127.0.1.1")), exact("127.1.7.254"));
    for unnamed in [
        "127.0.2.1",
        "127.1.7.1",
        "127.0.0.128",
        "127.0.0.254",
        "127.0.0.255",
    ] {
        let address = v4(unnamed);
        assert_eq!(
            set.bind_v4(address),
            Err(Refusal::Unnamed(address)),
            "{unnamed}"
        );
        assert_eq!(
            set.dest_v4(address),
            Err(Refusal::Unnamed(address)),
            "{unnamed}"
        );
    }
    for foreign in ["10.0.0.6", "127.255.255.255"] {
        assert_eq!(
            set.bind_v4(v4(foreign)),
            Err(Refusal::NotAvailable),
            "{foreign}"
        );
    }
    assert_eq!(set.bind_v6(v6("::1"), false), exact("127.1.7.255"));
    assert_eq!(set.bind_v6(v6("::"), true), Ok(Bind::Any));
    assert_eq!(
        set.bind_v6(v6("::ffff:10.0.0.5"), true),
        Err(Refusal::NotAvailable)
    );
    let only_v4 = ranges(&["10.0.0.5"]);
    let none = Set {
        ranges: &only_v4,
        ..set
    };
    assert_eq!(none.bind_v6(v6("::1"), true), exact("127.1.7.255"));
    assert_eq!(none.bind_v6(v6("::"), true), Ok(Bind::Any));
    assert_eq!(none.bind_v6(v6("::"), false), Ok(Bind::Any));
    assert_eq!(none.bind_v6(v6("::ffff:0.0.0.0"), false), Ok(Bind::AnyV4));
    assert_eq!(
        none.bind_v6(v6("fd00::5"), false),
        Err(Refusal::NotAvailable)
    );
    assert_eq!(none.dest_v6(v6("fd00::1")), Err(Refusal::NotAvailable));
}

fn holds(set: Set<'_>, v4: bool, v6: bool) -> Held<'_> {
    Held::Any { set, v4, v6 }
}

#[test]
fn held_ports() {
    let own = ranges(&["10.0.0.5", "10.8.0.0/16", "fd00::5"]);
    let set = set(&own);
    let (four, six) = (holds(set, true, false), holds(set, false, true));
    let plain = |address: &str| Held::Plain {
        address: Ip::of_v6(
            address
                .parse::<Ipv4Addr>()
                .map_or_else(|_| v6(address), |four| four.to_ipv6_mapped().into()),
        ),
        v6only: true,
    };
    for (address, v4, v6) in [
        ("10.0.0.5", true, false),
        ("10.8.3.4", true, false),
        ("10.0.0.6", false, false),
        ("fd00::5", false, true),
        ("fd00::6", false, false),
        ("0.0.0.0", true, false),
        ("::", false, true),
        // Their own loopback, another one, and that of the host.
        ("127.1.7.1", true, false),
        ("127.1.7.9", true, false),
        ("127.1.7.255", false, true),
        ("127.1.8.1", false, false),
        ("127.0.0.1", false, false),
        ("::1", false, false),
    ] {
        assert_eq!(four.meets(&plain(address)), v4, "{address}");
        assert_eq!(plain(address).meets(&six), v6, "{address}");
    }
    let dual = Held::Plain {
        address: Ip::V6(0),
        v6only: false,
    };
    assert!(dual.meets(&four) && dual.meets(&six));
    assert!(!plain("10.0.0.5").meets(&plain("10.0.0.5")));
    assert!(!four.meets(&six));
    assert!(holds(set, true, true).meets(&four) && holds(set, true, true).meets(&six));
    // The same loopback, whatever the addresses are.
    assert!(holds(Set { ranges: &[], ..set }, true, false).meets(&four));
    let other = ranges(&["10.8.7.0/24", "fd00::6"]);
    let other = Set {
        ranges: &other,
        loopback: 8,
        ..set
    };
    assert!(holds(other, true, true).meets(&four));
    assert!(!holds(other, true, true).meets(&six));
}

#[test]
fn shared_ports() {
    let one = Sharing {
        reuse: false,
        reuseport: false,
        device: 0,
        user: Some(0),
        listens: false,
    };
    let reuse = Sharing { reuse: true, ..one };
    let listens = Sharing {
        listens: true,
        ..reuse
    };
    let group = Sharing {
        reuseport: true,
        ..one
    };
    let stranger = Sharing {
        user: Some(1000),
        ..group
    };
    let left = Sharing {
        user: None,
        ..group
    };
    assert!(one.conflicts_tcp(&one, true, false));
    assert!(!reuse.conflicts_tcp(&reuse, true, false));
    assert!(reuse.conflicts_tcp(&reuse, true, true));
    assert!(reuse.conflicts_tcp(&listens, true, false));
    assert!(!group.conflicts_tcp(&group, true, false));
    assert!(group.conflicts_tcp(&group, false, false));
    assert!(group.conflicts_tcp(&stranger, true, false));
    assert!(!group.conflicts_tcp(&left, true, false));
    assert!(!reuse.conflicts_udp(&reuse, true) && reuse.conflicts_udp(&one, true));
    assert!(!group.conflicts_udp(&group, true) && group.conflicts_udp(&stranger, true));
    let at = |device| Sharing { device, ..one };
    assert!(!at(1).conflicts_tcp(&at(2), true, false) && at(1).conflicts_udp(&at(0), true));
}

#[test]
fn the_hosts_loopback_only_when_it_was_given() {
    let with = ranges(&["10.0.0.5", "127.0.0.1"]);
    let set = set(&with);
    let host = v4("127.0.0.1");
    assert_eq!(set.bind_v4(host), Ok(Bind::Exact(Ip::V4(host))));
    assert_eq!(set.dest_v4(host).map(|way| way.dest), Ok(Ip::V4(host)));
}

#[test]
fn sources() {
    let own = ranges(&["10.0.0.5", "10.1.0.5", "fd00::5"]);
    let set = set(&own);
    let choose = |dest, proposed| set.choose(Ip::V4(v4(dest)), Ip::V4(v4(proposed)));
    assert_eq!(choose("10.1.0.1", "0.0.0.0"), Some(Ip::V4(v4("10.1.0.5"))));
    assert_eq!(choose("10.1.0.1", "10.0.0.5"), Some(Ip::V4(v4("10.0.0.5"))));
    assert_eq!(choose("10.0.0.1", "10.9.9.9"), Some(Ip::V4(v4("10.0.0.5"))));
    assert_eq!(set.only(true), None);
    assert_eq!(set.only(false), Some(Ip::V6(v6("fd00::5"))));
    assert_eq!(set.source_v4(v4("10.0.0.6")), Err(Refusal::Foreign));
    assert_eq!(set.source_v4(v4("127.0.0.1")), Ok(v4("127.1.7.1")));
}

#[test]
fn names() {
    let own = ranges(&["10.0.0.5"]);
    let names = Names::new();
    let set = Set {
        names: &names,
        ..set(&own)
    };
    let address = |index: usize| 0x7f05_0000 + index as u32;
    for index in 0..NAMED {
        assert!(names.name(address(index), 10));
        assert!(names.name(address(index), 10));
        let Ok(Bind::Exact(Ip::V4(outside))) = set.bind_v4(address(index)) else {
            panic!("{index}")
        };
        assert_eq!(outside, v4("127.1.7.128") + index as u32);
        assert_eq!(set.inward(Ip::V4(outside)), Ip::V4(address(index)));
    }
    assert!(!names.name(address(NAMED), 10));
    // Lately used, in use, and not.
    names.touch(Ip::V4(v4("127.1.7.128")), 20);
    names.free(20, |last| last == 129);
    assert!(set.bind_v4(address(0)).is_ok() && set.bind_v4(address(1)).is_ok());
    assert_eq!(set.bind_v4(address(2)), Err(Refusal::Unnamed(address(2))));
    assert!(names.name(address(NAMED), 20));
}

#[test]
fn narrowing() {
    let ranges_of = ranges;
    let before = ranges(&["10.0.0.5", "10.8.0.0/16", "fd01::/64"]);
    let set = set(&before);
    let narrower = |texts: &[&str]| set.covers(&ranges_of(texts), 0);
    assert!(narrower(&["10.0.0.5"]));
    assert!(narrower(&["10.8.4.0/24", "10.8.0.1", "fd01::7"]));
    assert!(!narrower(&["10.0.0.5", "10.0.0.6"]));
    assert!(!narrower(&["10.0.0.0/8"]));
    assert!(!narrower(&["fd01::/48"]));
    assert!(set.covers(&[], v4("10.0.0.255")));
    assert!(!set.covers(&[], v4("10.0.0.254")));
}

proptest! {
    /// Two sets overlap if, and only if, there is an address that both have.
    #[test]
    fn overlapping(
        one in proptest::collection::vec((0u32..64, 26u8..=32, any::<bool>()), 0..6),
        two in proptest::collection::vec((0u32..64, 26u8..=32, any::<bool>()), 0..6),
    ) {
        let list = |from: &[(u32, u8, bool)]| {
            let mut list: Vec<Range> = from
                .iter()
                .map(|(last, prefix, six)| {
                    let last = last & (u32::MAX << (32 - prefix));
                    told(&if *six {
                        format!("fd00::{last:x}/{}", prefix + 96)
                    } else {
                        format!("10.0.0.{last}/{prefix}")
                    })
                })
                .map(|address| Range::new(&address).unwrap())
                .collect();
            sort(&mut list);
            list
        };
        let (one, two) = (list(&one), list(&two));
        let of = |ranges| Set { ranges, broadcast: 0, loopback: 0, names: &NAMES };
        let common = |ip: fn(u32) -> Ip| (0..64).map(ip).any(|ip| of(&one).has(ip) && of(&two).has(ip));
        let four = common(|last| Ip::V4(0x0a00_0000 | last));
        let six = common(|last| Ip::V6((0xfd00 << 112) | u128::from(last)));
        prop_assert_eq!(of(&one).overlaps(&of(&two), true, false), four);
        prop_assert_eq!(of(&one).overlaps(&of(&two), false, true), six);
        prop_assert_eq!(of(&two).overlaps(&of(&one), true, true), four || six);
    }

    /// Whatever a program asks for, it gets an address of its own network, or none.
    #[test]
    fn bound_to_ones_own_only(address in any::<u32>(), loopback in 0u16..65280) {
        let own = ranges(&["10.0.0.5", "10.8.0.0/16"]);
        let names = Names::new();
        let set = Set { ranges: &own, broadcast: 0, loopback, names: &names };
        for address in [address, 0x7f00_0000 | (address & 0x1ff), 0x0a08_0000 | (address >> 16)] {
            if let Err(Refusal::Unnamed(address)) = set.bind_v4(address) {
                prop_assert!(names.name(address, 0));
            }
            if let Ok(Bind::Exact(Ip::V4(bound))) = set.bind_v4(address) {
                let private = bound >> 8 == (127 << 16) + 256 + u32::from(loopback);
                let multicast = bound >> 28 == 0xe || bound == u32::MAX;
                prop_assert!(private || multicast || set.has(Ip::V4(bound)));
                // And it looks like what was asked for.
                prop_assert_eq!(set.inward(Ip::V4(bound)), Ip::V4(address));
            }
        }
    }

    /// Nothing leads to a loopback but one's own.
    #[test]
    fn no_way_to_other_loopbacks(host in any::<u32>(), loopback in 0u16..65280) {
        let own = ranges(&["10.0.0.5"]);
        let names = Names::new();
        let set = Set { ranges: &own, broadcast: 0, loopback, names: &names };
        names.name(0x7f00_0000 | (host & 0x00ff_ffff), 0);
        if let Ok(way) = set.dest_v4(0x7f00_0000 | (host & 0x00ff_ffff)) {
            let Ip::V4(dest) = way.dest else { panic!("IPv6 from IPv4") };
            prop_assert_eq!(dest >> 8, (127 << 16) + 256 + u32::from(loopback));
            prop_assert!(way.source.is_some());
        }
    }

    #[test]
    fn sorted(mut numbers in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..40)) {
        numbers.dedup();
        let mut list: Vec<Range> = numbers
            .iter()
            .map(|(last, range)| told(&if *range {
                format!("10.{last}.0.0/16")
            } else {
                format!("10.0.0.{}", last.max(&1))
            }))
            .map(|address| Range::new(&address).unwrap())
            .collect();
        sort(&mut list);
        prop_assert!(list.windows(2).all(|pair| pair[0].order(&pair[1]).is_le()));
    }

    /// Malformed or not, nothing panics.
    #[test]
    fn any_address(
        (family, prefix, flags, reserved, address)
            in any::<(u16, u8, u8, u32, [u8; 16])>(),
        known in any::<bool>(),
    ) {
        let family = if known { [FAMILY_IPV4, FAMILY_IPV6][usize::from(family) & 1] } else { family };
        let _ = Range::new(&Address { family, prefix, flags, reserved, address });
    }
}
