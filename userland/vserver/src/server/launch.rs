// SPDX-License-Identifier: GPL-2.0

//! Starting a program inside a vserver.
//!
//! Entering is for ever, so this program starts itself again, and that process goes inside and becomes the
//! other program. It gets what to do as a message on its standard input, tells the context by a descriptor, goes on
//! when that is recorded, and says in words when it comes no further; that it has become the other program closes
//! the socket. Should the one who has started it die before, it ends, and nothing runs that nobody knows of.

use super::message;
use super::Server;
use crate::exit_codes;
use crate::launch::exec_in;
use crate::launch::LaunchError;
use anyhow::bail;
use anyhow::Context;
use caps::Capability;
use libvserver::Account;
use libvserver::CapabilitySet;
use libvserver::Config;
use libvserver::ContextFd;
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
use nix::sys::signal::SigSet;
use nix::unistd::dup2_stderr;
use nix::unistd::dup2_stdin;
use nix::unistd::dup2_stdout;
use nix::unistd::setpgid;
use nix::unistd::setsid;
use nix::unistd::Pid;
use rustix::process::PidfdFlags;
use serde::Deserialize;
use serde::Serialize;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;

/// The program's first argument that means "go inside". It is no word that a user would type.
pub(crate) const ARGUMENT: &str = "--internal-launch";

/// The terminal of what is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Terminal {
    /// As it is.
    Inherited,
    /// A process group of its own, without a session: so it takes no terminal that it opens for its own, and leaves the
    /// console to the login there.
    Group,
    /// One that is made inside; its master is sent back.
    Inside,
}

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The vserver.
    pub(crate) name: String,
    /// Its context when it runs; `None`: make it.
    pub(crate) join: Option<i32>,
    /// Whether the program becomes process 1.
    pub(crate) is_init: bool,
    pub(crate) terminal: Terminal,
    /// The user inside, by name or number.
    pub(crate) user: Option<String>,
    /// As a login: in the home directory, with the user's shell when there is no command.
    pub(crate) login: bool,
    /// The program and its arguments, as bytes.
    command: Vec<Vec<u8>>,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Whether a mount namespace to go to comes with it.
    mounts: bool,
}

/// What the process that goes inside tells.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    /// It is in this context, whose descriptor comes with it.
    Entered(i32),
    /// The master of its terminal comes with it.
    Terminal,
    /// It came no further.
    Failed { message: String, code: u8 },
}

/// For fuzzing: a message of either side.
#[cfg(test)]
pub(super) fn try_message(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Order>(bytes);
    let _ = serde_json::from_slice::<Report>(bytes);
    let _ = serde_json::from_slice::<GoOn>(bytes);
}

/// What it waits for when it has told its context.
#[derive(Debug, Serialize, Deserialize)]
struct GoOn;

/// A process inside.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) child: Child,
    /// To wait for its end in a poll set.
    pub(crate) pidfd: OwnedFd,
    pub(crate) number: i32,
    pub(crate) context: ContextFd,
    /// For [`Terminal::Inside`].
    pub(crate) master: Option<OwnedFd>,
}

/// It came no further, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl Order {
    pub(crate) fn new(server: &Server, join: Option<i32>, command: &[OsString]) -> Self {
        Self {
            name: server.name.clone(),
            join,
            is_init: false,
            terminal: Terminal::Inherited,
            user: None,
            login: false,
            command: command.iter().map(|word| word.clone().into_vec()).collect(),
            environment: environment(),
            mounts: false,
        }
    }
}

/// What programs inside begin with: nothing of the host's but the kind of terminal and the language.
pub(crate) fn environment() -> Vec<(String, String)> {
    let fixed = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("container", "vserver"),
    ];
    let kept = ["TERM", "LANG"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)));
    fixed
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(kept.map(|(name, value)| (name.to_owned(), value)))
        .collect()
}

/// The standard files of what is started.
pub(crate) struct Files<'a> {
    pub(crate) input: BorrowedFd<'a>,
    pub(crate) output: Stdio,
    pub(crate) errors: Stdio,
}

/// Starts a program inside, and returns when it runs. `mounts`: where its files are, for who is not there yet.
pub(crate) fn launch(
    order: Order,
    files: Files<'_>,
    mounts: Option<&File>,
) -> anyhow::Result<Launched> {
    launch_recorded(order, files, mounts, |_| Ok(()))
}

/// The same; `record` is called with the number of the context before anything of the vserver runs, which it does not
/// when that fails.
pub(crate) fn launch_recorded(
    mut order: Order,
    files: Files<'_>,
    mounts: Option<&File>,
    record: impl Fn(i32) -> anyhow::Result<()>,
) -> anyhow::Result<Launched> {
    let (ours, theirs) = message::pair().context("cannot make a socket")?;
    let mut child = Command::new("/proc/self/exe")
        .arg0("vserver")
        .arg(ARGUMENT)
        .stdin(Stdio::from(theirs))
        .stdout(files.output)
        .stderr(files.errors)
        .spawn()
        .context("cannot start a process")?;
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
        .context("cannot watch the process")?;
    order.mounts = mounts.is_some();
    let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(files.input)
        .chain(mounts.map(AsFd::as_fd))
        .collect();
    // One that is gone says so by its missing answer.
    let _ = message::send(&ours, &order, &descriptors);
    let mut entered = None;
    let mut master = None;
    loop {
        match message::receive::<Report>(&ours) {
            Ok(Some((Report::Entered(number), mut descriptors))) => {
                let context = descriptors.pop().map(ContextFd::from);
                entered = context.map(|context| (number, context));
                if let Err(error) = record(number) {
                    // It ends when nobody tells it to go on.
                    drop(ours);
                    let _ = child.wait();
                    return Err(error);
                }
                let _ = message::send(&ours, &GoOn, &[]);
            }
            Ok(Some((Report::Terminal, mut descriptors))) => master = descriptors.pop(),
            Ok(Some((Report::Failed { message, code }, _))) => {
                let _ = child.wait();
                return Err(Failure { message, code }.into());
            }
            Ok(None) | Err(_) => break,
        }
    }
    match entered {
        Some((number, context)) => Ok(Launched {
            child,
            pidfd,
            number,
            context,
            master,
        }),
        None => {
            let status = child.wait().map(|status: ExitStatus| status.to_string());
            bail!(
                "the process that was to go inside died: {}",
                status.unwrap_or_default()
            )
        }
    }
}

/// Be the process that goes inside; returns the exit code when it came no further.
pub(crate) fn serve() -> u8 {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else {
        return exit_codes::USAGE;
    };
    let Ok(Some((order, descriptors))) = message::receive::<Order>(&socket) else {
        return exit_codes::USAGE;
    };
    // Who has started this reads signals from a file, and so blocks them; the other program must not inherit
    // that.
    if SigSet::empty().thread_set_mask().is_err() {
        return exit_codes::OWN_FAILURE;
    }
    let error = match go_inside(&socket, order, descriptors) {
        Ok(error) => error.into(),
        Err(error) => error,
    };
    let code = exit_codes::of_error(&error, exit_codes::Style::Exec);
    let failed = Report::Failed {
        message: crate::cli::message(&error),
        code,
    };
    let _ = message::send(&socket, &failed, &[]);
    code
}

/// Does one thing after the other; the result is why the last one failed.
fn go_inside(
    socket: &OwnedFd,
    order: Order,
    descriptors: Vec<OwnedFd>,
) -> anyhow::Result<LaunchError> {
    let mut descriptors = descriptors.into_iter();
    let input = descriptors.next().context("no standard input came along")?;
    let mounts = descriptors.next().filter(|_| order.mounts);
    let (server, config) = Server::quietly(&order.name)?;
    let device = Device::open()?;
    dup2_stdin(&input)?;
    drop(input);
    if let Some(mounts) = mounts {
        setns(mounts, CloneFlags::CLONE_NEWNS).context("cannot go to its mounts")?;
    }
    // Before the context is entered, in which nobody walks through the barrier.
    let root = server.root();
    std::env::set_current_dir(&root).with_context(|| format!("cannot go to {}", root.display()))?;
    match order.terminal {
        Terminal::Inherited => {}
        Terminal::Group => setpgid(Pid::from_raw(0), Pid::from_raw(0))?,
        Terminal::Inside => drop(setsid()?),
    }
    let drop_caps = config.capabilities_given_up(device.info().capabilities);
    enter(socket, &device, &order, &config, drop_caps)?;
    let inside = Root::enter(std::path::Path::new("."))?;
    if order.terminal == Terminal::Inside {
        let master = take_terminal().context("cannot make a terminal inside")?;
        message::send(socket, &Report::Terminal, &[master.as_fd()])?;
    }
    let account = match &order.user {
        Some(user) => Some(Account::find(&inside, user.as_ref())?),
        None => None,
    };
    drop(inside);
    if let (Terminal::Inside, Some(account)) = (order.terminal, &account) {
        account.own(io::stdin())?;
    }
    device.give_up(drop_caps)?;
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

/// Enters the context, tells which, and takes its names.
fn enter(
    socket: &OwnedFd,
    device: &Device,
    order: &Order,
    config: &Config,
    drop_caps: CapabilitySet,
) -> anyhow::Result<()> {
    // Of whoever comes later, too: what he starts is as much part of the vserver as what its init starts.
    if let Some(nice) = config.nice {
        rustix::process::setpriority_process(None, nice).context("cannot set S_NICE")?;
    }
    for limit in &config.limits {
        limit.apply().context("cannot set ULIMIT")?;
    }
    if let Some(number) = order.join {
        let flags = Flags::empty();
        let entered =
            device.enter_and_open(Request::Number(number), flags, CapabilitySet::EMPTY)?;
        return tell(socket, entered);
    }
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
    let flags = match order.is_init {
        true => config.flags,
        false => config.flags - Flags::FAKEINIT,
    };
    let request = config.context.map_or(Request::New, Request::Number);
    // Needed until the root is changed; the others are the context's ceiling.
    let ceiling = drop_caps.without(Capability::CAP_SYS_CHROOT);
    let entered = device.enter_and_open(request, flags, ceiling)?;
    tell(socket, entered)?;
    if let Some(name) = &config.hostname {
        nix::unistd::sethostname(name).context("cannot set the host name")?;
    }
    if let Some(name) = &config.domainname {
        rustix::system::setdomainname(name.as_bytes()).context("cannot set the domain name")?;
    }
    Ok(())
}

fn tell(socket: &OwnedFd, entered: libvserver::device::Entered) -> anyhow::Result<()> {
    let context = entered
        .fd
        .context("the kernel gave no descriptor of the context")?;
    message::send(
        socket,
        &Report::Entered(entered.context),
        &[context.as_fd()],
    )
    .context("nobody waits any more")?;
    match message::receive::<GoOn>(socket) {
        Ok(Some(_)) => Ok(()),
        _ => bail!("nobody waits any more"),
    }
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
