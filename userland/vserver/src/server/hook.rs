// SPDX-License-Identifier: GPL-2.0

//! The script of a vserver, `/etc/vservers/NAME.sh`, which is called on the host with what happens
//! (`pre-start`, `post-start`, `pre-stop`, `post-stop`) and the name.

use super::Server;
use anyhow::bail;
use anyhow::Context;
use libvserver::config;
use libvserver::Config;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

/// Starts it; `None`: there is none. `output`: where it writes to.
pub(crate) fn start(
    server: &Server,
    event: &str,
    output: [Stdio; 2],
) -> anyhow::Result<Option<Child>> {
    let script = Path::new(config::DIRECTORY).join(format!("{}.sh", server.name));
    if !script.exists() {
        return Ok(None);
    }
    let [standard, errors] = output;
    // By a shell, as it was always called: it need not be executable.
    Command::new("/bin/sh")
        .arg(&script)
        .args([event, &server.name])
        .envs(environment(server))
        .stdin(Stdio::null())
        .stdout(standard)
        .stderr(errors)
        .spawn()
        .map(Some)
        .with_context(|| format!("cannot run {}", script.display()))
}

/// What it finds in its environment, besides that of who has called. What is not known is empty.
fn environment(server: &Server) -> Vec<(&'static str, String)> {
    let config = Server::quietly(&server.name).map(|(_, config)| config).ok();
    let addresses = |config: &Config| {
        let all = config.addresses.iter();
        all.map(|ip| ip.address.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let context = server.recorded_number().map(|number| number.to_string());
    vec![
        ("VSERVER_NAME", server.name.clone()),
        ("VSERVER_ROOT", server.root().display().to_string()),
        ("VSERVER_CONTEXT", context.unwrap_or_default()),
        (
            "VSERVER_ADDRESSES",
            config.as_ref().map(addresses).unwrap_or_default(),
        ),
        (
            "PROFILE",
            config.and_then(|config| config.profile).unwrap_or_default(),
        ),
    ]
}

/// Calls it and waits for it; without one all is well.
pub(crate) fn run(server: &Server, event: &str, output: [Stdio; 2]) -> anyhow::Result<()> {
    let Some(mut script) = start(server, event, output)? else {
        return Ok(());
    };
    let status = script.wait().context("cannot wait for the script")?;
    if !status.success() {
        bail!(
            "{directory}/{name}.sh {event} failed: {status}; \"vserver {name} logs\" shows what it said",
            directory = config::DIRECTORY,
            name = server.name
        );
    }
    Ok(())
}
