// SPDX-License-Identifier: GPL-2.0

//! The supervisor: one process per vserver that runs, in the background and outside of it. It has the mounts, the
//! console with its log and whoever looks at it, knows when the boot is done, and starts the vserver
//! again when it asks for a reboot.
//!
//! One thread and one loop: nothing that the vserver does, or who looks at its console, makes it wait.

mod end;
mod life;

pub(crate) use end::describe;

use super::channel;
use super::channel::Asked;
use super::channel::Event;
use super::channel::Request;
use super::channel::Told;
use super::console_log::ConsoleLog;
use super::events::happened;
use super::has_init;
use super::hook;
use super::make_directory;
use super::network;
use super::readiness::Readiness;
use super::state::Phase;
use super::state::PhaseFile;
use super::vserver::LOGS;
use super::Server;
use crate::exit_codes;
use anyhow::bail;
use anyhow::Context;
use libvserver::uapi;
use libvserver::Config;
use life::Life;
use log::Level;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sched::setns;
use nix::sched::CloneFlags;
use rustix::termios::Winsize;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::process::Stdio;
use std::time::Instant;

/// The program's first argument that means "be a keeper". It is no word that a user would type.
pub(crate) const ARGUMENT: &str = "--internal-keeper";

/// What it says to who has started it.
const LISTENING: &str = "listening";

/// How long who has started it may take to come.
const FIRST_CLIENT_MS: u16 = 10_000;

/// So many boots in a row that ended before they were done, and it is not tried again.
const BOOTS_MAX: u32 = 5;

/// So many lines of the console go into a message.
const LINES: usize = 10;

/// No more may look at once.
const CLIENTS_MAX: usize = 64;

/// Its argument after the name that means "add no addresses to devices".
const NODEV: &str = "nodev";

/// Starts a supervisor; returns when it listens. `nodev`: it adds no addresses to devices.
pub(crate) fn start(server: &Server, nodev: bool) -> anyhow::Result<()> {
    let mut supervisor = Command::new("/proc/self/exe")
        .arg0("vserver")
        .arg(ARGUMENT)
        .arg(&server.name)
        .args(nodev.then_some(NODEV))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("cannot start the keeper")?;
    let mut said = String::new();
    if let Some(mut out) = supervisor.stdout.take() {
        io::Read::read_to_string(&mut out, &mut said)?;
    }
    match said.trim() {
        LISTENING => Ok(()),
        "" => bail!("the keeper of {} died at once", server.name),
        error => bail!("{error}"),
    }
}

/// Be the supervisor.
pub(crate) fn serve(name: Option<&str>, option: Option<&str>) -> u8 {
    let Some(Ok(server)) = name.map(Server::new) else {
        return exit_codes::USAGE;
    };
    // It outlives whoever has started it, and has nothing of theirs.
    if libvserver::handover::close_all_but(&[]).is_err() {
        return exit_codes::OWN_FAILURE;
    }
    let mut supervisor = match Supervisor::new(&server, option == Some(NODEV)) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            println!("{}", crate::report::message(&error));
            return exit_codes::FAILURE;
        }
    };
    println!("{LISTENING}");
    // Who has started it reads until the end.
    if let Ok(nothing) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(nothing);
    }
    supervisor.run();
    exit_codes::SUCCESS
}

/// How a boot went on.
enum End {
    /// It asked to be started again.
    Restart { was_ready: bool },
    /// It is over, in words.
    Over(String),
}

struct Supervisor {
    server: Server,
    log: ConsoleLog,
    listener: OwnedFd,
    clients: Vec<OwnedFd>,
    /// The mounts of the host.
    mounts: File,
    /// Somebody stops it.
    stopping: bool,
    /// No addresses are added to devices.
    nodev: bool,
    phase: PhaseFile,
    /// What it was started with last.
    config: Option<Config>,
}

impl Supervisor {
    fn new(server: &Server, nodev: bool) -> anyhow::Result<Self> {
        nix::unistd::setsid().context("cannot make a session")?;
        std::env::set_current_dir("/")?;
        make_directory(libvserver::names::DIRECTORY)?;
        make_directory(LOGS)?;
        let phase = PhaseFile::take(&server.phase_file())?;
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
            nodev,
            phase,
            config: None,
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
                    happened(Level::Info, &self.server.name, "reboot", &[]);
                    self.phase.set(Phase::Starting);
                }
                Ok(End::Over(how)) => break how,
                Err(error) => {
                    let message = crate::report::message(&error);
                    self.note(&message);
                    let fields = [("message", message.clone())];
                    happened(Level::Error, &self.server.name, "failed", &fields);
                    self.tell(&Told::Event(Event::Failed { message }));
                    break "it could not be started".to_owned();
                }
            }
        };
        self.phase.set(Phase::Stopping);
        if let Err(error) = hook::run(&self.server, "post-stop", self.log_files()) {
            self.note(&format!("{error:#}"));
        }
        if let Err(error) = network::take_down(&self.server) {
            self.note(&format!("{error:#}"));
        }
        self.note(&how);
        happened(
            Level::Info,
            &self.server.name,
            "stopped",
            &[("how", how.clone())],
        );
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

    /// A line of the supervisor's own in the log.
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

    /// The configuration of this start; when that is wrong at a reboot, the one of the start before.
    fn configuration(&mut self) -> anyhow::Result<Config> {
        match Server::loaded(&self.server.name) {
            Ok((server, loaded)) => {
                server.save(&loaded)?;
                self.config = Some(loaded.config.clone());
                Ok(loaded.config)
            }
            Err(error) => match self.config.clone() {
                Some(before) => {
                    let message = crate::report::message(&error);
                    self.note(&format!("{message}; it starts as it did before"));
                    let fields = [("message", message)];
                    happened(
                        Level::Warn,
                        &self.server.name,
                        "configuration wrong",
                        &fields,
                    );
                    Ok(before)
                }
                None => Err(error),
            },
        }
    }

    /// From the start to the end.
    fn live(&mut self) -> anyhow::Result<End> {
        setns(&self.mounts, CloneFlags::CLONE_NEWNS)
            .context("cannot leave the mounts of before")?;
        let config = self.configuration()?;
        hook::run(&self.server, "pre-start", self.log_files())?;
        self.hear_all(None);
        if self.stopping {
            return Ok(End::Over("stopped before it was started".to_owned()));
        }
        if !self.nodev {
            network::bring_up(&self.server, &config)?;
        }
        let mut life = Life::begin(&self.server, config)?;
        let context = life.launched.number;
        for note in std::mem::take(&mut life.launched.notes) {
            self.note(&note);
            let fields = [("message", note)];
            happened(
                Level::Warn,
                &self.server.name,
                "started differently",
                &fields,
            );
        }
        happened(
            Level::Info,
            &self.server.name,
            "started",
            &[("context", context.to_string())],
        );
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

    /// Waits for something, and deals with it.
    fn turn(&mut self, life: &mut Life) -> anyhow::Result<()> {
        let busy = life.readiness.is_some() || life.post_start.is_some();
        let ready = life.wait(&self.listener, &self.clients, busy)?;
        let [console, listener, watcher, notify, child, news] = ready.fixed;
        // First, as those who are gone are dropped as soon as they are to be told anything.
        for index in ready.clients.into_iter().rev() {
            self.answer(index, Some(life));
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

    /// Whoever has come, and what all have asked, without waiting.
    fn hear_all(&mut self, life: Option<&Life>) {
        while let Ok(client) = channel::accept(&self.listener) {
            self.clients.push(client);
        }
        for index in (0..self.clients.len()).rev() {
            self.answer(index, life);
        }
    }

    /// Somebody asks something, or is gone.
    fn answer(&mut self, index: usize, life: Option<&Life>) {
        match channel::listen_to(&self.clients[index]) {
            Ok(Some(Asked::Input(bytes))) => {
                // What nobody reads inside is lost, as on any terminal.
                let _ = life.map(|life| nix::unistd::write(&life.master, &bytes));
            }
            Ok(Some(Asked::Request(Request::Size(rows, columns)))) => {
                let size = Winsize {
                    ws_row: rows,
                    ws_col: columns,
                    ws_xpixel: 0,
                    ws_ypixel: 0,
                };
                let _ = life.map(|life| rustix::termios::tcsetwinsize(&life.master, size));
            }
            Ok(Some(Asked::Request(Request::Attach { before }))) => {
                let tail = self.log.tail();
                let from = tail.len().saturating_sub(before);
                for piece in tail[from..].chunks(channel::PIECE_MAX) {
                    channel::offer(&self.clients[index], &Told::Output(piece.to_vec()));
                }
                if let Some(life) = life {
                    let context = life.launched.number;
                    let started = Told::Event(Event::Started { context });
                    channel::offer(&self.clients[index], &started);
                    if life.was_ready && life.post_start.is_none() {
                        channel::offer(&self.clients[index], &Told::Event(Event::Ready));
                    }
                }
            }
            Ok(Some(Asked::Request(Request::Stopping))) => {
                self.stopping = true;
                self.phase.set(Phase::Stopping);
            }
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
                        self.is_ready();
                    }
                }
                Some(waits_for) if Instant::now() >= life.deadline => {
                    life.readiness = None;
                    let last = self.log.last_lines(LINES);
                    self.note(&format!("not ready in time, waiting for {waits_for}"));
                    let fields = [("waits_for", waits_for.clone())];
                    happened(Level::Warn, &self.server.name, "not ready", &fields);
                    self.is_up();
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
                self.is_ready();
            }
        }
    }

    fn is_ready(&mut self) {
        self.is_up();
        happened(Level::Info, &self.server.name, "ready", &[]);
        self.tell(&Told::Event(Event::Ready));
    }

    fn is_up(&self) {
        if !self.stopping {
            self.phase.set(Phase::Running);
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
