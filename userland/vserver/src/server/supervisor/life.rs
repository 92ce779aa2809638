// SPDX-License-Identifier: GPL-2.0

//! One life of a vserver, from its start to its end: what runs, its terminal, and what there is to wait for.

use super::super::has_init;
use super::super::inside;
use super::super::inside::Files;
use super::super::inside::Launched;
use super::super::inside::Order;
use super::super::inside::Terminal;
use super::super::rc;
use super::super::readiness::Readiness;
use super::super::Server;
use anyhow::bail;
use anyhow::Context;
use libvserver::uapi;
use libvserver::Config;
use libvserver::Device;
use libvserver::Guest;
use nix::fcntl::OFlag;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::pty::grantpt;
use nix::pty::posix_openpt;
use nix::pty::ptsname_r;
use nix::pty::unlockpt;
use nix::pty::PtyMaster;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

/// How often signs that nobody announces are looked for while the vserver starts.
const RECHECK_MS: u16 = 50;

/// One life of the vserver, from its start to its end.
pub(super) struct Life {
    pub(super) config: Config,
    pub(super) master: PtyMaster,
    /// Held, so that the console is never hung up when nobody inside has it open.
    _slave: File,
    pub(super) launched: Launched,
    pub(super) child_ended: bool,
    pub(super) news_seen: bool,
    /// While it starts.
    pub(super) readiness: Option<Readiness>,
    pub(super) deadline: Instant,
    pub(super) was_ready: bool,
    pub(super) post_start: Option<std::process::Child>,
}

impl Life {
    /// Starts it, with a terminal and mounts of its own, and records its context. When that fails nothing runs.
    pub(super) fn begin(server: &Server, config: Config) -> anyhow::Result<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let master = posix_openpt(flags).context("cannot make a terminal")?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let terminal = ptsname_r(&master)?;
        let slave = File::options()
            .read(true)
            .write(true)
            .custom_flags(OFlag::O_NOCTTY.bits())
            .open(&terminal)?;
        let guest = Guest::prepare(&server.root(), Some(Path::new(&terminal)), &config.mounts)?;
        let by_init = has_init(&config);
        let (mut readiness, command) = if by_init {
            let init = config.init.clone().into_os_string();
            (Readiness::of_init(guest, &config)?, vec![init])
        } else {
            let command = rc::command(&guest, &config, false).context(
                "no script of a run level is inside (/etc/init.d/rc, /etc/rc.d/rc, /sbin/openrc); \
                 with S_FLAGS=\"fakeinit\" its init starts it",
            )?;
            let name = command.join(" ".as_ref()).to_string_lossy().into_owned();
            (Readiness::of_program(guest, name), command)
        };
        let mut order = Order::new(server, None, &command);
        order.is_init = by_init;
        order.terminal = Terminal::Group;
        order.environment.retain(|(name, _)| name != "TERM");
        order
            .environment
            .push(("TERM".to_owned(), "linux".to_owned()));
        order.environment.extend(readiness.environment());
        let files = Files {
            input: slave.as_fd(),
            output: slave.try_clone()?.into(),
            errors: slave.try_clone()?.into(),
        };
        let record = |number| server.record(number).context("cannot keep track of it");
        let launched = inside::start_recorded(order, files, None, record)?;
        if let Err(error) = readiness.watch(launched.number) {
            undo(launched);
            return Err(error);
        }
        Ok(Self {
            deadline: Instant::now() + config.start_timeout,
            config,
            master,
            _slave: slave,
            launched,
            child_ended: false,
            news_seen: false,
            readiness: Some(readiness),
            was_ready: false,
            post_start: None,
        })
    }

    /// Waits for something. `busy`: not for long.
    pub(super) fn wait(
        &self,
        listener: &OwnedFd,
        clients: &[OwnedFd],
        busy: bool,
    ) -> anyhow::Result<Ready> {
        let input = PollFlags::POLLIN;
        let (watcher, notify) = match &self.readiness {
            Some(readiness) => readiness.descriptors(),
            None => (None, None),
        };
        let nobody = listener.as_fd();
        let none = PollFlags::empty();
        let optional = |descriptor: Option<std::os::fd::BorrowedFd<'_>>| match descriptor {
            Some(_) => input,
            None => none,
        };
        // Each is told for good once it has happened.
        let child = if self.child_ended { none } else { input };
        let news = if self.news_seen {
            input
        } else {
            input | PollFlags::POLLPRI
        };
        let mut set = vec![
            PollFd::new(self.master.as_fd(), input),
            PollFd::new(listener.as_fd(), input),
            PollFd::new(watcher.unwrap_or(nobody), optional(watcher)),
            PollFd::new(notify.unwrap_or(nobody), optional(notify)),
            PollFd::new(self.launched.pidfd.as_fd(), child),
            PollFd::new(self.launched.context.as_fd(), news),
        ];
        let fixed = set.len();
        set.extend(
            clients
                .iter()
                .map(|client| PollFd::new(client.as_fd(), input)),
        );
        let timeout = match busy {
            true => PollTimeout::from(RECHECK_MS),
            false => PollTimeout::NONE,
        };
        match poll(&mut set, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => bail!("cannot wait: {}", errno.desc()),
        }
        let ready: Vec<bool> = set
            .iter()
            .map(|one| {
                let asked = !one.events().is_empty();
                asked && one.revents().is_some_and(|events| !events.is_empty())
            })
            .collect();
        let mut first = [false; 6];
        first.copy_from_slice(&ready[..fixed]);
        Ok(Ready {
            fixed: first,
            clients: (0..clients.len())
                .filter(|index| ready[fixed + index])
                .collect(),
        })
    }
}

/// What is ready: the console, the listener, the watcher, the notify socket, the child, the context; and clients.
pub(super) struct Ready {
    pub(super) fixed: [bool; 6],
    pub(super) clients: Vec<usize>,
}

/// What was started must not stay when nobody knows of it.
fn undo(mut launched: Launched) {
    if let Ok(device) = Device::open() {
        let all = uapi::SIGNAL_ALL;
        let _ = device.signal(launched.number, all, Some(nix::libc::SIGKILL));
    }
    let _ = launched.child.wait();
    let _ = launched.context.wait(PollTimeout::NONE);
}
