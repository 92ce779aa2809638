// SPDX-License-Identifier: GPL-2.0

//! Several threads with one socket, each of which does something else to it.

use super::*;
use crate::{fixture::ensure, syscalls, test};
use nix::sys::socket::{connect, listen, Backlog};
use std::{
    net::Ipv4Addr,
    sync::{
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed},
        PoisonError, RwLock,
    },
    time::Instant,
};

pub const LISTENERS: Test = test("inet::listeners_that_are_disconnected", 120, listeners);
pub const DATAGRAMS: Test = test("inet::races_of_a_datagram_socket", 120, datagrams);

const FEWEST: usize = 20;

/// Disconnects a socket.
fn disconnect(fd: i32) {
    let nobody = [0u8; 16];
    let arguments = [fd as usize, nobody.as_ptr() as usize, 16, 0, 0, 0];
    let _ = syscalls::syscall(libc::SYS_connect, arguments);
}

/// Many sockets that one thread connects, one disconnects, and one listens at.
fn listen_meanwhile() -> Result<Vec<OwnedFd>, String> {
    const TIME: Duration = Duration::from_secs(3);
    let (open, done) = (AtomicI32::new(-1), AtomicBool::new(false));
    let tries = AtomicU32::new(0);
    let to = SockaddrStorage::from(at(A, 8597));
    let mut listeners = Vec::new();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Relaxed) {
                let _ = connect(open.load(Relaxed), &to);
                tries.fetch_add(1, Relaxed);
            }
        });
        threads.spawn(|| {
            while !done.load(Relaxed) {
                disconnect(open.load(Relaxed));
            }
        });
        let start = Instant::now();
        // However slow the machine is: the test has a limit of its own.
        while listeners.len() < FEWEST || start.elapsed() < TIME && listeners.len() < 900 {
            let kind = SockFlag::SOCK_NONBLOCK;
            let Ok(fd) = socket(AddressFamily::Inet, SockType::Stream, kind, None) else {
                break;
            };
            open.store(fd.as_raw_fd(), Relaxed);
            // Until it has been connected some times, once more for each.
            let before = tries.load(Relaxed);
            let some = listeners.len() as u32 % 8;
            while tries.load(Relaxed).wrapping_sub(before) < some {
                std::hint::spin_loop();
            }
            let listens = (0..200).any(|_| listen(&fd, Backlog::MAXCONN).is_ok());
            open.store(-1, Relaxed);
            if listens {
                listeners.push(fd);
            }
        }
        done.store(true, Relaxed);
    });
    Ok(listeners)
}

/// None of them listens at the host's addresses.
fn listeners() -> Outcome {
    addresses()?;
    within(100, &[A], || {
        let listeners = listen_meanwhile()?;
        ensure("sockets listen", listeners.len() >= FEWEST)?;
        for listener in listeners {
            let listener = TcpListener::from(listener);
            let port = listener.local_addr().map_err(words)?.port();
            let got = connect_error(at(HOST, port));
            equal("at an address of the host", got, Err(Errno::ECONNREFUSED))?;
        }
        Ok("")
    })
}

/// A socket of datagrams that one thread binds to "any" is bound so afterwards, whatever others have done to it meanwhile.
fn check_bound(socket: &UdpSocket, port: u16) -> Outcome {
    disconnect(socket.as_raw_fd());
    let name = socket.local_addr().map_err(words)?;
    equal("its name", name, at("0.0.0.0", port))?;
    let second = errno(UdpSocket::bind(at("0.0.0.0", port)).map(drop));
    equal("a second one", second, Err(Errno::EADDRINUSE))?;
    while socket.recv(&mut [0; 8]).is_ok() {}
    let sender = UdpSocket::bind(at(A, 0)).map_err(words)?;
    sender.send_to(b"here", at(A, port)).map_err(words)?;
    let mut room = [0; 8];
    let length = socket.recv(&mut room).map_err(words)?;
    equal("what it receives", &room[..length], b"here")?;
    // Nobody is at the host's address.
    sender.connect(at(HOST, port)).map_err(words)?;
    let _ = sender.send(b"there");
    let answer = errno(sender.send(b"there").map(drop));
    equal("at the host's", answer, Err(Errno::ECONNREFUSED))
}

/// Connected, disconnected, given groups, and bound at the same time.
fn datagrams() -> Outcome {
    const TIME: Duration = Duration::from_secs(4);
    const PORT: u16 = 8598;
    addresses()?;
    within(100, &[A, B], || {
        let done = AtomicBool::new(false);
        // The descriptor. Who does something to it holds the lock to read.
        let open = RwLock::new(-1);
        let group = Ipv4Addr::new(239, 7, 8, 9);
        let (to, own) = (
            SockaddrStorage::from(at(B, 8597)),
            A.parse().map_err(words)?,
        );
        let request = [group, own].map(|ip: Ipv4Addr| i32::from_ne_bytes(ip.octets()));
        let act = |work: &dyn Fn(i32)| {
            while !done.load(Relaxed) {
                let open = open.read().unwrap_or_else(PoisonError::into_inner);
                if *open >= 0 {
                    work(*open);
                }
                drop(open);
                std::thread::yield_now();
            }
        };
        let count = std::thread::scope(|threads| {
            threads.spawn(|| {
                act(&|fd| {
                    let _ = connect(fd, &to);
                })
            });
            threads.spawn(|| act(&disconnect));
            threads.spawn(|| act(&disconnect));
            threads.spawn(|| {
                act(&|fd| {
                    for name in [libc::IP_ADD_MEMBERSHIP, libc::IP_DROP_MEMBERSHIP] {
                        let _ = syscalls::set_option(&fd, libc::IPPROTO_IP, name, &request);
                    }
                })
            });
            let start = Instant::now();
            let outcome: Result<usize, String> = (|| {
                let mut count = 0;
                // However slow the machine is: the test has a limit of its own.
                while count < FEWEST || start.elapsed() < TIME {
                    let kind = SockFlag::SOCK_NONBLOCK;
                    let fd = socket(AddressFamily::Inet, SockType::Datagram, kind, None)
                        .map_err(words)?;
                    let set = |fd| *open.write().unwrap_or_else(PoisonError::into_inner) = fd;
                    set(fd.as_raw_fd());
                    for _ in 0..count % 4 {
                        std::thread::yield_now();
                    }
                    let place = SockaddrStorage::from(at("0.0.0.0", PORT));
                    let bound = bind(fd.as_raw_fd(), &place);
                    for _ in 0..4 {
                        std::thread::yield_now();
                    }
                    set(-1);
                    // One that is connected has a port already.
                    if bound.is_ok() {
                        check_bound(&UdpSocket::from(fd), PORT)
                            .map_err(|text| format!("round {count}: {text}"))?;
                        count += 1;
                    }
                }
                Ok(count)
            })();
            done.store(true, Relaxed);
            outcome
        })?;
        Ok(format!("{count} sockets"))
    })
}
