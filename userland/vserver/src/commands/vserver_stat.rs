// SPDX-License-Identifier: GPL-2.0

//! `vserver-stat`: what each context uses.

use super::Verb;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::duration;
use crate::exit_codes;
use crate::output::Output;
use crate::output::Shown;
use anyhow::Context;
use clap::Parser;
use libvserver::process;
use libvserver::spectator::Process;
use libvserver::uapi;
use libvserver::uapi::CONTEXT_ROOT;
use libvserver::Device;
use libvserver::Ipv4root;
use libvserver::Names;
use libvserver::Spectator;
use nix::time::ClockId;
use nix::unistd::SysconfVar;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io;
use std::io::Write;
use std::time::Duration;

/// What the root server is called.
const ROOT_NAME: &str = "root server";

/// Show what each context uses
///
/// Row 0 is the root server. Only root in context 0 may.
#[derive(Debug, Parser)]
#[command(name = "vserver-stat", max_term_width = 100, after_help = columns::help(&TABLE))]
pub(crate) struct VserverStat {
    #[command(flatten)]
    output: Output<Contexts>,

    /// Sort by this column; with - before it, the largest first
    #[arg(long, value_name = "COLUMN", value_parser = sort_column, allow_hyphen_values = true)]
    sort: Option<String>,

    /// Only these vservers
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Those that are shown when nobody says which.
const USUAL: [&str; 8] = [
    "CTX", "PROC", "VSZ", "RSS", "userTIME", "sysTIME", "UPTIME", "NAME",
];

/// The table of this command.
#[derive(Clone, Debug)]
struct Contexts;

impl Shown for Contexts {
    fn column_name(name: &str) -> Result<String, String> {
        columns::check(&TABLE, name)
    }
}

fn sort_column(name: &str) -> Result<String, String> {
    columns::sort(&TABLE, name, &mut []).map(|()| name.to_owned())
}

/// One context.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Row {
    context: i32,
    processes: u64,
    virtual_kib: u64,
    resident_kib: u64,
    user: Duration,
    system: Duration,
    up: Duration,
    name: String,
    /// What the kernel tells of it; contexts 0 and 1 are not counted.
    info: Option<uapi::ContextInfo>,
    /// Who is in it.
    pids: Vec<i32>,
    addresses: Option<Vec<String>>,
    proportional_kib: Option<u64>,
    swapped_kib: Option<u64>,
    read_kib: Option<u64>,
    written_kib: Option<u64>,
}

impl Row {
    fn state(&self) -> &'static str {
        match &self.info {
            Some(info) if info.state != uapi::STATE_ALIVE => "ending",
            _ => "running",
        }
    }

    fn tasks(&self) -> Option<u32> {
        self.info.map(|info| info.tasks)
    }

    fn limit(&self) -> Option<u64> {
        let limit = self.info.map(|info| info.nproc_limit);
        limit.filter(|&limit| limit > 0)
    }

    /// The sum over its processes; `None` when one of them is not known.
    fn total(&self, of: impl Fn(i32) -> Option<u64>) -> Option<u64> {
        self.pids.iter().map(|&pid| of(pid)).sum()
    }
}

/// `-` is what the kernel does not tell, or what is not there.
fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

const TABLE: [Column<Row>; 16] = [
    Column {
        name: "CTX",
        width: 4,
        align: Align::Left,
        help: "number of the context",
        text: |row| row.context.to_string(),
        json: |row| row.context.into(),
    },
    Column {
        name: "PROC",
        width: 4,
        align: Align::Right,
        help: "processes",
        text: |row| row.processes.to_string(),
        json: |row| row.processes.into(),
    },
    Column {
        name: "VSZ",
        width: 6,
        align: Align::Right,
        help: "virtual memory of all of them, kB",
        text: |row| row.virtual_kib.to_string(),
        json: |row| row.virtual_kib.into(),
    },
    Column {
        name: "RSS",
        width: 6,
        align: Align::Right,
        help: "resident memory of all of them, kB",
        text: |row| row.resident_kib.to_string(),
        json: |row| row.resident_kib.into(),
    },
    Column {
        name: "userTIME",
        width: 9,
        align: Align::Right,
        help: "CPU time in user mode of those that live",
        text: |row| duration::human(row.user),
        json: |row| seconds(row.user),
    },
    Column {
        name: "sysTIME",
        width: 9,
        align: Align::Right,
        help: "CPU time in the kernel of those that live",
        text: |row| duration::human(row.system),
        json: |row| seconds(row.system),
    },
    Column {
        name: "UPTIME",
        width: 9,
        align: Align::Right,
        help: "time since the context was made",
        text: |row| duration::human(row.up),
        json: |row| seconds(row.up),
    },
    Column {
        name: "NAME",
        width: 4,
        align: Align::Left,
        help: "name of the vserver",
        text: |row| row.name.clone(),
        json: |row| row.name.clone().into(),
    },
    Column {
        name: "STATE",
        width: 7,
        align: Align::Left,
        help: "running, or ending: nobody can enter it any more",
        text: |row| row.state().to_owned(),
        json: |row| row.state().into(),
    },
    Column {
        name: "TASKS",
        width: 5,
        align: Align::Right,
        help: "threads, zombies counted too, as the kernel counts them for the limit",
        text: |row| text(row.tasks()),
        json: |row| row.tasks().into(),
    },
    Column {
        name: "LIMIT",
        width: 5,
        align: Align::Right,
        help: "how many tasks the context may have, when that is fixed",
        text: |row| text(row.limit()),
        json: |row| row.limit().into(),
    },
    Column {
        name: "ADDRESSES",
        width: 15,
        align: Align::Left,
        help: "what it is confined to; all: it is not",
        text: |row| {
            row.addresses
                .as_ref()
                .map_or_else(|| "all".to_owned(), |all| all.join(","))
        },
        json: |row| row.addresses.clone().into(),
    },
    Column {
        name: "PSS",
        width: 6,
        align: Align::Right,
        help: "resident memory, what is shared counted by shares, kB; takes long",
        text: |row| text(row.proportional_kib),
        json: |row| row.proportional_kib.into(),
    },
    Column {
        name: "SWAP",
        width: 6,
        align: Align::Right,
        help: "memory of all of them that is in swap, kB",
        text: |row| text(row.swapped_kib),
        json: |row| row.swapped_kib.into(),
    },
    Column {
        name: "READ",
        width: 7,
        align: Align::Right,
        help: "what those that live had read from devices, kB",
        text: |row| text(row.read_kib),
        json: |row| row.read_kib.into(),
    },
    Column {
        name: "WRITTEN",
        width: 7,
        align: Align::Right,
        help: "what those that live had written to devices, kB",
        text: |row| text(row.written_kib),
        json: |row| row.written_kib.into(),
    },
];

fn seconds(duration: Duration) -> Value {
    duration.as_secs_f64().into()
}

/// What turns the kernel's units into ours.
#[derive(Clone, Copy, Debug)]
struct Units {
    page_bytes: u64,
    ticks_per_second: u64,
    /// Time since boot.
    now: Duration,
}

impl Units {
    fn of_this_machine() -> anyhow::Result<Self> {
        let ask = |variable| {
            nix::unistd::sysconf(variable)
                .ok()
                .flatten()
                .and_then(|value| u64::try_from(value).ok())
                .filter(|&value| value > 0)
                .with_context(|| format!("the system does not tell {variable:?}"))
        };
        Ok(Self {
            page_bytes: ask(SysconfVar::PAGE_SIZE)?,
            ticks_per_second: ask(SysconfVar::CLK_TCK)?,
            now: nix::time::clock_gettime(ClockId::CLOCK_BOOTTIME)
                .context("cannot read the clock")?
                .into(),
        })
    }

    fn kib(self, pages: u64) -> u64 {
        pages * self.page_bytes / 1024
    }

    fn duration(self, ticks: u64) -> Duration {
        let rest = ticks % self.ticks_per_second;
        Duration::from_secs(ticks / self.ticks_per_second)
            + Duration::from_nanos(rest * 1_000_000_000 / self.ticks_per_second)
    }
}

/// Add up the processes of each context. `made` has the time since boot at which contexts were
/// made; the root server was made at boot, and for others the oldest process must do.
fn sum_up(
    processes: &[Process],
    made: &BTreeMap<i32, Duration>,
    names: &Names,
    units: Units,
) -> Vec<Row> {
    let mut rows: BTreeMap<i32, Row> = BTreeMap::new();
    for process in processes {
        let context = process.context;
        let row = rows.entry(context).or_insert_with(|| Row {
            context,
            name: match context {
                CONTEXT_ROOT => ROOT_NAME.to_owned(),
                context => names.get(context).unwrap_or("").to_owned(),
            },
            ..Row::default()
        });
        let start = match context {
            CONTEXT_ROOT => Duration::ZERO,
            context => made
                .get(&context)
                .copied()
                .unwrap_or_else(|| units.duration(process.usage.start_ticks)),
        };
        row.processes += 1;
        row.pids.push(process.pid);
        row.virtual_kib += units.kib(process.usage.virtual_pages);
        row.resident_kib += units.kib(process.usage.resident_pages);
        row.user += units.duration(process.usage.user_ticks);
        row.system += units.duration(process.usage.system_ticks);
        row.up = row.up.max(units.now.saturating_sub(start));
    }
    rows.into_values().collect()
}

/// What a context is confined to: its process 1, else the one of its processes that has been there longest. The host is
/// confined to nothing, though some of its processes may be.
fn addresses(spectator: &Spectator, row: &Row) -> anyhow::Result<Option<Vec<String>>> {
    if row.context == CONTEXT_ROOT {
        return Ok(None);
    }
    let init = row.info.map_or(0, |info| info.initpid);
    let Some(pid) = Some(init)
        .filter(|&pid| pid > 0)
        .or_else(|| row.pids.first().copied())
    else {
        return Ok(None);
    };
    let list = |root: Ipv4root| root.addresses.iter().map(ToString::to_string).collect();
    Ok(spectator.addresses(pid)?.map(list))
}

impl VserverStat {
    /// The contexts of the vservers that are named.
    fn wanted(&self, names: &Names) -> anyhow::Result<Vec<i32>> {
        let find = |name: &String| {
            names.context(name).with_context(|| {
                format!("there is no running vserver \"{name}\"; see \"vserver list\"")
            })
        };
        self.names.iter().map(find).collect()
    }
}

impl Verb for VserverStat {
    fn run(&self) -> anyhow::Result<u8> {
        let names = Names::load();
        let spectator = Spectator::enter(Device::open()?)?;
        let processes = spectator.processes()?;
        let contexts: BTreeMap<i32, uapi::ContextInfo> = spectator
            .contexts()?
            .into_iter()
            .map(|info| (info.context, info))
            .collect();
        let made = contexts
            .values()
            .filter(|info| info.created_ns > 0)
            .map(|info| (info.context, Duration::from_nanos(info.created_ns)))
            .collect();
        let mut rows = sum_up(&processes, &made, &names, Units::of_this_machine()?);
        if !self.names.is_empty() {
            let wanted = self.wanted(&names)?;
            rows.retain(|row| wanted.contains(&row.context));
        }

        let columns = columns::choose(&TABLE, &USUAL, self.output.columns.as_deref())
            .map_err(anyhow::Error::msg)?;
        let sort = self.sort.as_deref().unwrap_or_default();
        let sort_name = sort.trim_start_matches('-');
        let asked = |name: &str| {
            columns.iter().any(|column| column.name == name) || sort_name.eq_ignore_ascii_case(name)
        };
        for row in &mut rows {
            row.info = contexts
                .get(&row.context)
                .copied()
                .filter(|info| info.context > uapi::CONTEXT_SPECTATOR);
            if asked("ADDRESSES") {
                row.addresses = addresses(&spectator, row)?;
            }
            if asked("PSS") {
                row.proportional_kib = row.total(process::proportional_kib);
            }
            if asked("SWAP") {
                row.swapped_kib = row.total(process::swapped_kib);
            }
            if asked("READ") || asked("WRITTEN") {
                let kib = |bytes: u64| bytes / 1024;
                row.read_kib = row.total(|pid| Some(process::transferred(pid)?.0)).map(kib);
                row.written_kib = row.total(|pid| Some(process::transferred(pid)?.1)).map(kib);
            }
        }
        if !sort.is_empty() {
            columns::sort(&TABLE, sort, &mut rows).map_err(anyhow::Error::msg)?;
        }
        let mut out = io::stdout().lock();
        if self.output.json {
            columns::write_json(&mut out, &columns::to_json("contexts", &columns, &rows))?;
        } else {
            columns::write_text(&mut out, &columns, &rows, !self.output.no_legend)?;
        }
        out.flush()?;
        Ok(exit_codes::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libvserver::process::Usage;

    fn rows() -> Vec<Row> {
        let usage = |start_ticks| Usage {
            user_ticks: 150,
            system_ticks: 7,
            start_ticks,
            virtual_pages: 250,
            resident_pages: 30,
        };
        let process = |pid, context, start| Process {
            pid,
            context,
            usage: usage(start),
        };
        let units = Units {
            page_bytes: 4096,
            ticks_per_second: 100,
            now: Duration::from_secs(7200),
        };
        let made = BTreeMap::from([(49152, Duration::from_secs(7100))]);
        let processes = [
            process(1, 0, 3),
            process(50, 49152, 710_000),
            process(51, 49152, 715_000),
            process(60, 1, 719_000),
        ];
        sum_up(&processes, &made, &Names::default(), units)
    }

    fn text(names: Option<&[String]>) -> String {
        let mut out = Vec::new();
        let columns = columns::choose(&TABLE, &USUAL, names).unwrap();
        columns::write_text(&mut out, &columns, &rows(), true).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_of_2002_with_right_figures() {
        assert_eq!(
            text(None),
            "\
CTX  PROC    VSZ    RSS  userTIME   sysTIME    UPTIME NAME
0       1   1000    120   0m01s50   0m00s07   2h00m00 root server
1       1   1000    120   0m01s50   0m00s07   0m10s00
49152   2   2000    240   0m03s00   0m00s14   1m40s00
"
        );
    }

    #[test]
    fn columns_can_be_chosen() {
        let names = ["proc".to_owned(), "ctx".to_owned()];
        assert_eq!(text(Some(&names)), "PROC CTX\n   1 0\n   1 1\n   2 49152\n");
        assert!(VserverStat::try_parse_from(["vserver-stat", "-o", "CTX,nope"]).is_err());
    }

    #[test]
    fn json_has_plain_numbers() {
        let columns: Vec<_> = TABLE.iter().collect();
        let json = columns::to_json("contexts", &columns, &rows());
        let row = &json["contexts"][2];
        assert_eq!(row["ctx"], 49152);
        assert_eq!(row["rss"], 240);
        assert_eq!(row["usertime"], 3.0);
    }
}
