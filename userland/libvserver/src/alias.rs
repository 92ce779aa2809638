// SPDX-License-Identifier: GPL-2.0

//! The addresses of vservers on the devices of the host.
//!
//! One that a device has already is left as it is. One that is added is marked, by its protocol (`ip address` shows
//! `proto 0x56`), so that afterwards nothing else is ever taken off. Which vserver needs which is in a file for each,
//! written before anything is added: after a crash the two tell what is to be done. IPv4 addresses have the label
//! `DEVICE:NAME`, as they always had.

use crate::rtnetlink;
use crate::Address;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::address::AddressFlags;
use netlink_packet_route::address::AddressHeaderFlags;
use netlink_packet_route::address::AddressMessage;
use netlink_packet_route::address::AddressProtocol;
use netlink_packet_route::AddressFamily;
use nix::fcntl::Flock;
use nix::fcntl::FlockArg;
use std::fmt;
use std::fs;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::path::PathBuf;

/// The protocol of the addresses that we add: a `V`.
const PROTOCOL: u8 = 0x56;

/// The kernel's limit on labels.
const LABEL_MAX: usize = 15;

/// The ending of the files that tell who needs what.
const EXTENSION: &str = "addresses";

/// An address that a vserver needs on a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias {
    /// The device.
    pub device: String,
    /// The address.
    pub ip: IpAddr,
    /// Bits of its network's prefix.
    pub prefix: u8,
}

impl Alias {
    /// For an address that is not a whole network.
    pub fn new(device: &str, address: Address) -> Option<Self> {
        (!address.is_whole()).then(|| Self {
            device: device.to_owned(),
            ip: address.ip(),
            prefix: address.prefix(),
        })
    }

    fn parse(line: &str) -> Option<Self> {
        let (device, address) = line.split_once(' ')?;
        let (ip, prefix) = address.split_once('/')?;
        Some(Self {
            device: device.to_owned(),
            ip: ip.parse().ok()?,
            prefix: prefix.parse().ok()?,
        })
    }
}

/// For fuzzing: what is read is written as it was meant.
#[cfg(test)]
pub(crate) fn try_text(text: &str) {
    if let Some(alias) = Alias::parse(text) {
        assert_eq!(Alias::parse(&alias.to_string()), Some(alias));
    }
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.device, self.ip, self.prefix)
    }
}

/// What is wrong with one.
#[derive(Debug)]
pub enum Fault {
    /// There is no such device.
    NoDevice(Alias),
    /// Another device has the address.
    Elsewhere(Alias, String),
    /// The kernel does not add it, or does not take it off.
    Kernel(Alias, io::Error),
    /// The files that tell who needs what.
    Files(PathBuf, io::Error),
    /// The kernel does not tell the addresses.
    List(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(alias) => write!(
                f,
                "there is no device {} for the address {}; \"ip link\" lists them",
                alias.device, alias.ip
            ),
            Self::Elsewhere(alias, device) => write!(
                f,
                "the address {} is on {device} and not on {}; write {device}:{0}, or leave the device out",
                alias.ip, alias.device
            ),
            Self::Kernel(alias, error) => {
                write!(f, "cannot change {} of {}: {error}", alias.ip, alias.device)
            }
            Self::Files(path, error) => write!(f, "cannot use {}: {error}", path.display()),
            Self::List(error) => write!(f, "cannot list the addresses of devices: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// The aliases of all vservers, as nobody else changes them.
#[derive(Debug)]
pub struct Aliases {
    folder: PathBuf,
    _lock: Flock<File>,
}

impl Aliases {
    /// Waits until nobody else changes them. `folder`: where the files are.
    pub fn lock(folder: &Path) -> Result<Self, Fault> {
        let path = folder.join(".addresses.lock");
        let failed = |error| Fault::Files(path.clone(), error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| failed(errno.into()))?;
        Ok(Self {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Checks what a vserver needs, without changing anything.
    pub fn check(wanted: &[Alias]) -> Result<(), Fault> {
        let present = rtnetlink::addresses().map_err(Fault::List)?;
        for alias in wanted {
            let index = index(alias)?;
            let at = |message: &&AddressMessage| own(message) == Some(alias.ip);
            let found: Vec<_> = present.iter().filter(at).collect();
            if found.iter().any(|message| message.header.index == index) {
                continue;
            }
            if let Some(elsewhere) = found.first() {
                return Err(Fault::Elsewhere(alias.clone(), device_of(elsewhere)));
            }
        }
        Ok(())
    }

    /// Gives a vserver what it needs; those that were added.
    pub fn add(&self, name: &str, wanted: &[Alias]) -> Result<Vec<Alias>, Fault> {
        Self::check(wanted)?;
        self.write(name, wanted)?;
        let present = rtnetlink::addresses().map_err(Fault::List)?;
        let mut added = Vec::new();
        for alias in wanted {
            if present.iter().any(|message| own(message) == Some(alias.ip)) {
                continue;
            }
            let message = message(alias, index(alias)?, name);
            match rtnetlink::add(message) {
                Ok(()) => added.push(alias.clone()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    // As before.
                    let _ = self.remove(name);
                    return Err(Fault::Kernel(alias.clone(), error));
                }
            }
        }
        Ok(added)
    }

    /// A vserver needs nothing any more: what was added and nobody needs is taken off. Those.
    pub fn remove(&self, name: &str) -> Result<Vec<Alias>, Fault> {
        let path = self.file(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Fault::Files(path, error))
            }
            _ => {}
        }
        let needed = self.needed()?;
        let present = rtnetlink::addresses().map_err(Fault::List)?;
        let mut removed = Vec::new();
        for message in present.iter().filter(|message| is_marked(message)) {
            let Some(ip) = own(message) else {
                continue;
            };
            let alias = Alias {
                device: device_of(message),
                ip,
                prefix: message.header.prefix_len,
            };
            if needed.iter().any(|other| other.ip == ip) {
                continue;
            }
            match rtnetlink::remove(message.clone()) {
                Ok(()) => removed.push(alias),
                // Somebody was faster.
                Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {}
                Err(error) => return Err(Fault::Kernel(alias, error)),
            }
        }
        if !removed.is_empty() {
            restore(&present, &removed)?;
        }
        Ok(removed)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }

    fn write(&self, name: &str, wanted: &[Alias]) -> Result<(), Fault> {
        let path = self.file(name);
        let new = self.folder.join(format!("{name}.{EXTENSION}.new"));
        let lines: Vec<String> = wanted.iter().map(Alias::to_string).collect();
        let text = lines.join("\n");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Fault::Files(path, error))
    }

    /// What all vservers need.
    fn needed(&self) -> Result<Vec<Alias>, Fault> {
        let failed = |error| Fault::Files(self.folder.clone(), error);
        let mut needed = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|ending| ending == EXTENSION) {
                let text = fs::read_to_string(&path).unwrap_or_default();
                needed.extend(text.lines().filter_map(Alias::parse));
            }
        }
        Ok(needed)
    }
}

/// The kernel takes the others of a network off with its first one: those come back, whoever has added them.
fn restore(before: &[AddressMessage], removed: &[Alias]) -> Result<(), Fault> {
    let now = rtnetlink::addresses().map_err(Fault::List)?;
    for message in before {
        let Some(ip) = own(message) else {
            continue;
        };
        let is_there = |other: &AddressMessage| {
            own(other) == Some(ip) && other.header.index == message.header.index
        };
        let device = device_of(message);
        let meant = removed
            .iter()
            .any(|alias| alias.ip == ip && alias.device == device);
        if meant || now.iter().any(is_there) {
            continue;
        }
        let mut message = message.clone();
        // The kernel decides that anew, and does not take its own account of age.
        message.header.flags.remove(AddressHeaderFlags::Secondary);
        for attribute in &mut message.attributes {
            if let AddressAttribute::Flags(flags) = attribute {
                flags.remove(AddressFlags::Secondary);
            }
        }
        match rtnetlink::add(message.clone()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let alias = Alias {
                    device,
                    ip,
                    prefix: message.header.prefix_len,
                };
                return Err(Fault::Kernel(alias, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn index(alias: &Alias) -> Result<u32, Fault> {
    nix::net::if_::if_nametoindex(alias.device.as_str()).map_err(|_| Fault::NoDevice(alias.clone()))
}

fn device_of(message: &AddressMessage) -> String {
    nix::net::if_::if_indextoname(message.header.index)
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| format!("device {}", message.header.index))
}

/// The address on this machine.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let mut own = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => own = Some(*ip),
            AddressAttribute::Address(ip) => own = own.or(Some(*ip)),
            _ => {}
        }
    }
    own
}

fn is_marked(message: &AddressMessage) -> bool {
    message.attributes.iter().any(|attribute| {
        matches!(attribute, AddressAttribute::Protocol(protocol) if u8::from(*protocol) == PROTOCOL)
    })
}

fn message(alias: &Alias, index: u32, name: &str) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = alias.prefix;
    message.header.family = match alias.ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![
        AddressAttribute::Address(alias.ip),
        AddressAttribute::Local(alias.ip),
        AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL)),
    ];
    match alias.ip {
        IpAddr::V4(_) => {
            let mut label = format!("{}:{name}", alias.device);
            label.truncate(LABEL_MAX);
            message.attributes.push(AddressAttribute::Label(label));
            let address = Address::one(alias.ip, alias.prefix);
            message
                .attributes
                .extend(address.broadcast().map(AddressAttribute::Broadcast));
        }
        // At once, as nothing can be bound to it while the kernel asks whether somebody else has it.
        IpAddr::V6(_) => message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(device: &str, address: &str) -> Alias {
        Alias::parse(&format!("{device} {address}")).unwrap()
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["eth0 10.0.0.5/24", "eth0.7 2001:db8::5/64"] {
            assert_eq!(Alias::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "eth0", "eth0 10.0.0.5", "eth0 x/24", "eth0 10.0.0.5/x"] {
            assert_eq!(Alias::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_whole_network_is_no_alias() {
        assert_eq!(Alias::new("eth0", "10.0.0.0/24".parse().unwrap()), None);
        let one = Alias::new("eth0", "10.0.0.5/24".parse().unwrap());
        assert_eq!(one, Some(alias("eth0", "10.0.0.5/24")));
    }

    #[test]
    fn labels_fit() {
        let made = message(&alias("eth0", "10.0.0.5/24"), 2, "a-long-name-of-a-vserver");
        assert!(made
            .attributes
            .contains(&AddressAttribute::Label("eth0:a-long-nam".to_owned())));
        assert!(made
            .attributes
            .contains(&AddressAttribute::Broadcast([10, 0, 0, 255].into())));
        assert!(is_marked(&made));
        assert_eq!(own(&made), Some([10, 0, 0, 5].into()));
    }
}
