// SPDX-License-Identifier: GPL-2.0

//! systemd, which does not come up: what it lacks is in docs/init.md, and told when it is tried.

use super::*;

pub const BOOT: Test = test("init::systemd", 900, boot);

/// All that `--secure` gives up.
const ALL: &str = "CAP_LINUX_IMMUTABLE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK CAP_IPC_OWNER \
    CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_PACCT CAP_SYS_ADMIN CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE \
    CAP_SYS_TIME CAP_MKNOD CAP_BPF CAP_PERFMON CAP_CHECKPOINT_RESTORE CAP_SYSLOG CAP_AUDIT_CONTROL \
    CAP_AUDIT_READ CAP_MAC_ADMIN CAP_MAC_OVERRIDE CAP_WAKE_ALARM CAP_BLOCK_SUSPEND";

/// Its start ends with this on the console, in words, and leaves nothing behind.
fn fails(configuration: &str, reason: &str) -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("sd", "systemd", crate::inet::A, configuration)?;
        let before = Machine::now()?;
        let (code, said) = vserver.command(&["start"])?;
        equal(&said, code, 1)?;
        contains(&said, &["sd cannot be started", "READY=1", reason])?;
        equal("it runs", vserver.running(), Ok(false))?;
        before.until_again()
    })
}

fn boot() -> Outcome {
    fails("", "Failed to mount")?;
    // With all capabilities there is still no control group that it may write to.
    fails(&format!("S_CAPS=\"{ALL}\""), "control group")
}
