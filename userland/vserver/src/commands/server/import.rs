// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME import`: make a vserver of what was exported.

use super::super::Verb;
use super::export::CONFIGURATION;
use super::export::ROOT;
use crate::announce::warn;
use crate::exit_codes;
use crate::server::creation::populate::as_interruption;
use crate::server::creation::settings::conflicts;
use crate::server::creation::Settings;
use crate::server::creation::Staging;
use crate::server::creation::Work;
use crate::server::creation::COMPANIONS;
use crate::server::events::happened;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use libvserver::config;
use libvserver::tree;
use libvserver::tree::make_devices;
use libvserver::tree::Archive;
use libvserver::tree::Statistics;
use log::Level;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

/// No file of a configuration is larger.
const SIZE_MAX: u64 = 1 << 20;

/// Make a vserver of what "export" has written
///
/// The name may be another one. Its configuration is taken over when it is right; what options ask for takes the place
/// of what it says.
#[derive(Debug, Parser)]
#[command(
    name = "import",
    max_term_width = 100,
    override_usage = "vserver [--silent] NAME import FILE [CONFIGURATION]"
)]
pub(crate) struct Import {
    /// Do not show what is done
    #[arg(long)]
    silent: bool,

    /// The new vserver
    name: String,

    /// The file; "-": the standard input
    file: PathBuf,

    #[command(flatten)]
    settings: Settings,
}

impl Verb for Import {
    fn run(&self) -> anyhow::Result<u8> {
        let name = &self.name;
        let file = match self.file == Path::new("-") {
            true => File::from(rustix::io::dup(io::stdin())?),
            false => File::open(&self.file).with_context(|| {
                format!(
                    "cannot open {}: name a file that \"vserver NAME export\" has written",
                    self.file.display()
                )
            })?,
        };
        // What is asked for is checked before anything is made.
        self.settings.text(name, &[])?;
        let mut work = Work::begin(self.silent)?;
        let staging = Staging::begin(name, false, &mut work)?;
        work.say(&format!("unpacking {}", self.file.display()))?;
        let (statistics, mut files) = self.unpack(&staging, file, &mut work)?;
        work.hide();
        let Some(text) = files.remove("conf") else {
            bail!(
                "{} is no export of a vserver: it has no {CONFIGURATION}/vserver.conf; \"build --tar\" takes other archives",
                self.file.display()
            );
        };
        let text = String::from_utf8(text)
            .ok()
            .context("the configuration in it is not text in UTF-8")?;
        let text = self.settings.over(name, &text, &[])?;
        let companions: Vec<(&str, Vec<u8>)> = COMPANIONS
            .iter()
            .filter_map(|ending| Some((*ending, files.remove(*ending)?)))
            .collect();
        staging.must_have_no_companions(&companions)?;
        make_devices(&staging.open()?)?;
        for line in conflicts(name, &text)? {
            warn("vserver", format_args!("{line}"));
        }
        work.check()?;
        staging.finish(Some(&text), &companions)?;
        happened(Level::Info, name, "imported", &[]);
        work.report(&statistics)?;
        work.say(&format!(
            "{name} is made; its configuration is {}",
            config::file(name).display()
        ))?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Import {
    /// The tree, and the files of the configuration by their endings.
    fn unpack(
        &self,
        staging: &Staging,
        file: File,
        work: &mut Work,
    ) -> anyhow::Result<(Statistics, BTreeMap<String, Vec<u8>>)> {
        let mut files = BTreeMap::new();
        let mut take = |path: &Path, content: &mut dyn Read| {
            let ending = path
                .strip_prefix(CONFIGURATION)
                .ok()
                .and_then(|path| path.to_str()?.strip_prefix("vserver."));
            if let Some(ending) = ending {
                let mut bytes = Vec::new();
                content.take(SIZE_MAX).read_to_end(&mut bytes)?;
                files.insert(ending.to_owned(), bytes);
            }
            Ok(())
        };
        let mut archive = Archive {
            within: Some((Path::new(ROOT), &mut take)),
            ..Archive::default()
        };
        let reader = work.reader(file);
        work.show(None);
        let statistics = tree::unpack(reader, &staging.open()?, &mut archive, &mut |made, path| {
            work.step(made, path)
        })
        .map_err(as_interruption)?;
        Ok((statistics, files))
    }
}
