// SPDX-License-Identifier: GPL-2.0

//! `docs/first-hour.md`: each command of it is run, and what it prints is compared with the document itself.
//! When something differs, the test tells the whole document as it would be now.

use crate::{
    fixture::{ensure, words, Outcome},
    init::with_vservers,
    manager::addresses::Device,
    mistakes::is_like,
    terminal::Terminal,
    test, Test,
};
use std::{
    fs,
    process::{Command, Stdio},
};

pub const TESTS: &[Test] = &[test("first_hour::as_documented", 600, as_documented)];

const DOCUMENT: &str = include_str!("../../../docs/first-hour.md");

/// Where the commands are run.
const HOME: &str = "/tmp/first-hour";

/// What the document says is at hand.
const AT_HAND: &str = r#"
    cp -a /inits/busybox system
    mkdir -p system/www
    cat >system/etc/init.d/httpd <<'X'
#!/bin/sh
case $1 in
start)
	hostname >/www/index.html
	httpd -h /www -p 80 ;;
stop)
	server=$(ps -o pid,args | sed -n 's|^ *\([0-9]*\) httpd -h.*|\1|p')
	kill $server
	while kill -0 $server 2>/dev/null; do :; done ;;
restart)
	$0 stop
	$0 start
	echo "httpd restarted" ;;
*)
	echo "usage: httpd start|stop|restart" >&2
	exit 2 ;;
esac
X
    chmod +x system/etc/init.d/httpd
    printf '#!/bin/sh\n/etc/init.d/httpd start\necho "the web server listens"\n' >system/etc/init.d/rcS
    echo "PS1='\\h:\\w\\\$ '" >system/etc/profile
    echo 'nobody:x:65534:65534:nobody:/:/bin/sh' >>system/etc/passwd
    echo 'nogroup:x:65534:' >>system/etc/group
    tar -C system -czf system.tar.gz .
    rm -rf system
    mkdir -p image/blobs/sha256
    blob() { d=$(sha256sum $1 | cut -d' ' -f1); cp $1 image/blobs/sha256/$d; echo sha256:$d; }
    layer=$(blob system.tar.gz)
    echo '{"layers":[{"digest":"'$layer'"}]}' >manifest
    manifest=$(blob manifest)
    rm manifest
    echo '{"manifests":[{"digest":"'$manifest'","annotations":{"org.opencontainers.image.ref.name":"v1"}}]}' >image/index.json
"#;

/// What stands before a command.
const HOST: &str = "host:~# ";

/// What the shell inside shows before what is typed there.
const PROMPT: &str = "web:~# ";

/// A command of the document, and what is below it.
struct Step<'a> {
    command: &'a str,
    shown: Vec<&'a str>,
}

/// What a page is made of.
enum Part<'a> {
    /// A line that is only read.
    Text(&'a str),
    Step(Step<'a>),
}

/// The document, taken apart.
fn parts() -> Vec<Part<'static>> {
    let mut parts = Vec::new();
    let mut in_block = false;
    for line in DOCUMENT.lines() {
        let fence = line == "```";
        in_block ^= fence;
        let command = line.strip_prefix(HOST).filter(|_| in_block);
        match (command, parts.last_mut()) {
            (Some(command), _) => parts.push(Part::Step(Step {
                command,
                shown: Vec::new(),
            })),
            (None, Some(Part::Step(step))) if !fence => step.shown.push(line),
            (None, _) => parts.push(Part::Text(line)),
        }
    }
    parts
}

impl Step<'_> {
    /// Runs it after one that ended with `status`; what it prints, line by line, and its own status.
    fn run(&self, status: i32) -> Result<(Vec<String>, i32), String> {
        let typed: Vec<&str> = self
            .shown
            .iter()
            .filter_map(|line| line.strip_prefix(PROMPT))
            .collect();
        let (text, status) = if typed.is_empty() {
            at_a_shell(self.command, status)?
        } else {
            at_a_terminal(self.command, &typed)?
        };
        Ok((text.lines().map(str::to_owned).collect(), status))
    }

    fn is_like(&self, said: &[String]) -> bool {
        lines_are_like(said, &self.shown)
    }
}

/// Line by line; one that is `…` alone stands for any number of them.
fn lines_are_like(said: &[String], patterns: &[&str]) -> bool {
    match patterns.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => {
            (0..=said.len()).any(|skipped| lines_are_like(&said[skipped..], rest))
        }
        Some((pattern, rest)) => said
            .split_first()
            .is_some_and(|(line, left)| is_like(line, pattern) && lines_are_like(left, rest)),
    }
}

fn at_a_shell(command: &str, status: i32) -> Result<(String, i32), String> {
    let ran = Command::new("sh")
        .args(["-c", &format!("exec 2>&1; (exit {status})\n{command}")])
        .env("HOME", "/root")
        .current_dir(HOME)
        .stdin(Stdio::null())
        .output()
        .map_err(words)?;
    let text = String::from_utf8_lossy(&ran.stdout).into_owned();
    Ok((text, ran.status.code().unwrap_or(-1)))
}

/// A shell inside, at which lines are typed.
fn at_a_terminal(command: &str, typed: &[&str]) -> Result<(String, i32), String> {
    let command: Vec<&str> = command.split(' ').collect();
    let mut terminal = Terminal::new(&command)?;
    let mut text = String::new();
    for line in typed {
        text += &terminal.until(PROMPT)?;
        terminal.press(&format!("{line}\n"))?;
    }
    let (rest, status) = terminal.until_its_end()?;
    // busybox asks where the cursor is.
    let text = (text + &rest).replace('\r', "").replace("\x1b[6n", "");
    Ok((text, status))
}

fn as_documented() -> Outcome {
    with_vservers(|| {
        let _device = Device::new("eth0", &["10.0.0.1/24"])?;
        let _ = fs::remove_dir_all(HOME);
        fs::create_dir_all(HOME).map_err(words)?;
        let (said, status) = at_a_shell(&format!("set -e\n{AT_HAND}"), 0)?;
        ensure(&said, status == 0)?;
        let mut page = String::new();
        let mut as_it_was = true;
        let mut status = 0;
        for part in parts() {
            match part {
                Part::Text(line) => page += &format!("{line}\n"),
                Part::Step(step) => {
                    let (said, ended) = step.run(status)?;
                    status = ended;
                    page += &format!("{HOST}{}\n", step.command);
                    let lines = if step.is_like(&said) {
                        step.shown.join("\n")
                    } else {
                        as_it_was = false;
                        said.join("\n")
                    };
                    page += &lines;
                    if !lines.is_empty() {
                        page += "\n";
                    }
                }
            }
        }
        let _ = fs::remove_file("/etc/vservers.conf");
        fs::remove_dir_all(HOME).map_err(words)?;
        ensure(
            &format!("the document would have to be:\n{page}"),
            as_it_was,
        )
    })
}
