// SPDX-License-Identifier: GPL-2.0

//! Long steps: say what is done and how long it took, keep the whole output in a log.

use crate::log;
use anyhow::{bail, Context, Result};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

/// A path below the cache or the checkout as the user's machine knows it.
pub fn on_host(path: &Path) -> String {
    let cache = std::env::var("VSERVER_HOST_CACHE").unwrap_or_else(|_| "/cache".into());
    match path.strip_prefix("/cache") {
        Ok(rest) => format!("{cache}/{}", rest.display()),
        Err(_) => path.display().to_string(),
    }
}

/// The time as "2026-11-30T02:15:03Z".
pub fn now() -> Result<String> {
    let output = Command::new("date")
        .args(["-u", "+%FT%TZ"])
        .output()
        .context("cannot start date")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// Runs a command, its output in a log; on failure the log's end is shown and its path named.
pub fn run(what: &str, log_name: &str, command: &mut Command) -> Result<()> {
    let (log, file) = log::create(log_name)?;
    eprintln!("==> {what} ...");
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("cannot start {:?}", command.get_program()))?;
    if !status.success() {
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        for line in &lines[lines.len().saturating_sub(40)..] {
            eprintln!("    {line}");
        }
        bail!(
            "{what} failed ({status}); the whole output is in {}",
            on_host(&log)
        );
    }
    eprintln!("    {what}: done ({} s)", start.elapsed().as_secs());
    Ok(())
}

/// Runs a shell script (`set -e`) in a folder.
pub fn shell(what: &str, log_name: &str, folder: &Path, script: &str) -> Result<()> {
    run(
        what,
        log_name,
        Command::new("bash")
            .arg("-ec")
            .arg(script)
            .current_dir(folder),
    )
}
