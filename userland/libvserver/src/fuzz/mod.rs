// SPDX-License-Identifier: GPL-2.0

//! Everything that reads what others have written, given nonsense: nothing may panic.
//!
//! `make fuzz` tries ten million inputs, `make fuzz N=…` another number, and `cargo test` some.

mod abi;
mod input;

use crate::account::Account;
use crate::config;
use crate::init_system;
use crate::{addresses, alias, capability, context_fd, names, process, Flags, Request};
use input::Target;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

const CONFIGURATION: &[&[u8]] = &[
    b"# Description: a server\nIPROOT=\"10.0.0.5 eth0:10.0.0.6/24 fd00::1/64\"\nIPROOTMASK=255.255.255.0\nONBOOT=yes\n",
    b"S_HOSTNAME=one.example\nS_FLAGS=\"lock nproc\"\nULIMIT=\"-H -u 1000 -n 512\"\nS_CAPS='CAP_NET_RAW'\n",
    b"A=x\nB=\"$A ${A}\" # c\nS_NICE=\\\n5\nexport READY=$B\n",
    b"S_CONTEXT=100\nSTART_TIMEOUT=7\nIPROOTDEV=lo\nIPROOTBCAST=10.0.0.255\nPRIORITY=10\n",
];
const CONFIGURATION_WORDS: &[&[u8]] = &[
    b"IPROOT=",
    b"IPROOTDEV=",
    b"IPROOTMASK=",
    b"IPROOTBCAST=",
    b"ONBOOT=",
    b"S_FLAGS=",
    b"S_CAPS=",
    b"ULIMIT=",
    b"S_NICE=",
    b"S_CONTEXT=",
    b"S_HOSTNAME=",
    b"READY=",
    b"PRIORITY=",
    b"\"",
    b"'",
    b"\\",
    b"\n",
    b"#",
    b"$",
    b"${",
    b"}",
    b"$(",
    b"`",
    b" ",
    b"=",
    b"\\\n",
    b"export ",
    b";",
    b"&&",
    b"10.0.0.5",
    b"fd00::1/64",
    b"eth0:",
    b"/24",
    b"-H",
    b"-u 1000",
    b"unlimited",
    b"99999999999999999999",
    b"-1",
    b"yes",
    b"lock",
    b"CAP_NET_RAW",
    b"!",
    b"\r\n",
    b"\t",
    "\u{e9}\u{4e2d}\u{1f980}".as_bytes(),
    b"\xff",
    b"\0",
    b"# Description: ",
];

fn configuration(bytes: &[u8]) {
    config::try_text(&String::from_utf8_lossy(bytes));
}

const MOUNTS: &[&[u8]] = &[
    b"/srv /srv none bind,ro 0 0\ntmpfs /tmp tmpfs size=10m,mode=1777 0 0\n# x\n",
    b"/home\\040x /home none rbind,nosuid,nodev\n",
];
const MOUNTS_WORDS: &[&[u8]] = &[
    b"/",
    b"..",
    b" ",
    b"\t",
    b"\n",
    b"none",
    b"tmpfs",
    b"bind",
    b"rbind",
    b",",
    b"ro",
    b"size=",
    b"\\040",
    b"\\",
    b"\\0",
    b"\\777",
    b"#",
    b"proc",
    b"0 0",
    "\u{e9}".as_bytes(),
    b"\xff",
    b"\0",
];

fn mounts(bytes: &[u8]) {
    config::try_mounts(&String::from_utf8_lossy(bytes));
}

const ACCOUNTS: &[&[u8]] = &[
    b"root:x:0:0:root:/root:/bin/bash\nbob:x:1000:1000::/home/bob:\n",
    b"bob\nroot:x:0:0:::\nbob:x:4294967295:-1:a:b:c\n",
];
const ACCOUNTS_WORDS: &[&[u8]] = &[
    b":",
    b"::",
    b"\n",
    b"bob",
    b"0",
    b"4294967295",
    b"4294967296",
    b"-1",
    b",",
    b"#",
    b"/",
    b"+",
    b"\xff",
    b"\0",
];

/// The first line is whom to find; the rest stands for both files.
fn accounts(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |&byte| byte == b'\n');
    let user = OsStr::from_bytes(parts.next().unwrap_or_default());
    let file = parts.next().unwrap_or_default();
    for user in [user, OsStr::new("bob"), OsStr::new("1000")] {
        if let Ok(account) = Account::try_files(file, user) {
            assert!(!account.name.as_bytes().contains(&0) || account.name == user);
            assert!(
                !account.home.as_bytes().contains(&0) && !account.shell.as_bytes().contains(&0)
            );
        }
    }
}

const INITTABS: &[&[u8]] = &[
    b"id:2:initdefault:\nsi::sysinit:/etc/init.d/rcS\n1:2345:respawn:/sbin/getty 38400 tty1\n",
    b"::sysinit:/bin/x\n::respawn:-/bin/sh\nl3:3:wait:/etc/rc 3\n",
];
const INITTABS_WORDS: &[&[u8]] = &[
    b":",
    b"::",
    b"\n",
    b"initdefault",
    b"sysinit",
    b"wait",
    b"respawn",
    b"2345",
    b"S",
    b"#",
    b" ",
    b"\\",
    "\u{e9}".as_bytes(),
    b"\xff",
    b"\0",
];

const RECORDS: &[&[u8]] = &[&[1; 384], &[0xff; 768], &[8; 400]];
const RECORDS_WORDS: &[&[u8]] = &[
    &[0; 384],
    &[1, 0, 0, 0],
    &[8, 0],
    &[0xff; 40],
    &[5; 383],
    b"\0",
];

const TOLD: &[&[u8]] = &[
    b"S_CONTEXT=100\nS_CREATED=12345\n",
    b"10.0.0.5/24",
    b"fd00::1/64",
    b"1024",
    b"CAP_NET_RAW",
    b"!cap_sys_admin",
    b"lock",
    b"-2",
    b"eth0:0",
    b"42 (a ) x) S 1 42 42 34816 42 0 0 0 0 0 1 2 0 0 20 5 3 0 9 0 0\n250 30 20\n",
];
const TOLD_WORDS: &[&[u8]] = &[
    b"S_CONTEXT=",
    b"\"",
    b"'",
    b"10.0.0.5",
    b"/",
    b":",
    b"::",
    b"255.255.255.0",
    b"99999999999",
    b"-",
    b"CAP_",
    b"!",
    b")",
    b"(",
    b" ",
    b"\n",
    b"\0",
    b"\xff",
    b"18446744073709551615",
    b"Uid:\t0\t0\n",
    "\u{e9}".as_bytes(),
    b"if.vs",
];

/// What stands on a command line, in the files of a vserver that runs, and in /proc.
fn told(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = names::parse(&text);
    let _ = text.parse::<addresses::Address>();
    let _ = text.parse::<Flags>();
    let _ = capability::parse(&text);
    let _ = text.parse::<Request>();
    context_fd::try_text(&text);
    alias::try_text(&text);
    process::try_files(bytes);
}

const TARGETS: &[Target] = &[
    Target {
        name: "configuration",
        samples: CONFIGURATION,
        words: CONFIGURATION_WORDS,
        check: configuration,
    },
    Target {
        name: "mounts",
        samples: MOUNTS,
        words: MOUNTS_WORDS,
        check: mounts,
    },
    Target {
        name: "accounts",
        samples: ACCOUNTS,
        words: ACCOUNTS_WORDS,
        check: accounts,
    },
    Target {
        name: "inittab",
        samples: INITTABS,
        words: INITTABS_WORDS,
        check: init_system::try_inittab,
    },
    Target {
        name: "utmp",
        samples: RECORDS,
        words: RECORDS_WORDS,
        check: init_system::try_utmp,
    },
    Target {
        name: "told",
        samples: TOLD,
        words: TOLD_WORDS,
        check: told,
    },
    Target {
        name: "ioctl",
        samples: abi::SAMPLES,
        words: abi::WORDS,
        check: abi::check,
    },
];

#[test]
fn fuzz_library_and_kernel() {
    input::run(TARGETS);
}
