// SPDX-License-Identifier: GPL-2.0

//! Which processes hold a port on every address of the host, from `/proc`.
//!
//! They are why a service that is confined cannot have that port: the port is taken on its addresses
//! as well.

use crate::columns::Align;
use crate::columns::Column;
use libvserver::process;
use libvserver::uapi::CONTEXT_SPECTATOR;
use libvserver::CapabilitySet;
use libvserver::Device;
use libvserver::Flags;
use libvserver::Request;
use serde_json::Value;
use std::collections::HashMap;
use std::fs;
use std::str::FromStr;

/// A port, of one protocol or of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    number: u16,
    protocol: Option<&'static str>,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, protocol) = match text.split_once('/') {
            Some((number, "tcp")) => (number, Some("tcp")),
            Some((number, "udp")) => (number, Some("udp")),
            Some(_) => ("", None),
            None => (text, None),
        };
        match number.parse() {
            Ok(number @ 1..) => Ok(Self { number, protocol }),
            _ => Err("give a number from 1 to 65535, and /tcp or /udp if one is meant".to_owned()),
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { number, protocol } = self;
        match protocol {
            Some(protocol) => write!(f, "{number}/{protocol}"),
            None => write!(f, "{number}"),
        }
    }
}

/// A socket that is bound to any address.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Socket {
    /// The file in `/proc/net` that lists it.
    protocol: &'static str,
    port: u16,
    user: u32,
    inode: u64,
}

/// A process with such a socket, or a socket whose process cannot be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    socket: Socket,
    process: Option<Process>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    pid: i32,
    command: String,
    context: Option<i32>,
    confined: Option<bool>,
}

impl Holder {
    /// Whether it is known who it is.
    pub(crate) fn is_known(&self) -> bool {
        self.process.is_some()
    }

    fn address(&self) -> String {
        let any = if self.socket.protocol.ends_with('6') {
            "[::]"
        } else {
            "0.0.0.0"
        };
        format!("{any}:{}", self.socket.port)
    }

    fn of<T>(&self, field: impl Fn(&Process) -> Option<T>) -> Option<T> {
        self.process.as_ref().and_then(field)
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

pub(crate) const TABLE: [Column<Holder>; 7] = [
    Column {
        name: "PROTO",
        width: 5,
        align: Align::Left,
        help: "tcp, tcp6, udp or udp6",
        text: |row| row.socket.protocol.to_owned(),
        json: |row| row.socket.protocol.into(),
    },
    Column {
        name: "ADDRESS",
        width: 13,
        align: Align::Left,
        help: "what it is bound to",
        text: |row| row.address(),
        json: |row| row.address().into(),
    },
    Column {
        name: "CTX",
        width: 5,
        align: Align::Right,
        help: "number of the context; 0 is the host",
        text: |row| text(row.of(|process| process.context)),
        json: |row| row.of(|process| process.context).into(),
    },
    Column {
        name: "CONFINED",
        width: 8,
        align: Align::Left,
        help: "whether the process is confined to addresses",
        text: |row| {
            text(row.of(|process| process.confined.map(|is| if is { "yes" } else { "no" })))
        },
        json: |row| row.of(|process| process.confined).into(),
    },
    Column {
        name: "UID",
        width: 5,
        align: Align::Right,
        help: "owner of the socket",
        text: |row| row.socket.user.to_string(),
        json: |row| row.socket.user.into(),
    },
    Column {
        name: "PID",
        width: 7,
        align: Align::Right,
        help: "process that has it open",
        text: |row| text(row.of(|process| Some(process.pid))),
        json: |row| row.of(|process| Some(process.pid)).into(),
    },
    Column {
        name: "COMMAND",
        width: 15,
        align: Align::Left,
        help: "its name",
        text: |row| text(row.of(|process| Some(process.command.clone()))),
        json: |row| {
            row.of(|process| Some(process.command.clone()))
                .map_or(Value::Null, Value::from)
        },
    },
];

/// Who holds the port. Root of the host is told of every context: the calling process becomes the
/// spectator, if it may.
pub(crate) fn find(port: &Port) -> Vec<Holder> {
    let device = Device::open().ok();
    if let Some(device) = &device {
        let spectator = Request::Number(CONTEXT_SPECTATOR);
        // Others are told what they can see.
        let _ = device.enter(spectator, Flags::empty(), CapabilitySet::EMPTY);
    }
    let mut sockets = Vec::new();
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        if port.protocol.is_none_or(|only| protocol.starts_with(only)) {
            let table = fs::read_to_string(format!("/proc/net/{protocol}")).unwrap_or_default();
            sockets.extend(bound_to_any(protocol, &table, port.number));
        }
    }
    let owners = owners(&sockets);
    let describe = |&pid: &i32| Process {
        pid,
        command: fs::read_to_string(format!("/proc/{pid}/comm"))
            .map(|name| name.trim_end().to_owned())
            .unwrap_or_default(),
        context: device
            .as_ref()
            .and_then(|device| device.get(pid).ok())
            .map(|info| info.context),
        confined: device
            .as_ref()
            .and_then(|device| device.addresses(pid).ok())
            .map(|found| found.is_some()),
    };
    let mut holders = Vec::new();
    for socket in sockets {
        let pids = owners.get(&socket.inode).map_or(&[][..], Vec::as_slice);
        let mut processes: Vec<Option<Process>> = pids.iter().map(describe).map(Some).collect();
        if processes.is_empty() {
            processes.push(None);
        }
        holders.extend(processes.into_iter().map(|process| Holder {
            socket: socket.clone(),
            process,
        }));
    }
    holders
}

/// The sockets in a file of `/proc/net` that have the port on any address; of TCP those that listen.
fn bound_to_any(protocol: &'static str, table: &str, port: u16) -> Vec<Socket> {
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (address, local) = fields.get(1)?.split_once(':')?;
        let any = address.bytes().all(|digit| digit == b'0');
        let listens = !protocol.starts_with("tcp") || *fields.get(3)? == "0A";
        (any && listens && u16::from_str_radix(local, 16) == Ok(port)).then_some(())?;
        Some(Socket {
            protocol,
            port,
            user: fields.get(7)?.parse().ok()?,
            inode: fields.get(9)?.parse().ok()?,
        })
    };
    table.lines().skip(1).filter_map(parse).collect()
}

/// The processes that have these sockets open, by inode.
fn owners(sockets: &[Socket]) -> HashMap<u64, Vec<i32>> {
    let mut owners: HashMap<u64, Vec<i32>> = HashMap::new();
    if sockets.is_empty() {
        return owners;
    }
    for pid in process::pids().unwrap_or_default() {
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten()
        {
            let target = entry.and_then(|entry| fs::read_link(entry.path()));
            let inode = target
                .ok()
                .as_deref()
                .and_then(|path| inode(path.to_str()?));
            let Some(inode) = inode.filter(|inode| sockets.iter().any(|one| one.inode == *inode))
            else {
                continue;
            };
            let pids = owners.entry(inode).or_default();
            // More than one descriptor of the same.
            if pids.last() != Some(&pid) {
                pids.push(pid);
            }
        }
    }
    owners
}

fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns;
    use std::net::TcpListener;
    use std::net::UdpSocket;

    #[test]
    fn ports() {
        let parse = |text: &str| text.parse::<Port>();
        assert_eq!(parse("80").unwrap().to_string(), "80");
        assert_eq!(parse("80/tcp").unwrap().protocol, Some("tcp"));
        assert_eq!(parse("53/udp").unwrap().to_string(), "53/udp");
        for text in [
            "",
            "0",
            "65536",
            "http",
            "80/",
            "80/sctp",
            "/tcp",
            "80/tcp/udp",
            "-1",
        ] {
            assert!(parse(text).unwrap_err().contains("1 to 65535"), "{text}");
        }
    }

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000    33        0 12 1 0 100 0 0 10 0
   2: 00000000:0051 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 13 1 0 100 0 0 10 0
   3: 00000000:0050 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 14 1 0 100 0 0 10 0
rubbish
";

    #[test]
    fn listeners_on_any_address() {
        let found = bound_to_any("tcp", TCP, 80);
        let expected = Socket {
            protocol: "tcp",
            port: 80,
            user: 33,
            inode: 12,
        };
        assert_eq!(found, [expected]);
        let inodes = |found: Vec<Socket>| found.iter().map(|one| one.inode).collect::<Vec<_>>();
        assert_eq!(inodes(bound_to_any("udp", TCP, 80)), [12, 14]);
        assert!(bound_to_any("tcp", TCP, 82).is_empty());
        assert!(bound_to_any("tcp", "", 80).is_empty());
    }

    #[test]
    fn links_to_sockets() {
        assert_eq!(inode("socket:[4711]"), Some(4711));
        assert_eq!(inode("pipe:[4711]"), None);
        assert_eq!(inode("/dev/null"), None);
    }

    #[test]
    fn this_process_is_found() {
        let me = i32::try_from(std::process::id()).unwrap();
        let tcp = TcpListener::bind("0.0.0.0:0").unwrap();
        let udp = UdpSocket::bind("0.0.0.0:0").unwrap();
        for (port, protocol) in [
            (tcp.local_addr().unwrap().port(), "tcp"),
            (udp.local_addr().unwrap().port(), "udp"),
        ] {
            let found = find(&format!("{port}/{protocol}").parse().unwrap());
            let mine = found.iter().any(|holder| {
                holder.socket.protocol == protocol
                    && holder.of(|process| Some(process.pid)) == Some(me)
            });
            assert!(mine, "{found:?}");
        }
    }

    #[test]
    fn text_and_json() {
        let socket = Socket {
            protocol: "tcp6",
            port: 80,
            user: 33,
            inode: 12,
        };
        let process = Process {
            pid: 812,
            command: "nginx".to_owned(),
            context: Some(0),
            confined: Some(false),
        };
        let rows = [
            Holder {
                socket: socket.clone(),
                process: Some(process),
            },
            Holder {
                socket,
                process: None,
            },
        ];
        let columns: Vec<_> = TABLE.iter().collect();
        let mut out = Vec::new();
        columns::write_text(&mut out, &columns, &rows, true).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
PROTO ADDRESS         CTX CONFINED   UID     PID COMMAND
tcp6  [::]:80           0 no          33     812 nginx
tcp6  [::]:80           ? ?           33       ? ?
"
        );
        let json = columns::to_json("holders", &columns, &rows);
        assert_eq!(json["holders"][0]["pid"], 812);
        assert_eq!(json["holders"][0]["confined"], false);
        assert_eq!(json["holders"][1]["command"], Value::Null);
    }
}
