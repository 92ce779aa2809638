// SPDX-License-Identifier: GPL-2.0

//! `/etc/vservers/NAME.conf`: what a vserver is to be like.

mod fstab;
mod limits;
mod parse;
mod quote;
mod read;
mod values;
mod variables;

pub use crate::fault::config::Fault;
pub use fstab::Kind as MountKind;
pub use fstab::Mount;
pub use limits::Limit;
pub use quote::assignment;
pub use read::file;
#[cfg(test)]
pub(crate) use read::{try_mounts, try_text};
pub use variables::find as find_variable;
pub use variables::Variable;
pub use variables::VARIABLES;

use crate::{Address, CapabilitySet, Flags};
use caps::Capability;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

/// Where the files are.
pub const DIRECTORY: &str = "/etc/vservers";

/// What holds for all vservers that do not say otherwise.
pub const DEFAULTS: &str = "/etc/vservers.conf";

/// One address of IPROOT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpRoot {
    /// The device that is to carry it.
    pub device: Option<String>,
    /// The address.
    pub address: Address,
}

/// A configuration whose every value has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// IPROOT with IPROOTMASK and IPROOTDEV; empty: not confined.
    pub addresses: Vec<IpRoot>,
    /// IPROOTBCAST.
    pub broadcast: Option<Ipv4Addr>,
    /// S_HOSTNAME.
    pub hostname: Option<String>,
    /// S_DOMAINNAME; empty: no domain at all.
    pub domainname: Option<String>,
    /// ONBOOT.
    pub onboot: bool,
    /// PRIORITY: lower ones are started first.
    pub priority: u16,
    /// PROFILE.
    pub profile: Option<String>,
    /// S_NICE.
    pub nice: Option<i32>,
    /// S_FLAGS.
    pub flags: Flags,
    /// ULIMIT.
    pub limits: Vec<Limit>,
    /// S_CAPS: what is kept of what vservers give up.
    pub caps_kept: Vec<Capability>,
    /// S_CAPS with `!`: what is given up besides.
    pub caps_given_up: Vec<Capability>,
    /// S_CONTEXT.
    pub context: Option<i32>,
    /// RUNLEVEL.
    pub runlevel: Option<String>,
    /// START_TIMEOUT.
    pub start_timeout: Duration,
    /// STOP_TIMEOUT.
    pub stop_timeout: Duration,
    /// READY: what the console says when the boot is done.
    pub ready: Option<String>,
    /// INIT, as it is called inside.
    pub init: PathBuf,
    /// CONSOLE_LOG_SIZE in bytes.
    pub console_log_size: u64,
    /// What `NAME.fstab` has.
    pub mounts: Vec<Mount>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            broadcast: None,
            hostname: None,
            domainname: None,
            onboot: false,
            priority: 100,
            profile: None,
            nice: None,
            flags: Flags::empty(),
            limits: Vec::new(),
            caps_kept: Vec::new(),
            caps_given_up: Vec::new(),
            context: None,
            runlevel: None,
            start_timeout: Duration::from_secs(120),
            stop_timeout: Duration::from_secs(60),
            ready: None,
            init: "/sbin/init".into(),
            console_log_size: 1 << 20,
            mounts: Vec::new(),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The value as it was read, with variables put in.
    pub value: String,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// A configuration, where it comes from, and what in it has no effect.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// `# Description:` of its file.
    pub description: Option<String>,
    /// Each variable that is set, and not to nothing, where it was set last.
    pub origins: BTreeMap<&'static str, Origin>,
    /// Unknown variables, each with its place.
    pub warnings: Vec<Fault>,
}

impl Loaded {
    /// Every variable, also those that have their defaults, as a file that reads back the same wherever it stands.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Some(description) = &self.description {
            text += &format!("# Description: {description}\n");
        }
        for variable in &VARIABLES {
            let value = match self.origins.get(variable.name) {
                Some(origin) => &origin.value,
                None => variable.default,
            };
            text += &assignment(variable.name, value);
            text.push('\n');
        }
        text
    }
}

impl Config {
    /// What its processes can never have.
    pub fn capabilities_given_up(&self, known: u32) -> CapabilitySet {
        let start = CapabilitySet::secure().known_to(known);
        let kept = self
            .caps_kept
            .iter()
            .fold(start, |set, capability| set.without(*capability));
        self.caps_given_up
            .iter()
            .fold(kept, |set, capability| set.with(*capability))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        read::parse_text("x.conf", text).unwrap().config
    }

    fn fault(text: &str) -> String {
        read::parse_text("x.conf", text).unwrap_err().to_string()
    }

    #[test]
    fn a_configuration_of_2002() {
        let config = config(
            "IPROOT=\"eth0:10.0.0.5 10.0.0.6/255.255.0.0 2001:db8::5/64\"\n\
             IPROOTMASK=255.255.255.0\nIPROOTBCAST=10.0.0.255\nIPROOTDEV=eth1\n\
             ONBOOT=yes\nS_HOSTNAME=web.example.org\nS_DOMAINNAME=none\nS_NICE=5\n\
             S_FLAGS=\"lock nproc fakeinit\"\nULIMIT=\"-H -u 1000\"\n\
             S_CAPS=\"CAP_NET_RAW !CAP_SYS_CHROOT\"\nS_CONTEXT=100\n",
        );
        let shown: Vec<_> = config
            .addresses
            .iter()
            .map(|one| {
                (
                    one.device.as_deref().unwrap(),
                    one.address.to_string(),
                    one.address.prefix(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("eth0", "10.0.0.5".to_owned(), 24),
                ("eth1", "10.0.0.6".to_owned(), 16),
                ("eth1", "2001:db8::5".to_owned(), 64),
            ]
        );
        assert!(config.onboot);
        assert_eq!(config.domainname.as_deref(), Some(""));
        assert_eq!(config.nice, Some(5));
        assert_eq!(config.flags, Flags::LOCK | Flags::NPROC | Flags::FAKEINIT);
        assert_eq!(config.context, Some(100));
        let gone = config.capabilities_given_up(41);
        assert!(gone.contains(Capability::CAP_SYS_CHROOT));
        assert!(gone.contains(Capability::CAP_SYS_ADMIN));
        assert!(!gone.contains(Capability::CAP_NET_RAW));
    }

    #[test]
    fn nothing_said_is_nothing_confined() {
        assert_eq!(config(""), Config::default());
        assert!(config("IPROOT=0.0.0.0").addresses.is_empty());
        assert_eq!(config("S_DOMAINNAME=\"\"").domainname, None);
    }

    #[test]
    fn each_fault_has_a_place() {
        for (text, said) in [
            (
                "\nS_NICE=90",
                "x.conf:2:8: S_NICE: \"90\" is not a number from -20 to 19",
            ),
            (
                "ONBOOT=maybe",
                "x.conf:1:8: ONBOOT: \"maybe\" is neither yes nor no",
            ),
            (
                "S_FLAGS=\"lock fast\"",
                "x.conf:1:9: S_FLAGS: \"fast\" is not a context flag",
            ),
            (
                "S_CAPS=CAP_X",
                "x.conf:1:8: S_CAPS: \"CAP_X\" is not a capability",
            ),
            (
                "S_CONTEXT=1",
                "x.conf:1:11: S_CONTEXT: \"1\" is not a number from 2",
            ),
            (
                "IPROOT=10.0.0",
                "x.conf:1:8: IPROOT: \"10.0.0\" is not an IP address",
            ),
            (
                "INIT=init",
                "x.conf:1:6: INIT: \"init\" is not a path from the root",
            ),
            ("A=$(x)", "x.conf:1:4: nothing is executed"),
            (
                "START_TIMEOUT=0",
                "x.conf:1:15: START_TIMEOUT: \"0\" is not a number from 1",
            ),
            ("ULIMIT=\"-z 1\"", "x.conf:1:8: ULIMIT: "),
            (
                "IPROOT=\"10.0.0.5 0.0.0.0\"",
                "x.conf:1:8: IPROOT: 0.0.0.0 stands for all",
            ),
            (
                "IPROOT=\"eth/0:10.0.0.5\"",
                "x.conf:1:8: IPROOT: \"eth/0\" is not the name of a device",
            ),
            (
                "IPROOTMASK=255.0.255.0",
                "x.conf:1:12: IPROOTMASK: \"255.0.255.0\" is not a mask",
            ),
            (
                "IPROOTDEV='eth0 eth1'",
                "x.conf:1:11: IPROOTDEV: \"eth0 eth1\" is not the name",
            ),
            (
                "S_HOSTNAME='a b'",
                "x.conf:1:12: S_HOSTNAME: a name has no blanks",
            ),
            ("READY='a\nb'", "x.conf:1:7: READY: give a part of one line"),
            ("RUNLEVEL='3; reboot'", "x.conf:1:10: RUNLEVEL: "),
        ] {
            assert!(fault(text).starts_with(said), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_says_so() {
        let error = read::text(std::path::Path::new("/nonexistent/x.conf")).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("/nonexistent/x.conf: cannot be read: "),
            "{said}"
        );
    }

    proptest::proptest! {
        #[test]
        fn no_value_is_too_much(name in "(IP|S_)?[A-Z]{1,6}", value in "\\PC{0,40}") {
            let _ = read::parse_text("x.conf", &format!("{name}='{value}'"));
        }

        #[test]
        fn no_value_of_a_known_variable_is_too_much(
            index in 0..VARIABLES.len(),
            value in "[-0-9a-zA-Z!_.:/ ]{0,30}",
        ) {
            let _ = read::parse_text("x.conf", &format!("{}=\"{value}\"", VARIABLES[index].name));
        }
    }

    #[test]
    fn every_variable_is_known_by_its_name() {
        for Variable { name, .. } in VARIABLES {
            let known = read::parse_text("x.conf", &format!("{name}="))
                .map_or(true, |loaded| loaded.warnings.is_empty());
            assert!(known, "{name}");
        }
    }

    #[test]
    fn unknown_variables_are_told_with_the_likely_one() {
        let warnings = read::parse_text("x.conf", "S_HOSTNAM=x\nOTHER_THING=y\n")
            .unwrap()
            .warnings;
        let said: Vec<_> = warnings.iter().map(Fault::to_string).collect();
        assert!(said[0].ends_with("is it S_HOSTNAME?"), "{said:?}");
        assert!(said[1].starts_with("x.conf:2: "), "{said:?}");
        assert!(said[1].ends_with("no effect"), "{said:?}");
    }
}
