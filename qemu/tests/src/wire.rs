// SPDX-License-Identifier: GPL-2.0

//! What a peer sees on the wire: a network namespace with a pair of devices to the host. Source
//! addresses are what is in the packets, not what the sender believes.

use crate::{
    fixture::{child, confine, ensure, enter, equal, words, Outcome, Sitter},
    syscalls::{own, syscall},
    test, Test,
};
use nix::sched::{unshare, CloneFlags};
use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd, OwnedFd},
    process::Command,
    time::Duration,
};
use vserver_uapi::*;

mod calls;
mod groups;

pub const TESTS: &[Test] = &[
    test("wire::sources", 60, sources),
    test("wire::servers", 60, servers),
    test("wire::broadcast", 60, groups::broadcast),
    test("wire::sends_broadcast", 60, groups::sends_broadcast),
    test("wire::groups", 60, groups::groups),
    test(
        "wire::groups_at_foreign_devices",
        60,
        groups::foreign_devices,
    ),
    test(
        "wire::groups_while_options_change",
        120,
        groups::options_change,
    ),
    test("wire::disconnected_meanwhile", 120, disconnected_meanwhile),
    test("wire::random_calls", 300, random_calls),
];

/// What the kernel runs when it lacks a module.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";

const HOST: &str = "10.78.0.1";
const A: &str = "10.78.0.5";
const B: &str = "10.78.0.6";
const PEER: &str = "10.78.0.100";
const A6: &str = "fd78::5";
const PEER6: &str = "fd78::100";

fn ip(line: &str) -> Outcome {
    let output = Command::new("/bin/ip")
        .args(line.split(' '))
        .output()
        .map_err(words)?;
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(&format!("ip {line}: {complaint}"), output.status.success())
}

/// The peer, which does something and then sits in its network namespace.
fn peer(prepare: impl FnOnce() -> Outcome) -> Result<Sitter, String> {
    let (ready, go) = nix::unistd::pipe().map_err(words)?;
    let (there, come) = nix::unistd::pipe().map_err(words)?;
    let host = match crate::syscalls::fork().map_err(words)? {
        0 => {
            // Gives the host's end its addresses, and the other end to the peer.
            let outcome = (|| {
                let mut pid = [0u8; 4];
                nix::unistd::read(&there, &mut pid).map_err(words)?;
                let _ = ip("link del vswire");
                ip("link add vswire type veth")?;
                let link = std::fs::read_to_string("/sys/class/net/vswire/iflink");
                let index = link.map_err(words)?.trim().parse().map_err(words)?;
                let other = nix::net::if_::if_indextoname(index).map_err(words)?;
                let other = other.to_string_lossy().into_owned();
                ip(&format!(
                    "link set {other} netns {}",
                    i32::from_ne_bytes(pid)
                ))?;
                for address in ["10.78.0.1/24", "10.78.0.5/24", "10.78.0.6/24"] {
                    ip(&format!("address add {address} dev vswire"))?;
                }
                std::fs::write("/proc/sys/net/ipv6/conf/vswire/accept_dad", "0").map_err(words)?;
                ip("link set vswire up")?;
                for address in ["fd78::1/64", "fd78::5/64"] {
                    ip(&format!("address add {address} dev vswire"))?;
                }
                nix::unistd::write(&go, other.as_bytes())
                    .map(drop)
                    .map_err(words)?;
                until_usable("fd78::5")
            })();
            if let Err(error) = &outcome {
                eprintln!("{error}");
            }
            crate::syscalls::exit_now(i32::from(outcome.is_err()))
        }
        pid => nix::unistd::Pid::from_raw(pid),
    };
    drop(go);
    let sitter = Sitter::new(CONTEXT_ROOT, 0, || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(words)?;
        let pid = nix::unistd::getpid().as_raw();
        nix::unistd::write(&come, &pid.to_ne_bytes()).map_err(words)?;
        let mut room = [0; 32];
        let length = nix::unistd::read(&ready, &mut room).map_err(words)?;
        let device = String::from_utf8_lossy(&room[..length]).into_owned();
        ensure("the host's end is there", !device.is_empty())?;
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{device}/accept_dad"), "0")
            .map_err(words)?;
        ip("link set lo up")?;
        ip(&format!("address add 10.78.0.100/24 dev {device}"))?;
        ip(&format!("link set {device} up"))?;
        ip(&format!("address add fd78::100/64 dev {device}"))?;
        until_usable(PEER6)?;
        prepare()
    });
    nix::sys::wait::waitpid(host, None).map_err(words)?;
    sitter
}

/// An IPv6 address is not there for programs before the kernel has noticed that both ends are up.
fn until_usable(address: &str) -> Outcome {
    for _ in 0..1000 {
        if UdpSocket::bind((address, 0)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(format!("{address} does not come up"))
}

fn within(context: i32, addresses: &[&str], run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        confine(addresses).map_err(words)?;
        if context != CONTEXT_ROOT {
            enter(context, 0, 0).map_err(words)?;
        }
        run().map(|()| String::new())
    })
    .map(drop)
    .map_err(|text| format!("in context {context} with {addresses:?}: {text}"))
}

/// Tells everybody who comes from where he comes.
fn mirror(address: &'static str) -> Outcome {
    let listener = TcpListener::bind((address, 7001)).map_err(words)?;
    let socket = UdpSocket::bind((address, 7001)).map_err(words)?;
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let from = stream.peer_addr().map(|from| from.ip().to_string());
            let _ = write!(stream, "{}", from.unwrap_or_default());
        }
    });
    std::thread::spawn(move || {
        let mut room = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut room) {
            let _ = socket.send_to(from.ip().to_string().as_bytes(), from);
        }
    });
    Ok(())
}

/// From where the peer says that one comes: by TCP, and by UDP with and without a connection.
fn seen_by(peer: &str) -> Result<[String; 3], String> {
    let mut tcp = String::new();
    let address = std::net::SocketAddr::new(peer.parse().map_err(words)?, 7001);
    TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .and_then(|mut stream| stream.read_to_string(&mut tcp))
        .map_err(words)?;
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let mut udp = [String::new(), String::new()];
    for (connect, text) in [true, false].into_iter().zip(&mut udp) {
        let socket = UdpSocket::bind(any).map_err(words)?;
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .map_err(words)?;
        let mut room = [0; 64];
        let length = if connect {
            socket.connect(address).map_err(words)?;
            socket.send(b"?").map_err(words)?;
            socket.recv(&mut room).map_err(words)?
        } else {
            socket.send_to(b"?", address).map_err(words)?;
            let (length, from) = socket.recv_from(&mut room).map_err(words)?;
            equal("answered by", from, address)?;
            length
        };
        *text = String::from_utf8_lossy(&room[..length]).into_owned();
    }
    let [one, other] = udp;
    Ok([tcp, one, other])
}

fn sources() -> Outcome {
    let (told, tell) = nix::unistd::pipe().map_err(words)?;
    let _peer = peer(|| {
        mirror(PEER)?;
        let socket = UdpSocket::bind((PEER, 7006)).map_err(words)?;
        std::thread::spawn(move || {
            let mut text = String::new();
            for _ in 0..4 {
                if let Ok((_, from)) = socket.recv_from(&mut [0; 16]) {
                    text.push_str(&format!("{} ", from.ip()));
                }
            }
            let _ = nix::unistd::write(&tell, text.as_bytes());
        });
        mirror(PEER6)
    })?;
    let all = |ip: &str| [ip.to_string(), ip.to_string(), ip.to_string()];
    equal("the host", seen_by(PEER), Ok(all(HOST)))?;
    for context in [CONTEXT_ROOT, 100] {
        within(context, &[A, A6], || {
            equal("one address", seen_by(PEER), Ok(all(A)))?;
            equal("IPv6", seen_by(PEER6), Ok(all(A6)))
        })?;
        // Of several the one of the network that leads there.
        within(context, &["10.77.0.5", B], || {
            equal("several addresses", seen_by(PEER), Ok(all(B)))
        })?;
        // Bound to a group, which is no source.
        within(context, &[A], || {
            for connect in [true, false] {
                let socket = UdpSocket::bind("224.0.0.251:7005").map_err(words)?;
                let peer = (PEER, 7006);
                if connect {
                    socket.connect(peer).map_err(words)?;
                    socket.send(b"group").map_err(words)?;
                } else {
                    socket.send_to(b"group", peer).map_err(words)?;
                }
            }
            Ok(())
        })?;
    }
    let mut room = [0; 256];
    let length = nix::unistd::read(&told, &mut room).map_err(words)?;
    let text = String::from_utf8_lossy(&room[..length]).into_owned();
    equal(
        "bound to a group",
        text.as_str(),
        "10.78.0.5 10.78.0.5 10.78.0.5 10.78.0.5 ",
    )?;
    Ok(())
}

/// Servers on "any" of two contexts, asked by the peer.
fn servers() -> Outcome {
    let (ask, asked) = nix::unistd::pipe().map_err(words)?;
    let (told, tell) = nix::unistd::pipe().map_err(words)?;
    let _peer = peer(|| {
        std::thread::spawn(move || {
            let mut word = [0];
            while nix::unistd::read(&ask, &mut word) == Ok(1) {
                let text: Vec<String> = [A, B, HOST]
                    .iter()
                    .map(|ip| {
                        let tcp = probe_tcp(ip).unwrap_or_else(|error| error);
                        let udp = probe_udp(ip).unwrap_or_else(|error| error);
                        format!("{ip} tcp {tcp} udp {udp}")
                    })
                    .collect();
                let _ = nix::unistd::write(&tell, text.join("\n").as_bytes());
            }
        });
        Ok(())
    })?;
    let server = |context: i32, address: &'static str, name: &'static str| {
        Sitter::new(CONTEXT_ROOT, 0, move || {
            confine(&[address]).map_err(words)?;
            enter(context, 0, 0).map_err(words)?;
            let listener = TcpListener::bind("0.0.0.0:7002").map_err(words)?;
            let socket = UdpSocket::bind("0.0.0.0:7002").map_err(words)?;
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let mut stream = stream;
                    let _ = write!(stream, "{name}");
                }
            });
            std::thread::spawn(move || {
                let mut room = [0; 64];
                while let Ok((_, from)) = socket.recv_from(&mut room) {
                    let _ = socket.send_to(name.as_bytes(), from);
                }
            });
            Ok(())
        })
    };
    let _one = server(100, A, "one")?;
    let _two = server(101, B, "two")?;
    nix::unistd::write(&asked, b"!").map_err(words)?;
    let mut room = [0; 1024];
    let length = nix::unistd::read(&told, &mut room).map_err(words)?;
    let text = String::from_utf8_lossy(&room[..length]).into_owned();
    equal(
        "what the peer got",
        text.as_str(),
        "10.78.0.5 tcp one udp one\n10.78.0.6 tcp two udp two\n10.78.0.1 tcp refused udp refused",
    )
}

fn refused(error: std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "refused".to_string(),
        _ => error.to_string(),
    }
}

fn probe_tcp(ip: &str) -> Result<String, String> {
    let address = std::net::SocketAddr::new(ip.parse().map_err(words)?, 7002);
    let mut text = String::new();
    TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .and_then(|mut stream| stream.read_to_string(&mut text))
        .map_err(refused)?;
    Ok(text)
}

/// By a socket with a peer: it hears nobody but who was asked.
fn probe_udp(ip: &str) -> Result<String, String> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(words)?;
    let mut room = [0; 64];
    let length = socket
        .set_read_timeout(Some(Duration::from_secs(5)))
        .and_then(|()| socket.connect((ip, 7002)))
        .and_then(|()| socket.send(b"?"))
        .and_then(|_| socket.recv(&mut room))
        .map_err(refused)?;
    Ok(String::from_utf8_lossy(&room[..length]).into_owned())
}

/// What `run` sends to the peer, something from the first address at least, comes from these addresses only.
fn comes_from(addresses: &[&str], run: impl FnOnce() -> Outcome) -> Outcome {
    let (told, tell) = nix::unistd::pipe().map_err(words)?;
    let peer = peer(|| {
        let packets = packets()?;
        std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            let mut room = vec![0u8; 65536];
            while let Ok(length) = nix::unistd::read(&packets, &mut room) {
                let source = source_of(&room[..length]);
                if let Some(source) = source.filter(|source| seen.insert(source.clone())) {
                    let packet = &room[14..length.min(80)];
                    let line = format!("{source} {packet:02x?}\n");
                    let _ = nix::unistd::write(&tell, line.as_bytes());
                }
            }
        });
        mirror(PEER)
    })?;
    run()?;
    std::thread::sleep(Duration::from_millis(500));
    drop(peer);
    let mut room = [0; 4096];
    let length = nix::unistd::read(&told, &mut room).map_err(words)?;
    let text = String::from_utf8_lossy(&room[..length]).into_owned();
    let packets: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    let seen = packets.iter().any(|(source, _)| *source == addresses[0]);
    ensure("the peer saw the context", seen)?;
    let foreign: Vec<_> = packets
        .iter()
        .filter(|(source, _)| !addresses.contains(source))
        .collect();
    ensure(
        &format!("foreign sources: {foreign:#?}"),
        foreign.is_empty(),
    )?;
    until_silent()
}

/// Random socket calls from inside: nothing reaches the peer that does not come from the context's
/// addresses. (That the kernel has nothing to complain of is the harness's business.)
fn random_calls() -> Outcome {
    const CALLS: u64 = 200_000;
    comes_from(&[A, A6], || {
        calls::load_protocols();
        // Of what is not there now, no call asks modprobe again, which would take longer than all of them.
        let modprobe = fs::read(MODPROBE).map_err(words)?;
        fs::write(MODPROBE, "\n").map_err(words)?;
        let called = within(100, &[A, A6], || {
            // Something goes out in any case, so that silence is no success.
            seen_by(PEER)?;
            calls::run(CALLS)
        });
        fs::write(MODPROBE, modprobe).map_err(words)?;
        called
    })
}

/// struct sockaddr_in.
fn sockaddr(family: i32, ip: &str, port: u16) -> Result<[u8; 16], String> {
    let ip: std::net::Ipv4Addr = ip.parse().map_err(words)?;
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes[4..8].copy_from_slice(&ip.octets());
    Ok(bytes)
}

/// connect(2), whatever comes of it.
fn try_connect(fd: i32, to: &[u8; 16]) {
    let arguments = [fd as usize, to.as_ptr() as usize, to.len(), 0, 0, 0];
    let _ = syscall(libc::SYS_connect, arguments);
}

/// One thread takes the peer, and the address, from the sockets of another one all the time: what that sends comes from an
/// address of the network nevertheless.
fn disconnected_meanwhile() -> Outcome {
    const TIME: Duration = Duration::from_secs(3);
    let kinds = [
        (libc::SOCK_DGRAM, false),
        (libc::SOCK_DGRAM, true),
        (libc::SOCK_STREAM | libc::SOCK_NONBLOCK, false),
    ];
    comes_from(&[A, B], || {
        within(100, &[A, B], || {
            seen_by(PEER)?;
            let none = sockaddr(libc::AF_UNSPEC, "0.0.0.0", 0)?;
            let any = sockaddr(libc::AF_INET, "0.0.0.0", 0)?;
            let to = sockaddr(libc::AF_INET, PEER, 7001)?;
            for (kind, is_bound) in kinds {
                let open = std::sync::atomic::AtomicI32::new(-1);
                let start = std::time::Instant::now();
                std::thread::scope(|threads| {
                    let disconnecting = threads.spawn(|| {
                        while start.elapsed() < TIME {
                            try_connect(open.load(std::sync::atomic::Ordering::Relaxed), &none);
                        }
                    });
                    while start.elapsed() < TIME {
                        let arguments = [libc::AF_INET as usize, kind as usize, 0, 0, 0, 0];
                        let socket =
                            own(syscall(libc::SYS_socket, arguments).map_err(words)? as i32);
                        let fd = socket.as_raw_fd();
                        if is_bound {
                            let arguments = [fd as usize, any.as_ptr() as usize, 16, 0, 0, 0];
                            syscall(libc::SYS_bind, arguments).map_err(words)?;
                        }
                        open.store(fd, std::sync::atomic::Ordering::Relaxed);
                        for _ in 0..20 {
                            try_connect(fd, &to);
                            for name in [0, to.as_ptr() as usize] {
                                let length = if name == 0 { 0 } else { 16 };
                                let text = b"!".as_ptr() as usize;
                                let flags = libc::MSG_NOSIGNAL as usize;
                                let arguments = [fd as usize, text, 1, flags, name, length];
                                let _ = syscall(libc::SYS_sendto, arguments);
                            }
                        }
                    }
                    disconnecting.join().map_err(|_| "a thread has failed")?;
                    Ok::<(), String>(())
                })?;
            }
            Ok(())
        })
    })
}

/// Nothing of the calls is left.
fn until_silent() -> Outcome {
    crate::fixture::until_empty()
}

/// A packet socket for all that comes in.
fn packets() -> Result<OwnedFd, String> {
    // ETH_P_ALL, in network byte order.
    let arguments = [
        libc::AF_PACKET as usize,
        libc::SOCK_RAW as usize,
        0x300,
        0,
        0,
        0,
    ];
    let fd = syscall(libc::SYS_socket, arguments).map_err(words)?;
    let fd = own(fd as i32);
    ensure("a descriptor", fd.as_raw_fd() >= 0)?;
    Ok(fd)
}

/// The source of an IP packet that came from the host and is some process's doing: groups are joined
/// and neighbours looked for by the host itself, in its own name.
fn source_of(frame: &[u8]) -> Option<String> {
    const IGMP: u8 = 2;
    const ICMPV6: u8 = 58;
    match frame.get(12..14)? {
        [8, 0] => {
            let ip = frame.get(14..34)?;
            let source = std::net::Ipv4Addr::new(ip[12], ip[13], ip[14], ip[15]);
            let own = source.to_string() == PEER;
            (ip[9] != IGMP && !own).then(|| source.to_string())
        }
        [0x86, 0xdd] => {
            let ip = frame.get(14..54)?;
            let bytes: [u8; 16] = ip[8..24].try_into().ok()?;
            let source = std::net::Ipv6Addr::from(bytes);
            // Behind hop-by-hop options there are reports of groups only.
            let kernel = ip[6] == ICMPV6 || ip[6] == 0;
            let own = source.to_string() == PEER6 || source.segments()[0] == 0xfe80 && kernel;
            (!kernel && !own).then(|| source.to_string())
        }
        _ => None,
    }
}
