// SPDX-License-Identifier: GPL-2.0

//! The manual pages of section 8, one for each command, from the definitions of their options.

use super::called::commands;
use super::called::Kind;
use super::called::Written;
use crate::cli::Cli;
use clap::Command;
use clap::CommandFactory;
use clap_mangen::roff::bold;
use clap_mangen::roff::italic;
use clap_mangen::roff::roman;
use clap_mangen::roff::Inline;
use clap_mangen::roff::Roff;
use clap_mangen::Man;

/// What stands at the foot and at the head of each page.
const SOURCE: &str = concat!("vserver ", env!("CARGO_PKG_VERSION"));
const MANUAL: &str = "Virtual servers";

const FILES: [(&str, &str); 8] = [
    (
        "/etc/vservers/NAME.conf",
        "the configuration, see vserver.conf(5)",
    ),
    (
        "/etc/vservers/NAME.sh",
        "a script that is called at the start and the stop",
    ),
    ("/etc/vservers/NAME.fstab", "more mounts"),
    ("/etc/vservers.conf", "values for all vservers"),
    ("/vservers/NAME", "the root directory"),
    ("/var/run/vservers", "what is known of those that run"),
    (
        "/var/log/vservers/NAME.console",
        "what the console has shown",
    ),
    ("/dev/vserver", "the kernel module"),
];

/// All of them.
pub(super) fn all() -> anyhow::Result<Vec<Written>> {
    let mut files = vec![("man/vserver.8".to_owned(), overview())];
    for (_, command) in commands() {
        files.push((format!("man/{}.8", page_name(&command)), page(command)?));
    }
    Ok(files)
}

fn page_name(command: &Command) -> String {
    command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned()
}

/// The head of a page and its section NAME.
pub(super) fn begin(roff: &mut Roff, name: &str, section: &str, about: &str) {
    let title = name.to_uppercase();
    // Two quotes: no date, so that the same sources give the same page.
    roff.control("TH", [title.as_str(), section, "\"\"", SOURCE, MANUAL]);
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {about}"))]);
}

/// Paragraphs of plain text.
pub(super) fn paragraphs(roff: &mut Roff, text: &str) {
    for (index, paragraph) in text.split("\n\n").enumerate() {
        if index > 0 {
            roff.control("PP", []);
        }
        roff.text([roman(paragraph.trim().replace('\n', " "))]);
    }
}

/// A word, and below it what it is.
pub(super) fn item(roff: &mut Roff, word: Vec<Inline>, text: &str) {
    roff.control("TP", []);
    roff.text(word);
    paragraphs(roff, text);
}

/// What else to read.
pub(super) fn see_also(roff: &mut Roff, pages: &[(&str, &str)]) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (index, (name, section)) in pages.iter().enumerate() {
        if index > 0 {
            line.push(roman(", "));
        }
        line.push(bold(*name));
        line.push(roman(format!("({section})")));
    }
    roff.text(line);
}

/// How a command is called, from the usage of its help: what stands for something is in capitals there.
fn synopsis(roff: &mut Roff, command: &mut Command) {
    roff.control("SH", ["SYNOPSIS"]);
    let usage = command.render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage);
    for (index, line) in usage
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .enumerate()
    {
        if index > 0 {
            roff.control("br", []);
        }
        roff.text(usage_words(line));
    }
}

fn usage_words(line: &str) -> Vec<Inline> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut inlines = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let of_word = is_word(first);
        let end = rest.find(|c| is_word(c) != of_word).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        inlines.push(match part {
            _ if !of_word => roman(part),
            _ if part.starts_with('-') || part.contains(|c: char| c.is_ascii_lowercase()) => {
                bold(part)
            }
            _ => italic(part),
        });
        rest = after;
    }
    inlines
}

/// The long help; its first sentence is in NAME already when there is more.
fn description(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["DESCRIPTION"]);
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let text = command
        .get_long_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let more = text.strip_prefix(&about).map(str::trim).unwrap_or(&text);
    match more {
        "" => paragraphs(roff, &format!("{about}.")),
        more => paragraphs(roff, more),
    }
}

/// A table or the like that stands below the help.
fn notes(roff: &mut Roff, text: &str) {
    roff.control("SH", ["NOTES"]);
    // As it stands: these are columns.
    roff.control("nf", []);
    for line in text.lines().map(str::trim_end) {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

fn page(mut command: Command) -> anyhow::Result<Vec<u8>> {
    let name = page_name(&command);
    let about = command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default();
    let mut roff = Roff::new();
    begin(&mut roff, &name, "8", &lower_first(&about));
    synopsis(&mut roff, &mut command);
    description(&mut roff, &command);
    let mut page = roff.render().into_bytes();
    let notes_of = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(ToString::to_string);
    if command
        .get_arguments()
        .any(|argument| !argument.is_hide_set())
    {
        Man::new(command).render_options_section(&mut page)?;
    }
    let mut roff = Roff::new();
    if let Some(text) = notes_of {
        notes(&mut roff, &text);
    }
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman("As in "), bold("vserver"), roman("(8).")]);
    see_also(&mut roff, &[("vserver", "8"), ("vserver.conf", "5")]);
    page.extend(roff.to_roff().into_bytes());
    Ok(page)
}

/// As it stands behind the dash of NAME.
fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_lowercase().chain(chars).collect())
        .unwrap_or_default()
}

/// The page of the whole.
fn overview() -> Vec<u8> {
    let cli = Cli::command();
    let about = cli.get_about().map(ToString::to_string).unwrap_or_default();
    let mut roff = Roff::new();
    begin(&mut roff, "vserver", "8", &lower_first(&about));
    roff.control("SH", ["SYNOPSIS"]);
    roff.text(usage_words(
        "vserver [OPTION]... NAME... VERB [ARGUMENT]...",
    ));
    roff.control("br", []);
    roff.text(usage_words("vserver COMMAND [ARGUMENT]..."));
    description(&mut roff, &cli);
    for (kinds, heading) in [
        (&[Kind::Verb][..], "VERBS"),
        (&[Kind::Plain, Kind::Program], "COMMANDS"),
    ] {
        roff.control("SH", [heading]);
        for (kind, command) in commands() {
            if kinds.contains(&kind) {
                let about = command
                    .get_about()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let called = command.get_bin_name().unwrap_or_else(|| command.get_name());
                let mut head = usage_words(called);
                head.push(roman(format!(", see {}(8)", page_name(&command))));
                item(&mut roff, head, &format!("{about}."));
            }
        }
    }
    roff.control("SH", ["EXIT STATUS"]);
    let codes = cli
        .get_after_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    for line in codes.lines() {
        if let Some((code, meaning)) = line
            .trim()
            .split_once(' ')
            .filter(|(code, _)| code.parse::<u8>().is_ok())
        {
            item(&mut roff, vec![bold(code)], &format!("{}.", meaning.trim()));
        }
    }
    roff.control("SH", ["FILES"]);
    for (file, what) in FILES {
        item(&mut roff, vec![italic(file)], &format!("{what}."));
    }
    see_also(
        &mut roff,
        &[
            ("vserver.conf", "5"),
            ("vservers", "8"),
            ("chcontext", "8"),
            ("chbind", "8"),
        ],
    );
    roff.render().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_usage() {
        assert_eq!(
            usage_words("vserver [--nodev] NAME exec [--user USER] COMMAND..."),
            vec![
                bold("vserver"),
                roman(" ["),
                bold("--nodev"),
                roman("] "),
                italic("NAME"),
                roman(" "),
                bold("exec"),
                roman(" ["),
                bold("--user"),
                roman(" "),
                italic("USER"),
                roman("] "),
                italic("COMMAND"),
                roman("..."),
            ]
        );
    }
}
