// SPDX-License-Identifier: GPL-2.0

//! `make exec`: one command on a booted machine.

use crate::{
    follow::Follow,
    kernel::Lane,
    machine::{self, Boot, Work},
    step,
};
use anyhow::{bail, ensure, Result};
use std::{io, process::ExitCode, time::Duration};

/// The command's output and status are passed on; nothing else is on stdout.
pub fn run(lane: Lane, icount: bool, command: &str) -> Result<ExitCode> {
    ensure!(
        !command.trim().is_empty(),
        "no command: make exec CMD='...'"
    );
    let share = std::env::var("VSERVER_SHARE").is_ok_and(|share| !share.is_empty());
    let work = Work::new()?;
    let stdout = Follow::new(&work.path().join("stdout"), io::stdout());
    let stderr = Follow::new(&work.path().join("stderr"), io::stderr());
    let outcome = machine::boot(
        &Boot {
            lane,
            image: None,
            job: &format!("exec\n{command}\n"),
            icount,
            vservers: None,
            share,
            interactive: false,
            limit: Duration::from_secs(3600),
        },
        work.path(),
        &mut |_| (),
    );
    stdout.finish()?;
    stderr.finish()?;
    let outcome = outcome?;
    for line in &outcome.alarms {
        eprintln!("console: {line}");
    }
    let code = outcome
        .results
        .lines()
        .find_map(|line| line.strip_prefix("exit ")?.parse::<u8>().ok());
    match code {
        Some(code) if outcome.alarms.is_empty() => Ok(ExitCode::from(code)),
        Some(_) => bail!("the kernel complained, see the console lines above"),
        None if outcome.timed_out => bail!("the command did not end within an hour"),
        None => bail!(
            "the guest ended without a status; its console is in {}",
            step::on_host(&outcome.console)
        ),
    }
}
