// SPDX-License-Identifier: GPL-2.0

//! `make run`: two vservers from a Debian file system on a stock kernel, and a look around.

use crate::{
    cache,
    follow::Follow,
    guest,
    kernel::{self, Lane, Purpose},
    machine::{self, Boot, Work},
    step, terminal, trees,
};
use anyhow::{bail, Result};
use std::{
    fs,
    io::{self, IsTerminal},
    process::{Command, ExitCode},
    time::Duration,
};

/// Long enough for a slow machine without KVM; the tour takes seconds.
const LIMIT: Duration = Duration::from_secs(300);

/// How long somebody may stay in the shell.
const VISIT: Duration = Duration::from_secs(7 * 86400);

/// What the guest's init is to do.
fn job(interactive: bool) -> String {
    if !interactive {
        return "tour\n".to_string();
    }
    let (rows, columns) = terminal::size().unwrap_or((24, 80));
    format!("tour-shell\n{rows} {columns}\n")
}

/// On a terminal it ends with a shell on that machine.
pub fn run() -> Result<ExitCode> {
    guest::programs()?;
    cache::cargo_done()?;
    let debian = trees::debian()?;
    kernel::kernel(Lane::Stock, Purpose::Test)?;
    guest::initramfs(Lane::Stock, Purpose::Test)?;
    let work = Work::new()?;
    let vservers = work.path().join("vservers");
    fs::create_dir_all(&vservers)?;
    for name in ["one", "two"] {
        step::run(
            &format!("vserver {name}: copy of the Debian file system"),
            "copy",
            Command::new("cp")
                .args(["-a", "--reflink=auto"])
                .arg(&debian)
                .arg(vservers.join(name)),
        )?;
    }
    let interactive = io::stdin().is_terminal() && io::stdout().is_terminal();
    eprintln!("==> booting the stock Debian kernel ...");
    let stdout = Follow::new(&work.path().join("stdout"), io::stdout());
    let stderr = Follow::new(&work.path().join("stderr"), io::stderr());
    let outcome = machine::boot(
        &Boot {
            lane: Lane::Stock,
            name: Lane::Stock.name(),
            image: None,
            disk: None,
            job: &job(interactive),
            parameters: "",
            icount: false,
            vservers: Some(&vservers),
            servers: None,
            inits: None,
            share: false,
            interactive,
            parallel: false,
            limit: if interactive { VISIT } else { LIMIT },
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
    // The first status is the tour's; a visitor's shell adds another.
    let tour = outcome
        .results
        .lines()
        .find_map(|line| line.strip_prefix("exit "));
    match tour {
        Some("0") if outcome.alarms.is_empty() => {
            eprintln!("==> all of it was as it should be");
            Ok(ExitCode::SUCCESS)
        }
        Some("0") => bail!("the kernel complained, see the console lines above"),
        Some(_) => bail!("the tour failed: see the lines that begin with !!"),
        None => bail!("the tour did not end: {}", outcome.ending()),
    }
}
