// SPDX-License-Identifier: GPL-2.0

//! `/dev/vserver`: opened once, its ABI agreed on once, one method per ioctl.

pub use crate::error::ABI_OLDEST;

use crate::error::Operation;
use crate::ioctl;
use crate::{Address, CapabilitySet, ContextFd, Error, Flags, Ipv4root, Request, Result};
use nix::errno::Errno;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use vserver_uapi as uapi;

/// Where the device is.
pub const PATH: &str = "/dev/vserver";

/// How many contexts are asked for with one call of [`Device::list`].
const LIST_CHUNK: usize = 256;

/// How many hooks are asked for with one call of [`Device::hooks`].
const HOOKS_CHUNK: usize = 64;

/// For how many addresses there is room in the first call of [`Device::addresses`].
const ADDRESSES_CHUNK: usize = 64;

/// The open device of a module whose ABI is ours.
#[derive(Debug)]
pub struct Device {
    file: File,
    info: uapi::Info,
}

/// The outcome of [`Device::enter`].
#[derive(Debug)]
pub struct Entered {
    /// The number of the context that the process is now in.
    pub context: i32,
    /// Its descriptor, when it was asked for.
    pub fd: Option<ContextFd>,
}

impl Device {
    /// Open the device and check the ABI version; no later call needs to.
    pub fn open() -> Result<Self> {
        Self::open_at(Path::new(PATH))
    }

    fn open_at(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let file = File::open(path).map_err(|error| {
            match error.raw_os_error().map_or(Errno::EIO, Errno::from_raw) {
                // ENODEV and ENXIO: a node that outlived its module.
                Errno::ENOENT | Errno::ENODEV | Errno::ENXIO => Error::NoModule { path: name() },
                errno => Error::OpenDevice {
                    path: name(),
                    errno,
                },
            }
        })?;
        let info = ioctl::info(&file).map_err(|errno| match errno {
            Errno::ENOTTY => Error::NotOurDevice { path: name() },
            errno => kernel(Operation::Info, errno),
        })?;
        check_version(info.abi_version)?;
        Ok(Self { file, info })
    }

    /// What the module said about itself when it was opened.
    pub fn info(&self) -> &uapi::Info {
        &self.info
    }

    /// The flags that the module supports.
    pub fn flags_supported(&self) -> Flags {
        Flags::from_bits_truncate(self.info.flags_supported)
    }

    /// Move the calling process into a context, for good. It must have one thread.
    pub fn enter(&self, request: Request, flags: Flags, drop: CapabilitySet) -> Result<Entered> {
        self.enter_with(request, flags, drop, 0)
    }

    /// Like [`Device::enter`], and return the context's descriptor too.
    pub fn enter_and_open(
        &self,
        request: Request,
        flags: Flags,
        drop: CapabilitySet,
    ) -> Result<Entered> {
        self.enter_with(request, flags, drop, uapi::ENTER_OPEN_FD)
    }

    /// Give up capabilities for good, without leaving the present context.
    pub fn give_up(&self, drop: CapabilitySet) -> Result<Entered> {
        self.enter(Request::Stay, Flags::empty(), drop)
    }

    fn enter_with(
        &self,
        request: Request,
        flags: Flags,
        drop: CapabilitySet,
        options: u32,
    ) -> Result<Entered> {
        let unsupported = flags - self.flags_supported();
        if !unsupported.is_empty() {
            return Err(Error::FlagsUnsupported {
                names: unsupported.to_string(),
            });
        }
        let argument = uapi::Enter {
            context: request.number(),
            flags: flags.bits(),
            caps_drop: drop.bits(),
            options,
            ..Default::default()
        };
        let operation = match request {
            Request::Stay => Operation::Stay,
            request => Operation::Enter(request.number()),
        };
        let (answer, fd) =
            ioctl::enter(&self.file, argument).map_err(|errno| kernel(operation, errno))?;
        Ok(Entered {
            context: answer.context,
            fd: fd.map(ContextFd::new),
        })
    }

    /// The context of a process that the caller can see; 0 is the caller.
    pub fn get(&self, pid: i32) -> Result<uapi::ContextInfo> {
        ioctl::get(&self.file, pid).map_err(|errno| kernel(Operation::Get(pid), errno))
    }

    /// The contexts that the caller can see, ascending.
    pub fn list(&self) -> Result<Vec<uapi::ContextInfo>> {
        let mut all = Vec::new();
        let mut buffer = vec![uapi::ContextInfo::default(); LIST_CHUNK];
        let mut after = 0;
        loop {
            let (count, next) = ioctl::list(&self.file, after, &mut buffer)
                .map_err(|errno| kernel(Operation::List, errno))?;
            if count == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buffer[..count]);
            after = next;
        }
    }

    /// All hooks of the module. For root in context 0 only.
    pub fn hooks(&self) -> Result<Vec<uapi::HookInfo>> {
        let mut all = Vec::new();
        let mut buffer = [uapi::HookInfo::default(); HOOKS_CHUNK];
        loop {
            let skip = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let count = ioctl::list_hooks(&self.file, skip, &mut buffer)
                .map_err(|errno| kernel(Operation::ListHooks, errno))?;
            if count == 0 {
                return Ok(all);
            }
            all.extend_from_slice(&buffer[..count]);
        }
    }

    /// One context, by its number; `None`: it does not exist, or the caller cannot see it.
    pub fn context(&self, number: i32) -> Result<Option<uapi::ContextInfo>> {
        if number < uapi::CONTEXT_MIN {
            return Ok(None);
        }
        let mut found = [uapi::ContextInfo::default()];
        let (count, _) = ioctl::list(&self.file, number - 1, &mut found)
            .map_err(|errno| kernel(Operation::List, errno))?;
        let [found] = found;
        Ok(Some(found).filter(|found| count == 1 && found.context == number))
    }

    /// The descriptor of a context that exists.
    pub fn open_context(&self, context: i32) -> Result<ContextFd> {
        ioctl::open(&self.file, context)
            .map(ContextFd::new)
            .map_err(|errno| kernel(Operation::Open(context), errno))
    }

    /// Send a signal into a context from outside, to the process of this pid,
    /// [`SIGNAL_INIT`](uapi::SIGNAL_INIT) or [`SIGNAL_ALL`](uapi::SIGNAL_ALL); `None` only asks whether
    /// there is somebody. Tells how many processes it was sent to.
    pub fn signal(&self, context: i32, pid: i32, signal: Option<i32>) -> Result<u32> {
        let number = signal.unwrap_or(0).unsigned_abs();
        ioctl::signal(&self.file, context, pid, number)
            .map_err(|errno| kernel(Operation::Signal(pid), errno))
    }

    /// Confine the calling process, and what it will start, to these addresses. It must have one
    /// thread. Who is confined already may only keep some of them, save root in context 0, whom no
    /// address at all makes free again.
    pub fn set_addresses(
        &self,
        addresses: &[Address],
        broadcast: Option<Ipv4Addr>,
    ) -> Result<Ipv4root> {
        let failed = |errno| kernel(Operation::SetAddresses, errno);
        if self.info.features & uapi::FEATURE_ADDRESSES == 0 {
            return Err(failed(Errno::EOPNOTSUPP));
        }
        let told: Vec<uapi::Address> = addresses.iter().map(|address| address.to_abi()).collect();
        let broadcast_told = broadcast.map_or([0; 4], |broadcast| broadcast.octets());
        let answer = ioctl::set_addresses(&self.file, &told, broadcast_told).map_err(failed)?;
        Ok(Ipv4root::from_abi(&answer, &told))
    }

    /// What a process that the caller can see is confined to, 0 is the caller; `None`: nothing.
    pub fn addresses(&self, pid: i32) -> Result<Option<Ipv4root>> {
        if self.info.features & uapi::FEATURE_ADDRESSES == 0 {
            return Ok(None);
        }
        let mut buffer = vec![uapi::Address::default(); ADDRESSES_CHUNK];
        loop {
            let answer = ioctl::get_addresses(&self.file, pid, &mut buffer)
                .map_err(|errno| kernel(Operation::GetAddresses(pid), errno))?;
            let count = answer.count as usize;
            if count <= buffer.len() {
                let found = Ipv4root::from_abi(&answer, &buffer[..count]);
                return Ok((count > 0).then_some(found));
            }
            buffer.resize(count, uapi::Address::default());
        }
    }
}

fn check_version(module: u32) -> Result<()> {
    match module {
        ABI_OLDEST..=uapi::ABI_VERSION => Ok(()),
        module => Err(Error::AbiVersion { module }),
    }
}

fn kernel(operation: Operation, errno: Errno) -> Error {
    Error::Kernel { operation, errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn a_missing_device_is_a_missing_module() {
        let error = Device::open_at(Path::new("/nonexistent/vserver")).unwrap_err();
        assert_eq!(error.kind(), Kind::NoModule);
        assert!(error.to_string().ends_with("no /nonexistent/vserver"));
    }

    #[test]
    fn this_version_and_the_one_before() {
        for version in [uapi::ABI_VERSION, uapi::ABI_VERSION - 1] {
            assert!(check_version(version).is_ok());
        }
        for version in [uapi::ABI_VERSION + 1, ABI_OLDEST.wrapping_sub(1), u32::MAX] {
            let error = check_version(version).unwrap_err();
            assert_eq!(error.kind(), Kind::NoModule);
            let text = error.to_string();
            assert!(text.contains(&format!("ABI version {version}")), "{text}");
        }
    }

    #[test]
    fn another_device_is_not_taken_for_ours() {
        let error = Device::open_at(Path::new("/dev/null")).unwrap_err();
        assert!(matches!(error, Error::NotOurDevice { .. }), "{error}");
    }
}
