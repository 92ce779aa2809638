// SPDX-License-Identifier: GPL-2.0

//! The figures and the trees of the commands beside what `/proc` says.

use super::*;
use crate::fixture::{child, enter, signal};

pub const TESTS: &[Test] = &[test("userland::counted::beside_proc", 60, beside_proc)];

const CONTEXT: i32 = 2100;

/// The resident memory and the shares of all processes of the context, in kB, and how many there are.
fn of_proc() -> Result<(u64, u64, u64), String> {
    let text = child(|| {
        enter(CONTEXT_SPECTATOR, 0, 0).map_err(words)?;
        let (mut resident, mut shares, mut processes) = (0, 0, 0);
        for entry in fs::read_dir("/proc").map_err(words)?.flatten() {
            let read = |file: &str| fs::read_to_string(entry.path().join(file)).unwrap_or_default();
            let own = format!("s_context: {CONTEXT}");
            if !read("status").lines().any(|line| line == own) {
                continue;
            }
            let number = |file: &str, name: &str| -> u64 {
                let text = read(file);
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let word = line.and_then(|line| line.split_whitespace().next());
                word.and_then(|word| word.parse().ok()).unwrap_or(0)
            };
            resident += number("smaps_rollup", "Rss:");
            shares += number("smaps_rollup", "Pss:");
            processes += 1;
        }
        Ok(format!("{resident} {shares} {processes}"))
    })?;
    let numbers: Vec<u64> = text
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [resident, shares, processes] => Ok((resident, shares, processes)),
        _ => Err(text),
    }
}

fn beside_proc() -> Outcome {
    let _ = fs::create_dir_all("/var/run/vservers");
    let name = "/var/run/vservers/counted.ctx";
    fs::write(name, format!("S_CONTEXT={CONTEXT}\n")).map_err(words)?;
    crate::inet::addresses()?;
    for _ in 0..3 {
        // With files of their own: whoever reads the output of the command would wait for them.
        let command = format!(
            "chcontext --silent --ctx {CONTEXT} --ip {} --disconnect sleep 600 >/dev/null 2>&1",
            crate::inet::A
        );
        run_words(0, &["sh", "-c", &command])?.good()?;
    }
    let done = shown();
    let _ = fs::remove_file(name);
    signal(CONTEXT, SIGNAL_ALL, 9).map_err(words)?;
    done?;
    until_empty()
}

fn shown() -> Outcome {
    let said =
        run("vserver-stat --json -o +PSS,SWAP,STATE,TASKS,LIMIT,ADDRESSES,READ,WRITTEN counted")?
            .json()?;
    let row = &said["contexts"][0];
    equal("rows", said["contexts"].as_array().map(Vec::len), Some(1))?;
    let (resident, shares, processes) = of_proc()?;
    equal("processes", row["proc"].as_u64(), Some(processes))?;
    equal("tasks", row["tasks"].as_u64(), Some(3))?;
    equal("state", row["state"].as_str(), Some("running"))?;
    equal("limit", row["limit"].is_null(), true)?;
    equal(
        "addresses",
        row["addresses"][0].as_str(),
        Some(crate::inet::A),
    )?;
    equal("swap", row["swap"].as_u64(), Some(0))?;
    ensure(
        &format!("transfers {row}"),
        row["read"].is_u64() && row["written"].is_u64(),
    )?;
    // The kernel counts pages of each processor apart, up to 32 or so for a process.
    let near = |one: Option<u64>, other: u64| one.is_some_and(|one| one.abs_diff(other) <= 3 * 512);
    ensure(
        &format!("resident {resident} beside {row}"),
        near(row["rss"].as_u64(), resident),
    )?;
    ensure(
        &format!("shares {shares} beside {row}"),
        near(row["pss"].as_u64(), shares) && shares > 0,
    )?;
    ensure(
        "shares are no more than what is resident",
        shares <= resident,
    )?;
    let most = run("vserver-stat --json --sort -CTX")?.json()?;
    equal(
        "the first",
        most["contexts"][0]["ctx"].as_i64(),
        Some(CONTEXT.into()),
    )?;

    let all = run("vps --json")?.json()?;
    let of_context = |process: &&Value| process["ctx"] == CONTEXT;
    let listed: Vec<&Value> = all["processes"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(of_context)
        .collect();
    equal("vps", listed.len(), 3)?;
    for process in &listed {
        equal(
            "its command",
            process["command"].as_str(),
            Some("sleep 600"),
        )?;
        equal("its name", process["name"].as_str(), Some("counted"))?;
        equal("its user", process["user"].as_str(), Some("root"))?;
    }
    let plain = run("vps --no-legend -o CTX,COMMAND")?;
    let lines = plain
        .good()?
        .lines()
        .filter(|line| line.trim() == format!("{CONTEXT} sleep 600"));
    equal("lines", lines.count(), 3)?;
    let tree = run("vpstree --ascii counted")?;
    equal(
        "tree",
        tree.good()?,
        "sleep [2100 counted]\n".repeat(3).as_str(),
    )?;
    let nested = run("vpstree --json counted")?.json()?;
    equal(
        "roots",
        nested["processes"].as_array().map(Vec::len),
        Some(3),
    )?;
    ensure("signals", run("vkill -l")?.good()?.contains(" 9 KILL\n"))?;
    run("vkill -s STOP --server counted")?.good()?;
    let stopped = run("vps --no-legend -o CTX,STAT")?;
    let lines = stopped
        .good()?
        .lines()
        .filter(|line| line.trim().starts_with("2100 T"));
    equal("stopped", lines.count(), 3)?;
    run("vkill --server nosuch")?.complained(1, &["nosuch is not running"])
}
