// SPDX-License-Identifier: GPL-2.0

//! /proc: listing, lookup, what was opened before, the status lines.

use crate::{
    fixture::{ensure, enter, equal, inside, words, Outcome, Sitter},
    test, Test,
};
use nix::{
    errno::Errno,
    fcntl::{open, openat, OFlag},
    sys::stat::Mode,
};
use vserver_uapi::*;

pub const TESTS: &[Test] = &[
    test("proc::listing_and_lookup", 20, listing),
    test("proc::descriptors_from_before", 20, before),
    test("proc::status_lines", 20, status),
    test("proc::hideinfo", 20, hideinfo),
];

fn listed(pid: i32) -> Result<bool, String> {
    let name = pid.to_string();
    let mut found = false;
    for entry in std::fs::read_dir("/proc").map_err(words)? {
        found |= entry.map_err(words)?.file_name().to_str() == Some(&name);
    }
    Ok(found)
}

fn seen(pid: i32) -> Result<(bool, bool, bool), String> {
    Ok((
        listed(pid)?,
        std::fs::metadata(format!("/proc/{pid}")).is_ok(),
        std::fs::read_dir(format!("/proc/{pid}/task"))
            .is_ok_and(|mut tasks| tasks.next().is_some()),
    ))
}

fn listing() -> Outcome {
    let target = Sitter::idle(300)?;
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let all = (true, true, true);
    let nothing = (false, false, false);
    inside(300, || equal("same context", seen(target.pid)?, all))?;
    inside(301, || equal("other context", seen(target.pid)?, nothing))?;
    inside(CONTEXT_ROOT, || equal("host", seen(target.pid)?, nothing))?;
    inside(CONTEXT_SPECTATOR, || {
        equal("spectator", seen(target.pid)?, all)
    })?;
    inside(300, || {
        equal("towards the host", seen(host.pid)?, nothing)?;
        equal("process 1", listed(1)?, true)
    })?;
    // The one that may see it still does after the others could not.
    inside(300, || equal("same context again", seen(target.pid)?, all))
}

fn before() -> Outcome {
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let pid = host.pid;
    inside(CONTEXT_ROOT, || {
        let folder =
            |path: String| open(path.as_str(), OFlag::O_DIRECTORY, Mode::empty()).map_err(words);
        let process = folder(format!("/proc/{pid}"))?;
        let tasks = folder(format!("/proc/{pid}/task"))?;
        let task = folder(format!("/proc/{pid}/task/{pid}"))?;
        // Known to the dentry cache, and not known to it.
        let all = [
            (&process, "status".to_string()),
            (&process, "stat".to_string()),
            (&process, "task".to_string()),
            (&tasks, pid.to_string()),
            (&task, "status".to_string()),
            (&task, "comm".to_string()),
        ];
        for (folder, name) in &all[..1] {
            openat(folder, name.as_str(), OFlag::O_RDONLY, Mode::empty()).map_err(words)?;
        }
        enter(CONTEXT_NEW, 0, 0).map_err(words)?;
        for (folder, name) in &all {
            let got = openat(*folder, name.as_str(), OFlag::O_RDONLY, Mode::empty()).err();
            equal(name, got, Some(Errno::ENOENT))?;
        }
        for (what, folder) in [("/proc/PID", process), ("task", tasks), ("task/TID", task)] {
            let mut listing = nix::dir::Dir::from_fd(folder).map_err(words)?;
            let names = listing
                .iter()
                .filter_map(|entry| Some(entry.ok()?.file_name().to_str().ok()?.to_string()))
                .filter(|name| name != "." && name != "..")
                .count();
            equal(what, names, 0)?;
        }
        Ok(())
    })
}

fn status_of(pid: &str) -> Result<String, String> {
    std::fs::read_to_string(format!("/proc/{pid}/status")).map_err(words)
}

fn status() -> Outcome {
    let lines = |context: i32, flags: &str| {
        format!(
            "s_context: {context}\nctxflags: {flags}\ninitpid: none\nipv4root: 0\nipv4root_bcast: 0\n"
        )
    };
    ensure("host", status_of("self")?.ends_with(&lines(0, "none")))?;
    let sitter = Sitter::new(300, FLAG_LOCK | FLAG_NPROC, || Ok(()))?;
    inside(CONTEXT_SPECTATOR, || {
        let text = status_of(&sitter.pid.to_string())?;
        ensure(
            &format!("flags in {text}"),
            text.ends_with(&lines(300, "lock nproc")),
        )?;
        ensure("own", status_of("self")?.ends_with(&lines(1, "none")))
    })
}

fn hideinfo() -> Outcome {
    inside(CONTEXT_ROOT, || {
        enter(CONTEXT_NEW, FLAG_HIDEINFO, 0).map_err(words)?;
        ensure("hidden", !status_of("self")?.contains("s_context"))
    })
}
