// SPDX-License-Identifier: GPL-2.0

//! What a command says before it becomes another program.

use anyhow::Context;
use std::fmt;
use std::io;
use std::io::Write;

/// Tell the user what has changed, at once: the command writes to the same place. Nobody listening
/// is no reason to stop.
pub(crate) fn announce(line: fmt::Arguments<'_>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to the standard output")
        }
        _ => Ok(()),
    }
}

/// Tell the user what may be wrong, though it does not stop us.
pub(crate) fn warn(program: &str, line: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{program}: warning: {line}");
}
