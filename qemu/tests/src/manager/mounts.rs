// SPDX-License-Identifier: GPL-2.0

//! What NAME.fstab has mounted for a vserver.

use super::*;
use std::os::unix::fs::PermissionsExt;

pub const BOUND: Test = test("manager::mounts", 120, bound);
pub const WRONG: Test = test("manager::wrong_mounts", 60, wrong);

fn bound() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        let data = "/tmp/manager data";
        fs::create_dir_all(format!("{data}/below")).map_err(words)?;
        fs::write(format!("{data}/file"), "of the host\n").map_err(words)?;
        // What a vserver lacks is made, what it has for everybody stays so.
        fs::remove_dir(vserver.root.join("tmp")).map_err(words)?;
        configure(
            "box",
            "fstab",
            "# what the host gives\n\
             /tmp/manager\\040data /srv/data none bind,ro\n\
             /tmp/manager\\040data /srv/open none bind 0 0\n\
             /tmp/manager\\040data/file /etc/one none bind,ro\n\
             memory /var/spool/new tmpfs size=64k,mode=700,nosuid\n",
        )?;
        let before = Machine::now()?;
        vserver.start(&[])?;
        let inside = |command: &str| vserver.exec(&["sh", "-c", command]);
        equal(
            "read",
            inside("cat /srv/data/file /etc/one"),
            Ok("of the host\nof the host".into()),
        )?;
        equal(
            "written",
            inside("echo new >/srv/open/new; cat /srv/data/new"),
            Ok("new".into()),
        )?;
        for command in [
            "touch /srv/data/x",
            "echo x >/etc/one",
            "mount -o remount,rw /srv/data",
        ] {
            let (code, _) = vserver.command(&["exec", "sh", "-c", command])?;
            ensure(&format!("{command} is done"), code != 0)?;
        }
        contains(&inside("df -k /var/spool/new")?, &["64"])?;
        equal(
            "the mode of /tmp",
            inside("stat -c %a /tmp"),
            Ok("1777".into()),
        )?;
        vserver.stop(&[])?;
        before.until_again()?;
        let there = |path: &str| vserver.root.join(path).exists();
        ensure(
            "mounted on what stays",
            !there("srv/data/file") && there("srv/data"),
        )?;
        let text = fs::read_to_string(vserver.root.join("etc/one")).map_err(words)?;
        equal("the file that was mounted on", text.as_str(), "")?;
        let mode = fs::metadata(vserver.root.join("tmp"))
            .map_err(words)?
            .permissions()
            .mode();
        equal("/tmp afterwards", mode & 0o7777, 0o1777)?;
        fs::remove_dir_all(data).map_err(words)
    })
}

fn wrong() -> Outcome {
    with_vservers(|| {
        let vserver = Vserver::new("box", "busybox", crate::inet::A, "")?;
        let before = Machine::now()?;
        let file = format!("{CONFIGURATION}/box.fstab");
        for (text, code, said) in [
            (
                "\n/nowhere /data none bind\n",
                1,
                "/etc/vservers/box.fstab:2: there is no /nowhere to be bound",
            ),
            (
                "/tmp /../etc none bind\n",
                2,
                "/etc/vservers/box.fstab:1: \"/../etc\" cannot be mounted on",
            ),
            (
                "/tmp /data none\n",
                2,
                "/etc/vservers/box.fstab:1: the type \"none\"",
            ),
            ("x /data nosuchtype\n", 1, "mount x on the guest's /data"),
        ] {
            fs::write(&file, text).map_err(words)?;
            let (ended, text) = vserver.command(&["start"])?;
            contains(&text, &[said])?;
            equal("code", ended, code)?;
        }
        // The planted link is found by the kernel, whatever was there when the file was read.
        fs::remove_dir(vserver.root.join("data")).map_err(words)?;
        std::os::unix::fs::symlink("/etc", vserver.root.join("data")).map_err(words)?;
        fs::write(&file, "/tmp /data none bind\n").map_err(words)?;
        let (ended, text) = vserver.command(&["start"])?;
        contains(
            &text,
            &["/data: it is a symbolic link, which could lead out"],
        )?;
        equal("code", ended, 1)?;
        before.until_again()
    })
}
