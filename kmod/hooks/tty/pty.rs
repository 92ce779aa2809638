// SPDX-License-Identifier: GPL-2.0

//! Pseudo-terminals. Each belongs to the context that has opened its master, or to the host. Who is
//! elsewhere does not find it in any mount of its devpts, and cannot open it, whichever way he knows it.
//!
//! A descriptor of the terminal side that somebody has been given, by inheritance or in a message,
//! works; and with it his context may open that terminal again, as programs do with /dev/stderr
//! and /dev/tty: it is on loan. Nobody types for others with it, though.
//!
//! The owner is in the `i_private` of the terminal's inode, which devpts does not use. Their names are the
//! business of `devpts.rs`.

use crate::{
    attach::hook::{hooks, unless},
    bindings::{
        TIOCCONS, TIOCEXCL, TIOCLINUX, TIOCSCTTY, TIOCSETD, TIOCSTI, TIOCVHANGUP, TTYAUX_MAJOR,
    },
    context::membership::{identity, is_spectator},
    hooks::pid::is_all_in_view,
    linux::{Dentry, File, Inode, Keyed, OwnTty, PidRole, RcuTable, Room, Tty},
};
use kernel::{
    ffi::{c_int, c_long, c_uint, c_ulong, c_void},
    prelude::*,
    sync::rcu,
};

/// A terminal on loan to a context.
#[derive(Clone, Copy)]
struct Loan {
    pty: u64,
    borrower: u64,
}

const PTY: usize = 0;
const BORROWER: usize = 1;

impl Keyed<2> for Loan {
    fn keys(&self) -> [u64; 2] {
        [self.pty, self.borrower]
    }
}

static LOANS: RcuTable<Loan, 2, 64> = RcuTable::new();

fn is_lent(pty: &Inode, borrower: u64) -> bool {
    let guard = rcu::read_lock();
    LOANS
        .find(&guard, PTY, pty.address(), |loan| loan.borrower == borrower)
        .is_some()
}

fn end_loans_of(pty: &Inode) {
    LOANS.lock().remove(PTY, pty.address());
}

/// A context has ended.
pub(crate) fn end_loans_to(borrower: u64) {
    LOANS.lock().remove(BORROWER, borrower);
}

/// In module init, before the hooks are attached.
pub(crate) fn init() {
    LOANS.init(c"vserver_pty_loans");
}

/// At module exit.
pub(crate) fn end_all_loans() {
    LOANS.lock().clear();
}

/// The caller has made it.
pub(crate) fn own(pty: &Inode) {
    pty.set_private(identity());
}

#[inline]
fn may_open(pty: &Inode) -> bool {
    let own = identity();
    pty.private() == own || is_lent(pty, own)
}

/// The spectator finds all that there is.
pub(crate) fn is_seen(pty: &Inode) -> bool {
    may_open(pty) || is_spectator()
}

/// The caller has been given an open file. Without memory for it he can only not open it again.
pub(crate) fn borrow(file: &File) {
    // Who has the master's side is at the other end of the terminal.
    let Some(tty) = file
        .is_terminal()
        .then(|| file.tty())
        .flatten()
        .filter(|tty| !tty.is_master())
    else {
        return;
    };
    let own = identity();
    let needed = |guard: &rcu::Guard| {
        tty.pty(guard)
            .filter(|pty| pty.private() != own && !is_lent(pty, own))
            .map(Inode::address)
    };
    if needed(&rcu::read_lock()).is_none() {
        return;
    }
    let Ok(room) = Room::new(kernel::alloc::flags::GFP_KERNEL_ACCOUNT) else {
        return;
    };
    let mut loans = LOANS.lock();
    // The master's end sets its mark, and then takes this lock.
    if let Some(pty) = needed(&rcu::read_lock()) {
        loans.add(room, Loan { pty, borrower: own });
    }
}

/// Whether a terminal is another's than this one's. All that are not in pairs are the host's.
fn is_foreign(terminal: &Tty, own: u64) -> bool {
    terminal.pty(&rcu::read_lock()).map_or(0, Inode::private) != own
}

/// Whether there are processes of others in the session on a terminal.
fn is_in_use_by_others(terminal: &Tty) -> bool {
    terminal.has_in_session(|session| !is_all_in_view(session, PidRole::SESSION, &rcu::read_lock()))
}

/// What a request may reach.
#[derive(Clone, Copy)]
enum Reach {
    /// It types, or pastes, into the terminal.
    Typing,
    /// It takes the terminal from the session on it.
    Stealing,
    HangingUp,
    /// It changes for good, and for all, what the terminal is: its line discipline, who may open it.
    Changing,
    /// It takes the kernel's messages.
    Messages,
    /// It is about keys, fonts, colours and screens of the machine's console, where a terminal is one of those.
    Console,
}

/// `None`: only ordinary use of a terminal, its modes, size and flow among them. They end with `reset`, and whoever
/// has been given a terminal has them.
#[inline(always)]
fn reach(command: c_uint) -> Option<Reach> {
    match command {
        TIOCSTI | TIOCLINUX => Some(Reach::Typing),
        TIOCSCTTY => Some(Reach::Stealing),
        TIOCVHANGUP => Some(Reach::HangingUp),
        TIOCSETD | TIOCEXCL => Some(Reach::Changing),
        TIOCCONS => Some(Reach::Messages),
        _ if matches!(command >> 8, KEYBOARD | SCREENS) => Some(Reach::Console),
        _ => None,
    }
}

/// The second bytes of the requests of `linux/kd.h` and `linux/vt.h`.
const KEYBOARD: c_uint = 0x4b;
const SCREENS: c_uint = 0x56;

#[cold]
fn reaches_too_far(file: &File, reach: Reach, argument: c_ulong) -> bool {
    // Otherwise there is nothing that it could reach.
    let Some(terminal) = file.tty().and_then(Tty::terminal_side) else {
        return false;
    };
    let own = identity();
    let foreign = is_foreign(terminal, own);
    match reach {
        Reach::Typing => foreign,
        Reach::Stealing => foreign && argument == 1 && is_in_use_by_others(terminal),
        Reach::HangingUp => foreign && is_in_use_by_others(terminal),
        Reach::Changing => foreign && own != 0,
        Reach::Messages => own != 0,
        Reach::Console => own != 0 && !terminal.is_pseudo(),
    }
}

#[inline(always)]
fn judge(file: &File, command: c_uint, argument: c_ulong) -> Result {
    let refused = reach(command).is_some_and(|reach| reaches_too_far(file, reach, argument));
    unless(refused, EPERM)
}

hooks! {
    /// All ways to open one come by here, whatever name or descriptor they begin with.
    wrap_atomic(original) fn devpts_get_priv(dentry: &Dentry) -> *mut c_void {
        let tty = original();
        let Some(pty) = dentry.inode().filter(|_| !tty.is_null()) else {
            return tty;
        };
        if may_open(pty) {
            return tty;
        }
        // The caller passes errors on.
        if is_spectator() { EPERM } else { ENOENT }.to_ptr()
    }

    /// The master is gone, and everything that would lend the terminal sees that. The next terminal may have its inode
    /// in the same memory.
    mediate_anyone fn devpts_pty_kill(dentry: &Dentry) {
        if let Some(pty) = dentry.inode() {
            end_loans_of(pty);
        }
        Ok(())
    }

    /// But for the name of the caller's own terminal, which he can have without having been given it.
    mediate_anyone fn tty_open(inode: &Inode, _file: &File) -> c_int {
        unless(inode.device() == TTYAUX_MAJOR << 20 && own_terminal_is_foreign(), ENXIO)
    }

    mediate_anyone fn tty_ioctl(file: &File, command: c_uint, argument: c_ulong) -> c_long {
        judge(file, command, argument)
    }

    /// It does not hand all of them on to the other.
    #[cfg(CONFIG_COMPAT)]
    mediate_anyone fn tty_compat_ioctl(file: &File, command: c_uint, argument: c_ulong) -> c_long {
        judge(file, command, argument)
    }

    /// vhangup(2), of the caller's own terminal: for that a capability is enough that gettys have.
    mediate_anyone fn tty_vhangup_self() {
        unless(
            OwnTty::get().is_some_and(|tty| is_foreign(&tty, identity()) && is_in_use_by_others(&tty)),
            EPERM,
        )
    }
}

#[cold]
fn own_terminal_is_foreign() -> bool {
    OwnTty::get().is_some_and(|tty| tty.pty(&rcu::read_lock()).is_some_and(|pty| !may_open(pty)))
}
