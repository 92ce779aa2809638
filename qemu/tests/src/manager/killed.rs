// SPDX-License-Identifier: GPL-2.0

//! The command, or the keeper, is killed while it starts or stops a vserver: what `status` says afterwards is so, and the
//! next command succeeds.

use super::*;
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

pub const START_AND_STOP: Test = test("manager::killed", 900, start_and_stop);
pub const KEEPER: Test = test("manager::killed_keeper", 600, keeper);

/// So many points in the time of a start, and as many in that of a stop.
const POINTS: u32 = 16;

/// The keeper of a vserver, if there is one.
pub fn keeper_of(name: &str) -> Result<Option<i32>, String> {
    for entry in fs::read_dir("/proc").map_err(words)?.flatten() {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
        if words.get(1) == Some(&&b"--internal-keeper"[..])
            && words.get(2) == Some(&name.as_bytes())
        {
            return Ok(entry.file_name().to_string_lossy().parse().ok());
        }
    }
    Ok(None)
}

/// Kills the keeper of a vserver; whether there was one.
pub fn kill_keeper(name: &str) -> Result<bool, String> {
    let Some(pid) = keeper_of(name)?.map(|pid| pid.to_string()) else {
        return Ok(false);
    };
    let (code, _) = run(&["kill", "-9", &pid])?;
    // It is gone when nobody has its lock any more.
    until("the keeper is gone", || {
        Ok(!Path::new("/proc").join(&pid).join("exe").exists())
    })?;
    Ok(code == 0)
}

/// What `status` says has to be what there is.
fn status_is_true(vserver: &Vserver) -> Result<String, String> {
    // What is about to end, or has been told to, may do so while it is looked at.
    let mut last = String::new();
    for _ in 0..200 {
        let before = list().map_err(words)?.len();
        let (code, said) = vserver.command(&["status", "--json"])?;
        let after = list().map_err(words)?.len();
        let value: serde_json::Value =
            serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        let state = value["state"].as_str().unwrap_or_default().to_string();
        let context = !value["context"].is_null();
        last = format!("{state}, context {context}, code {code}; contexts {before} and {after}");
        let right = match state.as_str() {
            "running" | "alone" => context && code == 0,
            "stopped" => !context && code == 1,
            "starting" | "stopping" => context == (code == 0),
            _ => false,
        };
        if before == after && right && context == (after > 0) {
            return Ok(state);
        }
        sleep(Duration::from_millis(20));
    }
    Err(format!("status is not true: {last}"))
}

/// Has it in a known state by the next command, which has to succeed.
fn settle(vserver: &Vserver, state: &str, start: bool) -> Outcome {
    let line = match (start, state) {
        // What runs is not started; that its keeper is gone takes more than that.
        (true, "running") => "running",
        (true, "alone") => "restart",
        (true, _) => "start",
        (false, _) => "stop",
    };
    let (code, said) = vserver.command(&[line])?;
    // The boot may be done by now.
    let is_up = state == "starting" && said.contains("is running already, in context");
    ensure(
        &format!("{line} after {state} ends with {code}: {said}"),
        code == 0 || is_up,
    )?;
    let after = status_is_true(vserver)?;
    equal(
        &format!("{line} after {state}"),
        after.as_str(),
        if start { "running" } else { "stopped" },
    )
}

/// Starts or stops it with the command killed after so long; with its keeper when that is said.
fn killed_after(vserver: &Vserver, verb: &str, time: Duration, keeper: bool) -> Outcome {
    let mut command = Command::new("vserver")
        .args(["--silent", vserver.name, verb])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(words)?;
    sleep(time);
    let _ = command.kill();
    command.wait().map_err(words)?;
    if keeper {
        kill_keeper(vserver.name)?;
    }
    Ok(())
}

/// How long something takes.
fn time(run: impl FnOnce() -> Outcome) -> Result<Duration, String> {
    let begin = Instant::now();
    run()?;
    Ok(begin.elapsed())
}

fn at_all_points(keeper: bool) -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        fs::write(vserver.root.join("root/precious"), "kept").map_err(words)?;
        let before = Machine::now()?;
        let start = time(|| vserver.start(&[]))?;
        let stop = time(|| vserver.stop(&[]))?;
        for point in 0..POINTS {
            // Not at even distances: what happens early happens in a shorter time.
            let part = f64::from(point * point) / f64::from((POINTS - 1) * (POINTS - 1));
            killed_after(&vserver, "start", start.mul_f64(part), keeper)?;
            let state = status_is_true(&vserver)?;
            settle(&vserver, &state, point % 2 == 0)?;
            if point % 2 == 0 {
                killed_after(&vserver, "stop", stop.mul_f64(part), keeper)?;
                let state = status_is_true(&vserver)?;
                settle(&vserver, &state, point % 4 == 0)?;
                vserver.good(&["stop"])?;
            }
        }
        let kept = fs::read_to_string(vserver.root.join("root/precious")).map_err(words)?;
        equal("the guest's files", kept.as_str(), "kept")?;
        before.until_again()
    })
}

fn start_and_stop() -> Outcome {
    at_all_points(false)
}

fn keeper() -> Outcome {
    at_all_points(true)
}
