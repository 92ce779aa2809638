// SPDX-License-Identifier: GPL-2.0

//! Processes in contexts, and what they say.

use crate::{settle::settle, syscalls};
use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::wait::{waitpid, WaitStatus},
    unistd::{pipe2, read, write, Pid},
};
use std::{fs::File, io::Read, net::IpAddr, os::fd::OwnedFd};
use vserver_uapi::*;

/// `Err`: what was wrong.
pub type Outcome = Result<(), String>;

/// Fails with both values when they differ.
pub fn equal<T: PartialEq + std::fmt::Debug>(what: &str, got: T, expected: T) -> Outcome {
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what}: got {got:?}, expected {expected:?}"))
    }
}

/// Fails with the words when the condition is false.
pub fn ensure(what: &str, condition: bool) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(what.to_string())
    }
}

/// Any error as words.
pub fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// The device.
pub fn device() -> Result<File, String> {
    File::open("/dev/vserver").map_err(|error| format!("/dev/vserver: {error}"))
}

/// ENTER with the usual fields.
pub fn enter(context: i32, flags: u32, caps_drop: u64) -> Result<Enter, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut request = Enter {
        context,
        flags,
        caps_drop,
        ..Enter::default()
    };
    syscalls::ioctl(&device, IOC_ENTER, &mut request)?;
    Ok(request)
}

/// What `chcontext --secure` gives up: the fifteen of 2002 and the ten that came later.
pub const SECURE: u64 = {
    let numbers = [
        9, 11, 12, 13, 14, 15, 16, 17, 20, 21, 22, 23, 24, 25, 27, 30, 32, 33, 34, 35, 36, 37, 38,
        39, 40,
    ];
    let (mut mask, mut at) = (0, 0);
    while at < numbers.len() {
        mask |= 1 << numbers[at];
        at += 1;
    }
    mask
};

/// GET.
pub fn get(pid: i32) -> Result<ContextInfo, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut request = Get {
        pid,
        ..Get::default()
    };
    syscalls::ioctl(&device, IOC_GET, &mut request)?;
    Ok(request.info)
}

/// LIST, the numbers alone.
pub fn list() -> Result<Vec<i32>, Errno> {
    let all = list_all()?;
    Ok(all.into_iter().map(|info| info.context).collect())
}

/// LIST, all of it.
pub fn list_all() -> Result<Vec<ContextInfo>, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut room = vec![ContextInfo::default(); 512];
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let mut request = List {
            buffer: room.as_mut_ptr() as u64,
            count: room.len() as u32,
            after,
            ..List::default()
        };
        syscalls::ioctl(&device, IOC_LIST, &mut request)?;
        if request.count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&room[..request.count as usize]);
        after = request.after;
    }
}

/// LIST_HOOKS, so many at a time.
pub fn hooks(chunk: usize) -> Result<Vec<HookInfo>, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut room = vec![HookInfo::default(); chunk];
    let mut all = Vec::new();
    let mut skip = 0;
    loop {
        let mut request = ListHooks {
            buffer: room.as_mut_ptr() as u64,
            count: room.len() as u32,
            skip,
            ..ListHooks::default()
        };
        syscalls::ioctl(&device, IOC_LIST_HOOKS, &mut request)?;
        if request.count == 0 {
            return Ok(all);
        }
        all.extend_from_slice(&room[..request.count as usize]);
        skip = request.skip;
    }
}

/// One address of the ABI: "10.0.0.5/24" is one address, "10.0.0.0/24!" is all with that prefix.
pub fn address(text: &str) -> Address {
    let (text, flags) = match text.strip_suffix('!') {
        Some(text) => (text, ADDRESS_PREFIX),
        None => (text, 0),
    };
    let (ip, prefix) = text.split_once('/').unwrap_or((text, ""));
    let (family, bytes, bits) = match ip.parse() {
        Ok(IpAddr::V4(ip)) => {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&ip.octets());
            (FAMILY_IPV4, bytes, 32)
        }
        Ok(IpAddr::V6(ip)) => (FAMILY_IPV6, ip.octets(), 128),
        Err(error) => panic!("{ip}: {error}"),
    };
    Address {
        family,
        prefix: prefix.parse().unwrap_or(bits),
        flags,
        reserved: 0,
        address: bytes,
    }
}

/// SET_ADDRESSES.
pub fn confine(addresses: &[&str]) -> Result<Addresses, Errno> {
    let list: Vec<Address> = addresses.iter().map(|text| address(text)).collect();
    confine_to(&list, Addresses::default())
}

/// The same with the other fields as given.
pub fn confine_to(list: &[Address], request: Addresses) -> Result<Addresses, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut request = Addresses {
        buffer: list.as_ptr() as u64,
        count: list.len() as u32,
        ..request
    };
    syscalls::ioctl(&device, IOC_SET_ADDRESSES, &mut request)?;
    Ok(request)
}

/// GET_ADDRESSES.
pub fn addresses_of(pid: i32) -> Result<(Addresses, Vec<Address>), Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut list = vec![Address::default(); 64];
    let mut request = Addresses {
        buffer: list.as_mut_ptr() as u64,
        count: list.len() as u32,
        pid,
        ..Addresses::default()
    };
    syscalls::ioctl(&device, IOC_GET_ADDRESSES, &mut request)?;
    list.truncate(request.count as usize);
    Ok((request, list))
}

/// SIGNAL: how many processes it was sent to.
pub fn signal(context: i32, pid: i32, signal: i32) -> Result<u32, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut request = Signal {
        context,
        pid,
        signal: signal as u32,
        ..Signal::default()
    };
    syscalls::ioctl(&device, IOC_SIGNAL, &mut request)?;
    Ok(request.processes)
}

/// OPEN.
pub fn open_context(context: i32) -> Result<OwnedFd, Errno> {
    let device = device().map_err(|_| Errno::ENODEV)?;
    let mut request = Open {
        context,
        ..Open::default()
    };
    syscalls::ioctl(&device, IOC_OPEN, &mut request)?;
    Ok(syscalls::own(request.fd))
}

/// STATUS of a context fd.
pub fn status(fd: &OwnedFd) -> Result<Status, Errno> {
    let mut status = Status::default();
    syscalls::ioctl(fd, IOC_STATUS, &mut status)?;
    Ok(status)
}

/// Waits until no context is left: they end an RCU grace period after their last process.
pub fn until_empty() -> Outcome {
    for _ in 0..6000 {
        if list().map_err(words)?.is_empty() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(format!("contexts left behind: {:?}", list()))
}

/// A pipe that no program inherits, so that its end of file is that of the test's own processes.
fn pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    pipe2(OFlag::O_CLOEXEC)
}

/// Runs something in a forked child and brings back what it says.
pub fn child(run: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
    let (reader, writer) = pipe().map_err(words)?;
    match syscalls::fork().map_err(words)? {
        0 => {
            drop(reader);
            let (code, text) = match run() {
                Ok(text) => (0, text),
                Err(text) => (1, text),
            };
            let _ = write(&writer, text.as_bytes());
            syscalls::exit_now(code)
        }
        pid => {
            drop(writer);
            let mut text = String::new();
            File::from(reader)
                .read_to_string(&mut text)
                .map_err(words)?;
            match waitpid(Pid::from_raw(pid), None).map_err(words)? {
                WaitStatus::Exited(_, 0) => Ok(text),
                WaitStatus::Exited(..) => Err(text),
                other => Err(format!("the child ended with {other:?} {text}")),
            }
        }
    }
}

/// ENTER, and then a program of the inside: this one, which goes on.
pub fn arrive(context: i32, flags: u32, caps_drop: u64) -> Result<Enter, Errno> {
    let entered = enter(context, flags, caps_drop)?;
    settle()?;
    Ok(entered)
}

/// Runs something in a forked child that has entered a context and arrived there.
pub fn inside(context: i32, run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        if context != CONTEXT_ROOT {
            arrive(context, 0, 0).map_err(|error| format!("entering {context}: {error}"))?;
        }
        run().map(|()| String::new())
    })
    .map(drop)
    .map_err(|text| format!("in context {context}: {text}"))
}

/// What a sitter waits for before it enters.
const GO_ON: &[u8; 1] = b".";

/// A process that sits in a context until it is dropped.
pub struct Sitter {
    /// Its real pid.
    pub pid: i32,
    /// The context that it is in.
    pub context: i32,
    hold: OwnedFd,
}

impl Sitter {
    /// Forks; the child enters (0: stays where the caller is), then `prepare`s, then sits.
    pub fn new(
        context: i32,
        flags: u32,
        prepare: impl FnOnce() -> Outcome,
    ) -> Result<Self, String> {
        Self::after(context, flags, |_| Ok(()), prepare).map(|(sitter, ())| sitter)
    }

    /// The same; before the child enters, `before` is called here with its pid.
    pub fn after<T>(
        context: i32,
        flags: u32,
        before: impl FnOnce(i32) -> Result<T, String>,
        prepare: impl FnOnce() -> Outcome,
    ) -> Result<(Self, T), String> {
        Self::whole(context, flags, before, prepare, || ())
    }

    /// One that does something where it sits when it is dropped, or when the test dies.
    pub fn finally(prepare: impl FnOnce() -> Outcome, end: impl FnOnce()) -> Result<Self, String> {
        Self::whole(CONTEXT_ROOT, 0, |_| Ok(()), prepare, end).map(|(sitter, ())| sitter)
    }

    fn whole<T>(
        context: i32,
        flags: u32,
        before: impl FnOnce(i32) -> Result<T, String>,
        prepare: impl FnOnce() -> Outcome,
        end: impl FnOnce(),
    ) -> Result<(Self, T), String> {
        let (hold_reader, hold) = pipe().map_err(words)?;
        let (ready, ready_writer) = pipe().map_err(words)?;
        match syscalls::fork().map_err(words)? {
            0 => {
                drop(hold);
                drop(ready);
                // The caller lets it go on, or has given up: another word or an end of file.
                let mut word = [0];
                if read(&hold_reader, &mut word) != Ok(1) || word != *GO_ON {
                    syscalls::exit_now(0);
                }
                let entered = if context == CONTEXT_ROOT {
                    Ok(CONTEXT_ROOT)
                } else {
                    arrive(context, flags, 0)
                        .map(|entered| entered.context)
                        .map_err(words)
                };
                let said = entered.and_then(|number| prepare().map(|()| number));
                let text = match &said {
                    Ok(number) => format!("{number}"),
                    Err(error) => format!("!{error}"),
                };
                let _ = write(&ready_writer, text.as_bytes());
                drop(ready_writer);
                if said.is_ok() {
                    // Ends on a word or an end of file: no signal reaches across contexts.
                    let _ = read(&hold_reader, &mut [0]);
                    end();
                }
                syscalls::exit_now(0)
            }
            pid => {
                drop(ready_writer);
                drop(hold_reader);
                let mut sitter = Self {
                    pid,
                    context: -1,
                    hold,
                };
                let found = before(pid)?;
                write(&sitter.hold, GO_ON).map_err(words)?;
                // One piece, not until the end of file: children of the sitter have that end too.
                let mut room = [0; 4096];
                let length = read(&ready, &mut room).map_err(words)?;
                let text = String::from_utf8_lossy(&room[..length]);
                match text.strip_prefix('!') {
                    Some(error) => return Err(error.to_string()),
                    None => sitter.context = text.parse().map_err(|_| "the sitter died")?,
                }
                Ok((sitter, found))
            }
        }
    }

    /// Lets it end, without waiting for that.
    pub fn let_go(&self) {
        let _ = write(&self.hold, b"!");
    }

    /// One that only sits.
    pub fn idle(context: i32) -> Result<Self, String> {
        Self::new(context, 0, || Ok(()))
    }
}

impl Drop for Sitter {
    fn drop(&mut self) {
        // A word rather than an end of file: later sitters have inherited this end. When the
        // test dies without a word, the ends of file run through them from the last to the first.
        self.let_go();
        let _ = waitpid(Pid::from_raw(self.pid), None);
    }
}
