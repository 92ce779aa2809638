// SPDX-License-Identifier: GPL-2.0

//! `make starts`: how long a whole sysvinit takes to start and to stop as a vserver, under systemd-nspawn and under
//! lxc, on one kernel in one boot; and two hundred vservers. Writes `docs/starting.md`. The machine counts instructions
//! exactly, and its clock is that count.

use crate::{
    kernel::Lane,
    machine::{self, Boot, Work},
    trees,
};
use anyhow::{bail, Context, Result};
use std::{fmt::Write as _, fs, process::ExitCode, time::Duration};

const PAGE: &str = "/src/docs/starting.md";
const SCRIPT: &str = "/src/qemu/starts.sh";
const CROWD: &str = "/src/qemu/many.sh";

/// So many rounds are counted.
const ROUNDS: usize = 3;

/// By the script's names, and what the page says of each.
const RIVALS: [(&str, &str); 3] = [
    ("vserver", "`vserver NAME start`, `stop`"),
    ("nspawn", "`systemd-nspawn -b`, `init 0` inside"),
    ("lxc", "`lxc-start -F`, `init 0` inside"),
];

const HEAD: &str = "\
# Starting and stopping a whole system

Made by `make starts`. Debian's sysvinit with nginx, sshd, cron and rsyslog, the same files for all, in the network of the
host, in one boot of the stock lane's kernel, in turns: from the command until the last line of the run level has run, and
from the stop until nobody is left. In seconds of a machine with one processor that takes one nanosecond for every instruction
(QEMU's `-icount`, so that nothing depends on what else the real one does): median and least of 3 rounds. Waits count
too: one second of each stop is a wait in Debian's scripts.

| | start to ready | least | stop to empty | least |
|---|--:|--:|--:|--:|
";

const MANY: &str = "
## Many at once

`vservers start`, `vserver list` and `vservers stop` with so many vservers, each with busybox's init, a cron and a getty, on the
same machine with one processor. Of `list` one call, in milliseconds; it lists all 200, of which so many run.

| running | start, s | for each, s | list, ms | stop, s |
|--:|--:|--:|--:|--:|
";

/// So many at once.
const COUNTS: [u64; 3] = [50, 100, 200];

/// Measures and writes the page.
pub fn run() -> Result<ExitCode> {
    let mut page = HEAD.to_string();
    eprintln!("==> measuring starts and stops (about 6 minutes) ...");
    let said = measure(&format!("set -- {ROUNDS}"), SCRIPT)?;
    for (name, what) in RIVALS {
        let rounds: Vec<[u64; 2]> = said.lines().filter_map(|line| times(line, name)).collect();
        if rounds.len() != ROUNDS {
            bail!("{} of {ROUNDS} rounds of {name}", rounds.len());
        }
        write!(page, "| {what}")?;
        for kind in 0..2 {
            let mut all: Vec<u64> = rounds.iter().map(|round| round[kind]).collect();
            all.sort_unstable();
            write!(
                page,
                " | {} | {}",
                seconds(all[ROUNDS / 2]),
                seconds(all[0])
            )?;
        }
        page += " |\n";
    }
    eprintln!("==> measuring many at once (about 5 minutes) ...");
    page += MANY;
    let said = measure("", CROWD)?;
    for count in COUNTS {
        let of = |what: &str| -> Result<u64> {
            let line = said
                .lines()
                .find_map(|line| times(line, what).filter(|[n, _]| *n == count));
            line.map(|[_, time]| time)
                .with_context(|| format!("no {what} of {count}"))
        };
        let start = of("start")?;
        writeln!(
            page,
            "| {count} | {} | {}.{:03} | {} | {} |",
            seconds(start),
            start / count / 100,
            start * 10 / count % 1000,
            of("list")?,
            seconds(of("stop")?)
        )?;
    }
    fs::write(PAGE, &page).with_context(|| format!("cannot write {PAGE}"))?;
    print!("{page}");
    Ok(ExitCode::SUCCESS)
}

/// What a script prints on a machine of its own, whose clock counts instructions. `before`: what is to be run first.
fn measure(before: &str, script: &str) -> Result<String> {
    let (inits, rivals) = (trees::inits()?, trees::rivals()?);
    let script = fs::read_to_string(script).with_context(|| format!("cannot read {script}"))?;
    let work = Work::new()?;
    let outcome = machine::boot(
        &Boot {
            lane: Lane::Stock,
            name: Lane::Stock.name(),
            image: None,
            disk: None,
            job: &format!("exec\n{before}\n{script}"),
            parameters: "",
            icount: true,
            vservers: None,
            servers: Some(&rivals),
            inits: Some(&inits),
            share: false,
            interactive: false,
            parallel: false,
            limit: Duration::from_secs(3000),
        },
        work.path(),
        &mut |_| (),
    )?;
    let said = fs::read_to_string(&outcome.stdout).unwrap_or_default();
    if !outcome.alarms.is_empty() || !outcome.results.lines().any(|line| line == "exit 0") {
        eprint!("{said}");
        eprint!(
            "{}",
            fs::read_to_string(&outcome.stderr).unwrap_or_default()
        );
        bail!("the measurement failed: {}", outcome.ending());
    }
    Ok(said)
}

/// `NAME START STOP` of that name.
fn times(line: &str, name: &str) -> Option<[u64; 2]> {
    let mut words = line.strip_prefix(name)?.split_ascii_whitespace();
    Some([words.next()?.parse().ok()?, words.next()?.parse().ok()?])
}

/// Of hundredths.
fn seconds(hundredths: u64) -> String {
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_script() {
        assert_eq!(times("lxc 120 45", "lxc"), Some([120, 45]));
        assert_eq!(times("lxc 120", "lxc"), None);
        assert_eq!(times("nspawn 1 2", "lxc"), None);
        assert_eq!(seconds(1205), "12.05");
    }
}
