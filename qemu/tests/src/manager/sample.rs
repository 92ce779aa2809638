// SPDX-License-Identifier: GPL-2.0

//! A configuration and a script as those of 0.10 were, `sample/`, start a server as they stand.

use super::{addresses::Device, *};
use vserver_uapi::{FLAG_FAKEINIT, FLAG_LOCK, FLAG_NPROC};

pub const STARTS: Test = test("manager::sample_of_0_10", 300, starts);

pub(super) const CONF: &str = include_str!("sample/server.conf");
const SCRIPT: &str = include_str!("sample/server.sh");

const CALLS: &str = "/tmp/sample-calls";

fn calls() -> String {
    fs::read_to_string(CALLS).unwrap_or_default()
}

fn starts() -> Outcome {
    with_vservers(|| {
        let _ = fs::remove_file(CALLS);
        let device = Device::new("eth0", &["10.82.0.200/24"])?;
        let old = Vserver::new("old", "sysvinit", "", "")?;
        fs::write(format!("{CONFIGURATION}/old.conf"), CONF).map_err(words)?;
        fs::write(format!("{CONFIGURATION}/old.sh"), SCRIPT).map_err(words)?;
        let before = Machine::now()?;
        // At boot: it says ONBOOT=yes.
        let said = ends(0, &["vservers", "start"])?;
        contains(&said, &["old: started ("])?;
        equal(
            "the script",
            calls().as_str(),
            "old is about to start\nold has started\n",
        )?;
        equal(
            "the addresses",
            device.addresses(),
            Ok(vec![
                "10.82.0.200/24".to_string(),
                "10.82.0.5/24 eth0:old".to_string(),
            ]),
        )?;
        // The services of its run level, and no init.
        for service in ["/usr/sbin/cron", "/usr/sbin/rsyslogd", "sshd: "] {
            equal(service, old.pids(service)?.len(), 1)?;
        }
        let context = old.context()?;
        let flags = FLAG_LOCK | FLAG_NPROC;
        equal("flags", context.flags & (flags | FLAG_FAKEINIT), flags)?;
        let status = old.exec(&["cat", "/proc/self/status"])?;
        let kept = status
            .lines()
            .find_map(|line| line.strip_prefix("CapBnd:\t"))
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .ok_or("no CapBnd")?;
        let has = |capability: u32| kept & (1 << capability) != 0;
        const NET_ADMIN: u32 = 12;
        const NET_RAW: u32 = 13;
        const CHOWN: u32 = 0;
        equal(
            "CAP_NET_ADMIN, CAP_NET_RAW, CAP_CHOWN",
            [NET_ADMIN, NET_RAW, CHOWN].map(has),
            [false, true, true],
        )?;
        for (command, expected) in [
            ("hostname", "old.example.org"),
            ("ulimit -H -u", "1000"),
            ("nice", "5"),
        ] {
            let said = old.exec(&["bash", "-c", command])?;
            equal(command, said.as_str(), expected)?;
        }
        let said = old.good(&["service", "cron", "restart"])?;
        contains(&said, &["cron"])?;
        // As many times as one likes.
        ends(0, &["vserver", "old", "restart"])?;
        ends(0, &["vservers", "stop"])?;
        equal("the script", calls().lines().count(), 8)?;
        contains(
            &calls(),
            &["old is about to stop\nold has stopped\nold is about to start"],
        )?;
        equal(
            "the addresses",
            device.addresses(),
            Ok(vec!["10.82.0.200/24".to_string()]),
        )?;
        fs::remove_file(CALLS).map_err(words)?;
        before.until_again()
    })
}
