// SPDX-License-Identifier: GPL-2.0

//! Between the supervisor of a vserver and the commands: a socket that keeps the limits of messages. The first byte
//! says what a message is.

use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SendFlags;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use serde::Deserialize;
use serde::Serialize;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::path::Path;

/// No piece of output is longer.
pub(crate) const PIECE_MAX: usize = 4096;

/// Room for any message.
const SIZE_MAX: usize = 1 << 16;

/// From the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What the console shows.
    Output(Vec<u8>),
    /// What happens.
    Event(Event),
}

/// What happens to a vserver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// The context is there.
    Started { context: i32 },
    /// The boot is done.
    Ready,
    /// It is not, in the time that there was.
    NotReady {
        waits_for: String,
        last: Vec<String>,
    },
    /// It cannot be started, or ended before it was ready.
    Failed { message: String },
    /// It has ended, and how.
    Ended { how: String },
}

/// To the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Typed on the console.
    Input(Vec<u8>),
    /// Anything else.
    Request(Request),
}

/// What a command wants of the supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Request {
    /// Show what the console shows, beginning with so many bytes of before; and tell what has happened to the vserver.
    Attach { before: usize },
    /// The size of the terminal: rows, columns.
    Size(u16, u16),
    /// It is being stopped: a reboot inside does not start it again.
    Stopping,
}

const OUTPUT: u8 = b'o';
const EVENT: u8 = b'e';
const INPUT: u8 = b'i';
const REQUEST: u8 = b'r';

fn framed(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], bytes].concat()
}

impl Told {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Output(bytes) => framed(OUTPUT, bytes),
            Self::Event(event) => framed(EVENT, &serde_json::to_vec(event).unwrap_or_default()),
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&OUTPUT, rest) => Some(Self::Output(rest.to_vec())),
            (&EVENT, rest) => serde_json::from_slice(rest).ok().map(Self::Event),
            _ => None,
        }
    }
}

impl Asked {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Input(bytes) => framed(INPUT, bytes),
            Self::Request(request) => {
                framed(REQUEST, &serde_json::to_vec(request).unwrap_or_default())
            }
        }
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&INPUT, rest) => Some(Self::Input(rest.to_vec())),
            (&REQUEST, rest) => serde_json::from_slice(rest).ok().map(Self::Request),
            _ => None,
        }
    }
}

/// A socket at a path, for root alone.
pub(crate) fn listen(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let _ = std::fs::remove_file(path);
    // Nobody else for a single moment: the mask is ours alone, as this process has one thread.
    let mask = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let bound = rustix::net::bind(&socket, &SocketAddrUnix::new(path)?);
    nix::sys::stat::umask(mask);
    bound?;
    rustix::net::listen(&socket, 16)?;
    Ok(socket)
}

/// Somebody who has come.
pub(crate) fn accept(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(rustix::net::accept_with(socket, flags)?)
}

/// A way to the supervisor.
pub(crate) fn connect(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

/// Sends without waiting: who does not read misses something. False: he is gone.
pub(crate) fn offer(socket: impl AsFd, told: &Told) -> bool {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    match rustix::net::send(socket, &told.to_bytes(), flags) {
        Ok(_) => true,
        Err(error) => matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS),
    }
}

/// Sends, and waits until there is room.
pub(crate) fn ask(socket: impl AsFd, asked: &Asked) -> io::Result<()> {
    rustix::net::send(socket, &asked.to_bytes(), SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive<T>(socket: impl AsFd, parse: fn(&[u8]) -> Option<T>) -> io::Result<Option<T>> {
    let mut bytes = vec![0; SIZE_MAX];
    loop {
        match rustix::net::recv(&socket, bytes.as_mut_slice(), RecvFlags::empty()) {
            Ok((0, _)) => return Ok(None),
            Ok((length, _)) => {
                // What is not understood comes from another release: it is passed over.
                if let Some(value) = parse(&bytes[..length.min(SIZE_MAX)]) {
                    return Ok(Some(value));
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// What the supervisor tells next; `None`: it is gone.
pub(crate) fn hear(socket: impl AsFd) -> io::Result<Option<Told>> {
    receive(socket, Told::parse)
}

/// What somebody asks; `None`: he is gone.
pub(crate) fn listen_to(socket: impl AsFd) -> io::Result<Option<Asked>> {
    receive(socket, Asked::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use std::time::Instant;

    #[test]
    fn there_and_back() {
        let place = std::env::temp_dir().join(format!("vserver-channel-{}", std::process::id()));
        let listener = listen(&place).unwrap();
        let us = connect(&place).unwrap();
        let them = accept(&listener).unwrap();
        let all = [
            Asked::Input(b"ls\n\0\xff".to_vec()),
            Asked::Input(Vec::new()),
            Asked::Request(Request::Size(24, 80)),
            Asked::Request(Request::Attach { before: 100 }),
        ];
        for asked in &all {
            ask(&us, asked).unwrap();
            assert_eq!(listen_to(&them).unwrap().as_ref(), Some(asked));
        }
        let told = Told::Event(Event::Ended {
            how: "x".to_owned(),
        });
        assert!(offer(&them, &told));
        assert_eq!(hear(&us).unwrap(), Some(told));
        // Who does not read is not waited for.
        for _ in 0..10_000 {
            assert!(offer(&them, &Told::Output(vec![0; PIECE_MAX])));
        }
        drop(us);
        // A child of another test may hold a copy of the socket until it has executed its program.
        let end = Instant::now() + Duration::from_secs(30);
        while offer(&them, &Told::Output(vec![1])) {
            assert!(
                Instant::now() < end,
                "nobody is there, and it is not noticed"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        std::fs::remove_file(&place).unwrap();
    }

    /// Supervisors of the release before run on while the programs are upgraded: these are the bytes of 0.1.0.
    #[test]
    fn the_bytes_are_those_of_the_release_before() {
        let text = |text: &str| text.to_owned();
        for (event, bytes) in [
            (
                Event::Started { context: 7 },
                r#"e{"Started":{"context":7}}"#,
            ),
            (Event::Ready, r#"e"Ready""#),
            (
                Event::NotReady {
                    waits_for: text("x"),
                    last: vec![text("y")],
                },
                r#"e{"NotReady":{"waits_for":"x","last":["y"]}}"#,
            ),
            (
                Event::Failed { message: text("x") },
                r#"e{"Failed":{"message":"x"}}"#,
            ),
            (Event::Ended { how: text("x") }, r#"e{"Ended":{"how":"x"}}"#),
        ] {
            let told = Told::Event(event);
            assert_eq!(String::from_utf8(told.to_bytes()).unwrap(), bytes);
            assert_eq!(Told::parse(bytes.as_bytes()), Some(told));
        }
        for (request, bytes) in [
            (Request::Attach { before: 9 }, r#"r{"Attach":{"before":9}}"#),
            (Request::Size(24, 80), r#"r{"Size":[24,80]}"#),
            (Request::Stopping, r#"r"Stopping""#),
        ] {
            let asked = Asked::Request(request);
            assert_eq!(String::from_utf8(asked.to_bytes()).unwrap(), bytes);
            assert_eq!(Asked::parse(bytes.as_bytes()), Some(asked));
        }
        assert_eq!(Told::Output(b"a\xff".to_vec()).to_bytes(), b"oa\xff");
        assert_eq!(Asked::Input(b"a\xff".to_vec()).to_bytes(), b"ia\xff");
        // What a later release says is passed over.
        assert_eq!(Told::parse(br#"e{"Later":1}"#), None);
        assert_eq!(Asked::parse(br#"r"Later""#), None);
    }
}
