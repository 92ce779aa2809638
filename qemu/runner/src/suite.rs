// SPDX-License-Identifier: GPL-2.0

//! `make test`: host tests, then the guest suite in every lane; one closing line.

use crate::{
    cache,
    deb::{self, Packages},
    guest,
    kernel::{self, Lane, Purpose},
    log,
    machine::{self, Boot, End, Outcome, Work},
    packages,
    places::Places,
    step, trees,
};
use anyhow::{anyhow, Context, Result};
use clap::ValueEnum;
use std::{
    collections::BTreeSet,
    fmt, fs,
    path::Path,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// So many of the longest tests are listed at the end.
const SLOWEST: usize = 10;

/// What became of some tests.
#[derive(Default)]
pub struct Totals {
    /// Tests that passed.
    pub passed: u32,
    /// Failures, complaints of the kernel included.
    pub failed: u32,
    skipped: u32,
    /// What failed, and what was said of it.
    failures: Vec<String>,
    /// The tests of guests, and whole machines, with the time that each took.
    times: Vec<(Duration, String)>,
    machines: Vec<(Duration, String)>,
    /// QEMU has failed, in a way that says nothing about the tests.
    pub misemulated: bool,
}

impl Totals {
    /// Takes over another's.
    fn add(&mut self, other: Result<Self>) {
        match other {
            Ok(other) => {
                self.passed += other.passed;
                self.failed += other.failed;
                self.skipped += other.skipped;
                self.failures.extend(other.failures);
                self.times.extend(other.times);
                self.machines.extend(other.machines);
                self.misemulated |= other.misemulated;
            }
            Err(error) => {
                let line = format!("a machine: not ok - {error:#}");
                println!("{line}");
                self.failures.push(line);
                self.failed += 1;
            }
        }
    }

    /// What to know at the end: the failures, and what took long.
    pub fn summary(&mut self) {
        for failure in &self.failures {
            println!("{failure}");
        }
        // Their names once more, for readers of the last lines only.
        for failure in self
            .failures
            .iter()
            .filter(|line| line.contains(": not ok "))
        {
            println!("{failure}");
        }
        self.times.sort_unstable_by(|one, other| other.cmp(one));
        if self.times.len() > SLOWEST {
            println!("the {SLOWEST} longest tests:");
            for (time, name) in &self.times[..SLOWEST] {
                println!("  {:>7.1} s  {name}", time.as_secs_f64());
            }
        }
        for (time, name) in &self.machines {
            println!("machine {name}: {} s", time.as_secs());
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// Runs the tests whose name contains `filter` (or one of several, with `|` between them), in all lanes or in one.
pub fn run(filter: &str, lane: Option<Lane>) -> Result<ExitCode> {
    let lanes = match &lane {
        // No lane has them.
        _ if filter.starts_with(packages::PREFIX) => &[],
        Some(lane) => std::slice::from_ref(lane),
        None => Lane::value_variants(),
    };
    let mut totals = Totals::default();
    // They have no lane: whoever names one wants its guest tests alone.
    if lane.is_none() {
        host(filter, &mut totals)?;
    }
    guest::programs()?;
    let debs = match packages::wanted(filter, lane) {
        true => Some((deb::packages()?, deb::upgrade()?)),
        false => None,
    };
    cache::cargo_done()?;
    trees::servers()?;
    trees::inits()?;
    // Side by side: much of a suite is waiting, and the first lane need not wait for the other's kernel.
    let places = Places::of_host();
    let outcomes: Vec<Result<Totals>> = thread::scope(|scope| {
        let mut machines = Vec::new();
        let mut outcomes = Vec::new();
        if let Some((packages, later)) = &debs {
            machines.push(scope.spawn(|| {
                let _place = places.take(PACKAGES_MINUTES);
                of_packages(packages, later)
            }));
        }
        for lane in lanes {
            let prepared = kernel::kernel(*lane, Purpose::Test)
                .and_then(|_| guest::initramfs(*lane, Purpose::Test));
            match prepared {
                Ok(_) => machines.extend(parts(*lane, filter).into_iter().map(|part| {
                    let places = &places;
                    scope.spawn(move || {
                        let _place = places.take(part.minutes);
                        in_guest(*lane, &part, filter)
                    })
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
        totals.add(outcome);
    }
    totals.summary();
    println!("{totals}");
    Ok(if totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A part of a lane's tests, for one machine.
pub struct Part {
    /// What begins its lines.
    pub name: String,
    /// Which tests, as the guest's init reads it.
    pub tests: &'static str,
    /// More of the kernel's parameters.
    pub parameters: &'static str,
    /// Emulated processors run at the same time.
    pub parallel: bool,
    /// After this the machine is stopped.
    pub limit: Duration,
    /// About how long it takes on its own.
    pub minutes: u32,
}

/// About how long the tests of packages take.
const PACKAGES_MINUTES: u32 = 15;

/// More than any machine of `make test` needs.
const LIMIT: Duration = Duration::from_secs(4500);

/// What no machine of a lane runs unless it is asked for, as the guest's init reads it.
pub fn left_out(lane: Lane) -> &'static str {
    match lane {
        Lane::Stock => "more",
        Lane::Patched => "more-with-checks",
    }
}

/// The whole of a lane's tests is shared by several machines: for tests of calls (two where the kernel is slow, as a
/// machine uses one processor of the host), and for programs and systems as Debian packages them. In the kernel with checks every page that the many processes of those map would be noted for
/// the search for leaks, which takes longer than they do; the calls that they make have tests of their own with it.
fn parts(lane: Lane, filter: &str) -> Vec<Part> {
    let part = |of: &str, tests, parameters, minutes| Part {
        name: format!("{}{of}", lane.name()),
        tests,
        parameters,
        parallel: false,
        limit: LIMIT,
        minutes,
    };
    if !filter.is_empty() {
        return vec![part("", "all", "", 0)];
    }
    match lane {
        Lane::Stock => vec![
            part("-calls", "calls", "", 20),
            part("-systems", "systems", "", 12),
        ],
        Lane::Patched => vec![
            part("-calls", "some-calls", "", 30),
            part("-commands", "some-commands", "", 25),
            part("-systems", "some-systems", "kmemleak=off", 10),
        ],
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
        .arg("--")
        .args(filter.split('|'))
        .env("INSTA_WORKSPACE_ROOT", "/cache/source")
        .env("INSTA_UPDATE", "no")
        .env("PROPTEST_FAILURE_PERSISTENCE", "off")
        .output()
        .context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    fs::write(
        log::create("host-tests")?.0,
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

/// When a test may skip.
#[derive(Default)]
struct Skips {
    /// The reasons that it may give.
    reasons: BTreeSet<String>,
    /// A test whose name contains one of these words may not.
    required: Vec<String>,
}

impl Skips {
    fn read() -> Result<Self> {
        let path = "/src/qemu/lanes.toml";
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self::parse(&text))
    }

    /// Of the table: texts are in double quotes, and a list is in one line.
    fn parse(text: &str) -> Self {
        let mut skips = Self::default();
        for line in text.lines() {
            match line.trim().split_once(" = ") {
                Some(("reason", value)) => {
                    skips.reasons.insert(value.trim().trim_matches('"').into());
                }
                Some(("required", value)) => {
                    let texts = value.split('"').skip(1).step_by(2);
                    skips.required.extend(texts.map(str::to_string));
                }
                _ => {}
            }
        }
        skips
    }

    /// Why a test may not skip for this reason, if it may not.
    fn refused(&self, test: &str, reason: &str) -> Option<&'static str> {
        let mut words = test.split([':', '_']);
        if words.any(|word| self.required.iter().any(|one| one == word)) {
            return Some("# the lane table requires this test in every lane:");
        }
        (!self.reasons.contains(reason.trim()))
            .then_some("# this skip's reason is not in the lane table:")
    }
}

/// Reads a lane's KTAP as it comes.
struct Reader<'a> {
    name: &'a str,
    skips: &'a Skips,
    totals: &'a mut Totals,
    began: Instant,
    /// The test that runs, since when.
    running: Option<(Instant, String)>,
    /// What the running test has said.
    said: Vec<String>,
    planned: Option<u32>,
    reported: u32,
    complete: bool,
}

impl<'a> Reader<'a> {
    fn new(name: &'a str, skips: &'a Skips, totals: &'a mut Totals) -> Self {
        Self {
            name,
            skips,
            totals,
            began: Instant::now(),
            running: None,
            said: Vec::new(),
            planned: None,
            reported: 0,
            complete: false,
        }
    }

    fn line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("# running ") {
            self.running = Some((Instant::now(), name.to_string()));
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
        let mut time = String::new();
        if failed || line.starts_with("ok ") {
            let test = match self.running.take() {
                Some((since, name)) => {
                    time = format!(" ({:.1} s)", since.elapsed().as_secs_f64());
                    let named = format!("{}: {name}", self.name);
                    self.totals.times.push((since.elapsed(), named));
                    name
                }
                None => String::new(),
            };
            self.reported += 1;
            match line.split_once("# SKIP ") {
                _ if failed => {
                    self.totals.failed += 1;
                    let said = self.said.drain(..).chain([line.to_string()]);
                    let lane = self.name;
                    let lines = said.map(|line| format!("{lane}: {line}"));
                    self.totals.failures.extend(lines);
                }
                Some((_, reason)) => match self.skips.refused(&test, reason) {
                    None => self.totals.skipped += 1,
                    Some(why) => {
                        println!("{why}");
                        self.totals.failed += 1;
                        let lines = [why.to_string(), format!("{}: not {line}", self.name)];
                        self.totals.failures.extend(lines);
                    }
                },
                None => self.totals.passed += 1,
            }
        }
        println!("{}: {line}{time}", self.name);
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
    let machine = (reader.began.elapsed(), reader.name.to_string());
    reader.totals.machines.push(machine);
    reader.totals.misemulated = matches!(outcome.end, End::Misemulated);
    let trouble = outcome.end.trouble();
    let how = trouble.unwrap_or("the machine powered off");
    if let Some((_, name)) = reader.running.take() {
        reader.fail(&format!("{name}: the guest ended in it: {how}"));
    } else if !reader.complete || reader.planned != Some(reader.reported) {
        reader.fail(&format!("the lane did not report to the end: {how}"));
    } else if let Some(how) = trouble {
        reader.fail(how);
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
    let skips = Skips::default();
    let mut reader = Reader::new("packages", &skips, &mut totals);
    match packages::run(packages, later, &mut |line| reader.line(line)) {
        Ok(outcome) => ended(reader, &outcome),
        Err(error) => reader.fail(&format!("{error:#}")),
    }
    Ok(totals)
}

/// Runs the tests of a part that [`run`] would select, on a machine of their own.
pub fn in_guest(lane: Lane, part: &Part, filter: &str) -> Result<Totals> {
    let mut totals = Totals::default();
    let skips = Skips::read()?;
    let servers = trees::servers()?;
    let inits = trees::inits()?;
    let work = Work::new()?;
    eprintln!("==> guest tests, {} ...", part.name);
    let mut reader = Reader::new(&part.name, &skips, &mut totals);
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
            parallel: part.parallel,
            limit: part.limit,
        },
        work.path(),
        &mut |line| reader.line(line),
    )?;
    ended(reader, &outcome);
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# A comment
required = [\"sctp\", \"tls\"]

[[missing]]
id = \"one\"
reason = \"the kernel has none\"
";

    fn read(lines: &[&str]) -> (Totals, bool) {
        let mut totals = Totals::default();
        let skips = Skips::parse(TABLE);
        let mut reader = Reader::new("stock", &skips, &mut totals);
        for line in lines {
            reader.line(line);
        }
        let complete = reader.complete && reader.planned == Some(reader.reported);
        (totals, complete)
    }

    #[test]
    fn results_and_times() {
        let (totals, complete) = read(&[
            "KTAP version 1",
            "1..3",
            "# running a::one",
            "ok 1 a::one",
            "# running a::two",
            "# it said so",
            "not ok 2 a::two",
            "# running netdev::ioctls",
            "ok 3 netdev::ioctls # SKIP the kernel has none",
            "# end",
        ]);
        assert!(complete);
        assert_eq!(totals.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(
            totals.failures,
            ["stock: # it said so", "stock: not ok 2 a::two"]
        );
        assert_eq!(totals.times.len(), 3);
    }

    #[test]
    fn skips_that_are_refused() {
        for line in [
            "ok 1 inet::sctp_servers # SKIP the kernel has none",
            "ok 1 sockets::tls # SKIP the kernel has none",
            "ok 1 netdev::ioctls # SKIP not today",
        ] {
            let name = line.split(' ').nth(2).unwrap_or_default();
            let (totals, _) = read(&[&format!("# running {name}"), line]);
            assert_eq!(
                totals.to_string(),
                "0 passed, 1 failed, 0 skipped",
                "{line}"
            );
        }
    }
}
