// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME VERB`: what is done with one vserver, a file for each verb.

pub(crate) mod build;
pub(crate) mod chkconfig;
pub(crate) mod clone;
pub(crate) mod console;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod enter;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod logs;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod running;
pub(crate) mod service;
pub(crate) mod show;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod suexec;

use crate::server::channel;
use crate::server::Running;
use crate::server::Server;
use anyhow::bail;
use anyhow::Context;
use libvserver::Device;
use std::fs::File;
use std::os::fd::OwnedFd;

/// The verbs that a name may stand before.
pub(crate) const VERBS: [&str; 20] = [
    "build",
    "chkconfig",
    "clone",
    "console",
    "delete",
    "edit",
    "enter",
    "exec",
    "export",
    "import",
    "logs",
    "rename",
    "restart",
    "running",
    "service",
    "show",
    "start",
    "status",
    "stop",
    "suexec",
];

/// Those of them that print something of their own, and so take `--silent`.
pub(crate) const TALKING: [&str; 9] = [
    "build", "clone", "delete", "export", "import", "restart", "running", "start", "stop",
];

/// Those of them that add addresses to devices, and so take `--nodev`.
pub(crate) const ADDING: [&str; 3] = ["build", "restart", "start"];

/// Those of them that are for one vserver at a time.
pub(crate) const SINGLE: [&str; 8] = [
    "build", "clone", "console", "edit", "enter", "export", "import", "rename",
];

/// A vserver that must run.
fn running(name: &str) -> anyhow::Result<(Server, Running, Device)> {
    let (server, _) = Server::current(name)?;
    let device = Device::open()?;
    match server.running(&device)? {
        Some(running) => Ok((server, running, device)),
        None => bail!("{name} is not running; start it with \"vserver {name} start\""),
    }
}

/// The way to its supervisor.
fn supervisor(server: &Server) -> anyhow::Result<OwnedFd> {
    channel::connect(&server.socket()).with_context(|| {
        format!(
            "cannot reach the keeper of {name}, which has its console and its mounts; if it is gone, \
             stop {name} and start it again",
            name = server.name
        )
    })
}

/// Where the files of a vserver are, by its supervisor.
fn mounts(supervisor: &OwnedFd) -> anyhow::Result<File> {
    let pid = rustix::net::sockopt::socket_peercred(supervisor)?.pid;
    let path = format!("/proc/{}/ns/mnt", pid.as_raw_nonzero());
    File::open(&path).with_context(|| format!("cannot open {path}"))
}
