// SPDX-License-Identifier: GPL-2.0

//! `vdu DIR…`: what only a tree holds.

use super::Verb;
use crate::announce::warn;
use crate::columns;
use crate::columns::Align;
use crate::columns::Column;
use crate::exit_codes;
use clap::Parser;
use indicatif::HumanBytes;
use libvserver::tree;
use libvserver::tree::Folder;
use std::io;
use std::io::Write;
use std::path::PathBuf;

/// Show how much of the disk only a tree holds
///
/// Like du, but files with more than one name are not counted: another vserver may have them too. That is what removing
/// the tree would free at least.
#[derive(Debug, Parser)]
#[command(name = "vdu", max_term_width = 100, disable_help_flag = true)]
pub(crate) struct Vdu {
    /// Sizes in the unit that fits
    #[arg(short, long, conflicts_with = "json")]
    human: bool,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,

    /// Print JSON; sizes are in bytes
    #[arg(long)]
    json: bool,

    /// The directories
    #[arg(value_name = "DIR", required = true)]
    directories: Vec<PathBuf>,
}

/// A directory and its size.
struct Row {
    directory: String,
    bytes: u64,
}

const TABLE: [Column<Row>; 2] = [
    Column {
        name: "DIRECTORY",
        width: 30,
        align: Align::Left,
        help: "the directory",
        text: |row| row.directory.clone(),
        json: |row| row.directory.clone().into(),
    },
    Column {
        name: "BYTES",
        width: 12,
        align: Align::Right,
        help: "what only it holds",
        text: |row| row.bytes.to_string(),
        json: |row| row.bytes.into(),
    },
];

impl Verb for Vdu {
    fn run(&self) -> anyhow::Result<u8> {
        let mut out = io::stdout().lock();
        let mut code = exit_codes::SUCCESS;
        let mut rows = Vec::new();
        for directory in &self.directories {
            let directory_shown = directory.display().to_string();
            // One that cannot be read does not keep the others from being shown.
            let bytes = match Folder::open(directory).and_then(|folder| tree::alone(&folder)) {
                Ok(bytes) => bytes,
                Err(fault) => {
                    warn("vdu", format_args!("{directory_shown}: {fault}"));
                    code = exit_codes::FAILURE;
                    continue;
                }
            };
            if self.json {
                rows.push(Row {
                    directory: directory_shown,
                    bytes,
                });
            } else if self.human {
                writeln!(out, "{directory_shown}\t{}", HumanBytes(bytes))?;
            } else {
                writeln!(out, "{directory_shown}\t{}K", bytes.div_ceil(1024))?;
            }
        }
        if self.json {
            let columns = columns::select(&TABLE, None).map_err(anyhow::Error::msg)?;
            columns::write_json(&mut out, &columns::to_json("directories", &columns, &rows))?;
        }
        Ok(code)
    }
}
