// SPDX-License-Identifier: GPL-2.0

//! `enter` at a terminal, `exec` and `suexec` in pipes, `console`.

use super::*;
use crate::terminal::Terminal;
use nix::sys::termios::{tcgetattr, LocalFlags};
use std::io::{Read, Write};

pub const ENTER: Test = test("manager::enter", 300, enter);
pub const AHEAD: Test = test("manager::enter_typed_ahead", 120, typed_ahead);
pub const STREAMS: Test = test("manager::exec_streams", 120, streams);
pub const SIGNALS: Test = test("manager::exec_signals", 120, signals);
pub const CODES: Test = test("manager::exec_codes", 120, codes);
pub const CONSOLE: Test = test("manager::console", 120, console);

/// What the shell inside shows when it waits.
const PROMPT: &str = "inside> ";

/// A vserver that runs, with a user.
fn box_that_runs() -> Result<Vserver, String> {
    let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
    let add = |file: &str, text: &str| {
        let path = vserver.root.join(file);
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, before + text).map_err(words)
    };
    add("etc/profile", &format!("PS1='{PROMPT}'\n"))?;
    add("etc/passwd", "anna:x:1000:1000::/home/anna:/bin/sh\n")?;
    add("etc/group", "anna:x:1000:\nmail:x:8:anna\n")?;
    fs::create_dir_all(vserver.root.join("home/anna")).map_err(words)?;
    vserver.start(&[])?;
    Ok(vserver)
}

/// Types a command; what is shown below it. There may be more prompts than commands: a shell shows it again when the
/// terminal changes its size.
fn types(terminal: &mut Terminal, command: &str) -> Result<String, String> {
    let typed = format!("{command}; echo e''nd");
    terminal.press(&format!("{typed}\n"))?;
    let said = terminal.until("end\r\n")?;
    let (_, below) = said
        .rsplit_once(&format!("{typed}\r\n"))
        .ok_or_else(|| format!("no {typed:?} in {said:?}"))?;
    let shown = below.strip_suffix("end\r\n").unwrap_or(below);
    Ok(shown.replace('\r', ""))
}

fn enter() -> Outcome {
    with_vservers(|| {
        let vserver = box_that_runs()?;
        let mut terminal = Terminal::new(&["vserver", "box", "enter"])?;
        terminal.until(PROMPT)?;
        // A terminal of the vserver's own, and not the one outside.
        let name = types(&mut terminal, "tty")?;
        ensure(&name, name.starts_with("/dev/pts/"))?;
        equal("where", types(&mut terminal, "pwd")?.as_str(), "/root\n")?;
        for (rows, columns) in [(30, 90), (51, 132)] {
            terminal.resize(rows, columns)?;
            crate::init::until("it has the new size", || {
                Ok(types(&mut terminal, "stty size")? == format!("{rows} {columns}\n"))
            })?;
        }
        let environment = types(&mut terminal, "env")?;
        contains(&environment, &["TERM=dumb\n", "HOME=/root\n"])?;
        ensure(&environment, !environment.contains("LC_ALL"))?;
        // Keys are for what is inside.
        terminal.press("sleep 1000\n")?;
        vserver.pid("sleep 1000")?;
        terminal.press("\x03")?;
        terminal.until(PROMPT)?;
        equal(
            "interrupted",
            types(&mut terminal, "echo $?")?.as_str(),
            "130\n",
        )?;
        terminal.press("sleep 1000\n")?;
        vserver.pid("sleep 1000")?;
        terminal.press("\x1a")?;
        terminal.until(PROMPT)?;
        contains(&types(&mut terminal, "jobs")?, &["Stopped"])?;
        types(&mut terminal, "kill %1; fg")?;
        terminal.press("exit 5\n")?;
        let (_, code) = terminal.until_its_end()?;
        equal("the code", code, 5)?;

        // As a user of the vserver.
        let mut terminal = Terminal::new(&["vserver", "box", "enter", "--user", "anna"])?;
        terminal.until(PROMPT)?;
        contains(
            &types(&mut terminal, "id; pwd; tty")?,
            &["uid=1000(anna)", "8(mail)", "/home/anna\n"],
        )?;
        equal(
            "the terminal is hers",
            types(&mut terminal, "echo x >$(tty)")?.as_str(),
            "x\n",
        )?;
        // Before it shows its prompt it does not read keys yet, but lines.
        terminal.until(PROMPT)?;
        terminal.press("\x04")?;
        equal("the code", terminal.until_its_end()?.1, 0)?;

        // Killed from outside: the shell inside is hung up, and the terminal as it was.
        let mut terminal = Terminal::new(&["vserver", "box", "enter"])?;
        terminal.until(PROMPT)?;
        types(&mut terminal, "echo $$ >/run/shell")?;
        terminal.signal(nix::sys::signal::Signal::SIGTERM)?;
        crate::init::until("it is hung up", || {
            let script = "kill -0 $(cat /run/shell)";
            Ok(vserver.command(&["exec", "sh", "-c", script])?.0 == 1)
        })?;
        let canonical = tcgetattr(terminal.master())
            .map_err(words)?
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO);
        ensure("the terminal is as it was", canonical)?;
        terminal.until_its_end()?;

        // Without a terminal there is none.
        let said = piped(&["vserver", "box", "enter"], b"hostname; tty; exit 9\n")?;
        equal(
            "in a pipe",
            (said.code, text(&said.out).as_str()),
            (9, "box\nnot a tty\n"),
        )?;
        vserver.stop(&[])
    })
}

/// More than a terminal holds is typed before it is read, to a program that first shows more than one holds.
fn typed_ahead() -> Outcome {
    with_vservers(|| {
        let vserver = box_that_runs()?;
        let mut terminal = Terminal::new(&["vserver", "box", "enter"])?;
        terminal.until(PROMPT)?;
        terminal.press("stty -echo; echo begun; sleep 3; head -c 400000 /dev/zero | tr '\\0' x; echo; wc -l; echo done\n")?;
        terminal.until("begun\r\n")?;
        for _ in 0..1000 {
            terminal.press("0123456789012345678\n")?;
        }
        let shown = terminal.until("\r\n")?;
        equal("shown", shown.trim_end().len(), 400_000)?;
        terminal.press("\x04")?;
        let lines = terminal.until("done\r\n")?;
        contains(&lines, &["1000\r\n"])?;
        terminal.until(PROMPT)?;
        // Keys come through while it shows more than can be shown.
        terminal.press("yes\n")?;
        terminal.until("y\r\ny\r\ny\r\n")?;
        terminal.press("\x03")?;
        terminal.until(PROMPT)?;
        terminal.press("exit\n")?;
        terminal.until_its_end()?;
        vserver.stop(&[])
    })
}

/// What a command that gets some bytes has left.
struct Left {
    code: i32,
    out: Vec<u8>,
    errors: Vec<u8>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn piped(line: &[&str], input: &[u8]) -> Result<Left, String> {
    let mut child = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(words)?;
    let mut stdin = child.stdin.take().ok_or("no input")?;
    let input = input.to_vec();
    // One that does not read to the end is no failure of the one who writes.
    let writer = std::thread::spawn(move || stdin.write_all(&input).is_ok());
    let output = child.wait_with_output().map_err(words)?;
    writer.join().map_err(|_| "the writer has panicked")?;
    Ok(Left {
        code: output.status.code().unwrap_or(-1),
        out: output.stdout,
        errors: output.stderr,
    })
}

fn streams() -> Outcome {
    with_vservers(|| {
        let vserver = box_that_runs()?;
        let all: Vec<u8> = (0..200_000u32).map(|n| (n ^ (n >> 8)) as u8).collect();
        let left = piped(&["vserver", "box", "exec", "cat"], &all)?;
        ensure("every byte comes back", left.out == all)?;
        equal("no word of its own", text(&left.errors).as_str(), "")?;
        let script = "echo out; echo error >&2; exit 3";
        let left = piped(&["vserver", "box", "exec", "sh", "-c", script], b"")?;
        equal("the code", left.code, 3)?;
        equal("output", text(&left.out).as_str(), "out\n")?;
        equal("errors", text(&left.errors).as_str(), "error\n")?;
        // What is not read is not taken.
        let script = "(vserver box exec head -n 1; cat) 2>&1 | wc -l";
        let left = piped(&["sh", "-c", script], b"")?;
        equal("nothing to be read", text(&left.out).trim(), "0")?;
        // A reader that leaves ends the command, as in any pipe.
        let script = "vserver box exec yes | head -n 2";
        equal(
            "a reader that leaves",
            text(&piped(&["sh", "-c", script], b"")?.out).as_str(),
            "y\ny\n",
        )?;
        crate::init::until("yes has ended", || Ok(vserver.pids("yes")?.is_empty()))?;
        // A tree, from one to the other.
        let script = "tar -C /inits/busybox -c etc | vserver box exec tar -x -C /srv && \
                      vserver box exec tar -C /srv -c etc | tar -t | grep -c inittab";
        fs::create_dir_all(vserver.root.join("srv")).map_err(words)?;
        let left = piped(&["sh", "-c", script], b"")?;
        equal(
            "a tree",
            (text(&left.out).trim(), text(&left.errors).as_str()),
            ("1", ""),
        )?;
        vserver.stop(&[])
    })
}

fn signals() -> Outcome {
    use nix::{sys::signal::kill, sys::signal::Signal, unistd::Pid};
    with_vservers(|| {
        let vserver = box_that_runs()?;
        let script =
            "for s in TERM HUP INT QUIT USR1 USR2; do trap \"echo $s\" $s; done; echo begun; \
                      while :; do sleep 1 & wait $!; [ -e /run/enough ] && exit 0; done";
        let mut child = Command::new("vserver")
            .args(["box", "exec", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(words)?;
        let pid = Pid::from_raw(child.id() as i32);
        let mut output = child.stdout.take().ok_or("no output")?;
        let mut line = || {
            let mut line = String::new();
            let mut byte = [0];
            while output.read(&mut byte).map_err(words)? == 1 && byte != [b'\n'] {
                line.push(char::from(byte[0]));
            }
            Ok::<_, String>(line)
        };
        equal("it has begun", line()?.as_str(), "begun")?;
        for signal in [
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ] {
            kill(pid, signal).map_err(words)?;
            equal(
                "passed on",
                format!("SIG{}", line()?),
                signal.as_str().to_owned(),
            )?;
        }
        vserver.exec(&["touch", "/run/enough"])?;
        equal("the code", child.wait().map_err(words)?.code(), Some(0))?;
        // Of a command that a signal ends.
        let (code, _) = vserver.command(&["exec", "sh", "-c", "kill -TERM $$"])?;
        equal("ended by TERM", code, 143)?;
        vserver.stop(&[])
    })
}

fn codes() -> Outcome {
    with_vservers(|| {
        let vserver = box_that_runs()?;
        let says = |line: &[&str], code: i32, part: &str| {
            let (ended, said) = vserver.command(line)?;
            equal(&format!("{line:?}: {said}"), ended, code)?;
            contains(&said, &[part])
        };
        says(&["exec", "no-such-command"], 127, "no-such-command")?;
        says(&["exec", "/etc/inittab"], 126, "/etc/inittab")?;
        says(&["exec", "--user", "nobdy", "id"], 125, "nobdy")?;
        says(
            &["exec", "--user", "anna", "id"],
            0,
            "uid=1000(anna) gid=1000(anna) groups=8(mail),1000(anna)",
        )?;
        says(
            &["suexec", "anna", "sh", "-c", "id -un; pwd; exit 4"],
            4,
            "anna\n",
        )?;
        says(&["suexec", "1000", "id", "-u"], 0, "1000\n")?;
        says(&["suexec", "nobdy", "id"], 125, "nobdy")?;
        vserver.stop(&[])?;
        says(&["exec", "true"], 125, "box is not running; start it")?;
        says(&["enter"], 125, "box is not running; start it")
    })
}

fn console() -> Outcome {
    with_vservers(|| {
        let vserver = box_that_runs()?;
        let mut one = Terminal::new(&["vserver", "box", "console"])?;
        one.until("login: ")?;
        let mut two = Terminal::new(&["vserver", "box", "console", "--last", "0"])?;
        two.until("detaches]")?;
        // Both see what one types, and what comes of it.
        one.press("root\n")?;
        one.until(PROMPT)?;
        two.until(PROMPT)?;
        two.press("tty\n")?;
        one.until("/dev/console\r\n")?;
        one.resize(33, 77)?;
        crate::init::until("it has the new size", || {
            one.press("stty size\n")?;
            Ok(one.until(PROMPT)?.contains("33 77"))
        })?;
        // Ctrl-] leaves, and the vserver goes on.
        one.press("\x1d")?;
        let (said, code) = one.until_its_end()?;
        equal("the code", code, 0)?;
        contains(&said, &["[detached]"])?;
        equal("it runs", vserver.running(), Ok(true))?;
        // Who stays sees the end.
        two.press("poweroff\n")?;
        let (said, code) = two.until_its_end()?;
        equal("the code", code, 0)?;
        contains(&said, &["[it has ended: powered off]"])
    })
}
