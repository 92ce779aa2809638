// SPDX-License-Identifier: GPL-2.0

//! What crosses the border of the kernel, in both directions: any bytes in the structures of the ABI, decided about by the
//! very code that the module has.

use crate::Ipv4root;
use vserver_policy::address::{may_be_broadcast, sort, Ip, Names, Range, Set};
use vserver_policy::enter::{decide, Caller, Decision};
use vserver_policy::{caps, limits, visibility};
use vserver_uapi as uapi;
use zerocopy::{FromBytes, IntoBytes};

/// Enters, addresses of both families, and what is at the ends of its range.
pub(super) const SAMPLES: &[&[u8]] = &[
    &[0; 128],
    &[0xff; 128],
    b"\x02\0\x20\0\0\0\0\0\x0a\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x08\0\0\0\0\0\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x0a\0\x80\0\0\0\0\0\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x0a\0\x40\0\x01\0\0\0\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x64\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
];
pub(super) const WORDS: &[&[u8]] = &[
    b"\0\0\0\0",
    b"\x01\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xfe\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\x80",
    b"\x02\0",
    b"\x0a\0",
    b"\x20\0",
    b"\x80\0",
    b"\x0a\0\0\x05",
    b"\x7f\0\0\x01",
    b"\xff\xff\0\0\0\0",
    b"\0\xc0\0\0",
    b"\xff\xbf\0\0",
];

fn structure<T: FromBytes + IntoBytes>(bytes: &[u8]) -> T {
    let mut value = T::new_zeroed();
    let room = value.as_mut_bytes();
    let length = room.len().min(bytes.len());
    room[..length].copy_from_slice(&bytes[..length]);
    value
}

pub(super) fn check(bytes: &[u8]) {
    entering(structure(bytes), bytes.last().copied().unwrap_or(0));
    let list: Vec<uapi::Address> = bytes
        .chunks(size_of::<uapi::Address>())
        .take(64)
        .map(structure)
        .collect();
    addresses(&list, &structure(bytes));
    let info: uapi::ContextInfo = structure(bytes);
    let limit = limits::nproc(info.flags, info.nproc_limit, info.created_ns);
    let _ = limits::may_add(info.tasks.into(), limit);
    let _ = limits::may_nest(info.tasks);
    let ceiling = caps::ceiling(info.caps_dropped, info.created_ns);
    assert_eq!(ceiling & (info.caps_dropped | info.created_ns), ceiling);
    let party = |context| visibility::Party {
        context,
        arrival: info.created_ns % 3,
        exceeds: info.state & 1 == 1,
    };
    let (one, other) = (party(info.context), party(info.outer));
    let allowed = visibility::touch(one, other) == visibility::Touch::Allowed;
    assert!(!allowed || visibility::visible(one, other));
}

fn entering(asked: uapi::Enter, bits: u8) {
    let bit = |number: u8| (bits >> number) & 1 == 1;
    let caller = Caller {
        context: asked.options as i32,
        flags: asked.caps_drop as u32,
        admin: bit(0),
        single_threaded: bit(1),
        entangled: bit(2),
        traced: bit(3),
        init: bit(4),
        decides: bit(5),
    };
    if let Ok(Decision::Numbered { context, .. }) = decide(caller, asked.context, asked.flags) {
        assert!((0..=uapi::CONTEXT_MAX).contains(&context));
    }
}

fn addresses(list: &[uapi::Address], answer: &uapi::Addresses) {
    let root = Ipv4root::from_abi(answer, list);
    let _ = root.to_string();
    let again: Vec<uapi::Address> = root.addresses.iter().map(|one| one.to_abi()).collect();
    let _ = root.lacks(&Ipv4root::from_abi(answer, &again).addresses);
    let mut ranges: Vec<Range> = list.iter().filter_map(Range::new).collect();
    sort(&mut ranges);
    let broadcast = u32::from_be_bytes(answer.broadcast);
    let names = Names::new();
    let set = Set {
        ranges: &ranges,
        broadcast,
        loopback: answer.count as u16,
        names: &names,
    };
    let _ = may_be_broadcast(broadcast);
    assert!(set.covers(&ranges, broadcast));
    for one in list {
        let v4 = u32::from_be_bytes([
            one.address[0],
            one.address[1],
            one.address[2],
            one.address[3],
        ]);
        let v6 = u128::from_be_bytes(one.address);
        for ip in [Ip::V4(v4), Ip::of_v6(v6)] {
            let _ = (
                set.has(ip),
                set.inward(ip),
                set.choose(ip, Ip::V4(broadcast)),
            );
        }
        let _ = (
            set.bind_v4(v4),
            set.bind_v6(v6, one.family == 2),
            set.bind_v6(v6, false),
        );
        let _ = (
            set.dest_v4(v4),
            set.dest_v6(v6),
            set.source_v4(v4),
            set.source_v6(v6),
        );
        let _ = (
            set.only(true),
            set.only(false),
            set.shows_v6(v6),
            set.inward_v6(v6),
            set.has_v6(),
        );
    }
    for range in &ranges {
        let (first, prefix) = range.parts();
        assert!(prefix <= 128);
        let _ = (first, range.single());
    }
}
