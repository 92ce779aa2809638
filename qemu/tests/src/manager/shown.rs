// SPDX-License-Identifier: GPL-2.0

//! What is shown of a vserver, and its configuration being edited.

use super::*;
use std::os::unix::fs::PermissionsExt;

pub const CONFIGURATION_OF_ONE: Test = test("manager::show", 60, configuration);
pub const EDITED: Test = test("manager::edit", 60, edited);
pub const LOGS_OF_ONE: Test = test("manager::logs", 120, logs);
pub const LISTED: Test = test("manager::list", 120, listed);

const SHARED: &str = "/etc/vservers.conf";

/// Removed when dropped, however the test ends.
struct File(&'static str);

impl File {
    fn new(path: &'static str, text: &str) -> Result<Self, String> {
        fs::write(path, text).map_err(words)?;
        Ok(Self(path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.0);
    }
}

fn configuration() -> Outcome {
    with_vservers(|| {
        let _shared = File::new(SHARED, "STOP_TIMEOUT=7\nS_FLAGS=sched\nREADY=up\n")?;
        fs::write(
            format!("{CONFIGURATION}/old.conf"),
            format!("{}READY=\n", sample::CONF),
        )
        .map_err(words)?;
        let said = ends(0, &["vserver", "old", "show"])?;
        let line = |words: &[&str]| {
            said.lines()
                .any(|line| line.split_whitespace().eq(words.iter().copied()))
        };
        for words in [
            &["IPROOT", "10.82.0.5", "/etc/vservers/old.conf:6"][..],
            &["S_FLAGS", "lock", "nproc", "/etc/vservers/old.conf:16"],
            &["STOP_TIMEOUT", "7", "/etc/vservers.conf:1"],
            &["START_TIMEOUT", "120", "default"],
            &["#", "Description:", "a", "server", "of", "2002"],
        ] {
            ensure(&format!("no {words:?} in {said}"), line(words))?;
        }
        ensure(&said, !said.contains("READY") && said.contains("if_none"))?;
        // What is printed reads back the same.
        let json = |said: &str| -> Result<serde_json::Value, String> {
            let text = said.split("vserver: warning").next().unwrap_or_default();
            serde_json::from_str(text).map_err(|error| format!("{error}: {said}"))
        };
        let values = |value: &serde_json::Value| -> Vec<(String, String)> {
            let all = value["variables"].as_object().cloned().unwrap_or_default();
            all.into_iter()
                .map(|(name, one)| (name, one["value"].as_str().unwrap_or_default().to_string()))
                .collect()
        };
        let before = json(&ends(0, &["vserver", "old", "show", "--json"])?)?;
        equal(
            "a line",
            before["variables"]["S_FLAGS"]["line"].as_u64(),
            Some(16),
        )?;
        let conf = ends(0, &["vserver", "old", "show", "--conf"])?;
        let conf = conf.split("vserver: warning").next().unwrap_or_default();
        fs::write(format!("{CONFIGURATION}/new.conf"), conf).map_err(words)?;
        let after = json(&ends(0, &["vserver", "new", "show", "--json"])?)?;
        equal("values", values(&after), values(&before))?;
        equal("description", &after["description"], &before["description"])?;
        // Nothing in it was executed.
        fs::write(
            format!("{CONFIGURATION}/bad.conf"),
            "S_NICE=$(touch /tmp/executed)\n",
        )
        .map_err(words)?;
        let said = ends(2, &["vserver", "bad", "show"])?;
        contains(
            &said,
            &["/etc/vservers/bad.conf:1:9: nothing is executed here"],
        )?;
        ensure("it was executed", !Path::new("/tmp/executed").exists())
    })
}

fn edited() -> Outcome {
    with_vservers(|| {
        let conf = format!("{CONFIGURATION}/box.conf");
        fs::write(&conf, "ONBOOT=no\n").map_err(words)?;
        fs::set_permissions(&conf, fs::Permissions::from_mode(0o640)).map_err(words)?;
        let edit = |script: &str, code| -> Result<String, String> {
            let editor = "/tmp/manager-editor";
            fs::write(editor, format!("#!/bin/sh\n{script}\n")).map_err(words)?;
            fs::set_permissions(editor, fs::Permissions::from_mode(0o755)).map_err(words)?;
            ends(
                code,
                &[
                    "/bin/sh",
                    "-c",
                    "EDITOR=/tmp/manager-editor exec vserver box edit",
                ],
            )
        };
        let text = || fs::read_to_string(&conf).map_err(words);
        contains(
            &edit("echo ONBOOT=yes >\"$1\"", 0)?,
            &["box.conf is changed"],
        )?;
        equal("changed", text()?.as_str(), "ONBOOT=yes\n")?;
        let mode = fs::metadata(&conf).map_err(words)?.permissions().mode() & 0o7777;
        equal("its mode", mode, 0o640)?;
        contains(&edit("true", 0)?, &["is as it was"])?;
        // A wrong one is kept for the next time, and takes no place.
        let said = edit("echo ONBOOT=maybe >\"$1\"", 1)?;
        contains(
            &said,
            &[
                ".box.conf.edit:1:8: ONBOOT",
                "the configuration is as it was",
            ],
        )?;
        equal("unchanged", text()?.as_str(), "ONBOOT=yes\n")?;
        contains(
            &edit("sed -i s/maybe/no/ \"$1\"", 0)?,
            &["going on with", "box.conf is changed"],
        )?;
        equal("mended", text()?.as_str(), "ONBOOT=no\n")?;
        contains(&edit("exit 3", 1)?, &["exit status: 3", "as it was"])?;
        equal("unchanged", text()?.as_str(), "ONBOOT=no\n")
    })
}

fn logs() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        let said = ends(1, &["vserver", "box", "logs"])?;
        contains(&said, &["box has never been started"])?;
        let mut follow = Command::new("vserver")
            .args(["box", "logs", "--follow"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(words)?;
        vserver.start(&[])?;
        vserver.stop(&[])?;
        let all = vserver.good(&["logs"])?;
        contains(
            &all,
            &["this is rcS", "going down", "[vserver box: powered off]"],
        )?;
        let two = vserver.good(&["logs", "-n", "2"])?;
        ensure(
            &format!("the last lines: {two:?}"),
            all.ends_with(&two) && two.lines().count() == 2,
        )?;
        // The one who follows has seen it all.
        let mut seen = String::new();
        let mut out = follow.stdout.take().ok_or("no output")?;
        until("all is followed", || {
            let mut room = [0; 4096];
            let length = std::io::Read::read(&mut out, &mut room).map_err(words)?;
            seen += &String::from_utf8_lossy(&room[..length]);
            Ok(seen.contains("[vserver box: powered off]"))
        })?;
        follow.kill().map_err(words)?;
        follow.wait().map_err(words)?;
        contains(&seen, &["this is rcS"])?;
        let events = vserver.good(&["logs", "--events"])?;
        let kinds: Vec<&str> = events
            .lines()
            .filter_map(|line| {
                line.split(' ')
                    .find_map(|field| field.strip_prefix("event="))
            })
            .collect();
        equal("events", kinds, vec!["started", "ready", "stopped"])?;
        contains(&events, &["level=info vserver=box event=started context="])
    })
}

fn listed() -> Outcome {
    with_vservers(|| {
        let one = Vserver::new(
            "one",
            "busybox",
            crate::inet::A,
            "# Description: the first\nONBOOT=yes",
        )?;
        let _two = Vserver::new(
            "two",
            "busybox",
            "",
            "S_HOSTNAME=other.example.org\nPRIORITY=7",
        )?;
        one.start(&[])?;
        configure("broken", "conf", "S_NICE=90\n")?;
        let said = ends(0, &["vserver", "list"])?;
        let lines: Vec<Vec<&str>> = said
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        equal(
            "heading",
            &lines[0],
            &vec![
                "NAME",
                "STATE",
                "CTX",
                "PROC",
                "UPTIME",
                "ADDRESSES",
                "DESCRIPTION",
            ],
        )?;
        equal("one", &lines[2][..2], &["one", "running"][..])?;
        equal("one", &lines[2][5..], &[crate::inet::A, "the", "first"][..])?;
        equal(
            "two",
            &lines[3][..],
            &["two", "stopped", "-", "-", "-", "all"][..],
        )?;
        contains(&said, &["(/etc/vservers/broken.conf:1:8: S_NICE"])?;
        let said = ends(
            0,
            &[
                "vserver",
                "list",
                "--no-legend",
                "-o",
                "priority,name,onboot,hostname",
                "t*",
            ],
        )?;
        equal("chosen", said.as_str(), "7 two no other.example.org\n")?;
        let said = ends(0, &["vserver", "list", "--json"])?;
        let value: serde_json::Value = serde_json::from_str(&said).map_err(words)?;
        let row = &value["vservers"][1];
        equal(
            "json",
            (
                row["name"].as_str(),
                row["state"].as_str(),
                row["onboot"].as_bool(),
            ),
            (Some("one"), Some("running"), Some(true)),
        )?;
        ensure(
            "json has numbers",
            row["ctx"].is_i64() && row["uptime"].is_f64(),
        )?;
        let said = ends(
            0,
            &["vserver", "list", "--running", "-o", "name", "--no-legend"],
        )?;
        equal("running ones", said.as_str(), "one\n")?;
        one.stop(&[])
    })
}
