// SPDX-License-Identifier: GPL-2.0

//! What is to be started inside, and the words between its starter and the process that goes there.

use crate::server::context::Join;
use crate::server::vserver::Server;
use serde::Deserialize;
use serde::Serialize;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

/// The program's first argument that means "go inside". It is no word that a user would type.
pub(crate) const ARGUMENT: &str = "--internal-launch";

/// The terminal of what is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Terminal {
    /// As it is.
    Inherited,
    /// A process group of its own, without a session: so it takes no terminal that it opens for its own, and leaves the
    /// console to the login there.
    Group,
    /// One that is made inside; its master is sent back.
    Inside,
}

/// What to start.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The vserver.
    pub(crate) name: String,
    /// Its context when it runs; `None`: make it.
    pub(crate) join: Option<Join>,
    /// Whether the program becomes process 1.
    pub(crate) is_init: bool,
    pub(crate) terminal: Terminal,
    /// The user inside, by name or number.
    pub(crate) user: Option<String>,
    /// As a login: in the home directory, with the user's shell when there is no command.
    pub(crate) login: bool,
    /// The program and its arguments, as bytes.
    pub(super) command: Vec<Vec<u8>>,
    /// The whole environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Whether a mount namespace to go to comes with it.
    pub(super) mounts: bool,
    /// How long it may take until the program runs.
    #[serde(skip)]
    pub(crate) patience: Option<Duration>,
}

/// What the process that goes inside tells, a line of JSON each.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Something that is not as it should be, and does not stop it.
    Note(String),
    /// It is in this context, which is new.
    Entered(i32),
    /// It came no further.
    Failed { message: String, code: u8 },
}

/// No more is read of what it tells.
pub(super) const REPORTS_MAX: usize = 1 << 16;

/// What the master of its terminal comes with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Master;

/// For fuzzing: a message of either side.
#[cfg(test)]
pub(crate) fn try_message(bytes: &[u8]) {
    let _ = serde_json::from_slice::<Order>(bytes);
    let _ = serde_json::from_slice::<Report>(bytes);
    let _ = serde_json::from_slice::<Master>(bytes);
}

/// What it waits for when it has told its context.
pub(super) const GO_ON: &[u8; 1] = b"\n";

impl Order {
    pub(crate) fn new(server: &Server, join: Option<Join>, command: &[OsString]) -> Self {
        Self {
            name: server.name.clone(),
            join,
            is_init: false,
            terminal: Terminal::Inherited,
            user: None,
            login: false,
            command: command.iter().map(|word| word.clone().into_vec()).collect(),
            environment: environment(),
            mounts: false,
            patience: None,
        }
    }
}

/// What programs inside begin with: nothing of the host's but the kind of terminal and the language.
pub(crate) fn environment() -> Vec<(String, String)> {
    let fixed = [
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("container", "vserver"),
    ];
    let kept = ["TERM", "LANG"]
        .into_iter()
        .filter_map(|name| Some((name, std::env::var(name).ok()?)));
    fixed
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .chain(kept.map(|(name, value)| (name.to_owned(), value)))
        .collect()
}
