// SPDX-License-Identifier: GPL-2.0

//! Products, cached by the content of what went into them.
//!
//! A product is a folder `/cache/NAME-KEY`. It is built under another name and renamed when it is
//! whole, so that an interrupted build leaves nothing that looks finished.

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};
use walkdir::WalkDir;

/// The copy of the checkout in which cargo works: see `qemu/bootstrap.sh`.
const SOURCE: &str = "/cache/source";

/// Whether this process holds the lock of [`SOURCE`] and cargo's folder, which it inherits as descriptor 9.
static LOCKED: AtomicBool = AtomicBool::new(true);

fn flock(arguments: &[&str]) -> Result<()> {
    let status = Command::new("flock")
        .args(arguments)
        .status()
        .context("cannot start flock")?;
    anyhow::ensure!(status.success(), "the cache's lock: flock gives {status}");
    Ok(())
}

/// Lets runs from other clones use cargo. Kernels take long, and booted machines need none of it.
pub fn cargo_done() -> Result<()> {
    if LOCKED.swap(false, Ordering::Relaxed) {
        flock(&["--unlock", "9"])?;
    }
    Ok(())
}

/// Cargo, in the copy of the checkout.
pub fn cargo(arguments: &[&str]) -> Result<Command> {
    if !LOCKED.swap(true, Ordering::Relaxed) {
        flock(&["9"])?;
        let status = Command::new("rsync")
            .args([
                "-rlpc",
                "--delete",
                "--exclude=/.git",
                "/src/",
                "/cache/source/",
            ])
            .status()
            .context("cannot start rsync")?;
        anyhow::ensure!(
            status.success(),
            "copy of the checkout: rsync gives {status}"
        );
    }
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).current_dir(SOURCE);
    Ok(cargo)
}

/// Collects what goes into a product.
pub struct Key(blake3::Hasher);

impl Key {
    /// Starts with the recipe: a text that changes when the way of building does.
    pub fn new(recipe: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(recipe.as_bytes());
        Self(hasher)
    }

    /// Adds a text.
    pub fn text(mut self, text: &str) -> Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// Adds a file, or all files below a folder with their names.
    pub fn tree(mut self, path: &Path) -> Result<Self> {
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = entry.with_context(|| format!("cannot read {}", path.display()))?;
            if entry.file_type().is_file() {
                self.0.update(entry.path().as_os_str().as_encoded_bytes());
                let content = fs::read(entry.path())?;
                self.0.update(&(content.len() as u64).to_le_bytes());
                self.0.update(&content);
            }
        }
        Ok(self)
    }

    /// In hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.finalize().to_hex()[..16].to_string()
    }
}

/// The folder of a product; `build` fills it when it is not there yet.
pub fn product(name: &str, key: Key, build: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = Path::new("/cache").join(format!("{name}-{}", key.hex()));
    if folder.is_dir() {
        return Ok(folder);
    }
    let lock = File::create(folder.with_extension("lock"))?;
    let _lock = match Flock::lock(lock, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((lock, _)) => {
            eprintln!("==> waiting for another run that makes the same ({name})");
            Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?
        }
    };
    if folder.is_dir() {
        return Ok(folder);
    }
    let unfinished = folder.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    fs::create_dir_all(&unfinished)?;
    build(&unfinished)?;
    fs::rename(&unfinished, &folder)?;
    Ok(folder)
}
