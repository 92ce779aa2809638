// SPDX-License-Identifier: GPL-2.0

//! `make test-long`: tests that take too long for every change, in parts of at most an hour. A part runs once per
//! lane; the last result of each is kept in the cache. What has passed for the present sources is not run again.

use crate::{
    cache::{self, Key},
    guest,
    kernel::{self, Lane, Purpose},
    patches, step, suite,
};
use anyhow::{ensure, Context, Result};
use serde_json::{json, Value};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

const RESULTS: &str = "/cache/long";

/// No part may take longer.
const LIMIT: Duration = Duration::from_secs(3600);

/// So often a part is tried when QEMU itself fails.
const ATTEMPTS: usize = 3;

/// A part.
#[derive(Debug)]
struct Part {
    name: &'static str,
    what: &'static str,
    job: Job,
}

#[derive(Debug)]
enum Job {
    /// Guest tests whose name contains the filter, in each lane.
    Guest {
        tests: Tests,
        filter: &'static str,
        parameters: &'static str,
        parallel: bool,
    },
    /// As `make steps`.
    Steps,
    /// As `make test LANE=stock`, with each of [`KERNELS`].
    Kernels,
}

/// Debian's kernels beside the one of `make test`: the series, of which the newest is taken, and the flavour.
const KERNELS: [(&str, &str); 3] = [("7.2", "cloud-amd64"), ("7.3", "amd64"), ("7.2", "amd64")];

/// From which tests a part's are.
#[derive(Debug)]
enum Tests {
    All,
    /// What `make test` leaves out in the lane.
    LeftOut,
}

/// Every freed object is poisoned and every one has red zones; where the kernel has KFENCE, it watches some.
const POISON: &str = "slab_debug=FZPU kfence.sample_interval=50";

/// What is left out, in two parts: in a kernel with checks, one would take more than an hour.
const SYSTEMS: &str = "init::|programs::";
const COMMANDS: &str =
    "first_hour::|inet::|manager::|mistakes::|planted::|quotas::|scale::|trees::";

const PARTS: [Part; 9] = [
    Part {
        name: "more",
        what: "programs and systems that `make test` leaves out",
        job: Job::Guest {
            tests: Tests::LeftOut,
            filter: SYSTEMS,
            parameters: "kmemleak=off",
            parallel: false,
        },
    },
    Part {
        name: "commands",
        what: "commands and great numbers of contexts that `make test` leaves out",
        job: Job::Guest {
            tests: Tests::LeftOut,
            filter: COMMANDS,
            parameters: "kmemleak=off",
            parallel: false,
        },
    },
    Part {
        name: "sockets",
        what: "sockets whose operations are replaced: random calls, and rmmod, with poisoned memory",
        job: Job::Guest {
            tests: Tests::All,
            filter: "long::sockets",
            parameters: POISON,
            parallel: false,
        },
    },
    Part {
        name: "ports",
        what: "who may have a port: all pairs, and two binds at once, with poisoned memory",
        job: Job::Guest {
            tests: Tests::All,
            filter: "long::conflicts",
            parameters: POISON,
            parallel: false,
        },
    },
    Part {
        name: "load",
        what: "loads and unloads under load, with poisoned memory",
        job: Job::Guest {
            tests: Tests::All,
            filter: "load::",
            parameters: POISON,
            parallel: false,
        },
    },
    Part {
        name: "soak",
        what: "whole systems and processes 1, a thousand times",
        job: Job::Guest {
            tests: Tests::All,
            filter: "soak::",
            // Their many processes would take the search for leaks hours: see `suite::parts`.
            parameters: "kmemleak=off",
            parallel: false,
        },
    },
    Part {
        name: "smp",
        what: "tests of races, on processors that run at the same time",
        job: Job::Guest {
            tests: Tests::All,
            filter: "race|come_and_go|at_once|storm|who_enters|fork_bomb|fakeinit::cycles|random_|limits::",
            parameters: "",
            parallel: true,
        },
    },
    Part {
        name: "steps",
        what: "the kernel after each patch, and with their option off",
        job: Job::Steps,
    },
    Part {
        name: "kernels",
        what: "the suite of the stock lane with Debian's other kernels",
        job: Job::Kernels,
    },
];

/// One part in one lane, or without a lane, or with one of [`KERNELS`].
struct Piece {
    part: &'static Part,
    lane: Option<Lane>,
    kernel: Option<(&'static str, &'static str)>,
}

/// The last result of a piece.
struct Last {
    key: String,
    passed: bool,
    date: String,
    seconds: u64,
    summary: String,
}

impl Piece {
    fn name(&self) -> String {
        match self.variant() {
            variant if variant.is_empty() => self.part.name.to_string(),
            variant => format!("{}-{variant}", self.part.name),
        }
    }

    /// Its lane or its kernel, if it has one.
    fn variant(&self) -> String {
        match (self.lane, self.kernel) {
            (Some(lane), _) => lane.name().to_string(),
            (None, Some((series, flavour))) => format!("{series}-{flavour}"),
            (None, None) => String::new(),
        }
    }

    fn file(&self) -> PathBuf {
        Path::new(RESULTS).join(format!("{}.json", self.name()))
    }

    /// What its result depends on.
    fn key(&self) -> Result<String> {
        let folders: &[&str] = match self.part.job {
            Job::Guest { .. } | Job::Kernels => &[
                "Cargo.lock",
                "Cargo.toml",
                "kmod",
                "patches",
                "qemu/init",
                "qemu/kernel",
                "qemu/kernel-version",
                "qemu/lanes.toml",
                "qemu/probe",
                "qemu/root.packages",
                "qemu/tests",
                "userland",
            ],
            Job::Steps => &[
                "patches",
                "qemu/kernel",
                "qemu/kernel-version",
                "qemu/root.packages",
            ],
        };
        let mut key = Key::new(&self.name()).text(&format!("{:?}", self.part.job));
        for folder in folders {
            key = key.tree(&Path::new("/src").join(folder))?;
        }
        Ok(key.hex())
    }

    fn last(&self) -> Option<Last> {
        Last::parse(&fs::read_to_string(self.file()).ok()?)
    }

    /// Whether it has passed for the present sources.
    fn is_done(&self) -> Result<bool> {
        let key = self.key()?;
        Ok(self
            .last()
            .is_some_and(|last| last.passed && last.key == key))
    }

    /// Runs it and keeps the result.
    fn run(&self) -> Result<bool> {
        let key = self.key()?;
        let start = Instant::now();
        let (passed, summary) = match self.work() {
            Ok(result) => result,
            Err(error) => {
                println!("{}: not ok - {error:#}", self.name());
                (false, format!("{error:#}"))
            }
        };
        let last = Last {
            key,
            passed,
            date: step::now()?,
            seconds: start.elapsed().as_secs(),
            summary,
        };
        fs::create_dir_all(RESULTS)?;
        let new = self.file().with_extension("new");
        fs::write(&new, last.text()).with_context(|| format!("cannot write {}", new.display()))?;
        fs::rename(new, self.file())?;
        Ok(passed)
    }

    /// Whether it passed, and in words.
    fn work(&self) -> Result<(bool, String)> {
        match (&self.part.job, self.lane) {
            (
                Job::Guest {
                    tests,
                    filter,
                    parameters,
                    parallel,
                },
                Some(lane),
            ) => {
                let part = suite::Part {
                    name: self.name(),
                    tests: match tests {
                        Tests::All => "all",
                        Tests::LeftOut => suite::left_out(lane),
                    },
                    parameters,
                    parallel: *parallel,
                    limit: LIMIT,
                    minutes: 0,
                };
                let mut totals = suite::in_guest(lane, &part, filter)?;
                for _ in 1..ATTEMPTS {
                    if totals.misemulated {
                        eprintln!("==> {}: once more, as QEMU has failed ...", self.name());
                        totals = suite::in_guest(lane, &part, filter)?;
                    }
                }
                totals.summary();
                Ok((totals.failed == 0 && totals.passed > 0, totals.to_string()))
            }
            _ => match self.kernel {
                Some((series, flavour)) => with_kernel(series, flavour),
                None => {
                    let code = patches::steps()?;
                    Ok((code == ExitCode::SUCCESS, String::new()))
                }
            },
        }
    }
}

/// Runs the suite of the stock lane with another kernel of Debian: in a process of its own, as which kernel that is
/// holds for the whole of one.
fn with_kernel(series: &str, flavour: &str) -> Result<(bool, String)> {
    eprintln!("==> {series}, {flavour} ...");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["test", "--lane", "stock"])
        .env("KERNEL_VERSION", series)
        .env("KERNEL_FLAVOUR", flavour)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the runner once more")?;
    let mut last = String::new();
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|out| BufReader::new(out).lines())
    {
        last = line?;
        println!("{last}");
    }
    Ok((child.wait()?.success(), last))
}

impl Last {
    fn text(&self) -> String {
        json!({
            "key": self.key,
            "passed": self.passed,
            "date": self.date,
            "seconds": self.seconds,
            "summary": self.summary,
        })
        .to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_string());
        Some(Self {
            key: text("key")?,
            passed: value.get("passed")?.as_bool()?,
            date: text("date")?,
            seconds: value.get("seconds")?.as_u64()?,
            summary: text("summary")?,
        })
    }

    /// In a word: a result for other sources is out of date.
    fn state(&self, key: &str) -> &'static str {
        match (self.passed, self.key == key) {
            (true, true) => "passed",
            (false, true) => "failed",
            (true, false) => "passed, outdated",
            (false, false) => "failed, outdated",
        }
    }
}

/// The pieces of the parts that `names` lists ("" is all), in one lane or in each.
fn pieces(names: &str, lane: Option<Lane>) -> Result<Vec<Piece>> {
    let names: Vec<&str> = names
        .split([',', ' '])
        .filter(|name| !name.is_empty())
        .collect();
    for name in &names {
        let known = PARTS.map(|part| part.name).join(", ");
        ensure!(
            PARTS.iter().any(|part| part.name == *name),
            "no part is named {name:?}: there are {known}; PART=list prints their results"
        );
    }
    let mut pieces = Vec::new();
    for part in &PARTS {
        if !names.is_empty() && !names.contains(&part.name) {
            continue;
        }
        match part.job {
            Job::Guest { .. } => {
                let lanes = [Lane::Stock, Lane::Patched].into_iter();
                let lanes = lanes.filter(|one| lane.is_none_or(|lane| lane == *one));
                pieces.extend(lanes.map(|lane| Piece {
                    part,
                    lane: Some(lane),
                    kernel: None,
                }));
            }
            Job::Steps => pieces.push(Piece {
                part,
                lane: None,
                kernel: None,
            }),
            Job::Kernels if lane == Some(Lane::Patched) => {}
            Job::Kernels => pieces.extend(KERNELS.map(|kernel| Piece {
                part,
                lane: None,
                kernel: Some(kernel),
            })),
        }
    }
    Ok(pieces)
}

/// Runs the parts that have no result for the present sources, or with `force` all that are named.
pub fn run(names: &str, lane: Option<Lane>, force: bool) -> Result<ExitCode> {
    if names == "list" {
        table(&pieces("", lane)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let selected = pieces(names, lane)?;
    for part in &PARTS {
        let mut due = Vec::new();
        for piece in selected.iter().filter(|piece| piece.part.name == part.name) {
            if force || !piece.is_done()? {
                due.push(piece);
            }
        }
        if !due.is_empty() {
            eprintln!("==> {}: {} ...", part.name, part.what);
            match part.job {
                // Each is several machines already.
                Job::Kernels => due.chunks(1).try_for_each(run_part)?,
                _ => run_part(&due)?,
            }
        }
    }
    table(&selected)?;
    let mut done = true;
    for piece in &selected {
        done &= piece.is_done()?;
    }
    Ok(if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the pieces of a part side by side. Each keeps its result when it ends, whatever becomes of the others.
fn run_part(pieces: &[&Piece]) -> Result<()> {
    guest::programs()?;
    cache::cargo_done()?;
    for lane in pieces.iter().filter_map(|piece| piece.lane) {
        kernel::kernel(lane, Purpose::Test)?;
        guest::initramfs(lane, Purpose::Test)?;
    }
    thread::scope(|scope| {
        let runs: Vec<_> = pieces
            .iter()
            .map(|piece| scope.spawn(|| piece.run()))
            .collect();
        for run in runs {
            run.join()
                .map_err(|_| anyhow::anyhow!("the thread of a part panicked"))??;
        }
        Ok(())
    })
}

fn table(pieces: &[Piece]) -> Result<()> {
    println!(
        "{:<7} {:<15} {:<17} {:<20} {:>7}  SUMMARY",
        "PART", "LANE OR KERNEL", "RESULT", "DATE", "TIME"
    );
    for piece in pieces {
        let variant = piece.variant();
        let key = piece.key()?;
        let name = piece.part.name;
        match piece.last() {
            Some(last) => println!(
                "{name:<7} {variant:<15} {:<17} {:<20} {:>3} min  {}",
                last.state(&key),
                last.date,
                last.seconds.div_ceil(60),
                last.summary
            ),
            None => println!("{name:<7} {variant:<15} never run"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_kept() {
        let last = Last {
            key: "0123".to_string(),
            passed: true,
            date: "2026-11-30T02:15:03Z".to_string(),
            seconds: 90,
            summary: "3 passed, 0 failed, 0 skipped".to_string(),
        };
        let read = Last::parse(&last.text()).expect("what was written");
        assert_eq!(read.text(), last.text());
        assert_eq!(read.state("0123"), "passed");
        assert_eq!(read.state("4567"), "passed, outdated");
        assert!(Last::parse("{\"key\":\"0123\"}").is_none());
        assert!(Last::parse("{\"key\":").is_none());
    }

    #[test]
    fn parts_and_lanes() {
        let names = |names, lane| -> Vec<String> {
            let pieces = pieces(names, lane).expect("known names");
            pieces.iter().map(Piece::name).collect()
        };
        // All in each lane, but the steps and the other kernels.
        assert_eq!(
            names("", None).len(),
            2 * (PARTS.len() - 2) + 1 + KERNELS.len()
        );
        assert_eq!(names("kernels", Some(Lane::Patched)), [""; 0]);
        assert_eq!(names("kernels", None)[0], "kernels-7.2-cloud-amd64");
        assert_eq!(names("load", None), ["load-stock", "load-patched"]);
        assert_eq!(
            names("load, steps", Some(Lane::Patched)),
            ["load-patched", "steps"]
        );
        assert!(pieces("lode", None).is_err());
    }
}
