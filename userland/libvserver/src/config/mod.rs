// SPDX-License-Identifier: GPL-2.0

//! `/etc/vservers/NAME.conf`: what a vserver is to be like.

mod limits;
mod parse;

pub use limits::Limit;

use crate::capability;
use crate::{Address, CapabilitySet, Flags, Result};
use caps::Capability;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vserver_uapi as uapi;

/// Where the files are.
pub const DIRECTORY: &str = "/etc/vservers";

/// No configuration is larger.
const SIZE_MAX: u64 = 1 << 20;

/// The kernel's limit on host and domain names.
const NAME_MAX: usize = 64;

/// Every variable that means something.
const VARIABLES: [&str; 18] = [
    "CONSOLE_LOG_SIZE",
    "INIT",
    "IPROOT",
    "IPROOTBCAST",
    "IPROOTDEV",
    "IPROOTMASK",
    "ONBOOT",
    "READY",
    "RUNLEVEL",
    "START_TIMEOUT",
    "STOP_TIMEOUT",
    "S_CAPS",
    "S_CONTEXT",
    "S_DOMAINNAME",
    "S_FLAGS",
    "S_HOSTNAME",
    "S_NICE",
    "ULIMIT",
];

/// What is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub file: String,
    /// The line, from 1; 0: the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0: the line as a whole.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        for place in [self.line, self.column] {
            if place > 0 {
                write!(f, ":{place}")?;
            }
        }
        write!(f, ": {}", self.what)
    }
}

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
}

impl Default for Config {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            broadcast: None,
            hostname: None,
            domainname: None,
            onboot: false,
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
        }
    }
}

/// A configuration, and what in it has no effect.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Unknown variables, each with its place.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// Reads and checks the file of a vserver. Changes nothing and executes nothing.
    pub fn load(name: &str) -> Result<Loaded> {
        Self::load_from(&Path::new(DIRECTORY).join(format!("{name}.conf")))
    }

    fn load_from(path: &Path) -> Result<Loaded> {
        let file = path.display().to_string();
        let read = |source| crate::Error::Read {
            path: file.clone(),
            source,
        };
        if std::fs::metadata(path).map_err(read)?.len() > SIZE_MAX {
            return Err(whole(&file, "is larger than 1 MiB").into());
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let text = String::from_utf8(bytes).map_err(|_| whole(&file, "is not text in UTF-8"))?;
        Ok(parse_text(&file, &text)?)
    }

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

fn whole(file: &str, what: &str) -> Fault {
    Fault {
        file: file.to_owned(),
        line: 0,
        column: 0,
        what: what.to_owned(),
    }
}

/// The values that make addresses together.
#[derive(Default)]
struct Ip {
    root: Option<(usize, String)>,
    mask: Option<String>,
    device: Option<String>,
}

fn parse_text(file: &str, text: &str) -> Result<Loaded, Fault> {
    let at = |line, column, what: String| Fault {
        file: file.to_owned(),
        line,
        column,
        what,
    };
    let assignments = parse::assignments(text)
        .map_err(|error| at(error.line, error.column, error.what.to_owned()))?;
    let mut config = Config::default();
    let mut ip = Ip::default();
    let mut warnings = Vec::new();
    for one in &assignments {
        match set(&mut config, &mut ip, one) {
            Ok(true) => {}
            Ok(false) => warnings.push(at(one.line, 0, unknown(&one.name))),
            Err(what) => return Err(at(one.line, 0, format!("{}: {what}", one.name))),
        }
    }
    if let Some((line, value)) = &ip.root {
        config.addresses =
            addresses(value, &ip).map_err(|what| at(*line, 0, format!("IPROOT: {what}")))?;
    }
    Ok(Loaded { config, warnings })
}

/// An unknown variable, and the known one that looks most like it.
fn unknown(name: &str) -> String {
    let distance = |known: &str| {
        let same = known.chars().zip(name.chars()).filter(|(a, b)| a == b);
        known.len().max(name.len()) - same.count()
    };
    let nearest = VARIABLES.iter().min_by_key(|known| distance(known));
    match nearest.filter(|known| distance(known) <= 2) {
        Some(known) => format!("the variable {name} is unknown and has no effect; is it {known}?"),
        None => format!("the variable {name} is unknown and has no effect"),
    }
}

fn number<T: std::str::FromStr + PartialOrd + fmt::Display>(
    value: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    match value.parse() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!(
            "\"{value}\" is not a number from {least} to {most}"
        )),
    }
}

fn name(value: &str) -> Result<Option<String>, String> {
    if value.len() > NAME_MAX {
        return Err(format!("longer than {NAME_MAX} bytes"));
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Takes one value; false: nobody knows its name.
fn set(config: &mut Config, ip: &mut Ip, one: &parse::Assignment) -> Result<bool, String> {
    let value = one.value.trim();
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    match one.name.as_str() {
        "IPROOT" => ip.root = Some((one.line, value.to_owned())),
        "IPROOTMASK" => ip.mask = text(value),
        "IPROOTDEV" => ip.device = text(value),
        "IPROOTBCAST" => {
            config.broadcast = match value {
                "" => None,
                value => Some(value.parse().map_err(|_| {
                    format!("\"{value}\" is not an IPv4 address such as 10.0.0.255")
                })?),
            }
        }
        "S_HOSTNAME" => config.hostname = name(value)?,
        "S_DOMAINNAME" => {
            config.domainname = match value {
                "none" => Some(String::new()),
                value => name(value)?,
            }
        }
        "ONBOOT" => {
            config.onboot = match value.to_ascii_lowercase().as_str() {
                "yes" => true,
                "no" | "" => false,
                _ => return Err(format!("\"{value}\" is neither yes nor no")),
            }
        }
        "S_NICE" => {
            config.nice = match value {
                "" => None,
                value => Some(number(value, -20, 19)?),
            }
        }
        "S_FLAGS" => {
            config.flags = value
                .split_ascii_whitespace()
                .map(|flag| {
                    flag.parse::<Flags>()
                        .map_err(|error| format!("{error}; the flags are {}", Flags::all()))
                })
                .collect::<Result<Flags, String>>()?;
        }
        "ULIMIT" => config.limits = limits::parse(value)?,
        "S_CAPS" => capabilities(config, value)?,
        "S_CONTEXT" => {
            config.context = match value {
                "" => None,
                value => Some(number(
                    value,
                    uapi::CONTEXT_MIN,
                    uapi::CONTEXT_DYNAMIC_MIN - 1,
                )?),
            }
        }
        "RUNLEVEL" => {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if !value.bytes().all(plain) {
                return Err(format!("\"{value}\" is not the name of a run level"));
            }
            config.runlevel = text(value);
        }
        "START_TIMEOUT" => config.start_timeout = Duration::from_secs(number(value, 1, 86_400)?),
        "STOP_TIMEOUT" => config.stop_timeout = Duration::from_secs(number(value, 1, 86_400)?),
        "READY" => config.ready = text(value),
        "INIT" => {
            if !value.starts_with('/') {
                return Err(format!(
                    "\"{value}\" is not a path from the root, such as /sbin/init"
                ));
            }
            config.init = value.into();
        }
        "CONSOLE_LOG_SIZE" => config.console_log_size = number(value, 4096, 1 << 30)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn capabilities(config: &mut Config, value: &str) -> Result<(), String> {
    for word in value.split_ascii_whitespace() {
        let (list, word) = match word.strip_prefix('!') {
            Some(word) => (&mut config.caps_given_up, word),
            None => (&mut config.caps_kept, word),
        };
        let parsed = capability::parse(word)
            .map_err(|error| format!("{error}; names look like CAP_NET_RAW"))?;
        list.push(parsed);
    }
    Ok(())
}

/// `[dev:]ip[/mask] …`, with IPROOTMASK where none is given.
fn addresses(value: &str, ip: &Ip) -> Result<Vec<IpRoot>, String> {
    let mut found = Vec::new();
    for word in value.split_ascii_whitespace() {
        if word == "0.0.0.0" {
            continue;
        }
        // IPv6 addresses have colons as well: a device stands before the first one only when what
        // follows is an address.
        let (device, address) = match word.split_once(':') {
            Some((device, rest)) if word.parse::<Address>().is_err() => {
                (Some(device.to_owned()), rest)
            }
            _ => (ip.device.clone(), word),
        };
        let masked = match &ip.mask {
            Some(mask) if !address.contains('/') && !address.contains(':') => {
                format!("{address}/{mask}")
            }
            _ => address.to_owned(),
        };
        let address = masked
            .parse::<Address>()
            .map_err(|error| match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            })?;
        found.push(IpRoot { device, address });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        parse_text("x.conf", text).unwrap().config
    }

    fn fault(text: &str) -> String {
        parse_text("x.conf", text).unwrap_err().to_string()
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
                "x.conf:2: S_NICE: \"90\" is not a number from -20 to 19",
            ),
            (
                "ONBOOT=maybe",
                "x.conf:1: ONBOOT: \"maybe\" is neither yes nor no",
            ),
            (
                "S_FLAGS=\"lock fast\"",
                "x.conf:1: S_FLAGS: \"fast\" is not a context flag",
            ),
            (
                "S_CAPS=CAP_X",
                "x.conf:1: S_CAPS: \"CAP_X\" is not a capability",
            ),
            (
                "S_CONTEXT=1",
                "x.conf:1: S_CONTEXT: \"1\" is not a number from 2",
            ),
            (
                "IPROOT=10.0.0",
                "x.conf:1: IPROOT: \"10.0.0\" is not an IP address",
            ),
            (
                "INIT=init",
                "x.conf:1: INIT: \"init\" is not a path from the root",
            ),
            ("A=$(x)", "x.conf:1:4: nothing is executed"),
            (
                "START_TIMEOUT=0",
                "x.conf:1: START_TIMEOUT: \"0\" is not a number from 1",
            ),
            ("ULIMIT=\"-z 1\"", "x.conf:1: ULIMIT: "),
            ("RUNLEVEL='3; reboot'", "x.conf:1: RUNLEVEL: "),
        ] {
            assert!(fault(text).starts_with(said), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn unknown_variables_are_told_with_the_likely_one() {
        let warnings = parse_text("x.conf", "S_HOSTNAM=x\nOTHER_THING=y\n")
            .unwrap()
            .warnings;
        let said: Vec<_> = warnings.iter().map(Fault::to_string).collect();
        assert!(said[0].ends_with("is it S_HOSTNAME?"), "{said:?}");
        assert!(said[1].starts_with("x.conf:2: "), "{said:?}");
        assert!(said[1].ends_with("no effect"), "{said:?}");
    }
}
