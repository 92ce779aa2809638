// SPDX-License-Identifier: GPL-2.0

//! One binary by many names; without the module.

use super::*;
use crate::{
    filesystem::{mounted, private_mounts},
    fixture::child,
};
use nix::mount::MsFlags;

pub const TESTS: &[Test] = &[
    test("userland::without_the_module", 30, no_module),
    test("userland::another_device_in_its_place", 30, not_ours),
    test("userland::names_and_help", 30, names),
];

/// Each command that needs the module.
const COMMANDS: [&str; 9] = [
    "capchroot --nochroot / true",
    "chbind --ip 127.0.0.1 true",
    "chcontext true",
    "chcontext --ctx 300 --disconnect true",
    "reducecap --CAP_BPF true",
    "vps",
    "vkill 1",
    "vserver-stat --json",
    "vserver info",
];

/// Runs something with a /dev of its own, which is empty.
fn with_empty_dev(run: impl FnOnce() -> Outcome) -> Outcome {
    child(|| {
        private_mounts()?;
        mounted(Some("tmpfs"), "/dev", None, MsFlags::empty(), "")?;
        run().map(|()| String::new())
    })
    .map(drop)
}

fn no_module() -> Outcome {
    with_empty_dev(|| {
        for line in COMMANDS {
            let parts = [
                "the kernel module is not loaded",
                "modprobe vserver",
                "insmod vserver.ko",
            ];
            run(line)?
                .complained(3, &parts)
                .map_err(|error| format!("{line}: {error}"))?;
        }
        // What does not need it works.
        equal("rows", run("reducecap --show")?.good()?.lines().count(), 42)?;
        let port = run("chbind --who 1")?;
        equal("nobody", (port.code, port.err.as_str()), (1, ""))?;
        run("chcontext --ctx x true")?.misused("not a context number")
    })
}

fn not_ours() -> Outcome {
    with_empty_dev(|| {
        fs::write("/dev/vserver", "").map_err(words)?;
        for line in COMMANDS {
            let parts = [
                "/dev/vserver is not the device of the vserver module",
                "remove the file",
            ];
            run(line)?
                .complained(3, &parts)
                .map_err(|error| format!("{line}: {error}"))?;
        }
        Ok(())
    })
}

fn names() -> Outcome {
    for command in [
        "capchroot",
        "chbind",
        "chcontext",
        "reducecap",
        "vps",
        "vkill",
        "vserver-stat",
    ] {
        let own = run(&format!("{command} --help"))?;
        let verb = run(&format!("vserver {command} --help"))?;
        ensure(command, own.good()?.contains(&format!("Usage: {command} ")))?;
        ensure(command, verb.good()?.contains("Usage: "))?;
    }
    let help = run("vserver --help")?;
    ensure(
        "exit codes",
        help.good()?.contains("the kernel module is not loaded"),
    )?;
    ensure(
        "version",
        run("vserver --version")?.good()?.starts_with("vserver "),
    )?;
    run("vserver")?.misused("Usage: vserver")?;
    run("vserver frobnicate")?.misused("frobnicate")
}
