// SPDX-License-Identifier: GPL-2.0

//! Several threads with one socket, each of which does something else to it.

use super::*;
use crate::{fixture::ensure, syscalls, test};
use nix::sys::socket::{connect, listen, Backlog};
use std::{
    sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::Relaxed},
    time::Instant,
};

pub const LISTENERS: Test = test("inet::listeners_that_are_disconnected", 120, listeners);

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
            let nobody = [0u8; 16];
            while !done.load(Relaxed) {
                let fd = open.load(Relaxed) as usize;
                let arguments = [fd, nobody.as_ptr() as usize, 16, 0, 0, 0];
                let _ = syscalls::syscall(libc::SYS_connect, arguments);
            }
        });
        let start = Instant::now();
        while start.elapsed() < TIME && listeners.len() < 900 {
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
        ensure("some sockets listen", listeners.len() > 10)?;
        for listener in listeners {
            let listener = TcpListener::from(listener);
            let port = listener.local_addr().map_err(words)?.port();
            let got = connect_error(at(HOST, port));
            equal("at an address of the host", got, Err(Errno::ECONNREFUSED))?;
        }
        Ok("")
    })
}
