// SPDX-License-Identifier: GPL-2.0

//! Becoming the command that the user gave, or starting it in the background.

use crate::exit_codes;
use crate::exit_codes::HasExitCode;
use crate::exit_codes::Style;
use nix::errno::Errno;
use nix::spawn::posix_spawnp;
use nix::spawn::PosixSpawnAttr;
use nix::spawn::PosixSpawnFileActions;
use nix::spawn::PosixSpawnFlags;
use nix::sys::signal::SigSet;
use nix::sys::signal::Signal;
use std::ffi::CString;
use std::ffi::OsStr;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The command could not be started.
#[derive(Debug)]
struct ExecError {
    program: OsString,
    source: io::Error,
}

impl fmt::Display for ExecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.to_string_lossy();
        match self.source.kind() {
            io::ErrorKind::NotFound if program.contains('/') => write!(
                f,
                "{program}: command not found: there is no such file, or not what it needs to be run"
            ),
            io::ErrorKind::NotFound => write!(
                f,
                "{program}: command not found in the directories of PATH; name it with its own"
            ),
            io::ErrorKind::PermissionDenied => {
                write!(f, "{program}: not executable for us; \"chmod a+x\" makes a program so")
            }
            _ => write!(f, "{program}: cannot be executed: {}", self.source),
        }
    }
}

impl std::error::Error for ExecError {}

impl HasExitCode for ExecError {
    fn exit_code(&self, _style: Style) -> u8 {
        match self.source.kind() {
            io::ErrorKind::NotFound => exit_codes::NOT_FOUND,
            _ => exit_codes::CANNOT_EXECUTE,
        }
    }
}

/// That a program could not be started, and why.
pub(crate) fn failed(program: &OsStr, source: io::Error) -> anyhow::Error {
    let program = program.to_owned();
    exit_codes::coded(ExecError { program, source })
}

/// Replace this process by the command; returns only when that fails.
pub(crate) fn exec(command: &[OsString]) -> anyhow::Error {
    exec_with(command, [])
}

/// The same, with these variables of the environment changed.
pub(crate) fn exec_with<'a>(
    command: &[OsString],
    environment: impl IntoIterator<Item = (&'static str, &'a OsStr)>,
) -> anyhow::Error {
    let (program, args) = command.split_first().expect("clap requires a command");
    failed(
        program,
        Command::new(program).args(args).envs(environment).exec(),
    )
}

/// Replace this process by the command with exactly this environment, and perhaps under another name; returns
/// only when that fails.
pub(crate) fn exec_in(
    command: &[OsString],
    name: Option<&str>,
    environment: &[(OsString, OsString)],
) -> anyhow::Error {
    let (program, args) = command.split_first().expect("the caller has a command");
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)));
    if let Some(name) = name {
        command.arg0(name);
    }
    failed(program, command.exec())
}

/// Start the command in a session of its own, with the same files, and go on without it. That it
/// cannot be started is known before this returns.
pub(crate) fn background(command: &[OsString]) -> anyhow::Result<()> {
    let program = command.first().expect("clap requires a command");
    spawn(program, command).map_err(|errno| failed(program, errno.into()))
}

fn spawn(program: &OsStr, command: &[OsString]) -> Result<(), Errno> {
    // What the kernel has passed to us has no zero bytes inside.
    let string = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| Errno::EINVAL);
    let args: Vec<CString> = command
        .iter()
        .map(|arg| string(arg))
        .collect::<Result<_, _>>()?;
    let environment: Vec<CString> = std::env::vars_os()
        .map(|(mut entry, value)| {
            entry.push("=");
            entry.push(value);
            string(&entry)
        })
        .collect::<Result<_, _>>()?;
    let own_session = PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into());
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(own_session | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
    // Rust programs ignore it; the command should not inherit that.
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    let files = PosixSpawnFileActions::init()?;
    posix_spawnp(&string(program)?, &files, &attributes, &args, &environment).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_program() {
        let error = exec(&["/nonexistent/program".into()]);
        let says = |error: &anyhow::Error, text: &str, code: u8| {
            assert!(error.to_string().starts_with(text), "{error}");
            for style in [Style::Plain, Style::Exec] {
                assert_eq!(exit_codes::of_error(error, style), code, "{error}");
            }
        };
        says(&error, "/nonexistent/program: command not found: ", 127);
        let error = exec(&["no-such-program".into()]);
        says(&error, "no-such-program: command not found in ", 127);
        let error = exec(&["/dev/null".into()]);
        says(&error, "/dev/null: not executable for us; ", 126);
        let error = background(&["/nonexistent/program".into()]).unwrap_err();
        says(&error, "/nonexistent/program: command not found: ", 127);
    }
}
