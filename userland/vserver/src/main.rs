// SPDX-License-Identifier: GPL-2.0

//! One binary for all commands: it is called by the command's name, or as `vserver COMMAND`.

#![forbid(unsafe_code)]

mod announce;
mod cli;
mod columns;
mod commands;
mod duration;
mod exit_codes;
mod ipv4root;
mod launch;
mod port_holders;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if args
        .get(1)
        .is_some_and(|arg| arg == libvserver::helper::ARGUMENT)
    {
        let served = libvserver::helper::serve(std::io::stdin(), std::io::stdout());
        return ExitCode::from(match served {
            Ok(()) => exit_codes::SUCCESS,
            Err(_) => exit_codes::USAGE,
        });
    }
    ExitCode::from(cli::run(args))
}
