// SPDX-License-Identifier: GPL-2.0

//! `make exec`: one command on a booted machine.

use crate::{
    follow::Follow,
    kernel::Lane,
    machine::{self, Boot, Work},
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
            name: lane.name(),
            image: None,
            disk: None,
            job: &format!("exec\n{command}\n"),
            parameters: "",
            icount,
            vservers: None,
            servers: None,
            inits: None,
            share,
            interactive: false,
            parallel: false,
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
        None => bail!("no status of the command: {}", outcome.ending()),
    }
}

/// The command with its dollar signs written once.
///
/// Our Makefile passes on a command as it is; elsewhere make wants `$$` for a dollar sign. Before a name, a
/// bracket or a special parameter that cannot mean the shell's own pid, so both ways of writing work.
pub fn single_dollars(command: &str) -> String {
    let mut single = String::new();
    let mut rest = command;
    while let Some(start) = rest.find('$') {
        let (text, dollars) = rest.split_at(start);
        let count = dollars.len() - dollars.trim_start_matches('$').len();
        rest = &dollars[count..];
        let parameter =
            rest.starts_with(|next: char| next.is_alphanumeric() || "_{(?!@*#-".contains(next));
        let halved = count % 2 == 0 && (parameter || count > 2);
        single.push_str(text);
        single.push_str(&dollars[..if halved { count / 2 } else { count }]);
    }
    single + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_way_of_writing_a_dollar_sign() {
        for (written, meant) in [
            ("echo $HOME $(id -u) ${x} $?", "echo $HOME $(id -u) ${x} $?"),
            (
                "echo $$HOME $$(id -u) $${x} $$?",
                "echo $HOME $(id -u) ${x} $?",
            ),
            ("echo $$; echo \"$$\" a$", "echo $$; echo \"$$\" a$"),
            ("echo $$$$", "echo $$"),
            ("", ""),
        ] {
            assert_eq!(single_dollars(written), meant);
        }
    }
}
