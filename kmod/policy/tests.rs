// SPDX-License-Identifier: GPL-2.0

use crate::caps;
use crate::enter::{decide, Caller, Decision, Refusal};
use crate::limits;
use crate::uapi::*;
use crate::visibility::{touch, visible, Touch};
use proptest::prelude::*;

const ROOT: Caller = Caller {
    context: CONTEXT_ROOT,
    flags: 0,
    admin: true,
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
        single_threaded: true,
        entangled: false,
        traced: false,
        init: false,
    }
}

#[test]
fn spectator_sees_all_and_touches_none() {
    assert!(visible(CONTEXT_SPECTATOR, CONTEXT_ROOT));
    assert!(visible(CONTEXT_SPECTATOR, 100));
    assert_eq!(touch(CONTEXT_SPECTATOR, 100), Touch::Refused);
    assert_eq!(touch(CONTEXT_SPECTATOR, CONTEXT_SPECTATOR), Touch::Allowed);
}

#[test]
fn the_root_server_is_not_privileged() {
    assert!(!visible(CONTEXT_ROOT, 100));
    assert_eq!(touch(CONTEXT_ROOT, 100), Touch::Absent);
    assert_eq!(touch(100, CONTEXT_ROOT), Touch::Absent);
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
        prop_assert_eq!(visible(a, b), a == b || a == CONTEXT_SPECTATOR);
        prop_assert_eq!(touch(a, b) == Touch::Allowed, a == b);
    }
}

mod address {
    use crate::address::*;
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

    fn set(ranges: &[Range]) -> Set<'_> {
        Set {
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
        for foreign in [
            "10.0.0.6",
            "127.0.2.1",
            "127.1.7.1",
            "127.0.0.254",
            "127.0.0.255",
        ] {
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
        assert_eq!(none.bind_v6(v6("::1"), false), Err(Refusal::NotAvailable));
        assert_eq!(none.bind_v6(v6("::"), true), Err(Refusal::NotAvailable));
        assert_eq!(none.bind_v6(v6("::"), false), Ok(Bind::Any));
        assert_eq!(none.dest_v6(v6("fd00::1")), Err(Refusal::NotAvailable));
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
        /// Whatever a program asks for, it gets an address of its own network, or none.
        #[test]
        fn bound_to_ones_own_only(address in any::<u32>(), loopback in 0u16..65280) {
            let own = ranges(&["10.0.0.5", "10.8.0.0/16"]);
            let set = Set { ranges: &own, broadcast: 0, loopback };
            for address in [address, 0x7f00_0000 | (address & 0x1ff), 0x0a08_0000 | (address >> 16)] {
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
            let set = Set { ranges: &own, broadcast: 0, loopback };
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
