// SPDX-License-Identifier: GPL-2.0

//! Where output is kept. Each run of the runner has a folder `/cache/log/runs/DATE-TIME-PID`, so runs side by side
//! do not write to each other's files; `/cache/log/NAME.log` is a link to the newest of that name. Older folders are
//! removed.

use crate::step;
use anyhow::{Context, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const LOGS: &str = "/cache/log";

/// Folders of finished runs beyond this number are removed.
const KEPT: usize = 30;

/// Makes the file `NAME.log` of this run (`NAME-2.log` if there is one) and points the link at it.
pub fn create(name: &str) -> Result<(PathBuf, File)> {
    static RUN: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut run = RUN.lock().unwrap_or_else(PoisonError::into_inner);
    let logs = Path::new(LOGS);
    let folder = match &*run {
        Some(folder) => folder.clone(),
        None => run.insert(begin(&logs.join("runs"))?).clone(),
    };
    create_in(logs, &folder, name)
}

/// The folder of a new run.
fn begin(runs: &Path) -> Result<PathBuf> {
    fs::create_dir_all(runs).with_context(|| format!("cannot make {}", runs.display()))?;
    prune(runs, |pid| Path::new("/proc").join(pid).exists());
    let now = step::now()?.replace(['-', ':', 'Z'], "").replace('T', "-");
    let folder = runs.join(format!("{now}-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// Removes the oldest folders whose process is gone. Another run may do the same at the same time.
fn prune(runs: &Path, is_alive: impl Fn(&str) -> bool) {
    let mut finished: Vec<PathBuf> = fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.rsplit('-').next().is_some_and(|pid| !is_alive(pid))
        })
        .collect();
    finished.sort();
    for old in finished.iter().rev().skip(KEPT) {
        let _ = fs::remove_dir_all(old);
    }
}

fn create_in(logs: &Path, folder: &Path, name: &str) -> Result<(PathBuf, File)> {
    let mut number = 1;
    let (path, file) = loop {
        let path = match number {
            1 => folder.join(format!("{name}.log")),
            _ => folder.join(format!("{name}-{number}.log")),
        };
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => break (path, file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    };
    // Relative, as the cache has another path on the user's machine.
    let target = path.strip_prefix(logs).unwrap_or(&path);
    let new = folder.join(".link");
    let _ = fs::remove_file(&new);
    symlink(target, &new)?;
    fs::rename(&new, logs.join(format!("{name}.log")))?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let own = std::process::id();
        let folder = std::env::temp_dir().join(format!("vserver-runner-{own}-{name}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("runs")).expect("a folder below TMPDIR");
        folder
    }

    #[test]
    fn each_file_is_new_and_the_link_leads_to_the_last() {
        let logs = scratch("log");
        let mut paths = Vec::new();
        for run in ["one", "two"] {
            let folder = logs.join("runs").join(run);
            fs::create_dir(&folder).unwrap();
            for _ in 0..2 {
                let (path, _) = create_in(&logs, &folder, "console-stock").unwrap();
                fs::write(&path, path.to_string_lossy().as_bytes()).unwrap();
                let linked = fs::read_to_string(logs.join("console-stock.log")).unwrap();
                assert_eq!(linked, path.to_string_lossy());
                paths.push(path.strip_prefix(&logs).unwrap().display().to_string());
            }
        }
        let expected = ["one", "two"]
            .map(|run| ["", "-2"].map(|number| format!("runs/{run}/console-stock{number}.log")));
        assert_eq!(paths, expected.concat());
        fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn old_runs_are_removed_but_those_under_way_are_not() {
        let runs = scratch("prune").join("runs");
        for minute in 0..KEPT + 5 {
            fs::create_dir(runs.join(format!("20261130-02{minute:02}00-{minute}"))).unwrap();
        }
        prune(&runs, |pid| pid == "0");
        let mut left: Vec<_> = fs::read_dir(&runs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left.len(), KEPT + 1);
        assert_eq!(left[0], "20261130-020000-0");
        assert_eq!(left[1], "20261130-020500-5");
        fs::remove_dir_all(runs).unwrap();
    }
}
