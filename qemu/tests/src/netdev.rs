// SPDX-License-Identifier: GPL-2.0

//! Devices, addresses and routes as a process sees them that is confined to addresses, by every way to
//! ask: /proc/net, ioctls, rtnetlink questions and news.

use crate::{
    fixture::{child, confine, ensure, enter, equal, words, Outcome},
    syscalls::{own, set_option, syscall},
    test, Test,
};
use std::{
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
};
use vserver_uapi::*;

mod generic;
mod numbers;
mod requests;

pub const TESTS: &[Test] = &[
    test("netdev::proc_files", 60, proc_files),
    test("netdev::sysfs", 60, sysfs),
    test("netdev::tools", 60, tools),
    requests::OLD,
    requests::OTHER_DEVICES,
    requests::CHANGED_MEANWHILE,
    numbers::SCOPES,
    numbers::PACKET_INFORMATION,
    test("netdev::rtnetlink", 60, rtnetlink),
    test("netdev::rtnetlink_news", 60, news),
    test("netdev::names_and_numbers", 60, names),
    test("netdev::proc_net_list", 60, proc_net_list),
    test("netdev::counters", 60, counters),
    test("netdev::settings_of_devices", 60, settings),
    generic::FAMILIES,
];

/// A device with an address of the host and one for contexts, and one with the host's alone.
fn devices() -> Outcome {
    for line in [
        "link add vsown type dummy",
        "link add vshost type dummy",
        "link set vsown up",
        "link set vshost up",
        "address add 10.76.0.1/24 dev vsown",
        "address add 10.76.0.5/24 dev vsown",
        "address add fd76::1/64 dev vsown",
        "address add fd76::5/64 dev vsown",
        "address add 10.75.0.1/24 dev vshost",
        "address add fd75::1/64 dev vshost",
        "route add 10.74.0.0/24 via 10.76.0.9",
        "route add 10.73.0.0/24 via 10.75.0.9",
    ] {
        // They are there already when another test has made them.
        ip(line)?;
    }
    for [address, hardware, device] in [
        ["10.76.0.9", "02:00:00:00:00:01", "vsown"],
        ["10.75.0.9", "02:00:00:00:00:02", "vshost"],
    ] {
        Command::new("/bin/arp")
            .args(["-s", address, hardware, "-i", device])
            .output()
            .map_err(words)?;
    }
    ensure(
        "vsown",
        std::path::Path::new("/sys/class/net/vsown").exists(),
    )?;
    ensure(
        "vshost",
        std::path::Path::new("/sys/class/net/vshost").exists(),
    )
}

fn ip(line: &str) -> Result<String, String> {
    let output = Command::new("/bin/ip")
        .args(line.split(' '))
        .output()
        .map_err(words)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn within(run: impl Fn() -> Outcome) -> Outcome {
    devices()?;
    for context in [CONTEXT_ROOT, 100] {
        child(|| {
            confine(&["10.76.0.5", "fd76::5"]).map_err(words)?;
            if context != CONTEXT_ROOT {
                enter(context, 0, 0).map_err(words)?;
            }
            run().map(|()| String::new())
        })
        .map_err(|text| format!("in context {context}: {text}"))?;
    }
    // Who is not confined sees all.
    child(|| {
        enter(101, 0, 0).map_err(words)?;
        let text = std::fs::read_to_string("/proc/net/dev").map_err(words)?;
        ensure("free inside a context", text.contains("vshost"))?;
        let links = ip("link show")?;
        ensure(&links, links.contains("vshost"))?;
        Ok(String::new())
    })
    .map(drop)
}

/// What a text must have and what it must not have.
fn has(what: &str, text: &str, with: &[&str], without: &[&str]) -> Outcome {
    for part in with {
        ensure(
            &format!("{what} lacks {part}:\n{text}"),
            text.contains(part),
        )?;
    }
    for part in without {
        ensure(&format!("{what} has {part}:\n{text}"), !text.contains(part))?;
    }
    Ok(())
}

/// By list, by name, by the path that the entry leads to, and with what was opened before.
fn sysfs() -> Outcome {
    devices()?;
    let list = |folder: &str| -> Result<Vec<String>, String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(words)? {
            names.push(
                entry
                    .map_err(words)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort_unstable();
        Ok(names)
    };
    let all = list("/sys/class/net")?;
    let folder = std::fs::File::open("/sys/class/net").map_err(words)?;
    within(|| {
        equal(
            "listed",
            list("/sys/class/net")?.join(" ").as_str(),
            "lo vsown",
        )?;
        for place in ["/sys/class/net", "/sys/devices/virtual/net"] {
            let listed = list(place)?;
            ensure(place, !listed.contains(&"vshost".to_string()))?;
            for name in ["vshost", "vsown"] {
                let path = format!("{place}/{name}");
                let seen = if name == "vsown" {
                    Ok(())
                } else {
                    Err(libc::ENOENT)
                };
                let error = |error: std::io::Error| error.raw_os_error().unwrap_or(0);
                let stat = std::fs::symlink_metadata(&path).map(drop).map_err(error);
                equal(&format!("lstat {path}"), stat, seen)?;
                let stat = std::fs::metadata(&path).map(drop).map_err(error);
                equal(&format!("stat {path}"), stat, seen)?;
                let opened = std::fs::read(format!("{path}/address"))
                    .map(drop)
                    .map_err(error);
                equal(&format!("open {path}/address"), opened, seen)?;
                let opened = std::fs::read_dir(&path).map(drop).map_err(error);
                equal(&format!("list {path}"), opened, seen)?;
                if place == "/sys/class/net" {
                    let link = std::fs::read_link(&path).map(drop).map_err(error);
                    equal(&format!("readlink {path}"), link, seen)?;
                    let at = format!("/proc/self/fd/{}/{name}/mtu", folder.as_raw_fd());
                    let opened = std::fs::read(at).map(drop).map_err(error);
                    equal(&format!("openat {name}"), opened, seen)?;
                }
            }
        }
        Ok(())
    })?;
    equal("the host's list", list("/sys/class/net")?, all)
}

fn proc_files() -> Outcome {
    within(|| {
        for (file, with, without) in [
            ("dev", &["lo:", "vsown:", "Inter-|"][..], &["vshost"][..]),
            // 10.76.0.0 and 10.74.0.0; 10.75.0.0 and 10.73.0.0.
            (
                "route",
                &["Iface", "00004C0A", "00004A0A"],
                &["vshost", "00004B0A", "0000490A"],
            ),
            (
                "arp",
                &["IP address", "10.76.0.9"],
                &["vshost", "10.75.0.9"],
            ),
            (
                "if_inet6",
                &[
                    "fd760000000000000000000000000005",
                    "00000000000000000000000000000001",
                ],
                &["vshost", "fd760000000000000000000000000001"],
            ),
            (
                "ipv6_route",
                &[
                    "fd760000000000000000000000000000 40",
                    "fd760000000000000000000000000005 80",
                ],
                &["vshost", "fd760000000000000000000000000001 80"],
            ),
            (
                "fib_trie",
                &["10.76.0.5", "10.74.0.0"],
                &["10.76.0.1\n", "10.75.0.1\n"],
            ),
        ] {
            let text = std::fs::read_to_string(format!("/proc/net/{file}")).map_err(words)?;
            has(file, &text, with, without)?;
        }
        Ok(())
    })
}

/// busybox's own, which ask by rtnetlink and by ioctls.
fn tools() -> Outcome {
    within(|| {
        has("ip link", &ip("link show")?, &["lo", "vsown"], &["vshost"])?;
        has(
            "ip address",
            &ip("address show")?,
            &["10.76.0.5/24", "127.0.0.1/8", "fd76::5", "::1/128"],
            &["10.76.0.1/", "10.75.0.1", "fd76::1/", "fd75::"],
        )?;
        has(
            "ip route",
            &ip("route show")?,
            &["10.76.0.0/24", "10.74.0.0/24"],
            &["10.75.0.0", "10.73.0.0"],
        )?;
        has(
            "local routes",
            &ip("route show table local")?,
            &["local 10.76.0.5"],
            &["local 10.76.0.1", "local 10.75.0.1"],
        )?;
        has(
            "ip -6 route",
            &ip("-6 route show")?,
            &["fd76::/64"],
            &["fd75::"],
        )?;
        has(
            "ip neigh",
            &ip("neigh show")?,
            &["10.76.0.9"],
            &["10.75.0.9"],
        )?;
        let output = Command::new("/bin/ifconfig").arg("-a").output();
        let text = String::from_utf8_lossy(&output.map_err(words)?.stdout).into_owned();
        has(
            "ifconfig",
            &text,
            &["vsown", "10.76.0.5", "127.0.0.1"],
            &["vshost", "10.76.0.1 "],
        )
    })
}

fn socket(family: i32, kind: i32, protocol: i32) -> Result<OwnedFd, String> {
    let arguments = [family as usize, kind as usize, protocol as usize, 0, 0, 0];
    let fd = syscall(libc::SYS_socket, arguments).map_err(words)?;
    Ok(own(fd as i32))
}

/// A rtnetlink socket, and what it says.
struct Netlink(OwnedFd);

impl Netlink {
    fn open(protocol: i32, groups: u32) -> Result<Self, String> {
        let fd = socket(libc::AF_NETLINK, libc::SOCK_RAW, protocol)?;
        let mut name = [0u8; 12];
        name[..2].copy_from_slice(&(libc::AF_NETLINK as u16).to_ne_bytes());
        name[8..].copy_from_slice(&groups.to_ne_bytes());
        let arguments = [fd.as_raw_fd() as usize, name.as_ptr() as usize, 12, 0, 0, 0];
        syscall(libc::SYS_bind, arguments).map_err(words)?;
        set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &[1u64, 0]).map_err(words)?;
        Ok(Self(fd))
    }

    fn send(&self, kind: u16, flags: u16, body: &[u8]) -> Outcome {
        let mut message = Vec::new();
        message.extend((16 + body.len() as u32).to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend((flags | libc::NLM_F_REQUEST as u16).to_ne_bytes());
        message.extend(7u32.to_ne_bytes());
        message.extend(0u32.to_ne_bytes());
        message.extend(body);
        nix::unistd::write(&self.0, &message)
            .map(drop)
            .map_err(words)
    }

    /// The messages of one datagram: their types and what follows.
    fn receive(&self) -> Result<Vec<(u16, Vec<u8>)>, nix::errno::Errno> {
        let mut room = vec![0u8; 65536];
        let length = nix::unistd::read(&self.0, &mut room)?;
        let mut rest = &room[..length];
        let mut messages = Vec::new();
        while rest.len() >= 16 {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            messages.push((kind, rest[16..size].to_vec()));
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Questions about one thing, by number.
fn rtnetlink() -> Outcome {
    devices()?;
    let index = |name| nix::net::if_::if_nametoindex(name).map_err(words);
    let (own, host) = (index("vsown")?, index("vshost")?);
    within(|| {
        let netlink = Netlink::open(libc::NETLINK_ROUTE, 0)?;
        let link = |index: u32| {
            let mut body = [0u8; 16];
            body[4..8].copy_from_slice(&index.to_ne_bytes());
            body
        };
        netlink.send(libc::RTM_GETLINK, 0, &link(own))?;
        let got = netlink.receive().map_err(words)?;
        equal(
            "own link",
            (got[0].0, word(&got[0].1, 4)),
            (libc::RTM_NEWLINK, own),
        )?;
        netlink.send(libc::RTM_GETLINK, 0, &link(host))?;
        let got = netlink.receive().map_err(words)?;
        let error = word(&got[0].1, 0) as i32;
        equal("foreign link", (got[0].0, error), (2, -libc::ENODEV))?;
        // By its size first, as many programs do.
        netlink.send(libc::RTM_GETLINK, libc::NLM_F_DUMP as u16, &link(0))?;
        let mut seen = Vec::new();
        loop {
            let arguments = [
                netlink.0.as_raw_fd() as usize,
                0,
                0,
                (libc::MSG_PEEK | libc::MSG_TRUNC) as usize,
                0,
                0,
            ];
            let size = syscall(libc::SYS_recvfrom, arguments).map_err(words)?;
            ensure("a size", size > 0)?;
            let got = netlink.receive().map_err(words)?;
            let bytes: usize = got
                .iter()
                .map(|(_, body)| (16 + body.len()).next_multiple_of(4))
                .sum();
            equal("the size told before", bytes, size as usize)?;
            if got.iter().any(|(kind, _)| *kind == 3) {
                break;
            }
            seen.extend(got.iter().map(|(_, body)| word(body, 4)));
        }
        ensure("own in the list", seen.contains(&own))?;
        ensure("foreign in the list", !seen.contains(&host))
    })
}

/// News come of what one sees.
fn news() -> Outcome {
    devices()?;
    let (ask, asked) = nix::unistd::pipe().map_err(words)?;
    let (told, tell) = nix::unistd::pipe().map_err(words)?;
    let host = child_that(|| {
        let mut word = [0];
        while nix::unistd::read(&ask, &mut word) == Ok(1) {
            ip("address add 10.75.0.77/24 dev vshost")?;
            ip("address del 10.75.0.77/24 dev vshost")?;
            ip("address add 10.76.0.77/24 dev vsown")?;
            ip("address del 10.76.0.77/24 dev vsown")?;
            ip("address del 10.76.0.5/24 dev vsown")?;
            ip("address add 10.76.0.5/24 dev vsown")?;
            nix::unistd::write(&tell, b"!").map_err(words)?;
        }
        Ok(())
    })?;
    let outcome = within(|| {
        // RTMGRP_LINK, RTMGRP_IPV4_IFADDR
        let netlink = Netlink::open(libc::NETLINK_ROUTE, 1 | 0x10)?;
        nix::unistd::write(&asked, b"!").map_err(words)?;
        nix::unistd::read(&told, &mut [0]).map_err(words)?;
        let mut addresses = Vec::new();
        while let Ok(messages) = netlink.receive() {
            for (kind, body) in messages {
                let about = kind == libc::RTM_NEWADDR || kind == libc::RTM_DELADDR;
                ensure(
                    &format!("a change of an address, not {kind}: {body:?}"),
                    about,
                )?;
                // struct ifaddrmsg, then IFA_ADDRESS: length, type, the address.
                addresses.push(body[12..16].to_vec());
            }
        }
        ensure("news came", !addresses.is_empty())?;
        let own = addresses
            .iter()
            .all(|address| address[..] == [10, 76, 0, 5]);
        ensure(&format!("only of its own: {addresses:?}"), own)
    });
    let host = nix::unistd::Pid::from_raw(host);
    nix::sys::signal::kill(host, nix::sys::signal::Signal::SIGKILL).map_err(words)?;
    nix::sys::wait::waitpid(host, None).map_err(words)?;
    outcome
}

/// Something done by a child of the host's, until it is killed; its pid.
fn child_that(run: impl FnOnce() -> Outcome) -> Result<i32, String> {
    match crate::syscalls::fork().map_err(words)? {
        0 => crate::syscalls::exit_now(i32::from(run().is_err())),
        pid => Ok(pid),
    }
}

fn names() -> Outcome {
    devices()?;
    let host = nix::net::if_::if_nametoindex("vshost").map_err(words)?;
    within(|| {
        nix::net::if_::if_nametoindex("vsown").map_err(words)?;
        let got = nix::net::if_::if_nametoindex("vshost");
        equal("by name", got, Err(nix::errno::Errno::ENODEV))?;
        let list = nix::net::if_::if_nameindex().map_err(words)?;
        let foreign = list.into_iter().any(|one| one.index() == host);
        ensure("in the list", !foreign)?;
        let mut found = nix::ifaddrs::getifaddrs().map_err(words)?;
        ensure(
            "getifaddrs",
            found.all(|one| one.interface_name != "vshost"),
        )
    })
}

/// The files of /proc/net; what is not among them is absent.
const PROC_NET: [&str; 22] = [
    "arp",
    "dev",
    "fib_trie",
    "icmp",
    "icmp6",
    "if_inet6",
    "ipv6_route",
    "netlink",
    "netstat",
    "packet",
    "raw",
    "raw6",
    "route",
    "snmp",
    "snmp6",
    "sockstat",
    "sockstat6",
    "tcp",
    "tcp6",
    "udp",
    "udp6",
    "unix",
];

fn listed(folder: &str) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(words)? {
        let name = entry.map_err(words)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}

/// 0, or the error.
fn stat(path: &str) -> i32 {
    std::fs::symlink_metadata(path).map_or_else(|error| error.raw_os_error().unwrap_or(-1), |_| 0)
}

fn proc_net_list() -> Outcome {
    let all = listed("/proc/net")?;
    for name in ["stat", "ptype", "softnet_stat"] {
        ensure(name, all.iter().any(|one| one == name))?;
    }
    within(|| {
        for folder in ["/proc/net", "/proc/thread-self/net"] {
            for name in listed(folder)? {
                let path = format!("{folder}/{name}");
                ensure(&path, PROC_NET.contains(&name.as_str()))?;
                std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
            }
            for name in &all {
                let expected = if PROC_NET.contains(&name.as_str()) {
                    0
                } else {
                    libc::ENOENT
                };
                let path = format!("{folder}/{name}");
                equal(&path, stat(&path), expected)?;
            }
            for name in ["stat/rt_cache", "dev_snmp6/vshost", "none"] {
                let path = format!("{folder}/{name}");
                equal(&path, stat(&path), libc::ENOENT)?;
            }
        }
        Ok(())
    })?;
    // A network namespace that it has made is its own.
    child(|| {
        confine(&["10.76.0.5"]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).map_err(words)?;
        let found = listed("/proc/thread-self/net")?;
        ensure(
            &format!("{found:?}"),
            found.iter().any(|name| name == "stat"),
        )?;
        Ok(String::new())
    })?;
    equal("the host's", listed("/proc/net")?, all)
}

/// For `ss -s` and `netstat -s`: names, and no numbers of what others do.
fn counters() -> Outcome {
    let files = ["sockstat", "sockstat6", "snmp", "snmp6", "netstat"];
    let read = |file: &str| std::fs::read_to_string(format!("/proc/net/{file}")).map_err(words);
    // What the words of a line are: numbers or names. Settings are not counted.
    let counts = |text: &str| -> Vec<i64> {
        let mut found = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            for (at, word) in words.iter().enumerate() {
                let setting = names.first() == words.first()
                    && names.get(at).is_some_and(|name| {
                        name.starts_with("Rto")
                            || matches!(*name, "Forwarding" | "DefaultTTL" | "MaxConn")
                    });
                if let (Ok(number), false) = (word.parse(), setting) {
                    found.push(number);
                }
            }
            names = words;
        }
        found
    };
    // So that there is something to be counted.
    let mut counted = Vec::new();
    for loopback in ["127.0.0.1:0", "[::1]:0"] {
        let socket = std::net::UdpSocket::bind(loopback).map_err(words)?;
        let own = socket.local_addr().map_err(words)?;
        socket.send_to(b"counted", own).map_err(words)?;
        socket.recv(&mut [0; 16]).map_err(words)?;
        counted.push(socket);
    }
    let mut host = Vec::new();
    for file in files {
        let text = read(file)?;
        ensure(
            &text,
            counts(&text).iter().any(|number| *number != 0) || file == "sockstat6",
        )?;
        host.push(text);
    }
    within(|| {
        for (file, host) in files.iter().zip(&host) {
            let text = read(file)?;
            let found = counts(&text);
            ensure(
                &format!("{file}: {text}"),
                found.iter().all(|number| *number == 0),
            )?;
            // A line for each of the host's, but for those about what has happened.
            let lines = |text: &str| {
                text.lines()
                    .filter(|line| {
                        let of_type = line.starts_with("Icmp6") && line.contains("Type");
                        !of_type && !line.starts_with("IcmpMsg:")
                    })
                    .map(|line| line.split_whitespace().count())
                    .collect::<Vec<_>>()
            };
            equal(file, lines(&text), lines(host))?;
        }
        ensure(
            "a setting",
            read("snmp")?.contains("\nIp: ") && !read("snmp")?.contains("\nIp: 0 "),
        )
    })?;
    let text = read("snmp")?;
    ensure(
        "the host's",
        counts(&text).iter().any(|number| *number != 0),
    )
}

/// Of the folders with one entry for each device, those that there are.
fn settings() -> Outcome {
    devices()?;
    let folders: Vec<String> = ["ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh"]
        .iter()
        .map(|folder| format!("/proc/sys/net/{folder}"))
        .collect();
    for folder in &folders {
        // The names are in the kernel's cache from now on.
        let host = listed(folder)?;
        ensure(folder, host.contains(&"vshost".to_string()))?;
        equal(folder, stat(&format!("{folder}/vshost")), 0)?;
    }
    let before = std::fs::File::open(&folders[0]).map_err(words)?;
    within(|| {
        for folder in &folders {
            let mut names = listed(folder)?;
            names.retain(|name| name != "all");
            equal(folder, names.join(" ").as_str(), "default lo vsown")?;
            equal("own", stat(&format!("{folder}/vsown")), 0)?;
            for name in [
                "vshost",
                "vshost/forwarding",
                "vshost/mcast_solicit",
                "none",
            ] {
                let path = format!("{folder}/{name}");
                equal(&path, stat(&path), libc::ENOENT)?;
            }
        }
        let at = format!("/proc/self/fd/{}/vshost", before.as_raw_fd());
        equal("by what was opened before", stat(&at), libc::ENOENT)?;
        let forward = std::fs::read("/proc/sys/net/ipv4/conf/vsown/forwarding");
        forward.map(drop).map_err(words)
    })?;
    ensure(
        "the host's",
        listed(&folders[0])?.contains(&"vshost".to_string()),
    )
}
