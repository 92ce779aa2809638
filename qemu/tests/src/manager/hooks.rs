// SPDX-License-Identifier: GPL-2.0

//! NAME.sh: when it is called, with what, and what its failure means.

use super::*;

pub const ORDER: Test = test("manager::hooks", 120, order);
pub const FAILING: Test = test("manager::failing_hooks", 60, failing);

const CALLS: &str = "/tmp/manager-hooks";

fn calls() -> String {
    fs::read_to_string(CALLS).unwrap_or_default()
}

fn order() -> Outcome {
    with_vservers(|| {
        let _ = fs::remove_file(CALLS);
        let vserver = Vserver::new(
            "box",
            "busybox",
            crate::inet::A,
            "PROFILE=prod\nS_CONTEXT=900",
        )?;
        configure(
            "box",
            "sh",
            &format!(
                "echo $1 $2 $VSERVER_NAME $VSERVER_ROOT ctx=$VSERVER_CONTEXT $VSERVER_ADDRESSES $PROFILE >>{CALLS}\n"
            ),
        )?;
        vserver.start(&[])?;
        let line = |event: &str, context: &str| {
            format!(
                "{event} box box /vservers/box ctx={context} {} prod\n",
                crate::inet::A
            )
        };
        let start = line("pre-start", "") + &line("post-start", "900");
        equal("calls of the start", calls(), start.clone())?;
        vserver.stop(&[])?;
        let stop = line("pre-stop", "900") + &line("post-stop", "900");
        equal("calls of the stop", calls(), start + &stop)
    })
}

fn failing() -> Outcome {
    with_vservers(|| {
        let _ = fs::remove_file(CALLS);
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        let before = Machine::now()?;
        configure(
            "box",
            "sh",
            &format!("echo $1 >>{CALLS}\n[ $1 != pre-start ] || exit 3\n"),
        )?;
        let (code, said) = vserver.command(&["start"])?;
        equal("code", code, 1)?;
        contains(
            &said,
            &["/etc/vservers/box.sh pre-start failed: exit status: 3"],
        )?;
        equal("calls", calls().as_str(), "pre-start\npost-stop\n")?;
        before.until_again()
    })
}
