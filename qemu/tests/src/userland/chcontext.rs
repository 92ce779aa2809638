// SPDX-License-Identifier: GPL-2.0

//! `chcontext`.

use super::*;

pub const TESTS: &[Test] = &[
    test("userland::chcontext_numbers", 30, numbers),
    test("userland::chcontext_says_what_changed", 30, says),
    test("userland::chcontext_ends_as_the_command", 30, ends),
    test("userland::chcontext_capabilities", 30, capabilities),
    test("userland::chcontext_flags", 30, flags),
    test("userland::chcontext_in_the_background", 30, background),
    test("userland::chcontext_errors_change_nothing", 60, errors),
];

const ALL: u64 = (1 << 41) - 1;

fn numbers() -> Outcome {
    run("chcontext --ctx 300 grep s_context /proc/self/status")?
        .printed("New security context is 300\ns_context: 300\n")?;
    run("chcontext --ctx=300 --silent grep s_context /proc/self/status")?
        .printed("s_context: 300\n")?;
    run("chcontext --ctx 1 grep s_context /proc/self/status")?
        .printed("New security context is 1\ns_context: 1\n")?;
    for stay in ["0", "-2"] {
        run(&format!(
            "chcontext --ctx {stay} grep s_context /proc/self/status"
        ))?
        .printed("New security context is 0\ns_context: 0\n")?;
    }
    for new in ["chcontext", "chcontext --ctx -1", "vserver chcontext"] {
        for user in [0, USER] {
            let ran = run_as(user, &format!("{new} grep s_context /proc/self/status"))?;
            let told = ran.good()?.lines().next().unwrap_or("");
            let number = told.strip_prefix("New security context is ").unwrap_or("");
            let number: i32 = number.parse().map_err(words)?;
            ensure(
                &format!("handed out: {number}"),
                number >= CONTEXT_DYNAMIC_MIN,
            )?;
            ran.printed(&format!("{told}\ns_context: {number}\n"))?;
        }
    }
    until_empty()
}

fn says() -> Outcome {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").map_err(words)?;
    let show = "echo $(cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname)";
    let line = [
        "--ctx",
        "300",
        "--domainname",
        "yellow.pages",
        "--hostname",
        "one",
        "sh",
        "-c",
        show,
    ];
    run_words(0, &[&["chcontext"], &line[..]].concat())?.printed(
        "New security context is 300\nHost name is now one\nDomain name is now yellow.pages\none yellow.pages\n",
    )?;
    run_words(0, &[&["chcontext", "--silent"], &line[..]].concat())?
        .printed("one yellow.pages\n")?;
    // In a context that exists they are changed for all that are in it.
    let sitter = Sitter::new(301, 0, || Ok(()))?;
    let none = "chcontext --silent --ctx 301 --hostname two --domainname none true";
    run(none)?.printed("")?;
    let asked = ["chcontext", "--silent", "--ctx", "301", "sh", "-c", show];
    run_words(0, &asked)?.printed("two\n")?;
    drop(sitter);
    let after = fs::read_to_string("/proc/sys/kernel/hostname").map_err(words)?;
    equal("the host's name", after, before)
}

fn ends() -> Outcome {
    for code in [0, 1, 3, 77, 125, 255] {
        let ran = run_words(
            0,
            &["chcontext", "--silent", "sh", "-c", &format!("exit {code}")],
        )?;
        equal("exit code", ran.code, code)?;
    }
    let ran = run_words(0, &["chcontext", "--silent", "sh", "-c", "kill -9 $$"])?;
    equal("killed", ran.code, 128 + 9)?;
    // Its own options end where the command begins.
    run("chcontext --silent echo --secure -x -- y")?.printed("--secure -x -- y\n")?;
    run("chcontext --silent -- echo --ctx")?.printed("--ctx\n")
}

fn capabilities() -> Outcome {
    for (options, kept) in [
        ("", ALL),
        ("--secure", ALL & !SECURE),
        ("--secure --cap CAP_NET_RAW", (ALL & !SECURE) | (1 << 13)),
        ("--cap cap_net_raw --secure", (ALL & !SECURE) | (1 << 13)),
        (
            "--cap !CAP_SYS_CHROOT --cap !Cap_Bpf",
            ALL & !((1 << 18) | (1 << 39)),
        ),
        ("--secure --cap !CAP_SYS_CHROOT", ALL & !SECURE & !(1 << 18)),
        ("--cap !CAP_CHOWN --cap CAP_CHOWN", ALL),
    ] {
        let line = format!("chcontext --silent {options} cat /proc/self/status").replace("  ", " ");
        let ran = run(&line)?;
        equal(options, bounding_set(ran.good()?)?, kept)?;
    }
    // Gone means gone.
    let ran = run("chcontext --silent --secure mknod /tmp/stolen c 1 3")?;
    ensure(
        &format!("{ran:?}"),
        ran.code != 0 && ran.err.contains("not permitted"),
    )
}

fn flags() -> Outcome {
    let supported = run("vserver info --json")?.json()?;
    let supported = supported["flags_supported"]
        .as_array()
        .ok_or("no flags")?
        .clone();
    for flag in ["lock", "sched", "nproc", "private", "ulimit"] {
        ensure(flag, supported.contains(&flag.into()))?;
        run(&format!(
            "chcontext --silent --flag {flag} grep ctxflags /proc/self/status"
        ))?
        .printed(&format!("ctxflags: {flag}\n"))?;
    }
    run("chcontext --silent --flag nproc --flag lock grep ctxflags /proc/self/status")?
        .printed("ctxflags: lock nproc\n")?;
    let hidden = run("chcontext --silent --flag hideinfo grep -c s_context /proc/self/status")?;
    equal("hideinfo", hidden.out.as_str(), "0\n")?;
    if !supported.contains(&"fakeinit".into()) {
        run("chcontext --flag fakeinit true")?
            .complained(125, &["does not support the flag fakeinit", "vserver info"])?;
    }
    until_empty()
}

/// Fields of `/proc/PID/stat` after the name.
fn stat(context: i32, pid: i32) -> Result<Vec<String>, String> {
    let ran = run(&format!(
        "chcontext --silent --ctx {context} cat /proc/{pid}/stat"
    ))?;
    let (_, fields) = ran.good()?.rsplit_once(") ").ok_or("no stat")?;
    Ok(fields.split(' ').map(str::to_string).collect())
}

fn background() -> Outcome {
    let told = "/tmp/background-pid";
    let _ = fs::remove_file(told);
    // In a file: what goes on in the background would keep a pipe open.
    let script =
        format!("exec >/dev/null 2>&1; echo $$ >{told}.new; mv {told}.new {told}; exec sleep 1000");
    run_words(
        0,
        &[
            "chcontext",
            "--ctx",
            "300",
            "--disconnect",
            "sh",
            "-c",
            &script,
        ],
    )?
    .printed("New security context is 300\n")?;
    for _ in 0..6000 {
        if Path::new(told).exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid: i32 = fs::read_to_string(told)
        .map_err(words)?
        .trim()
        .parse()
        .map_err(words)?;
    equal("alone", list(), Ok(vec![300]))?;
    let fields = stat(300, pid)?;
    equal(
        "a session of its own",
        fields[3].as_str(),
        pid.to_string().as_str(),
    )?;
    run(&format!("vkill -9 {pid}"))?.printed("")?;
    until_empty()?;
    let ran = run("chcontext --silent --disconnect /nonexistent/program")?;
    ran.complained(127, &["/nonexistent/program: command not found"])?;
    run("chcontext --silent --disconnect /etc/passwd")?.complained(126, &["/etc/passwd"])?;
    until_empty()
}

fn errors() -> Outcome {
    let ran_file = "/tmp/must-not-run";
    for (line, part) in [
        ("chcontext", "<COMMAND>"),
        ("chcontext --ctx 300", "<COMMAND>"),
        ("chcontext --ctx 65536 touch FILE", "from 0 to 65535"),
        ("chcontext --ctx -3 touch FILE", "from 0 to 65535"),
        (
            "chcontext --ctx x touch FILE",
            "\"x\" is not a context number",
        ),
        (
            "chcontext --flag big touch FILE",
            "lock sched nproc private fakeinit hideinfo ulimit",
        ),
        ("chcontext --cap CAP_FOO touch FILE", "reducecap --show"),
        (
            "chcontext --cap !NET_RAW touch FILE",
            "\"NET_RAW\" is not a capability",
        ),
        ("chcontext --bogus touch FILE", "--bogus"),
    ] {
        run(&line.replace("FILE", ran_file))?.misused(part)?;
    }
    let long = "x".repeat(65);
    for (user, line, parts) in [
        (
            0,
            "chcontext --ctx 50000 touch FILE",
            &["cannot enter context 50000", "from 2 to 49151"][..],
        ),
        (
            0,
            "chcontext --ctx 1 --flag lock touch FILE",
            &["(context 1)"],
        ),
        (
            0,
            "chcontext --ctx -2 --flag lock touch FILE",
            &["context 0 takes no flags"],
        ),
        (
            0,
            "chcontext --hostname LONG touch FILE",
            &["host name is too long: at most 64 bytes"],
        ),
        (
            0,
            "chcontext --domainname LONG touch FILE",
            &["domain name is too long"],
        ),
        (
            USER,
            "chcontext --ctx 300 touch FILE",
            &["cannot enter context 300", "only root in context 0"],
        ),
        (
            USER,
            "chcontext --ctx 1 touch FILE",
            &["cannot become the spectator", "only root in context 0"],
        ),
        (
            USER,
            "chcontext --hostname x touch FILE",
            &["nothing was changed", "as root"],
        ),
        (
            0,
            "chcontext --silent --flag lock chcontext touch FILE",
            &["the present context is locked"],
        ),
        (
            0,
            "chcontext --silent chcontext --ctx 300 touch FILE",
            &["cannot enter context 300"],
        ),
    ] {
        let line = line.replace("FILE", ran_file).replace("LONG", &long);
        run_as(user, &line)?
            .complained(125, &[&["chcontext: "], parts].concat())
            .map_err(|error| format!("{line}: {error}"))?;
    }
    let private = Sitter::new(300, FLAG_PRIVATE, || Ok(()))?;
    run(&format!("chcontext --ctx 300 touch {ran_file}"))?.complained(125, &["private context"])?;
    drop(private);
    run("chcontext --silent /nonexistent/program")?.complained(127, &["command not found"])?;
    run("chcontext --silent /etc/passwd")?.complained(126, &["not executable"])?;
    ensure("nothing ran", !Path::new(ran_file).exists())?;
    until_empty()
}
