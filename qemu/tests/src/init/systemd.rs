// SPDX-License-Identifier: GPL-2.0

//! systemd.

use super::*;

pub const BOOT: Test = test("init::systemd", 900, boot);

fn boot() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("sd", "systemd", crate::inet::A, "")?;
        vserver.start(&[])?;
        vserver.stop(&[])
    })
}
