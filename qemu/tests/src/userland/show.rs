// SPDX-License-Identifier: GPL-2.0

//! `vps`, `vserver-stat`, `vserver info`.

use super::*;

pub const TESTS: &[Test] = &[
    test("userland::vps", 30, vps),
    test("userland::vserver_stat", 30, vserver_stat),
    test("userland::vserver_info", 30, info),
    test("userland::a_reader_that_leaves", 30, closed),
];

/// The words of the line that begins with this pid.
fn line_of(text: &str, pid: i32) -> Option<Vec<&str>> {
    let wanted = pid.to_string();
    text.lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words.first() == Some(&wanted.as_str()))
}

fn vps() -> Outcome {
    let _name = Name::new("one", 300)?;
    let one = Sitter::idle(300)?;
    let nameless = Sitter::idle(301)?;
    let host = Sitter::idle(0)?;
    let ran = run("vps -o pid,comm")?;
    let text = ran.good()?;
    let heading = text
        .lines()
        .next()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    equal(
        "heading",
        heading,
        Some(vec!["PID", "CTX", "NAME", "COMMAND"]),
    )?;
    let own = "guest-tests";
    equal(
        "named",
        line_of(text, one.pid).map(|line| line[1..].to_vec()),
        Some(vec!["300", "one", own]),
    )?;
    equal(
        "nameless",
        line_of(text, nameless.pid).map(|line| line[1..].to_vec()),
        Some(vec!["301", own]),
    )?;
    equal(
        "host",
        line_of(text, host.pid).map(|line| line[1..].to_vec()),
        Some(vec!["0", "MAIN", own]),
    )?;
    // Columns that are not there are not made up; ps's own failure is passed on.
    let plain = run("vps -o comm")?;
    ensure(&plain.out, !plain.good()?.contains("CTX"))?;
    let wrong = run("vps -o nope")?;
    ensure(
        &format!("{wrong:?}"),
        wrong.code == 1 && wrong.out.is_empty() && !wrong.err.is_empty(),
    )?;
    run_as(USER, "vps")?.complained(
        4,
        &["vps: cannot become the spectator", "as root in context 0"],
    )?;
    run("chcontext --silent --ctx 301 vps")?.complained(4, &["only root in context 0"])?;
    ensure("help", run("vps --help")?.good()?.contains("Usage: vps"))
}

/// A figure in kB from the status of a process in a context.
fn status_kib(context: i32, pid: i32, field: &str) -> Result<u64, String> {
    let ran = run(&format!(
        "chcontext --silent --ctx {context} cat /proc/{pid}/status"
    ))?;
    let line = ran
        .good()?
        .lines()
        .find_map(|line| line.strip_prefix(field));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.ok_or(format!("no {field}"))?.parse().map_err(words)
}

fn vserver_stat() -> Outcome {
    let _name = Name::new("one", 300)?;
    let one = [Sitter::idle(300)?, Sitter::idle(300)?];
    let two = Sitter::idle(301)?;
    let ran = run("vserver-stat")?;
    let rows: Vec<Vec<&str>> = ran
        .good()?
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    equal(
        "heading",
        rows[0].join(" ").as_str(),
        "CTX PROC VSZ RSS userTIME sysTIME UPTIME NAME",
    )?;
    equal(
        "row 0",
        (rows[1][0], rows[1][7..].join(" ")),
        ("0", "root server".to_string()),
    )?;
    equal(
        "contexts",
        rows[2..].iter().map(|row| row[0]).collect(),
        vec!["300", "301"],
    )?;
    equal("processes and name", (rows[2][1], rows[2][7]), ("2", "one"))?;
    equal("without a name", (rows[3][1], rows[3].len()), ("1", 7))?;

    let json = run("vserver-stat --json")?.json()?;
    let rows = json["contexts"].as_array().ok_or("no contexts")?;
    equal("rows", rows.len(), 3)?;
    let row = &rows[1];
    equal("number", row["ctx"].as_i64(), Some(300))?;
    equal("name", row["name"].as_str(), Some("one"))?;
    equal("proc", row["proc"].as_u64(), Some(2))?;
    for (column, field) in [("vsz", "VmSize:"), ("rss", "VmRSS:")] {
        let mut sum = 0;
        for sitter in &one {
            sum += status_kib(300, sitter.pid, field)?;
        }
        equal(column, row[column].as_u64(), Some(sum))?;
    }
    for time in ["usertime", "systime", "uptime"] {
        let seconds = row[time].as_f64().ok_or(time)?;
        ensure(&format!("{time} {seconds}"), (0.0..30.0).contains(&seconds))?;
    }
    ensure("up", row["uptime"].as_f64() > Some(0.0))?;

    let ran = run("vserver-stat -o name,CTX,proc --no-legend")?;
    equal("chosen", ran.good()?.lines().nth(1), Some("one  300     2"))?;
    let json = run("vserver-stat --json -o ctx")?.json()?;
    equal(
        "chosen in JSON",
        json["contexts"][2].to_string().as_str(),
        "{\"ctx\":301}",
    )?;
    run("vserver-stat -o nope")?.misused("CTX,PROC,VSZ,RSS,userTIME,sysTIME,UPTIME,NAME")?;
    run("vserver-stat --bogus")?.misused("--bogus")?;
    run_as(USER, "vserver-stat")?.complained(4, &["vserver-stat: ", "as root in context 0"])?;
    run("chcontext --silent --ctx 301 vserver-stat")?.complained(4, &["only root in context 0"])?;
    drop((one, two));
    until_empty()?;
    let ran = run("vserver-stat --no-legend")?;
    equal("only the root server", ran.good()?.lines().count(), 1)
}

fn info() -> Outcome {
    let lane = fs::read_to_string("/etc/vserver-lane").map_err(words)?;
    let _sitter = Sitter::idle(300)?;
    for user in [0, USER] {
        let json = run_as(user, "vserver info --json")?.json()?;
        equal("lane", json["lane"].as_str(), Some(lane.trim()))?;
        equal(
            "ABI",
            json["abi_version"].as_u64(),
            Some(u64::from(ABI_VERSION)),
        )?;
        equal("hooks", &json["hooks"]["attached"], &json["hooks"]["total"])?;
        equal("contexts", json["contexts"]["alive"].as_u64(), Some(1))?;
        equal("capabilities", json["capabilities"].as_u64(), Some(41))?;
        let lanes = json["lanes"].as_array().ok_or("no lanes")?;
        let used: Vec<&Value> = lanes.iter().filter(|lane| lane["used"] == true).collect();
        equal("one lane in use", used.len(), 1)?;
        equal("that one", used[0]["lane"].as_str(), Some(lane.trim()))?;
        let ran = run_as(user, "vserver info")?;
        let text = ran.good()?;
        for line in [
            format!("lane          {}", lane.trim()),
            format!("ABI version   {ABI_VERSION}"),
            format!("hooks         {0} of {0} attached", json["hooks"]["total"]),
            "numbers       2 to 49151 chosen, 49152 to 65535 handed out".to_string(),
            "capabilities  41".to_string(),
        ] {
            ensure(
                &format!("{line:?} in {text}"),
                text.lines().any(|found| found == line),
            )?;
        }
        ensure(text, text.contains("contexts      1 alive, at most "))?;
    }
    run("vserver info --hooks")?.good()?;
    run_as(USER, "vserver info --hooks")?
        .complained(4, &["cannot list the hooks", "as root in context 0"])?;
    run("vserver info --bogus")?.misused("--bogus")
}

fn closed() -> Outcome {
    for line in [
        "vserver info",
        "vserver-stat",
        "vps",
        "reducecap --show",
        "vserver --help",
    ] {
        let ran = run_words(
            0,
            &[
                "sh",
                "-c",
                &format!("({line}; echo $? >&2) | true; sleep 1"),
            ],
        )?;
        equal(line, ran.err.as_str(), "0\n")?;
    }
    Ok(())
}
