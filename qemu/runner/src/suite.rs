// SPDX-License-Identifier: GPL-2.0

//! `make test`: host tests, then the guest suite in every lane; one closing line.

use crate::{
    cache,
    deb::{self, Packages},
    guest,
    kernel::{self, Lane, Purpose},
    machine::{self, Boot, Outcome, Work},
    packages, step, trees,
};
use anyhow::{anyhow, Context, Result};
use clap::ValueEnum;
use std::{collections::BTreeSet, fs, path::Path, process::ExitCode, thread, time::Duration};

#[derive(Default)]
struct Totals {
    passed: u32,
    failed: u32,
    skipped: u32,
    /// What failed, and what was said of it.
    failures: Vec<String>,
}

/// Runs the tests whose name contains `filter`, in all lanes or in one.
pub fn run(filter: &str, lane: Option<Lane>) -> Result<ExitCode> {
    let lanes = match &lane {
        // No lane has them.
        _ if filter.starts_with(packages::PREFIX) => &[],
        Some(lane) => std::slice::from_ref(lane),
        None => Lane::value_variants(),
    };
    let mut totals = Totals::default();
    host(filter, &mut totals)?;
    guest::programs()?;
    let debs = match packages::wanted(filter, lane) {
        true => Some((deb::packages()?, deb::upgrade()?)),
        false => None,
    };
    cache::cargo_done()?;
    trees::servers()?;
    trees::inits()?;
    // Side by side: much of a suite is waiting, and the first lane need not wait for the other's kernel.
    let outcomes: Vec<Result<Totals>> = thread::scope(|scope| {
        let mut machines = Vec::new();
        let mut outcomes = Vec::new();
        if let Some((packages, later)) = &debs {
            machines.push(scope.spawn(|| of_packages(packages, later)));
        }
        for lane in lanes {
            let prepared = kernel::kernel(*lane, Purpose::Test)
                .and_then(|_| guest::initramfs(*lane, Purpose::Test));
            match prepared {
                Ok(_) => machines.extend(parts(*lane, filter).into_iter().map(|part| {
                    let run = move || in_guest(*lane, &part, filter);
                    scope.spawn(run)
                })),
                Err(error) => outcomes.push(Err(error)),
            }
        }
        outcomes.extend(machines.into_iter().map(|machine| {
            machine
                .join()
                .unwrap_or_else(|_| Err(anyhow!("the thread of a machine panicked")))
        }));
        outcomes
    });
    for outcome in outcomes {
        let lane = outcome?;
        totals.passed += lane.passed;
        totals.failed += lane.failed;
        totals.skipped += lane.skipped;
        totals.failures.extend(lane.failures);
    }
    // Once more at the end, where it is looked for.
    for failure in &totals.failures {
        println!("{failure}");
    }
    // And their names, for who has only the last lines.
    for failure in totals
        .failures
        .iter()
        .filter(|line| line.contains(": not ok "))
    {
        println!("{failure}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        totals.passed, totals.failed, totals.skipped
    );
    Ok(if totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A part of a lane's tests, for one machine.
struct Part {
    /// What begins its lines.
    name: String,
    /// Which tests, as the guest's init reads it.
    tests: &'static str,
    /// More of the kernel's parameters.
    parameters: &'static str,
}

/// The kernel with checks is slow, so the whole of its tests is shared by two machines: one for tests of calls, and
/// one for programs and systems as Debian packages them. Every page that the many processes of those map would be
/// noted for the search for leaks, which takes longer than they do; the calls that they make have tests of their own
/// with it.
fn parts(lane: Lane, filter: &str) -> Vec<Part> {
    let part = |of: &str, tests, parameters| Part {
        name: format!("{}{of}", lane.name()),
        tests,
        parameters,
    };
    match lane {
        Lane::Patched if filter.is_empty() => vec![
            part("-calls", "calls", ""),
            part("-systems", "systems", "kmemleak=off"),
        ],
        _ => vec![part("", "all", "")],
    }
}

/// The number before a word in cargo's `test result:` lines.
fn count(line: &str, word: &str) -> u32 {
    let mut before = "";
    for part in line.split([' ', ';']) {
        if part.starts_with(word) {
            return before.parse().unwrap_or(0);
        }
        before = part;
    }
    0
}

fn host(filter: &str, totals: &mut Totals) -> Result<()> {
    eprintln!("==> host tests ...");
    let output = cache::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"])?
        .args([
            "--exclude",
            "vserver-guest-tests",
            "--exclude",
            "vserver-guest-init",
        ])
        .args(["--", filter])
        .env("INSTA_WORKSPACE_ROOT", "/cache/source")
        .env("INSTA_UPDATE", "no")
        .env("PROPTEST_FAILURE_PERSISTENCE", "off")
        .output()
        .context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    fs::write(
        "/cache/log/host-tests.log",
        [&output.stdout[..], &output.stderr[..]].concat(),
    )?;
    let before = totals.failed;
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        totals.passed += count(line, "passed");
        totals.failed += count(line, "failed");
        totals.skipped += count(line, "ignored");
    }
    if !output.status.success() {
        for line in text.lines().filter(|line| !line.ends_with("... ok")) {
            println!("{line}");
        }
        totals.failures.extend(text.lines().filter_map(|line| {
            let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
            Some(format!("host: not ok {name}"))
        }));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        if totals.failed == before {
            totals.failed += 1;
        }
    }
    Ok(())
}

/// The reasons for which a test may skip.
fn known_reasons() -> Result<BTreeSet<String>> {
    Ok(fs::read_to_string("/src/qemu/lanes.toml")?
        .lines()
        .filter_map(|line| line.trim().strip_prefix("reason = "))
        .map(|text| text.trim().trim_matches('"').to_string())
        .collect())
}

/// Reads a lane's KTAP as it comes.
struct Reader<'a> {
    name: &'a str,
    reasons: &'a BTreeSet<String>,
    totals: &'a mut Totals,
    running: Option<String>,
    /// What the running test has said.
    said: Vec<String>,
    planned: Option<u32>,
    reported: u32,
    complete: bool,
}

impl<'a> Reader<'a> {
    fn new(name: &'a str, reasons: &'a BTreeSet<String>, totals: &'a mut Totals) -> Self {
        Self {
            name,
            reasons,
            totals,
            running: None,
            said: Vec::new(),
            planned: None,
            reported: 0,
            complete: false,
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("# running ") {
            self.running = Some(name.to_string());
            self.said.clear();
            return;
        }
        if let Some(plan) = line.strip_prefix("1..") {
            self.planned = plan.parse().ok();
        }
        if line.starts_with("# ") && self.running.is_some() {
            self.said.push(line.to_string());
        }
        self.complete |= line == "# end";
        let failed = line.starts_with("not ok ");
        if failed || line.starts_with("ok ") {
            self.running = None;
            self.reported += 1;
            match line.split_once("# SKIP ") {
                _ if failed => {
                    self.totals.failed += 1;
                    let said = self.said.drain(..).chain([line.to_string()]);
                    let lane = self.name;
                    let lines = said.map(|line| format!("{lane}: {line}"));
                    self.totals.failures.extend(lines);
                }
                Some((_, reason)) if self.reasons.contains(reason.trim()) => {
                    self.totals.skipped += 1;
                }
                Some(_) => {
                    let why = "# this skip's reason is not in the lane table:";
                    println!("{why}");
                    self.totals.failed += 1;
                    let lines = [why.to_string(), format!("{}: {line}", self.name)];
                    self.totals.failures.extend(lines);
                }
                None => self.totals.passed += 1,
            }
        }
        println!("{}: {line}", self.name);
    }

    fn fail(&mut self, why: &str) {
        let line = format!("{}: not ok - {why}", self.name);
        println!("{line}");
        self.totals.failures.push(line);
        self.totals.failed += 1;
    }
}

/// What a machine has left, after its last line.
fn ended(mut reader: Reader<'_>, outcome: &Outcome) {
    if let Some(name) = reader.running.take() {
        reader.fail(&format!("{name}: the guest died or hung in it"));
    } else if !reader.complete || reader.planned != Some(reader.reported) {
        reader.fail(if outcome.timed_out {
            "the lane did not report to the end: time limit of the whole boot"
        } else {
            "the lane did not report to the end"
        });
    }
    if !outcome.alarms.is_empty() {
        reader.fail("the kernel complained on the console:");
        for line in &outcome.alarms {
            println!("    {line}");
        }
        let alarms = outcome.alarms.iter().map(|line| format!("    {line}"));
        reader.totals.failures.extend(alarms);
    }
    eprintln!("    console: {}", step::on_host(&outcome.console));
}

fn of_packages(packages: &Packages, later: &Path) -> Result<Totals> {
    let mut totals = Totals::default();
    let reasons = BTreeSet::new();
    let mut reader = Reader::new("packages", &reasons, &mut totals);
    match packages::run(packages, later, &mut |line| reader.line(line)) {
        Ok(outcome) => ended(reader, &outcome),
        Err(error) => reader.fail(&format!("{error:#}")),
    }
    Ok(totals)
}

fn in_guest(lane: Lane, part: &Part, filter: &str) -> Result<Totals> {
    let mut totals = Totals::default();
    let reasons = known_reasons()?;
    let servers = trees::servers()?;
    let inits = trees::inits()?;
    let work = Work::new()?;
    eprintln!("==> guest tests, {} ...", part.name);
    let mut reader = Reader::new(&part.name, &reasons, &mut totals);
    let outcome = machine::boot(
        &Boot {
            lane,
            name: &part.name,
            image: None,
            disk: None,
            job: &format!("test\n{filter}\n{}\n", part.tests),
            parameters: part.parameters,
            icount: false,
            vservers: None,
            servers: Some(&servers),
            inits: Some(&inits),
            share: false,
            interactive: false,
            limit: Duration::from_secs(3900),
        },
        work.path(),
        &mut |line| reader.line(line),
    )?;
    ended(reader, &outcome);
    Ok(totals)
}
