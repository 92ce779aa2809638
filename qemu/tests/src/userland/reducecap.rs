// SPDX-License-Identifier: GPL-2.0

//! `reducecap`.

use super::*;

pub const TESTS: &[Test] = &[
    test("userland::reducecap_gives_up", 30, gives_up),
    test("userland::reducecap_shows", 30, shows),
    test("userland::reducecap_errors_change_nothing", 30, errors),
];

fn gives_up() -> Outcome {
    for (options, bits) in [
        ("--CAP_NET_RAW", 1 << 13),
        ("--cap_net_raw --Cap_Bpf", (1 << 13) | (1 << 39)),
        ("--cap CAP_CHOWN", 1),
    ] {
        let ran = run(&format!("reducecap {options} cat /proc/self/status"))?;
        equal(options, bounding_set(ran.good()?)?, ((1 << 41) - 1) & !bits)?;
    }
    let secured = run("reducecap --secure cat /proc/self/status")?;
    let entered = run("chcontext --silent --secure cat /proc/self/status")?;
    equal(
        "--secure",
        bounding_set(secured.good()?)?,
        bounding_set(entered.good()?)?,
    )?;
    // Any user may, and it holds for setuid-root programs too: the bounding set is what counts.
    let ran = run_as(USER, "reducecap --CAP_SETUID cat /proc/self/status")?;
    equal("a user", bounding_set(ran.good()?)? & (1 << 7), 0)?;
    // It stays in its context and ends as the command does.
    run("reducecap --CAP_BPF grep s_context /proc/self/status")?.printed("s_context: 0\n")?;
    let ran = run_words(0, &["reducecap", "--CAP_BPF", "sh", "-c", "exit 9"])?;
    equal("exit code", ran.code, 9)?;
    run("reducecap echo --CAP_BPF --show")?.printed("--CAP_BPF --show\n")?;
    run("chcontext --silent --ctx 300 reducecap --flag lock --flag nproc grep ctxflags /proc/self/status")?
        .printed("ctxflags: lock nproc\n")?;
    until_empty()
}

/// The letters in the row of a capability.
fn row<'a>(table: &'a str, name: &str) -> Result<Vec<&'a str>, String> {
    let line = table
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .ok_or_else(|| format!("no {name} in {table}"))?;
    Ok(line.split_whitespace().collect())
}

fn shows() -> Outcome {
    let ran = run("reducecap --show")?;
    let table = ran.good()?;
    equal("rows", table.lines().count(), 42)?;
    equal(
        "heading",
        table
            .lines()
            .next()
            .map(|line| line.split_whitespace().collect::<Vec<_>>()),
        Some(vec!["Capability", "Effective", "Permitted", "Inheritable"]),
    )?;
    equal("root has it", row(table, "CAP_NET_RAW")?, vec!["X", "X"])?;
    let ran = run("reducecap --CAP_NET_RAW --show")?;
    equal("given up", row(ran.good()?, "CAP_NET_RAW")?, vec![])?;
    equal("kept", row(ran.good()?, "CAP_CHOWN")?, vec!["X", "X"])?;
    let ran = run_as(USER, "reducecap --show")?;
    equal("a user", row(ran.good()?, "CAP_CHOWN")?, vec![])?;
    let json = run("reducecap --CAP_NET_RAW --show --json")?.json()?;
    let rows = json["capabilities"].as_array().ok_or("no capabilities")?;
    equal("rows of JSON", rows.len(), 41)?;
    for row in rows {
        let has = row["capability"] != "CAP_NET_RAW";
        equal(&row.to_string(), row["effective"].as_bool(), Some(has))?;
        equal(&row.to_string(), row["permitted"].as_bool(), Some(has))?;
        equal(&row.to_string(), row["inheritable"].as_bool(), Some(false))?;
    }
    // The table comes first, then the command.
    let ran = run("reducecap --show echo done")?;
    ensure(&ran.out, ran.good()?.ends_with("\ndone\n"))
}

fn errors() -> Outcome {
    let ran_file = "/tmp/must-not-run";
    for (line, part) in [
        ("reducecap", "<COMMAND>"),
        ("reducecap --secure", "<COMMAND>"),
        (
            "reducecap --CAP_FOO touch FILE",
            "\"CAP_FOO\" is not a capability",
        ),
        ("reducecap --flag big touch FILE", "the flags are"),
        ("reducecap --json touch FILE", "--show"),
        ("reducecap --bogus touch FILE", "--bogus"),
    ] {
        run(&line.replace("FILE", ran_file))?.misused(part)?;
    }
    run(&format!("reducecap --flag lock touch {ran_file}"))?
        .complained(125, &["reducecap: ", "context 0 takes no flags"])?;
    run("reducecap --CAP_BPF /nonexistent/program")?.complained(127, &["command not found"])?;
    run("reducecap --CAP_BPF /etc/passwd")?.complained(126, &["not executable"])?;
    ensure("nothing ran", !Path::new(ran_file).exists())
}
