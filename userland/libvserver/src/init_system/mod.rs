// SPDX-License-Identifier: GPL-2.0

//! The init systems: how each is recognised, what tells that its boot is done, and how it is stopped.
//!
//! Nothing is added to a guest for it, and no time is guessed: each check looks at what that init really leaves
//! behind.

mod inittab;
mod utmp;

use crate::Guest;
use inittab::Entry;
use std::fmt;
use std::path::Path;

/// Links that are followed from the path of an init to its program.
const LINKS_MAX: usize = 8;

/// The signals of systemd to process 1: see systemd(1).
const SIGRTMIN: i32 = 34;

/// An init system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitSystem {
    /// sysvinit, also with OpenRC as its scripts.
    Sysvinit,
    /// OpenRC with an init of its own.
    OpenRc,
    /// runit.
    Runit,
    /// busybox.
    Busybox,
    /// systemd.
    Systemd,
}

/// What makes an init stop its services, and then its context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopBy {
    /// A command inside.
    Command(Vec<String>),
    /// A signal to process 1.
    Signal(i32),
}

/// A process that process 1 has started.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Child {
    /// Its name, as /proc/PID/comm has it: at most 15 bytes.
    pub name: String,
    /// Its arguments.
    pub arguments: Vec<String>,
}

/// What has been seen of a boot.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The present children of process 1; `None`: not known yet.
    pub children: Option<Vec<Child>>,
    /// Whether it ever had one.
    pub had_children: bool,
    /// Whether it has sent `READY=1`.
    pub notified: bool,
}

impl fmt::Display for InitSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sysvinit => "sysvinit",
            Self::OpenRc => "OpenRC",
            Self::Runit => "runit",
            Self::Busybox => "busybox",
            Self::Systemd => "systemd",
        })
    }
}

impl InitSystem {
    /// Which init a path inside a guest is; `None`: none that is known.
    pub fn find(guest: &Guest, init: &Path) -> Option<Self> {
        let mut path = init.to_str()?.to_owned();
        for _ in 0..LINKS_MAX {
            let Some(target) = guest.link(&path) else {
                break;
            };
            path = match target.strip_prefix('/') {
                Some(_) => target,
                None => format!("{}/{target}", path.rsplit_once('/')?.0),
            };
        }
        let name = path.rsplit('/').next()?;
        match name {
            "systemd" => return Some(Self::Systemd),
            "busybox" => return Some(Self::Busybox),
            "runit-init" | "runit" => return Some(Self::Runit),
            "openrc-init" => return Some(Self::OpenRc),
            _ => {}
        }
        // A copy under another name says what it is.
        let program = guest.read(&path)?;
        let says = |text: &[u8]| program.windows(text.len()).any(|window| window == text);
        if says(b"BusyBox v") {
            Some(Self::Busybox)
        } else if says(b"/etc/runit/") {
            Some(Self::Runit)
        } else if says(b"/etc/inittab") && says(b"INIT_VERSION") {
            Some(Self::Sysvinit)
        } else {
            None
        }
    }

    /// How its services, and then its context, are ended.
    pub fn stop_by(self, init: &Path) -> StopBy {
        let command =
            |words: &[&str]| StopBy::Command(words.iter().map(ToString::to_string).collect());
        match self {
            Self::Sysvinit | Self::Runit => command(&[&init.to_string_lossy(), "0"]),
            Self::OpenRc => command(&["/sbin/openrc-shutdown", "--poweroff", "now"]),
            Self::Busybox => StopBy::Signal(nix::libc::SIGUSR2),
            Self::Systemd => StopBy::Signal(SIGRTMIN + 4),
        }
    }

    /// Whether the children of process 1 have to be watched to see when it is ready.
    pub fn needs_children(self) -> bool {
        !matches!(self, Self::Systemd | Self::OpenRc)
    }

    /// What the boot is waiting for, in words; `None`: it is done.
    pub fn waits_for(self, guest: &Guest, seen: &Seen) -> Option<String> {
        match self {
            Self::Sysvinit => sysvinit(guest, seen),
            Self::OpenRc => openrc(guest),
            Self::Runit => runit(guest, seen),
            Self::Busybox => busybox(guest, seen),
            Self::Systemd => (!seen.notified)
                .then(|| "systemd to say READY=1 (all units of the default target)".to_owned()),
        }
    }
}

fn text(guest: &Guest, path: &str) -> Option<String> {
    Some(String::from_utf8_lossy(&guest.read(path)?).into_owned())
}

fn inittab(guest: &Guest) -> Vec<Entry> {
    text(guest, "/etc/inittab").map_or_else(Vec::new, |text| inittab::parse(&text))
}

/// Whether a process of an entry is there: its arguments are the words of the entry, behind those of an
/// interpreter when it is a script.
fn runs(entry: &Entry, children: &[Child]) -> bool {
    let words: Vec<&str> = entry.process.split_ascii_whitespace().collect();
    let name = |word: &str| {
        let path = word.trim_start_matches(['+', '-', '@']);
        path.rsplit('/').next().unwrap_or(path).to_owned()
    };
    let same = |arguments: &[String]| {
        arguments.len() == words.len()
            && name(&arguments[0]) == name(words[0])
            && arguments[1..].iter().eq(words[1..].iter())
    };
    !words.is_empty()
        && children.iter().any(|child| {
            let arguments = &child.arguments;
            same(arguments) || (arguments.len() > 1 && same(&arguments[1..]))
        })
}

/// It writes a record of each process of inittab, and of the run level before it starts what belongs to that: done
/// are the lines with "wait" when their processes are recorded as dead.
fn sysvinit(guest: &Guest, seen: &Seen) -> Option<String> {
    let entries = inittab(guest);
    let records = utmp::records(&guest.read("/run/utmp").unwrap_or_default());
    let Some(level) = utmp::run_level(&records) else {
        // Without a utmp file: lines with "respawn" are started behind those with "wait".
        let level = inittab::default_level(&entries).unwrap_or('2');
        let respawns = || {
            entries
                .iter()
                .filter(|entry| entry.action == "respawn" && entry.is_of(level))
        };
        let started = seen
            .children
            .as_ref()
            .is_some_and(|children| respawns().any(|entry| runs(entry, children)));
        return (!started).then(|| {
            format!("init to enter run level {level} (a record in /run/utmp, or a \"respawn\" process of /etc/inittab)")
        });
    };
    entries
        .iter()
        .filter(|entry| entry.action == "wait" && entry.is_of(level))
        .find(|entry| {
            !records
                .iter()
                .any(|record| record.kind == utmp::DEAD_PROCESS && record.id == entry.id)
        })
        .map(|entry| {
            format!(
                "the end of \"{}\" of run level {level} (\"{}\" in /run/utmp)",
                entry.process, entry.id
            )
        })
}

fn openrc(guest: &Guest) -> Option<String> {
    let level = text(guest, "/run/openrc/softlevel").unwrap_or_default();
    let starting = guest.exists("/run/openrc/rc.starting");
    let early = matches!(level.trim(), "" | "sysinit" | "boot");
    (early || starting).then(|| {
        "OpenRC to finish its default run level (/run/openrc/softlevel, no /run/openrc/rc.starting)"
            .to_owned()
    })
}

fn runit(guest: &Guest, seen: &Seen) -> Option<String> {
    let children = seen.children.as_deref().unwrap_or_default();
    let Some(runsvdir) = children.iter().find(|child| child.name == "runsvdir") else {
        return Some("stage 2 of runit to become runsvdir".to_owned());
    };
    let folder = runsvdir
        .arguments
        .iter()
        .skip(1)
        .find(|word| word.starts_with('/'))
        .map_or("/etc/service", String::as_str);
    guest
        .names(folder)
        .into_iter()
        .filter(|name| !name.starts_with('.') && !guest.exists(&format!("{folder}/{name}/down")))
        .find(|name| {
            let state = text(guest, &format!("{folder}/{name}/supervise/stat"));
            state.is_none_or(|state| state.trim() != "run")
        })
        .map(|name| format!("the service {name} to run ({folder}/{name}/supervise/stat)"))
}

/// It runs "sysinit", then "wait", then the rest.
fn busybox(guest: &Guest, seen: &Seen) -> Option<String> {
    let Some(children) = &seen.children else {
        return Some("process 1 to start anything".to_owned());
    };
    let mut entries = inittab(guest);
    if entries.is_empty() {
        // What busybox takes when there is no inittab.
        entries = inittab::parse("::sysinit:/etc/init.d/rcS\n::askfirst:-/bin/sh\n");
    }
    let of = |action: &str| {
        entries
            .iter()
            .filter(|entry| entry.action == action)
            .collect::<Vec<_>>()
    };
    let later = [of("respawn"), of("askfirst")].concat();
    if later.is_empty() {
        let early = [of("sysinit"), of("wait")].concat();
        let busy = early.iter().find(|entry| runs(entry, children));
        return match busy {
            Some(entry) => Some(format!("the end of \"{}\" of /etc/inittab", entry.process)),
            None if early.is_empty() || seen.had_children => None,
            None => Some("process 1 to start anything".to_owned()),
        };
    }
    // One that asks first is still a copy of init until somebody has answered.
    let asks = |child: &Child| matches!(child.name.as_str(), "init" | "busybox" | "linuxrc");
    let started = later.iter().any(|entry| {
        runs(entry, children) || (entry.action == "askfirst" && children.iter().any(asks))
    });
    (!started).then(|| format!("\"{}\" of /etc/inittab to be started", later[0].process))
}

/// For fuzzing.
#[cfg(test)]
pub(crate) fn try_inittab(bytes: &[u8]) {
    let entries = inittab::parse(&String::from_utf8_lossy(bytes));
    let _ = inittab::default_level(&entries);
    for entry in &entries {
        let _ = entry.is_of('2');
    }
}

/// For fuzzing.
#[cfg(test)]
pub(crate) fn try_utmp(bytes: &[u8]) {
    let records = utmp::records(bytes);
    let _ = utmp::run_level(&records);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let place =
                std::env::temp_dir().join(format!("vserver-init-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&place);
            for folder in ["sbin", "etc", "run", "bin", "lib/systemd", "etc/service"] {
                fs::create_dir_all(place.join(folder)).unwrap();
            }
            Self(place)
        }

        fn file(&self, path: &str, content: impl AsRef<[u8]>) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }

        fn guest(&self) -> Guest {
            Guest::open(&self.0).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn child(name: &str, arguments: &[&str]) -> Child {
        Child {
            name: name.to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
        }
    }

    fn seen(children: &[Child]) -> Seen {
        Seen {
            children: Some(children.to_vec()),
            had_children: !children.is_empty(),
            notified: false,
        }
    }

    #[test]
    fn each_is_recognised() {
        let find = |prepare: &dyn Fn(&Tree)| {
            let tree = Tree::new("find");
            prepare(&tree);
            InitSystem::find(&tree.guest(), Path::new("/sbin/init"))
        };
        let linked = |target: &'static str| {
            move |tree: &Tree| {
                tree.file(target.trim_start_matches(['/', '.']), "x");
                symlink(target, tree.0.join("sbin/init")).unwrap();
            }
        };
        assert_eq!(
            find(&linked("/lib/systemd/systemd")),
            Some(InitSystem::Systemd)
        );
        assert_eq!(find(&linked("../bin/busybox")), Some(InitSystem::Busybox));
        assert_eq!(find(&linked("/sbin/runit-init")), Some(InitSystem::Runit));
        assert_eq!(find(&linked("/sbin/openrc-init")), Some(InitSystem::OpenRc));
        let content = |text: &'static str| move |tree: &Tree| tree.file("sbin/init", text);
        assert_eq!(
            find(&content("..BusyBox v1.37..")),
            Some(InitSystem::Busybox)
        );
        assert_eq!(
            find(&content("/etc/inittab\0INIT_VERSION\0")),
            Some(InitSystem::Sysvinit)
        );
        assert_eq!(find(&content("#!/bin/sh\n")), None);
        assert_eq!(find(&|_| ()), None);
        assert_eq!(
            find(&|tree| symlink("init", tree.0.join("sbin/init")).unwrap()),
            None
        );
    }

    #[test]
    fn sysvinit_is_ready_when_its_rc_is_dead() {
        let tree = Tree::new("sysv");
        tree.file(
            "etc/inittab",
            "id:2:initdefault:\nl2:2:wait:/etc/init.d/rc 2\nl3:3:wait:/etc/init.d/rc 3\n1:2345:respawn:/sbin/getty 38400 console\n",
        );
        let guest = tree.guest();
        let waits = |seen: &Seen| InitSystem::Sysvinit.waits_for(&guest, seen);
        let none = Seen::default();
        assert!(waits(&none).unwrap().contains("run level 2"));
        assert_eq!(
            waits(&seen(&[child(
                "getty",
                &["/sbin/getty", "38400", "console"]
            )])),
            None
        );
        let mut records = utmp::make(utmp::RUN_LEVEL, 20018, "~~");
        records.extend(utmp::make(utmp::INIT_PROCESS, 9, "l2"));
        tree.file("run/utmp", &records);
        assert!(waits(&none).unwrap().contains("/etc/init.d/rc 2"));
        records.extend(utmp::make(utmp::DEAD_PROCESS, 9, "l2"));
        tree.file("run/utmp", &records);
        assert_eq!(waits(&none), None);
    }

    #[test]
    fn openrc_is_ready_when_nothing_starts() {
        let tree = Tree::new("openrc");
        let guest = tree.guest();
        let waits = || InitSystem::OpenRc.waits_for(&guest, &Seen::default());
        assert!(waits().is_some());
        tree.file("run/openrc/softlevel", "default\n");
        fs::create_dir(tree.0.join("run/openrc/rc.starting")).unwrap();
        assert!(waits().is_some());
        fs::remove_dir(tree.0.join("run/openrc/rc.starting")).unwrap();
        assert_eq!(waits(), None);
    }

    #[test]
    fn runit_is_ready_when_its_services_run() {
        let tree = Tree::new("runit");
        tree.file("etc/service/one/supervise/stat", "down\n");
        tree.file("etc/service/two/down", "");
        let guest = tree.guest();
        let waits = |seen: &Seen| InitSystem::Runit.waits_for(&guest, seen);
        assert!(waits(&seen(&[child("2", &["/bin/sh", "/etc/runit/2"])]))
            .unwrap()
            .contains("stage 2"));
        let stage2 = seen(&[child(
            "runsvdir",
            &["runsvdir", "-P", "/etc/service", "log: ...."],
        )]);
        assert!(waits(&stage2).unwrap().contains("service one"));
        tree.file("etc/service/one/supervise/stat", "run\n");
        assert_eq!(waits(&stage2), None);
    }

    #[test]
    fn busybox_is_ready_when_what_comes_last_is_there() {
        let tree = Tree::new("busybox");
        let guest = tree.guest();
        let waits = |seen: &Seen| InitSystem::Busybox.waits_for(&guest, seen);
        assert!(waits(&Seen::default()).is_some());
        assert!(waits(&seen(&[child("rcS", &["/bin/sh", "/etc/init.d/rcS"])])).is_some());
        assert_eq!(waits(&seen(&[child("init", &["init"])])), None);
        tree.file(
            "etc/inittab",
            "::sysinit:/etc/rc\n::respawn:/sbin/getty 0 console\n",
        );
        assert!(waits(&seen(&[child("rc", &["/bin/sh", "/etc/rc"])])).is_some());
        assert_eq!(
            waits(&seen(&[child("getty", &["/sbin/getty", "0", "console"])])),
            None
        );
        tree.file("etc/inittab", "::sysinit:/etc/rc\n");
        assert!(waits(&seen(&[])).is_some());
        assert!(waits(&seen(&[child("rc", &["/bin/sh", "/etc/rc"])])).is_some());
        let after = Seen {
            had_children: true,
            ..seen(&[])
        };
        assert_eq!(waits(&after), None);
    }

    #[test]
    fn systemd_says_so() {
        let tree = Tree::new("systemd");
        let mut state = Seen::default();
        assert!(InitSystem::Systemd
            .waits_for(&tree.guest(), &state)
            .is_some());
        state.notified = true;
        assert_eq!(InitSystem::Systemd.waits_for(&tree.guest(), &state), None);
    }
}
