// SPDX-License-Identifier: GPL-2.0

//! Datagrams to broadcast addresses and groups, sent by the peer, for sockets bound to any address.

use super::*;
use crate::fixture::{address, confine_to};
use crate::syscalls::{ioctl_address, set_option};
use nix::{
    errno::Errno,
    sys::socket::{recvmsg, ControlMessageOwned, MsgFlags, SockaddrStorage},
};
use std::{
    io::IoSliceMut,
    net::{Ipv4Addr, Ipv6Addr},
    sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
    time::Instant,
};

const PORT: u16 = 7010;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 7, 8, 9);
const OTHER: Ipv4Addr = Ipv4Addr::new(239, 7, 8, 10);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff15, 0, 0, 0, 0, 7, 8, 9);
const BROADCAST: [u8; 4] = [10, 78, 0, 255];

/// What makes a listener's socket, after it was confined and has entered its context.
type Make = fn() -> Result<Vec<UdpSocket>, String>;

/// A peer that sends a round of datagrams when it is asked, each with where it goes to as text, and
/// at last "end" to all the host's addresses.
fn speaker() -> Result<(Sitter, OwnedFd), String> {
    let (ask, asked) = nix::unistd::pipe().map_err(words)?;
    let sitter = peer(|| {
        let v4 = UdpSocket::bind((PEER, 0)).map_err(words)?;
        v4.set_broadcast(true).map_err(words)?;
        let v6 = UdpSocket::bind((PEER6, 0)).map_err(words)?;
        std::thread::spawn(move || {
            let mut word = [0];
            while nix::unistd::read(&ask, &mut word) == Ok(1) {
                for to in ["10.78.0.255", "255.255.255.255", "239.7.8.9", "239.7.8.10"] {
                    let _ = v4.send_to(to.as_bytes(), (to, PORT));
                }
                let to = "ff15::7:8:9";
                let _ = v6.send_to(to.as_bytes(), (to, PORT));
                let _ = v6.send_to(b"end", (A6, PORT));
                for to in [A, B, HOST] {
                    let _ = v4.send_to(b"end", (to, PORT));
                }
            }
        });
        Ok(())
    })?;
    Ok((sitter, asked))
}

/// A process in a context with sockets that it reads until "end" comes: what came to each, sorted, and for
/// IPv4 with the local address that the kernel names.
struct Listener {
    _sitter: Sitter,
    told: OwnedFd,
}

impl Listener {
    fn new(
        context: i32,
        addresses: &[&str],
        broadcast: [u8; 4],
        make: Make,
    ) -> Result<Self, String> {
        let (told, tell) = nix::unistd::pipe().map_err(words)?;
        let sitter = Sitter::new(CONTEXT_ROOT, 0, || {
            let list: Vec<Address> = addresses.iter().map(|text| address(text)).collect();
            let request = Addresses {
                broadcast,
                ..Addresses::default()
            };
            confine_to(&list, request).map_err(words)?;
            enter(context, 0, 0).map_err(words)?;
            let sockets = make()?;
            std::thread::spawn(move || {
                let heard: Vec<String> = sockets.iter().map(hear).collect();
                let _ = nix::unistd::write(&tell, heard.join("; ").as_bytes());
            });
            Ok(())
        })
        .map_err(|text| format!("context {context}: {text}"))?;
        Ok(Self {
            _sitter: sitter,
            told,
        })
    }

    fn heard(&self) -> Result<String, String> {
        let mut room = [0; 1024];
        let length = nix::unistd::read(&self.told, &mut room).map_err(words)?;
        Ok(String::from_utf8_lossy(&room[..length]).into_owned())
    }
}

/// All that comes to a socket in a round. "!" when the end did not come.
fn hear(socket: &UdpSocket) -> String {
    let mut heard = Vec::new();
    let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
    loop {
        match receive(socket) {
            Ok(text) if text.starts_with("end") => break,
            Ok(text) => heard.push(text),
            Err(_) => {
                heard.push("!".to_string());
                break;
            }
        }
    }
    heard.sort_unstable();
    heard.join(" ")
}

fn receive(socket: &UdpSocket) -> nix::Result<String> {
    let mut room = [0; 64];
    let mut space = nix::cmsg_space!(libc::in_pktinfo, libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(&mut room)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::empty(),
    )?;
    let mut local = String::new();
    for one in message.cmsgs()? {
        if let ControlMessageOwned::Ipv4PacketInfo(info) = one {
            let spec = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
            let dest = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            local = format!("@{spec}/{dest}");
        }
    }
    let length = message.bytes;
    Ok(String::from_utf8_lossy(&room[..length]).into_owned() + &local)
}

fn any() -> Result<UdpSocket, String> {
    UdpSocket::bind(("0.0.0.0", PORT)).map_err(words)
}

/// Two contexts have the broadcast address, a third has not.
pub fn broadcast() -> Outcome {
    let (_peer, ask) = speaker()?;
    let make: Make = || Ok(vec![any()?]);
    let all = "10.78.0.255 255.255.255.255";
    let dual: Make = || Ok(vec![UdpSocket::bind(("::", PORT)).map_err(words)?]);
    for (make, all) in [(make, all), (dual, all)] {
        let one = Listener::new(100, &[A, A6], BROADCAST, make)?;
        let two = Listener::new(101, &[B], BROADCAST, || Ok(vec![any()?]))?;
        let without = Listener::new(102, &[HOST], [0; 4], || Ok(vec![any()?]))?;
        nix::unistd::write(&ask, b"!").map_err(words)?;
        equal("one", one.heard()?.as_str(), all)?;
        equal("two", two.heard()?.as_str(), all)?;
        equal("without", without.heard()?.as_str(), "")?;
    }
    // Nothing is left in the way of who wants that address for himself.
    crate::fixture::until_empty()?;
    let own = UdpSocket::bind(("10.78.0.255", PORT)).map_err(words)?;
    // It is he who gets it then.
    let one = Listener::new(100, &[A], BROADCAST, || Ok(vec![any()?]))?;
    nix::unistd::write(&ask, b"!").map_err(words)?;
    equal("one", one.heard()?.as_str(), "255.255.255.255")?;
    let mut room = [0; 64];
    let length = own.recv(&mut room).map_err(words)?;
    equal("the host", &room[..length], b"10.78.0.255")
}

/// What is sent to a broadcast address from inside comes from the own address.
pub fn sends_broadcast() -> Outcome {
    let (told, tell) = nix::unistd::pipe().map_err(words)?;
    let _peer = peer(|| {
        let socket = any()?;
        std::thread::spawn(move || {
            let mut text = String::new();
            for _ in 0..2 {
                if let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
                    text.push_str(&format!("{} ", from.ip()));
                }
            }
            let _ = nix::unistd::write(&tell, text.as_bytes());
        });
        Ok(())
    })?;
    for addresses in [&[B][..], &["10.77.0.5", A]] {
        within(100, addresses, || {
            let socket = UdpSocket::bind("0.0.0.0:0").map_err(words)?;
            let to = ("10.78.0.255", PORT);
            let refused = socket.send_to(b"?", to).map_err(|error| error.kind());
            let denied = Err(std::io::ErrorKind::PermissionDenied);
            equal("without SO_BROADCAST", refused, denied)?;
            socket.set_broadcast(true).map_err(words)?;
            socket.send_to(b"?", to).map(drop).map_err(words)
        })?;
    }
    let mut room = [0; 64];
    let length = nix::unistd::read(&told, &mut room).map_err(words)?;
    let text = String::from_utf8_lossy(&room[..length]).into_owned();
    equal("the peer sees", text.as_str(), "10.78.0.6 10.78.0.5 ")
}

/// Groups that are joined before a socket is bound and after, with and without a device, and left.
pub fn groups() -> Outcome {
    let (_peer, ask) = speaker()?;
    let named: Make = || {
        let socket = any()?;
        set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &[1]).map_err(words)?;
        socket
            .join_multicast_v4(&GROUP, &A.parse().map_err(words)?)
            .map_err(words)?;
        // Left again: none of it comes.
        socket
            .join_multicast_v4(&OTHER, &Ipv4Addr::UNSPECIFIED)
            .map_err(words)?;
        socket
            .leave_multicast_v4(&OTHER, &Ipv4Addr::UNSPECIFIED)
            .map_err(words)?;
        Ok(vec![socket])
    };
    let open: Make = || {
        let socket = any()?;
        socket
            .join_multicast_v4(&OTHER, &Ipv4Addr::UNSPECIFIED)
            .map_err(words)?;
        Ok(vec![socket])
    };
    let shared: Make = || {
        // Two of one port, of which each has joined something else, and one of them before it was bound.
        let mut sockets = Vec::new();
        for index in 0..2 {
            let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
            let made = [libc::AF_INET6 as usize, kind as usize, 0, 0, 0, 0];
            let fd = own(syscall(libc::SYS_socket, made).map_err(words)? as i32);
            set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, &[1]).map_err(words)?;
            if index == 0 {
                join_v6(&fd).map_err(words)?;
            }
            let address = SockaddrStorage::from(std::net::SocketAddrV6::new(
                Ipv6Addr::UNSPECIFIED,
                PORT,
                0,
                0,
            ));
            nix::sys::socket::bind(fd.as_raw_fd(), &address).map_err(words)?;
            sockets.push(UdpSocket::from(fd));
        }
        sockets.swap(0, 1);
        Ok(sockets)
    };
    let one = Listener::new(100, &[A], [0; 4], named)?;
    let two = Listener::new(101, &["10.77.0.5", B], [0; 4], open)?;
    nix::unistd::write(&ask, b"!").map_err(words)?;
    let told = format!("239.7.8.9@{A}/239.7.8.9");
    equal("one", one.heard()?, told)?;
    equal("two", two.heard()?.as_str(), "239.7.8.10")?;
    drop((one, two));
    crate::fixture::until_empty()?;
    // The "end" comes to one of them only: the other one says so.
    let both = Listener::new(100, &[A6], [0; 4], shared)?;
    nix::unistd::write(&ask, b"!").map_err(words)?;
    let heard = both.heard()?;
    let halves: Vec<&str> = heard.split("; ").collect();
    let texts: Vec<String> = halves
        .iter()
        .map(|half| half.replace('!', "").trim().to_string())
        .collect();
    equal(
        &heard,
        texts,
        vec![String::new(), "ff15::7:8:9".to_string()],
    )
}

/// While a socket joins and leaves groups and is closed, another thread changes an option that the kernel notes in the same
/// word as the module's marks, without atomics; and the peer sends all the while. Nobody who was closed gets anything.
pub fn options_change() -> Outcome {
    const TIME: Duration = Duration::from_secs(3);
    const FEWEST: u32 = 20;
    let (_peer, ask) = speaker()?;
    let member: Make = || {
        let open = AtomicI32::new(-1);
        let done = AtomicBool::new(false);
        let device = A.parse().map_err(words)?;
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Relaxed) {
                    for on in [1, 0] {
                        let fd = open.load(Relaxed);
                        let _ = set_option(&fd, libc::SOL_SOCKET, libc::SO_BROADCAST, &[on]);
                    }
                }
            });
            let start = Instant::now();
            let mut outcome = Ok(());
            let mut rounds = 0;
            // However slow the machine is: the test has a limit of its own.
            while outcome.is_ok() && (rounds < FEWEST || start.elapsed() < TIME) {
                // The other thread still has the one before for a moment.
                let Ok(socket) = any() else { continue };
                outcome = (|| {
                    open.store(socket.as_raw_fd(), Relaxed);
                    for _ in 0..10 {
                        socket.join_multicast_v4(&GROUP, &device).map_err(words)?;
                        socket.leave_multicast_v4(&GROUP, &device).map_err(words)?;
                    }
                    rounds += 1;
                    socket.join_multicast_v4(&GROUP, &device).map_err(words)
                })();
                open.store(-1, Relaxed);
            }
            done.store(true, Relaxed);
            outcome
        })?;
        Ok(Vec::new())
    };
    let speaks = AtomicBool::new(true);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while speaks.load(Relaxed) {
                // On a slow machine rounds would pile up, and go on for long.
                let mut waiting = 0i32;
                let address = (&raw mut waiting) as usize;
                let counted = ioctl_address(&ask, libc::FIONREAD as u32, address);
                if counted.is_ok() && waiting == 0 {
                    let _ = nix::unistd::write(&ask, b"!");
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let listener = Listener::new(100, &[A], [0; 4], member);
        speaks.store(false, Relaxed);
        listener.map(drop)
    })?;
    // Another one is as if there had been none. It may come in the middle of a round that was asked for before.
    let plain: Make = || {
        let socket = any()?;
        let device = A.parse().map_err(words)?;
        socket.join_multicast_v4(&GROUP, &device).map_err(words)?;
        Ok(vec![socket])
    };
    for _ in 0..20 {
        let listener = Listener::new(100, &[A], [0; 4], plain)?;
        nix::unistd::write(&ask, b"!").map_err(words)?;
        if listener.heard()?.contains("239.7.8.9") {
            return Ok(());
        }
    }
    Err("nothing comes to a member any more".to_string())
}

fn join_v6(socket: &impl AsRawFd) -> Result<(), Errno> {
    join_v6_at(socket, 0)
}

fn join_v6_at(socket: &impl AsRawFd, device: i32) -> Result<(), Errno> {
    let mut request = [0; 5];
    for (word, bytes) in request.iter_mut().zip(GROUP6.octets().chunks_exact(4)) {
        *word = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    request[4] = device;
    set_option(
        socket,
        libc::IPPROTO_IPV6,
        libc::IPV6_ADD_MEMBERSHIP,
        &request,
    )
}

/// A device on which the context has no address is none to join a group at, or to send by.
pub fn foreign_devices() -> Outcome {
    let _ = ip("link del vsgroup");
    ip("link add vsgroup type dummy")?;
    ip("link set vsgroup up")?;
    ip("address add 10.79.0.1/24 dev vsgroup")?;
    ip("address add 10.79.0.5/24 dev vsgroup")?;
    let _ = ip("link del vsours");
    ip("link add vsours type dummy")?;
    ip("link set vsours up")?;
    ip("address add 10.80.0.5/24 dev vsours")?;
    std::fs::write("/proc/sys/net/ipv6/conf/vsours/accept_dad", "0").map_err(words)?;
    ip("address add fd80::5/64 dev vsours")?;
    let index = |name: &str| nix::net::if_::if_nametoindex(name).map(|index| index as i32);
    let (foreign, ours) = (
        index("vsgroup").map_err(words)?,
        index("vsours").map_err(words)?,
    );
    let outcome = within(100, &["10.80.0.5", "fd80::5"], || {
        let socket = any()?;
        let group = i32::from_ne_bytes(GROUP.octets());
        let at = |address: [u8; 4], index: i32| [group, i32::from_ne_bytes(address), index];
        let add = |request: &[i32]| {
            set_option(&socket, libc::IPPROTO_IP, libc::IP_ADD_MEMBERSHIP, request)
        };
        let refused = Err(Errno::ENODEV);
        equal("by index", add(&at([0; 4], foreign)), refused)?;
        equal("by address", add(&at([10, 79, 0, 1], 0)), refused)?;
        equal(
            "by address, short",
            add(&at([10, 79, 0, 5], 0)[..2]),
            refused,
        )?;
        equal("too short", add(&[group]), Err(Errno::EINVAL))?;
        equal("own", add(&at([10, 80, 0, 5], 0)), Ok(()))?;
        equal("own again", add(&at([0; 4], ours)), Err(Errno::EADDRINUSE))?;
        equal("again, open", add(&at([0; 4], 0)), Err(Errno::EADDRINUSE))?;
        equal(
            "and once more",
            add(&at([0; 4], 0)[..2]),
            Err(Errno::EADDRINUSE),
        )?;
        let six = UdpSocket::bind(("::", 0)).map_err(words)?;
        equal("IPv6", join_v6_at(&six, foreign), refused)?;
        equal("IPv6, open", join_v6(&six), Ok(()))?;
        equal(
            "IPv6, again",
            join_v6_at(&six, ours),
            Err(Errno::EADDRINUSE),
        )?;
        // group_req: an index, and a socket address eight bytes on.
        let mut request = [0; 34];
        request[0] = foreign;
        request[2] = libc::AF_INET;
        request[3] = group;
        let join = |request: &[i32]| set_option(&socket, libc::IPPROTO_IP, 42, request);
        equal("MCAST_JOIN_GROUP", join(&request), refused)?;
        request[0] = 0;
        equal("the same, open", join(&request), Err(Errno::EADDRINUSE))?;
        let send_by = |level, name, value| set_option(&six, level, name, &[value]);
        let (v4, v6) = (libc::IPPROTO_IP, libc::IPPROTO_IPV6);
        equal(
            "IPV6_MULTICAST_IF",
            send_by(v6, libc::IPV6_MULTICAST_IF, foreign),
            refused,
        )?;
        equal(
            "IPV6_MULTICAST_IF, own",
            send_by(v6, libc::IPV6_MULTICAST_IF, ours),
            Ok(()),
        )?;
        equal("IPV6_UNICAST_IF", send_by(v6, 76, foreign.to_be()), refused)?;
        equal(
            "IP_UNICAST_IF",
            set_option(&socket, v4, 50, &[foreign.to_be()]),
            refused,
        )?;
        let by = |index| set_option(&socket, v4, libc::IP_MULTICAST_IF, &[0, 0, index]);
        equal("IP_MULTICAST_IF", by(foreign), refused)?;
        equal("IP_MULTICAST_IF, own", by(ours), Ok(()))?;
        let mut anycast = [0; 5];
        anycast[4] = ours;
        let joined = set_option(&six, v6, 27, &anycast);
        equal("IPV6_JOIN_ANYCAST", joined, Err(Errno::EPERM))
    });
    ip("link del vsgroup")?;
    ip("link del vsours")?;
    outcome
}
