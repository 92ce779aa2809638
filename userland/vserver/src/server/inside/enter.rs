// SPDX-License-Identifier: GPL-2.0

//! The process that goes inside, one step after the other, until it has become the other program.

use super::order::Master;
use super::order::Order;
use super::order::Report;
use super::order::Terminal;
use crate::exec::exec_in;
use crate::exit_codes;
use crate::server::context::Join;
use crate::server::message;
use crate::server::vserver::Server;
use anyhow::bail;
use anyhow::Context;
use libvserver::handover;
use libvserver::Account;
use libvserver::CapabilitySet;
use libvserver::Config;
use libvserver::Device;
use libvserver::Flags;
use libvserver::Request;
use libvserver::Root;
use nix::fcntl::OFlag;
use nix::pty::grantpt;
use nix::pty::posix_openpt;
use nix::pty::ptsname_r;
use nix::pty::unlockpt;
use nix::sched::setns;
use nix::sched::CloneFlags;
use nix::unistd::dup2_stderr;
use nix::unistd::dup2_stdin;
use nix::unistd::dup2_stdout;
use nix::unistd::setpgid;
use nix::unistd::setsid;
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

/// What the process that goes inside has to report by, and to wait for.
struct Ways {
    tells: File,
    waits: File,
}

impl Ways {
    fn tell(&mut self, report: &Report) -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        self.tells.write_all(&line)
    }

    /// Until whoever has started this has recorded the context.
    fn wait(&mut self) -> anyhow::Result<()> {
        match self.waits.read_exact(&mut [0]) {
            Ok(()) => Ok(()),
            Err(_) => bail!("nobody waits any more"),
        }
    }
}

/// What comes with an order.
struct Brought {
    order: Order,
    input: OwnedFd,
    mounts: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// Be the process that goes inside; returns the exit code when it came no further.
pub(crate) fn serve() -> u8 {
    let _ = nix::sys::prctl::set_name(c"vserver");
    let Some((brought, mut ways)) = receive() else {
        return exit_codes::USAGE;
    };
    let error = match go_inside(&mut ways, brought) {
        Ok(error) | Err(error) => error,
    };
    let code = exit_codes::of_error(&error, exit_codes::Style::Exec);
    let failed = Report::Failed {
        message: crate::report::message(&error),
        code,
    };
    let _ = ways.tell(&failed);
    code
}

/// The order, and what comes with it; all else that is open is closed.
fn receive() -> Option<(Brought, Ways)> {
    let input = io::stdin();
    let (order, descriptors) = message::receive::<Order>(input.as_fd()).ok()??;
    let kept: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    handover::close_all_but(&kept).ok()?;
    let mut descriptors = descriptors.into_iter();
    let input = descriptors.next()?;
    let ways = Ways {
        tells: descriptors.next()?.into(),
        waits: descriptors.next()?.into(),
    };
    let mounts = match order.mounts {
        true => Some(descriptors.next()?),
        false => None,
    };
    let brought = Brought {
        order,
        input,
        mounts,
        terminal: descriptors.next(),
    };
    Some((brought, ways))
}

/// Does one thing after the other; the result is why the last one failed.
fn go_inside(ways: &mut Ways, brought: Brought) -> anyhow::Result<anyhow::Error> {
    let Brought {
        order,
        input,
        mounts,
        terminal,
    } = brought;
    let (server, config) = Server::quietly(&order.name)?;
    let device = Device::open()?;
    dup2_stdin(&input)?;
    drop(input);
    if let Some(mounts) = mounts {
        setns(mounts, CloneFlags::CLONE_NEWNS).context("cannot go to its mounts")?;
    }
    match order.terminal {
        Terminal::Inherited => {}
        Terminal::Group => setpgid(Pid::from_raw(0), Pid::from_raw(0))?,
        Terminal::Inside => drop(setsid()?),
    }
    let note = handover::reset(config.nice).context("cannot set what it starts with")?;
    if let Some(note) = note {
        ways.tell(&Report::Note(note))?;
    }
    for limit in &config.limits {
        limit.apply().context("cannot set ULIMIT")?;
    }
    let root = server.root();
    let root = Root::open(&root).with_context(|| format!("cannot go to {}", root.display()))?;
    let account = match &order.user {
        Some(user) => Some(Account::find(&root, user.as_ref())?),
        None => None,
    };
    let drop_caps = config.capabilities_given_up(device.info().capabilities);
    match order.join {
        Some(join) => {
            leave(root)?;
            join_context(device, join, drop_caps)?;
        }
        None => {
            prepare_context(&device, &config)?;
            leave(root)?;
            make_context(ways, device, &order, &config, drop_caps)?;
        }
    }
    if let Some(terminal) = terminal {
        let master = take_terminal().context("cannot make a terminal inside")?;
        message::send(terminal, &Master, &[master.as_fd()])?;
    }
    if let (Terminal::Inside, Some(account)) = (order.terminal, &account) {
        account.own(io::stdin())?;
    }
    if let Some(account) = &account {
        account.assume()?;
    }
    let mut environment: Vec<(OsString, OsString)> = order
        .environment
        .iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    let mut command: Vec<OsString> = order.command.into_iter().map(OsString::from_vec).collect();
    let mut name = None;
    if let Some(account) = &account {
        environment.extend(
            account
                .environment()
                .map(|(name, value)| (name.into(), value.to_owned())),
        );
        if order.login {
            let _ = std::env::set_current_dir(&account.home);
        }
        if command.is_empty() {
            let shell = account.shell.to_string_lossy();
            name = Some(format!("-{}", shell.rsplit('/').next().unwrap_or("sh")));
            command.push(account.shell.clone());
        }
    }
    Ok(exec_in(&command, name.as_deref(), &environment))
}

/// The last step on the host: from here on, root inside may see the process.
fn leave(root: Root) -> anyhow::Result<()> {
    root.enter()?;
    Ok(handover::hide()?)
}

/// Goes to a context that is there.
fn join_context(device: Device, join: Join, drop_caps: CapabilitySet) -> anyhow::Result<()> {
    let number = Request::Number(join.number);
    device.enter(number, Flags::empty(), drop_caps)?;
    // It may have ended just before, and the kernel makes one of a number below the first free one.
    if device.get(0)?.created_ns != join.created_ns {
        bail!("the vserver has just ended");
    }
    Ok(())
}

/// What a new context begins with, as far as it is the process that has it.
fn prepare_context(device: &Device, config: &Config) -> anyhow::Result<()> {
    if let Some(number) = config.context {
        // The kernel would have us join it.
        if device.context(number)?.is_some() {
            bail!(
                "context {number} (S_CONTEXT) is in use; \"vps ax\" tells by whom: end that, choose another \
                 number, or leave S_CONTEXT out"
            );
        }
    }
    if !config.addresses.is_empty() {
        let addresses: Vec<_> = config.addresses.iter().map(|ip| ip.address).collect();
        let broadcast = config
            .broadcast
            .or_else(|| addresses.iter().find_map(|address| address.broadcast()));
        device.set_addresses(&addresses, broadcast)?;
    }
    Ok(())
}

/// Makes the context, tells which it is, and gives it its names.
fn make_context(
    ways: &mut Ways,
    device: Device,
    order: &Order,
    config: &Config,
    drop_caps: CapabilitySet,
) -> anyhow::Result<()> {
    let flags = match order.is_init {
        true => config.flags,
        false => config.flags - Flags::FAKEINIT,
    };
    let request = config.context.map_or(Request::New, Request::Number);
    let entered = device.enter(request, flags, drop_caps)?;
    drop(device);
    ways.tell(&Report::Entered(entered.context))
        .context("nobody waits any more")?;
    ways.wait()?;
    if let Some(name) = &config.hostname {
        nix::unistd::sethostname(name).context("cannot set the host name")?;
    }
    if let Some(name) = &config.domainname {
        rustix::system::setdomainname(name.as_bytes()).context("cannot set the domain name")?;
    }
    Ok(())
}

/// Makes a terminal of the vserver's own, and makes it the controlling one and the standard files.
fn take_terminal() -> anyhow::Result<impl AsFd> {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    // The first one that a session's leader opens is its controlling terminal.
    let terminal = File::options()
        .read(true)
        .write(true)
        .open(ptsname_r(&master)?)?;
    dup2_stdin(&terminal)?;
    dup2_stdout(&terminal)?;
    dup2_stderr(&terminal)?;
    Ok(master)
}
