// SPDX-License-Identifier: GPL-2.0

//! What is on the machine, to see what somebody has left behind.

use super::*;

/// Threads of the kernel have this among their flags.
const PF_KTHREAD: u64 = 0x0020_0000;

/// All that a vserver has while it runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine {
    contexts: Vec<i32>,
    /// In whatever context, zombies too; without the kernel's.
    processes: BTreeMap<i32, String>,
    terminals: String,
    addresses: String,
    mounts: Vec<String>,
    cgroups: Vec<PathBuf>,
    running: Vec<PathBuf>,
}

impl Machine {
    /// As it is now.
    pub fn now() -> Result<Self, String> {
        let addresses = Command::new("/bin/ip")
            .args(["-o", "address"])
            .output()
            .map_err(words)?;
        let read = |file| fs::read_to_string(file).map_err(words);
        let mounts = read("/proc/self/mountinfo")?;
        Ok(Self {
            contexts: list().map_err(words)?,
            processes: processes()?,
            terminals: read("/proc/sys/kernel/pty/nr")?,
            addresses: String::from_utf8_lossy(&addresses.stdout).into_owned(),
            // The first two numbers are new whenever somebody mounts.
            mounts: mounts
                .lines()
                .filter_map(|line| line.splitn(3, ' ').nth(2).map(str::to_string))
                .collect(),
            cgroups: folders("/sys/fs/cgroup"),
            // A lock that nobody holds stays for the next one.
            running: entries("/var/run/vservers")
                .into_iter()
                .filter(|path| path.extension().is_none_or(|kind| kind != "lock"))
                .collect(),
        })
    }

    /// Waits until all is as it was then.
    pub fn until_again(&self) -> Outcome {
        let start = Instant::now();
        loop {
            let now = Self::now()?;
            if now == *self {
                return Ok(());
            }
            if start.elapsed() > LIMIT {
                return Err(format!("left behind: before {self:#?}, now {now:#?}"));
            }
            sleep(Duration::from_millis(100));
        }
    }
}

/// All processes, by whoever sees them all, and without him.
fn processes() -> Result<BTreeMap<i32, String>, String> {
    let text = child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        let own = std::process::id().to_string();
        let mut text = String::new();
        for path in entries("/proc") {
            let pid = path.file_name().unwrap_or_default().to_string_lossy();
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            // "PID (COMM) STATE PPID PGRP SESSION TTY TPGID FLAGS …", and COMM may have anything in it.
            let Some((before, after)) = stat.rsplit_once(") ") else {
                continue;
            };
            let flags: u64 = after
                .split(' ')
                .nth(6)
                .and_then(|word| word.parse().ok())
                .unwrap_or(0);
            if pid.parse::<i32>().is_ok() && pid != own && flags & PF_KTHREAD == 0 {
                text += &format!("{}\n", before.replace('\n', " "));
            }
        }
        Ok(text)
    })?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(pid, name)| Some((pid.parse().ok()?, name.to_string())))
        .collect())
}

fn entries(folder: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    found.sort();
    found
}

fn folders(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder).into_iter().filter(|path| path.is_dir()) {
        found.extend(folders(&path.to_string_lossy()));
        found.push(path);
    }
    found
}
