// SPDX-License-Identifier: GPL-2.0

//! Real programs as Debian packages them, in two contexts at once on the same ports. Nothing of them is
//! told which addresses there are, except where the test is about that.

use crate::{
    filesystem::{mounted, private_mounts, SERVERS},
    fixture::{arrive, child, confine, ensure, enter, equal, until_empty, words, Outcome, Sitter},
    inet::{addresses, A, A6, B, B6, HOST, HOST6},
    test, Test,
};
use nix::{
    mount::MsFlags,
    sys::signal::{kill, Signal},
    unistd::{chdir, chroot, Pid},
};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use vserver_uapi::*;

mod dnsmasq;
mod iperf3;
mod nginx;
mod openssh;
mod postgresql;
mod postgresql_sysv;
mod python;
mod redis;

pub const TESTS: &[Test] = &[
    test("programs::nginx", 180, || both(nginx::run)),
    test("programs::postgresql", 300, || both(postgresql::run)),
    test("programs::postgresql_sysv", 480, || {
        both(postgresql_sysv::run)
    }),
    test("programs::redis", 180, || both(redis::run)),
    test("programs::openssh", 180, || both(openssh::run)),
    test("programs::dnsmasq", 180, || both(dnsmasq::run)),
    test("programs::iperf3", 180, || both(iperf3::run)),
    test("programs::python", 180, || both(python::run)),
];

/// Where each place has a file system of its own on top of that. What is written goes with the test.
const PLACES: &str = "/vservers";

/// Where a place's programs in the background write to.
const LOG: &str = "tmp/log";

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(120);

const LO: &str = "127.0.0.1";
const LO6: &str = "::1";

/// A file system, and for a context its number and addresses.
struct Place {
    name: &'static str,
    context: i32,
    ipv4: &'static str,
    ipv6: &'static str,
    root: PathBuf,
    /// Takes all that runs in the context with it. Nobody outside could.
    keeper: Option<Sitter>,
}

/// Two contexts, and the host as the one who comes from outside.
struct World {
    contexts: [Place; 2],
    host: Place,
}

/// Runs a test, and ends all that it has started.
fn both(run: fn(&World) -> Outcome) -> Outcome {
    addresses()?;
    until_empty()?;
    private_mounts()?;
    mounted(Some("tmpfs"), PLACES, None, MsFlags::empty(), "")?;
    let world = World {
        contexts: [
            Place::new("one", 100, [A, A6])?,
            Place::new("two", 101, [B, B6])?,
        ],
        host: Place::new("host", CONTEXT_ROOT, [HOST, HOST6])?,
    };
    let outcome = run(&world).map_err(|mut reason| {
        for place in world.contexts.iter().chain([&world.host]) {
            let log = fs::read(place.root.join(LOG)).unwrap_or_default();
            let _ = write!(
                reason,
                "\nlog of {}:\n{}",
                place.name,
                String::from_utf8_lossy(&log)
            );
        }
        reason
    });
    drop(world);
    outcome.and(until_empty())
}

impl Place {
    fn new(
        name: &'static str,
        context: i32,
        [ipv4, ipv6]: [&'static str; 2],
    ) -> Result<Self, String> {
        let base = Path::new(PLACES).join(name);
        let root = base.join("root");
        for part in ["upper", "work", "root"] {
            fs::create_dir_all(base.join(part)).map_err(words)?;
        }
        let none = MsFlags::empty();
        let layers = format!(
            "lowerdir={SERVERS},upperdir={base}/upper,workdir={base}/work",
            base = base.display()
        );
        mounted(Some("overlay"), &root, None, none, &layers)?;
        mounted(Some("proc"), root.join("proc"), None, none, "")?;
        for folder in ["dev", "dev/pts"] {
            let from = Path::new("/").join(folder);
            let bind = MsFlags::MS_BIND;
            mounted(None, root.join(folder), Some(&from), bind, "")?;
        }
        let shared = root.join("dev/shm");
        mounted(Some("tmpfs"), &shared, None, none, "mode=1777")?;
        let place = Self {
            name,
            context,
            ipv4,
            ipv6,
            root,
            keeper: match context {
                CONTEXT_ROOT => None,
                _ => Some(keeper(context, &[ipv4, ipv6])?),
            },
        };
        place.write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")?;
        // Nobody to be asked for names: a refusal, not a wait.
        place.write("etc/resolv.conf", "nameserver 127.0.0.1\n")?;
        Ok(place)
    }

    /// Writes a file of its file system.
    fn write(&self, file: &str, text: &str) -> Outcome {
        fs::write(self.root.join(file), text).map_err(|error| format!("{file}: {error}"))
    }

    /// Reads one.
    fn read(&self, file: &str) -> Result<String, String> {
        fs::read_to_string(self.root.join(file)).map_err(|error| format!("{file}: {error}"))
    }

    /// Goes there, for ever.
    fn go(&self) -> Outcome {
        if self.context != CONTEXT_ROOT {
            enter(self.context, 0, 0)
                .map_err(|error| format!("entering {}: {error}", self.context))?;
        }
        chroot(&self.root).map_err(words)?;
        chdir("/").map_err(words)
    }

    /// Runs a program there; what it prints, without the last end of line.
    fn run(&self, command: &[&str]) -> Result<String, String> {
        child(|| {
            self.go()?;
            let ran = program(command).output().map_err(words)?;
            let out = String::from_utf8_lossy(&ran.stdout).trim_end().to_string();
            let err = String::from_utf8_lossy(&ran.stderr);
            ensure(&format!("{} {out} {err}", ran.status), ran.status.success())?;
            Ok(out)
        })
        .map_err(|text| format!("{} runs {command:?}: {text}", self.name))
    }

    /// Starts one that stays.
    fn start(&self, command: &[&str]) -> Outcome {
        child(|| {
            self.go()?;
            let log = File::options()
                .create(true)
                .append(true)
                .open(Path::new("/").join(LOG))
                .map_err(words)?;
            program(command)
                .stdout(log.try_clone().map_err(words)?)
                .stderr(log)
                .spawn()
                .map_err(words)?;
            Ok(String::new())
        })
        .map(drop)
        .map_err(|text| format!("{} starts {command:?}: {text}", self.name))
    }

    /// Waits until somebody listens on a TCP port there.
    fn until_listening(&self, port: u16) -> Outcome {
        let what = format!(":{port:04X}");
        let listens = |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words.len() > 3 && words[1].ends_with(&what) && words[3] == "0A"
        };
        let start = Instant::now();
        while start.elapsed() < START {
            let sockets = child(|| {
                self.go()?;
                let read = |file| fs::read_to_string(file).map_err(words);
                Ok(read("/proc/net/tcp")? + &read("/proc/net/tcp6")?)
            })?;
            if sockets.lines().any(listens) {
                return Ok(());
            }
            sleep(Duration::from_millis(200));
        }
        Err(format!("{}: nobody listens on port {port}", self.name))
    }

    /// Fetches a page; `host` as in an URL.
    fn curl(&self, host: &str) -> Result<String, String> {
        let url = format!("http://{host}/");
        self.run(&["curl", "-sS", "-g", "--max-time", "30", &url])
    }
}

fn program(command: &[&str]) -> Command {
    let mut program = Command::new(command[0]);
    program
        .args(&command[1..])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("HOME", "/root")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null());
    program
}

/// Makes a context with these addresses. When this goes, it ends all that is in there.
fn keeper(context: i32, addresses: &[&str]) -> Result<Sitter, String> {
    Sitter::finally(
        || {
            confine(addresses).map_err(|error| format!("confining to {addresses:?}: {error}"))?;
            arrive(context, 0, 0).map_err(|error| format!("entering {context}: {error}"))?;
            Ok(())
        },
        || {
            let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        },
    )
}

fn same(what: &str, got: Result<String, String>, expected: &str) -> Outcome {
    equal(what, got, Ok(expected.to_string()))
}

/// Fails unless an attempt has failed with these words.
fn refused(what: &str, got: Result<String, String>, because: &str) -> Outcome {
    match got {
        Err(text) if text.contains(because) => Ok(()),
        other => Err(format!("{what}: got {other:?}, expected {because:?}")),
    }
}
