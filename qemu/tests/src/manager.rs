// SPDX-License-Identifier: GPL-2.0

//! The commands around a vserver, with busybox in it: its addresses on devices, its mounts and hooks, what is so after a
//! command was killed, many at once, and what is shown of it.

use crate::{
    fixture::{ensure, equal, list, words, Outcome},
    init::{contains, leftovers::Machine, until, with_vservers, Vserver, CONFIGURATION},
    test, Test,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

pub(crate) mod addresses;
mod afresh;
mod boot;
mod changed;
mod entering;
mod hooks;
mod inside;
mod killed;
mod mounts;
mod sample;
mod shown;

pub const TESTS: &[Test] = &[
    addresses::ON_DEVICES,
    addresses::OF_ONE_NETWORK,
    addresses::WRONG,
    mounts::BOUND,
    mounts::WRONG,
    hooks::ORDER,
    hooks::FAILING,
    boot::ORDER,
    boot::SEVERAL,
    sample::STARTS,
    changed::WRONG,
    changed::OTHER,
    killed::START_AND_STOP,
    killed::KEEPER,
    entering::BROUGHT,
    entering::CAPCHROOT,
    entering::ATTACKED,
    entering::ATTACKED_IN_THE_OLD_WAY,
    afresh::ALL,
    afresh::IMMUTABLE,
    afresh::KEPT,
    inside::ENTER,
    inside::AHEAD,
    inside::STREAMS,
    inside::SIGNALS,
    inside::CODES,
    inside::CONSOLE,
    shown::CONFIGURATION_OF_ONE,
    shown::EDITED,
    shown::LOGS_OF_ONE,
    shown::LISTED,
];

/// Runs `vserver …` or another of our programs; its code, and all that it has printed.
fn run(line: &[&str]) -> Result<(i32, String), String> {
    let ran = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{line:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = ran.status.code().unwrap_or(-1);
    Ok((code, text(&ran.stdout) + &text(&ran.stderr)))
}

/// The same, when it is to end with this code.
fn ends(code: i32, line: &[&str]) -> Result<String, String> {
    let (ended, said) = run(line)?;
    ensure(
        &format!("{line:?} ends with {ended}, not {code}: {said}"),
        ended == code,
    )?;
    Ok(said)
}

/// Adds lines to a configuration.
fn configure(name: &str, ending: &str, text: &str) -> Outcome {
    let path = format!("{CONFIGURATION}/{name}.{ending}");
    let before = fs::read_to_string(&path).unwrap_or_default();
    fs::write(path, before + text).map_err(words)
}
