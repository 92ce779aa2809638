// SPDX-License-Identifier: GPL-2.0

//! The commands against the real module: options, output, exit codes, and what errors leave behind.

use crate::{
    fixture::{ensure, equal, list, until_empty, words, Outcome, Sitter, SECURE},
    test, Test,
};
use serde_json::Value;
use std::{
    fs,
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Command, Stdio},
};
use vserver_uapi::*;

mod attributes;
mod capchroot;
mod chbind;
mod chcontext;
mod counted;
mod errors;
mod reducecap;
mod show;
mod terminals;
mod vkill;

pub const TESTS: &[&[Test]] = &[
    capchroot::TESTS,
    chbind::TESTS,
    chcontext::TESTS,
    reducecap::TESTS,
    vkill::TESTS,
    show::TESTS,
    counted::TESTS,
    errors::TESTS,
    attributes::TESTS,
    terminals::TESTS,
];

/// An ordinary user.
const USER: u32 = 1000;

/// How a program ended and what it said.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Fails unless it ended well and printed this.
    fn printed(&self, out: &str) -> Outcome {
        equal(&format!("output ({self:?})"), self.out.as_str(), out)?;
        equal("complaints", self.err.as_str(), "")?;
        equal("exit code", self.code, 0)
    }

    /// Fails unless it ended well; gives its output.
    fn good(&self) -> Result<&str, String> {
        ensure(&format!("{self:?}"), self.code == 0 && self.err.is_empty())?;
        Ok(&self.out)
    }

    /// Fails unless it ended with this code, nothing on stdout, and one line of error with these
    /// words.
    fn complained(&self, code: i32, parts: &[&str]) -> Outcome {
        equal(&format!("exit code ({self:?})"), self.code, code)?;
        equal("output", self.out.as_str(), "")?;
        equal(
            &format!("lines of {:?}", self.err),
            self.err.lines().count(),
            1,
        )?;
        for part in parts {
            ensure(
                &format!("{:?} lacks {part:?}", self.err),
                self.err.contains(part),
            )?;
        }
        Ok(())
    }

    /// Fails unless it was refused as wrong usage.
    fn misused(&self, part: &str) -> Outcome {
        equal(&format!("exit code ({self:?})"), self.code, 2)?;
        equal("output", self.out.as_str(), "")?;
        ensure(
            &format!("{:?} lacks {part:?}", self.err),
            self.err.contains(part),
        )
    }

    fn json(&self) -> Result<Value, String> {
        serde_json::from_str(self.good()?).map_err(|error| format!("{error}: {}", self.out))
    }
}

/// Runs a command line, split at spaces, as this user.
fn run_as(user: u32, line: &str) -> Result<Ran, String> {
    run_words(user, &line.split(' ').collect::<Vec<_>>())
}

/// Runs a command line as root.
fn run(line: &str) -> Result<Ran, String> {
    run_as(0, line)
}

/// Runs a program with arguments that have spaces.
fn run_words(user: u32, line: &[&str]) -> Result<Ran, String> {
    let mut command = Command::new(line[0]);
    // Inherited: a null one needs a /dev.
    command.args(&line[1..]).stdin(Stdio::inherit());
    if user != 0 {
        command.uid(user).gid(user);
    }
    let output = command
        .output()
        .map_err(|error| format!("{}: {error}", line[0]))?;
    Ok(Ran {
        code: output
            .status
            .code()
            .unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
        out: String::from_utf8(output.stdout).map_err(words)?,
        err: String::from_utf8(output.stderr).map_err(words)?,
    })
}

/// The bounding set in a `CapBnd:` line somewhere in the text.
fn bounding_set(text: &str) -> Result<u64, String> {
    let line = text.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    u64::from_str_radix(line.ok_or("no CapBnd")?.trim(), 16).map_err(words)
}

/// A name for a context, as starting a vserver leaves it; gone when dropped.
struct Name(String);

impl Name {
    fn new(name: &str, context: i32) -> Result<Self, String> {
        fs::create_dir_all("/var/run/vservers").map_err(words)?;
        let path = format!("/var/run/vservers/{name}.ctx");
        fs::write(&path, format!("S_CONTEXT={context}\n")).map_err(words)?;
        Ok(Self(path))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
