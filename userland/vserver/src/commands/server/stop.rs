// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME stop`: have a vserver end its services, then end what is left.

use super::super::Verb;
use super::mounts;
use super::supervisor;
use crate::announce::announce;
use crate::announce::warn;
use crate::exit_codes;
use crate::server::channel;
use crate::server::channel::Asked;
use crate::server::channel::Event;
use crate::server::channel::Request;
use crate::server::channel::Told;
use crate::server::has_init;
use crate::server::hook;
use crate::server::inside;
use crate::server::inside::Files;
use crate::server::inside::Launched;
use crate::server::inside::Order;
use crate::server::rc;
use crate::server::relay;
use crate::server::supervisor::describe;
use crate::server::Running;
use crate::server::Server;
use crate::server::State;
use clap::Parser;
use libvserver::init_system::InitSystem;
use libvserver::init_system::StopBy;
use libvserver::uapi;
use libvserver::Config;
use libvserver::Device;
use libvserver::Guest;
use libvserver::Kind;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

/// What is left of a vserver without an init has so long between SIGTERM and SIGKILL.
const TERM: Duration = Duration::from_secs(5);

/// Stop a vserver
///
/// Tells its init to stop, in the way that this one understands, shows the console meanwhile, and
/// kills what is left after STOP_TIMEOUT.
#[derive(Debug, Parser)]
#[command(
    name = "stop",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME stop"
)]
pub(crate) struct Stop {
    /// Do not show the console
    #[arg(long)]
    pub(crate) silent: bool,

    /// The vserver
    pub(crate) name: String,
}

impl Verb for Stop {
    fn run(&self) -> anyhow::Result<u8> {
        let (server, config) = Server::current(&self.name)?;
        let device = Device::open()?;
        let _lock = server.lock()?;
        self.run_locked(&server, &config, &device)
    }
}

impl Stop {
    pub(crate) fn of(name: &str, silent: bool) -> Self {
        Self {
            silent,
            name: name.to_owned(),
        }
    }

    /// For who has the lock.
    pub(super) fn run_locked(
        &self,
        server: &Server,
        config: &Config,
        device: &Device,
    ) -> anyhow::Result<u8> {
        let (mut state, mut running) = server.state(device)?;
        if running.is_none() && state != State::Stopped {
            running = self.wait_for_context(server, device)?;
            (state, _) = server.state(device)?;
        }
        let Some(running) = running else {
            if state == State::Stopped {
                server.clean_up()?;
                if !self.silent {
                    announce(format_args!("Server {} is not running", self.name))?;
                }
            }
            return Ok(exit_codes::SUCCESS);
        };
        let supervisor = supervisor(server)
            .inspect_err(|error| warn("vserver", format_args!("{error:#}")))
            .ok();
        Stopping {
            quiet: self.silent,
            server: server.clone(),
            config: config.clone(),
            device,
            running,
            supervisor,
            shown: relay::Text::default(),
        }
        .run()
    }

    /// Its supervisor is at work before the vserver has a context, or after. It is told not to go on, and has either ended
    /// then, or made the context.
    fn wait_for_context(
        &self,
        server: &Server,
        device: &Device,
    ) -> anyhow::Result<Option<Running>> {
        if let Ok(supervisor) = supervisor(server) {
            channel::ask(&supervisor, &Asked::Request(Request::Stopping))?;
            // So it tells when there is a context already.
            channel::ask(&supervisor, &Asked::Request(Request::Attach { before: 0 }))?;
            let mut text = relay::Text::default();
            loop {
                match channel::hear(&supervisor)? {
                    None => break,
                    Some(Told::Event(Event::Started { .. })) => return server.running(device),
                    Some(Told::Output(bytes)) if !self.silent => drop(text.show(&bytes)),
                    Some(_) => {}
                }
            }
            if !self.silent {
                announce(format_args!("\nServer {} is stopped", self.name))?;
            }
        }
        Ok(None)
    }
}

struct Stopping<'a> {
    quiet: bool,
    server: Server,
    config: Config,
    device: &'a Device,
    running: Running,
    /// None: it is gone, or has just closed.
    supervisor: Option<OwnedFd>,
    /// What is shown of its console.
    shown: relay::Text,
}

impl Stopping<'_> {
    fn run(mut self) -> anyhow::Result<u8> {
        let had_supervisor = self.supervisor.is_some();
        if let Some(supervisor) = &self.supervisor {
            channel::ask(supervisor, &Asked::Request(Request::Stopping))?;
        }
        if let Err(error) = hook::run(
            &self.server,
            "pre-stop",
            [Stdio::inherit(), Stdio::inherit()],
        ) {
            warn("vserver", format_args!("{error:#}"));
        }
        let deadline = Instant::now() + self.config.stop_timeout;
        let mut command = self
            .begin()
            .inspect_err(|error| warn("vserver", format_args!("{error:#}; it is killed")))
            .ok()
            .flatten();
        // Without an init the context does not end by itself when the script has.
        let by_init = has_init(&self.config);
        let told = command.is_some() || by_init;
        let mut killed = false;
        if told && !self.wait(deadline, command.as_mut(), !by_init)? && by_init {
            warn(
                "vserver",
                format_args!(
                    "{} has not stopped in {} s (STOP_TIMEOUT); what is left is killed",
                    self.server.name,
                    self.config.stop_timeout.as_secs()
                ),
            );
        }
        if !self.running.context.is_empty()? && !by_init {
            self.signal_all(nix::libc::SIGTERM)?;
            self.wait(Instant::now() + TERM, None, false)?;
        }
        while !self.running.context.is_empty()? {
            killed = true;
            self.signal_all(nix::libc::SIGKILL)?;
            // Whoever was just entering dies with the next one.
            self.wait(Instant::now() + Duration::from_secs(1), None, false)?;
        }
        let how = describe(&self.running.context.status()?);
        self.settle(had_supervisor)?;
        if let Some(mut command) = command {
            let _ = command.child.wait();
        }
        let what = if killed { "was killed" } else { "is stopped" };
        if !self.quiet {
            announce(format_args!("\nServer {} {what} ({how})", self.server.name))?;
        }
        Ok(exit_codes::SUCCESS)
    }

    /// Has the vserver begin to stop; the command that does it, if one does.
    fn begin(&self) -> anyhow::Result<Option<Launched>> {
        let guest = Guest::open(&self.server.root())?;
        let command: Vec<OsString> = if has_init(&self.config) {
            let init = &self.config.init;
            let by = InitSystem::find(&guest, init)
                .map_or(StopBy::Signal(nix::libc::SIGTERM), |system| {
                    system.stop_by(init)
                });
            match by {
                StopBy::Signal(signal) => {
                    let number = self.running.number;
                    self.device
                        .signal(number, uapi::SIGNAL_INIT, Some(signal))?;
                    return Ok(None);
                }
                StopBy::Command(words) => words.into_iter().map(OsString::from).collect(),
            }
        } else {
            match rc::command(&guest, &self.config, true) {
                Some(command) => command,
                None => return Ok(None),
            }
        };
        let Some(supervisor) = &self.supervisor else {
            anyhow::bail!(
                "without its keeper nothing can be started inside {}",
                self.server.name
            );
        };
        let mut order = Order::new(&self.server, Some(self.running.join()), &command);
        order.patience = Some(self.config.stop_timeout);
        let nothing = File::open("/dev/null")?;
        let show = || match self.quiet {
            true => Stdio::null(),
            false => Stdio::inherit(),
        };
        let files = Files {
            input: nothing.as_fd(),
            output: show(),
            errors: show(),
        };
        inside::start(order, files, Some(&mounts(supervisor)?)).map(Some)
    }

    fn signal_all(&self, signal: i32) -> anyhow::Result<()> {
        match self
            .device
            .signal(self.running.number, uapi::SIGNAL_ALL, Some(signal))
        {
            Err(error) if error.kind() != Kind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Shows the console until the context is empty, or, if that counts, the command has ended. False: neither in
    /// time.
    fn wait(
        &mut self,
        deadline: Instant,
        mut command: Option<&mut Launched>,
        until_command: bool,
    ) -> anyhow::Result<bool> {
        loop {
            if self.running.context.is_empty()? {
                return Ok(true);
            }
            let ended = match command.as_mut() {
                Some(command) => command.child.try_wait()?.is_some(),
                None => false,
            };
            if ended && until_command {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let command = command.as_deref().filter(|_| !ended);
            self.show_some(left, command)?;
        }
    }

    /// What the console shows, or until the context is empty or the command has ended.
    fn show_some(&mut self, time: Duration, command: Option<&Launched>) -> anyhow::Result<()> {
        let input = PollFlags::POLLIN;
        let context = self.running.context.as_fd();
        let mut set = vec![PollFd::new(context, input)];
        set.extend(command.map(|command| PollFd::new(command.pidfd.as_fd(), input)));
        let supervisor = set.len();
        set.extend(
            self.supervisor
                .as_ref()
                .map(|supervisor| PollFd::new(supervisor.as_fd(), input)),
        );
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        match poll(&mut set, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => anyhow::bail!("cannot wait: {}", errno.desc()),
        }
        let spoke = set
            .get(supervisor)
            .is_some_and(|supervisor| supervisor.any() == Some(true));
        if spoke {
            self.hear()?;
        }
        Ok(())
    }

    /// False: the supervisor has closed.
    fn hear(&mut self) -> anyhow::Result<bool> {
        let Some(supervisor) = &self.supervisor else {
            return Ok(false);
        };
        match channel::hear(supervisor)? {
            Some(Told::Output(bytes)) if !self.quiet => drop(self.shown.show(&bytes)),
            Some(_) => {}
            None => self.supervisor = None,
        }
        Ok(self.supervisor.is_some())
    }

    /// The supervisor runs the last hook and takes its things away; without one it is done here.
    fn settle(&mut self, had_supervisor: bool) -> anyhow::Result<()> {
        while self.hear()? {}
        if !had_supervisor {
            hook::run(
                &self.server,
                "post-stop",
                [Stdio::inherit(), Stdio::inherit()],
            )?;
            self.server.clean_up()?;
        }
        Ok(())
    }
}
