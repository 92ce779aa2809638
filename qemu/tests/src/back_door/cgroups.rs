// SPDX-License-Identifier: GPL-2.0

//! Control groups: their files are root's, and those of others are beside one's own.

use super::*;
use crate::{
    fixture::{ensure, Sitter},
    test,
};
use std::io::Write;

pub const TESTS: &[Test] = &[
    test("back_door::control_groups", 120, groups),
    test(
        "back_door::control_groups_in_a_user_namespace",
        60,
        namespace,
    ),
    test("back_door::control_group_handed_in", 120, handed_in),
];

const TOP: &str = "/sys/fs/cgroup";

/// A group that is gone when it is dropped.
struct Group(String);

impl Group {
    fn new(name: &str) -> Result<Self, String> {
        let path = format!("{TOP}/{name}");
        fs::create_dir(&path).map_err(words)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// What kills, stops and moves whoever is in a group, and makes and removes groups.
fn nothing_to_do(at: &str) -> Outcome {
    let group = format!("{at}/backdoor");
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        let top = opened_to_write(&format!("{at}/{file}"));
        equal(file, top, Err(Errno::EACCES))?;
    }
    for file in [
        "cgroup.kill",
        "cgroup.freeze",
        "cgroup.procs",
        "cgroup.max.depth",
    ] {
        let below = opened_to_write(&format!("{group}/{file}"));
        equal(file, below, Err(Errno::EACCES))?;
    }
    let made = errno(fs::create_dir(format!("{at}/made")));
    equal("mkdir", made, Err(Errno::EACCES))?;
    let made = errno(fs::create_dir(format!("{group}/made")));
    equal("mkdir below", made, Err(Errno::EACCES))?;
    equal("rmdir", errno(fs::remove_dir(&group)), Err(Errno::EACCES))?;
    // What there is can be read.
    ensure("events", fs::read(format!("{group}/cgroup.events")).is_ok())
}

fn groups() -> Outcome {
    let group = Group::new("backdoor")?;
    host_without_caps(|| {
        for file in ["cgroup.kill", "cgroup.freeze", "cgroup.procs"] {
            opened_to_write(&group.file(file)).map_err(|errno| format!("{file}: {errno}"))?;
        }
        opened_to_write(&format!("{TOP}/cgroup.procs")).map_err(words)?;
        drop(Group::new("another")?);
        Ok(())
    })?;
    inside_both(|| nothing_to_do(TOP))
}

/// Mounted by root of a namespace, it is the same tree.
fn namespace() -> Outcome {
    let _group = Group::new("backdoor")?;
    inside_without(100, SECURE, || {
        own_user_namespace(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWCGROUP)?;
        mounted(None, "/", MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        mounted(Some("cgroup2"), "/tmp", MsFlags::empty())?;
        nothing_to_do("/tmp")
    })
}

/// A descriptor that the host hands in is good for what is inside: others are not there.
fn handed_in() -> Outcome {
    let group = Group::new("handed")?;
    let host = Sitter::idle(CONTEXT_ROOT)?;
    let other = Sitter::idle(101)?;
    child(|| {
        let open = || {
            fs::File::options()
                .write(true)
                .open(group.file("cgroup.procs"))
        };
        let mut procs = open().map_err(words)?;
        // From the host, where one sees his own, it works.
        procs
            .write_all(host.pid.to_string().as_bytes())
            .map_err(words)?;
        let mut back = fs::File::options()
            .write(true)
            .open(format!("{TOP}/cgroup.procs"))
            .map_err(words)?;
        back.write_all(host.pid.to_string().as_bytes())
            .map_err(words)?;
        enter(100, 0, SECURE).map_err(words)?;
        for pid in [host.pid, other.pid, 1] {
            let got = errno(procs.write_all(pid.to_string().as_bytes()));
            equal(&format!("{pid}"), got, Err(Errno::ESRCH))?;
        }
        procs.write_all(b"0").map_err(words)?;
        back.write_all(b"0").map_err(words)?;
        Ok(String::new())
    })
    .map(drop)
}
