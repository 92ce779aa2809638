// SPDX-License-Identifier: GPL-2.0

//! The table of `docs/mistakes.md`: each mistake is made, and what is said then is compared with the document itself.
//! A new row needs nothing here, unless it needs more than a line in the configuration.

use crate::{
    filesystem::{mounted, private_mounts},
    fixture::{child, ensure, words, Outcome},
    init::{with_vservers, Vserver, CONFIGURATION, VSERVERS},
    test, Test,
};
use nix::{fcntl::Flock, fcntl::FlockArg, mount::MsFlags};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Command, Stdio},
    time::Instant,
};

pub const TESTS: &[Test] = &[test("mistakes::documented::all", 600, all)];

const DOCUMENT: &str = include_str!("../../../docs/mistakes.md");

/// As many as there are: a row is not lost unseen.
const LEAST: usize = 59;

/// One row.
#[derive(Debug)]
struct Row {
    mistake: &'static str,
    configuration: &'static str,
    command: &'static str,
    code: i32,
    message: &'static str,
}

/// The rows of the document.
fn rows() -> Result<Vec<Row>, String> {
    let table = DOCUMENT.lines().filter(|line| line.starts_with("| "));
    table
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line
                .trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            let [mistake, configuration, command, code, message] = cells[..] else {
                return Err(format!("{line:?} has {} cells", cells.len()));
            };
            let code = code.parse().map_err(|_| format!("{line:?}: no code"))?;
            Ok(Row {
                mistake,
                configuration,
                command,
                code,
                message,
            })
        })
        .collect()
}

/// Whether a text is as the document says; `…` is anything.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut left) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return left.is_empty();
    };
    for part in middle {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last)
}

impl Row {
    fn needs(&self, what: &str) -> bool {
        self.mistake.ends_with(what) || self.configuration.ends_with(what)
    }

    /// Makes the mistake; the code, and the last line that was said.
    fn make(&self) -> Result<String, String> {
        let line: Vec<&str> = self.command.split(' ').collect();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).stdin(Stdio::null());
        if self.needs("[user]") {
            command.uid(1000).gid(1000);
        }
        let _lock = match self.needs("[lock]") {
            false => None,
            true => {
                let file = fs::File::options()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open("/var/run/vservers/off.lock")
                    .map_err(words)?;
                let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
                Some(lock.map_err(|(_, error)| words(error))?)
            }
        };
        let hook = format!("{CONFIGURATION}/off.sh");
        if self.needs("[hook]") {
            fs::write(&hook, "#!/bin/sh\n[ \"$1\" != pre-start ]\n").map_err(words)?;
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).map_err(words)?;
        }
        let ran = if self.needs("[module]") {
            let text = child(|| {
                private_mounts()?;
                mounted(Some("tmpfs"), "/dev", None, MsFlags::empty(), "")?;
                command.stdin(Stdio::inherit());
                told(&mut command)
            });
            text?
        } else {
            told(&mut command)?
        };
        let _ = fs::remove_file(hook);
        Ok(ran)
    }
}

/// The code, and what is said: its errors, or, when there are none, its last line.
fn told(command: &mut Command) -> Result<String, String> {
    let ran = command.output().map_err(words)?;
    let code = ran.status.code().unwrap_or(-1);
    let error = String::from_utf8_lossy(&ran.stderr).into_owned();
    let out = String::from_utf8_lossy(&ran.stdout).into_owned();
    // Wrong usage is explained by more lines; what a line announces is the next one.
    let mut lines = error.lines().filter(|line| !line.trim().is_empty());
    let line = match (lines.next(), lines.next()) {
        (Some(line), Some(next)) if line.ends_with(':') => format!("{line} {}", next.trim()),
        (Some(line), _) => line.to_string(),
        _ => out.lines().last().unwrap_or_default().to_string(),
    };
    Ok(format!("{code} {line}"))
}

fn all() -> Outcome {
    let rows = rows()?;
    ensure(&format!("only {} rows", rows.len()), rows.len() >= LEAST)?;
    with_vservers(|| {
        let web = Vserver::new("web", "busybox", crate::inet::A, "S_CONTEXT=2000")?;
        let off = Vserver::new("off", "busybox", crate::inet::A, "START_TIMEOUT=60")?;
        let conf = format!("{CONFIGURATION}/off.conf");
        let usual = fs::read_to_string(&conf).map_err(words)?;
        fs::write(format!("{CONFIGURATION}/empty.conf"), "ONBOOT=no\n").map_err(words)?;
        web.start(&[])?;
        let private = Command::new("chcontext")
            .args([
                "--ctx",
                "2001",
                "--flag",
                "private",
                "--disconnect",
                "sleep",
                "600",
            ])
            .stdout(Stdio::null())
            .status()
            .map_err(words)?;
        ensure("the private context", private.success())?;
        let mut wrong = Vec::new();
        for row in &rows {
            fs::write(&conf, format!("{usual}{}\n", row.configuration)).map_err(words)?;
            let start = Instant::now();
            let said = row.make().map_err(|error| format!("{row:?}: {error}"))?;
            if !is_like(&said, &format!("{} {}", row.code, row.message)) {
                wrong.push(format!("{} => {said}", row.mistake));
            }
            // The configuration is right again, and nothing has been left by the mistake.
            fs::write(&conf, &usual).map_err(words)?;
            if off.running()? {
                if row.code != 0 {
                    wrong.push(format!("{} has started it", row.mistake));
                }
                off.good(&["stop"])?;
            }
            if start.elapsed().as_secs() > 30 {
                wrong.push(format!("{} took {:?}", row.mistake, start.elapsed()));
            }
        }
        let _ = Command::new("vkill")
            .args(["-s", "KILL"])
            .args(private_pids())
            .status();
        web.stop(&[])?;
        ensure(&format!("\n{}", wrong.join("\n")), wrong.is_empty())?;
        ensure("the place of vservers", fs::metadata(VSERVERS).is_ok())
    })
}

/// Who is in the private context.
fn private_pids() -> Vec<String> {
    let ran = Command::new("vps")
        .args(["--no-legend", "-o", "CTX,PID"])
        .output();
    let text = ran.map(|ran| String::from_utf8_lossy(&ran.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .filter_map(|line| line.trim().strip_prefix("2001 "))
        .map(|pid| pid.trim().to_owned())
        .collect()
}
