// SPDX-License-Identifier: GPL-2.0

//! What long work shows, and that it can be interrupted.

use crate::announce::announce;
use crate::server::relay::as_file;
use indicatif::HumanBytes;
use indicatif::ProgressBar;
use indicatif::ProgressStyle;
use libvserver::tree::Fault;
use libvserver::tree::Size;
use libvserver::tree::Statistics;
use nix::poll::poll;
use nix::poll::PollFd;
use nix::poll::PollFlags;
use nix::poll::PollTimeout;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use std::io;
use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

/// How often is looked for signals, and shown how far it is.
const PERIOD: Duration = Duration::from_millis(50);

/// How often a line is written when there is no terminal.
const LINE: Duration = Duration::from_secs(10);

/// Work that takes its time.
pub(crate) struct Work {
    signals: Rc<SignalFd>,
    bar: Option<ProgressBar>,
    silent: bool,
    to_stderr: bool,
    begun: Instant,
    looked: Instant,
    written: Instant,
}

impl Work {
    /// Begins. From now on, SIGINT, SIGTERM and SIGHUP end it in order.
    pub(crate) fn begin(silent: bool) -> anyhow::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            signals: Rc::new(as_file(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?),
            bar: None,
            silent,
            to_stderr: false,
            begun: now,
            looked: now,
            written: now,
        })
    }

    /// What is said goes to the standard error: the output is something else.
    pub(crate) fn on_stderr(mut self) -> Self {
        self.to_stderr = true;
        self
    }

    /// Says something.
    pub(crate) fn say(&self, line: &str) -> anyhow::Result<()> {
        if self.to_stderr && !self.silent {
            let _ = writeln!(io::stderr(), "{line}");
            return Ok(());
        }
        match (self.silent, &self.bar) {
            (true, _) => Ok(()),
            (false, Some(bar)) => bar.suspend(|| announce(format_args!("{line}"))),
            (false, None) => announce(format_args!("{line}")),
        }
    }

    /// Shows how far it is from now on, as a part of the whole when that is known.
    pub(crate) fn show(&mut self, whole: Option<Size>) {
        if self.silent || !io::stderr().is_terminal() {
            return;
        }
        let (bar, template) = match whole {
            Some(size) => (
                ProgressBar::new(size.entries.max(1)),
                "{bar:30} {percent:>3}% {msg}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        self.bar = Some(bar);
    }

    /// Nothing is shown any more.
    pub(crate) fn hide(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Whether somebody wants it to end.
    pub(crate) fn check(&self) -> Result<(), Fault> {
        match self.signals.read_signal() {
            Ok(Some(_)) => Err(Fault::interrupted()),
            _ => Ok(()),
        }
    }

    /// Called for every name.
    pub(crate) fn step(&mut self, statistics: &Statistics, path: &Path) -> Result<(), Fault> {
        if self.looked.elapsed() < PERIOD {
            return Ok(());
        }
        self.looked = Instant::now();
        self.check()?;
        let names = statistics.directories
            + statistics.files
            + statistics.linked
            + statistics.symlinks
            + statistics.special
            + statistics.skipped;
        if let Some(bar) = &self.bar {
            bar.set_position(names);
            let shown: String = path
                .to_string_lossy()
                .chars()
                .filter(|char| !char.is_control())
                .take(40)
                .collect();
            bar.set_message(format!(
                "{} files, {}, {shown}",
                statistics.files,
                HumanBytes(statistics.bytes)
            ));
        } else if !self.silent && self.written.elapsed() >= LINE {
            self.written = Instant::now();
            let _ = writeln!(
                io::stderr(),
                "{} files, {} so far",
                statistics.files,
                HumanBytes(statistics.bytes)
            );
        }
        Ok(())
    }

    /// The same where only the end is of interest.
    pub(crate) fn tick(&mut self) -> Result<(), Fault> {
        if self.looked.elapsed() < PERIOD {
            return Ok(());
        }
        self.looked = Instant::now();
        self.check()
    }

    /// A reader that does not wait any more when somebody wants it to end.
    pub(crate) fn reader<R: Read + AsFd>(&self, from: R) -> Interruptible<R> {
        Interruptible {
            from,
            signals: Rc::clone(&self.signals),
        }
    }

    /// What was made, a line for each.
    pub(crate) fn report(&mut self, statistics: &Statistics) -> anyhow::Result<()> {
        self.hide();
        let mut lines = vec![
            ("directories created", statistics.directories.to_string()),
            ("files copied", statistics.files.to_string()),
            ("bytes copied", statistics.bytes.to_string()),
            ("files linked", statistics.linked.to_string()),
            ("symbolic links", statistics.symlinks.to_string()),
            ("special files", statistics.special.to_string()),
        ];
        if statistics.skipped > 0 {
            lines.push((
                "devices and sockets left out",
                statistics.skipped.to_string(),
            ));
        }
        if statistics.attributes_lost > 0 {
            lines.push((
                "attributes left out",
                statistics.attributes_lost.to_string(),
            ));
        }
        lines.push((
            "time",
            format!("{:.1} s", self.begun.elapsed().as_secs_f64()),
        ));
        for (what, value) in lines {
            self.say(&format!("{:<29} {value}", format!("{what}:")))?;
        }
        Ok(())
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.hide();
    }
}

/// Reads until a signal comes.
pub(crate) struct Interruptible<R> {
    from: R,
    signals: Rc<SignalFd>,
}

impl<R: Read + AsFd> Read for Interruptible<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut both = [
            PollFd::new(self.from.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut both, PollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        let is_wanted = both[1].any().unwrap_or(false);
        if is_wanted {
            // Not `Interrupted`: who reads would try again.
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "interrupted",
            ));
        }
        self.from.read(buffer)
    }
}
