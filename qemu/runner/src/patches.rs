// SPDX-License-Identifier: GPL-2.0

//! Checks of `patches/`: complete, small, clean for `patch` and for the kernel's checkpatch; and,
//! apart because it takes long, that the kernel builds after each of them.

use crate::{
    kernel::{self, Lane},
    machine::{self, Boot, Work},
};
use anyhow::{bail, ensure, Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

/// The whole series stays below both, or nobody will carry it along.
const ADDED_LINES: usize = 650;
const FILES: usize = 24;

const FOLDER: &str = "/src/patches";

/// Runs all of them.
pub fn check() -> Result<()> {
    eprintln!("==> patches ...");
    let names = kernel::patches()?;
    for entry in fs::read_dir(FOLDER)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(
            name == "series" || names.contains(&name),
            "patches/{name} is not in patches/series"
        );
    }
    let patches = names
        .iter()
        .map(|name| {
            let text = fs::read_to_string(Path::new(FOLDER).join(name))
                .with_context(|| format!("patches/{name}, which patches/series names"))?;
            Ok((name.as_str(), text))
        })
        .collect::<Result<Vec<_>>>()?;
    let files = size(&patches)?;
    let source = kernel::source()?;
    apply(&patches, &files, &source)?;
    for (name, _) in &patches {
        checkpatch(name, &source)?;
    }
    Ok(())
}

/// `make steps`: builds after each patch; the last kernel, with the option off, also boots.
pub fn steps() -> Result<ExitCode> {
    let image = kernel::steps()?;
    eprintln!("==> booting the patched kernel with its option off ...");
    let work = Work::new()?;
    let outcome = machine::boot(
        &Boot {
            lane: Lane::Stock,
            name: Lane::Stock.name(),
            image: Some(&image),
            disk: None,
            job: "bare\ntrue\n",
            parameters: "",
            icount: false,
            vservers: None,
            servers: None,
            inits: None,
            share: false,
            interactive: false,
            parallel: false,
            limit: Duration::from_secs(120),
        },
        work.path(),
        &mut |_| (),
    )?;
    ensure!(
        outcome.results.lines().any(|line| line == "exit 0") && outcome.alarms.is_empty(),
        "the kernel with the option off does not boot: {}",
        outcome.ending()
    );
    eprintln!("==> the kernel builds after each patch, and boots with the option off");
    Ok(ExitCode::SUCCESS)
}

/// The files that the series touches.
fn size(patches: &[(&str, String)]) -> Result<BTreeSet<String>> {
    let mut files = BTreeSet::new();
    let mut added = 0;
    for (_, text) in patches {
        for line in text.lines() {
            if let Some(file) = line.strip_prefix("+++ b/") {
                files.insert(file.to_string());
            } else if line.starts_with('+') && !line.starts_with("+++") {
                added += 1;
            }
        }
    }
    ensure!(
        added < ADDED_LINES && files.len() < FILES,
        "patches/ adds {added} lines to {} files; it has to stay below {ADDED_LINES} and {FILES}",
        files.len()
    );
    Ok(files)
}

/// Applies them one after the other to copies of the files; no offset and no fuzz is accepted.
fn apply(patches: &[(&str, String)], files: &BTreeSet<String>, source: &Path) -> Result<()> {
    let work = Work::new()?;
    for file in files {
        let from = source.join(file);
        let to = work.path().join(file);
        if from.exists() {
            fs::create_dir_all(to.parent().context("a file without a folder")?)?;
            fs::copy(&from, &to)?;
        }
    }
    for (name, _) in patches {
        let output = Command::new("patch")
            .args(["-p1", "-F0", "--no-backup-if-mismatch", "-i"])
            .arg(Path::new(FOLDER).join(name))
            .current_dir(work.path())
            .stdin(Stdio::null())
            .output()
            .context("cannot start patch")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || said.contains("(offset") {
            bail!("patches/{name} does not apply cleanly:\n{said}");
        }
    }
    Ok(())
}

fn checkpatch(name: &str, source: &Path) -> Result<()> {
    let output = Command::new("perl")
        .arg(source.join("scripts/checkpatch.pl"))
        .args(["--no-tree", "--quiet", "--show-types"])
        .arg(Path::new(FOLDER).join(name))
        .stdin(Stdio::null())
        .output()
        .context("cannot start perl")?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.trim().is_empty() {
        bail!("checkpatch on patches/{name}:\n{said}");
    }
    Ok(())
}
