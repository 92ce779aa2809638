// SPDX-License-Identifier: GPL-2.0

use crate::counters::without_counts;
use crate::locks::renumber_owners;
use crate::machine_files::*;
use crate::network_files::*;
use crate::proc_net::*;
use proptest::prelude::*;

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
