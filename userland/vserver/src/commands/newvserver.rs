// SPDX-License-Identifier: GPL-2.0

//! `newvserver`: make a vserver, asking for what is not given.

use super::server::build::make;
use super::server::delete::confirmed;
use super::Verb;
use crate::exit_codes;
use crate::server::creation::leftover;
use crate::server::creation::settings::conflicts;
use crate::server::creation::Settings;
use crate::server::creation::SourceArguments;
use crate::server::relay::is_interactive;
use crate::server::Server;
use anyhow::bail;
use clap::Parser;
use libvserver::config;
use std::fs;
use std::io;
use std::io::BufRead;

/// Make a vserver, asking for what is not given
///
/// On a terminal, what no option says is asked for, and each answer is checked before the next question. Otherwise
/// everything comes from the options.
#[derive(Debug, Parser)]
#[command(name = "newvserver", max_term_width = 100)]
pub(crate) struct Newvserver {
    /// Its name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// The network device for addresses that name none
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,

    #[command(flatten)]
    source: SourceArguments,

    /// Where debootstrap or mmdebstrap gets the packages from
    #[arg(long, value_name = "URL", help_heading = "Source")]
    mirror: Option<String>,

    #[command(flatten)]
    settings: Settings,

    /// Take addresses, devices and numbers that are in use or not there
    #[arg(long)]
    force: bool,

    /// Do not show what is done
    #[arg(long)]
    silent: bool,
}

impl Verb for Newvserver {
    fn run(&self) -> anyhow::Result<u8> {
        let asks = is_interactive();
        let name = match &self.name {
            Some(name) => name.clone(),
            None if asks => answer("Name", "", &|name| must_be_free(name))?,
            None => bail!("--name is needed: without a terminal nobody can be asked"),
        };
        must_be_free(&name)?;
        let mut settings = self.settings.clone();
        let mut source = self.source.clone();
        if asks {
            self.ask(&name, &mut settings, &mut source)?;
        } else {
            check_network(
                &name,
                &with_device(&settings, self.device.as_deref()),
                self.force,
            )?;
        }
        let settings = with_device(&settings, self.device.as_deref());
        let source = source.source(self.mirror.as_deref())?;
        make(&name, &source, &settings, self.silent)?;
        Ok(exit_codes::SUCCESS)
    }
}

impl Newvserver {
    /// Asks for what no option says.
    fn ask(
        &self,
        name: &str,
        settings: &mut Settings,
        source: &mut SourceArguments,
    ) -> anyhow::Result<()> {
        if settings.description.is_none() {
            let text = answer("Description", "none", &|text| {
                let settings = Settings {
                    description: Some(text.to_owned()),
                    ..Settings::default()
                };
                settings.text(name, &[]).map(drop)
            })?;
            settings.description = Some(text).filter(|text| text != "none");
        }
        if !source.is_given() {
            let word = answer(
                "Source: host, copy VSERVER, link VSERVER, dir DIR, tar FILE, oci PATH, debootstrap SUITE",
                "host",
                &|text| SourceArguments::of_words(text)?.source(self.mirror.as_deref()).map(drop),
            )?;
            *source = SourceArguments::of_words(&word)?;
        }
        if settings.hostname.is_none() {
            let host = answer("Host name", name, &|host| {
                let settings = Settings {
                    hostname: Some(host.to_owned()),
                    ..Settings::default()
                };
                settings.text(name, &[]).map(drop)
            })?;
            settings.hostname = Some(host);
        }
        if settings.ip.is_empty() {
            let given = settings.clone();
            let with = |text: &str| {
                let mut settings = given.clone();
                if text != "none" {
                    settings.ip = text.split_whitespace().map(str::to_owned).collect();
                }
                settings
            };
            let text = answer("Addresses, as [DEVICE:]IP[/MASK]", "none", &|text| {
                check_network(
                    name,
                    &with_device(&with(text), self.device.as_deref()),
                    self.force,
                )
            })?;
            *settings = with(&text);
        } else {
            check_network(
                name,
                &with_device(settings, self.device.as_deref()),
                self.force,
            )?;
        }
        if !confirmed(&format!("Make {name}?"))? {
            bail!("nothing is made");
        }
        Ok(())
    }
}

/// A name that nobody has.
fn must_be_free(name: &str) -> anyhow::Result<()> {
    let server = Server::new(name)?;
    if let Some(left) = leftover(name) {
        eprintln!("{name}: {left}");
        return Ok(());
    }
    for path in [config::file(name), server.root()] {
        if fs::symlink_metadata(&path).is_ok() {
            bail!(
                "the name {name} is taken: {} exists; take another name",
                path.display()
            );
        }
    }
    Ok(())
}

/// What is asked for, with the device for all addresses.
fn with_device(settings: &Settings, device: Option<&str>) -> Settings {
    let mut settings = settings.clone();
    if let Some(device) = device {
        settings.set.push(format!("IPROOTDEV={device}"));
    }
    settings
}

fn check_network(name: &str, settings: &Settings, force: bool) -> anyhow::Result<()> {
    let lines = conflicts(name, &settings.text(name, &[])?)?;
    match lines.first() {
        Some(line) if !force => bail!("{line}; --force takes it all the same"),
        _ => Ok(()),
    }
}

/// Asks until the answer is right.
fn answer(
    question: &str,
    usual: &str,
    check: &dyn Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    loop {
        match usual.is_empty() {
            true => eprint!("{question}: "),
            false => eprint!("{question} [{usual}]: "),
        }
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line)? == 0 {
            bail!("nothing is made");
        }
        let text = match line.trim() {
            "" => usual,
            text => text,
        };
        match check(text) {
            Ok(()) => return Ok(text.to_owned()),
            Err(error) => eprintln!("{}", crate::report::message(&error)),
        }
    }
}
