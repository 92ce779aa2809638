// SPDX-License-Identifier: GPL-2.0

//! Reading the files of a vserver's configuration: the values for all, its own, and its mounts.

use super::fstab;
use super::parse;
use super::values;
use super::variables;
use super::{Config, Fault, Loaded, Mount, Origin, DEFAULTS, DIRECTORY};
use crate::Result;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// No configuration is larger.
const SIZE_MAX: u64 = 1 << 20;

/// The configuration of a vserver.
pub fn file(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.conf"))
}

impl Config {
    /// Reads and checks the files of a vserver. Changes nothing and executes nothing.
    pub fn load(name: &str) -> Result<Loaded> {
        Self::load_file(name, &file(name))
    }

    /// The same with the configuration in another file, such as one that is being edited.
    pub fn load_file(name: &str, file: &Path) -> Result<Loaded> {
        let mut reading = Reading::default();
        if let Some(shared) = text_if_there(Path::new(DEFAULTS))? {
            reading.take(DEFAULTS, &shared, true)?;
        }
        reading.take(&file.display().to_string(), &text(file)?, false)?;
        let fstab = Path::new(DIRECTORY).join(format!("{name}.fstab"));
        if let Some(mounts) = text_if_there(&fstab)? {
            reading.config.mounts = mounts_of(&fstab.display().to_string(), &mounts)?;
        }
        Ok(reading.finish()?)
    }

    /// Reads a file that has every variable, as [`Loaded::text`] writes it: neither the values for all nor mounts count.
    pub fn load_whole(file: &Path) -> Result<Loaded> {
        let mut reading = Reading::default();
        reading.take(&file.display().to_string(), &text(file)?, false)?;
        Ok(reading.finish()?)
    }

    /// Checks a text that is to become the configuration of a new vserver, called so in errors.
    pub fn check(called: &str, configuration: &str) -> Result<Loaded> {
        let mut reading = Reading::default();
        if let Some(shared) = text_if_there(Path::new(DEFAULTS))? {
            reading.take(DEFAULTS, &shared, true)?;
        }
        reading.take(called, configuration, false)?;
        Ok(reading.finish()?)
    }
}

/// A file that need not be there.
fn text_if_there(path: &Path) -> Result<Option<String>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        _ => text(path).map(Some),
    }
}

/// The whole of a file.
pub(super) fn text(path: &Path) -> Result<String> {
    let file = path.display().to_string();
    let read = |error| whole(&file, &format!("cannot be read: {error}"));
    let data = std::fs::metadata(path).map_err(read)?;
    if !data.is_file() {
        return Err(whole(&file, "is not a regular file").into());
    }
    if data.len() > SIZE_MAX {
        return Err(whole(&file, "is larger than 1 MiB").into());
    }
    let bytes = std::fs::read(path).map_err(read)?;
    Ok(String::from_utf8(bytes).map_err(|_| whole(&file, "is not text in UTF-8"))?)
}

fn whole(file: &str, what: &str) -> Fault {
    Fault {
        file: file.to_owned(),
        line: 0,
        column: 0,
        what: what.to_owned(),
    }
}

fn mounts_of(file: &str, text: &str) -> Result<Vec<Mount>, Fault> {
    fstab::parse(text).map_err(|(line, what)| Fault {
        line,
        ..whole(file, &what)
    })
}

/// One configuration that stands alone.
#[cfg(test)]
pub(super) fn parse_text(file: &str, text: &str) -> Result<Loaded, Fault> {
    let mut reading = Reading::default();
    reading.take(file, text, false)?;
    reading.finish()
}

/// For fuzzing: any text is taken or refused, and what is taken is written so that it reads back the same.
#[cfg(test)]
pub(crate) fn try_text(text: &str) {
    for shared in [false, true] {
        let mut reading = Reading::default();
        let _ = reading
            .take("fuzz", text, shared)
            .and_then(|()| reading.finish());
    }
    for one in parse::assignments(text).unwrap_or_default() {
        let written = super::quote::assignment(&one.name, &one.value);
        let read = parse::assignments(&written).expect(&written);
        assert_eq!((&read[0].name, &read[0].value), (&one.name, &one.value));
        assert_eq!(read.len(), 1);
    }
}

/// For fuzzing.
#[cfg(test)]
pub(crate) fn try_mounts(text: &str) {
    for mount in mounts_of("fuzz", text).unwrap_or_default() {
        assert!(!mount.target.split('/').any(|part| part == ".."));
    }
}

/// Several files, one after the other.
#[derive(Default)]
struct Reading {
    config: Config,
    ip: values::Ip,
    known: BTreeMap<String, String>,
    description: Option<String>,
    origins: BTreeMap<&'static str, Origin>,
    warnings: Vec<Fault>,
    /// Where IPROOT was set last, whose value is not understood before all of it is read.
    addresses: Option<(String, usize, usize)>,
}

impl Reading {
    /// Takes a file. `shared`: it is for all vservers.
    fn take(&mut self, file: &str, text: &str, shared: bool) -> Result<(), Fault> {
        let at = |line, column, what: String| Fault {
            file: file.to_owned(),
            line,
            column,
            what,
        };
        let content = parse::content(text, &mut self.known)
            .map_err(|error| at(error.line, error.column, error.what.to_owned()))?;
        if !shared {
            self.description = content.description;
        }
        for one in content.assignments {
            let Some(variable) = variables::find(&one.name) else {
                self.warnings.push(at(one.line, 0, unknown(&one.name)));
                continue;
            };
            let wrong = |what| at(one.line, one.column, format!("{}: {what}", one.name));
            if shared && !variable.shared {
                return Err(wrong(
                    "cannot be the same for all vservers; set it in NAME.conf".to_owned(),
                ));
            }
            values::set(&mut self.config, &mut self.ip, variable.name, &one.value)
                .map_err(wrong)?;
            if variable.name == "IPROOT" {
                self.addresses = Some((file.to_owned(), one.line, one.column));
            }
            let value = one.value.trim();
            if value.is_empty() {
                self.origins.remove(variable.name);
            } else {
                let origin = Origin {
                    value: value.to_owned(),
                    file: file.to_owned(),
                    line: one.line,
                };
                self.origins.insert(variable.name, origin);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Loaded, Fault> {
        self.config.addresses = self.ip.addresses().map_err(|what| {
            let (file, line, column) = self.addresses.clone().unwrap_or_default();
            let what = format!("IPROOT: {what}");
            Fault {
                file,
                line,
                column,
                what,
            }
        })?;
        Ok(Loaded {
            config: self.config,
            description: self.description,
            origins: self.origins,
            warnings: self.warnings,
        })
    }
}

/// An unknown variable, and the known one that looks most like it.
fn unknown(name: &str) -> String {
    match variables::nearest(name) {
        Some(known) => format!("the variable {name} is unknown and has no effect; is it {known}?"),
        None => format!("the variable {name} is unknown and has no effect"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(shared: &str, own: &str) -> Result<Loaded, Fault> {
        let mut reading = Reading::default();
        reading.take("all.conf", shared, true)?;
        reading.take("x.conf", own, false)?;
        reading.finish()
    }

    #[test]
    fn the_own_value_counts_before_that_for_all() {
        let loaded = read(
            "STOP_TIMEOUT=5\nS_FLAGS=lock\nNET=10.0.0\nIPROOTDEV=eth0\n",
            "# Description: the web\nIPROOT=$NET.5\nS_FLAGS=\nS_NICE=1\nS_NICE=2\n",
        )
        .unwrap();
        assert_eq!(loaded.description.as_deref(), Some("the web"));
        let config = loaded.config;
        assert_eq!(config.stop_timeout.as_secs(), 5);
        assert!(config.flags.is_empty());
        assert_eq!(config.addresses[0].device.as_deref(), Some("eth0"));
        let origin = |name: &str| {
            let origin = loaded.origins.get(name)?;
            Some((origin.value.as_str(), origin.file.as_str(), origin.line))
        };
        assert_eq!(origin("STOP_TIMEOUT"), Some(("5", "all.conf", 1)));
        assert_eq!(origin("IPROOT"), Some(("10.0.0.5", "x.conf", 2)));
        assert_eq!(origin("S_NICE"), Some(("2", "x.conf", 5)));
        assert_eq!(origin("S_FLAGS"), None);
        // Not a variable of ours, but of the file's.
        assert_eq!(loaded.warnings.len(), 1);
    }

    #[test]
    fn an_empty_value_is_the_default() {
        let all: Vec<String> = super::super::VARIABLES
            .iter()
            .map(|variable| format!("{}=\n", variable.name))
            .collect();
        let all = all.concat();
        let set = "S_CAPS=CAP_NET_RAW\nPRIORITY=1\nONBOOT=yes\nINIT=/x\nCONSOLE_LOG_SIZE=5000\n";
        let loaded = read("", &format!("{set}{all}")).unwrap();
        assert_eq!(loaded.config, Config::default());
        assert!(loaded.origins.is_empty());
    }

    #[test]
    fn defaults_as_the_table_has_them() {
        let all: Vec<String> = super::super::VARIABLES
            .iter()
            .map(|variable| super::super::assignment(variable.name, variable.default))
            .collect();
        assert_eq!(read("", &all.join("\n")).unwrap().config, Config::default());
    }

    #[test]
    fn what_is_one_vservers_own_is_not_for_all() {
        let fault = read("\nIPROOT=10.0.0.5", "").unwrap_err().to_string();
        assert!(
            fault.starts_with("all.conf:2:8: IPROOT: cannot be the same"),
            "{fault}"
        );
    }

    #[test]
    fn capabilities_of_the_last_line_alone() {
        let config = read("S_CAPS=CAP_NET_RAW", "S_CAPS=!CAP_CHOWN")
            .unwrap()
            .config;
        assert!(config.caps_kept.is_empty());
        assert_eq!(config.caps_given_up.len(), 1);
    }
}
