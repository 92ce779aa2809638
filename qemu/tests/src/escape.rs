// SPDX-License-Identifier: GPL-2.0

//! Known ways out of a chroot or a container. Each is one function that is run twice or more: in a plain
//! chroot, where it succeeds, and in a vserver, where it must fail, with the ceiling of `--secure` and
//! with every capability. `docs/escapes.md` has the table.

use crate::{
    fixture::{child, confine, enter, equal, words, Outcome, Sitter, SECURE},
    inet, Test,
};
use nix::{
    errno::Errno,
    mount::{mount, MsFlags},
    sched::{unshare, CloneFlags},
    sys::stat::{mknod, stat, Mode, SFlag},
    unistd::{chdir, chroot},
};
use std::{
    fs::{self, Permissions},
    io,
    os::{fd::OwnedFd, unix::fs::PermissionsExt},
};
use vserver_uapi::*;

mod arrival;
mod directories;
mod kernel;
mod mounts;
mod namespaces;
mod network;
mod processes;
mod rings;
mod shared;

/// All of them.
pub const TESTS: &[&[Test]] = &[
    directories::WAYS,
    directories::TESTS,
    mounts::WAYS,
    namespaces::WAYS,
    namespaces::TESTS,
    processes::WAYS,
    processes::TESTS,
    arrival::TESTS,
    rings::TESTS,
    shared::TESTS,
    network::WAYS,
    network::TESTS,
    kernel::WAYS,
    kernel::TESTS,
];

/// The host's, with the barrier `wall` in it, and behind that the vservers `one` and `two`.
const PLACE: &str = "/tmp/escape";
const SECRET: &str = "/tmp/escape/secret";
const WALL: &str = "/tmp/escape/wall";
const ONE: &str = "/tmp/escape/wall/one";
const TWO: &str = "/tmp/escape/wall/two";

/// What is in the file, and in the memory of every process of the test at the same address.
static TOKEN: [u8; 16] = *b"a secret of host";

/// The vserver of the tests, and its neighbour.
const NUMBER: i32 = 100;
const NEIGHBOUR: i32 = 101;

/// What there is outside.
pub struct Outside {
    /// A process of the host. Its root and working directory are the host's.
    pid: usize,
    /// What the attacker has brought along or been given.
    brought: Option<OwnedFd>,
}

/// Where something is tried.
#[derive(Clone, Copy, Debug)]
pub enum Jail {
    /// A chroot of the host's, by root with every capability.
    Chroot,
    /// The host itself.
    Host,
    /// The same chroot in a context that is confined to an address and has given up capabilities.
    Vserver(u64),
    /// The same context without a chroot.
    Context(u64),
}

/// `Ok`: the way leads out.
type Attempt = fn(&Outside) -> Result<(), Errno>;

/// One way out.
pub struct Way {
    attempt: Attempt,
    /// What it ends with under the ceiling of `--secure`.
    secure: Errno,
    /// What it ends with when all capabilities are kept. `None`: they are what it takes.
    whole: Option<Errno>,
    /// What the attacker has before he is inside.
    bring: Option<fn() -> Result<OwnedFd, String>>,
    /// What there is on the host meanwhile.
    beside: Option<fn() -> Outcome>,
    /// Whether there is a chroot.
    chroot: bool,
}

impl Way {
    const fn new(attempt: Attempt, secure: Errno) -> Self {
        Self {
            attempt,
            secure,
            whole: None,
            bring: None,
            beside: None,
            chroot: true,
        }
    }
}

/// A table of ways, one row each; every row is a test.
///
/// `NAME: secure ERRNO [whole ERRNO] [brings FUNCTION] [beside FUNCTION] [everywhere], |outside| ATTEMPT;`
macro_rules! escapes {
    ($(
        $name:ident: secure $secure:ident $(whole $whole:ident)? $(brings $bring:ident)?
            $(beside $beside:ident)? $(open $open:ident)?,
        |$outside:pat_param| $attempt:expr;
    )*) => {
        /// The rows of this file's table.
        pub const WAYS: &[crate::Test] = &[$(
            crate::test(concat!("escape::", stringify!($name)), 120, || {
                fn attempt($outside: &crate::escape::Outside) -> Result<(), nix::errno::Errno> {
                    $attempt
                }
                #[allow(unused_mut)]
                let mut way = crate::escape::Way::new(attempt, nix::errno::Errno::$secure);
                $(way.whole = Some(nix::errno::Errno::$whole);)?
                $(way.bring = Some($bring);)?
                $(way.beside = Some($beside);)?
                $(way.chroot = !$open;)?
                crate::escape::try_everywhere(&way)
            }),
        )*];
    };
}
pub(crate) use escapes;

/// Makes the directories, in the file system of the machine's init: what the kernel starts sees them too.
fn place() -> Outcome {
    remove()?;
    for folder in [PLACE, WALL, ONE, TWO] {
        fs::create_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    }
    for folder in ["proc", "dev", "sub", "mnt"] {
        fs::create_dir(format!("{ONE}/{folder}")).map_err(words)?;
    }
    fs::write(SECRET, TOKEN).map_err(words)?;
    fs::write(format!("{ONE}/file"), "one").map_err(words)?;
    let number = stat("/dev/vserver").map_err(words)?.st_rdev;
    let (device, mode) = (
        format!("{ONE}/dev/vserver"),
        Mode::from_bits_truncate(0o666),
    );
    mknod(device.as_str(), SFlag::S_IFCHR, mode, number).map_err(words)?;
    fs::set_permissions(WALL, Permissions::from_mode(0o000)).map_err(words)
}

/// Of this run, or of one that has died.
fn remove() -> Outcome {
    match fs::remove_dir_all(PLACE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("{PLACE}: {error}")),
        _ => Ok(()),
    }
}

/// The directories, for as long as it lives.
struct Place(());

impl Place {
    fn new() -> Result<Self, String> {
        place().map(|()| Self(()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = remove();
    }
}

/// A mount namespace of its own for who calls, with /proc in the vserver.
fn own_mounts() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNS).map_err(words)?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(words)?;
    let proc = format!("{ONE}/proc");
    mount(
        Some("proc"),
        proc.as_str(),
        Some("proc"),
        MsFlags::empty(),
        none,
    )
    .map_err(words)
}

/// Goes inside, for good. The chroot comes first: nobody ever sees the process inside with the host's root.
fn go_inside(jail: Jail) -> Outcome {
    own_mounts()?;
    if matches!(jail, Jail::Chroot | Jail::Vserver(_)) {
        chroot(ONE).map_err(words)?;
        chdir("/").map_err(words)?;
    }
    if let Jail::Vserver(drop) | Jail::Context(drop) = jail {
        confine(&[inet::A]).map_err(words)?;
        enter(NUMBER, 0, drop).map_err(words)?;
    }
    Ok(())
}

/// Goes inside in a process of its own and tries it there.
pub fn tried(
    jail: Jail,
    outside: &Outside,
    attempt: impl FnOnce(&Outside) -> Result<(), Errno>,
) -> Result<Result<(), Errno>, String> {
    let said = child(|| {
        go_inside(jail)?;
        let number = attempt(outside).map_or_else(|errno| errno as i32, |()| 0);
        Ok(number.to_string())
    })
    .map_err(|text| format!("{jail:?}: {text}"))?;
    match said.parse().map_err(words)? {
        0 => Ok(Ok(())),
        number => Ok(Err(Errno::from_raw(number))),
    }
}

/// Tries a way where it leads out, and in a vserver.
pub fn try_everywhere(way: &Way) -> Outcome {
    inet::addresses()?;
    let _place = Place::new()?;
    let host = Sitter::new(CONTEXT_ROOT, 0, || {
        way.beside.map_or(Ok(()), |beside| beside())
    })?;
    let (free, kept): (_, fn(u64) -> Jail) = if way.chroot {
        (Jail::Chroot, Jail::Vserver)
    } else {
        (Jail::Host, Jail::Context)
    };
    let mut table = vec![(free, Ok(())), (kept(SECURE), Err(way.secure))];
    if let Some(errno) = way.whole {
        table.push((kept(0), Err(errno)));
    }
    for (jail, expected) in table {
        let outside = Outside {
            pid: host.pid as usize,
            brought: way.bring.map(|bring| bring()).transpose()?,
        };
        let got = tried(jail, &outside, way.attempt)?;
        equal(&format!("{jail:?}"), got, expected)?;
    }
    Ok(())
}

/// What the standard library says, as the kernel has said it.
fn errno(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// The host's secret by a path.
fn read_secret(path: &str) -> Result<(), Errno> {
    if fs::read(path).map_err(errno)? == TOKEN {
        Ok(())
    } else {
        Err(Errno::ENODATA)
    }
}

/// From the working directory up to the top, and what is there.
fn walk_up() -> Result<(), Errno> {
    for _ in 0..64 {
        chdir("..")?;
    }
    chroot(".")?;
    read_secret(SECRET)
}
