// SPDX-License-Identifier: GPL-2.0

//! Loading and unloading for long, under load, with contexts in between (`make test-long PART=load`).

use crate::{
    fixture::{confine, enter, equal, words, Outcome, Sitter},
    inet::{addresses, A, A6, B},
    module, syscalls, test, Test,
};
use nix::{fcntl::OFlag, libc, pty::posix_openpt};
use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
};
use vserver_uapi::{CONTEXT_NEW, CONTEXT_ROOT};

pub const TESTS: &[Test] = &[test("load::cycles", 700, cycles)];

const CYCLES: usize = 150;

/// The addresses of the contexts that live in each cycle, side by side; the last is not confined.
const CONTEXTS: [&[&str]; 4] = [&[A], &[A, B], &[A6], &[]];

fn cycles() -> Outcome {
    addresses()?;
    let at_work = module::at_work()?;
    for cycle in 0..CYCLES {
        contexts().map_err(|text| format!("cycle {cycle}: {text}"))?;
        module::reload().map_err(|text| format!("cycle {cycle}: {text}"))?;
    }
    drop(at_work);
    Ok(())
}

/// Some contexts that use what has hooks, and end.
fn contexts() -> Outcome {
    let mut alive = Vec::new();
    for addresses in CONTEXTS {
        alive.push(Sitter::new(CONTEXT_ROOT, 0, || {
            if !addresses.is_empty() {
                confine(addresses).map_err(words)?;
            }
            enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            work(addresses.first() == Some(&A6))
        })?);
    }
    Ok(())
}

/// Sockets that stay open until the process ends, a terminal, a key, a child.
fn work(ipv6: bool) -> Outcome {
    let any = if ipv6 { "[::]:0" } else { "0.0.0.0:0" };
    let listener = TcpListener::bind(any).map_err(words)?;
    let port = listener.local_addr().map_err(words)?.port();
    let loopback = if ipv6 { "::1" } else { "127.0.0.1" };
    let mut client = TcpStream::connect((loopback, port)).map_err(words)?;
    let (mut served, _) = listener.accept().map_err(words)?;
    served.write_all(b"served").map_err(words)?;
    let mut said = [0; 6];
    client.read_exact(&mut said).map_err(words)?;
    equal("what came", said, *b"served")?;
    // Never accepted.
    let waiting = TcpStream::connect((loopback, port)).map_err(words)?;
    let datagrams = UdpSocket::bind(any).map_err(words)?;
    let pair = UnixStream::pair().map_err(words)?;
    let terminal = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY).map_err(words)?;
    let process_keyring = -2isize as usize;
    let key = [
        c"user".as_ptr() as usize,
        c"cycle".as_ptr() as usize,
        said.as_ptr() as usize,
        said.len(),
        process_keyring,
        0,
    ];
    syscalls::syscall(libc::SYS_add_key, key).map_err(words)?;
    module::fork_and_wait();
    std::mem::forget((listener, client, served, waiting, datagrams, pair, terminal));
    Ok(())
}
