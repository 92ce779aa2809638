// SPDX-License-Identifier: GPL-2.0

//! What each variable of a configuration may be.

use super::limits;
use super::Config;
use super::IpRoot;
use crate::capability;
use crate::{Address, Flags};
use std::fmt;
use std::time::Duration;
use vserver_uapi as uapi;

/// The kernel's limit on host and domain names.
const NAME_MAX: usize = 64;

/// The kernel's limit on names of devices.
const DEVICE_MAX: usize = 15;

/// The values that make addresses together, whichever comes first.
#[derive(Default)]
pub(super) struct Ip {
    root: String,
    mask: Option<String>,
    device: Option<String>,
}

impl Ip {
    /// `[dev:]ip[/mask] …`, with IPROOTMASK and IPROOTDEV where none is given.
    pub(super) fn addresses(&self) -> Result<Vec<IpRoot>, String> {
        let words: Vec<&str> = self.root.split_ascii_whitespace().collect();
        if words.contains(&"0.0.0.0") {
            return match words.len() {
                1 => Ok(Vec::new()),
                _ => Err(
                    "0.0.0.0 stands for all addresses, and cannot stand beside others".to_owned(),
                ),
            };
        }
        if words.len() > uapi::ADDRESSES_MAX as usize {
            return Err(format!("more than {} addresses", uapi::ADDRESSES_MAX));
        }
        words.into_iter().map(|word| self.address(word)).collect()
    }

    fn address(&self, word: &str) -> Result<IpRoot, String> {
        // IPv6 addresses have colons as well: a device stands before the first one only when what
        // follows is an address.
        let (own, address) = match word.split_once(':') {
            Some((own, rest)) if word.parse::<Address>().is_err() => (Some(device(own)?), rest),
            _ => (None, word),
        };
        let masked = match &self.mask {
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
        Ok(IpRoot {
            device: own.or_else(|| self.device.clone()),
            address,
        })
    }
}

/// The name of a network device.
fn device(value: &str) -> Result<String, String> {
    let plain = |char: char| char.is_ascii_graphic() && char != '/' && char != ':';
    if value.is_empty() || value.len() > DEVICE_MAX || !value.chars().all(plain) {
        return Err(format!(
            "\"{value}\" is not the name of a device; \"ip address\" lists them"
        ));
    }
    Ok(value.to_owned())
}

/// A mask as it can stand behind the slash of an IPv4 address.
fn mask(value: &str) -> Result<String, String> {
    let value = value.strip_prefix('/').unwrap_or(value);
    match format!("10.255.255.255/{value}").parse::<Address>() {
        Ok(_) => Ok(value.to_owned()),
        Err(_) => Err(format!(
            "\"{value}\" is not a mask such as 255.255.255.0 or 24"
        )),
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

fn host_name(value: &str) -> Result<Option<String>, String> {
    if value.len() > NAME_MAX {
        return Err(format!("longer than {NAME_MAX} bytes"));
    }
    if value
        .chars()
        .any(|char| char.is_whitespace() || char.is_control())
    {
        return Err("a name has no blanks, line ends or control characters".to_owned());
    }
    Ok((!value.is_empty()).then(|| value.to_owned()))
}

/// Takes one value of a variable that is known, in place of what it was before; an empty one sets it back.
pub(super) fn set(config: &mut Config, ip: &mut Ip, name: &str, value: &str) -> Result<(), String> {
    let value = value.trim();
    let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
    let before = Config::default();
    let seconds = |default: Duration| match value {
        "" => Ok(default),
        value => number(value, 1, 86_400).map(Duration::from_secs),
    };
    match name {
        "IPROOT" => ip.root = value.to_owned(),
        "IPROOTMASK" => ip.mask = text(value).map(|value| mask(&value)).transpose()?,
        "IPROOTDEV" => ip.device = text(value).map(|value| device(&value)).transpose()?,
        "IPROOTBCAST" => {
            config.broadcast = match value {
                "" => None,
                value => Some(value.parse().map_err(|_| {
                    format!("\"{value}\" is not an IPv4 address such as 10.0.0.255")
                })?),
            }
        }
        "S_HOSTNAME" => config.hostname = host_name(value)?,
        "S_DOMAINNAME" => {
            config.domainname = match value {
                "none" => Some(String::new()),
                value => host_name(value)?,
            }
        }
        "ONBOOT" => {
            config.onboot = match value.to_ascii_lowercase().as_str() {
                "yes" => true,
                "no" | "" => false,
                _ => return Err(format!("\"{value}\" is neither yes nor no")),
            }
        }
        "PRIORITY" => {
            config.priority = match value {
                "" => before.priority,
                value => number(value, 0, 999)?,
            }
        }
        "PROFILE" => {
            if !value.bytes().all(is_plain) {
                return Err(format!(
                    "\"{value}\" is not one word of letters, digits, \"_\" and \"-\""
                ));
            }
            config.profile = text(value);
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
            if !value.bytes().all(is_plain) {
                return Err(format!("\"{value}\" is not the name of a run level"));
            }
            config.runlevel = text(value);
        }
        "START_TIMEOUT" => config.start_timeout = seconds(before.start_timeout)?,
        "STOP_TIMEOUT" => config.stop_timeout = seconds(before.stop_timeout)?,
        "READY" => {
            if value.chars().any(char::is_control) {
                return Err(
                    "give a part of one line of the console, without control characters".to_owned(),
                );
            }
            config.ready = text(value);
        }
        "INIT" => {
            config.init = match value {
                "" => before.init,
                value if value.starts_with('/') => value.into(),
                value => {
                    return Err(format!(
                        "\"{value}\" is not a path from the root, such as /sbin/init"
                    ))
                }
            }
        }
        "CONSOLE_LOG_SIZE" => {
            config.console_log_size = match value {
                "" => before.console_log_size,
                value => number(value, 4096, 1 << 30)?,
            }
        }
        // The table has a variable that this has not.
        name => return Err(format!("the variable {name} cannot be set")),
    }
    Ok(())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn capabilities(config: &mut Config, value: &str) -> Result<(), String> {
    config.caps_kept.clear();
    config.caps_given_up.clear();
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
