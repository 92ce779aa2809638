// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME logs`: what its console has shown, and what has happened to it.

use super::super::Verb;
use crate::exec;
use crate::exit_codes;
use crate::server::console_log::older;
use crate::server::events;
use crate::server::relay::show;
use crate::server::relay::Text;
use crate::server::Server;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use nix::sys::inotify::AddWatchFlags;
use nix::sys::inotify::InitFlags;
use nix::sys::inotify::Inotify;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Show what the console of a vserver has shown
#[derive(Debug, Parser)]
#[command(
    name = "logs",
    max_term_width = 100,
    override_usage = "vserver NAME logs [-n LINES] [-f]\n       vserver NAME logs --events"
)]
pub(crate) struct Logs {
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    lines: Option<usize>,

    /// Go on with what it shows from now on, until Ctrl-C
    #[arg(short, long)]
    follow: bool,

    /// What was done with it instead: starts, ends, addresses, one line each, from the journal or
    /// /var/log/vservers/vserver.log
    #[arg(long, conflicts_with_all = ["lines", "follow"])]
    events: bool,

    /// The vserver
    name: String,
}

impl Verb for Logs {
    fn run(&self) -> anyhow::Result<u8> {
        let server = Server::new(&self.name)?;
        if self.events {
            return self.show_events();
        }
        let path = server.log();
        if !path.exists() && !self.follow {
            server.must_have_configuration()?;
            bail!(
                "{} has never been started: no {}",
                self.name,
                path.display()
            );
        }
        let mut text = fs::read(older(&path)).unwrap_or_default();
        let mut current = File::open(&path).ok();
        if let Some(file) = &mut current {
            file.read_to_end(&mut text)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        let mut shown = Text::default();
        shown.show(last(&text, self.lines))?;
        match self.follow {
            true => follow(&path, current, shown),
            false => Ok(exit_codes::SUCCESS),
        }
    }
}

impl Logs {
    fn show_events(&self) -> anyhow::Result<u8> {
        if events::has_journal() {
            let matched = format!("VSERVER={}", self.name);
            let command = ["journalctl", "--no-pager", "-t", "vserver", &matched];
            return Err(exec::exec(&command.map(Into::into)));
        }
        let mut out = Vec::new();
        for line in events::lines() {
            if events::is_of(&line, &self.name) {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
            }
        }
        show(&out)?;
        Ok(exit_codes::SUCCESS)
    }
}

/// The last lines of a text.
fn last(text: &[u8], lines: Option<usize>) -> &[u8] {
    let Some(lines) = lines else {
        return text;
    };
    let ends = text
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    // The end of the last line is not the beginning of another one.
    let skipped = usize::from(text.last() == Some(&b'\n'));
    match (
        lines,
        ends.map(|(index, _)| index).nth(lines.max(1) - 1 + skipped),
    ) {
        (0, _) => &[],
        (_, Some(index)) => &text[index + 1..],
        (_, None) => text,
    }
}

/// Shows what is added, also when the file is put aside or not there yet.
fn follow(path: &Path, mut current: Option<File>, mut shown: Text) -> anyhow::Result<u8> {
    let folder = path.parent().context("the log has no directory")?;
    let watch = Inotify::init(InitFlags::IN_CLOEXEC)?;
    let changes = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    watch
        .add_watch(folder, changes)
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    loop {
        if let Some(file) = &mut current {
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            match shown.show(&text) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Ok(exit_codes::SUCCESS)
                }
                done => done?,
            }
        }
        let inode = |data: io::Result<fs::Metadata>| data.map(|data| data.ino()).ok();
        let there = inode(fs::metadata(path));
        let here = current.as_ref().and_then(|file| inode(file.metadata()));
        if there.is_some() && there != here {
            current = Some(File::open(path)?);
            continue;
        }
        match watch.read_events() {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("cannot wait for the log"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        let text = b"a\nb\nc\n";
        assert_eq!(last(text, None), text);
        assert_eq!(last(text, Some(0)), b"");
        assert_eq!(last(text, Some(1)), b"c\n");
        assert_eq!(last(text, Some(2)), b"b\nc\n");
        assert_eq!(last(text, Some(3)), text);
        assert_eq!(last(text, Some(9)), text);
        assert_eq!(last(b"a\nb", Some(1)), b"b");
        assert_eq!(last(b"", Some(1)), b"");
    }
}
