// SPDX-License-Identifier: GPL-2.0

//! The configuration of a new vserver, from options; checked as any other.

use crate::server::Server;
use anyhow::bail;
use anyhow::Context;
use clap::Args;
use libvserver::config;
use libvserver::config::assignment;
use libvserver::config::VARIABLES;
use libvserver::Config;
use nix::ifaddrs::getifaddrs;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;

/// What a new configuration is to say.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// An address, and the device that is to carry it; several times for several
    #[arg(long, value_name = "[DEV:]IP[/MASK]", help_heading = "Configuration")]
    pub(crate) ip: Vec<String>,

    /// Its host name
    #[arg(long, value_name = "NAME", help_heading = "Configuration")]
    pub(crate) hostname: Option<String>,

    /// The number of its context
    #[arg(long, value_name = "NUMBER", help_heading = "Configuration")]
    pub(crate) context: Option<String>,

    /// A flag of its context, several times for several, in the place of the usual ones
    #[arg(long, value_name = "FLAG", help_heading = "Configuration")]
    pub(crate) flag: Vec<String>,

    /// Start it at boot
    #[arg(long, help_heading = "Configuration")]
    pub(crate) onboot: bool,

    /// What it is for, in one line
    #[arg(long, value_name = "TEXT", help_heading = "Configuration")]
    pub(crate) description: Option<String>,

    /// Any other variable of the configuration
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Configuration")]
    pub(crate) set: Vec<String>,
}

impl Settings {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The addresses without devices.
    pub(crate) fn without_devices(&mut self) {
        for ip in &mut self.ip {
            // An IPv6 address has colons of its own.
            if let Some((device, rest)) = ip.split_once(':') {
                let is_v6 = ip
                    .split('/')
                    .next()
                    .is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok());
                if !is_v6 && !device.is_empty() {
                    *ip = rest.to_owned();
                }
            }
        }
        self.set.retain(|one| !one.starts_with("IPROOTDEV="));
    }

    /// The variables that are asked for.
    fn values(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut values = BTreeMap::new();
        let mut set = |name: &str, value: String| values.insert(name.to_owned(), value);
        if !self.ip.is_empty() {
            set("IPROOT", self.ip.join(" "));
        }
        if let Some(name) = &self.hostname {
            set("S_HOSTNAME", name.clone());
        }
        if let Some(number) = &self.context {
            set("S_CONTEXT", number.clone());
        }
        if !self.flag.is_empty() {
            set("S_FLAGS", self.flag.join(" "));
        }
        if self.onboot {
            set("ONBOOT", "yes".to_owned());
        }
        for one in &self.set {
            let Some((name, value)) = one.split_once('=') else {
                bail!("--set {one:?} has no \"=\": write --set NAME=VALUE");
            };
            if value.contains('\0') {
                bail!("--set {name}: a value has no zero bytes");
            }
            set(name, value.to_owned());
        }
        Ok(values)
    }

    /// The text of a new configuration, checked. `usual`: what holds when nothing is asked for.
    pub(crate) fn text(&self, name: &str, usual: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut values = self.values()?;
        for (name, value) in usual {
            values
                .entry((*name).to_owned())
                .or_insert_with(|| (*value).to_owned());
        }
        self.write(name, &values)
    }

    /// The text of an existing configuration with what is asked for in its place. `without`: what is not taken over.
    pub(crate) fn over(&self, name: &str, old: &str, without: &[&str]) -> anyhow::Result<String> {
        let values = self.values()?;
        let mut text = String::new();
        let is_changed = |line: &str| {
            let set = |name: &str| {
                line.trim_start()
                    .strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('='))
            };
            without.iter().any(|name| set(name)) || values.keys().any(|name| set(name))
        };
        let is_description =
            |line: &str| self.description.is_some() && line.starts_with("# Description:");
        let mut lines = old.lines();
        while let Some(line) = lines.next() {
            let is_dropped = is_changed(line);
            if !is_dropped && !is_description(line) {
                text.push_str(line);
                text.push('\n');
            }
            // A value may go on over several lines.
            let mut whole = line.to_owned();
            while is_dropped && !is_complete(&whole) {
                let Some(next) = lines.next() else { break };
                whole.push('\n');
                whole.push_str(next);
            }
        }
        text = format!("{}{text}{}", self.head()?, body(&values));
        check(name, &text)?;
        Ok(text)
    }

    fn head(&self) -> anyhow::Result<String> {
        match &self.description {
            Some(text) if text.chars().any(char::is_control) => {
                bail!("the description has to be one line of plain text")
            }
            Some(text) => Ok(format!("# Description: {text}\n")),
            None => Ok(String::new()),
        }
    }

    fn write(&self, name: &str, values: &BTreeMap<String, String>) -> anyhow::Result<String> {
        let text = format!("{}{}", self.head()?, body(values));
        check(name, &text)?;
        Ok(text)
    }
}

/// Whether an assignment ends with this.
fn is_complete(text: &str) -> bool {
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (None, '#') => return true,
            // It goes on in the next line; else what follows is taken as it is.
            (None | Some('"'), '\\') if chars.next().is_none() => return false,
            (None | Some('"'), '\\') => {}
            (None, '"' | '\'') => quote = Some(char),
            (Some(open), char) if open == char => quote = None,
            _ => {}
        }
    }
    quote.is_none()
}

/// The assignments, in the order in which variables are shown.
fn body(values: &BTreeMap<String, String>) -> String {
    let place = |name: &str| VARIABLES.iter().position(|variable| variable.name == name);
    let mut all: Vec<_> = values.iter().collect();
    all.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    let lines: Vec<String> = all
        .iter()
        .map(|(name, value)| format!("{}\n", assignment(name, value)))
        .collect();
    lines.concat()
}

/// Checks a text by the parser that will read it; what has no effect is wrong too.
fn check(name: &str, text: &str) -> anyhow::Result<Config> {
    let called = format!("the new {}", config::file(name).display());
    let loaded = Config::check(&called, text)?;
    match loaded.warnings.first() {
        Some(warning) => bail!("{warning}"),
        None => Ok(loaded.config),
    }
}

/// What of a configuration does not go with this machine or the other vservers, a line for each.
pub(crate) fn conflicts(name: &str, text: &str) -> anyhow::Result<Vec<String>> {
    let config = check(name, text)?;
    let mut lines = Vec::new();
    let devices: Vec<(String, Option<IpAddr>)> = getifaddrs()
        .context("cannot list the network devices")?
        .map(|one| {
            let address = one.address.as_ref().and_then(|address| {
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            });
            (one.interface_name, address)
        })
        .collect();
    for wanted in &config.addresses {
        let ip = wanted.address.ip();
        if let Some(device) = &wanted.device {
            if !devices.iter().any(|(name, _)| name == device) {
                lines.push(format!(
                    "there is no network device {device}; \"ip link\" lists them"
                ));
            }
        }
        // A whole network is no address of its own.
        if wanted.address.is_whole() {
            continue;
        }
        if let Some((device, _)) = devices.iter().find(|(_, address)| *address == Some(ip)) {
            lines.push(format!(
                "{ip} is an address of this machine already, on {device}"
            ));
        }
        for other in Server::all()?.iter().filter(|other| other.name != name) {
            let Ok(loaded) = Config::load(&other.name) else {
                continue;
            };
            if loaded
                .config
                .addresses
                .iter()
                .any(|one| one.address.ip() == ip)
            {
                lines.push(format!(
                    "{ip} is an address of the vserver {} too",
                    other.name
                ));
            }
        }
    }
    if let Some(number) = config.context {
        for other in Server::all()?.iter().filter(|other| other.name != name) {
            if Config::load(&other.name).is_ok_and(|loaded| loaded.config.context == Some(number)) {
                lines.push(format!(
                    "context {number} is that of the vserver {} too",
                    other.name
                ));
            }
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_written_and_checked() {
        let settings = Settings {
            ip: vec!["eth0:10.0.0.5/24".to_owned(), "10.0.0.6".to_owned()],
            hostname: Some("web.example.org".to_owned()),
            description: Some("the site".to_owned()),
            onboot: true,
            set: vec!["S_NICE=5".to_owned()],
            ..Settings::default()
        };
        assert_eq!(
            settings.text("web", &[("S_FLAGS", "lock nproc")]).unwrap(),
            "# Description: the site\nIPROOT=\"eth0:10.0.0.5/24 10.0.0.6\"\nS_HOSTNAME=web.example.org\n\
             ONBOOT=yes\nS_NICE=5\nS_FLAGS=\"lock nproc\"\n"
        );
        for (name, value) in [("S_CONTEXT", "70000"), ("S_NICE", "x"), ("S_FLOGS", "lock")] {
            let settings = Settings {
                set: vec![format!("{name}={value}")],
                ..Settings::default()
            };
            let error = settings.text("web", &[]).unwrap_err().to_string();
            assert!(
                error.contains(name) && error.contains("web.conf"),
                "{error}"
            );
        }
        for settings in [
            Settings {
                set: vec!["S_NICE".to_owned()],
                ..Settings::default()
            },
            Settings {
                description: Some("a\nIPROOT=".to_owned()),
                ..Settings::default()
            },
        ] {
            assert!(settings.text("web", &[]).is_err());
        }
    }

    #[test]
    fn a_clone_keeps_the_rest() {
        let old = "# Description: old\n# mine\nIPROOT=\"10.0.0.5 \\\n10.0.0.6\"\nS_CONTEXT=100\nS_NICE=5\nONBOOT=yes\n";
        let settings = Settings {
            ip: vec!["10.0.0.7".to_owned()],
            ..Settings::default()
        };
        assert_eq!(
            settings.over("new", old, &["IPROOT", "S_CONTEXT"]).unwrap(),
            "# Description: old\n# mine\nS_NICE=5\nONBOOT=yes\nIPROOT=10.0.0.7\n"
        );
        assert_eq!(
            Settings::default()
                .over("new", old, &["IPROOT", "S_CONTEXT"])
                .unwrap(),
            "# Description: old\n# mine\nS_NICE=5\nONBOOT=yes\n"
        );
    }
}
