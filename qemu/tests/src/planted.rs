// SPDX-License-Identifier: GPL-2.0

//! What a vserver plants in its own tree for the manager, which is root of the host: whatever stands there, no command
//! writes or mounts outside the tree.

use crate::{
    fixture::{child, ensure, words, Outcome},
    init::{with_vservers, Vserver},
    test, Test,
};
use nix::{sys::stat::Mode, unistd::mkfifo};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{symlink, MetadataExt},
    path::{Path, PathBuf},
};

pub const TESTS: &[Test] = &[
    test("planted::links", 900, links),
    test("planted::no_links", 900, no_links),
];

/// What is not looked at: other file systems of the kernel's, what cannot be written to, and where vservers, their logs and their states are.
const PASSED_OVER: [&str; 11] = [
    "/proc",
    "/sys",
    "/servers",
    "/inits",
    "/vservers",
    "/tmp/init",
    "/dev/pts",
    "/dev/shm",
    "/run/vservers",
    "/var/run/vservers",
    "/var/log/vservers",
];

/// The commands, each of which may fail.
const COMMANDS: [&[&str]; 7] = [
    &["status"],
    &["start"],
    &["exec", "true"],
    &["exec", "--user", "root", "id"],
    &["enter"],
    &["status"],
    &["stop"],
];

/// The files of the host, and its mounts.
#[derive(Debug, PartialEq, Eq)]
struct Host {
    files: BTreeMap<PathBuf, String>,
    mounts: Vec<String>,
}

impl Host {
    fn now() -> Result<Self, String> {
        let mut files = BTreeMap::new();
        let mut left = vec![PathBuf::from("/")];
        while let Some(folder) = left.pop() {
            for entry in fs::read_dir(&folder).map_err(words)?.flatten() {
                let path = entry.path();
                if PASSED_OVER.iter().any(|over| path == Path::new(over)) {
                    continue;
                }
                let Ok(data) = fs::symlink_metadata(&path) else {
                    continue;
                };
                // Whoever writes to a device changes its times.
                let is_file = data.is_file() || data.is_symlink();
                let times = is_file.then(|| (data.len(), data.ctime(), data.ctime_nsec()));
                files.insert(
                    path.clone(),
                    format!("{:o} {}:{} {times:?}", data.mode(), data.uid(), data.gid()),
                );
                if data.is_dir() {
                    left.push(path);
                }
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(words)?;
        Ok(Self {
            files,
            mounts: mounts.lines().map(str::to_owned).collect(),
        })
    }

    /// Fails unless all is as it was.
    fn is_again(&self, what: &str) -> Outcome {
        let now = Self::now()?;
        let mut differences = Vec::new();
        for path in self.files.keys().chain(now.files.keys()) {
            let (before, after) = (self.files.get(path), now.files.get(path));
            if before != after {
                differences.push(format!("{}: {before:?}, now {after:?}", path.display()));
            }
        }
        for mount in &now.mounts {
            if !self.mounts.contains(mount) {
                differences.push(format!("mounted: {mount}"));
            }
        }
        for mount in &self.mounts {
            if !now.mounts.contains(mount) {
                differences.push(format!("unmounted: {mount}"));
            }
        }
        ensure(&format!("{what}: {differences:#?}"), differences.is_empty())
    }
}

/// Something that a vserver plants: what it is, and how it is made in its root.
type Planted<'a> = (&'a str, &'a dyn Fn(&Path) -> Outcome);

/// Does every command with what one function plants.
fn with(planted: &[Planted<'_>]) -> Outcome {
    for (what, plant) in planted {
        let one = || {
            with_vservers(|| {
                let vserver = Vserver::new(
                    "box",
                    "busybox",
                    crate::inet::A,
                    "START_TIMEOUT=20\nSTOP_TIMEOUT=5",
                )?;
                plant(&vserver.root).map_err(|error| format!("{what}: {error}"))?;
                // What the first command makes for itself.
                vserver.command(&["stop"])?;
                let before = Host::now()?;
                for command in COMMANDS {
                    let (code, said) = vserver.command(command)?;
                    let what = format!("{what}, {command:?} ends with {code}: {said}");
                    // An error is told in words, and is no crash.
                    ensure(
                        &what,
                        (0..=127).contains(&code) && !said.contains("panicked"),
                    )?;
                    before.is_again(&what)?;
                }
                ensure(&format!("{what}: it still runs"), !vserver.running()?)
            })
        };
        // With mounts of its own.
        child(|| one().map(|()| String::new()))?;
    }
    Ok(())
}

/// In place of what is there.
fn link(root: &Path, path: &str, target: &str) -> Outcome {
    remove(root, path)?;
    symlink(target, root.join(path)).map_err(words)
}

fn remove(root: &Path, path: &str) -> Outcome {
    let path = root.join(path);
    match fs::symlink_metadata(&path) {
        Err(_) => fs::create_dir_all(path.parent().unwrap_or(root)).map_err(words),
        Ok(data) if data.is_dir() => fs::remove_dir_all(path).map_err(words),
        Ok(_) => fs::remove_file(path).map_err(words),
    }
}

fn links() -> Outcome {
    const LINKS: [(&str, &str); 14] = [
        ("etc", "/"),
        ("etc", "/etc"),
        ("dev/pts", "/etc"),
        ("run", "/nowhere/at/all"),
        ("run", "../../../../run"),
        ("proc", "/"),
        ("proc", "../../proc"),
        ("dev", "/"),
        ("dev", "/dev"),
        ("tmp", "/tmp"),
        ("dev/shm", "../../../../../root"),
        ("etc/passwd", "/proc/1/root/etc/passwd"),
        ("dev/console", "/etc/passwd"),
        ("var/run", "/proc/self/cwd"),
    ];
    for (path, target) in LINKS {
        let what = format!("/{path} -> {target}");
        with(&[(&what, &|root| link(root, path, target))])?;
    }
    Ok(())
}

fn no_links() -> Outcome {
    with(&[
        ("a FIFO as /etc/passwd", &|root| {
            remove(root, "etc/passwd")?;
            mkfifo(&root.join("etc/passwd"), Mode::from_bits_truncate(0o644)).map_err(words)
        }),
        ("a FIFO as /etc/inittab", &|root| {
            remove(root, "etc/inittab")?;
            mkfifo(&root.join("etc/inittab"), Mode::from_bits_truncate(0o644)).map_err(words)
        }),
        ("a huge /etc/passwd", &|root| {
            remove(root, "etc/passwd")?;
            let file = fs::File::create(root.join("etc/passwd")).map_err(words)?;
            file.set_len(1 << 40).map_err(words)
        }),
        ("files in the place of directories", &|root| {
            for path in ["proc", "run", "tmp", "dev/pts"] {
                remove(root, path)?;
                fs::write(root.join(path), "").map_err(words)?;
            }
            Ok(())
        }),
        ("names with spaces, UTF-8 and dots", &|root| {
            let folder = root.join("etc/\u{e9} \u{4e2d}..");
            fs::create_dir_all(&folder).map_err(words)?;
            fs::write(folder.join(".. \n"), "").map_err(words)?;
            link(
                root,
                "etc/init.d",
                "\u{e9} \u{4e2d}../../../../../../../etc",
            )
        }),
    ])
}
