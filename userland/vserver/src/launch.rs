// SPDX-License-Identifier: GPL-2.0

//! Becoming the command that the user gave.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The command could not be started.
#[derive(Debug)]
pub(crate) struct LaunchError {
    pub(crate) program: OsString,
    pub(crate) source: io::Error,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.to_string_lossy();
        match self.source.kind() {
            io::ErrorKind::NotFound => write!(f, "{program}: command not found"),
            io::ErrorKind::PermissionDenied => write!(f, "{program}: not executable for us"),
            _ => write!(f, "{program}: cannot be executed: {}", self.source),
        }
    }
}

impl std::error::Error for LaunchError {}

/// Replace this process by the command; returns only when that fails.
pub(crate) fn exec(command: &[OsString]) -> LaunchError {
    let (program, args) = command.split_first().expect("clap requires a command");
    LaunchError {
        source: Command::new(program).args(args).exec(),
        program: program.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_program() {
        let error = exec(&["/nonexistent/program".into()]);
        assert_eq!(error.to_string(), "/nonexistent/program: command not found");
        let error = exec(&["/dev/null".into()]);
        assert_eq!(error.to_string(), "/dev/null: not executable for us");
    }
}
