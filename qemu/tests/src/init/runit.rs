// SPDX-License-Identifier: GPL-2.0

//! runit, with Debian's stages.

use super::*;

pub const BOOT: Test = test("init::runit", 900, boot);

fn boot() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("run", "runit", crate::inet::A, "")?;
        let before = Machine::now()?;
        vserver.start(&[
            "- runit: enter stage: /etc/runit/1",
            "- runit: enter stage: /etc/runit/2",
        ])?;
        // Its runsv has started it; it may still be the script that becomes it.
        vserver.pid("/usr/sbin/cron")?;
        contains(
            &vserver.exec(&["sv", "status", "/etc/service/cron"])?,
            &["run: "],
        )?;
        vserver.sees_its_own("runit")?;
        equal(
            "the run level",
            vserver.exec(&["runlevel"]),
            Ok("N 2".into()),
        )?;
        // By runsv, which watches one service each.
        vserver.respawns("/usr/sbin/cron")?;
        vserver.respawns("/sbin/getty")?;
        let cron = vserver.pid("/usr/sbin/cron")?;
        vserver.good(&["service", "cron", "restart"])?;
        ensure(
            "cron is the old one",
            vserver.pid("/usr/sbin/cron")? != cron,
        )?;
        vserver.exec(&["runsvchdir", "single"])?;
        until("cron has gone with the run level", || {
            Ok(vserver.pids("/usr/sbin/cron")?.is_empty())
        })?;
        vserver.exec(&["runsvchdir", "default"])?;
        vserver.pid("/usr/sbin/cron")?;
        vserver.reboots(&["shutdown", "-r", "now"])?;
        until("cron runs again", || {
            let (code, said) = vserver.command(&["exec", "sv", "status", "/etc/service/cron"])?;
            Ok(code == 0 && said.contains("run: "))
        })?;
        vserver.stop(&[
            "- runit: enter stage: /etc/runit/3",
            "- runit: power off...",
        ])?;
        before.until_again()
    })
}
