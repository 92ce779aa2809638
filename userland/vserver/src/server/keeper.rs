// SPDX-License-Identifier: GPL-2.0

//! The keeper: one process per vserver that runs, in the background and outside of it. It has the mounts, the
//! console with its log and whoever looks at it, knows when the boot is done, and starts the vserver
//! again when it asks for a reboot.
//!
//! One thread and one loop: nothing that the vserver does, or who looks at its console, makes it wait.

use super::channel;
use super::channel::Asked;
use super::channel::Event;
use super::channel::Request;
use super::channel::Told;
use super::console_log::ConsoleLog;
use super::has_init;
use super::hook;
use super::launch;
use super::launch::Files;
use super::launch::Launched;
use super::launch::Order;
use super::launch::Terminal;
use super::make_directory;
use super::rc;
use super::readiness::Readiness;
use super::Server;
use super::LOGS;
use crate::exit_codes;
use anyhow::bail;
use anyhow::Context;
use libvserver::uapi;
use libvserver::Config;
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
use nix::sched::setns;
use nix::sched::CloneFlags;
use nix::sys::wait::WaitStatus;
use rustix::process::PidfdFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

/// The program's first argument that means "be a keeper". It is no word that a user would type.
pub(crate) const ARGUMENT: &str = "--internal-keeper";

/// What it says to who has started it.
const LISTENING: &str = "listening";

/// How often signs that nobody announces are looked for while the vserver starts.
const RECHECK_MS: u16 = 50;

/// How long who has started it may take to come.
const FIRST_CLIENT_MS: u16 = 10_000;

/// So many boots in a row that ended before they were done, and it is not tried again.
const BOOTS_MAX: u32 = 5;

/// So many lines of the console go into a message.
const LINES: usize = 10;

/// No more may look at once.
const CLIENTS_MAX: usize = 64;

/// Starts a keeper; returns when it listens.
pub(crate) fn start(server: &Server) -> anyhow::Result<()> {
    let mut keeper = Command::new("/proc/self/exe")
        .arg0("vserver")
        .arg(ARGUMENT)
        .arg(&server.name)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the keeper")?;
    let mut said = String::new();
    if let Some(mut out) = keeper.stdout.take() {
        io::Read::read_to_string(&mut out, &mut said)?;
    }
    match said.trim() {
        LISTENING => Ok(()),
        "" => bail!("the keeper of {} died at once", server.name),
        error => bail!("{error}"),
    }
}

/// Be the keeper.
pub(crate) fn serve(name: Option<&str>) -> u8 {
    let Some(Ok(server)) = name.map(Server::new) else {
        return exit_codes::USAGE;
    };
    let mut keeper = match Keeper::new(&server) {
        Ok(keeper) => keeper,
        Err(error) => {
            println!("{}", crate::cli::message(&error));
            return exit_codes::FAILURE;
        }
    };
    println!("{LISTENING}");
    // Who has started it reads until the end.
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(nothing);
    }
    keeper.run();
    exit_codes::SUCCESS
}

/// How a boot went on.
enum End {
    /// It asked to be started again.
    Restart { was_ready: bool },
    /// It is over, in words.
    Over(String),
}

struct Keeper {
    server: Server,
    log: ConsoleLog,
    listener: OwnedFd,
    clients: Vec<OwnedFd>,
    /// The mounts of the host.
    mounts: File,
    /// Somebody stops it.
    stopping: bool,
}

/// One life of the vserver, from its start to its end.
struct Life {
    config: Config,
    master: PtyMaster,
    /// Held, so that the console is never hung up when nobody inside has it open.
    _slave: File,
    launched: Launched,
    child_pid: OwnedFd,
    child_ended: bool,
    news_seen: bool,
    /// While it starts.
    readiness: Option<Readiness>,
    deadline: Instant,
    was_ready: bool,
    post_start: Option<std::process::Child>,
}

impl Keeper {
    fn new(server: &Server) -> anyhow::Result<Self> {
        nix::unistd::setsid().context("cannot make a session")?;
        std::env::set_current_dir("/")?;
        make_directory(libvserver::names::DIRECTORY)?;
        make_directory(LOGS)?;
        let (_, config) = Server::existing(&server.name)?;
        let path = server.log();
        let log = ConsoleLog::open(&path, config.console_log_size)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let socket = server.socket();
        let listener = channel::listen(&socket)
            .with_context(|| format!("cannot listen at {}", socket.display()))?;
        Ok(Self {
            server: server.clone(),
            log,
            listener,
            clients: Vec::new(),
            mounts: File::open("/proc/self/ns/mnt")?,
            stopping: false,
        })
    }

    fn run(&mut self) {
        self.wait_for_first_client();
        let mut failed_boots = 0;
        let how = loop {
            match self.live() {
                Ok(End::Restart { was_ready }) => {
                    failed_boots = if was_ready { 0 } else { failed_boots + 1 };
                    if failed_boots >= BOOTS_MAX {
                        break format!(
                            "it asked for a reboot {BOOTS_MAX} times before it was ready"
                        );
                    }
                    self.note("reboot");
                }
                Ok(End::Over(how)) => break how,
                Err(error) => {
                    let message = crate::cli::message(&error);
                    self.note(&message);
                    self.tell(&Told::Event(Event::Failed { message }));
                    break "it could not be started".to_owned();
                }
            }
        };
        if let Err(error) = hook::run(&self.server, "post-stop", self.log_files()) {
            self.note(&format!("{error:#}"));
        }
        self.note(&how);
        self.server.forget();
        self.tell(&Told::Event(Event::Ended { how }));
    }

    fn wait_for_first_client(&mut self) {
        let mut set = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        if poll(&mut set, PollTimeout::from(FIRST_CLIENT_MS)).is_ok_and(|ready| ready > 0) {
            self.accept();
        }
    }

    fn accept(&mut self) {
        if let Ok(client) = channel::accept(&self.listener) {
            if self.clients.len() < CLIENTS_MAX {
                self.clients.push(client);
            }
        }
    }

    fn tell(&mut self, told: &Told) {
        self.clients.retain(|client| channel::offer(client, told));
    }

    /// A line of the keeper's own in the log.
    fn note(&mut self, line: &str) {
        self.log
            .add(format!("\r\n[vserver {}: {line}]\r\n", self.server.name).as_bytes());
    }

    /// Where hooks write to.
    fn log_files(&self) -> [Stdio; 2] {
        let open = || {
            let file = File::options().append(true).open(self.server.log());
            file.map_or_else(|_| Stdio::null(), Stdio::from)
        };
        [open(), open()]
    }

    /// From the start to the end.
    fn live(&mut self) -> anyhow::Result<End> {
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)
            .context("cannot leave the mounts of before")?;
        let (_, config) = Server::existing(&self.server.name)?;
        hook::run(&self.server, "pre-start", self.log_files())?;
        let mut life = self.begin(config)?;
        self.server
            .record(life.launched.number)
            .context("cannot record its context")?;
        let context = life.launched.number;
        self.tell(&Told::Event(Event::Started { context }));
        loop {
            self.turn(&mut life)?;
            if life.launched.context.is_empty()? && life.child_ended {
                break;
            }
        }
        self.read_console(&mut life);
        self.end(life)
    }

    fn begin(&mut self, config: Config) -> anyhow::Result<Life> {
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
        let guest = Guest::prepare(&self.server.root(), Some(Path::new(&terminal)))?;
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
        let mut order = Order::new(&self.server, None, &command);
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
        let launched = launch::launch(order, files, None)?;
        readiness.watch(launched.number)?;
        let pid = rustix::process::Pid::from_child(&launched.child);
        let child_pid = rustix::process::pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Life {
            deadline: Instant::now() + config.start_timeout,
            config,
            master,
            _slave: slave,
            launched,
            child_pid,
            child_ended: false,
            news_seen: false,
            readiness: Some(readiness),
            was_ready: false,
            post_start: None,
        })
    }

    /// Waits for something, and deals with it.
    fn turn(&mut self, life: &mut Life) -> anyhow::Result<()> {
        let busy = life.readiness.is_some() || life.post_start.is_some();
        let ready = self.wait(life, busy)?;
        let [console, listener, watcher, notify, child, news] = ready.fixed;
        // First, as those who are gone are dropped as soon as they are to be told anything.
        for index in ready.clients.into_iter().rev() {
            self.answer(index, life);
        }
        if console {
            self.read_console(life);
        }
        if let Some(readiness) = &mut life.readiness {
            if watcher {
                readiness.read_watcher();
            }
            if notify {
                readiness.read_notify();
            }
        }
        if child && !life.child_ended {
            life.child_ended = life.launched.child.try_wait()?.is_some();
            if let (true, Some(readiness)) = (life.child_ended, &mut life.readiness) {
                readiness.has_exited();
            }
        }
        life.news_seen |= news;
        if listener {
            self.accept();
        }
        self.check(life);
        Ok(())
    }

    fn wait(&self, life: &Life, busy: bool) -> anyhow::Result<Ready> {
        let input = PollFlags::POLLIN;
        let (watcher, notify) = match &life.readiness {
            Some(readiness) => readiness.descriptors(),
            None => (None, None),
        };
        let nobody = self.listener.as_fd();
        let none = PollFlags::empty();
        let optional = |descriptor: Option<std::os::fd::BorrowedFd<'_>>| match descriptor {
            Some(_) => input,
            None => none,
        };
        // Each is told for good once it has happened.
        let child = if life.child_ended { none } else { input };
        let news = if life.news_seen {
            input
        } else {
            input | PollFlags::POLLPRI
        };
        let mut set = vec![
            PollFd::new(life.master.as_fd(), input),
            PollFd::new(self.listener.as_fd(), input),
            PollFd::new(watcher.unwrap_or(nobody), optional(watcher)),
            PollFd::new(notify.unwrap_or(nobody), optional(notify)),
            PollFd::new(life.child_pid.as_fd(), child),
            PollFd::new(life.launched.context.as_fd(), news),
        ];
        let fixed = set.len();
        set.extend(
            self.clients
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
            clients: (0..self.clients.len())
                .filter(|index| ready[fixed + index])
                .collect(),
        })
    }

    fn read_console(&mut self, life: &mut Life) {
        let mut room = [0; channel::PIECE_MAX];
        // Not for ever: others want to be heard as well.
        for _ in 0..64 {
            match nix::unistd::read(&life.master, &mut room) {
                Ok(length @ 1..) => {
                    let bytes = &room[..length];
                    self.log.add(bytes);
                    if let Some(readiness) = &mut life.readiness {
                        readiness.shown(bytes);
                    }
                    self.tell(&Told::Output(bytes.to_vec()));
                }
                _ => return,
            }
        }
    }

    /// Somebody asks something, or is gone.
    fn answer(&mut self, index: usize, life: &Life) {
        match channel::listen_to(&self.clients[index]) {
            Ok(Some(Asked::Input(bytes))) => {
                // What nobody reads inside is lost, as on any terminal.
                let _ = nix::unistd::write(&life.master, &bytes);
            }
            Ok(Some(Asked::Request(Request::Size(rows, columns)))) => {
                let size = Winsize {
                    ws_row: rows,
                    ws_col: columns,
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                };
                let _ = rustix::termios::tcsetwinsize(&life.master, size);
            }
            Ok(Some(Asked::Request(Request::Attach { before }))) => {
                let tail = self.log.tail();
                let from = tail.len().saturating_sub(before);
                for piece in tail[from..].chunks(channel::PIECE_MAX) {
                    channel::offer(&self.clients[index], &Told::Output(piece.to_vec()));
                }
            }
            Ok(Some(Asked::Request(Request::Stopping))) => self.stopping = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => drop(self.clients.remove(index)),
        }
    }

    /// Whether the boot is done by now, or too late, and the hook after it.
    fn check(&mut self, life: &mut Life) {
        if let Some(readiness) = &life.readiness {
            match readiness.waits_for() {
                None => {
                    life.readiness = None;
                    life.was_ready = true;
                    life.post_start = self.post_start();
                    if life.post_start.is_none() {
                        self.tell(&Told::Event(Event::Ready));
                    }
                }
                Some(waits_for) if Instant::now() >= life.deadline => {
                    life.readiness = None;
                    let last = self.log.last_lines(LINES);
                    self.note(&format!("not ready in time, waiting for {waits_for}"));
                    self.tell(&Told::Event(Event::NotReady { waits_for, last }));
                }
                Some(_) => {}
            }
        }
        if let Some(hook) = &mut life.post_start {
            if let Ok(Some(status)) = hook.try_wait() {
                if !status.success() {
                    self.note(&format!("post-start failed: {status}"));
                }
                life.post_start = None;
                self.tell(&Told::Event(Event::Ready));
            }
        }
    }

    /// Runs beside the vserver, whose console goes on.
    fn post_start(&self) -> Option<std::process::Child> {
        hook::start(&self.server, "post-start", self.log_files()).ok()?
    }

    /// What its end means.
    fn end(&mut self, mut life: Life) -> anyhow::Result<End> {
        let status = life.launched.context.status()?;
        if let Some(mut hook) = life.post_start.take() {
            let _ = hook.wait();
        }
        if status.reboot == uapi::REBOOT_RESTART && !self.stopping {
            return Ok(End::Restart {
                was_ready: life.was_ready,
            });
        }
        let how = describe(&status);
        let early = life.readiness.as_ref().and_then(Readiness::waits_for);
        match early {
            Some(waits_for) if !self.stopping && has_init(&life.config) => {
                let lines = self.log.last_lines(LINES).join("\n    ");
                bail!("{how} while it was waiting for {waits_for}; the console showed last:\n    {lines}")
            }
            _ => Ok(End::Over(how)),
        }
    }
}

/// What is ready: the console, the listener, the watcher, the notify socket, the child, the context; and clients.
struct Ready {
    fixed: [bool; 6],
    clients: Vec<usize>,
}

/// How a context ended, in words.
pub(crate) fn describe(status: &uapi::Status) -> String {
    let exit = || {
        let pid = nix::unistd::Pid::from_raw(1);
        match WaitStatus::from_raw(pid, i32::try_from(status.init_status).unwrap_or(0)) {
            Ok(WaitStatus::Exited(_, code)) => format!("process 1 exited with code {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("process 1 was killed by {signal}"),
            _ => "process 1 ended".to_owned(),
        }
    };
    match (status.reboot, status.init) {
        (uapi::REBOOT_RESTART, _) => "rebooted".to_owned(),
        (uapi::REBOOT_HALT, _) => "halted".to_owned(),
        (uapi::REBOOT_POWER_OFF, _) => "powered off".to_owned(),
        (_, uapi::INIT_EXITED) => exit(),
        _ => "its last process ended".to_owned(),
    }
}
