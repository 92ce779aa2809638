// SPDX-License-Identifier: GPL-2.0

//! sysvinit, with Debian's inittab and all its scripts.

use super::*;

pub const BOOT: Test = test("init::sysvinit", 900, boot);

/// What `runlevel` says: the one before, and the present one.
fn level(vserver: &Vserver) -> Result<String, String> {
    vserver.exec(&["runlevel"])
}

fn boot() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("sysv", "sysvinit", &both_families(), "")?;
        let before = Machine::now()?;
        vserver.start(&[
            "INIT: version",
            "INIT: Entering runlevel: 2",
            "Starting periodic command scheduler: cron",
            "Starting OpenBSD Secure Shell server: sshd",
        ])?;
        // Ready: what the run level starts is there, without waiting.
        for service in [
            "/usr/sbin/cron",
            "/usr/sbin/rsyslogd",
            "nginx: master",
            "sshd: ",
        ] {
            equal(service, vserver.pids(service)?.len(), 1)?;
        }
        vserver.sees_its_own("init [2]")?;
        equal("the run level", level(&vserver)?.as_str(), "N 2")?;
        contains(&vserver.exec(&["who", "-b"])?, &["system boot"])?;
        // On the console, and with it as its terminal.
        vserver.respawns("getty")?;
        let terminals = vserver.exec(&["ps", "-e", "-o", "tty,args"])?;
        contains(&terminals, &["console  /sbin/getty"])?;
        let cron = vserver.pid("/usr/sbin/cron")?;
        contains(&vserver.good(&["service", "cron", "restart"])?, &["cron"])?;
        ensure(
            "cron is the old one",
            vserver.pid("/usr/sbin/cron")? != cron,
        )?;
        // Its services, from outside, by what is found inside.
        let all = vserver.good(&["chkconfig", "--list"])?;
        let line = |on: &str| {
            format!("cron           \t0:off\t1:off\t2:{on}\t3:{on}\t4:{on}\t5:{on}\t6:off\n")
        };
        contains(
            &all,
            &[&line("on"), "ssh            \t", "nginx          \t"],
        )?;
        equal("is it on", vserver.command(&["chkconfig", "cron"])?.0, 0)?;
        vserver.good(&["chkconfig", "cron", "off"])?;
        equal("is it on", vserver.command(&["chkconfig", "cron"])?.0, 1)?;
        equal(
            "off",
            vserver.good(&["chkconfig", "--list", "cron"]),
            Ok(line("off")),
        )?;
        vserver.good(&["chkconfig", "cron", "on"])?;
        equal(
            "on",
            vserver.good(&["chkconfig", "--list", "cron"]),
            Ok(line("on")),
        )?;
        let (code, said) = vserver.command(&["service", "nosuch", "start"])?;
        equal("a service that is not there", code, 125)?;
        contains(&said, &["there is no service nosuch inside", "cron"])?;
        vserver.exec(&["update-rc.d", "cron", "disable", "3"])?;
        vserver.exec(&["telinit", "3"])?;
        until("cron has gone with the run level", || {
            Ok(level(&vserver)? == "2 3" && vserver.pids("/usr/sbin/cron")?.is_empty())
        })?;
        vserver.exec(&["telinit", "2"])?;
        until("cron has come with the run level", || {
            Ok(level(&vserver)? == "3 2" && vserver.pids("/usr/sbin/cron")?.len() == 1)
        })?;
        // Which becomes `shutdown -r now`.
        vserver.reboots(&["reboot"])?;
        until("it has its run level again", || {
            Ok(level(&vserver).is_ok_and(|level| level == "N 2"))
        })?;
        vserver.ends(&["halt"])?;
        before.until_again()
    })
}
