// SPDX-License-Identifier: GPL-2.0

//! What system calls cost, in instructions. It runs where the machine counts them exactly
//! (`make exec ICOUNT=1 CMD=probe`) and refuses to run elsewhere.

mod bind;
mod clock;
mod crowd;
mod echo;
mod module;
mod rows;
mod site;
mod sys;
mod terminal;
mod tree;

use anyhow::{ensure, Result};
use clap::Parser;
use crowd::{Crowd, Place};
use nix::{
    sys::{
        utsname::uname,
        wait::{waitpid, WaitStatus},
    },
    unistd::Pid,
};
use rows::{Row, Setting, When, ROWS};
use site::Site;
use std::{ffi::OsString, io::Write, net::IpAddr, process::ExitCode};
use vserver_probe::{grouped, Report};

/// What system calls cost, in instructions: minimum, median, 90th percentile, average
#[derive(Debug, Parser)]
#[command(name = "probe", max_term_width = 100)]
struct Cli {
    /// One line of JSON instead of a table
    #[arg(long)]
    json: bool,

    /// Name the rows and measure nothing
    #[arg(long)]
    list: bool,

    /// Let so many contexts be alive meanwhile, with an idle process, an address and port 80 of it each
    #[arg(long, value_name = "N", default_value_t = 0)]
    contexts: usize,

    /// Let so many idle processes without a context be alive meanwhile
    #[arg(long, value_name = "N", default_value_t = 0)]
    processes: usize,

    /// Let so many contexts be alive meanwhile, with an idle process 1 each
    #[arg(long, value_name = "N", default_value_t = 0)]
    inits: usize,

    /// Measure inside a new context
    #[arg(long)]
    inside: bool,

    /// Confine the measuring process to these addresses first
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    addresses: Vec<IpAddr>,

    /// Let the network rows go over two virtual device pairs and a bridge instead of the loopback device
    #[arg(long, conflicts_with_all = ["inside", "addresses"])]
    bridge: bool,

    /// The static program that is executed, and its arguments; one that does nothing when none is named
    #[arg(long, value_name = "WORDS", value_delimiter = ' ')]
    program: Vec<OsString>,

    /// The rows to be measured; when none is named, all but those that bind port 80
    #[arg(value_name = "ROW", value_parser = row_names())]
    rows: Vec<String>,
}

fn row_names() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("probe: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if cli.list {
        let mut out = std::io::stdout().lock();
        for row in ROWS {
            writeln!(out, "{:12} {}", row.name, row.what)?;
        }
        return Ok(());
    }
    let overhead = clock::calibrate()?;
    sys::take_turns()?;
    use_up_short_pids()?;
    let crowds = [
        Crowd::new(cli.processes, Place::Host)?,
        Crowd::new(cli.contexts, Place::Context)?,
        Crowd::new(cli.inits, Place::Init)?,
    ];
    let result = in_child(|| {
        if !cli.addresses.is_empty() {
            module::confine(&cli.addresses)?;
        }
        if cli.inside {
            module::enter_new()?;
        }
        measure(cli, overhead)
    });
    // The last one first: each waits until all is as it was before it.
    for crowd in crowds.into_iter().rev() {
        crowd.end()?;
    }
    result
}

/// The kernel finds a pid up to this one in a step less than those above, and a machine that has just
/// started would give such a pid to the first runs only.
const SHORT_PID: i32 = 4095;

/// Lets every process from here on have a pid that takes as long to be found.
fn use_up_short_pids() -> Result<()> {
    loop {
        let pid = sys::fork()?;
        if pid == 0 {
            sys::exit_now(0);
        }
        waitpid(Pid::from_raw(pid), None)?;
        if pid > SHORT_PID {
            return Ok(());
        }
    }
}

/// Runs something in a child.
fn in_child(run: impl FnOnce() -> Result<()>) -> Result<()> {
    let pid = sys::fork()?;
    if pid == 0 {
        let code = match run() {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("probe: {error:#}");
                1
            }
        };
        sys::exit_now(code);
    }
    let status = waitpid(Pid::from_raw(pid), None)?;
    ensure!(
        matches!(status, WaitStatus::Exited(_, 0)),
        "the measuring process has failed"
    );
    Ok(())
}

fn measure(cli: &Cli, overhead: u64) -> Result<()> {
    let info = module::info();
    let wanted = |row: &&Row| {
        if cli.rows.is_empty() {
            match row.when {
                When::Always => true,
                When::ModuleLoaded => info.is_some(),
                When::Named => false,
            }
        } else {
            cli.rows.iter().any(|name| name == row.name)
        }
    };
    let site = if cli.bridge {
        Site::bridge()?
    } else {
        Site::loopback()
    };
    let setting = Setting {
        overhead,
        program: rows::program(&cli.program)?,
        site,
    };
    let mut rows = Vec::new();
    for row in ROWS.iter().filter(wanted) {
        rows.push(vserver_probe::Row::new(
            row.name,
            row.what,
            row.readings(&setting)?,
        ));
    }
    let report = Report {
        kernel: uname()?.release().to_string_lossy().into_owned(),
        hooks: info.map(|info| info.hooks_attached),
        rows,
    };
    show(cli.json, &report)
}

fn show(json: bool, report: &Report) -> Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
        return Ok(());
    }
    match report.hooks {
        Some(hooks) => writeln!(out, "Linux {}, {hooks} hooks attached", report.kernel)?,
        None => writeln!(out, "Linux {}, module not loaded", report.kernel)?,
    }
    writeln!(
        out,
        "{:>11} {:>11} {:>11} {:>11}  instructions for",
        "minimum", "median", "90 % below", "average"
    )?;
    for row in &report.rows {
        for number in [row.minimum, row.median, row.p90, row.mean] {
            write!(out, "{:>11} ", grouped(number.into()))?;
        }
        writeln!(out, " {}", row.what)?;
    }
    Ok(())
}
