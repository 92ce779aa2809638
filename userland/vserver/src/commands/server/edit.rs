// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME edit`: change its configuration in an editor; a wrong one never takes the place of a right one.

use super::super::Verb;
use crate::announce::announce;
use crate::exit_codes;
use crate::server::events::happened;
use crate::server::relay::is_interactive;
use crate::server::Server;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use libvserver::config;
use libvserver::Config;
use log::Level;
use std::fs;
use std::fs::File;
use std::io;
use std::io::BufRead;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;

/// Edit the configuration of a vserver
///
/// In $VISUAL, $EDITOR or vi, on a copy. It takes the place of the configuration when all of it is right; else one is
/// asked whether to go on editing, and without a terminal the copy is left for that. What runs goes on as it is.
#[derive(Debug, Parser)]
#[command(
    name = "edit",
    max_term_width = 100,
    override_usage = "vserver NAME edit"
)]
pub(crate) struct Edit {
    /// The vserver
    name: String,
}

impl Verb for Edit {
    fn run(&self) -> anyhow::Result<u8> {
        let server = Server::new(&self.name)?;
        server.must_have_configuration()?;
        let _lock = server.lock()?;
        let file = config::file(&self.name);
        let copy = Path::new(config::DIRECTORY).join(format!(".{}.conf.edit", self.name));
        if copy.exists() {
            announce(format_args!("going on with {}", copy.display()))?;
        } else {
            // Its owner and mode come along.
            fs::copy(&file, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
        loop {
            edit(&copy)?;
            match Config::load_file(&self.name, &copy) {
                Ok(loaded) => {
                    for warning in &loaded.warnings {
                        crate::announce::warn("vserver", format_args!("{warning}"));
                    }
                    return self.take(&file, &copy);
                }
                Err(error) => {
                    eprintln!("vserver: {}", crate::report::message(&error.into()));
                    if !is_interactive() {
                        bail!(
                            "the configuration is as it was; the new one is in {}, \"vserver {} edit\" goes on with it",
                            copy.display(),
                            self.name
                        );
                    }
                    if !again()? {
                        fs::remove_file(&copy)?;
                        bail!("the configuration is as it was");
                    }
                }
            }
        }
    }
}

impl Edit {
    fn take(&self, file: &Path, copy: &PathBuf) -> anyhow::Result<u8> {
        if fs::read(file)? == fs::read(copy)? {
            fs::remove_file(copy)?;
            announce(format_args!("{} is as it was", file.display()))?;
            return Ok(exit_codes::SUCCESS);
        }
        File::open(copy)?.sync_all()?;
        fs::rename(copy, file).with_context(|| format!("cannot replace {}", file.display()))?;
        happened(Level::Info, &self.name, "edited", &[]);
        announce(format_args!(
            "{} is changed; what runs takes it at its next start",
            file.display()
        ))?;
        Ok(exit_codes::SUCCESS)
    }
}

fn edit(file: &Path) -> anyhow::Result<()> {
    let editor = ["VISUAL", "EDITOR"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|editor| !editor.trim().is_empty())
        .unwrap_or_else(|| "vi".to_owned());
    // It may have arguments of its own.
    let status = Command::new("/bin/sh")
        .args(["-c", &format!("exec {editor} \"$1\""), "sh"])
        .arg(file)
        .status()
        .with_context(|| format!("cannot run {editor}"))?;
    if !status.success() {
        bail!(
            "the editor \"{editor}\" failed ({status}); set EDITOR; the configuration is as it was, and what was \
             edited is in {}",
            file.display()
        );
    }
    Ok(())
}

/// Whether to go on editing.
fn again() -> anyhow::Result<bool> {
    eprint!("Edit it again? [Y/n] ");
    let mut answer = String::new();
    let length = io::stdin().lock().read_line(&mut answer)?;
    Ok(length > 0 && !answer.trim().to_ascii_lowercase().starts_with('n'))
}
