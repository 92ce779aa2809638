// SPDX-License-Identifier: GPL-2.0

//! Sockets at the same port: what stands in the way of what.
//!
//! A socket of a context that is bound to "any" is compared with what the kernel says of sockets of the host that are bound
//! to the addresses which that socket stands for, one by one.

use super::*;
use crate::{syscalls, test};
use nix::sys::socket::{listen, Backlog};
use std::{collections::HashMap, io::BufRead, os::unix::net::UnixStream};

pub const TCP: Test = test("inet::conflicts_of_tcp", 120, || table(true, false));
pub const UDP: Test = test("inet::conflicts_of_udp", 120, || table(false, false));
pub const RACE: Test = test("inet::conflicts_in_a_race", 60, || race(1800));
/// All owners with all ways to share, and a race that lasts.
pub const TCP_LONG: Test = test("long::conflicts_of_tcp", 900, || table(true, true));
pub const UDP_LONG: Test = test("long::conflicts_of_udp", 900, || table(false, true));
pub const RACE_LONG: Test = test("long::conflicts_in_a_race", 3000, || race(100_000));
pub const CHOSEN: Test = test("inet::conflicts_of_chosen_ports", 60, chosen);

const IN_USE: i32 = libc::EADDRINUSE;

/// How a socket shares its port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Share {
    reuse: bool,
    reuseport: bool,
    uid: u32,
}

/// What a socket is bound to. `v6only` also says that it is one of IPv6.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Place {
    address: String,
    v6only: Option<bool>,
}

impl Place {
    fn v4(address: &str) -> Self {
        Self {
            address: address.into(),
            v6only: None,
        }
    }

    fn v6(address: &str, v6only: bool) -> Self {
        Self {
            address: address.into(),
            v6only: Some(v6only),
        }
    }
}

/// Opens, configures and binds a socket.
fn open(tcp: bool, place: &Place, share: Share, port: u16) -> Result<OwnedFd, Errno> {
    let v6 = place.v6only.is_some();
    let family = if v6 {
        AddressFamily::Inet6
    } else {
        AddressFamily::Inet
    };
    let kind = if tcp {
        SockType::Stream
    } else {
        SockType::Datagram
    };
    let socket = socket(family, kind, SockFlag::empty(), None)?;
    for (name, on) in [
        (libc::SO_REUSEADDR, share.reuse),
        (libc::SO_REUSEPORT, share.reuseport),
    ] {
        if on {
            syscalls::set_option(&socket, libc::SOL_SOCKET, name, &[1])?;
        }
    }
    if let Some(on) = place.v6only {
        syscalls::set_option(
            &socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_V6ONLY,
            &[i32::from(on)],
        )?;
    }
    bind(
        socket.as_raw_fd(),
        &SockaddrStorage::from(at(&place.address, port)),
    )?;
    Ok(socket)
}

fn number(result: Result<(), Errno>) -> i32 {
    result.map_or_else(|error| error as i32, |()| 0)
}

/// A process that binds for others. Each line of a request is a socket, by its number; each line of the answer an errno.
struct Agent {
    _sitter: Sitter,
    stream: UnixStream,
}

impl Agent {
    fn new(context: i32, addresses: &[&str], uid: u32) -> Result<Self, String> {
        let (stream, theirs) = UnixStream::pair().map_err(words)?;
        let sitter = Sitter::new(CONTEXT_ROOT, 0, || {
            if context != CONTEXT_ROOT {
                confine(addresses).map_err(words)?;
                enter(context, 0, 0).map_err(words)?;
            }
            if uid != 0 {
                syscalls::syscall(libc::SYS_setuid, [uid as usize, 0, 0, 0, 0, 0])
                    .map_err(words)?;
            }
            std::thread::spawn(move || serve(theirs));
            Ok(())
        })?;
        Ok(Self {
            _sitter: sitter,
            stream,
        })
    }

    fn ask(&self, lines: &[String]) -> Result<Vec<i32>, String> {
        let mut text = lines.join("\n");
        text.push_str("\n.\n");
        (&self.stream).write_all(text.as_bytes()).map_err(words)?;
        let mut reader = std::io::BufReader::new(&self.stream);
        let mut answers = Vec::new();
        for _ in lines {
            let mut line = String::new();
            reader.read_line(&mut line).map_err(words)?;
            answers.push(
                line.trim()
                    .parse()
                    .map_err(|_| format!("an agent said {line:?}"))?,
            );
        }
        Ok(answers)
    }
}

fn serve(stream: UnixStream) {
    let mut open_ones: HashMap<String, OwnedFd> = HashMap::new();
    let mut answers = String::new();
    let reader = std::io::BufReader::new(stream.try_clone().expect("a copy"));
    for line in reader.lines() {
        let Ok(line) = line else { return };
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["bind", id, tcp, address, v6only, reuse, reuseport, port] => {
                let v6only = ["0", "1"]
                    .iter()
                    .position(|one| *one == v6only)
                    .map(|one| one == 1);
                let place = Place {
                    address: address.into(),
                    v6only,
                };
                let share = Share {
                    reuse: reuse == "true",
                    reuseport: reuseport == "true",
                    uid: 0,
                };
                let port = port.parse().expect("a port");
                number(open(tcp == "true", &place, share, port).map(|socket| {
                    open_ones.insert(id.into(), socket);
                }))
            }
            ["listen", id] => number(
                open_ones
                    .get(id)
                    .ok_or(Errno::EBADF)
                    .and_then(|socket| listen(socket, Backlog::MAXCONN)),
            ),
            ["port", id] => open_ones.get(id).map_or(-1, |socket| {
                let name = nix::sys::socket::getsockname::<SockaddrStorage>(socket.as_raw_fd());
                let name = name
                    .ok()
                    .and_then(|name| name.as_sockaddr_in().map(|name| name.port()));
                name.map_or(-1, i32::from)
            }),
            ["close", id] => i32::from(open_ones.remove(id).is_none()),
            _ => {
                // The end of a request.
                if (&stream).write_all(answers.as_bytes()).is_err() {
                    return;
                }
                answers.clear();
                continue;
            }
        };
        answers.push_str(&format!("{answer}\n"));
    }
}

/// Who binds, first and second.
type Who = (usize, usize);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Pair {
    first: (Place, Share),
    second: (Place, Share),
}

/// What comes of it: the binds of both, then that both listen.
type Answers = [i32; 4];

fn bind_line(id: usize, tcp: bool, (place, share): &(Place, Share), port: u16) -> String {
    let v6only = place.v6only.map_or("-", |on| if on { "1" } else { "0" });
    let (address, reuse, reuseport) = (&place.address, share.reuse, share.reuseport);
    format!("bind {id} {tcp} {address} {v6only} {reuse} {reuseport} {port}")
}

/// Many pairs at once, each at a port of its own.
fn run(agents: &[Agent], who: Who, tcp: bool, pairs: &[Pair]) -> Result<Vec<Answers>, String> {
    let mut all = Vec::new();
    for part in pairs.chunks(400) {
        let port = |index: usize| 20_000 + index as u16;
        let lines = |word: &str, side: usize| -> Vec<String> {
            (0..part.len())
                .map(|index| format!("{word} {}", 2 * index + side))
                .collect()
        };
        let binds = |side: usize| -> Vec<String> {
            part.iter()
                .enumerate()
                .map(|(index, pair)| {
                    let one = if side == 0 { &pair.first } else { &pair.second };
                    bind_line(2 * index + side, tcp, one, port(index))
                })
                .collect()
        };
        let (one, two) = (&agents[who.0], &agents[who.1]);
        let (b1, b2) = (one.ask(&binds(0))?, two.ask(&binds(1))?);
        let (l1, l2) = if tcp {
            (one.ask(&lines("listen", 0))?, two.ask(&lines("listen", 1))?)
        } else {
            (vec![0; part.len()], vec![0; part.len()])
        };
        one.ask(&lines("close", 0))?;
        two.ask(&lines("close", 1))?;
        for index in 0..part.len() {
            all.push([b1[index], b2[index], l1[index], l2[index]]);
        }
    }
    Ok(all)
}

/// Who there is: where a socket of his can be bound, and what that means on a host with these addresses.
struct Owner {
    context: i32,
    addresses: &'static [&'static str],
    v4: &'static [&'static str],
    v6: &'static [&'static str],
}

const OWNERS: [Owner; 4] = [
    Owner {
        context: CONTEXT_ROOT,
        addresses: &[],
        v4: &[],
        v6: &[],
    },
    Owner {
        context: 100,
        addresses: &[A, B, A6],
        v4: &[A, B],
        v6: &[A6],
    },
    Owner {
        context: 101,
        addresses: &[A, C],
        v4: &[A, C],
        v6: &[],
    },
    // It has A, and B, which it does not name.
    Owner {
        context: 102,
        addresses: &["10.77.0.4/30!", "fd77::/64!"],
        v4: &[A, B, C],
        v6: &[A6, HOST6],
    },
];

impl Owner {
    /// An address in place of one of its loopback.
    fn loopback(&self, last: u8) -> String {
        format!("127.0.{}.{last}", self.context)
    }

    /// What a socket can be bound to, and that on the host.
    fn places(&self, tcp: bool) -> Vec<(Place, Vec<Place>)> {
        let mapped = |address: &str| format!("::ffff:{address}");
        let mut list = Vec::new();
        let mut own = |place: Place, real: Vec<Place>| list.push((place, real));
        if self.context == CONTEXT_ROOT {
            for place in [
                Place::v4("0.0.0.0"),
                Place::v4(A),
                Place::v4("127.0.0.1"),
                Place::v6(&mapped("0.0.0.0"), false),
                Place::v6(&mapped(A), false),
                Place::v6("::", false),
                Place::v6("::", true),
                Place::v6(A6, true),
            ] {
                own(place.clone(), vec![place]);
            }
        } else {
            let (lo4, lo6) = (self.loopback(1), mapped(&self.loopback(255)));
            let mut four: Vec<Place> = self.v4.iter().map(|one| Place::v4(one)).collect();
            four.push(Place::v4(&lo4));
            let mut four6: Vec<Place> = self
                .v4
                .iter()
                .map(|one| Place::v6(&mapped(one), false))
                .collect();
            four6.push(Place::v6(&mapped(&lo4), false));
            let mut six: Vec<Place> = self.v6.iter().map(|one| Place::v6(one, true)).collect();
            six.push(Place::v6(&lo6, false));
            own(Place::v4("0.0.0.0"), four);
            own(Place::v6(&mapped("0.0.0.0"), false), four6.clone());
            own(Place::v6("::", true), six.clone());
            own(Place::v6("::", false), [four6, six].concat());
            own(Place::v4(A), vec![Place::v4(A)]);
            own(
                Place::v6(&mapped(A), false),
                vec![Place::v6(&mapped(A), false)],
            );
            own(Place::v4("127.0.0.1"), vec![Place::v4(&lo4)]);
            own(Place::v6("::1", true), vec![Place::v6(&lo6, false)]);
            if !self.v6.is_empty() {
                own(Place::v6(A6, true), vec![Place::v6(A6, true)]);
            }
        }
        if !tcp {
            let everybody = Place::v4("255.255.255.255");
            list.push((everybody.clone(), vec![everybody]));
        }
        list
    }
}

/// How two sockets share; all kinds, and those of two users where that matters.
fn shares() -> Vec<(Share, Share)> {
    let share = |reuse, reuseport, uid| Share {
        reuse,
        reuseport,
        uid,
    };
    let (none, reuse) = (share(false, false, 0), share(true, false, 0));
    let (port, both) = (share(false, true, 0), share(true, true, 0));
    vec![
        (none, none),
        (none, reuse),
        (reuse, none),
        (reuse, reuse),
        (port, port),
        (port, none),
        (port, share(false, true, 1000)),
        (both, both),
        (both, share(true, true, 1000)),
        (both, reuse),
    ]
}

/// Two sockets in both orders, against what sockets of the host at the same addresses do. `all`: between all owners, and
/// with all ways to share; otherwise the host and two contexts with one address in common, and the ways that differ most.
fn table(tcp: bool, all: bool) -> Outcome {
    addresses()?;
    let uids = [0, 1000];
    let mut agents = Vec::new();
    for owner in &OWNERS {
        for uid in uids {
            agents.push(Agent::new(owner.context, owner.addresses, uid)?);
        }
    }
    let agent = |owner: usize, share: Share| 2 * owner + usize::from(share.uid != 0);
    let mut tried: HashMap<Who, Vec<(Pair, Vec<Pair>)>> = HashMap::new();
    let owners = [
        (0, 1),
        (1, 0),
        (1, 2),
        (1, 1),
        (2, 1),
        (1, 3),
        (3, 1),
        (0, 3),
    ];
    let shares: Vec<_> = shares()
        .into_iter()
        .step_by(if all { 1 } else { 3 })
        .collect();
    for &(one, two) in &owners[..if all { owners.len() } else { 3 }] {
        for &(share1, share2) in &shares {
            for (place1, real1) in OWNERS[one].places(tcp) {
                for (place2, real2) in OWNERS[two].places(tcp) {
                    let pair = |one: &Place, two: &Place| Pair {
                        first: (one.clone(), share1),
                        second: (two.clone(), share2),
                    };
                    let real = real1
                        .iter()
                        .flat_map(|one| real2.iter().map(|two| pair(one, two)))
                        .collect();
                    let who = (agent(one, share1), agent(two, share2));
                    tried
                        .entry(who)
                        .or_default()
                        .push((pair(&place1, &place2), real));
                }
            }
        }
    }
    // What the kernel says of the real addresses.
    let mut asked: HashMap<Who, Vec<Pair>> = HashMap::new();
    let mut known: HashMap<Pair, Answers> = HashMap::new();
    for pair in tried.values().flatten().flat_map(|(_, real)| real) {
        if known.insert(pair.clone(), [0; 4]).is_none() {
            let who = (agent(0, pair.first.1), agent(0, pair.second.1));
            asked.entry(who).or_default().push(pair.clone());
        }
    }
    for (who, pairs) in asked {
        for (pair, answers) in pairs.iter().zip(run(&agents, who, tcp, &pairs)?) {
            known.insert(pair.clone(), answers);
        }
    }
    let mut wrong = Vec::new();
    let mut count = 0;
    for (who, list) in tried {
        let pairs: Vec<Pair> = list.iter().map(|(pair, _)| pair.clone()).collect();
        for ((pair, real), got) in list.iter().zip(run(&agents, who, tcp, &pairs)?) {
            count += 1;
            let all = |which: usize| {
                real.iter()
                    .map(|one| known[one][which])
                    .find(|error| *error != 0)
                    .unwrap_or(0)
            };
            let mut expected = [all(0), all(1), all(2), all(3)];
            if expected[1] != 0 {
                expected[3] = libc::EBADF;
                expected[2] = 0;
            }
            if !tcp {
                expected[3] = got[3];
            }
            if got != expected {
                wrong.push(format!(
                    "{who:?} {pair:?}: got {got:?}, expected {expected:?}"
                ));
            }
        }
    }
    ensure(
        &format!(
            "{} of {count} are wrong: {}",
            wrong.len(),
            wrong[..wrong.len().min(12)].join("\n")
        ),
        wrong.is_empty(),
    )
}

/// So many ports are raced for at a time, so that the two meet.
const AT_ONCE: u32 = 400;

/// Two protocols and ways to share, and two opponents: [`race`] does with each what it does with one.
const KINDS: u32 = 6;

/// One of the host and one of a context bind at the same time, `rounds` times in all: never both, always one of them.
fn race(rounds: u32) -> Outcome {
    addresses()?;
    let none = Share {
        reuse: false,
        reuseport: false,
        uid: 0,
    };
    let reuse = Share {
        reuse: true,
        ..none
    };
    let host = Agent::new(CONTEXT_ROOT, &[], 0)?;
    let inside = Agent::new(100, &[A, B], 0)?;
    let other = Agent::new(101, &[A, C], 0)?;
    let ports = rounds.div_ceil(KINDS);
    for turn in 0..ports.div_ceil(AT_ONCE) {
        let part = (ports - turn * AT_ONCE).min(AT_ONCE);
        for (tcp, share) in [(true, none), (true, reuse), (false, none)] {
            for one in [&host, &other] {
                let address = if std::ptr::eq(one, &host) {
                    A
                } else {
                    "0.0.0.0"
                };
                let line = |word: &str| {
                    (0..part)
                        .map(|id| format!("{word} {id}"))
                        .collect::<Vec<_>>()
                };
                let binds = |address: &str| {
                    (0..part)
                        .map(|id| {
                            bind_line(
                                id as usize,
                                tcp,
                                &(Place::v4(address), share),
                                20_000 + id as u16,
                            )
                        })
                        .collect::<Vec<_>>()
                };
                let both = |mut one_lines: Vec<String>,
                            mut two_lines: Vec<String>|
                 -> Result<Vec<[i32; 2]>, String> {
                    // The other way round every second time, so that they meet.
                    if turn % 2 == 1 {
                        one_lines.reverse();
                        two_lines.reverse();
                    }
                    let (first, second) = std::thread::scope(|scope| {
                        let first = scope.spawn(|| one.ask(&one_lines));
                        let second = inside.ask(&two_lines);
                        (first.join(), second)
                    });
                    let first = first.map_err(|_| "a thread has panicked")??;
                    Ok(first
                        .into_iter()
                        .zip(second?)
                        .map(|(one, two)| [one, two])
                        .collect())
                };
                let bound = both(binds(address), binds("0.0.0.0"))?;
                let shared = tcp && share.reuse;
                for got in &bound {
                    let ways = if shared {
                        &[[0, 0]][..]
                    } else {
                        &[[0, IN_USE], [IN_USE, 0]]
                    };
                    ensure(
                        &format!("bound: {got:?}, {tcp} {share:?} {address}"),
                        ways.contains(got),
                    )?;
                }
                if shared {
                    // Each may see the other one, as on the host.
                    for got in both(line("listen"), line("listen"))? {
                        ensure(&format!("both listen: {address}"), got != [0, 0])?;
                    }
                }
                one.ask(&line("close"))?;
                inside.ask(&line("close"))?;
            }
        }
    }
    Ok(())
}

/// A port that the kernel chooses is nobody else's.
fn chosen() -> Outcome {
    addresses()?;
    let none = Share {
        reuse: false,
        reuseport: false,
        uid: 0,
    };
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").map_err(words)?;
    // So few that they meet.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "50000 50015").map_err(words)?;
    let result = (|| {
        for tcp in [true, false] {
            let host = Agent::new(CONTEXT_ROOT, &[], 0)?;
            let inside = Agent::new(100, &[A, B], 0)?;
            let take = |agent: &Agent,
                        address: &str,
                        first: usize,
                        count: usize|
             -> Result<Vec<i32>, String> {
                let mut got = Vec::new();
                for id in first..first + count {
                    let line = bind_line(id, tcp, &(Place::v4(address), none), 0);
                    if agent.ask(&[line])? == [0] {
                        got.extend(agent.ask(&[format!("port {id}")])?);
                    }
                }
                Ok(got)
            };
            let mut ports = take(&inside, "0.0.0.0", 0, 6)?;
            equal("inside", ports.len(), 6)?;
            ports.extend(take(&host, A, 0, 6)?);
            ports.extend(take(&inside, "0.0.0.0", 10, 6)?);
            ports.sort_unstable();
            let count = ports.len();
            ports.dedup();
            equal("once each", ports.len(), count)?;
            equal("all there are", count, 16)?;
            // An address that nobody has in common has its own.
            equal("others", take(&host, HOST, 20, 4)?.len(), 4)?;
        }
        Ok(())
    })();
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", range).map_err(words)?;
    result
}
