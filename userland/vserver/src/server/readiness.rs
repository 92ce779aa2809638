// SPDX-License-Identifier: GPL-2.0

//! Whether the boot of a vserver is done: what its init offers, gathered in one place.

use super::watch;
use anyhow::Context;
use libvserver::guest;
use libvserver::init_system::Child;
use libvserver::init_system::InitSystem;
use libvserver::init_system::Seen;
use libvserver::Config;
use libvserver::Guest;
use rustix::net::AddressFamily;
use rustix::net::RecvFlags;
use rustix::net::SocketAddrUnix;
use rustix::net::SocketFlags;
use rustix::net::SocketType;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::process;

/// Where systemd reports to, inside.
const NOTIFY: &str = "/run/vserver-notify";

/// No line that READY could be on is longer.
const LINE_MAX: usize = 4096;

/// What tells that it is done.
enum Sign {
    /// The files, children and reports of an init system.
    Init(InitSystem),
    /// A line of the console, and the end of what it has shown.
    Line {
        text: String,
        shown: Vec<u8>,
        found: bool,
    },
    /// The process that was started has ended.
    Exit { name: String, ended: bool },
}

/// A boot under way.
pub(crate) struct Readiness {
    guest: Guest,
    sign: Sign,
    seen: Seen,
    watcher: Option<process::Child>,
    /// What the watcher has written of a line.
    told: Vec<u8>,
    notify: Option<OwnedFd>,
}

impl Readiness {
    /// For a guest that is prepared and about to be started with its init.
    pub(crate) fn of_init(guest: Guest, config: &Config) -> anyhow::Result<Self> {
        let found = InitSystem::find(&guest, &config.init);
        let sign = match (&config.ready, found) {
            (Some(text), _) => Sign::Line {
                text: text.clone(),
                shown: Vec::new(),
                found: false,
            },
            (None, Some(system)) => Sign::Init(system),
            (None, None) => anyhow::bail!(
                "{} inside is no init that is known (sysvinit, OpenRC, runit, busybox, systemd); \
                 set READY=\"text\" to a text that the console shows when the boot is done, or INIT",
                config.init.display()
            ),
        };
        let notify = match found {
            Some(InitSystem::Systemd) => Some(notify_socket(&guest)?),
            _ => None,
        };
        Ok(Self::new(guest, sign, notify))
    }

    /// For a program whose end is the end of the boot.
    pub(crate) fn of_program(guest: Guest, name: String) -> Self {
        Self::new(guest, Sign::Exit { name, ended: false }, None)
    }

    fn new(guest: Guest, sign: Sign, notify: Option<OwnedFd>) -> Self {
        Self {
            guest,
            sign,
            seen: Seen::default(),
            watcher: None,
            told: Vec::new(),
            notify,
        }
    }

    /// What process 1 needs in its environment.
    pub(crate) fn environment(&self) -> Option<(String, String)> {
        let _ = self.notify.as_ref()?;
        Some(("NOTIFY_SOCKET".to_owned(), NOTIFY.to_owned()))
    }

    /// The context is there.
    pub(crate) fn watch(&mut self, context: i32) -> anyhow::Result<()> {
        if matches!(self.sign, Sign::Init(system) if system.needs_children()) {
            let watcher = watch::start(context).context("cannot watch process 1")?;
            self.watcher = Some(watcher);
        }
        Ok(())
    }

    /// What to wait on: [`Readiness::read_watcher`] is for the first, [`Readiness::read_notify`] for the second.
    pub(crate) fn descriptors(&self) -> (Option<BorrowedFd<'_>>, Option<BorrowedFd<'_>>) {
        let watcher = self
            .watcher
            .as_ref()
            .and_then(|watcher| watcher.stdout.as_ref());
        (
            watcher.map(AsFd::as_fd),
            self.notify.as_ref().map(AsFd::as_fd),
        )
    }

    pub(crate) fn read_watcher(&mut self) {
        let mut room = [0; LINE_MAX];
        let out = self
            .watcher
            .as_mut()
            .and_then(|watcher| watcher.stdout.as_mut());
        match out.map(|out| out.read(&mut room)) {
            Some(Ok(length @ 1..)) => self.told.extend_from_slice(&room[..length]),
            _ => self.end_watching(),
        }
        while let Some(end) = self.told.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.told.drain(..=end).collect();
            if let Ok(children) = serde_json::from_slice::<Vec<Child>>(&line) {
                self.seen.had_children |= !children.is_empty();
                self.seen.children = Some(children);
            }
        }
    }

    pub(crate) fn read_notify(&mut self) {
        let mut room = [0; LINE_MAX];
        let Some(socket) = &self.notify else {
            return;
        };
        while let Ok((length, _)) =
            rustix::net::recv(socket, room.as_mut_slice(), RecvFlags::DONTWAIT)
        {
            let said = room[..length.min(LINE_MAX)].split(|byte| *byte == b'\n');
            self.seen.notified |= said.into_iter().any(|line| line == b"READY=1");
        }
    }

    /// The console shows this.
    pub(crate) fn shown(&mut self, bytes: &[u8]) {
        if let Sign::Line { text, shown, found } = &mut self.sign {
            shown.extend_from_slice(bytes);
            *found |= shown
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            let surplus = shown.len().saturating_sub(LINE_MAX);
            shown.drain(..surplus);
        }
    }

    /// The process that was started has ended.
    pub(crate) fn has_exited(&mut self) {
        if let Sign::Exit { ended, .. } = &mut self.sign {
            *ended = true;
        }
    }

    /// In words; `None`: the boot is done.
    pub(crate) fn waits_for(&self) -> Option<String> {
        match &self.sign {
            Sign::Init(system) => system.waits_for(&self.guest, &self.seen),
            Sign::Line { text, found, .. } => {
                (!found).then(|| format!("the console to show \"{text}\" (READY)"))
            }
            Sign::Exit { name, ended } => (!ended).then(|| format!("the end of \"{name}\"")),
        }
    }

    fn end_watching(&mut self) {
        if let Some(mut watcher) = self.watcher.take() {
            drop(watcher.stdin.take());
            let _ = watcher.wait();
        }
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.end_watching();
    }
}

/// Bound inside the guest's /run, which is ours and empty yet.
fn notify_socket(guest: &Guest) -> anyhow::Result<OwnedFd> {
    let run = guest.directory_of("run")?;
    let name = NOTIFY.rsplit('/').next().unwrap_or(NOTIFY);
    let path = format!("{}/{name}", guest::path(&run));
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)
        .context("cannot make the socket that systemd reports to")?;
    Ok(socket)
}
