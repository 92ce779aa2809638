// SPDX-License-Identifier: GPL-2.0

//! What happens to vservers, as structured lines: to the journal of systemd where there is one, else to a file of bounded
//! size.

use super::console_log::older;
use super::console_log::ConsoleLog;
use super::vserver::LOGS;
use log::Level;
use log::Record;
use std::fmt::Write;
use std::path::Path;
use std::time::SystemTime;
use systemd_journal_logger::JournalLog;

/// The file, in [`LOGS`].
const FILE: &str = "vserver.log";

/// It is put aside when it is as large.
const SIZE_MAX: u64 = 1 << 20;

/// Something has happened to a vserver. `fields`: what belongs to it, names in lower case. A log that cannot be written
/// stops nobody.
pub(crate) fn happened(level: Level, server: &str, event: &str, fields: &[(&str, String)]) {
    let mut all = vec![("vserver", server.to_owned()), ("event", event.to_owned())];
    all.extend(fields.iter().map(|(name, value)| (*name, value.clone())));
    if has_journal() {
        if let Ok(journal) = JournalLog::new() {
            let values: Vec<(String, String)> = all
                .iter()
                .map(|(name, value)| (key(name), value.clone()))
                .collect();
            let sent = journal
                .with_syslog_identifier("vserver".to_owned())
                .journal_send(
                    &Record::builder()
                        .level(level)
                        .args(format_args!("{server}: {}", sentence(event, fields)))
                        .key_values(&values)
                        .build(),
                );
            if sent.is_ok() {
                return;
            }
        }
    }
    if super::make_directory(LOGS).is_ok() {
        let time = humantime::format_rfc3339_seconds(SystemTime::now());
        let line = format!(
            "time={time} level={}{}\n",
            level.as_str().to_lowercase(),
            written(&all)
        );
        if let Ok(mut log) = ConsoleLog::open(&Path::new(LOGS).join(FILE), SIZE_MAX) {
            log.add(line.as_bytes());
        }
    }
}

/// Whether the journal takes them.
pub(crate) fn has_journal() -> bool {
    Path::new(JOURNAL).exists()
}

/// The lines of the file, oldest first.
pub(crate) fn lines() -> Vec<String> {
    let path = Path::new(LOGS).join(FILE);
    [older(&path), path]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Whether a line is about this vserver.
pub(crate) fn is_of(line: &str, server: &str) -> bool {
    let name = line
        .split(' ')
        .find_map(|field| field.strip_prefix("vserver="));
    name == Some(server)
}

/// Where journald listens.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// A field of ours as the journal names it; its own are left alone.
fn key(name: &str) -> String {
    match name {
        "vserver" => "VSERVER".to_owned(),
        name => format!("VSERVER_{}", name.to_ascii_uppercase()),
    }
}

/// `start context=100`
fn sentence(event: &str, fields: &[(&str, String)]) -> String {
    event.to_owned() + &written(fields)
}

/// ` name=value name="two words"`
fn written(fields: &[(&str, String)]) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        let plain = |char: char| char.is_ascii_graphic() && !"\"=\\".contains(char);
        let _ = match !value.is_empty() && value.chars().all(plain) {
            true => write!(text, " {name}={value}"),
            false => write!(text, " {name}={value:?}"),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_whatever_the_values() {
        let fields = [
            ("context", "100".to_owned()),
            ("message", "a \"b\"\nc".to_owned()),
        ];
        assert_eq!(
            sentence("start", &fields),
            "start context=100 message=\"a \\\"b\\\"\\nc\""
        );
        assert_eq!(written(&[("x", String::new())]), " x=\"\"");
        assert_eq!(
            (key("vserver"), key("event")),
            ("VSERVER".to_owned(), "VSERVER_EVENT".to_owned())
        );
    }
}
