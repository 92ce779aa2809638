// SPDX-License-Identifier: GPL-2.0

//! The end of a vserver, for people.

use libvserver::uapi;
use nix::sys::wait::WaitStatus;

/// How a context ended, in words.
pub(crate) fn describe(status: &uapi::Status) -> String {
    let exit = || {
        let pid = nix::unistd::Pid::from_raw(1);
        match WaitStatus::from_raw(pid, i32::try_from(status.init_status).unwrap_or(0)) {
            Ok(WaitStatus::Exited(_, code)) => format!("process 1 exited with code {code}"),
            Ok(WaitStatus::Signaled(_, signal, _)) => format!("process 1 was killed by {signal}"),
            _ => "process 1 ended".to_owned(),
        }
    };
    match (status.reboot, status.init) {
        (uapi::REBOOT_RESTART, _) => "rebooted".to_owned(),
        (uapi::REBOOT_HALT, _) => "halted".to_owned(),
        (uapi::REBOOT_POWER_OFF, _) => "powered off".to_owned(),
        (_, uapi::INIT_EXITED) => exit(),
        _ => "its last process ended".to_owned(),
    }
}
