// SPDX-License-Identifier: GPL-2.0

//! Where the two ends of a network row are: both here on the loopback device, or in two network
//! namespaces, each joined to a bridge in a third one by a pair of virtual devices.

use anyhow::{bail, Context, Result};
use netlink_packet_core::{
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL,
    NLM_F_REQUEST,
};
use netlink_packet_route::{
    address::{AddressAttribute, AddressMessage},
    link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
    AddressFamily, RouteNetlinkMessage,
};
use netlink_sys::{protocols::NETLINK_ROUTE, Socket, SocketAddr};
use nix::{
    net::if_::if_nametoindex,
    sched::{setns, unshare, CloneFlags},
};
use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

const BRIDGE: &str = "bridge";
/// The only device, but for lo, of a namespace that it joins.
const DEVICE: &str = "eth0";

/// The client's address and the server's when a bridge is between them, and the bits of their network.
const BRIDGED: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 92, 0, 1), Ipv4Addr::new(10, 92, 0, 2)];
const BITS: u8 = 24;

/// How long devices that are new send of their own accord: IPv6 looks whether its addresses are taken,
/// and joins groups.
const SETTLED: Duration = Duration::from_secs(10);

/// The two places.
pub struct Site {
    /// The server's address.
    pub server: Ipv4Addr,
    namespaces: Option<Namespaces>,
}

struct Namespaces {
    client: File,
    server: File,
    /// Where the bridge is: no process is in there, so this keeps it.
    _middle: File,
}

impl Site {
    /// The loopback device of the network that the process is in.
    pub fn loopback() -> Self {
        Self {
            server: Ipv4Addr::LOCALHOST,
            namespaces: None,
        }
    }

    /// Makes the bridge and what it joins, and goes to the client's side of it. All of it is gone with the
    /// calling process.
    pub fn bridge() -> Result<Self> {
        let middle = new_namespace()?;
        let ends = [new_namespace()?, new_namespace()?];
        go_to(&middle)?;
        request(RouteNetlinkMessage::NewLink(bridge())).context("no bridge can be made")?;
        let bridge = if_nametoindex(BRIDGE)?;
        for (name, end) in ["client", "server"].into_iter().zip(&ends) {
            request(RouteNetlinkMessage::NewLink(pair(name, bridge, end)))
                .context("no pair of virtual devices can be made")?;
        }
        for (end, own) in ends.iter().zip(BRIDGED) {
            go_to(end)?;
            request(RouteNetlinkMessage::SetLink(up(device(DEVICE, Vec::new()))))
                .context("a virtual device does not come up")?;
            request(RouteNetlinkMessage::NewAddress(address(own)?))
                .context("an address cannot be set")?;
        }
        let [client, server] = ends;
        go_to(&client)?;
        std::thread::sleep(SETTLED);
        Ok(Self {
            server: BRIDGED[1],
            namespaces: Some(Namespaces {
                client,
                server,
                _middle: middle,
            }),
        })
    }

    /// Makes something at the server's side: a socket stays where it was made.
    pub fn at_server<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(namespaces) = &self.namespaces else {
            return make();
        };
        go_to(&namespaces.server)?;
        let made = make();
        go_to(&namespaces.client)?;
        made
    }
}

fn new_namespace() -> Result<File> {
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace can be made")?;
    Ok(File::open("/proc/self/ns/net")?)
}

fn go_to(namespace: &File) -> Result<()> {
    setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET)
        .context("a network namespace cannot be entered")
}

fn device(name: &str, more: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.into())];
    message.attributes.extend(more);
    message
}

fn bridge() -> LinkMessage {
    let kind = LinkInfo::Kind(InfoKind::Bridge);
    up(device(BRIDGE, vec![LinkAttribute::LinkInfo(vec![kind])]))
}

fn up(mut device: LinkMessage) -> LinkMessage {
    device.header.flags = LinkFlags::Up;
    device.header.change_mask = LinkFlags::Up;
    device
}

/// Two devices: one here, at the bridge, the other in a namespace, not up yet: it cannot be before the
/// first is there.
fn pair(name: &str, bridge: u32, end: &File) -> LinkMessage {
    let other = device(DEVICE, vec![LinkAttribute::NetNsFd(end.as_raw_fd())]);
    up(device(
        name,
        vec![
            LinkAttribute::Controller(bridge),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Veth),
                LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
            ]),
        ],
    ))
}

fn address(own: Ipv4Addr) -> Result<AddressMessage> {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = BITS;
    message.header.index = if_nametoindex(DEVICE)?;
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(own)),
        AddressAttribute::Address(IpAddr::V4(own)),
    ];
    Ok(message)
}

/// Asks rtnetlink of the network that the process is in.
fn request(message: RouteNetlinkMessage) -> Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io().into()),
        NetlinkPayload::Error(_) => Ok(()),
        other => bail!("rtnetlink answers with {other:?}"),
    }
}
