// SPDX-License-Identifier: GPL-2.0

//! `vserver list`: all vservers.

use super::Verb;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::duration::human;
use crate::exit_codes;
use crate::output::Output;
use crate::output::Shown;
use crate::server::names::expand;
use crate::server::Server;
use crate::server::State;
use clap::Parser;
use libvserver::uapi;
use libvserver::Config;
use libvserver::Device;
use serde_json::Value;
use std::io;
use std::io::Write;
use std::time::Duration;

/// List all vservers
#[derive(Debug, Parser)]
#[command(name = "list", max_term_width = 100, after_help = columns::help(&TABLE))]
pub(crate) struct List {
    #[command(flatten)]
    output: Output<Vservers>,

    /// Only those that run
    #[arg(long)]
    running: bool,

    /// Only these; names may have the wildcards * and ?
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Those that are shown when nobody says which.
const USUAL: [&str; 7] = [
    "NAME",
    "STATE",
    "CTX",
    "PROC",
    "UPTIME",
    "ADDRESSES",
    "DESCRIPTION",
];

/// The table of this command.
#[derive(Clone, Debug)]
struct Vservers;

impl Shown for Vservers {
    const COLUMNS: &'static str = "Print only these columns, in this order";

    fn column_name(name: &str) -> Result<String, String> {
        let names = [name.to_owned()];
        columns::select(&TABLE, Some(&names)).map(|_| name.to_owned())
    }
}

/// One vserver.
struct Row {
    server: Server,
    state: State,
    info: Option<uapi::ContextInfo>,
    uptime: Option<Duration>,
    /// In words when it cannot be read.
    config: Result<(Config, Option<String>), String>,
}

impl Row {
    fn of<T>(&self, value: impl Fn(&Config) -> T) -> Option<T> {
        self.config.as_ref().ok().map(|(config, _)| value(config))
    }

    fn addresses(&self) -> Vec<String> {
        let list = |config: &Config| {
            let all = config.addresses.iter();
            all.map(|ip| ip.address.to_string()).collect()
        };
        self.of(list).unwrap_or_default()
    }

    fn description(&self) -> String {
        match &self.config {
            Ok((_, description)) => description.clone().unwrap_or_default(),
            Err(error) => format!("({error})"),
        }
    }
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

const TABLE: [Column<Row>; 11] = [
    Column {
        name: "NAME",
        width: 0,
        align: Align::Left,
        help: "name",
        text: |row| row.server.name.clone(),
        json: |row| row.server.name.clone().into(),
    },
    Column {
        name: "STATE",
        width: 0,
        align: Align::Left,
        help: "stopped, starting, running, stopping, or alone: without its keeper",
        text: |row| row.state.word().to_owned(),
        json: |row| row.state.word().into(),
    },
    Column {
        name: "CTX",
        width: 0,
        align: Align::Right,
        help: "number of its context",
        text: |row| text(row.info.as_ref().map(|info| info.context)),
        json: |row| row.info.as_ref().map(|info| info.context).into(),
    },
    Column {
        name: "PROC",
        width: 0,
        align: Align::Right,
        help: "processes, threads and zombies counted",
        text: |row| text(row.info.as_ref().map(|info| info.tasks)),
        json: |row| row.info.as_ref().map(|info| info.tasks).into(),
    },
    Column {
        name: "UPTIME",
        width: 0,
        align: Align::Right,
        help: "time since its context was made",
        text: |row| text(row.uptime.map(human)),
        json: |row| row.uptime.map(|up| up.as_secs_f64()).into(),
    },
    Column {
        name: "ADDRESSES",
        width: 0,
        align: Align::Left,
        help: "those of its configuration; all: not confined",
        text: |row| match row.addresses() {
            list if list.is_empty() && row.config.is_ok() => "all".to_owned(),
            list => list.join(","),
        },
        json: |row| row.addresses().into(),
    },
    Column {
        name: "ONBOOT",
        width: 0,
        align: Align::Left,
        help: "whether it starts with the machine",
        text: |row| text(row.of(|config| if config.onboot { "yes" } else { "no" })),
        json: |row| row.of(|config| config.onboot).into(),
    },
    Column {
        name: "PRIORITY",
        width: 0,
        align: Align::Right,
        help: "lower ones are started first",
        text: |row| text(row.of(|config| config.priority)),
        json: |row| row.of(|config| config.priority).into(),
    },
    Column {
        name: "HOSTNAME",
        width: 0,
        align: Align::Left,
        help: "its host name",
        text: |row| text(row.of(|config| config.hostname.clone()).flatten()),
        json: |row| row.of(|config| config.hostname.clone()).flatten().into(),
    },
    Column {
        name: "ROOT",
        width: 0,
        align: Align::Left,
        help: "its root directory",
        text: |row| row.server.root().display().to_string(),
        json: |row| row.server.root().display().to_string().into(),
    },
    Column {
        name: "DESCRIPTION",
        width: 0,
        align: Align::Left,
        help: "\"# Description:\" of its configuration, or what is wrong there",
        text: Row::description,
        json: |row| match &row.config {
            Ok((_, description)) => description.clone().into(),
            Err(_) => Value::Null,
        },
    },
];

/// Those with these names, or all, as they are now.
fn rows(names: &[String]) -> anyhow::Result<Vec<Row>> {
    let device = Device::open()?;
    let clock = nix::time::ClockId::CLOCK_BOOTTIME;
    let now: Duration = nix::time::clock_gettime(clock)?.into();
    let servers = match names.is_empty() {
        true => Server::all()?,
        false => expand(names)?,
    };
    servers
        .into_iter()
        .map(|server| {
            let config = Config::load(&server.name)
                .map(|loaded| (loaded.config, loaded.description))
                .map_err(|error| error.to_string());
            let (state, running) = server.state(&device)?;
            let info = match running {
                Some(running) => device.context(running.number)?,
                None => None,
            };
            let up = |info: &uapi::ContextInfo| {
                now.saturating_sub(Duration::from_nanos(info.created_ns))
            };
            Ok(Row {
                server,
                state,
                uptime: info.as_ref().map(up),
                info,
                config,
            })
        })
        .collect()
}

impl Verb for List {
    fn run(&self) -> anyhow::Result<u8> {
        let mut rows = rows(&self.names)?;
        if self.running {
            rows.retain(|row| row.info.is_some());
        }
        let usual = || USUAL.map(str::to_owned).to_vec();
        let names = match (&self.output.columns, self.output.json) {
            (Some(names), _) => Some(names.clone()),
            (None, true) => None,
            (None, false) => Some(usual()),
        };
        let columns = columns::select(&TABLE, names.as_deref()).map_err(anyhow::Error::msg)?;
        let mut out = io::stdout().lock();
        self.output.write(&mut out, "vservers", &columns, &rows)?;
        out.flush()?;
        Ok(exit_codes::SUCCESS)
    }
}

/// For `vservers status`.
pub(crate) fn print(names: &[String]) -> anyhow::Result<()> {
    List {
        output: Output::default(),
        running: false,
        names: names.to_vec(),
    }
    .run()
    .map(drop)
}
