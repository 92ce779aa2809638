// SPDX-License-Identifier: GPL-2.0

//! `make bench`: the probe (`qemu/probe`) in every lane and situation, under exact instruction
//! counting; writes `docs/benchmarks.md`.

mod page;

use crate::{
    kernel::{self, Lane, Purpose},
    machine::{self, Boot, Work},
};
use anyhow::{bail, Context, Result};
use clap::ValueEnum;
use std::{
    fs,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};
use vserver_probe::Report;

const PAGE: &str = "/src/docs/benchmarks.md";

/// What a lane's boot does, in this order; each probe writes one line. `set -e` is in force.
const JOB: [(Option<Situation>, &str); 21] = [
    (Some(Situation::Absent), "probe --json"),
    (Some(Situation::AbsentAgain), "probe --json"),
    (Some(Situation::Crowd), "probe --json --processes 1000"),
    (None, "insmod /lib/vserver.ko"),
    (Some(Situation::Loaded), "probe --json"),
    (Some(Situation::Contexts), "probe --json --contexts 1000"),
    (Some(Situation::Inside), "probe --json --inside"),
    (Some(Situation::Tenth), "probe --json --contexts 9 enter"),
    (
        Some(Situation::TwoThousandth),
        "probe --json --contexts 1999 enter",
    ),
    (
        Some(Situation::WithInit),
        "probe --json --inits 1 getpid getppid getpgrp wait4 kill kill-child fork",
    ),
    // The hooks for it are detached some seconds after its end.
    (None, "sleep 20"),
    (
        Some(Situation::AfterInit),
        "probe --json getpid getppid getpgrp wait4 kill kill-child fork",
    ),
    // A context is counted out shortly before it lets go of the module.
    (None, "sleep 1; rmmod vserver"),
    (Some(Situation::Unloaded), "probe --json"),
    (Some(Situation::Ports), "probe --json bind-udp bind-tcp"),
    // From here on the machine is not what it was.
    (
        None,
        "insmod /lib/vserver.ko; ip address add 10.90.0.1/32 dev lo",
    ),
    (
        Some(Situation::Host),
        "probe --json udp tcp tcp-connect tcp-stream bind-udp bind-tcp",
    ),
    (
        Some(Situation::Confined),
        "probe --json --addresses 10.90.0.1 --inside udp tcp tcp-connect tcp-stream bind-udp bind-tcp",
    ),
    (
        Some(Situation::Thousandth),
        "probe --json --contexts 999 --addresses 10.90.0.1 --inside bind-udp bind-tcp",
    ),
    (None, "sleep 1; rmmod vserver"),
    (
        Some(Situation::Bridged),
        "probe --json --bridge udp tcp tcp-connect tcp-stream",
    ),
];

/// What the machine is like while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Situation {
    /// The module has never been loaded.
    Absent,
    /// The same once more: how exact is it?
    AbsentAgain,
    /// The same with 1,000 idle processes: what `Contexts` is compared with.
    Crowd,
    /// No context is alive.
    Loaded,
    /// 1,000 contexts are alive with a process each; measured in context 0.
    Contexts,
    /// In the only context.
    Inside,
    /// Nine contexts are alive.
    Tenth,
    /// 1,999 contexts are alive.
    TwoThousandth,
    /// A process 1 of a context lives; measured in context 0.
    WithInit,
    /// It has ended, and what it needed is detached.
    AfterInit,
    /// The module has been removed.
    Unloaded,
    /// The same, for the rows that need a port that contexts would have.
    Ports,
    /// As `Loaded`, with the address of `Confined` on the loopback device: what that is compared with.
    Host,
    /// In the only context, confined to that address.
    Confined,
    /// The same, and 999 contexts are alive with an address each.
    Thousandth,
    /// Without the module, between two network namespaces.
    Bridged,
}

/// All reports of a lane.
struct Measured {
    lane: Lane,
    module: Module,
    reports: Vec<(Situation, Report)>,
}

/// The module itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Module {
    /// Bytes of code and of what is only read.
    text: u64,
    /// Bytes of data, with what begins as zeroes.
    data: u64,
    /// How long its build takes.
    seconds: u64,
}

impl Module {
    /// Built anew, to see how long that takes.
    fn of(lane: Lane) -> Result<Self> {
        let work = Work::new()?;
        let start = Instant::now();
        let file = kernel::module_anew(lane, Purpose::Measure, work.path())?;
        let seconds = start.elapsed().as_secs();
        let output = Command::new("size")
            .arg(&file)
            .output()
            .context("cannot start size")?;
        let (text, data) =
            sizes(&String::from_utf8_lossy(&output.stdout)).context("size says something else")?;
        Ok(Self {
            text,
            data,
            seconds,
        })
    }
}

/// Text, and data with bss, of what size(1) says about one file.
fn sizes(said: &str) -> Option<(u64, u64)> {
    let mut numbers = said.lines().nth(1)?.split_whitespace().map(str::parse);
    let mut next = || numbers.next()?.ok();
    let (text, data, bss): (u64, u64, u64) = (next()?, next()?, next()?);
    Some((text, data + bss))
}

impl Measured {
    fn report(&self, situation: Situation) -> Result<&Report> {
        self.reports
            .iter()
            .find_map(|(found, report)| (*found == situation).then_some(report))
            .with_context(|| format!("{situation:?} was not measured"))
    }

    /// The median of a row.
    fn median(&self, situation: Situation, row: &str) -> Result<u64> {
        self.report(situation)?
            .rows
            .iter()
            .find_map(|found| (found.name == row).then_some(found.median))
            .with_context(|| format!("{row} was not measured in {situation:?}"))
    }
}

/// Measures and writes the page; with a lane named, measures that one and only prints.
pub fn run(only: Option<Lane>) -> Result<ExitCode> {
    let lanes: Vec<Lane> = match only {
        Some(lane) => vec![lane],
        None => Lane::value_variants().to_vec(),
    };
    let mut measured = Vec::new();
    for lane in lanes {
        measured.push(measure(lane)?);
    }
    let (page, missed) = page::page(&measured)?;
    if only.is_some() {
        print!("{page}");
    } else {
        fs::create_dir_all("/src/docs")?;
        fs::write(PAGE, page).with_context(|| format!("cannot write {PAGE}"))?;
        println!("docs/benchmarks.md is written");
    }
    if missed > 0 {
        eprintln!("==> {missed} targets are missed, see the page");
    }
    Ok(ExitCode::SUCCESS)
}

/// Boots a lane, with the kernel that is for measuring, and reads what the probe says.
fn measure(lane: Lane) -> Result<Measured> {
    let work = Work::new()?;
    let module = Module::of(lane)?;
    let script: Vec<&str> = ["set -e"]
        .into_iter()
        .chain(JOB.iter().map(|(_, command)| *command))
        .collect();
    eprintln!("==> measuring, {} lane (about 7 minutes) ...", lane.name());
    let outcome = machine::boot(
        &Boot {
            lane,
            name: lane.name(),
            image: None,
            disk: None,
            job: &format!("bare\n{}\n", script.join("\n")),
            parameters: "",
            icount: true,
            vservers: None,
            servers: None,
            inits: None,
            share: false,
            interactive: false,
            parallel: false,
            limit: Duration::from_secs(1800),
        },
        work.path(),
        &mut |_| (),
    )?;
    if !outcome.alarms.is_empty() {
        for line in &outcome.alarms {
            eprintln!("console: {line}");
        }
        bail!("the kernel complained: {}", outcome.ending());
    }
    if !outcome.results.lines().any(|line| line == "exit 0") {
        eprint!("{}", read(&outcome.stderr));
        bail!("the measurement failed: {}", outcome.ending());
    }
    let said = read(&outcome.stdout);
    let situations: Vec<Situation> = JOB.iter().filter_map(|(situation, _)| *situation).collect();
    if said.lines().count() != situations.len() {
        bail!(
            "{} reports of {}: {}",
            said.lines().count(),
            situations.len(),
            outcome.ending()
        );
    }
    let reports = situations
        .into_iter()
        .zip(said.lines())
        .map(|(situation, line)| Ok((situation, serde_json::from_str(line)?)))
        .collect::<Result<_>>()
        .context("the probe's report cannot be read")?;
    Ok(Measured {
        lane,
        module,
        reports,
    })
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_of_a_module() {
        let said = "   text\t   data\t    bss\t    dec\t    hex\tfilename\n  61234\t   1200\t 131072\t 193506\t  2f3e2\tx.ko\n";
        assert_eq!(super::sizes(said), Some((61234, 132272)));
        assert_eq!(super::sizes("size: no such file\n"), None);
    }
}
