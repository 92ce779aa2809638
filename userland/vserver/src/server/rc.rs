// SPDX-License-Identifier: GPL-2.0

//! Starting the services of a vserver without an init: by the script of a run level.

use libvserver::Config;
use libvserver::Guest;
use std::ffi::OsString;

/// The scripts that take a level, as distributions have them.
const SCRIPTS: [&str; 3] = ["/etc/init.d/rc", "/etc/rc.d/rc", "/sbin/openrc"];

/// The level when neither the configuration nor the guest says one.
const LEVEL: &str = "3";

/// The level that stops all: as for a reboot, since 2001.
const STOP: &str = "6";

/// The command that starts the services, or stops them; `None`: there is no script that is known.
pub(crate) fn command(guest: &Guest, config: &Config, stop: bool) -> Option<Vec<OsString>> {
    let script = SCRIPTS
        .into_iter()
        .find(|script| guest.is_regular(script))?;
    let openrc = script.ends_with("openrc");
    let level = match (stop, openrc) {
        (true, true) => "shutdown".to_owned(),
        (true, false) => STOP.to_owned(),
        (false, _) => config
            .runlevel
            .clone()
            .or_else(|| {
                if openrc {
                    Some("default".to_owned())
                } else {
                    default_level(guest)
                }
            })
            .unwrap_or_else(|| LEVEL.to_owned()),
    };
    Some(vec![script.into(), level.into()])
}

fn default_level(guest: &Guest) -> Option<String> {
    let text = String::from_utf8(guest.read("/etc/inittab")?).ok()?;
    let line = text.lines().find(|line| line.contains(":initdefault:"))?;
    let level = line.split(':').nth(1)?.get(..1)?;
    Some(level.to_owned())
}
