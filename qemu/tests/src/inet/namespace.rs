// SPDX-License-Identifier: GPL-2.0

//! Network namespaces that are made inside: what is in there is their business, and the host's network is
//! reached from there no better than from inside.

use super::*;
use crate::test;
use nix::sched::{setns, unshare, CloneFlags};
use std::{fs::File, os::unix::net::UnixDatagram};

pub const MADE_INSIDE: Test = test("inet::network_namespace", 60, made_inside);

fn bound(address: SocketAddr) -> Result<(), Option<i32>> {
    TcpListener::bind(address)
        .map(drop)
        .map_err(|error| error.raw_os_error())
}

fn made_inside() -> Outcome {
    addresses()?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || greeter("host", at(HOST, 8140)))?;
    for more in [CloneFlags::empty(), CloneFlags::CLONE_NEWUSER] {
        within(100, &[A], || {
            let outside = File::open("/proc/self/ns/net").map_err(words)?;
            // Made before: it stays where it was, and confined.
            let flags = SockFlag::SOCK_CLOEXEC;
            let before =
                socket(AddressFamily::Inet, SockType::Stream, flags, None).map_err(words)?;
            unshare(CloneFlags::CLONE_NEWNET | more).map_err(words)?;
            if !more.is_empty() {
                // Root there, or it would not be when it executes something.
                std::fs::write("/proc/self/uid_map", "0 0 1").map_err(words)?;
            }
            let foreign = SockaddrStorage::from(at(HOST, 8141));
            equal(
                "one from before",
                bind(before.as_raw_fd(), &foreign),
                Err(Errno::EADDRNOTAVAIL),
            )?;
            // Before that the kernel has no table of its own addresses.
            let up = Command::new("/bin/ip")
                .args(["link", "set", "lo", "up"])
                .status();
            equal("lo", up.map(|status| status.success()).ok(), Some(true))?;
            // Nothing of the host's is there: no address, no service.
            for address in [HOST, A] {
                equal(
                    address,
                    bound(at(address, 8141)),
                    Err(Some(libc::EADDRNOTAVAIL)),
                )?;
                let got = TcpStream::connect(at(address, 8140)).map(drop);
                let got = got.map_err(|error| error.raw_os_error());
                equal(address, got, Err(Some(libc::ENETUNREACH)))?;
            }
            // It is as free in there as whoever made it.
            let address = at("127.0.0.1", 8141);
            let listener = TcpListener::bind(address).map_err(words)?;
            let at_lo = listener.local_addr().map_err(words)?;
            equal("its loopback", at_lo, address)?;
            TcpStream::connect(address).map_err(words)?;
            equal("any", bound(at("0.0.0.0", 8142)), Ok(()))?;
            let (one, _other) = UnixDatagram::pair().map_err(words)?;
            one.send(b"?").map_err(words)?;
            // And back.
            if more.is_empty() {
                setns(&outside, CloneFlags::CLONE_NEWNET).map_err(words)?;
                equal(
                    "back",
                    bound(at(HOST, 8141)),
                    Err(Some(libc::EADDRNOTAVAIL)),
                )?;
                let seen = greeted_by(at(HOST, 8140))?;
                equal("seen as", seen, format!("host {HOST} {A}"))?;
            } else {
                let got = setns(&outside, CloneFlags::CLONE_NEWNET);
                equal("no way back", got, Err(Errno::EPERM))?;
            }
            Ok("")
        })
        .map_err(|text| format!("with {more:?}: {text}"))?;
    }
    Ok(())
}
