// SPDX-License-Identifier: GPL-2.0

//! The ABI against careless and hostile callers; the context fd.

use crate::{
    fixture::{
        device, ensure, enter, equal, get, inside, open_context, status, until_empty, words,
        Outcome, Sitter,
    },
    random::Random,
    syscalls::{ioctl, ioctl_address, own, read_only},
    test, Test,
};
use nix::{
    errno::Errno,
    poll::{poll, PollFd, PollFlags, PollTimeout},
    unistd::{setuid, Uid},
};
use std::os::fd::{AsFd, AsRawFd};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("device::info", 20, info),
    test("device::malformed", 20, malformed),
    test("device::unknown_commands", 20, unknown),
    test("device::context_fd_for_whom", 20, context_fd_for_whom),
    test("device::bad_addresses", 20, bad_addresses),
    test("device::context_fd", 20, context_fd),
    test("device::random_ioctls", 200, random),
];

/// What is asked of the device here; addresses are in other tests.
const COMMANDS: [u32; 7] = [
    IOC_INFO,
    IOC_ENTER,
    IOC_GET,
    IOC_LIST,
    IOC_OPEN,
    IOC_SIGNAL,
    IOC_LIST_HOOKS,
];

fn info() -> Outcome {
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata("/dev/vserver")
            .map_err(words)?
            .permissions(),
    );
    equal("mode", mode & 0o777, 0o666)?;
    let mut info = Info::default();
    ioctl(&device()?, IOC_INFO, &mut info).map_err(words)?;
    let lane = std::fs::read_to_string("/etc/vserver-lane").map_err(words)?;
    equal("version", info.abi_version, ABI_VERSION)?;
    equal("lane", info.lane == LANE_STOCK, lane.trim() == "stock")?;
    equal("capabilities", info.capabilities, 41)?;
    ensure(
        "hooks",
        info.hooks_total > 0 && info.hooks_attached == info.hooks_total,
    )
}

/// Every field of every request that may be wrong: EINVAL, and nothing has changed.
fn malformed() -> Outcome {
    let device = device()?;
    let mut room = [ContextInfo::default(); 1];
    let buffer = room.as_mut_ptr() as u64;
    let enter = Enter {
        context: CONTEXT_NEW,
        ..Enter::default()
    };
    let list = List {
        buffer,
        count: 1,
        ..List::default()
    };
    let open = Open {
        context: 300,
        ..Open::default()
    };
    let signal = Signal {
        context: 300,
        pid: SIGNAL_ALL,
        ..Signal::default()
    };
    let some = ContextInfo {
        tasks: 1,
        ..ContextInfo::default()
    };
    inside(CONTEXT_ROOT, || {
        for (index, wrong) in [
            Enter {
                context: -3,
                ..enter
            },
            Enter {
                context: i32::MIN,
                ..enter
            },
            Enter {
                context: 65536,
                ..enter
            },
            Enter {
                context: i32::MAX,
                ..enter
            },
            Enter {
                context: 50000,
                ..enter
            },
            Enter {
                flags: 128,
                ..enter
            },
            Enter {
                flags: 1 << 31,
                ..enter
            },
            Enter {
                context: CONTEXT_SPECTATOR,
                flags: FLAG_LOCK,
                ..enter
            },
            Enter {
                context: CONTEXT_ROOT,
                flags: FLAG_LOCK,
                ..enter
            },
            Enter {
                context: CONTEXT_STAY,
                flags: FLAG_LOCK,
                ..enter
            },
            Enter {
                caps_drop: 1 << 41,
                ..enter
            },
            Enter {
                caps_drop: 1 << 63,
                ..enter
            },
            Enter {
                options: 2,
                ..enter
            },
            Enter {
                options: 1 << 31,
                ..enter
            },
            Enter {
                context: CONTEXT_STAY,
                options: ENTER_OPEN_FD,
                ..enter
            },
            Enter { fd: -1, ..enter },
            Enter { fd: 3, ..enter },
            Enter {
                reserved: [1, 0, 0, 0, 0],
                ..enter
            },
            Enter {
                reserved: [0, 0, 0, 0, 1 << 63],
                ..enter
            },
        ]
        .into_iter()
        .enumerate()
        {
            let mut request = wrong;
            let got = ioctl(&device, IOC_ENTER, &mut request).err();
            equal(&format!("ENTER {index}"), got, Some(Errno::EINVAL))?;
            equal(&format!("ENTER {index}, its memory"), request, wrong)?;
        }
        for (index, mut wrong) in [
            Get {
                pid: -1,
                ..Get::default()
            },
            Get {
                reserved: 1,
                ..Get::default()
            },
            Get {
                info: some,
                ..Get::default()
            },
        ]
        .into_iter()
        .enumerate()
        {
            let got = ioctl(&device, IOC_GET, &mut wrong).err();
            equal(&format!("GET {index}"), got, Some(Errno::EINVAL))?;
        }
        for (index, mut wrong) in [
            List { count: 0, ..list },
            List {
                count: 65537,
                ..list
            },
            List { after: -1, ..list },
            List {
                reserved: [0, 1],
                ..list
            },
        ]
        .into_iter()
        .enumerate()
        {
            let got = ioctl(&device, IOC_LIST, &mut wrong).err();
            equal(&format!("LIST {index}"), got, Some(Errno::EINVAL))?;
        }
        let mut room = [HookInfo::default(); 1];
        let hooks = ListHooks {
            buffer: room.as_mut_ptr() as u64,
            count: 1,
            ..ListHooks::default()
        };
        for (index, mut wrong) in [
            ListHooks { count: 0, ..hooks },
            ListHooks {
                count: 4097,
                ..hooks
            },
            ListHooks {
                reserved: [0, 1],
                ..hooks
            },
        ]
        .into_iter()
        .enumerate()
        {
            let got = ioctl(&device, IOC_LIST_HOOKS, &mut wrong).err();
            equal(&format!("LIST_HOOKS {index}"), got, Some(Errno::EINVAL))?;
        }
        for (index, mut wrong) in [
            Open { context: 0, ..open },
            Open { context: 1, ..open },
            Open {
                context: -1,
                ..open
            },
            Open {
                context: 65536,
                ..open
            },
            Open { fd: 1, ..open },
            Open {
                reserved: [0, 0, 1],
                ..open
            },
        ]
        .into_iter()
        .enumerate()
        {
            let got = ioctl(&device, IOC_OPEN, &mut wrong).err();
            equal(&format!("OPEN {index}"), got, Some(Errno::EINVAL))?;
        }
        for (index, wrong) in [
            Signal {
                context: 0,
                ..signal
            },
            Signal {
                context: 1,
                ..signal
            },
            Signal {
                context: -1,
                ..signal
            },
            Signal {
                context: 65536,
                ..signal
            },
            Signal { pid: -2, ..signal },
            Signal {
                pid: i32::MIN,
                ..signal
            },
            Signal {
                signal: 65,
                ..signal
            },
            Signal {
                signal: u32::MAX,
                ..signal
            },
            Signal {
                processes: 1,
                ..signal
            },
            Signal {
                reserved: [1, 0],
                ..signal
            },
            Signal {
                reserved: [0, 1 << 63],
                ..signal
            },
        ]
        .into_iter()
        .enumerate()
        {
            let mut request = wrong;
            let got = ioctl(&device, IOC_SIGNAL, &mut request).err();
            equal(&format!("SIGNAL {index}"), got, Some(Errno::EINVAL))?;
            equal(&format!("SIGNAL {index}, its memory"), request, wrong)?;
        }
        let mut gone = signal;
        let got = ioctl(&device, IOC_SIGNAL, &mut gone).err();
        equal("SIGNAL to nobody", got, Some(Errno::ESRCH))?;
        let mut gone = open;
        let got = ioctl(&device, IOC_OPEN, &mut gone).err();
        equal("OPEN of nobody", got, Some(Errno::ESRCH))?;
        equal("GET of nobody", get(999_999).err(), Some(Errno::ESRCH))?;
        equal("still there", get(0).map(|info| info.context), Ok(0))
    })?;
    until_empty()
}

/// Numbers, directions and sizes that are not in the ABI: ENOTTY.
fn unknown() -> Outcome {
    let device = device()?;
    let mut room = [0u8; 4096];
    let address = room.as_mut_ptr() as usize;
    let similar = |known: u32| {
        [
            known ^ (1 << 30),
            known ^ (1 << 31),
            known & 0x3fff_ffff,
            known + (8 << 16),
            known - (8 << 16),
            known ^ (1 << 8),
            known + 99,
        ]
    };
    for known in COMMANDS {
        for unknown in similar(known) {
            let got = ioctl_address(&device, unknown, address).err();
            equal(&format!("{unknown:#x}"), got, Some(Errno::ENOTTY))?;
        }
    }
    for unknown in [0, 1, u32::MAX, IOC_STATUS] {
        let got = ioctl_address(&device, unknown, address).err();
        equal(&format!("{unknown:#x}"), got, Some(Errno::ENOTTY))?;
    }
    // A context fd knows one.
    let sitter = Sitter::idle(300)?;
    let context = open_context(sitter.context).map_err(words)?;
    let of_the_device = COMMANDS.into_iter().chain([0, 1, u32::MAX]);
    for unknown in of_the_device.chain(similar(IOC_STATUS)) {
        let got = ioctl_address(&context, unknown, address).err();
        equal(
            &format!("{unknown:#x} of a context"),
            got,
            Some(Errno::ENOTTY),
        )?;
    }
    equal("STATUS", status(&context).map(|status| status.tasks), Ok(1))?;
    drop(sitter);
    until_empty()
}

fn bad_addresses() -> Outcome {
    let device = device()?;
    inside(CONTEXT_ROOT, || {
        for address in [0, 1, 0x7fff_ffff_f000, usize::MAX, 0xffff_8000_0000_0000] {
            for command in COMMANDS {
                let got = ioctl_address(&device, command, address).err();
                equal(
                    &format!("{command:#x} at {address:#x}"),
                    got,
                    Some(Errno::EFAULT),
                )?;
            }
        }
        // Readable, not writable: ENTER must fail before it has moved the process.
        static REQUEST: Enter = Enter {
            context: CONTEXT_NEW,
            flags: 0,
            caps_drop: 0,
            options: 0,
            fd: 0,
            reserved: [0; 5],
        };
        let address = std::ptr::from_ref(&REQUEST) as usize;
        equal(
            "read-only",
            ioctl_address(&device, IOC_ENTER, address).err(),
            Some(Errno::EFAULT),
        )?;
        equal("not moved", get(0).map(|info| info.context), Ok(0))?;
        // Nor is anybody signalled.
        let sitter = Sitter::idle(300)?;
        let request = Signal {
            context: 300,
            pid: SIGNAL_ALL,
            signal: libc::SIGKILL as u32,
            ..Signal::default()
        };
        let address = read_only(&request).map_err(words)?;
        let got = ioctl_address(&device, IOC_SIGNAL, address).err();
        equal("SIGNAL, read-only", got, Some(Errno::EFAULT))?;
        let context = open_context(300).map_err(words)?;
        let tasks = status(&context).map(|status| status.tasks);
        equal("not killed", tasks, Ok(1))?;
        let pid = nix::unistd::Pid::from_raw(sitter.pid);
        let alive = nix::sys::wait::waitpid(pid, Some(nix::sys::wait::WaitPidFlag::WNOHANG));
        let expected = nix::sys::wait::WaitStatus::StillAlive;
        equal("not killed", alive, Ok(expected))?;
        for address in [0, 1, usize::MAX, address] {
            let got = ioctl_address(&context, IOC_STATUS, address).err();
            equal("STATUS", got, Some(Errno::EFAULT))?;
        }
        // One that can be written to, with a list that cannot.
        for buffer in [0, 4096, u64::MAX - 4095] {
            let mut request = List {
                buffer,
                count: 1,
                ..List::default()
            };
            let got = ioctl(&device, IOC_LIST, &mut request).err();
            equal("a list's buffer", got, Some(Errno::EFAULT))?;
            let mut request = ListHooks {
                buffer,
                count: 1,
                ..ListHooks::default()
            };
            let got = ioctl(&device, IOC_LIST_HOOKS, &mut request).err();
            equal("a buffer for hooks", got, Some(Errno::EFAULT))?;
        }
        Ok(())
    })?;
    until_empty()
}

fn context_fd() -> Outcome {
    let sitter = Sitter::idle(300)?;
    let mut request = Open {
        context: 300,
        ..Open::default()
    };
    ioctl(&device()?, IOC_OPEN, &mut request).map_err(words)?;
    let fd = own(request.fd);
    let told = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()));
    ensure(
        "fdinfo",
        told.is_ok_and(|text| text.contains("s_context:\t300")),
    )?;
    let mut waits = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    equal("alive", poll(&mut waits, PollTimeout::ZERO), Ok(0))?;
    let waiter = {
        let fd = fd.try_clone().map_err(words)?;
        std::thread::spawn(move || {
            let mut waits = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
            let count = poll(&mut waits, PollTimeout::from(10_000u16));
            (count, waits[0].revents())
        })
    };
    drop(sitter);
    let end = waiter.join().map_err(|_| "the waiter panicked")?;
    equal(
        "ended",
        end,
        (Ok(1), Some(PollFlags::POLLIN | PollFlags::POLLHUP)),
    )?;
    inside(CONTEXT_ROOT, || {
        let mut request = Enter {
            context: CONTEXT_NEW,
            options: ENTER_OPEN_FD,
            ..Enter::default()
        };
        ioctl(&device()?, IOC_ENTER, &mut request).map_err(words)?;
        let flags = nix::fcntl::fcntl(own(request.fd), nix::fcntl::FcntlArg::F_GETFD);
        equal("close-on-exec", flags, Ok(1))
    })
}

/// The root server and the context itself can wait for its end.
fn context_fd_for_whom() -> Outcome {
    let _one = Sitter::idle(300)?;
    let _two = Sitter::idle(301)?;
    for (viewer, context, expected) in [
        (CONTEXT_ROOT, 300, Ok(())),
        (300, 300, Ok(())),
        (300, 301, Err(Errno::ESRCH)),
        (CONTEXT_SPECTATOR, 300, Err(Errno::ESRCH)),
        (CONTEXT_ROOT, 302, Err(Errno::ESRCH)),
    ] {
        inside(viewer, || {
            let mut request = Open {
                context,
                ..Open::default()
            };
            let got = ioctl(&device()?, IOC_OPEN, &mut request);
            let what = format!("of {context} for {viewer}");
            equal(&what, got.map(|_| drop(own(request.fd))), expected)
        })?;
    }
    Ok(())
}

fn random() -> Outcome {
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(words)?
        .as_nanos() as u64
        | 1;
    eprintln!("seed {seed}");
    let mut random = Random(seed);
    // Children, as one that got into a new context cannot come back for more.
    for round in 0..100 {
        let start = random.next();
        inside(CONTEXT_ROOT, || {
            setuid(Uid::from_raw(1000)).map_err(words)?;
            let device = device()?;
            let mut random = Random(start);
            let mut room = [0u64; 32];
            for _ in 0..1000 {
                let known = COMMANDS[random.next() as usize % COMMANDS.len()];
                let command = match random.next() % 4 {
                    0 => random.next() as u32,
                    1 => known ^ (1 << (random.next() % 32)),
                    _ => known,
                };
                let sparse = random.next() % 2 == 0;
                for word in &mut room {
                    *word = if sparse && random.next() % 8 != 0 {
                        0
                    } else {
                        random.next()
                    };
                }
                let address = match random.next() % 8 {
                    0 => random.next() as usize,
                    1 => room.as_ptr() as usize + 240,
                    _ => room.as_mut_ptr() as usize,
                };
                // Not into our own memory by a lucky LIST or a stray address.
                if command == IOC_LIST || command == IOC_LIST_HOOKS {
                    room[0] = if random.next() % 2 == 0 {
                        0
                    } else {
                        random.next() | (1 << 63)
                    };
                }
                if address >> 47 == 0 && address != room.as_ptr() as usize && address > 1 << 16 {
                    continue;
                }
                let _ = ioctl_address(&device, command, address);
            }
            Ok(())
        })
        .map_err(|error| format!("round {round}: {error}"))?;
    }
    until_empty()?;
    equal(
        "the caller is where it was",
        enter(0, 0, 0).map(|e| e.context),
        Ok(0),
    )
}
