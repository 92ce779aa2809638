// SPDX-License-Identifier: GPL-2.0

//! OpenRC, which Debian has sysvinit start, and reboot as in [`super::sysvinit`].

use super::*;

pub const BOOT: Test = test("init::openrc", 900, boot);

fn boot() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("rc", "openrc", crate::inet::A, "")?;
        let before = Machine::now()?;
        vserver.start(&["OpenRC", "INIT: Entering runlevel: 2"])?;
        equal("cron", vserver.pids("/usr/sbin/cron")?.len(), 1)?;
        vserver.sees_its_own("init [2]")?;
        equal(
            "the run level",
            vserver.exec(&["runlevel"]),
            Ok("N 2".into()),
        )?;
        equal(
            "OpenRC's",
            vserver.exec(&["rc-status", "--runlevel"]),
            Ok("default".into()),
        )?;
        contains(&vserver.exec(&["who", "-b"])?, &["system boot"])?;
        // It says by its exit code that there is none.
        let (code, failed) = vserver.command(&["exec", "rc-status", "--crashed"])?;
        equal("services that have crashed", (code, failed.trim()), (1, ""))?;
        vserver.respawns("getty")?;
        let cron = vserver.pid("/usr/sbin/cron")?;
        vserver.good(&["service", "cron", "restart"])?;
        ensure(
            "cron is the old one",
            vserver.pid("/usr/sbin/cron")? != cron,
        )?;
        vserver.good(&["chkconfig", "cron", "off"])?;
        equal("is it on", vserver.command(&["chkconfig", "cron"])?.0, 1)?;
        vserver.good(&["chkconfig", "cron", "on"])?;
        equal("is it on", vserver.command(&["chkconfig", "cron"])?.0, 0)?;
        vserver.exec(&["openrc", "nonetwork"])?;
        equal(
            "cron in another level",
            vserver.pids("/usr/sbin/cron")?.len(),
            0,
        )?;
        equal(
            "OpenRC's",
            vserver.exec(&["rc-status", "--runlevel"]),
            Ok("nonetwork".into()),
        )?;
        vserver.exec(&["openrc", "default"])?;
        equal("cron", vserver.pids("/usr/sbin/cron")?.len(), 1)?;
        vserver.stop(&[
            "Stopping periodic command scheduler: cron",
            "Will now halt.",
        ])?;
        before.until_again()
    })
}
