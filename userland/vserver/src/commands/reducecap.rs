// SPDX-License-Identifier: GPL-2.0

//! `reducecap`: give up capabilities for good, then run a command.

use super::Verb;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::exec;
use crate::exit_codes;
use crate::exit_codes::Style;
use crate::report::value;
use anyhow::Context;
use caps::CapSet;
use caps::Capability;
use clap::Parser;
use libvserver::capability;
use libvserver::CapabilitySet;
use libvserver::Device;
use libvserver::Error;
use libvserver::Flags;
use libvserver::Request;
use std::ffi::OsString;
use std::io;
use std::io::Write;
use std::str::FromStr;

/// Give up capabilities for good, then run a command
///
/// Any user may. What is given up stays so for the command and all that it starts, setuid-root
/// programs included.
#[derive(Debug, Parser)]
#[command(
    name = "reducecap",
    max_term_width = 100,
    override_usage = "reducecap [OPTIONS] [--CAP_X]... COMMAND [ARGS]...\n       reducecap --show [--json]",
    after_help = after_help()
)]
pub(crate) struct Reducecap {
    /// Give up every capability that reaches beyond a context
    #[arg(long)]
    secure: bool,

    /// Print the capabilities as they are afterwards: effective, permitted and inheritable ones
    #[arg(long)]
    show: bool,

    /// Print them as JSON
    #[arg(long, requires = "show")]
    json: bool,

    /// Set a flag of the present context: lock, sched, nproc, private, fakeinit, hideinfo or ulimit
    #[arg(long, value_name = "FLAG", value_parser = value::<Flags>)]
    flag: Vec<Flags>,

    /// Give up a capability; the same as --CAP_X
    #[arg(long, value_name = "CAP_X", value_parser = value::<Name>)]
    cap: Vec<Name>,

    /// The command and its arguments
    #[arg(required_unless_present = "show", trailing_var_arg = true)]
    command: Vec<OsString>,
}

fn after_help() -> String {
    let names: Vec<String> = capability::all()
        .iter()
        .map(Capability::to_string)
        .collect();
    format!(
        "Each capability is an option of its own, in any case:\n  --{}",
        names.join(" --")
    )
}

/// A capability by its name.
#[derive(Clone, Copy, Debug)]
struct Name(Capability);

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        capability::parse(text).map(Self)
    }
}

struct Row {
    capability: Capability,
    effective: bool,
    permitted: bool,
    inheritable: bool,
}

fn mark(has: bool) -> String {
    if has { "X" } else { "" }.to_owned()
}

const TABLE: [Column<Row>; 4] = [
    Column {
        name: "Capability",
        width: 22,
        align: Align::Left,
        help: "its name",
        text: |row| row.capability.to_string(),
        json: |row| row.capability.to_string().into(),
    },
    Column {
        name: "Effective",
        width: 9,
        align: Align::Right,
        help: "in force",
        text: |row| mark(row.effective),
        json: |row| row.effective.into(),
    },
    Column {
        name: "Permitted",
        width: 9,
        align: Align::Right,
        help: "can be put in force",
        text: |row| mark(row.permitted),
        json: |row| row.permitted.into(),
    },
    Column {
        name: "Inheritable",
        width: 11,
        align: Align::Right,
        help: "can be kept over exec",
        text: |row| mark(row.inheritable),
        json: |row| row.inheritable.into(),
    },
];

impl Verb for Reducecap {
    fn style(&self) -> Style {
        Style::Exec
    }

    fn run(&self) -> anyhow::Result<u8> {
        let flags: Flags = self.flag.iter().copied().collect();
        if self.changes_something() {
            let device = Device::open()?;
            let start = if self.secure {
                CapabilitySet::secure().known_to(device.info().capabilities)
            } else {
                CapabilitySet::EMPTY
            };
            let drop = self.cap.iter().fold(start, |set, name| set.with(name.0));
            device.enter(Request::Stay, flags, drop)?;
        }
        if self.show {
            self.print()?;
        }
        if self.command.is_empty() {
            return Ok(exit_codes::SUCCESS);
        }
        Err(exec::exec(&self.command))
    }
}

impl Reducecap {
    /// Showing alone asks nothing of the module.
    fn changes_something(&self) -> bool {
        self.secure || !self.cap.is_empty() || !self.flag.is_empty() || !self.command.is_empty()
    }

    /// Turn the options `--CAP_X`, in any case, into `--cap=CAP_X`, as far as they stand before the
    /// command. The first element is the program's or command's name.
    pub(crate) fn normalise(args: Vec<OsString>) -> Vec<OsString> {
        let mut normal = Vec::with_capacity(args.len());
        let mut args = args.into_iter();
        normal.extend(args.next());
        while let Some(arg) = args.next() {
            let text = arg.to_str().unwrap_or("");
            if text == "--" || !text.starts_with('-') {
                normal.push(arg);
                break;
            }
            let takes_value = matches!(text, "--flag" | "--cap");
            let name = text.get(2..).unwrap_or("");
            if name
                .get(..4)
                .is_some_and(|start| start.eq_ignore_ascii_case("cap_"))
            {
                normal.push(format!("--cap={name}").into());
            } else {
                normal.push(arg);
            }
            if takes_value {
                normal.extend(args.next());
            }
        }
        normal.extend(args);
        normal
    }

    fn print(&self) -> anyhow::Result<()> {
        let read = |set| {
            caps::read(None, set)
                .map(|held| CapabilitySet::from(&held))
                .context("cannot read one's own capabilities")
        };
        let effective = read(CapSet::Effective)?;
        let permitted = read(CapSet::Permitted)?;
        let inheritable = read(CapSet::Inheritable)?;
        let rows: Vec<Row> = capability::all()
            .into_iter()
            .map(|capability| Row {
                capability,
                effective: effective.contains(capability),
                permitted: permitted.contains(capability),
                inheritable: inheritable.contains(capability),
            })
            .collect();
        let columns: Vec<_> = TABLE.iter().collect();
        let mut out = io::stdout().lock();
        if self.json {
            columns::write_json(&mut out, &columns::to_json("capabilities", &columns, &rows))?;
        } else {
            columns::write_text(&mut out, &columns, &rows, true)?;
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalise(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let normal = Reducecap::normalise(args);
        normal
            .iter()
            .map(|arg| arg.to_str().unwrap())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn capability_options_before_the_command_only() {
        assert_eq!(
            normalise("reducecap --flag lock --cap_net_raw --secure --CAP_BPF x --CAP_BPF"),
            "reducecap --flag lock --cap=cap_net_raw --secure --cap=CAP_BPF x --CAP_BPF"
        );
        assert_eq!(
            normalise("reducecap -- --CAP_BPF"),
            "reducecap -- --CAP_BPF"
        );
        assert_eq!(
            normalise("reducecap --flag --CAP_BPF"),
            "reducecap --flag --CAP_BPF"
        );
        assert_eq!(normalise("reducecap"), "reducecap");
    }

    #[test]
    fn the_names_end_where_they_should() {
        let args = normalise("reducecap --cap_net_raw --CAP_BPF ls --CAP_CHOWN -l");
        let parsed = Reducecap::try_parse_from(args.split(' ')).unwrap();
        let set: CapabilitySet = parsed.cap.iter().map(|name| name.0).collect();
        assert_eq!(set.bits(), (1 << 13) | (1 << 39));
        assert_eq!(parsed.command, ["ls", "--CAP_CHOWN", "-l"]);
    }
}
