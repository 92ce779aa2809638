// SPDX-License-Identifier: GPL-2.0

use crate::caps;
use crate::counters::without_counts;
use crate::enter::{decide, Caller, Decision, Refusal};
use crate::limits;
use crate::locks::renumber_owners;
use crate::machine_files::*;
use crate::network_files::*;
use crate::proc_net::*;
use crate::uapi::*;
use crate::visibility::{exceeds, touch, visible, Party, Touch, UserNamespace};
use proptest::prelude::*;

const ROOT: Caller = Caller {
    context: CONTEXT_ROOT,
    flags: 0,
    admin: true,
    decides: true,
    single_threaded: true,
    entangled: false,
    traced: false,
    init: false,
};

fn inside(context: i32, flags: u32) -> Caller {
    Caller {
        context,
        flags,
        admin: true,
        decides: true,
        single_threaded: true,
        entangled: false,
        traced: false,
        init: false,
    }
}

#[test]
fn spectator_sees_all_and_touches_none() {
    let spectator = Party::of(CONTEXT_SPECTATOR);
    assert!(visible(spectator, Party::of(CONTEXT_ROOT)));
    assert!(visible(spectator, Party::of(100)));
    assert!(visible(spectator, arriving(100, 7)));
    assert_eq!(touch(spectator, Party::of(100)), Touch::Refused);
    assert_eq!(touch(spectator, spectator), Touch::Allowed);
    assert_eq!(
        touch(spectator, arriving(CONTEXT_SPECTATOR, 7)),
        Touch::Refused
    );
}

#[test]
fn the_root_server_is_not_privileged() {
    let (root, inside) = (Party::of(CONTEXT_ROOT), Party::of(100));
    assert!(!visible(root, inside));
    assert_eq!(touch(root, inside), Touch::Absent);
    assert_eq!(touch(inside, root), Touch::Absent);
}

fn arriving(context: i32, arrival: u64) -> Party {
    Party {
        arrival,
        ..Party::of(context)
    }
}

#[test]
fn an_arriving_process_is_there_for_its_own_arrival_only() {
    let (one, two, settled) = (arriving(100, 7), arriving(100, 8), Party::of(100));
    assert_eq!(touch(settled, one), Touch::Absent);
    assert_eq!(touch(two, one), Touch::Absent);
    assert_eq!(touch(arriving(100, 7), one), Touch::Allowed);
    // It sees the others, its own children that have executed a program among them.
    assert_eq!(touch(one, settled), Touch::Allowed);
    assert_eq!(touch(arriving(101, 7), one), Touch::Absent);
}

#[test]
fn more_than_the_ceiling_is_out_of_reach() {
    let excess = Party {
        exceeds: true,
        ..Party::of(100)
    };
    assert_eq!(touch(Party::of(100), excess), Touch::Absent);
    assert_eq!(touch(arriving(100, 7), excess), Touch::Absent);
    assert_eq!(touch(excess, excess), Touch::Allowed);
    assert_eq!(touch(excess, Party::of(100)), Touch::Allowed);
}

#[test]
fn a_user_namespace_made_inside_gives_no_excess() {
    let sys_admin = 1 << 21;
    assert!(exceeds(UserNamespace::Same, sys_admin, sys_admin));
    assert!(!exceeds(UserNamespace::Same, sys_admin, 1));
    assert!(!exceeds(UserNamespace::Inner, u64::MAX, u64::MAX));
    assert!(exceeds(UserNamespace::Other, 1, 0));
    assert!(!exceeds(UserNamespace::Other, 0, u64::MAX));
}

#[test]
fn numbers_are_for_root_in_context_0() {
    assert_eq!(
        decide(ROOT, 100, 0),
        Ok(Decision::Numbered {
            context: 100,
            create: true
        })
    );
    assert_eq!(
        decide(ROOT, 50000, 0),
        Ok(Decision::Numbered {
            context: 50000,
            create: false
        })
    );
    let user = Caller {
        admin: false,
        ..ROOT
    };
    assert_eq!(decide(user, 100, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(user, CONTEXT_SPECTATOR, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(user, CONTEXT_NEW, 0), Ok(Decision::New));
    assert_eq!(decide(inside(100, 0), 101, 0), Err(Refusal::NotAllowed));
    assert_eq!(
        decide(inside(100, 0), CONTEXT_ROOT, 0),
        Err(Refusal::NotAllowed)
    );
}

#[test]
fn locked_contexts_can_only_stay() {
    let locked = inside(100, FLAG_LOCK);
    assert_eq!(decide(locked, CONTEXT_NEW, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(locked, CONTEXT_STAY, FLAG_NPROC), Ok(Decision::Stay));
}

#[test]
fn flags_are_for_who_decides_in_the_context() {
    let user = Caller {
        decides: false,
        ..inside(100, 0)
    };
    assert_eq!(decide(user, CONTEXT_STAY, 0), Ok(Decision::Stay));
    for bit in 0..7 {
        let flag = 1 << bit;
        assert_eq!(decide(user, CONTEXT_STAY, flag), Err(Refusal::NotAllowed));
        assert_eq!(
            decide(inside(100, 0), CONTEXT_STAY, flag),
            Ok(Decision::Stay)
        );
        // A context of its own.
        assert_eq!(decide(user, CONTEXT_NEW, flag), Ok(Decision::New));
    }
    assert_eq!(decide(user, CONTEXT_STAY, 128), Err(Refusal::Invalid));
}

#[test]
fn nobody_enters_while_traced_or_tracing() {
    let traced = Caller {
        traced: true,
        ..ROOT
    };
    for context in [CONTEXT_NEW, CONTEXT_SPECTATOR, 100] {
        assert_eq!(decide(traced, context, 0), Err(Refusal::NotAllowed));
    }
    assert_eq!(decide(traced, CONTEXT_STAY, 0), Ok(Decision::Stay));
    assert_eq!(decide(traced, CONTEXT_ROOT, 0), Ok(Decision::Stay));
}

#[test]
fn malformed_requests_are_invalid() {
    for context in [-3, i32::MIN, CONTEXT_MAX + 1, i32::MAX] {
        assert_eq!(decide(ROOT, context, 0), Err(Refusal::Invalid));
    }
    assert_eq!(decide(ROOT, CONTEXT_NEW, 128), Err(Refusal::Invalid));
    assert_eq!(decide(ROOT, CONTEXT_STAY, FLAG_LOCK), Err(Refusal::Invalid));
    assert_eq!(
        decide(ROOT, CONTEXT_SPECTATOR, FLAG_LOCK),
        Err(Refusal::Invalid)
    );
    let threads = Caller {
        single_threaded: false,
        ..ROOT
    };
    assert_eq!(decide(threads, CONTEXT_NEW, 0), Err(Refusal::Invalid));
    let entangled = Caller {
        entangled: true,
        ..ROOT
    };
    for context in [CONTEXT_NEW, CONTEXT_STAY, CONTEXT_ROOT, 100] {
        assert_eq!(decide(entangled, context, 0), Err(Refusal::Busy));
    }
    assert_eq!(decide(entangled, -3, 0), Err(Refusal::Invalid));
}

#[test]
fn process_1_stays_for_good() {
    assert_eq!(decide(ROOT, CONTEXT_NEW, FLAG_FAKEINIT), Ok(Decision::New));
    assert_eq!(
        decide(ROOT, CONTEXT_STAY, FLAG_FAKEINIT),
        Err(Refusal::Invalid)
    );
    let init = Caller {
        init: true,
        ..inside(100, FLAG_FAKEINIT)
    };
    assert_eq!(decide(init, CONTEXT_NEW, 0), Err(Refusal::NotAllowed));
    assert_eq!(decide(init, CONTEXT_STAY, FLAG_LOCK), Ok(Decision::Stay));
}

#[test]
fn nproc_limits_only_with_the_flag() {
    assert_eq!(limits::nproc(0, 5, 7), None);
    assert_eq!(limits::nproc(FLAG_NPROC, 5, 7), Some(7));
    assert_eq!(limits::nproc(FLAG_NPROC | FLAG_ULIMIT, 5, 7), Some(5));
    assert!(limits::may_add(6, Some(7)));
    assert!(!limits::may_add(7, Some(7)));
    assert!(limits::may_add(u64::MAX, None));
}

#[test]
fn nesting_has_an_end() {
    assert!(limits::may_nest(0));
    assert!(limits::may_nest(limits::NESTING_MAX - 1));
    assert!(!limits::may_nest(limits::NESTING_MAX));
}

#[test]
fn the_mask_of_41_capabilities() {
    assert_eq!(caps::all(40), 0x1ff_ffff_ffff);
    assert_eq!(caps::all(63), u64::MAX);
}

proptest! {
    /// Nothing outside context 0 ever gets to choose a number, whatever it asks.
    #[test]
    fn no_number_from_inside(context in 1..=CONTEXT_MAX, flags in 0u32..128, ask: i32, add: u32) {
        let decision = decide(inside(context, flags), ask, add);
        prop_assert!(!matches!(decision, Ok(Decision::Numbered { .. })), "{:?}", decision);
    }

    /// A ceiling never grows back.
    #[test]
    fn ceilings_only_shrink(outer: u64, dropped: u64) {
        prop_assert_eq!(caps::ceiling(outer, dropped) & outer, outer);
    }

    /// Seeing is never symmetric by accident: only equality or the spectator sees.
    #[test]
    fn isolation(a in 0..=CONTEXT_MAX, b in 0..=CONTEXT_MAX) {
        let (one, other) = (Party::of(a), Party::of(b));
        prop_assert_eq!(visible(one, other), a == b || a == CONTEXT_SPECTATOR);
        prop_assert_eq!(touch(one, other) == Touch::Allowed, a == b);
    }
}

mod address {
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
}

#[test]
fn files_for_root_alone() {
    for (mode, group, only) in [
        (0o400, 0, true),
        (0o600, 0, true),
        (0o200, 0, true),
        (0o440, 0, true),
        (0o440, 7, false),
        (0o444, 0, false),
        (0o644, 0, false),
        (0o604, 0, false),
    ] {
        assert_eq!(only_root_reads(mode, group), only, "{mode:o} {group}");
    }
    for (mode, group, only) in [
        (0o700, 0, true),
        (0o500, 0, true),
        (0o750, 0, true),
        (0o750, 7, false),
        (0o755, 0, false),
        (0o711, 0, false),
    ] {
        assert_eq!(only_root_searches(mode, group), only, "{mode:o} {group}");
    }
    assert!(not_everybody_writes(0o664) && !not_everybody_writes(0o666));
    assert!(holds_machine_files(PROCFS) && holds_machine_files(TRACEFS));
    // ext4, tmpfs, overlay, cgroup2, mqueue: files of whoever made them.
    for other in [0xef53, 0x0102_1994, 0x794c_7630, 0x6367_7270, 0x1980_0202] {
        assert!(!holds_machine_files(other));
    }
}

#[test]
fn files_of_the_network() {
    for name in ["tcp", "dev", "snmp", "snmp6", "sockstat"] {
        assert!(is_in_proc_net(name.as_bytes()), "{name}");
    }
    for name in [
        "igmp",
        "stat",
        "softnet_stat",
        "nf_conntrack",
        "tc",
        "tcp66",
        "",
    ] {
        assert!(!is_in_proc_net(name.as_bytes()), "{name}");
    }
    assert!(is_of_device(b"conf", b"eth0") && is_of_device(b"neigh", b"lo"));
    assert!(!is_of_device(b"conf", b"all") && !is_of_device(b"neigh", b"default"));
    assert!(!is_of_device(b"ipv4", b"eth0"));
    assert!(has_family(16) && !has_family(17) && !has_family(0));
    assert!(has_family_called(b"nlctrl") && !has_family_called(b"ethtool"));
}

fn zeroed(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let length = without_counts(&mut bytes);
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn counters_are_zeroes() {
    assert_eq!(
        zeroed("sockets: used 123\nTCP: inuse 4 orphan 0 tw 55 alloc 6 mem -1\n"),
        "sockets: used 0\nTCP: inuse 0 orphan 0 tw 0 alloc 0 mem 0\n"
    );
    assert_eq!(
        zeroed(
            "Ip: Forwarding DefaultTTL InReceives\nIp: 1 64 9000\n\
             IcmpMsg: InType3 OutType8\nIcmpMsg: 5 6\n\
             Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens\nTcp: 1 200 120000 -1 77\n"
        ),
        "Ip: Forwarding DefaultTTL InReceives\nIp: 1 64 0\n\
         Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens\nTcp: 1 200 120000 -1 0\n"
    );
    // A name that is a setting elsewhere does not make the line below it one of settings.
    assert_eq!(zeroed("A: RtoMin\nB: 5\n"), "A: RtoMin\nB: 0\n");
    assert_eq!(
        zeroed("Ip6InReceives                   \t42\nIcmp6OutType135\t7\nIcmp6InTypes\t8"),
        "Ip6InReceives                   \t0\nIcmp6InTypes\t0"
    );
    assert_eq!(zeroed(""), "");
}

proptest! {
    #[test]
    fn no_count_is_left(text in "([A-Za-z]{1,6}[: ]{1,2}|-?[0-9]{1,5}[ \t]|\n){0,40}") {
        let after = zeroed(&text);
        prop_assert!(after.len() <= text.len());
        let settings = ["Forwarding", "DefaultTTL", "RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn"];
        if !settings.iter().any(|name| text.contains(name)) {
            for word in after.split_whitespace() {
                prop_assert!(word == "0" || word.parse::<i64>().is_err(), "{word} in {after}");
            }
        }
    }
}

/// With the owner 77 as process 1, and 300 as one that is not in view.
fn renumbered(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let length = renumber_owners(&mut bytes, |number| match number {
        77 => 1,
        300 => 0,
        number => number,
    });
    String::from_utf8(bytes[..length].to_vec()).unwrap()
}

#[test]
fn owners_of_locks_are_renumbered() {
    assert_eq!(
        renumbered(
            "1: POSIX  ADVISORY  WRITE 77 08:01:77 0 EOF\n\
             1: -> POSIX  ADVISORY  READ 300 08:01:300 300 300\n\
             2: OFDLCK ADVISORY  READ -1 08:01:77 77 EOF\n\
             3: LEASE  BREAKING  UNLCK 12345 <none>:0 0 EOF\n"
        ),
        "1: POSIX  ADVISORY  WRITE 1 08:01:77 0 EOF\n\
         1: -> POSIX  ADVISORY  READ 0 08:01:300 300 300\n\
         2: OFDLCK ADVISORY  READ -1 08:01:77 77 EOF\n\
         3: LEASE  BREAKING  UNLCK 12345 <none>:0 0 EOF\n"
    );
    // A longer number does not fit, and no number is none.
    let mut text = *b" READ 7 \n READ x";
    assert_eq!(renumber_owners(&mut text, |_| 12), text.len());
    assert_eq!(&text, b" READ 7 \n READ x");
    assert_eq!(renumbered(" READ 99999999999 77"), " READ 99999999999 77");
    assert_eq!(renumbered(""), "");
}

proptest! {
    #[test]
    fn only_owners_change(text in "([A-Za-z0-9: -]{0,4}( READ | WRITE )(0|[1-9][0-9]{0,3})[ \n]){0,9}") {
        let mut bytes = text.as_bytes().to_vec();
        prop_assert_eq!(renumber_owners(&mut bytes, |number| number), text.len());
        prop_assert_eq!(bytes, text.as_bytes());
        prop_assert!(renumbered(&text).len() <= text.len());
    }
}

/// The line of a socket as the network with the loopback 127.1.2.0/24 has it.
fn corrected(line: &str, is_v6: bool, bound: Option<crate::address::Ip>) -> String {
    let names = crate::address::Names::new();
    let set = crate::address::Set {
        ranges: &[],
        broadcast: 0,
        loopback: 2,
        names: &names,
    };
    let mut bytes = line.as_bytes().to_vec();
    correct_socket(&mut bytes, is_v6, &set, bound);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn lines_of_sockets_are_corrected() {
    use crate::address::Ip;
    // 127.1.2.1 and 127.1.2.7, and what is not of this network.
    assert_eq!(
        corrected("  0: 0102017F:1538 0702017F:0016 0A x\n", false, None),
        "  0: 0100007F:1538 0700007F:0016 0A x\n"
    );
    assert_eq!(
        corrected(
            "  0: 0102017F:1538 00000000:0000 0A x\n",
            false,
            Some(Ip::V4(0))
        ),
        "  0: 00000000:1538 00000000:0000 0A x\n"
    );
    assert_eq!(
        corrected("  0: 0103017F:1538 0A00020A:0000 0A x\n", false, None),
        "  0: 0103017F:1538 0A00020A:0000 0A x\n"
    );
    let zeros = "0".repeat(32);
    let mapped = |v4: &str| format!("0000000000000000FFFF0000{v4}");
    let line = |local: &str, peer: &str| format!("  0: {local}:1538 {peer}:0000 0A x\n");
    // 127.1.2.255 is ::1.
    assert_eq!(
        corrected(&line(&mapped("FF02017F"), &mapped("0102017F")), true, None),
        line("00000000000000000000000001000000", &mapped("0100007F"))
    );
    assert_eq!(
        corrected(&line(&mapped("FF02017F"), &zeros), true, Some(Ip::V6(0))),
        line(&zeros, &zeros)
    );
    assert_eq!(
        corrected(&line(&mapped("0102017F"), &zeros), true, Some(Ip::V4(0))),
        line(&mapped("00000000"), &zeros)
    );
    // What is no such line stays.
    for text in [
        "",
        "x",
        "0:",
        "0: 0102017F",
        "0: x102017F:1538 y702017F:0016 ",
    ] {
        assert_eq!(corrected(text, false, None), text);
        assert_eq!(corrected(text, true, None), text);
    }
}

#[test]
fn lines_of_devices_are_taken_out() {
    let seen = |text: &str, which| {
        let mut bytes = text.as_bytes().to_vec();
        let length = seen_lines(&mut bytes, which, |name| name == b"eth0");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    let text = "eth0\t1 eth1\neth1\t2 eth0 \n\neth0\t3 lo\neth0";
    assert_eq!(seen(text, Device::First), "eth0\t1 eth1\neth0\t3 lo\neth0");
    assert_eq!(seen(text, Device::Last), "eth1\t2 eth0 \neth0");
    assert_eq!(seen("", Device::Last), "");
}

#[test]
fn leaves_of_the_trie_are_taken_out() {
    let seen = |text: &str| {
        let length = seen_of_trie(text.as_bytes(), |address| address == 0x0a00_020f);
        text[..length].to_string()
    };
    for text in [
        "     |-- 10.0.2.15\n        /32 host LOCAL\n",
        "     |-- 127.0.0.1\n        /32 host LOCAL\n",
        "     |-- 10.0.2.0\n        /24 link UNICAST\n",
        "nothing of it\n",
        "",
    ] {
        assert_eq!(seen(text), text);
    }
    for node in [
        "     |-- 10.0.2.16\n        /32 host LOCAL\n",
        "  +-- 10.0.2.0/24 2 0 2\n",
    ] {
        assert_eq!(seen(node), "");
        assert_eq!(seen(&format!("Main:\n{node}")), "Main:\n");
    }
    for address in [
        "256.0.0.1",
        "1.2.3",
        "1.2.3.4.5",
        "0010.0.2.15",
        "10.0.2.15x",
        "",
    ] {
        assert_eq!(seen(&format!("|-- {address}\n")), "");
    }
}
