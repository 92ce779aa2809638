// SPDX-License-Identifier: GPL-2.0

//! Commands that somebody sits at a terminal for.

use super::*;
use crate::{
    init::{contains, until, with_vservers, CONFIGURATION, VSERVERS},
    terminal::Terminal,
};
use nix::sys::termios::{tcgetattr, LocalFlags};

pub const TESTS: &[Test] = &[
    test("userland::vtop_live", 120, vtop),
    test("userland::newvserver_asks", 120, newvserver),
];

/// Whether keys are shown and lines can be edited, as they were before.
fn is_usual(terminal: &Terminal) -> Result<bool, String> {
    let flags = tcgetattr(terminal.master()).map_err(words)?.local_flags;
    Ok(flags.contains(LocalFlags::ICANON | LocalFlags::ECHO))
}

fn vtop() -> Outcome {
    until_empty()?;
    let sitter = Sitter::new(100, 0, || Ok(()))?;
    let mut terminal = Terminal::new(&["vtop", "-d", "600"])?;
    terminal.resize(20, 60)?;
    // Another screen, without a cursor; each context, then each process.
    terminal.until("\x1b[?1049h\x1b[?25l")?;
    let screen = terminal.until("\x1b[J")?;
    contains(&screen, &["CTX", "%CPU", "COMMAND"])?;
    ensure("keys are keys", !is_usual(&terminal)?)?;
    // A new size is seen without waiting for the next look; no line is longer, and there are no more of them.
    terminal.resize(10, 40)?;
    until("it fits", || {
        let screen = terminal.until("\x1b[J")?;
        let lines: Vec<&str> = screen.split("\r\n").collect();
        let longest = lines
            .iter()
            .map(|line| {
                line.replace("\x1b[H", "")
                    .replace("\x1b[K", "")
                    .replace("\x1b[J", "")
            })
            .map(|line| line.chars().count())
            .max();
        Ok(lines.len() <= 10 && longest <= Some(40))
    })?;
    // Two keys at once are two keys: sorted by context the sitter's is in the table; then the end.
    terminal.press("cq")?;
    let (said, code) = terminal.until_its_end()?;
    equal("the code", code, 0)?;
    contains(&said, &["\x1b[?25h\x1b[?1049l"])?;
    sitter.let_go();
    // Ended by a signal, it leaves the terminal as it was, too.
    let mut terminal = Terminal::new(&["vtop"])?;
    terminal.until("\x1b[J")?;
    terminal.press("\x03")?;
    let (said, _) = terminal.until_its_end()?;
    contains(&said, &["\x1b[?25h\x1b[?1049l"])
}

fn newvserver() -> Outcome {
    with_vservers(|| {
        fs::write(format!("{CONFIGURATION}/taken.conf"), "ONBOOT=no\n").map_err(words)?;
        let mut terminal = Terminal::new(&["newvserver"])?;
        // Each answer is looked at at once, and a wrong one is asked for again.
        for (question, answer, said) in [
            ("Name: ", "../x", "cannot be the name"),
            ("Name: ", "taken", "the name taken is taken"),
            ("Name: ", "shop", ""),
            ("Description [none]: ", "a \u{e9} shop", ""),
            ("]: ", "dir /nowhere", "cannot use /nowhere"),
            ("]: ", "dir /inits/busybox", ""),
            ("Host name [shop]: ", "a b", "S_HOSTNAME"),
            ("Host name [shop]: ", "", ""),
            ("[none]: ", "10.77.0", "is not an IP address"),
            ("[none]: ", "nosuch0:10.83.0.9", "nosuch0"),
            ("[none]: ", "lo:10.83.0.9/32", ""),
            ("Make shop? ", "yes", ""),
        ] {
            terminal.until(question)?;
            terminal.press(&format!("{answer}\n"))?;
            if !said.is_empty() {
                terminal.until(said)?;
            }
        }
        let (said, code) = terminal.until_its_end()?;
        ensure(&said, code == 0)?;
        contains(
            &said,
            &[
                "directories created:",
                "files copied:",
                "bytes copied:",
                "files linked:",
                "symbolic links:",
                "special files:",
                "time:",
            ],
        )?;
        let text = fs::read_to_string(format!("{CONFIGURATION}/shop.conf")).map_err(words)?;
        contains(
            &text,
            &[
                "# Description: a \u{e9} shop",
                "lo:10.83.0.9/32",
                "S_HOSTNAME=shop",
            ],
        )?;
        let root = Path::new(VSERVERS).join("shop");
        ensure("it has a root", root.join("bin/busybox").is_file())?;
        // Who does not confirm, or leaves, makes nothing.
        for keys in ["no\n", "\x04"] {
            let line = [
                "newvserver",
                "--name",
                "other",
                "--dir",
                "/inits/busybox",
                "--ip",
                "lo:10.83.0.8",
                "--hostname",
                "other",
                "--description",
                "x",
            ];
            let mut terminal = Terminal::new(&line)?;
            terminal.until("Make other? ")?;
            terminal.press(keys)?;
            let (said, code) = terminal.until_its_end()?;
            equal("the code", code, 1)?;
            contains(&said, &["nothing is made"])?;
            ensure(
                "nothing is made",
                !Path::new(VSERVERS).join("other").exists(),
            )?;
        }
        Ok(())
    })
}
