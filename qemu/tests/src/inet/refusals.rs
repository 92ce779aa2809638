// SPDX-License-Identifier: GPL-2.0

//! What is refused: sockets that no rule knows, options that reach further, sockets from elsewhere.

use super::*;
use crate::{fixture::ensure, meanwhile::Changing, syscalls, test};

pub const PROTOCOLS: Test = test("inet::other_protocols_are_refused", 30, protocols);
pub const OPTIONS: Test = test("inet::options_that_reach_further", 30, options);
pub const CHANGED_MEANWHILE: Test = test("inet::options_changed_meanwhile", 120, changed_meanwhile);
pub const MADE_BEFORE: Test = test("inet::sockets_made_before", 30, made_before);
pub const PASSED: Test = test("inet::sockets_passed_in", 30, passed);

fn protocols() -> Outcome {
    addresses()?;
    within(100, &[A], || {
        let socket = |family: i32, kind: i32, protocol: i32| {
            let arguments = [family as usize, kind as usize, protocol as usize, 0, 0, 0];
            syscalls::syscall(libc::SYS_socket, arguments).map(|fd| drop(syscalls::own(fd as i32)))
        };
        // ETH_P_ALL
        let packet = socket(libc::AF_PACKET, libc::SOCK_RAW, 0x300);
        equal("packet", packet, Err(Errno::EPERM))?;
        let raw = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW);
        equal("raw with its own headers", raw, Err(Errno::EPERM))?;
        let raw = socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
        equal("raw ICMP, as root", raw, Ok(()))?;
        // One of TCP has no port to be found by, and no "any".
        for (kind, protocol) in [(libc::SOCK_RAW, 6), (libc::SOCK_RAW, 17)] {
            let arguments = [libc::AF_INET as usize, kind as usize, protocol, 0, 0, 0];
            let fd = syscalls::syscall(libc::SYS_socket, arguments).map_err(words)?;
            let fd = syscalls::own(fd as i32);
            let to = |ip| bind(fd.as_raw_fd(), &SockaddrStorage::from(at(ip, 8510)));
            equal("any", to("0.0.0.0"), Ok(()))?;
            equal("foreign", to(HOST), Err(Errno::EADDRNOTAVAIL))?;
            let name = SockaddrStorage::from(at(HOST, 8510));
            let connected = nix::sys::socket::connect(fd.as_raw_fd(), &name);
            equal("connected", connected, Ok(()))?;
            let nobody = [0u8; 16];
            let arguments = [
                fd.as_raw_fd() as usize,
                nobody.as_ptr() as usize,
                16,
                0,
                0,
                0,
            ];
            syscalls::syscall(libc::SYS_connect, arguments).map_err(words)?;
            let socket = UdpSocket::from(fd);
            equal(
                "its name",
                socket.local_addr().map_err(words)?.ip().to_string(),
                A.into(),
            )?;
        }
        let mptcp = socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP);
        equal("mptcp", mptcp, Err(Errno::EPROTONOSUPPORT))?;
        equal(
            "netlink",
            socket(libc::AF_NETLINK, libc::SOCK_RAW, 0),
            Ok(()),
        )?;
        Ok("")
    })
}

const SO_BINDTOIFINDEX: i32 = 62;

fn options() -> Outcome {
    addresses()?;
    Command::new("/bin/ip")
        .args(["link", "add", "vsfar", "type", "dummy"])
        .output()
        .map_err(words)?;
    let far = nix::net::if_::if_nametoindex("vsfar").map_err(words)?;
    within(100, &[A, A6], || {
        let set = |socket: &OwnedFd, level: i32, name: i32, value: &[u8]| {
            syscalls::set_option(socket, level, name, value)
        };
        let (four, six) = (tcp_socket(false), tcp_socket(true));
        let (four, six) = (four.map_err(words)?, six.map_err(words)?);
        let refused = Err(Errno::EPERM);
        let on = 1i32.to_ne_bytes();
        equal(
            "transparent",
            set(&four, libc::IPPROTO_IP, libc::IP_TRANSPARENT, &on),
            refused,
        )?;
        let six_on = set(&six, libc::IPPROTO_IPV6, libc::IPV6_TRANSPARENT, &on);
        equal("transparent", six_on, refused)?;
        equal(
            "source route",
            set(&four, libc::IPPROTO_IP, libc::IP_OPTIONS, &[1; 4]),
            refused,
        )?;
        equal(
            "free binding",
            set(&four, libc::IPPROTO_IP, libc::IP_FREEBIND, &on),
            Ok(()),
        )?;
        let name = SockaddrStorage::from(at("192.0.2.1", 8501));
        let got = bind(four.as_raw_fd(), &name);
        equal("and what it is for", got, Err(Errno::EADDRNOTAVAIL))?;
        let lo = set(&four, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"lo\0");
        equal("a device that is there", lo, Ok(()))?;
        let name = set(&six, libc::SOL_SOCKET, libc::SO_BINDTODEVICE, b"vsfar\0");
        equal("one that is not", name, Err(Errno::ENODEV))?;
        let index = set(&six, libc::SOL_SOCKET, SO_BINDTOIFINDEX, &far.to_ne_bytes());
        equal("by number", index, Err(Errno::ENODEV))?;
        // struct in6_pktinfo: no address, and the device.
        let mut info = [0u8; 20];
        info[16..].copy_from_slice(&far.to_ne_bytes());
        let info = set(&six, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        equal("as the way out", info, Err(Errno::ENODEV))?;
        let on = set(&six, libc::SOL_SOCKET, libc::SO_KEEPALIVE, &on);
        equal("other options are as ever", on, Ok(()))?;
        equal("a flow label", flow_label(&six, false), Ok(()))?;
        equal("by another way", flow_label(&six, true), refused)?;
        Ok("")
    })?;
    let six = tcp_socket(true).map_err(words)?;
    equal("a label of the host", flow_label(&six, true), Ok(()))
}

/// Options that name a device, whose value another thread changes between what the module reads and what the kernel
/// reads.
fn changed_meanwhile() -> Outcome {
    const IP_UNICAST_IF: i32 = 50;
    const IPV6_UNICAST_IF: i32 = 76;
    addresses()?;
    Command::new("/bin/ip")
        .args(["link", "add", "vsfar", "type", "dummy"])
        .output()
        .map_err(words)?;
    let far = nix::net::if_::if_nametoindex("vsfar").map_err(words)?;
    let lo = nix::net::if_::if_nametoindex("lo").map_err(words)?;
    let by_name = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
    let by_number = [
        (libc::SOL_SOCKET, SO_BINDTOIFINDEX),
        (libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF),
    ];
    let by_swapped_number = [
        (libc::IPPROTO_IP, IP_UNICAST_IF),
        (libc::IPPROTO_IPV6, IPV6_UNICAST_IF),
    ];
    let number = |index: u32| index.to_ne_bytes().to_vec();
    let swapped = |index: u32| index.to_be_bytes().to_vec();
    let mut options = vec![(by_name, b"lo".to_vec(), b"vsfar".to_vec())];
    options.extend(by_number.map(|option| (option, number(lo), number(far))));
    options.extend(by_swapped_number.map(|option| (option, swapped(lo), swapped(far))));
    within(100, &[A, A6], || {
        for ((level, name), allowed, refused) in &options {
            let socket = UdpSocket::bind(at("::", 0)).map_err(words)?;
            let call = |number: i64, value: usize, length: usize| {
                let fd = socket.as_raw_fd() as usize;
                let arguments = [fd, *level as usize, *name as usize, value, length, 0];
                syscalls::syscall(number, arguments)
            };
            let length = if allowed.len() == 4 { 4 } else { 16 };
            Changing::between(allowed, refused).for_a_while(Duration::from_secs(1), |value| {
                if call(libc::SYS_setsockopt, value.address(), length).is_err() {
                    return Ok(());
                }
                let mut got = [0u8; 16];
                let mut size = length as u32;
                let place = std::ptr::from_mut(&mut size) as usize;
                call(libc::SYS_getsockopt, got.as_mut_ptr() as usize, place).map_err(words)?;
                ensure(
                    &format!("option {name} of {level} is {got:?}"),
                    !got.starts_with(refused),
                )
            })?;
        }
        Ok("")
    })
}

/// Takes a flow label, and with it all its packets a routing header of type 2 if wanted: to the host's ::1.
fn flow_label(socket: &OwnedFd, routed: bool) -> Result<(), Errno> {
    const IPV6_FLOWLABEL_MGR: i32 = 32;
    const IPV6_RTHDR: u32 = 57;
    // struct in6_flowlabel_req: the label's destination, no label, IPV6_FL_A_GET, IPV6_FL_S_EXCL, IPV6_FL_F_CREATE.
    let mut request = vec![0u8; 32];
    request[..16].copy_from_slice(&std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).octets());
    request[21] = 1;
    request[22] = 1;
    // The length of a control message, its level and kind, and the header.
    let mut header = vec![0u8; 24];
    header[..4].copy_from_slice(&[0, 2, 2, 1]);
    header[23] = 1;
    if routed {
        request.extend((16 + header.len() as u64).to_ne_bytes());
        request.extend((libc::IPPROTO_IPV6 as u32).to_ne_bytes());
        request.extend(IPV6_RTHDR.to_ne_bytes());
        request.extend(header);
    }
    syscalls::set_option(socket, libc::IPPROTO_IPV6, IPV6_FLOWLABEL_MGR, &request)
}

/// A socket from before keeps what it has; without anything it is like a new one.
fn made_before() -> Outcome {
    addresses()?;
    child(|| {
        let bound = UdpSocket::bind(at(HOST, 8502)).map_err(words)?;
        let listener = TcpListener::bind(at(HOST, 8502)).map_err(words)?;
        let (fresh, other) = (tcp_socket(false), tcp_socket(false));
        let (fresh, other) = (fresh.map_err(words)?, other.map_err(words)?);
        confine(&[A]).map_err(words)?;
        enter(100, 0, 0).map_err(words)?;
        let got = errno(bound.connect(at(B, 8502)));
        equal("connect", got, Err(Errno::EPERM))?;
        equal(
            "name",
            listener.local_addr().map_err(words)?,
            at(HOST, 8502),
        )?;
        let away = Err(Errno::EADDRNOTAVAIL);
        let bind_to =
            |socket: &OwnedFd, ip| bind(socket.as_raw_fd(), &SockaddrStorage::from(at(ip, 8503)));
        equal("foreign", bind_to(&fresh, HOST), away)?;
        equal("own", bind_to(&fresh, A), Ok(()))?;
        let name = SockaddrStorage::from(at(HOST, 8502));
        nix::sys::socket::connect(other.as_raw_fd(), &name).map_err(words)?;
        let (_, from) = listener.accept().map_err(words)?;
        equal("comes from", from.ip().to_string().as_str(), A)?;
        Ok(String::new())
    })
    .map(drop)
}

/// The same for sockets that come by a Unix socket.
fn passed() -> Outcome {
    use nix::sys::socket::MsgFlags;
    use nix::sys::socket::{recvmsg, sendmsg, socketpair, ControlMessage, ControlMessageOwned};
    addresses()?;
    let (one, other) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::empty(),
    )
    .map_err(words)?;
    let _host = Sitter::new(CONTEXT_ROOT, 0, || answerer("host", at(HOST, 8504)))?;
    let fresh = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::empty(),
        None,
    )
    .map_err(words)?;
    let held = UdpSocket::bind(at(C, 8505)).map_err(words)?;
    let fds = [fresh.as_raw_fd(), held.as_raw_fd()];
    within(100, &[A], || {
        sendmsg::<()>(
            one.as_raw_fd(),
            &[io::IoSlice::new(b"!")],
            &[ControlMessage::ScmRights(&fds)],
            MsgFlags::empty(),
            None,
        )
        .map_err(words)?;
        let mut space = nix::cmsg_space!([std::os::fd::RawFd; 2]);
        let mut room = [0; 1];
        let mut slices = [io::IoSliceMut::new(&mut room)];
        let message = recvmsg::<()>(
            other.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::empty(),
        )
        .map_err(words)?;
        let got = message.cmsgs().map_err(words)?.find_map(|cmsg| match cmsg {
            ControlMessageOwned::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let Some([fresh, held]) = got.as_deref() else {
            return Err("no descriptors came".to_string());
        };
        let fresh = UdpSocket::from(syscalls::own(*fresh));
        let held = UdpSocket::from(syscalls::own(*held));
        let told = asked(&fresh, at(HOST, 8504)).map_err(words);
        same("without an address", told, &format!("host {A} from {HOST}"))?;
        let told = asked(&held, at(HOST, 8504)).map_err(words);
        same("with one", told, &format!("host {C} from {HOST}"))?;
        Ok("")
    })
}
