// SPDX-License-Identifier: GPL-2.0

//! `chcontext`: run a command in another security context.

use super::Verb;
use crate::announce::announce;
use crate::exec;
use crate::exit_codes;
use crate::exit_codes::Style;
use crate::ipv4root::Broadcast;
use crate::ipv4root::Ip;
use crate::ipv4root::Wish;
use crate::report::value;
use anyhow::bail;
use anyhow::Context;
use caps::Capability;
use clap::Parser;
use libvserver::capability;
use libvserver::handover;
use libvserver::CapabilitySet;
use libvserver::Device;
use libvserver::Error;
use libvserver::Flags;
use libvserver::Ipv4root;
use libvserver::Request;
use nix::errno::Errno;
use nix::sched::CloneFlags;
use std::ffi::OsString;
use std::str::FromStr;

/// The kernel's limit on host and domain names.
const NAME_MAX: usize = 64;

/// What stands for no domain at all.
const NO_DOMAIN: &[u8] = b"none";

/// Run a command in another security context
///
/// The process enters the context, takes its names, gives up capabilities and becomes the command.
/// Without --ctx the context is a new one. There is no way back.
#[derive(Debug, Parser)]
#[command(name = "chcontext", max_term_width = 100)]
pub(crate) struct Chcontext {
    /// The broadcast address that can be bound, as for chbind
    #[arg(long, value_name = "IP|DEVICE", value_parser = value::<Broadcast>, requires = "ip")]
    bcast: Option<Broadcast>,

    /// Keep a capability that --secure would give up, or, with a leading "!", give it up
    #[arg(long, value_name = "[!]CAP_X", value_parser = value::<Change>)]
    cap: Vec<Change>,

    /// The context: a number, -1 for a new one, or -2 for the present one
    #[arg(
        long,
        value_name = "N",
        default_value = "-1",
        value_parser = value::<Request>,
        allow_negative_numbers = true
    )]
    ctx: Request,

    /// Run in the background; return as soon as the command is under way
    #[arg(long)]
    disconnect: bool,

    /// The NIS domain name inside, or "none" for no domain
    #[arg(long, value_name = "NAME")]
    domainname: Option<OsString>,

    /// Set a flag of the context: lock, sched, nproc, private, fakeinit, hideinfo or ulimit
    #[arg(long, value_name = "FLAG", value_parser = value::<Flags>)]
    flag: Vec<Flags>,

    /// The host name inside
    #[arg(long, value_name = "NAME")]
    hostname: Option<OsString>,

    /// An address, network, host or device to which it is confined, as for chbind; may be repeated
    #[arg(long, value_name = "IP[/MASK]|HOST|DEVICE", value_parser = value::<Ip>)]
    ip: Vec<Ip>,

    /// Give up every capability that reaches beyond the context
    #[arg(long)]
    secure: bool,

    /// Do not print what has changed
    #[arg(long)]
    silent: bool,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

/// One `--cap`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Keep(Capability),
    GiveUp(Capability),
}

impl FromStr for Change {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.strip_prefix('!') {
            Some(name) => capability::parse(name).map(Self::GiveUp),
            None => capability::parse(text).map(Self::Keep),
        }
    }
}

/// What is given up: the secure set when it is asked for, then each change in the order given.
fn given_up(secure: bool, known: u32, changes: &[Change]) -> CapabilitySet {
    // A capability that this kernel lacks cannot be had, so only one that is named may make the
    // kernel complain.
    let start = if secure {
        CapabilitySet::secure().known_to(known)
    } else {
        CapabilitySet::EMPTY
    };
    changes.iter().fold(start, |set, change| match *change {
        Change::Keep(capability) => set.without(capability),
        Change::GiveUp(capability) => set.with(capability),
    })
}

impl Verb for Chcontext {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        let device = Device::open()?;
        let flags: Flags = self.flag.iter().copied().collect();
        let given_up = given_up(self.secure, device.info().capabilities, &self.cap);
        self.prepare_names()?;
        let wish = match self.ip.is_empty() {
            true => None,
            false => Some(Wish::new(&self.ip, self.bcast.as_ref())?),
        };

        // The fakeinit is the process that enters, and must be the one that stays. Otherwise the
        // background begins with the command, so that every error reaches whoever waits for us.
        let fakeinit = flags.contains(Flags::FAKEINIT);
        if self.disconnect && fakeinit {
            disconnect()?;
        }

        // Before, so that a new context has them from its first moment.
        let confined = match &wish {
            Some(wish) => Some((wish, wish.confine(&device)?)),
            None => None,
        };
        if self.ctx != Request::Stay {
            handover::hide()?;
        }
        let entered = device.enter(self.ctx, flags, CapabilitySet::EMPTY)?;
        // One that exists may have others.
        let now = match &confined {
            Some((wish, before)) => Some(wish.keep(&device, before)?),
            None => None,
        };
        if let Some(name) = &self.hostname {
            nix::unistd::sethostname(name).context("cannot set the host name")?;
        }
        if let Some(name) = &self.domainname {
            let bytes = name.as_encoded_bytes();
            let bytes = if bytes == NO_DOMAIN { b"" } else { bytes };
            rustix::system::setdomainname(bytes).context("cannot set the domain name")?;
        }
        if !given_up.is_empty() {
            device.give_up(given_up)?;
        }
        // Nothing of the host but what the command gets stays open while a reader may make it wait.
        drop(device);
        self.say_all(entered.context, now.as_ref())?;
        if let Some((wish, _)) = &confined {
            wish.warn("chcontext");
        }

        if self.disconnect && !fakeinit {
            exec::background(&self.command)?;
            return Ok(exit_codes::SUCCESS);
        }
        Err(exec::exec(&self.command))
    }
}

impl Chcontext {
    /// Make sure that names can be set later, while nothing has changed yet. Who stays on the host has
    /// them for himself.
    fn prepare_names(&self) -> anyhow::Result<()> {
        for (what, name) in [("host", &self.hostname), ("domain", &self.domainname)] {
            if name.as_ref().is_some_and(|name| name.len() > NAME_MAX) {
                bail!("the {what} name is too long: at most {NAME_MAX} bytes");
            }
        }
        if self.hostname.is_none() && self.domainname.is_none() {
            return Ok(());
        }
        match nix::sched::unshare(CloneFlags::CLONE_NEWUTS) {
            Ok(()) => Ok(()),
            Err(Errno::EPERM) => bail!(
                "cannot set a host or domain name: not permitted, nothing was changed; \
                 run it as root (with CAP_SYS_ADMIN), or leave out --hostname and --domainname"
            ),
            Err(errno) => bail!(
                "cannot set a host or domain name: {}, nothing was changed",
                errno.desc()
            ),
        }
    }

    /// What has changed.
    fn say_all(&self, context: i32, now: Option<&Ipv4root>) -> anyhow::Result<()> {
        if self.silent {
            return Ok(());
        }
        announce(format_args!("New security context is {context}"))?;
        if let Some(now) = now {
            announce(format_args!("ipv4root is now {now}"))?;
        }
        for (what, name) in [("Host", &self.hostname), ("Domain", &self.domainname)] {
            if let Some(name) = name {
                announce(format_args!(
                    "{what} name is now {}",
                    name.to_string_lossy()
                ))?;
            }
        }
        Ok(())
    }
}

/// Go on in the background, in a session of its own, with the same files; the process that was
/// waited for ends well.
fn disconnect() -> anyhow::Result<()> {
    nix::unistd::daemon(true, true).context("cannot go into the background")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Chcontext {
        Chcontext::try_parse_from(std::iter::once("chcontext").chain(args.iter().copied())).unwrap()
    }

    #[test]
    fn the_command_keeps_all_its_arguments() {
        let parsed = parse(&["--ctx", "-2", "--silent", "ls", "--secure", "-l", "--", "x"]);
        assert_eq!(parsed.command, ["ls", "--secure", "-l", "--", "x"]);
        assert_eq!(parsed.ctx, Request::Stay);
        assert!(parsed.silent && !parsed.secure);
        assert_eq!(parse(&["true"]).ctx, Request::New);
        assert_eq!(parse(&["--ctx=100", "true"]).ctx, Request::Number(100));
        assert_eq!(parse(&["--", "-x"]).command, ["-x"]);
    }

    #[test]
    fn flags_add_up() {
        let parsed = parse(&["--flag", "lock", "--flag", "nproc", "true"]);
        let flags: Flags = parsed.flag.iter().copied().collect();
        assert_eq!(flags, Flags::LOCK | Flags::NPROC);
    }

    #[test]
    fn cap_keeps_and_gives_up() {
        let parsed = parse(&[
            "--secure",
            "--cap",
            "cap_net_raw",
            "--cap",
            "!CAP_SYS_CHROOT",
            "true",
        ]);
        let set = given_up(parsed.secure, 41, &parsed.cap);
        assert!(!set.contains(Capability::CAP_NET_RAW));
        assert!(set.contains(Capability::CAP_SYS_CHROOT));
        assert!(set.contains(Capability::CAP_SYS_ADMIN));
        assert!(given_up(false, 41, &[Change::Keep(Capability::CAP_BPF)]).is_empty());
        assert!(!given_up(true, 39, &[]).contains(Capability::CAP_BPF));
    }
}
