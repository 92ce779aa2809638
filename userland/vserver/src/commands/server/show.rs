// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME show`: its configuration as it counts, and where each value comes from.

use super::super::Verb;
use crate::exit_codes;
use crate::server::Server;
use clap::Parser;
use libvserver::config;
use libvserver::config::Loaded;
use libvserver::config::MountKind;
use libvserver::config::Origin;
use libvserver::config::Variable;
use libvserver::config::VARIABLES;
use libvserver::Config;
use serde_json::json;
use serde_json::Value;
use std::io;
use std::io::Write;
use std::path::Path;

/// Show the configuration of a vserver as it counts
///
/// Each value with the file and line that it comes from, or "default".
#[derive(Debug, Parser)]
#[command(
    name = "show",
    max_term_width = 100,
    override_usage = "vserver NAME show [--all | --json | --conf]"
)]
pub(crate) struct Show {
    /// Also those that are empty
    #[arg(long)]
    all: bool,

    /// Print JSON
    #[arg(long, conflicts_with = "all")]
    json: bool,

    /// Print a NAME.conf that reads back the same
    #[arg(long, conflicts_with_all = ["all", "json"])]
    conf: bool,

    /// The vserver
    name: String,
}

/// One variable as it counts.
struct Shown<'a> {
    variable: &'static Variable,
    value: &'a str,
    origin: Option<&'a Origin>,
}

fn shown(loaded: &Loaded) -> Vec<Shown<'_>> {
    VARIABLES
        .iter()
        .map(|variable| {
            let origin = loaded.origins.get(variable.name);
            Shown {
                variable,
                value: origin.map_or(variable.default, |origin| &origin.value),
                origin,
            }
        })
        .collect()
}

impl Verb for Show {
    fn run(&self) -> anyhow::Result<u8> {
        let server = Server::new(&self.name)?;
        server.must_have_configuration()?;
        let loaded = Config::load(&self.name)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{:#}", self.to_json(&server, &loaded))?;
        } else if self.conf {
            out.write_all(loaded.text().as_bytes())?;
        } else {
            self.write_text(&mut out, &loaded)?;
        }
        for warning in &loaded.warnings {
            crate::announce::warn("vserver", format_args!("{warning}"));
        }
        Ok(exit_codes::SUCCESS)
    }
}

impl Show {
    fn write_text(&self, out: &mut impl Write, loaded: &Loaded) -> io::Result<()> {
        let all = shown(loaded);
        let rows: Vec<_> = all
            .iter()
            .filter(|one| self.all || !one.value.is_empty())
            .map(|one| {
                (
                    one,
                    one.value
                        .escape_debug()
                        .to_string()
                        .replace("\\'", "'")
                        .replace("\\\"", "\""),
                )
            })
            .collect();
        let width = rows
            .iter()
            .map(|(_, value)| value.chars().count())
            .max()
            .unwrap_or(0)
            .min(40);
        if let Some(description) = &loaded.description {
            writeln!(out, "# Description: {description}")?;
        }
        for (one, value) in rows {
            let from = match one.origin {
                Some(origin) => format!("{}:{}", origin.file, origin.line),
                None => "default".to_owned(),
            };
            writeln!(out, "{:<16} {value:<width$}  {from}", one.variable.name)?;
        }
        let script = Path::new(config::DIRECTORY).join(format!("{}.sh", self.name));
        if script.exists() {
            writeln!(out, "script           {}", script.display())?;
        }
        for mount in &loaded.config.mounts {
            writeln!(
                out,
                "mount            /{} from {}  {}/{}.fstab:{}",
                mount.target,
                mount.source.display(),
                config::DIRECTORY,
                self.name,
                mount.line
            )?;
        }
        Ok(())
    }

    fn to_json(&self, server: &Server, loaded: &Loaded) -> Value {
        let variables: serde_json::Map<String, Value> = shown(loaded)
            .into_iter()
            .map(|one| {
                let value = json!({
                    "value": one.value,
                    "file": one.origin.map(|origin| &origin.file),
                    "line": one.origin.map(|origin| origin.line),
                });
                (one.variable.name.to_owned(), value)
            })
            .collect();
        let mounts: Vec<Value> = loaded
            .config
            .mounts
            .iter()
            .map(|mount| {
                let kind = match &mount.kind {
                    MountKind::Bind { recursive: false } => "bind",
                    MountKind::Bind { recursive: true } => "rbind",
                    MountKind::Type(kind) => kind,
                };
                json!({
                    "source": mount.source,
                    "target": format!("/{}", mount.target),
                    "type": kind,
                    "line": mount.line,
                })
            })
            .collect();
        json!({
            "name": self.name,
            "description": loaded.description,
            "root": server.root(),
            "variables": variables,
            "mounts": mounts,
        })
    }
}
