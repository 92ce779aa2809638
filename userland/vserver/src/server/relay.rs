// SPDX-License-Identifier: GPL-2.0

//! The user's own terminal, while what is typed goes to another one.

use anyhow::Context;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use nix::sys::signalfd::SfdFlags;
use nix::sys::signalfd::SignalFd;
use nix::sys::termios::cfmakeraw;
use nix::sys::termios::tcgetattr;
use nix::sys::termios::tcsetattr;
use nix::sys::termios::SetArg;
use nix::sys::termios::Termios;
use rustix::termios::Winsize;
use std::io;
use std::io::IsTerminal;
use std::io::Stdin;
use std::io::Write;
use std::os::fd::AsFd;

/// The terminal passes every key on. Dropped: as it was.
pub(crate) struct Raw {
    input: Stdin,
    before: Termios,
}

impl Raw {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let input = io::stdin();
        let before = tcgetattr(&input).context("cannot ask the terminal for its settings")?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&input, SetArg::TCSADRAIN, &raw).context("cannot set the terminal")?;
        Ok(Self { input, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.input, SetArg::TCSADRAIN, &self.before);
    }
}

/// Whether somebody sits at a terminal.
pub(crate) fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The size of the user's terminal.
pub(crate) fn size() -> Option<Winsize> {
    rustix::termios::tcgetwinsize(io::stdin()).ok()
}

/// Gives another terminal that size.
pub(crate) fn pass_size(to: impl AsFd) {
    if let Some(size) = size() {
        let _ = rustix::termios::tcsetwinsize(to, size);
    }
}

/// These signals come as something to be read, from now on.
pub(crate) fn as_file(signals: &[Signal]) -> anyhow::Result<SignalFd> {
    let set: SigSet = signals.iter().copied().collect();
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .context("cannot wait for signals")
}

/// Shows what came; a reader that is gone is an error of its own kind.
pub(crate) fn show(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// What a console has shown, as lines of text: a terminal ends each with a carriage return, which other programs take for a
/// part of it. It comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// A carriage return that nothing has followed yet.
    is_held: bool,
}

impl Text {
    /// Shows the next piece.
    pub(crate) fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        show(&self.convert(bytes))
    }

    fn convert(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if self.is_held && *byte != b'\n' {
                text.push(b'\r');
            }
            self.is_held = *byte == b'\r';
            if !self.is_held {
                text.push(*byte);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_line_feed_alone() {
        let mut text = Text::default();
        let mut all = Vec::new();
        for piece in ["one\r", "\ntwo\r\n\r", "\r\n50 %\r", "", "100 %\n"] {
            all.extend(text.convert(piece.as_bytes()));
        }
        assert_eq!(
            String::from_utf8(all).unwrap(),
            "one\ntwo\n\r\n50 %\r100 %\n"
        );
    }
}
