// SPDX-License-Identifier: GPL-2.0

//! The runner behind the Makefile. It runs inside the Debian root that `qemu/bootstrap.sh` makes, with the
//! checkout at `/src` and the cache at `/cache`.

mod analyzer;
mod bench;
mod c_bodies;
mod cache;
mod check;
mod console;
mod deb;
mod exec;
mod follow;
mod guest;
mod jumps;
mod kernel;
mod layers;
mod log;
mod long;
mod machine;
mod packages;
mod patches;
mod places;
mod starts;
mod step;
mod suite;
mod terminal;
mod tour;
mod trees;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "vserver-runner", about = "Builds, boots and tests vserver")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Boot the stock lane with two vservers and look around.
    Run,
    /// Run all tests.
    Test {
        /// Only tests whose name contains this.
        #[arg(long, default_value = "")]
        filter: String,
        /// Only in this lane.
        #[arg(long)]
        lane: Option<kernel::Lane>,
    },
    /// Run the long tests that have not passed for these sources, and print all results.
    TestLong {
        /// Only these parts, or "list": only print the results.
        #[arg(long, default_value = "")]
        part: String,
        /// Only in this lane.
        #[arg(long)]
        lane: Option<kernel::Lane>,
        /// Also what has passed.
        #[arg(long)]
        force: bool,
    },
    /// Run a command as root on a booted machine.
    Exec {
        #[arg(long, default_value = "stock")]
        lane: kernel::Lane,
        /// Count instructions exactly.
        #[arg(long)]
        icount: bool,
        /// The command comes through make, where some write a dollar sign twice.
        #[arg(long)]
        make: bool,
        /// For `/bin/sh -c` in the guest.
        #[arg(env = "VSERVER_COMMAND")]
        command: String,
    },
    /// Count the instructions of system calls in every lane and write docs/benchmarks.md.
    Bench {
        /// Only in this lane, and only printed.
        #[arg(long)]
        lane: Option<kernel::Lane>,
    },
    /// Time starts and stops of a whole system beside nspawn and lxc, and write docs/starting.md.
    Starts,
    /// Build the module and print where it is.
    Kmod {
        #[arg(long, default_value = "stock")]
        lane: kernel::Lane,
    },
    /// Build a lane's kernel and print where it is.
    Kernel {
        #[arg(long, default_value = "patched")]
        lane: kernel::Lane,
    },
    /// Build the kernel after each patch.
    Steps,
    /// Build the programs and print where they are.
    Userland,
    /// Build the Debian packages and print where they are.
    Deb,
    /// Formatting, lints, unsafe by folder, header drift.
    Check,
    /// Write a rust-project.json for kmod/.
    Analyzer,
    /// Write include/vserver_ioctl.h anew.
    Header,
    /// Format the sources.
    Fmt,
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vserver: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<ExitCode> {
    match verb {
        Verb::Run => tour::run(),
        Verb::Test { filter, lane } => suite::run(&filter, lane),
        Verb::TestLong { part, lane, force } => long::run(&part, lane, force),
        Verb::Exec {
            lane,
            icount,
            make,
            command,
        } => {
            let command = if make {
                exec::single_dollars(&command)
            } else {
                command
            };
            exec::run(lane, icount, &command)
        }
        Verb::Bench { lane } => bench::run(lane),
        Verb::Starts => starts::run(),
        Verb::Kmod { lane } => {
            cache::cargo_done()?;
            println!(
                "{}",
                step::on_host(&kernel::module(lane, kernel::Purpose::Test)?)
            );
            Ok(ExitCode::SUCCESS)
        }
        Verb::Kernel { lane } => {
            cache::cargo_done()?;
            let kernel = kernel::kernel(lane, kernel::Purpose::Test)?;
            println!("{}", step::on_host(&kernel.image));
            Ok(ExitCode::SUCCESS)
        }
        Verb::Steps => patches::steps(),
        Verb::Userland => {
            println!("{}", step::on_host(&guest::programs()?.vserver));
            Ok(ExitCode::SUCCESS)
        }
        Verb::Deb => deb::run(),
        Verb::Check => check::run(),
        Verb::Analyzer => analyzer::run(),
        Verb::Header => check::write_header(),
        Verb::Fmt => check::format(false),
    }
}
