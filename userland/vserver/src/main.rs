// SPDX-License-Identifier: GPL-2.0

//! One binary for all commands: it is called by the command's name, or as `vserver COMMAND`.

#![forbid(unsafe_code)]

mod announce;
mod cli;
mod columns;
mod commands;
mod duration;
mod exec;
mod exit_codes;
mod ipv4root;

mod output;
#[cfg(any(test, feature = "pages"))]
mod pages;
mod processes;
mod report;
mod server;
mod wildcard_binds;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    let text = |index: usize| args.get(index).and_then(|arg| arg.to_str());
    let code = match text(1) {
        Some(libvserver::helper::ARGUMENT) => {
            match libvserver::helper::serve(std::io::stdin(), std::io::stdout()) {
                Ok(()) => exit_codes::SUCCESS,
                Err(_) => exit_codes::USAGE,
            }
        }
        Some(server::inside::ARGUMENT) => server::inside::serve(),
        Some(server::supervisor::ARGUMENT) => server::supervisor::serve(text(2), text(3)),
        Some(server::watch::ARGUMENT) => server::watch::serve(text(2)),
        #[cfg(feature = "pages")]
        Some(pages::ARGUMENT) => written(args.get(2)),
        _ => cli::run(args),
    };
    ExitCode::from(code)
}

#[cfg(feature = "pages")]
fn written(directory: Option<&OsString>) -> u8 {
    let Some(directory) = directory else {
        eprintln!("vserver: {} needs a directory", pages::ARGUMENT);
        return exit_codes::USAGE;
    };
    match pages::write(directory.as_ref()) {
        Ok(()) => exit_codes::SUCCESS,
        Err(error) => {
            eprintln!("vserver: {}", report::message(&error));
            exit_codes::FAILURE
        }
    }
}
