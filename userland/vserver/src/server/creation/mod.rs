// SPDX-License-Identifier: GPL-2.0

//! The trees of vservers: how they are made, so that what is half made never looks like a vserver.

pub(crate) mod journal;
pub(crate) mod populate;
pub(crate) mod settings;
pub(crate) mod source;
pub(crate) mod staging;
pub(crate) mod work;

pub(crate) use journal::finish_rename_of;
pub(crate) use journal::leftover;
pub(crate) use journal::settle;
pub(crate) use settings::Settings;
pub(crate) use source::SourceArguments;
pub(crate) use staging::Staging;
pub(crate) use work::Work;

use super::console_log;
use super::Server;
use libvserver::config::DIRECTORY;
use std::path::Path;
use std::path::PathBuf;

/// The files of a vserver in the directory of configurations besides `NAME.conf`, by their endings.
pub(crate) const COMPANIONS: [&str; 2] = ["sh", "fstab"];

/// A file of a vserver in the directory of configurations.
pub(crate) fn companion(name: &str, ending: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.{ending}"))
}

/// A file there that no vserver has: none has a name with a dot before it.
pub(crate) fn hidden(name: &str, ending: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!(".{name}.{ending}"))
}

/// A directory that no vserver has.
pub(crate) fn hidden_root(name: &str, ending: &str) -> PathBuf {
    Path::new(super::ROOTS).join(format!(".{name}.{ending}"))
}

/// The logs of a vserver.
pub(crate) fn logs(server: &Server) -> [PathBuf; 2] {
    let log = server.log();
    let older = console_log::older(&log);
    [log, older]
}
