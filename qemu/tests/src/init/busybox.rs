// SPDX-License-Identifier: GPL-2.0

//! busybox's init, with an inittab of four lines.

use super::*;

pub const BOOT: Test = test("init::busybox", 900, boot);
pub const ENDS: Test = test("init::busybox_ends", 900, ends);
pub const CYCLES: Test = test("init::commands_cycles", 900, cycles);

const CYCLES_BY_COMMAND: usize = 20;

fn vserver() -> Result<Vserver, String> {
    Vserver::new("box", "busybox", crate::inet::A, "")
}

fn boot() -> Outcome {
    with_vservers(|| {
        let vserver = vserver()?;
        let before = Machine::now()?;
        vserver.start(&["this is rcS"])?;
        vserver.sees_its_own("init")?;
        vserver.respawns("crond")?;
        vserver.respawns("getty")?;
        equal("its name", vserver.exec(&["hostname"]), Ok("box".into()))?;
        let (code, _) = vserver.command(&["exec", "sh", "-c", "exit 7"])?;
        equal("the code of a command", code, 7)?;
        // Nobody inside kills process 1, not even by what nobody can ignore.
        vserver.exec(&["kill", "-9", "1"])?;
        vserver.sees_its_own("init")?;
        vserver.stop(&["going down", "Requesting system poweroff"])?;
        before.until_again()
    })
}

/// What is asked for inside.
fn ends() -> Outcome {
    with_vservers(|| {
        let vserver = vserver()?;
        let before = Machine::now()?;
        vserver.start(&[])?;
        for command in [&["reboot"][..], &["kill", "-TERM", "1"]] {
            vserver.reboots(command)?;
        }
        vserver.ends(&["poweroff"])?;
        before.until_again()?;
        vserver.start(&[])?;
        vserver.ends(&["halt"])?;
        before.until_again()
    })
}

/// What the thousand cycles do by ENTER alone, by the commands.
fn cycles() -> Outcome {
    with_vservers(|| {
        let vserver = vserver()?;
        let before = Machine::now()?;
        for _ in 0..CYCLES_BY_COMMAND {
            vserver.start(&["this is rcS"])?;
            vserver.stop(&["going down"])?;
        }
        before.until_again()
    })
}
