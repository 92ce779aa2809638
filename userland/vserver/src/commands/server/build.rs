// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME build`: make a vserver.

use super::super::Verb;
use crate::announce::warn;
use crate::exit_codes;
use crate::server::creation::populate::adapt;
use crate::server::creation::populate::make_distinct;
use crate::server::creation::populate::populate;
use crate::server::creation::settings::conflicts;
use crate::server::creation::source::Source;
use crate::server::creation::Settings;
use crate::server::creation::SourceArguments;
use crate::server::creation::Staging;
use crate::server::creation::Work;
use crate::server::events::happened;
use anyhow::bail;
use clap::Parser;
use libvserver::config;
use log::Level;

/// Make a vserver
///
/// Its files come from one source, without one from the host itself. What is for hardware is taken out, in the new
/// vserver only, and each change is told. It is made where no vserver is, and gets its name when it is whole: a build
/// that is interrupted leaves nothing. A configuration that is there already is kept.
#[derive(Debug, Parser)]
#[command(
    name = "build",
    max_term_width = 100,
    override_usage = "vserver [--nodev] [--silent] NAME build [SOURCE] [CONFIGURATION]"
)]
pub(crate) struct Build {
    /// Name no network devices in the configuration
    #[arg(long)]
    nodev: bool,

    /// Do not show what is done
    #[arg(long)]
    silent: bool,

    /// The vserver
    name: String,

    #[command(flatten)]
    source: SourceArguments,

    /// Where debootstrap or mmdebstrap gets the packages from
    #[arg(long, value_name = "URL", help_heading = "Source")]
    mirror: Option<String>,

    #[command(flatten)]
    settings: Settings,
}

impl Verb for Build {
    fn run(&self) -> anyhow::Result<u8> {
        let source = self.source.source(self.mirror.as_deref())?;
        let mut settings = self.settings.clone();
        if self.nodev {
            settings.without_devices();
        }
        make(&self.name, &source, &settings, self.silent)?;
        Ok(exit_codes::SUCCESS)
    }
}

/// Makes a vserver from a source.
pub(crate) fn make(
    name: &str,
    source: &Source,
    settings: &Settings,
    silent: bool,
) -> anyhow::Result<()> {
    // What is asked for is checked before anything is touched.
    let text = settings.text(name, &[])?;
    let mut work = Work::begin(silent)?;
    let staging = Staging::begin(name, true, &mut work)?;
    if staging.has_configuration && !settings.is_empty() {
        bail!(
            "{} exists already and is kept; leave out the options of the configuration, and change it with \"vserver \
             {name} edit\"",
            config::file(name).display()
        );
    }
    for line in conflicts(name, &text)? {
        warn("vserver", format_args!("{line}"));
    }
    if let Source::Vserver {
        name: from,
        link: true,
    } = source
    {
        warn_of_links(from);
    }
    let statistics = populate(source, &staging, &mut work)?;
    let has_init = adapt(&staging, &mut work)?;
    if matches!(source, Source::Host | Source::Vserver { .. }) {
        make_distinct(&staging, &mut work)?;
    }
    let flags = match has_init {
        true => "lock nproc fakeinit",
        false => "lock nproc",
    };
    let text = match staging.has_configuration {
        true => None,
        false => Some(settings.text(name, &[("S_FLAGS", flags)])?),
    };
    work.check()?;
    staging.finish(text.as_deref(), &[])?;
    happened(Level::Info, name, "built", &[]);
    work.report(&statistics)?;
    work.say(&format!(
        "{name} is made; its configuration is {}, \"vserver {name} start\" starts it",
        config::file(name).display()
    ))
}

/// What is not safe yet.
pub(crate) fn warn_of_links(from: &str) {
    warn(
        "vserver",
        format_args!(
            "files outside of /etc, /var, /home, /root and /srv are the same files as those of {from}: a program that \
             writes into one of them, rather than putting a new one in its place, changes it for both"
        ),
    );
}
