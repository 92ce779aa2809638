// SPDX-License-Identifier: GPL-2.0

//! What a unix socket tells about the process at its other end.

use crate::{
    fixture::{child, ensure, enter, equal, inside, words, Outcome, Sitter},
    test,
    visibility::{call, ways},
    Test,
};
use nix::{
    errno::Errno,
    sys::socket::{
        accept, bind, connect, getsockopt, listen, setsockopt, socket, socketpair, sockopt,
        AddressFamily, Backlog, SockFlag, SockType, UnixAddr,
    },
    unistd::getpid,
};
use std::os::fd::{AsRawFd, OwnedFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("scm::credentials_are_honest", 20, credentials),
    test("scm::peer_credentials_are_honest", 20, peer),
    test("scm::a_peers_pidfd", 20, peer_pidfd),
    test("scm::a_messages_pidfd", 20, message_pidfd),
];

const SCM_CREDENTIALS: i32 = 2;
const SCM_PIDFD: i32 = 4;
const SO_PASSPIDFD: usize = 76;
const SO_PEERPIDFD: usize = 77;

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::Unix,
        SockType::Datagram,
        None,
        SockFlag::empty(),
    )
}

/// sendmsg() with a word and these credentials.
fn send(socket: &OwnedFd, pid: usize) -> Result<i64, Errno> {
    let word = [b'!'];
    let vector = [word.as_ptr() as usize, word.len()];
    // Length, level and type; pid, user, group.
    let control = [28u64, 1 | ((SCM_CREDENTIALS as u64) << 32), pid as u64, 0];
    let message = [
        0,
        0,
        vector.as_ptr() as usize,
        1,
        control.as_ptr() as usize,
        32,
        0,
    ];
    let fd = socket.as_raw_fd() as usize;
    call(libc::SYS_sendmsg, &[fd, message.as_ptr() as usize, 0])
}

/// recvmsg(): the first number of the control message of a type.
fn receive(socket: &OwnedFd, kind: i32) -> Result<Option<i32>, Errno> {
    let mut word = [0u8];
    let vector = [word.as_mut_ptr() as usize, word.len()];
    let mut control = [0u64; 32];
    let mut message = [
        0,
        0,
        vector.as_ptr() as usize,
        1,
        control.as_mut_ptr() as usize,
        256,
        0,
    ];
    let fd = socket.as_raw_fd() as usize;
    call(libc::SYS_recvmsg, &[fd, message.as_mut_ptr() as usize, 0])?;
    let mut at = 0;
    while at < message[5] / 8 {
        if (control[at + 1] >> 32) as i32 == kind {
            return Ok(Some(control[at + 2] as i32));
        }
        at += (control[at] as usize).div_ceil(8).max(2);
    }
    Ok(None)
}

ways! { "scm":
    send_credentials_of: May, |target| {
        let (one, _other) = pair()?;
        send(&one, target.pid)
    };
}

/// The honest number or 0, from inside and towards it.
fn credentials() -> Outcome {
    let (one, other) = pair().map_err(words)?;
    setsockopt(&one, sockopt::PassCred, &true).map_err(words)?;
    setsockopt(&other, sockopt::PassCred, &true).map_err(words)?;
    let say = |socket: &OwnedFd| nix::unistd::write(socket, b"!").map(drop).map_err(words);
    let sitter = Sitter::new(100, 0, || say(&other))?;
    let got = receive(&one, SCM_CREDENTIALS).map_err(words)?;
    ensure(
        &format!("from inside: {got:?}"),
        [Some(sitter.pid), Some(0)].contains(&got),
    )?;
    say(&one)?;
    let host = getpid().as_raw();
    inside(100, || {
        let got = receive(&other, SCM_CREDENTIALS).map_err(words)?;
        ensure(
            &format!("from the host: {got:?}"),
            [Some(host), Some(0)].contains(&got),
        )
    })?;
    // One's own number is always right.
    inside(100, || {
        equal("own", send(&one, getpid().as_raw() as usize), Ok(1))?;
        let got = receive(&other, SCM_CREDENTIALS);
        equal("own, received", got, Ok(Some(getpid().as_raw())))
    })
}

fn listener(name: &str) -> Result<(OwnedFd, UnixAddr), String> {
    // In the file system: abstract names end at the context.
    let path = format!("/tmp/{name}");
    let _ = std::fs::remove_file(&path);
    let address = UnixAddr::new(path.as_str()).map_err(words)?;
    let socket = stream()?;
    bind(socket.as_raw_fd(), &address).map_err(words)?;
    Ok((socket, address))
}

fn stream() -> Result<OwnedFd, String> {
    socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::empty(),
        None,
    )
    .map_err(words)
}

/// The process that called listen(), and the one that called connect().
fn peer() -> Outcome {
    let (server, address) = listener("vserver-peer")?;
    let sitter = Sitter::new(100, 0, || {
        listen(&server, Backlog::new(5).map_err(words)?).map_err(words)
    })?;
    for viewer in [CONTEXT_ROOT, 101, 100, CONTEXT_SPECTATOR] {
        inside(viewer, || {
            let client = stream()?;
            connect(client.as_raw_fd(), &address).map_err(words)?;
            let pid = getsockopt(&client, sockopt::PeerCredentials)
                .map_err(words)?
                .pid();
            ensure(
                &format!("the listener: {pid}"),
                pid == sitter.pid || (pid == 0 && viewer != 100),
            )?;
            let mine = getpid().as_raw();
            let accepted = crate::syscalls::own(accept(server.as_raw_fd()).map_err(words)?);
            child(|| {
                enter(CONTEXT_STAY, 0, 0).map_err(words)?;
                let pid = getsockopt(&accepted, sockopt::PeerCredentials)
                    .map_err(words)?
                    .pid();
                equal("the caller", pid, mine).map(|()| String::new())
            })
            .map(drop)
        })?;
    }
    Ok(())
}

/// There is a descriptor for it only where it can be seen.
fn peer_pidfd() -> Outcome {
    let (server, address) = listener("vserver-peer-pidfd")?;
    let _sitter = Sitter::new(100, 0, || {
        listen(&server, Backlog::new(5).map_err(words)?).map_err(words)
    })?;
    let absent = Err(Errno::ESRCH);
    for (viewer, expected) in [
        (100, Ok(())),
        (101, absent),
        (CONTEXT_ROOT, absent),
        (CONTEXT_SPECTATOR, Ok(())),
    ] {
        inside(viewer, || {
            let client = stream()?;
            connect(client.as_raw_fd(), &address).map_err(words)?;
            let (mut fd, mut length) = (0i32, 4u32);
            let got = call(
                libc::SYS_getsockopt,
                &[
                    client.as_raw_fd() as usize,
                    libc::SOL_SOCKET as usize,
                    SO_PEERPIDFD,
                    std::ptr::from_mut(&mut fd) as usize,
                    std::ptr::from_mut(&mut length) as usize,
                ],
            );
            equal("pidfd", got.map(drop), expected)
        })?;
    }
    Ok(())
}

fn message_pidfd() -> Outcome {
    for (viewer, visible) in [
        (100, true),
        (101, false),
        (CONTEXT_ROOT, false),
        (CONTEXT_SPECTATOR, true),
    ] {
        let (one, other) = pair().map_err(words)?;
        let yes = 1i32;
        call(
            libc::SYS_setsockopt,
            &[
                one.as_raw_fd() as usize,
                libc::SOL_SOCKET as usize,
                SO_PASSPIDFD,
                std::ptr::from_ref(&yes) as usize,
                4,
            ],
        )
        .map_err(words)?;
        let _sitter = Sitter::new(100, 0, || {
            nix::unistd::write(&other, b"!").map(drop).map_err(words)
        })?;
        inside(viewer, || {
            let got = receive(&one, SCM_PIDFD).map_err(words)?;
            equal("pidfd", got.is_some_and(|fd| fd >= 0), visible)
        })?;
    }
    Ok(())
}
