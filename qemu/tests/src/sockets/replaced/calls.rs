// SPDX-License-Identifier: GPL-2.0

//! Random calls that replace the operations of sockets, by processes that pass sockets on to each other.

use super::*;

pub const RANDOM: Test = test("sockets::random_calls", 120, || random(3000));
pub const RANDOM_LONG: Test = test("long::sockets_random_calls", 3000, || random(100_000));

/// A sequence of numbers that is the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// What a process has open, and does something random with. It passes sockets on to the next process, and takes those
/// of the one before.
struct Player {
    random: Random,
    sockets: Vec<OwnedFd>,
    next: OwnedFd,
    before: OwnedFd,
}

impl Player {
    fn one(&mut self) -> Option<usize> {
        (!self.sockets.is_empty()).then(|| self.random.below(self.sockets.len()))
    }

    fn address(&mut self) -> SocketAddr {
        let addresses = [
            "127.0.0.1",
            "0.0.0.0",
            A,
            B,
            HOST,
            "::1",
            "::",
            "::ffff:127.0.0.1",
        ];
        let ip = addresses[self.random.below(addresses.len())];
        at(ip, 20000 + self.random.below(40) as u16)
    }

    fn keep(&mut self, sockets: impl IntoIterator<Item = OwnedFd>) {
        self.sockets.extend(sockets);
        while self.sockets.len() > 24 {
            let which = self.random.below(self.sockets.len());
            self.sockets.swap_remove(which);
        }
    }

    fn make(&mut self) {
        let kinds = [
            (libc::AF_INET, libc::SOCK_STREAM, 0),
            (libc::AF_INET6, libc::SOCK_STREAM, 0),
            (libc::AF_INET, libc::SOCK_DGRAM, 0),
            (libc::AF_INET6, libc::SOCK_DGRAM, 0),
            (libc::AF_INET, libc::SOCK_STREAM, IPPROTO_MPTCP),
            (libc::AF_INET6, libc::SOCK_STREAM, IPPROTO_MPTCP),
            (libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
            (libc::AF_INET, libc::SOCK_SEQPACKET, libc::IPPROTO_SCTP),
            (libc::AF_UNIX, libc::SOCK_DGRAM, 0),
            (libc::AF_NETLINK, libc::SOCK_RAW, 4),
            (AF_KCM, libc::SOCK_SEQPACKET, 0),
        ];
        let (family, kind, protocol) = kinds[self.random.below(kinds.len())];
        let new = new_socket(family, kind | libc::SOCK_NONBLOCK, protocol);
        self.keep(new);
    }

    fn make_pair(&mut self) {
        let kinds = [
            (libc::AF_INET, 0, 0, "127.0.0.1"),
            (libc::AF_INET6, 0, 0, "::ffff:127.0.0.1"),
            (libc::AF_INET, IPPROTO_MPTCP, 0, "127.0.0.1"),
            (libc::AF_INET6, IPPROTO_MPTCP, 0, "::ffff:127.0.0.1"),
        ];
        let (family, server, client, ip) = kinds[self.random.below(kinds.len())];
        if let Ok(pair) = pair_of(family, [server, client], ip) {
            for socket in &pair {
                let _ = nix::fcntl::fcntl(
                    socket,
                    nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
                );
            }
            self.keep(pair);
        }
    }

    fn peel(&mut self) {
        let address = self.address();
        let made = many(address).and_then(|many| {
            let client =
                new_socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_SCTP).map_err(words)?;
            connected(&client, local(&many)?)?;
            let branch = peeled(&many, PEELOFF)?;
            Ok([many, client, branch])
        });
        if let Ok(made) = made {
            self.keep(made);
        }
    }

    fn step(&mut self) {
        let Some(which) = self.one() else {
            self.make();
            return;
        };
        let address = self.address();
        let socket = &self.sockets[which];
        let fd = socket.as_raw_fd();
        match self.random.below(16) {
            0 | 1 => self.make(),
            2 => self.make_pair(),
            3 => self.peel(),
            4 => {
                let name = ["tls", "espintcp", "smc"][self.random.below(3)];
                let _ = set_ulp(socket, name);
            }
            5 => {
                let _ = set_option(socket, SOL_TLS, 1 + (address.port() % 2) as i32, &keys());
            }
            6 => {
                let _ = set_option(socket, libc::IPPROTO_IPV6, 1, &[libc::AF_INET]);
            }
            7 => {
                let _ = bind(fd, &SockaddrStorage::from(address));
            }
            8 => {
                let _ = connect(fd, &SockaddrStorage::from(address));
            }
            9 => {
                let nowhere = [0u16; 8];
                let _ = syscall(
                    libc::SYS_connect,
                    [fd as usize, nowhere.as_ptr() as usize, 16, 0, 0, 0],
                );
            }
            10 => {
                let _ = listen(socket, Backlog::MAXCONN);
            }
            11 => {
                let new = syscall(
                    libc::SYS_accept4,
                    [fd as usize, 0, 0, libc::SOCK_NONBLOCK as usize, 0, 0],
                );
                self.keep(new.map(|fd| own(fd as i32)));
            }
            12 => {
                let _ = (local(socket), peer(socket));
                let _ = send(fd, b"word", MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
                let _ = recv(fd, &mut [0; 16], MsgFlags::MSG_DONTWAIT);
            }
            13 => {
                let _ = pass(&self.next, socket);
            }
            14 => {
                let new = take(&self.before);
                self.keep(new);
            }
            _ => {
                self.sockets.swap_remove(which);
            }
        }
    }
}

/// Processes in and out of contexts, with and without addresses, each on its own and with each other's sockets.
fn random(calls: usize) -> Outcome {
    addresses()?;
    for name in ["tls", "gcm", "kcm", "sctp"] {
        modprobe(name);
    }
    // In pieces, with the module gone in between.
    let (pieces, players) = (calls.div_ceil(5000), 5);
    for piece in 0..pieces {
        let pairs = (0..players)
            .map(|_| unix_pair())
            .collect::<Result<Vec<_>, _>>()?;
        for (to, from) in &pairs {
            for end in [to, from] {
                nix::fcntl::fcntl(
                    end,
                    nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
                )
                .map_err(words)?;
            }
        }
        let mut children = Vec::new();
        for number in 0..players {
            let next = pairs[number].0.try_clone().map_err(words)?;
            let before = pairs[(number + players - 1) % players]
                .1
                .try_clone()
                .map_err(words)?;
            let seed = (piece * players + number + 1) as u64 * 0x9e37_79b9_7f4a_7c15;
            let play = move || {
                if number == 1 || number == 2 {
                    confine(&[[A, B][number - 1]]).map_err(words)?;
                }
                if number == 4 {
                    confine(&[A, B]).map_err(words)?;
                } else if number != 0 {
                    enter(99 + number as i32, 0, 0).map_err(words)?;
                }
                let mut player = Player {
                    random: Random(seed),
                    sockets: Vec::new(),
                    next,
                    before,
                };
                for step in 0..calls / pieces / players {
                    player.step();
                    // In no context, addresses may be changed: to fewer.
                    if number == 4 && step == 100 {
                        confine(&[B]).map_err(words)?;
                    }
                }
                Ok(String::new())
            };
            children.push(std::thread::spawn(move || child(play)));
        }
        drop(pairs);
        for child in children {
            child
                .join()
                .map_err(|_| "a player panicked".to_string())??;
        }
        until_empty()?;
        module::reload().map_err(|text| format!("piece {piece}: {text}"))?;
    }
    Ok(())
}
