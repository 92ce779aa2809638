// SPDX-License-Identifier: GPL-2.0

//! Between two processes: a child that serves, and what its parent asks of it.

use crate::{bind, site::Site, sys};
use anyhow::{bail, Result};
use nix::{
    fcntl::OFlag,
    sys::{
        socket::{
            connect, setsockopt, socketpair,
            sockopt::{RcvBuf, SndBuf},
            AddressFamily, SockFlag, SockType, SockaddrIn,
        },
        wait::waitpid,
    },
    unistd::{pipe2, read, write, Pid},
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd, OwnedFd},
    time::Duration,
};

/// A child that serves until its parent has let go of its own ends.
struct Server(i32);

impl Server {
    /// Starts it; gives the parent's ends back.
    fn start<P>(parents: P, serve: impl FnOnce()) -> Result<(P, Self)> {
        let pid = sys::fork()?;
        if pid == 0 {
            drop(parents);
            serve();
            sys::exit_now(0);
        }
        Ok((parents, Self(pid)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = waitpid(Pid::from_raw(self.0), None);
    }
}

/// The two ends of a TCP connection, the server's last.
fn connection(site: &Site) -> Result<(TcpStream, TcpStream)> {
    let listener = site.at_server(|| Ok(TcpListener::bind((site.server, 0))?))?;
    let own = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    own.set_nodelay(true)?;
    other.set_nodelay(true)?;
    Ok((own, other))
}

/// Round trips: a child that sends back each byte that it gets. Here and below the ends stand before
/// the child, as they have to be dropped first.
pub struct Echo {
    from: OwnedFd,
    to: OwnedFd,
    _server: Server,
}

/// What one side reads from and writes to.
type Ends = (OwnedFd, OwnedFd);

impl Echo {
    /// Through two pipes.
    pub fn pipe() -> Result<Self> {
        let (there_out, there_in) = pipe2(OFlag::O_CLOEXEC)?;
        let (back_out, back_in) = pipe2(OFlag::O_CLOEXEC)?;
        Self::start((back_out, there_in), (there_out, back_in))
    }

    /// Through a pair of unix stream sockets.
    pub fn unix() -> Result<Self> {
        let (own, other) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Self::start((own.try_clone()?, own), (other.try_clone()?, other))
    }

    /// Through a TCP connection.
    pub fn tcp(site: &Site) -> Result<Self> {
        let (own, other) = connection(site)?;
        Self::start(
            (own.try_clone()?.into(), own.into()),
            (other.try_clone()?.into(), other.into()),
        )
    }

    fn start(own: Ends, other: Ends) -> Result<Self> {
        let ((from, to), server) = Server::start(own, || {
            let (from, to) = other;
            let mut byte = [0];
            while read(from.as_fd(), &mut byte) == Ok(1) && write(&to, &byte) == Ok(1) {}
        })?;
        Ok(Self {
            from,
            to,
            _server: server,
        })
    }

    /// One byte there and back.
    #[inline]
    pub fn trip(&self) -> Result<()> {
        write(&self.to, b"x")?;
        read(self.from.as_fd(), &mut [0])?;
        Ok(())
    }
}

/// Round trips by UDP: the client is connected, the server answers whoever asks.
pub struct Udp {
    socket: UdpSocket,
    _server: Server,
}

impl Udp {
    /// Starts the server.
    pub fn new(site: &Site) -> Result<Self> {
        let other = site.at_server(|| Ok(UdpSocket::bind((site.server, 0))?))?;
        let SocketAddr::V4(address) = other.local_addr()? else {
            bail!("an IPv4 socket has no IPv4 address");
        };
        let own = bind::fresh(SockType::Datagram)?;
        connect(own.as_raw_fd(), &SockaddrIn::from(address))?;
        let (socket, server) = Server::start(UdpSocket::from(own), || {
            let mut byte = [0];
            // An empty message is the end.
            while let Ok((1, client)) = other.recv_from(&mut byte) {
                if other.send_to(&byte, client).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self {
            socket,
            _server: server,
        })
    }

    /// One byte there and back.
    #[inline]
    pub fn trip(&self) -> Result<()> {
        self.socket.send(b"x")?;
        self.socket.recv(&mut [0])?;
        Ok(())
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        let _ = self.socket.send(b"");
    }
}

/// A server that takes one connection after the other, answers a byte with a byte and closes.
pub struct Service {
    address: SocketAddr,
    _server: Server,
}

/// The kernel remembers a closed connection at the end that has closed it first for a minute.
const REMEMBERED: Duration = Duration::from_secs(61);

impl Service {
    /// Starts it.
    pub fn new(site: &Site) -> Result<Self> {
        let listener = site.at_server(|| Ok(TcpListener::bind((site.server, 0))?))?;
        let address = listener.local_addr()?;
        let ((), server) = Server::start((), || {
            let mut byte = [0];
            while let Ok((mut stream, _)) = listener.accept() {
                // A visit without a question is the end.
                if stream.read_exact(&mut byte).is_err() || stream.write_all(&byte).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self {
            address,
            _server: server,
        })
    }

    /// One visit.
    #[inline]
    pub fn visit(&self) -> Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(TcpStream::connect(self.address));
        // Who comes next is to find the kernel as it was; an idle machine does not count.
        std::thread::sleep(REMEMBERED);
    }
}

/// The size of a block.
const BLOCK: usize = 64 * 1024;

/// So many blocks are sent at once.
pub const BLOCKS: usize = 16;

/// What the kernel may keep on either side, so that it does not look for the best size meanwhile.
const BUFFER: usize = 2 * BLOCK;

/// A TCP connection to a child that reads, and says so after so many blocks.
pub struct Stream {
    own: TcpStream,
    block: Vec<u8>,
    _server: Server,
}

impl Stream {
    /// Connects it.
    pub fn new(site: &Site) -> Result<Self> {
        let (own, mut other) = connection(site)?;
        setsockopt(&own, SndBuf, &BUFFER)?;
        setsockopt(&other, RcvBuf, &BUFFER)?;
        let (own, server) = Server::start(own, || {
            let mut block = vec![0; BLOCK];
            while (0..BLOCKS).all(|_| other.read_exact(&mut block).is_ok())
                && other.write_all(b"x").is_ok()
            {}
        })?;
        Ok(Self {
            own,
            block: vec![1; BLOCK],
            _server: server,
        })
    }

    /// Sends the blocks and waits until they are read.
    #[inline]
    pub fn blocks(&mut self) -> Result<()> {
        for _ in 0..BLOCKS {
            self.own.write_all(&self.block)?;
        }
        self.own.read_exact(&mut [0])?;
        Ok(())
    }
}
