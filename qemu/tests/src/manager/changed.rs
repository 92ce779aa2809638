// SPDX-License-Identifier: GPL-2.0

//! A configuration that is changed while the vserver runs: what it was started with counts until the next start.

use super::*;

pub const WRONG: Test = test("manager::wrong_while_it_runs", 180, wrong);
pub const OTHER: Test = test("manager::changed_while_it_runs", 180, other);

const CONF: &str = "/etc/vservers/box.conf";

/// The nice value of what comes by `exec`.
fn nice(vserver: &Vserver) -> Result<String, String> {
    let said = vserver.exec(&["sh", "-c", "cut -d' ' -f19 /proc/self/stat"])?;
    // A warning may follow it.
    Ok(said.lines().next().unwrap_or_default().to_string())
}

fn wrong() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "S_NICE=3")?;
        let right = fs::read_to_string(CONF).map_err(words)?;
        vserver.start(&[])?;
        let before = vserver.context()?;
        fs::write(CONF, format!("{right}S_NICE=90\n")).map_err(words)?;
        // It is still an administrator's to look at and to end.
        equal("it runs", vserver.running(), Ok(true))?;
        let status = vserver.good(&["status"])?;
        contains(
            &status,
            &[
                "running",
                "/etc/vservers/box.conf:7:8: S_NICE: \"90\"",
                "started with",
            ],
        )?;
        equal("its nice value", nice(&vserver)?.as_str(), "3")?;
        equal("exec", vserver.command(&["exec", "false"])?.0, 1)?;
        let left = ends(0, &["sh", "-c", "echo hostname | vserver box enter"])?;
        contains(&left, &["box"])?;
        contains(&vserver.good(&["logs"])?, &["this is rcS"])?;
        // What could not be started again is not stopped.
        for line in [
            &["vserver", "box", "restart"][..],
            &["vserver", "*", "restart"],
        ] {
            let code = if line[1] == "box" { 2 } else { 1 };
            contains(&ends(code, line)?, &["S_NICE: \"90\""])?;
            equal(
                "the same one",
                vserver.context()?.created_ns,
                before.created_ns,
            )?;
        }
        // Nor is it out of reach without a configuration.
        fs::remove_file(CONF).map_err(words)?;
        contains(&vserver.good(&["status"])?, &["running", CONF])?;
        equal("its nice value", nice(&vserver)?.as_str(), "3")?;
        fs::write(CONF, format!("{right}S_NICE=90\n")).map_err(words)?;
        // A reboot from inside comes back as it was.
        vserver.reboots(&["reboot"])?;
        equal("its nice value", nice(&vserver)?.as_str(), "3")?;
        contains(&vserver.good(&["logs"])?, &["S_NICE: \"90\""])?;
        fs::remove_file(CONF).map_err(words)?;
        vserver.stop(&["going down"])?;
        fs::write(CONF, format!("{right}S_NICE=90\n")).map_err(words)?;
        let said = ends(2, &["vserver", "box", "start"])?;
        contains(&said, &["S_NICE: \"90\""])?;
        equal("it runs", vserver.running(), Ok(false))
    })
}

fn other() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "S_NICE=3")?;
        let right = fs::read_to_string(CONF).map_err(words)?;
        let before = Machine::now()?;
        vserver.start(&[])?;
        ensure(
            "nothing is told",
            !vserver.good(&["status"])?.contains("changed"),
        )?;
        // No init any more, and addresses that its context has not.
        let changed = right.replace("fakeinit", "lock") + "S_NICE=5\nIPROOT=10.77.0.77\n";
        fs::write(CONF, changed).map_err(words)?;
        equal("its nice value", nice(&vserver)?.as_str(), "3")?;
        let status = vserver.good(&["status"])?;
        contains(&status, &["changed", crate::inet::A])?;
        // Its init is still asked.
        vserver.stop(&["going down"])?;
        before.until_again()?;
        fs::write(CONF, right + "S_NICE=5\n").map_err(words)?;
        vserver.start(&[])?;
        equal("its nice value", nice(&vserver)?.as_str(), "5")?;
        vserver.stop(&[])
    })
}
