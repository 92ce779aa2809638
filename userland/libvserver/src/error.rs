// SPDX-License-Identifier: GPL-2.0

//! Errors: what failed, of which kind it is, and what the reader can do about it.

use crate::fault::account;
use crate::fault::address::Fault;
use crate::fault::config;
use crate::fault::guest;
use crate::fault::root;
use nix::errno::Errno;
use serde::Deserialize;
use serde::Serialize;
use std::fmt;

/// The result of this library's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The oldest version of the ABI that is understood: the one before. So the programs can be upgraded while vservers
/// run, which the module cannot.
pub const ABI_OLDEST: u32 = vserver_uapi::ABI_VERSION - 1;

/// What sort of failure it is; exit codes are computed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// The caller asked for something that does not exist.
    Usage,
    /// The kernel module is not loaded, or speaks another ABI.
    NoModule,
    /// The kernel says that the caller may not do this.
    Refused,
    /// A process or context is not there, or cannot be seen from here.
    NotFound,
    /// A limit is reached.
    Limit,
    /// Anything else.
    Failure,
}

/// What was asked of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `IOC_INFO`
    Info,
    /// `IOC_ENTER` with a number or [`CONTEXT_NEW`](vserver_uapi::CONTEXT_NEW)
    Enter(i32),
    /// `IOC_ENTER` with [`CONTEXT_STAY`](vserver_uapi::CONTEXT_STAY)
    Stay,
    /// `IOC_GET`
    Get(i32),
    /// `IOC_LIST`
    List,
    /// `IOC_LIST_HOOKS`
    ListHooks,
    /// `IOC_OPEN`
    Open(i32),
    /// Waiting for a context to end.
    Poll,
    /// `IOC_STATUS`
    Status,
    /// Sending a signal to a process, or as [`uapi::Signal`](vserver_uapi::Signal) says.
    Signal(i32),
    /// `IOC_SET_ADDRESSES`
    SetAddresses,
    /// `IOC_GET_ADDRESSES`
    GetAddresses(i32),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Info => write!(f, "cannot ask the kernel module about itself"),
            Self::Enter(vserver_uapi::CONTEXT_NEW) => write!(f, "cannot enter a new context"),
            Self::Enter(vserver_uapi::CONTEXT_SPECTATOR) => {
                write!(f, "cannot become the spectator (context 1)")
            }
            Self::Enter(number) => write!(f, "cannot enter context {number}"),
            Self::Stay => write!(
                f,
                "cannot change the present context or give up capabilities"
            ),
            Self::Get(0) => write!(f, "cannot tell the present context"),
            Self::Get(pid) => write!(f, "cannot tell the context of process {pid}"),
            Self::List => write!(f, "cannot list the contexts"),
            Self::ListHooks => write!(f, "cannot list the hooks"),
            Self::Open(number) => write!(f, "cannot open context {number}"),
            Self::Poll => write!(f, "cannot wait for the context"),
            Self::Status => write!(f, "cannot tell what has become of the context"),
            Self::Signal(vserver_uapi::SIGNAL_INIT) => write!(f, "cannot signal process 1"),
            Self::Signal(vserver_uapi::SIGNAL_ALL) => write!(f, "cannot signal the processes"),
            Self::Signal(pid) => write!(f, "cannot signal process {pid}"),
            Self::SetAddresses => write!(f, "cannot confine the process to these addresses"),
            Self::GetAddresses(0) => write!(f, "cannot tell one's own addresses"),
            Self::GetAddresses(pid) => write!(f, "cannot tell the addresses of process {pid}"),
        }
    }
}

/// An error of this library.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no device.
    #[error("the kernel module is not loaded: no {path}")]
    NoModule {
        /// The device that was looked for.
        path: String,
    },
    /// The device is there but cannot be opened.
    #[error("cannot open {path}: {}", .errno.desc())]
    OpenDevice {
        /// The device.
        path: String,
        /// Why not.
        errno: Errno,
    },
    /// The device answers as no vserver device does.
    #[error("{path} is not the device of the vserver module")]
    NotOurDevice {
        /// The device.
        path: String,
    },
    /// Module and userland are of different ages.
    #[error(
        "the loaded kernel module speaks ABI version {module}, this program needs {} or {}",
        ABI_OLDEST,
        vserver_uapi::ABI_VERSION
    )]
    AbiVersion {
        /// The module's version.
        module: u32,
    },
    /// The kernel answered with an error number.
    #[error("{operation}: {}", reason(*.operation, *.errno))]
    Kernel {
        /// What was asked.
        operation: Operation,
        /// The answer.
        errno: Errno,
    },
    /// The module of this lane does not implement a flag.
    #[error("the loaded kernel module does not support the flag {names}")]
    FlagsUnsupported {
        /// The flags, by name.
        names: String,
    },
    /// Not a context number.
    #[error("\"{0}\" is not a context number")]
    BadContext(String),
    /// Not a capability.
    #[error("\"{0}\" is not a capability")]
    BadCapability(String),
    /// Not a flag.
    #[error("\"{text}\" is not a context flag")]
    BadFlag {
        /// What was given.
        text: String,
        /// Those that there are.
        known: String,
    },
    /// Not an address that a process can be confined to.
    #[error("\"{text}\" {fault}")]
    BadAddress {
        /// What was given.
        text: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// Neither a broadcast address nor the name of a device.
    #[error("\"{0}\" is neither an IPv4 broadcast address nor a device of this host")]
    BadBroadcast(String),
    /// Neither an address, nor a device, nor the name of a host.
    #[error("\"{name}\" is no address, no device of this host and no known host name ({source})")]
    UnknownName {
        /// What was given.
        name: String,
        /// What the resolver says.
        source: std::io::Error,
    },
    /// A device without a usable address.
    #[error("the device {0} has no IPv4 and no global IPv6 address")]
    NoAddress(String),
    /// A device without a broadcast address.
    #[error("the device {0} has no broadcast address")]
    NoBroadcast(String),
    /// The kernel does not tell the addresses of devices.
    #[error("cannot list the addresses of the device {device}: {source}")]
    Interface {
        /// The device.
        device: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file or directory cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file system of a vserver cannot be prepared.
    #[error("{0}")]
    Guest(guest::Fault),
    /// A configuration is not what it should be.
    #[error("{0}")]
    Config(config::Fault),
    /// The root directory cannot be changed, or not be trusted.
    #[error("{0}")]
    Root(root::Fault),
    /// A user of another root is not there, or cannot be become.
    #[error("{0}")]
    Account(account::Fault),
    /// The helper process could not be used.
    #[error("cannot run the helper process: {0}")]
    Helper(String),
    /// What the helper process reported.
    #[error("{message}")]
    Remote {
        /// Its kind.
        kind: Kind,
        /// Its text.
        message: String,
        /// Its hint.
        hint: Option<String>,
    },
}

impl From<config::Fault> for Error {
    fn from(fault: config::Fault) -> Self {
        Self::Config(fault)
    }
}

impl From<root::Fault> for Error {
    fn from(fault: root::Fault) -> Self {
        Self::Root(fault)
    }
}

impl From<account::Fault> for Error {
    fn from(fault: account::Fault) -> Self {
        Self::Account(fault)
    }
}

impl Error {
    /// The kind of this error.
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoModule { .. } | Self::NotOurDevice { .. } | Self::AbiVersion { .. } => {
                Kind::NoModule
            }
            Self::OpenDevice { errno, .. } | Self::Kernel { errno, .. } => match errno {
                Errno::EPERM | Errno::EACCES => Kind::Refused,
                Errno::ESRCH => Kind::NotFound,
                Errno::EAGAIN | Errno::ENOMEM | Errno::ENFILE | Errno::EMFILE | Errno::ENOSPC => {
                    Kind::Limit
                }
                _ => Kind::Failure,
            },
            Self::BadContext(_)
            | Self::BadCapability(_)
            | Self::BadFlag { .. }
            | Self::BadAddress { .. }
            | Self::Config(_) => Kind::Usage,
            Self::UnknownName { .. }
            | Self::BadBroadcast(_)
            | Self::NoAddress(_)
            | Self::NoBroadcast(_)
            | Self::Account(account::Fault::Unknown(_) | account::Fault::NoUsers(_)) => {
                Kind::NotFound
            }
            Self::Root(root::Fault::Change { errno, .. })
            | Self::Account(account::Fault::Become { errno, .. }) => match errno {
                Errno::EPERM | Errno::EACCES => Kind::Refused,
                Errno::ENOENT | Errno::ENOTDIR => Kind::NotFound,
                _ => Kind::Failure,
            },
            Self::FlagsUnsupported { .. }
            | Self::Interface { .. }
            | Self::Read { .. }
            | Self::Root(_)
            | Self::Guest(_)
            | Self::Account(_)
            | Self::Helper(_) => Kind::Failure,
            Self::Remote { kind, .. } => *kind,
        }
    }

    /// What the reader can do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NoModule { .. } => "load it with \"modprobe vserver\" or \"insmod vserver.ko\"",
            Self::OpenDevice {
                errno: Errno::EACCES | Errno::EPERM,
                ..
            } => "its mode should be 0666: \"chmod 0666\" it as root",
            Self::OpenDevice { .. } => {
                "unload and load the module: \"rmmod vserver; modprobe vserver\""
            }
            Self::NotOurDevice { .. } => "remove the file, then load the module again",
            Self::AbiVersion { module } if *module < vserver_uapi::ABI_VERSION => {
                "install the module of this release, stop the vservers with the programs of before, and load it"
            }
            Self::AbiVersion { .. } => "install the programs of the module's release",
            Self::Kernel { operation, errno } => {
                return hint(*operation, *errno).map(str::to_owned);
            }
            Self::FlagsUnsupported { .. } => "\"vserver info\" tells which flags it supports",
            Self::BadContext(_) => {
                "give a number from 0 to 65535, -1 for a new context or -2 to stay"
            }
            Self::BadCapability(_) => {
                "names look like CAP_NET_RAW; \"reducecap --show\" prints all"
            }
            Self::BadFlag { known, .. } => {
                return Some(format!("the flags are {known}"));
            }
            Self::BadAddress { fault, .. } => fault.hint(),
            Self::BadBroadcast(_) => {
                "give an address such as 10.0.0.255; \"ip address\" lists the devices"
            }
            Self::UnknownName { .. } => {
                "\"ip address\" lists the devices; a host name must be in /etc/hosts or DNS, as this \
                 statically linked program has no other source of names"
            }
            Self::NoAddress(device) => {
                return Some(format!(
                    "add one with \"ip address add 10.0.0.5/24 dev {device}\", or give the address itself"
                ));
            }
            Self::NoBroadcast(_) => "give the address itself, such as 10.0.0.255",
            Self::Interface { .. } => "give the address itself",
            Self::Read { .. } => "check that /proc is mounted",
            Self::Config(_) => return None,
            Self::Guest(_) => "look at the directory of the vserver, and run it as root in context 0",
            Self::Root(fault) => fault.hint(),
            Self::Account(fault) => fault.hint(),
            Self::Helper(_) => "check that /proc is mounted and that processes can be started",
            Self::Remote { hint, .. } => return hint.clone(),
        };
        Some(text.to_owned())
    }
}

/// Why the kernel gave this answer, in words.
fn reason(operation: Operation, errno: Errno) -> &'static str {
    use Operation::{
        Enter, Get, GetAddresses, Info, List, ListHooks, Open, SetAddresses, Signal, Stay,
    };
    match (operation, errno) {
        (Enter(number), Errno::EPERM) if number == vserver_uapi::CONTEXT_NEW => {
            "the present context is locked, or is the spectator's, or a debugger holds the process"
        }
        (Enter(_), Errno::EPERM) => {
            "only root in context 0 may, and nobody into a private context or out of a locked one"
        }
        (Stay, Errno::EPERM) => {
            "the context has had a process number 1, or others are in it and CAP_SYS_ADMIN is missing"
        }
        (Enter(_) | Stay, Errno::EINVAL) => {
            "a number, flag or capability is unknown to the kernel, or the process has several threads"
        }
        (Enter(_), Errno::EAGAIN) => "a limit on processes or contexts is reached",
        (Stay, Errno::EAGAIN) => "a limit on processes is reached",
        (Enter(_) | Stay, Errno::EOPNOTSUPP) => "the loaded kernel module does not support a flag",
        (Enter(_) | Stay, Errno::ETXTBSY) => {
            "a live patch or a BPF program holds a function of the kernel that a process 1 needs"
        }
        (Enter(_) | Stay | SetAddresses, Errno::EBUSY) => {
            "the process shares memory, descriptors or directories with another one, or has an \
             instance of io_uring"
        }
        (SetAddresses, Errno::EPERM) => {
            "who is confined already may only keep some of the addresses already held, and the \
             broadcast address or none"
        }
        (SetAddresses, Errno::EINVAL) => {
            "an address or the broadcast address cannot be used, there are more than 4096, or the \
             process has several threads"
        }
        (SetAddresses, Errno::EAGAIN) => "no private loopback is free",
        (SetAddresses | GetAddresses(_), Errno::EOPNOTSUPP) => {
            "the loaded kernel module knows nothing of addresses"
        }
        (Get(_) | GetAddresses(_), Errno::ESRCH) => "there is no such process in sight",
        (Open(_), Errno::ESRCH) => "there is no such context in sight",
        (Signal(_), Errno::ESRCH) => "there is no such process",
        (Signal(_), Errno::EPERM) => "not permitted in its context",
        (ListHooks, Errno::EPERM) => "only root in context 0 may",
        (Enter(_) | Open(_), Errno::EMFILE | Errno::ENFILE) => "too many files are open",
        (
            Info | Get(_) | List | ListHooks | Open(_) | Enter(_) | Stay | SetAddresses | GetAddresses(_),
            Errno::ENOTTY,
        ) => "the loaded kernel module does not know this request",
        (_, Errno::EFAULT) => "the kernel could not read or write the request",
        (_, Errno::ENOMEM) => "the kernel is out of memory",
        (_, errno) => errno.desc(),
    }
}

/// What to do about it.
fn hint(operation: Operation, errno: Errno) -> Option<&'static str> {
    use Operation::{Enter, Get, GetAddresses, ListHooks, Open, SetAddresses, Signal, Stay};
    Some(match (operation, errno) {
        (Enter(vserver_uapi::CONTEXT_NEW), Errno::EPERM) => {
            "stay in the context with --ctx -2, or ask from another one"
        }
        (Enter(_), Errno::EPERM) => "run it as root in context 0, or ask for a new context with -1",
        (Stay, Errno::EPERM) => "leave out the flags, or enter a new context with -1",
        (Enter(_), Errno::EINVAL) => {
            "choose a number from 2 to 49151, or -1, and see \"vserver info\" for flags"
        }
        (Stay, Errno::EINVAL) => {
            "context 0 takes no flags: enter a new context with -1 to set some"
        }
        (Enter(_) | Stay, Errno::EAGAIN) => {
            "raise the limit (ulimit -u) or end a context; \"vserver info\" shows the limits"
        }
        (Enter(_) | Stay, Errno::EOPNOTSUPP) => "\"vserver info\" tells which flags it supports",
        (Enter(_) | Stay, Errno::ETXTBSY) => "\"dmesg\" names the function: end what holds it",
        (Enter(_) | Stay | SetAddresses, Errno::EBUSY) => {
            "do it in a process that was started by fork or a new program, and close the rings"
        }
        (SetAddresses, Errno::EPERM) => {
            "\"grep ipv4root /proc/self/status\" tells those held; root in context 0 may set others"
        }
        (SetAddresses, Errno::EINVAL) => {
            "give addresses of devices, as \"ip address\" shows them, and a broadcast address \
             that is not one of 127.0.0.0/8 or multicast"
        }
        (SetAddresses, Errno::EAGAIN) => {
            "end something that is confined: each set of addresses has a loopback of its own"
        }
        (SetAddresses | GetAddresses(_), Errno::EOPNOTSUPP) => {
            "install module and programs of the same release"
        }
        (Get(_) | GetAddresses(_) | Signal(_), Errno::ESRCH) => "\"vps ax\" lists all processes",
        (Open(_), Errno::ESRCH) => "\"vserver-stat\" lists the contexts",
        (ListHooks, Errno::EPERM) => "run it as root in context 0",
        (ListHooks, Errno::ENOTTY) => "install module and programs of the same release",
        (Signal(_), Errno::EPERM) => "processes of context 1 take no signal from others",
        (_, Errno::ENOTTY) => "install module and programs of the same release",
        (_, Errno::EMFILE | Errno::ENFILE) => "raise the limit on open files (ulimit -n)",
        (_, Errno::EFAULT) => "this is a fault of the program: report it",
        (_, Errno::ENOMEM) => "free some memory",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_module_says_what_to_do_in_one_line() {
        let error = Error::NoModule {
            path: "/dev/vserver".to_owned(),
        };
        assert_eq!(
            format!("{error}; {}", error.hint().unwrap()),
            "the kernel module is not loaded: no /dev/vserver; \
             load it with \"modprobe vserver\" or \"insmod vserver.ko\""
        );
        assert_eq!(error.kind(), Kind::NoModule);
    }

    #[test]
    fn every_errno_of_the_abi_has_a_reason_and_a_hint() {
        let enter = Operation::Enter(100);
        let table = [
            (enter, Errno::EPERM, Kind::Refused),
            (Operation::Enter(-1), Errno::EPERM, Kind::Refused),
            (Operation::Enter(1), Errno::EPERM, Kind::Refused),
            (Operation::Stay, Errno::EPERM, Kind::Refused),
            (enter, Errno::EINVAL, Kind::Failure),
            (Operation::Stay, Errno::EINVAL, Kind::Failure),
            (enter, Errno::EAGAIN, Kind::Limit),
            (enter, Errno::EOPNOTSUPP, Kind::Failure),
            (Operation::Get(7), Errno::ESRCH, Kind::NotFound),
            (Operation::Open(7), Errno::ESRCH, Kind::NotFound),
            (Operation::Signal(7), Errno::EPERM, Kind::Refused),
            (Operation::Signal(7), Errno::ESRCH, Kind::NotFound),
            (Operation::Info, Errno::ENOTTY, Kind::Failure),
            (Operation::ListHooks, Errno::EPERM, Kind::Refused),
            (Operation::ListHooks, Errno::ENOTTY, Kind::Failure),
            (Operation::List, Errno::EFAULT, Kind::Failure),
            (Operation::List, Errno::ENOMEM, Kind::Limit),
            (Operation::Open(7), Errno::EMFILE, Kind::Limit),
            (Operation::SetAddresses, Errno::EPERM, Kind::Refused),
            (Operation::SetAddresses, Errno::EINVAL, Kind::Failure),
            (Operation::SetAddresses, Errno::EAGAIN, Kind::Limit),
            (Operation::SetAddresses, Errno::EOPNOTSUPP, Kind::Failure),
            (Operation::SetAddresses, Errno::ENOTTY, Kind::Failure),
            (Operation::GetAddresses(7), Errno::ESRCH, Kind::NotFound),
            (Operation::GetAddresses(0), Errno::ENOTTY, Kind::Failure),
        ];
        for (operation, errno, kind) in table {
            let error = Error::Kernel { operation, errno };
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.hint().is_some(), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn texts_name_the_object() {
        let error = Error::Kernel {
            operation: Operation::Get(4711),
            errno: Errno::ESRCH,
        };
        assert_eq!(
            error.to_string(),
            "cannot tell the context of process 4711: there is no such process in sight"
        );
    }
}
