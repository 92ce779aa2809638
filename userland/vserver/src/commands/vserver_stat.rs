// SPDX-License-Identifier: GPL-2.0

//! `vserver-stat`: what each context uses.

use super::Verb;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::duration;
use crate::exit_codes;
use anyhow::Context;
use clap::Parser;
use libvserver::spectator::Process;
use libvserver::uapi::CONTEXT_ROOT;
use libvserver::Device;
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
    /// Print JSON; times are in seconds
    #[arg(long)]
    json: bool,

    /// Print no heading
    #[arg(long, conflicts_with = "json")]
    no_legend: bool,

    /// Print only these columns, in this order
    #[arg(short, value_name = "COLUMNS", value_delimiter = ',', value_parser = column_name)]
    output: Option<Vec<String>>,
}

fn column_name(name: &str) -> Result<String, String> {
    let names = [name.to_owned()];
    columns::select(&TABLE, Some(&names)).map(|_| name.to_owned())
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
}

const TABLE: [Column<Row>; 8] = [
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
        row.virtual_kib += units.kib(process.usage.virtual_pages);
        row.resident_kib += units.kib(process.usage.resident_pages);
        row.user += units.duration(process.usage.user_ticks);
        row.system += units.duration(process.usage.system_ticks);
        row.up = row.up.max(units.now.saturating_sub(start));
    }
    rows.into_values().collect()
}

impl Verb for VserverStat {
    fn run(&self) -> anyhow::Result<u8> {
        let names = Names::load();
        let spectator = Spectator::enter(Device::open()?)?;
        let processes = spectator.processes()?;
        let made = spectator
            .contexts()?
            .into_iter()
            .filter(|info| info.created_ns > 0)
            .map(|info| (info.context, Duration::from_nanos(info.created_ns)))
            .collect();
        let rows = sum_up(&processes, &made, &names, Units::of_this_machine()?);

        let columns =
            columns::select(&TABLE, self.output.as_deref()).map_err(anyhow::Error::msg)?;
        let mut out = io::stdout().lock();
        if self.json {
            columns::write_json(&mut out, &columns::to_json("contexts", &columns, &rows))?;
        } else {
            columns::write_text(&mut out, &columns, &rows, !self.no_legend)?;
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
        let columns = columns::select(&TABLE, names).unwrap();
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
