// SPDX-License-Identifier: GPL-2.0

//! `capchroot`: run a command in another root directory, which it cannot leave by the same way.

use super::Verb;
use crate::exec;
use crate::exit_codes::Style;
use caps::Capability;
use clap::Parser;
use libvserver::handover;
use libvserver::Account;
use libvserver::CapabilitySet;
use libvserver::Device;
use libvserver::Root;
use std::ffi::OsString;
use std::path::PathBuf;

/// Run a command in another root directory, as one of its users
///
/// The directory becomes the root and the working directory, then capabilities go, then the user
/// changes. Descriptors of directories that the caller has open are closed; others are the command's.
#[derive(Debug, Parser)]
#[command(
    name = "capchroot",
    max_term_width = 100,
    after_help = "Who is in a context cannot walk through a barrier, so go there before:\n  \
                  cd /vservers/one; chcontext --ctx 100 capchroot --nochroot . bash"
)]
pub(crate) struct Capchroot {
    /// Give up CAP_SYS_CHROOT for good once the root is changed
    ///
    /// Neither the command nor what it starts can change its root again, setuid-root programs
    /// included.
    #[arg(long)]
    nochroot: bool,

    /// Become this user, of the new root's /etc/passwd and /etc/group, before the command starts
    ///
    /// A name or a number. HOME, USER, LOGNAME and SHELL are set as that file says. A number that is
    /// not listed has the group of the same number and the home directory /.
    #[arg(long, value_name = "USER")]
    suid: Option<OsString>,

    /// The new root directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,

    /// The command, as it is called inside, and its arguments
    #[arg(required = true, trailing_var_arg = true)]
    command: Vec<OsString>,
}

impl Verb for Capchroot {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        // There need be no device inside.
        let device = match self.nochroot {
            true => Some(Device::open()?),
            false => None,
        };
        let root = Root::open(&self.directory)?;
        let account = match &self.suid {
            Some(user) => Some(Account::find(&root, user)?),
            None => None,
        };
        // From here on, root inside may see it. Nothing happens that it could wait for.
        handover::hide()?;
        root.enter()?;
        if let Some(device) = device {
            device.give_up(CapabilitySet::EMPTY.with(Capability::CAP_SYS_CHROOT))?;
        }
        if let Some(account) = &account {
            account.assume()?;
        }
        let environment = account.iter().flat_map(Account::environment);
        Err(exec::exec_with(&self.command, environment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Capchroot {
        Capchroot::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn the_command_keeps_all_its_arguments() {
        let parsed = parse("capchroot --suid bob . ls --nochroot -l -- --suid x");
        assert!(!parsed.nochroot);
        assert_eq!(parsed.suid, Some("bob".into()));
        assert_eq!(parsed.directory, PathBuf::from("."));
        assert_eq!(
            parsed.command,
            ["ls", "--nochroot", "-l", "--", "--suid", "x"]
        );
        assert!(parse("capchroot --nochroot / true").nochroot);
        assert_eq!(parse("capchroot -- / -x").command, ["-x"]);
    }
}
