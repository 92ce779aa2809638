// SPDX-License-Identifier: GPL-2.0

//! Pseudo-terminals in one instance of devpts that everybody sees: each context, and the host, has its own. What is
//! passed on on purpose works, and nobody types for others.

use crate::{
    fixture::{child, ensure, equal, inside, until_empty, words, Outcome, Sitter},
    module,
    syscalls::{ioctl, ioctl_address, own, syscall},
    test, Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, OFlag},
    mount::{mount, umount, MsFlags},
    sched::{unshare, CloneFlags},
    sys::{
        socket::{socketpair, AddressFamily, SockFlag, SockType},
        stat::Mode,
    },
    unistd::{chdir, pipe, read, setsid, write},
};
use std::{
    collections::BTreeSet,
    ffi::CString,
    fs,
    os::fd::{AsRawFd, OwnedFd},
};
use vserver_uapi::*;

mod ends;

pub const TESTS: &[Test] = &[
    test("pty::lists", 60, lists),
    test("pty::look_ups", 60, look_ups),
    test("pty::path_opened_before", 60, path_opened_before),
    test("pty::peer_of_a_master", 60, peer),
    test("pty::controlling_terminal", 60, controlling),
    test("pty::inherited", 60, inherited),
    test("pty::passed_in_a_message", 60, passed),
    test("pty::typing_for_others", 60, typing),
    test("pty::taking_from_others", 60, taking),
    test("pty::changing_for_others", 60, changing),
    test("pty::own_instance", 60, own_instance),
    ends::OF_A_CONTEXT,
    ends::LENT,
    ends::OF_THE_MODULE,
];

const A: i32 = 300;
const B: i32 = 301;
const DIRECTORY: &str = "/dev/pts";

/// The pair of a number that has just been given up: the kernel has it free again a little later.
fn numbered(number: u32) -> Result<Pair, String> {
    for _ in 0..1000 {
        let pair = Pair::new()?;
        if pair.number == number {
            return Ok(pair);
        }
        drop(pair);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(format!("no pair gets the number {number}"))
}

/// A pair, held by its master.
struct Pair {
    master: OwnedFd,
    number: u32,
}

impl Pair {
    /// In the instance that `/dev/ptmx` leads to.
    fn new() -> Result<Self, String> {
        Self::of("/dev/ptmx")
    }

    fn of(multiplexer: &str) -> Result<Self, String> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let master = open(multiplexer, flags, Mode::empty())
            .map_err(|errno| format!("{multiplexer}: {errno}"))?;
        ioctl(&master, libc::TIOCSPTLCK as u32, &mut 0i32).map_err(words)?;
        let mut number = 0u32;
        ioctl(&master, libc::TIOCGPTN as u32, &mut number).map_err(words)?;
        Ok(Self { master, number })
    }

    fn path(&self) -> String {
        path_of(self.number)
    }

    /// Opens the terminal's side by its name.
    fn terminal(&self) -> Result<OwnedFd, String> {
        opened(&self.path()).map_err(|errno| format!("{}: {errno}", self.path()))
    }
}

fn path_of(number: u32) -> String {
    format!("{DIRECTORY}/{number}")
}

fn opened(path: &str) -> Result<OwnedFd, Errno> {
    open(path, OFlag::O_RDWR | OFlag::O_NOCTTY, Mode::empty())
}

/// Opens again what a descriptor is open on.
fn again(fd: &impl AsRawFd) -> Result<OwnedFd, Errno> {
    opened(&format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

/// Somebody in a context who has a pair, and its number.
fn holder(context: i32) -> Result<(Sitter, u32), String> {
    holder_who(context, |_| Ok(()))
}

/// The same; first something is done with it.
fn holder_who(context: i32, first: impl FnOnce(&Pair) -> Outcome) -> Result<(Sitter, u32), String> {
    let (reader, writer) = pipe().map_err(words)?;
    let sitter = Sitter::new(context, 0, || {
        let pair = Pair::new()?;
        first(&pair)?;
        write(&writer, &pair.number.to_ne_bytes()).map_err(words)?;
        // As long as it sits there.
        std::mem::forget(pair);
        Ok(())
    })?;
    let mut number = [0; 4];
    read(&reader, &mut number).map_err(words)?;
    Ok((sitter, u32::from_ne_bytes(number)))
}

/// The terminals that are listed.
fn listed_in(directory: &str) -> Result<BTreeSet<u32>, String> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(words)? {
        let name = entry.map_err(words)?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

fn listed() -> Result<BTreeSet<u32>, String> {
    listed_in(DIRECTORY)
}

fn lists() -> Outcome {
    let before = listed()?;
    let host = Pair::new()?;
    let (_a, a) = holder(A)?;
    let (_b, b) = holder(B)?;
    let with = |number: u32| before.iter().copied().chain([number]).collect();
    equal("the host", listed()?, with(host.number))?;
    inside(A, || equal("A", listed()?, BTreeSet::from([a])))?;
    inside(B, || equal("B", listed()?, BTreeSet::from([b])))?;
    inside(CONTEXT_SPECTATOR, || {
        let all = listed()?;
        ensure(
            &format!("{all:?} has {a}, {b} and {}", host.number),
            [a, b, host.number]
                .iter()
                .all(|number| all.contains(number)),
        )?;
        // He looks on.
        fs::metadata(path_of(a)).map_err(words)?;
        equal("opening", opened(&path_of(a)).map(drop), Err(Errno::EPERM))
    })?;
    // Inside of one, another.
    inside(A, || {
        child(|| {
            crate::fixture::enter(CONTEXT_NEW, 0, 0).map_err(words)?;
            equal("inner", listed()?, BTreeSet::new())?;
            let own = Pair::new()?;
            equal("inner's own", listed()?, BTreeSet::from([own.number]))?;
            Ok(String::new())
        })?;
        equal("A still", listed()?, BTreeSet::from([a]))
    })
}

/// Each way to use a name, with what comes of it.
fn ways(path: &str) -> Vec<(&'static str, Result<(), Errno>)> {
    let name = CString::new(path).unwrap_or_default();
    let at = name.as_ptr() as usize;
    let here = libc::AT_FDCWD as usize;
    let mut room = [0u8; 512];
    let room = room.as_mut_ptr() as usize;
    let how = [
        (libc::O_RDWR | libc::O_NOCTTY) as u64,
        0,
        libc::RESOLVE_NO_SYMLINKS,
    ];
    let how = how.as_ptr() as usize;
    let opening = |flags: i32| {
        let flags = (flags | libc::O_NOCTTY) as usize;
        syscall(libc::SYS_openat, [here, at, flags, 0o600, 0, 0]).map(|fd| drop(own(fd as i32)))
    };
    let call = |number, arguments| syscall(number, arguments).map(drop);
    let watch = || {
        let fd = own(syscall(libc::SYS_inotify_init1, [0; 6])? as i32);
        let fd = fd.as_raw_fd() as usize;
        call(libc::SYS_inotify_add_watch, [fd, at, 0xfff, 0, 0, 0])
    };
    let bind = || {
        let none: Option<&str> = None;
        mount(Some(path), "/tmp/pty", none, MsFlags::MS_BIND, none)?;
        umount("/tmp/pty")
    };
    vec![
        ("stat", call(libc::SYS_stat, [at, room, 0, 0, 0, 0])),
        ("lstat", call(libc::SYS_lstat, [at, room, 0, 0, 0, 0])),
        (
            "statx",
            call(libc::SYS_statx, [here, at, 0, 0xfff, room, 0]),
        ),
        ("access", call(libc::SYS_access, [at, 0, 0, 0, 0, 0])),
        ("open", opening(libc::O_RDWR)),
        ("open to create", opening(libc::O_RDWR | libc::O_CREAT)),
        ("open as a path", opening(libc::O_PATH)),
        (
            "openat2",
            syscall(libc::SYS_openat2, [here, at, how, 24, 0, 0]).map(|fd| drop(own(fd as i32))),
        ),
        ("chmod", call(libc::SYS_chmod, [at, 0o620, 0, 0, 0, 0])),
        ("chown", call(libc::SYS_chown, [at, 0, 0, 0, 0, 0])),
        ("utimes", call(libc::SYS_utimes, [at, 0, 0, 0, 0, 0])),
        ("inotify", watch()),
        ("bind mount", bind()),
    ]
}

fn all_ways(what: &str, path: &str, expected: Result<(), Errno>) -> Outcome {
    for (way, got) in ways(path) {
        equal(&format!("{what} {path}: {way}"), got, expected)?;
    }
    Ok(())
}

fn look_ups() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).map_err(words)?;
    fs::write("/tmp/pty", "").map_err(words)?;
    let host = Pair::new()?;
    let (_a, a) = holder(A)?;
    let (_b, b) = holder(B)?;
    let (h, a, b) = (host.path(), path_of(a), path_of(b));
    let absent = Err(Errno::ENOENT);
    // Whoever has looked last, and whatever the kernel's cache of names remembers of it.
    for _ in 0..2 {
        all_ways("the host's", &h, Ok(()))?;
        all_ways("the host at A's", &a, absent)?;
        inside(A, || {
            all_ways("A's", &a, Ok(()))?;
            all_ways("A at the host's", &h, absent)?;
            all_ways("A at B's", &b, absent)?;
            chdir(DIRECTORY).map_err(words)?;
            let relative = b.trim_start_matches(DIRECTORY).trim_start_matches('/');
            all_ways("A at B's from there", relative, absent)
        })?;
        inside(B, || {
            all_ways("B's", &b, Ok(()))?;
            all_ways("B at A's", &a, absent)
        })?;
    }
    fs::remove_file("/tmp/pty").map_err(words)
}

/// A descriptor of the name alone is none of the terminal.
fn path_opened_before() -> Outcome {
    let host = Pair::new()?;
    let path = open(host.path().as_str(), OFlag::O_PATH, Mode::empty()).map_err(words)?;
    equal("outside", again(&path).map(drop), Ok(()))?;
    let other = open(DIRECTORY, OFlag::O_PATH, Mode::empty()).map_err(words)?;
    inside(A, || {
        equal("inside", again(&path).map(drop), Err(Errno::ENOENT))?;
        let name = host.number.to_string();
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let by = nix::fcntl::openat(&other, name.as_str(), flags, Mode::empty());
        equal("from a directory", by.map(drop), Err(Errno::ENOENT))
    })?;
    let (one, two) = sockets()?;
    send(&one, &path)?;
    inside(A, || {
        let path = receive(&two)?;
        equal("in a message", again(&path).map(drop), Err(Errno::ENOENT))
    })
}

fn peer_of(master: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = (libc::O_RDWR | libc::O_NOCTTY) as usize;
    ioctl_address(master, libc::TIOCGPTPEER as u32, flags).map(|fd| own(fd as i32))
}

fn peer() -> Outcome {
    let host = Pair::new()?;
    equal("outside", peer_of(&host.master).map(drop), Ok(()))?;
    inside(A, || {
        equal(
            "inside",
            peer_of(&host.master).map(drop),
            Err(Errno::ENOENT),
        )?;
        let own = Pair::new()?;
        equal("own", peer_of(&own.master).map(drop), Ok(()))
    })
}

/// Runs something whose controlling terminal is the given one.
fn controlled_by(terminal: &OwnedFd, run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        setsid().map_err(words)?;
        ioctl_address(terminal, libc::TIOCSCTTY as u32, 0).map_err(words)?;
        run().map(|()| String::new())
    })
    .map(drop)
}

fn enter_a() -> Outcome {
    crate::fixture::enter(A, 0, 0).map(drop).map_err(words)
}

fn controlling() -> Outcome {
    let host = Pair::new()?;
    let terminal = host.terminal()?;
    controlled_by(&terminal, || {
        equal("outside", opened("/dev/tty").map(drop), Ok(()))?;
        nix::unistd::close(terminal.as_raw_fd()).map_err(words)?;
        enter_a()?;
        let tty = opened("/dev/tty").map(drop);
        equal("inside", tty, Err(Errno::ENXIO))?;
        equal(
            "its name",
            opened(&host.path()).map(drop),
            Err(Errno::ENOENT),
        )
    })?;
    // Somebody inside has a terminal of his own.
    inside(A, || {
        let own = Pair::new()?;
        controlled_by(&own.terminal()?, || {
            equal("own", opened("/dev/tty").map(drop), Ok(()))
        })
    })
}

/// Whether what is written to one end is read at the other, in both directions.
fn talk(master: &OwnedFd, terminal: &OwnedFd) -> Outcome {
    let mut room = [0; 64];
    write(terminal, b"up").map_err(words)?;
    let length = read(master, &mut room).map_err(words)?;
    equal("up", &room[..length], b"up".as_slice())?;
    write(master, b"down\n").map_err(words)?;
    let length = read(terminal, &mut room).map_err(words)?;
    equal("down", &room[..length], b"down\n".as_slice())?;
    // The echo, in pieces or not.
    let mut echo = Vec::new();
    while echo.len() < b"down\r\n".len() {
        let length = read(master, &mut room).map_err(words)?;
        echo.extend(&room[..length]);
    }
    equal("echo", echo.as_slice(), b"down\r\n".as_slice())
}

/// All that programs do with a terminal that they have been given.
fn is_usable(host: &Pair, terminal: &OwnedFd) -> Outcome {
    talk(&host.master, terminal)?;
    let same = again(terminal).map_err(|errno| format!("opening it again: {errno}"))?;
    talk(&host.master, &same)?;
    let name = opened(&host.path()).map_err(|errno| format!("by its name: {errno}"))?;
    talk(&host.master, &name)?;
    ensure("it is listed", listed()?.contains(&host.number))
}

fn inherited() -> Outcome {
    let host = Pair::new()?;
    let terminal = host.terminal()?;
    controlled_by(&terminal, || {
        enter_a()?;
        is_usable(&host, &terminal)?;
        let tty = opened("/dev/tty").map_err(|errno| format!("/dev/tty: {errno}"))?;
        talk(&host.master, &tty)
    })?;
    // Its context may, and nobody else. With the context that ends.
    let keeper = Sitter::idle(A)?;
    controlled_by(&terminal, enter_a)?;
    drop(terminal);
    let path = host.path();
    inside(A, || equal("A", opened(&path).map(drop), Ok(())))?;
    inside(B, || {
        equal("B", opened(&path).map(drop), Err(Errno::ENOENT))
    })?;
    drop(keeper);
    until_empty()?;
    inside(A, || {
        equal("the next A", opened(&path).map(drop), Err(Errno::ENOENT))
    })?;
    // With the terminal it ends as well: the next of that number is another.
    // Who keeps the context must not hold it.
    let keeper = Sitter::idle(A)?;
    let second = Pair::new()?;
    let terminal = second.terminal()?;
    controlled_by(&terminal, enter_a)?;
    let (number, path) = (second.number, second.path());
    drop((terminal, second));
    let _next = numbered(number)?;
    inside(A, || {
        equal("the next one", opened(&path).map(drop), Err(Errno::ENOENT))
    })?;
    drop(keeper);
    until_empty()
}

fn sockets() -> Result<(OwnedFd, OwnedFd), String> {
    let flags = SockFlag::SOCK_CLOEXEC;
    socketpair(AddressFamily::Unix, SockType::Datagram, None, flags).map_err(words)
}

fn send(socket: &OwnedFd, fd: &OwnedFd) -> Outcome {
    use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
    let fds = [fd.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let word = [std::io::IoSlice::new(b"!")];
    let none = MsgFlags::empty();
    sendmsg::<()>(socket.as_raw_fd(), &word, &rights, none, None)
        .map(drop)
        .map_err(words)
}

fn receive(socket: &OwnedFd) -> Result<OwnedFd, String> {
    use nix::sys::socket::{recvmsg, ControlMessageOwned, MsgFlags};
    let mut word = [0];
    let mut parts = [std::io::IoSliceMut::new(&mut word)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let none = MsgFlags::empty();
    let got =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut space), none).map_err(words)?;
    for message in got.cmsgs().map_err(words)? {
        if let ControlMessageOwned::ScmRights(fds) = message {
            if let [fd] = fds[..] {
                return Ok(own(fd));
            }
        }
    }
    Err("a message without a descriptor".to_string())
}

fn passed() -> Outcome {
    let host = Pair::new()?;
    let (one, two) = sockets()?;
    send(&one, &host.terminal()?)?;
    inside(A, || {
        let path = host.path();
        equal("before", opened(&path).map(drop), Err(Errno::ENOENT))?;
        is_usable(&host, &receive(&two)?)
    })?;
    // The other way round.
    let (sitter, number) = holder_who(A, |pair| {
        send(&one, &pair.master)?;
        send(&one, &pair.terminal()?)
    })?;
    let path = path_of(number);
    equal("hidden", opened(&path).map(drop), Err(Errno::ENOENT))?;
    let pair = Pair {
        master: receive(&two)?,
        number,
    };
    let peer = peer_of(&pair.master).map(drop);
    equal("its peer", peer, Err(Errno::ENOENT))?;
    is_usable(&pair, &receive(&two)?)?;
    drop(sitter);
    until_empty()
}

/// Puts a character into a terminal's input, as if it had been typed.
fn type_into(terminal: &OwnedFd) -> Result<(), Errno> {
    ioctl(terminal, libc::TIOCSTI as u32, &mut b'x').map(drop)
}

/// A console's request, for which a pseudo-terminal is not made.
fn paste_into(terminal: &OwnedFd) -> Result<(), Errno> {
    ioctl(terminal, libc::TIOCLINUX as u32, &mut 3u8).map(drop)
}

fn typing() -> Outcome {
    let host = Pair::new()?;
    let terminal = host.terminal()?;
    controlled_by(&terminal, || {
        equal("outside", type_into(&terminal), Ok(()))?;
        equal("outside", paste_into(&terminal), Err(Errno::ENOTTY))?;
        enter_a()?;
        for side in [&terminal, &host.master] {
            equal("inside", type_into(side), Err(Errno::EPERM))?;
            equal("inside", paste_into(side), Err(Errno::EPERM))?;
        }
        let again = opened("/dev/tty").map_err(words)?;
        equal("by another name", type_into(&again), Err(Errno::EPERM))
    })?;
    let (one, two) = sockets()?;
    inside(A, || {
        let own = Pair::new()?;
        let terminal = own.terminal()?;
        send(&one, &own.master)?;
        send(&one, &terminal)?;
        controlled_by(&terminal, || equal("own", type_into(&terminal), Ok(())))
    })?;
    // And not from the host.
    for side in [receive(&two)?, receive(&two)?] {
        equal("the host", type_into(&side), Err(Errno::EPERM))?;
        // Without its master it is no terminal any more.
        std::mem::forget(side);
    }
    Ok(())
}

/// What a terminal is for all who use it stays so, and so does the machine's console. Modes, size and flow are a user's.
fn changing() -> Outcome {
    let host = Pair::new()?;
    let terminal = host.terminal()?;
    let console = opened("/dev/console").map_err(words)?;
    let exclude = |terminal: &OwnedFd| ioctl_address(terminal, libc::TIOCEXCL as u32, 0).map(drop);
    let discipline =
        |terminal: &OwnedFd| ioctl(terminal, libc::TIOCSETD as u32, &mut 0i32).map(drop);
    let resize =
        |terminal: &OwnedFd| ioctl(terminal, libc::TIOCSWINSZ as u32, &mut [40u16; 4]).map(drop);
    let flow = |terminal: &OwnedFd| ioctl_address(terminal, libc::TCXONC as u32, 1).map(drop);
    // KDGKBMODE, VT_GETSTATE
    let keyboard = |terminal: &OwnedFd| ioctl(terminal, 0x4b44, &mut 0i32).map(drop);
    let screens = |terminal: &OwnedFd| ioctl(terminal, 0x5603, &mut [0u16; 3]).map(drop);
    for ask in [&keyboard as &dyn Fn(&OwnedFd) -> _, &screens] {
        let got: Result<(), Errno> = ask(&console);
        ensure("the host's console", got != Err(Errno::EPERM))?;
    }
    inside(A, || {
        let refused = Err(Errno::EPERM);
        for side in [&terminal, &host.master] {
            equal("excluded", exclude(side), refused)?;
            equal("another discipline", discipline(side), refused)?;
        }
        equal("size", resize(&terminal), Ok(()))?;
        equal("flow", flow(&terminal), Ok(()))?;
        equal(
            "keyboard of a terminal",
            keyboard(&terminal),
            Err(Errno::ENOTTY),
        )?;
        equal("keyboard", keyboard(&console), refused)?;
        equal("screens", screens(&console), refused)?;
        let own = Pair::new()?;
        let own = own.terminal()?;
        equal("its own", discipline(&own), Ok(()))?;
        equal("its own", exclude(&own), Ok(()))
    })?;
    equal("the host", discipline(&terminal), Ok(()))?;
    equal("the host", exclude(&terminal), Ok(()))
}

/// Somebody inside, with every capability, and a terminal that a session of the host's is on.
fn taking() -> Outcome {
    let host = Pair::new()?;
    let terminal = host.terminal()?;
    let steal = |how| ioctl_address(&terminal, libc::TIOCSCTTY as u32, how).map(drop);
    let hang_up = || ioctl_address(&terminal, 0x5437, 0).map(drop);
    let redirect = |terminal: &OwnedFd| ioctl_address(terminal, 0x541D, 0).map(drop);
    let on_it = |run: &dyn Fn() -> Outcome| {
        controlled_by(&terminal, || {
            // The session's leader stays outside.
            child(|| {
                run()?;
                Ok(String::new())
            })?;
            Ok(())
        })
    };
    let refused = Err(Errno::EPERM);
    on_it(&|| {
        enter_a()?;
        setsid().map_err(words)?;
        equal("taking it", steal(1), refused)?;
        equal("hanging it up", hang_up(), refused)?;
        equal("the machine's console", redirect(&terminal), refused)?;
        let own = Pair::new()?;
        equal("to an own one", redirect(&own.terminal()?), refused)
    })?;
    // By vhangup, which knows no terminal but the caller's own.
    controlled_by(&terminal, || {
        child(|| {
            enter_a()?;
            syscall(libc::SYS_vhangup, [0; 6]).map_err(words)?;
            Ok(String::new())
        })?;
        talk(&host.master, &terminal)
    })?;
    // Where only the caller is on it, it is his. This is how init takes a console.
    child(|| {
        enter_a()?;
        setsid().map_err(words)?;
        equal("a free one", steal(1), Ok(()))?;
        Ok(String::new())
    })?;
    on_it(&|| {
        setsid().map_err(words)?;
        equal("outside", steal(1), Ok(()))
    })
}

fn own_instance() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
    let none: Option<&str> = None;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(none, "/", none, private, none).map_err(words)?;
    let directory = "/tmp/pts";
    fs::create_dir_all(directory).map_err(words)?;
    mount(
        Some("devpts"),
        directory,
        Some("devpts"),
        MsFlags::empty(),
        Some("newinstance,ptmxmode=666"),
    )
    .map_err(words)?;
    let multiplexer = format!("{directory}/ptmx");
    let first = format!("{directory}/0");
    let only = |number: u32| BTreeSet::from([number]);
    // The pair stays with a sitter; everybody else sees the same instance.
    let sitter = Sitter::new(A, 0, || {
        let pair = Pair::of(&multiplexer)?;
        equal("its number", pair.number, 0)?;
        equal("its list", listed_in(directory)?, only(0))?;
        opened(&first).map(drop).map_err(words)?;
        std::mem::forget(pair);
        Ok(())
    })?;
    equal("the host's list", listed_in(directory)?, BTreeSet::new())?;
    equal("the host", opened(&first).map(drop), Err(Errno::ENOENT))?;
    let host = Pair::of(&multiplexer)?;
    equal("the host's list", listed_in(directory)?, only(1))?;
    inside(A, || equal("A's list", listed_in(directory)?, only(0)))?;
    inside(B, || {
        equal("B's list", listed_in(directory)?, BTreeSet::new())
    })?;
    drop((sitter, host));
    until_empty()
}
