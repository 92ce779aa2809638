// SPDX-License-Identifier: GPL-2.0

//! `capchroot`, into a small root directory whose files are not those of the machine.

use super::*;
use crate::{
    filesystem::{mounted, private_mounts},
    fixture::child,
};
use nix::{
    mount::MsFlags,
    sys::stat::{makedev, mknod, Mode, SFlag},
    unistd::{mkfifo, setgroups, Gid},
};
use std::{
    fs::{File, Permissions},
    os::unix::fs::{symlink, PermissionsExt},
};

pub const TESTS: &[Test] = &[
    test("userland::capchroot_changes_the_root", 60, || {
        inside_place(changes)
    }),
    test("userland::capchroot_nochroot", 60, || {
        inside_place(nochroot)
    }),
    test("userland::capchroot_nochroot_after_entering", 60, || {
        inside_place(after_entering)
    }),
    test("userland::capchroot_suid", 60, || inside_place(suid)),
    test("userland::capchroot_suid_in_debian", 60, || {
        inside_place(debian)
    }),
    test("userland::capchroot_reads_no_other_file", 60, || {
        inside_place(hostile)
    }),
    test("userland::capchroot_passes_no_directory_on", 60, || {
        inside_place(descriptors)
    }),
    test("userland::capchroot_behind_a_barrier", 60, || {
        inside_place(barrier)
    }),
    test("userland::capchroot_errors_change_nothing", 60, || {
        inside_place(errors)
    }),
];

const PLACE: &str = "/tmp/capchroot";

/// The root: below a directory that can be made a barrier.
const WALL: &str = "/tmp/capchroot/wall";
const ROOT: &str = "/tmp/capchroot/wall/root";

const CAP_SYS_CHROOT: u64 = 1 << 18;
const ALL: u64 = (1 << 41) - 1;

/// Other numbers than the machine's own files give these names.
const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
user:x:2000:2001::/home/user:/bin/ash
bare:x:2002:2002:::
all:x:4294967295:4294967295::/:/bin/sh
";
const GROUP: &str = "\
root:x:0:
user:x:2001:
one:x:2003:user
two:x:2004:bare,user
";

/// Runs something that finds the root there; nothing of it stays.
fn inside_place(run: fn() -> Outcome) -> Outcome {
    child(|| {
        private_mounts()?;
        fs::create_dir_all(PLACE).map_err(words)?;
        mounted(Some("tmpfs"), PLACE, None, MsFlags::empty(), "mode=755")?;
        for folder in ["bin", "etc", "proc", "dev", "home/user"] {
            fs::create_dir_all(inner(folder)).map_err(words)?;
        }
        mounted(Some("proc"), inner("proc"), None, MsFlags::empty(), "")?;
        for program in ["busybox", "guest-tests"] {
            let from = format!("/bin/{program}");
            fs::copy(from, inner(&format!("bin/{program}"))).map_err(words)?;
        }
        for applet in ["sh", "id", "env", "cat", "pwd", "ls", "echo", "grep"] {
            symlink("busybox", inner(&format!("bin/{applet}"))).map_err(words)?;
        }
        for (file, text) in [("etc/passwd", PASSWD), ("etc/group", GROUP), ("mark", "in")] {
            fs::write(inner(file), text).map_err(words)?;
        }
        run().map(|()| String::new())
    })?;
    until_empty()
}

fn inner(file: &str) -> String {
    format!("{ROOT}/{file}")
}

/// Runs a command line in which DIR stands for the directory.
fn line(text: &str) -> Result<Ran, String> {
    run(&text.replace("DIR", ROOT))
}

fn shell(script: &str) -> Result<Ran, String> {
    run_words(0, &["sh", "-c", &script.replace("DIR", ROOT)])
}

fn changes() -> Outcome {
    line("capchroot DIR pwd")?.printed("/\n")?;
    line("capchroot DIR cat /mark")?.printed("in")?;
    line("capchroot DIR ls ../../home")?.printed("user\n")?;
    line("vserver capchroot DIR cat mark")?.printed("in")?;
    shell("cd DIR; capchroot . cat /mark")?.printed("in")?;
    symlink("wall/root", format!("{PLACE}/link")).map_err(words)?;
    run(&format!("capchroot {PLACE}/link cat mark"))?.printed("in")?;
    // The environment and what is not an option of ours are the command's.
    shell("A=b exec capchroot DIR sh -c 'echo $A $HOME'")?.printed("b /root\n")?;
    line("capchroot DIR echo --nochroot -x -- y")?.printed("--nochroot -x -- y\n")?;
    // The module is not needed for that.
    child(|| {
        mounted(Some("tmpfs"), "/dev", None, MsFlags::empty(), "")?;
        line("capchroot DIR cat /mark")?.printed("in")?;
        Ok(String::new())
    })?;
    for code in [0, 1, 3, 77, 125, 255] {
        let exit = format!("exit {code}");
        let ran = run_words(0, &["capchroot", ROOT, "sh", "-c", &exit])?;
        equal("exit code", ran.code, code)?;
    }
    let ran = run_words(0, &["capchroot", ROOT, "sh", "-c", "kill -9 $$"])?;
    equal("killed", ran.code, 128 + 9)
}

/// The five masks of a status.
fn masks(status: &str) -> Result<Vec<u64>, String> {
    let mask = |name: &&str| {
        let line = status.lines().find_map(|line| line.strip_prefix(*name));
        u64::from_str_radix(line.ok_or("no mask")?.trim_matches([':', '\t']), 16).map_err(words)
    };
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .iter()
        .map(mask)
        .collect()
}

/// A program that tries to change its root, and tells whether it could.
const TRIES: &str = "/bin/guest-tests --chroot";

fn nochroot() -> Outcome {
    line(&format!("capchroot DIR {TRIES}"))?.printed("Ok(())\n")?;
    line(&format!("capchroot --nochroot DIR {TRIES}"))?.printed("Err(EPERM)\n")?;
    // Also a setuid-root program that a user starts.
    let program = inner("bin/guest-tests");
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).map_err(words)?;
    line(&format!("capchroot --suid user DIR {TRIES}"))?.printed("Ok(())\n")?;
    line(&format!("capchroot --suid user --nochroot DIR {TRIES}"))?.printed("Err(EPERM)\n")?;
    fs::set_permissions(&program, Permissions::from_mode(0o755)).map_err(words)?;
    // It is gone from every set, the ambient one too, and nothing else is.
    let ambient = "setpriv --inh-caps +sys_chroot,+kill --ambient-caps +sys_chroot,+kill";
    let status = "/bin/guest-tests --status";
    let kill = 1 << 5;
    let both = CAP_SYS_CHROOT | kill;
    let ran = line(&format!("{ambient} capchroot DIR {status}"))?;
    equal(
        "before",
        masks(ran.good()?)?,
        vec![both, ALL, ALL, ALL, both],
    )?;
    let ran = line(&format!("{ambient} capchroot --nochroot DIR {status}"))?;
    let left = ALL & !CAP_SYS_CHROOT;
    equal(
        "after",
        masks(ran.good()?)?,
        vec![kill, left, left, left, kill],
    )?;
    // The rest of what root may goes with the user.
    let ran = line(&format!("capchroot --nochroot --suid user DIR {status}"))?;
    equal("a user", masks(ran.good()?)?, vec![0, 0, 0, left, 0])
}

/// Entering comes first, then the capability goes.
fn after_entering() -> Outcome {
    let tells = format!("grep s_context /proc/self/status; {TRIES}");
    let tells = ["sh", "-c", &tells];
    for (options, outcome) in [("", "Ok(())"), ("--nochroot", "Err(EPERM)")] {
        let start = format!("chcontext --silent --ctx 300 --secure capchroot {options} {ROOT}");
        let start: Vec<&str> = start.split_whitespace().collect();
        let ran = run_words(0, &[&start[..], &tells].concat())?;
        ran.printed(&format!("s_context: 300\n{outcome}\n"))?;
    }
    // Given up while entering, it is missing here.
    let early = "chcontext --silent --ctx 300 --cap !CAP_SYS_CHROOT";
    line(&format!("{early} capchroot DIR cat /mark"))?.complained(
        125,
        &[
            "capchroot: cannot make /tmp/capchroot/wall/root the root",
            "CAP_SYS_CHROOT is missing",
            "--nochroot",
        ],
    )?;
    run(&format!("{early} {TRIES}"))?.printed("Err(EPERM)\n")?;
    run(&format!("chcontext --silent --ctx 300 {TRIES}"))?.printed("Ok(())\n")
}

fn suid() -> Outcome {
    let user = "uid=2000(user) gid=2001(user) groups=2001(user),2003(one),2004(two)\n";
    let bare = "uid=2002(bare) gid=2002 groups=2002,2004(two)\n";
    for (who, told) in [
        ("user", user),
        ("2000", user),
        ("bare", bare),
        ("root", "uid=0(root) gid=0(root) groups=0(root)\n"),
        ("0", "uid=0(root) gid=0(root) groups=0(root)\n"),
        ("1000", "uid=1000 gid=1000 groups=1000\n"),
    ] {
        line(&format!("capchroot --suid {who} DIR id"))?
            .printed(told)
            .map_err(|error| format!("{who}: {error}"))?;
    }
    // Groups of who calls are not passed on, nor are numbers to go back to.
    child(|| {
        setgroups(&[Gid::from_raw(7)]).map_err(words)?;
        let ids = "grep -E Uid|Gid|Groups /proc/self/status";
        line(&format!("capchroot --suid user DIR {ids}"))?.printed(
            "Uid:\t2000\t2000\t2000\t2000\n\
             Gid:\t2001\t2001\t2001\t2001\n\
             Groups:\t2001 2003 2004 \n",
        )?;
        line("capchroot DIR grep Groups /proc/self/status")?.printed("Groups:\t7 \n")?;
        Ok(String::new())
    })?;
    let ran = line("capchroot DIR id")?;
    ensure("without a user", ran.good()?.starts_with("uid=0(root)"))?;
    for (who, told) in [
        ("user", "/home/user user user /bin/ash b\n"),
        ("bare", "/ bare bare /bin/sh b\n"),
        ("1000", "/ 1000 1000 /bin/sh b\n"),
    ] {
        let script = format!(
            "A=b HOME=/h SHELL=/s exec capchroot --suid {who} DIR \
             sh -c 'echo $HOME $USER $LOGNAME $SHELL $A'"
        );
        shell(&script)?.printed(told)?;
    }
    // Without these files there are numbers.
    for file in ["etc/passwd", "etc/group"] {
        fs::remove_file(inner(file)).map_err(words)?;
    }
    line("capchroot --suid 2000 DIR id")?.printed("uid=2000 gid=2000 groups=2000\n")?;
    line("capchroot --suid user DIR id")?
        .complained(125, &["no user \"user\"", "has no /etc/passwd", "number"])
}

/// The users of a whole Debian, and its own tools.
fn debian() -> Outcome {
    for (who, told) in [
        ("www-data", "www-data\nwww-data\n"),
        ("postgres", "postgres\npostgres ssl-cert\n"),
    ] {
        let script = format!(
            "exec chcontext --silent --ctx 300 capchroot --nochroot --suid {who} /servers \
             /bin/sh -c 'id -un; id -Gn'"
        );
        shell(&script)?.printed(told)?;
    }
    let script =
        "exec capchroot --suid postgres /servers /usr/bin/env sh -c 'echo $HOME $SHELL; pwd'";
    shell(script)?.printed("/var/lib/postgresql /bin/bash\n/\n")
}

/// What is in the root is not trusted: it is neither waited for nor a way to what is outside.
fn hostile() -> Outcome {
    let passwd = inner("etc/passwd");
    let remove = || fs::remove_file(&passwd).map_err(words);
    let asked = "capchroot --nochroot --suid nobody DIR id";
    let refused = |part: &str| line(asked)?.complained(125, &["capchroot: ", "/etc/passwd", part]);
    // The machine has this user, the root has not.
    line(asked)?.complained(125, &["there is no user \"nobody\" in /etc/passwd"])?;
    // A number that setresuid() takes for "as it is" would leave the command root.
    line("capchroot --suid all DIR id")?.complained(125, &["not that of a user"])?;
    line("capchroot --suid 4294967295 DIR id")?.complained(125, &["there is no user"])?;
    remove()?;
    mkfifo(passwd.as_str(), Mode::S_IRWXU).map_err(words)?;
    refused("not a regular file")?;
    remove()?;
    fs::create_dir(&passwd).map_err(words)?;
    refused("not a regular file")?;
    fs::remove_dir(&passwd).map_err(words)?;
    let zero = makedev(1, 5);
    mknod(passwd.as_str(), SFlag::S_IFCHR, Mode::S_IRWXU, zero).map_err(words)?;
    refused("not a regular file")?;
    remove()?;
    let huge = File::create(&passwd).map_err(words)?;
    huge.set_len(1 << 40).map_err(words)?;
    refused("larger than 16 MiB")?;
    remove()?;
    for (target, part) in [
        ("/proc/1/root/etc/passwd", "through /proc"),
        ("/proc/self/fd/0", "through /proc"),
        ("passwd", "go round"),
        ("/dev", "not a regular file"),
        // Where the machine's own is, seen from the link.
        ("../../../../../etc/passwd.none", "has no /etc/passwd"),
    ] {
        symlink(target, &passwd).map_err(words)?;
        refused(part).map_err(|error| format!("{target}: {error}"))?;
        remove()?;
    }
    // A link to a file of the root is one.
    fs::write(inner("mine"), PASSWD).map_err(words)?;
    symlink("/../../../../mine", &passwd).map_err(words)?;
    line("capchroot --suid user DIR sh -c id")?.good()?;
    // The groups are looked at in the same way.
    fs::remove_file(inner("etc/group")).map_err(words)?;
    mkfifo(inner("etc/group").as_str(), Mode::S_IRWXU).map_err(words)?;
    line("capchroot --suid user DIR id")?.complained(125, &["/etc/group", "not a regular file"])
}

/// What is open of directories outside would lead out.
fn descriptors() -> Outcome {
    let with = "exec 7</ 8</etc/passwd;";
    // It does, in a plain chroot.
    let list = "ls /proc/self/fd/7/ && cd /proc/self/fd/7 && ls servers >/dev/null";
    let ran = shell(&format!("{with} exec chroot DIR sh -c '{list}'"))?;
    ensure("the machine's", ran.good()?.contains("vservers"))?;
    for options in ["", "--nochroot", "--suid user", "--nochroot --suid user"] {
        let start = format!("{with} exec capchroot {options} DIR");
        let ran = shell(&format!("{start} sh -c '{list}'"))?;
        equal("listed", (ran.out.as_str(), ran.code != 0), ("", true))?;
        // Files are passed on. The lister's own is the lowest that is free.
        shell(&format!("{start} ls /proc/self/fd"))?.printed("0\n1\n2\n3\n8\n")?;
        shell(&format!("{start} sh -c 'grep -c user <&8'"))?.printed("1\n")?;
    }
    shell("exec capchroot DIR cat /mark </")?
        .complained(125, &["the standard input is a directory", "redirect it"])
}

/// Who is in a context reaches no directory behind the barrier by its path, but can have gone there before.
fn barrier() -> Outcome {
    fs::set_permissions(WALL, Permissions::from_mode(0o000)).map_err(words)?;
    line("capchroot DIR cat /mark")?.printed("in")?;
    line("chcontext --silent --ctx 300 capchroot --nochroot DIR cat /mark")?.complained(
        125,
        &["capchroot: ", "barrier", "before the context is entered"],
    )?;
    let here = "cd DIR; exec chcontext --silent --ctx 300 --secure capchroot --nochroot";
    shell(&format!("{here} . cat /mark"))?.printed("in")?;
    shell(&format!("{here} --suid user . sh -c 'pwd; ls ..; id -u'"))?
        .printed("/\nbin\ndev\netc\nhome\nmark\nproc\n2000\n")
}

fn errors() -> Outcome {
    let ran_file = inner("ran");
    for (text, part) in [
        ("capchroot", "<DIR>"),
        ("capchroot DIR", "<COMMAND>"),
        ("capchroot --suid user DIR", "<COMMAND>"),
        ("capchroot --suid", "--suid"),
        ("capchroot --bogus DIR sh -c >/ran", "--bogus"),
    ] {
        line(text)?.misused(part)?;
    }
    for (user, text, parts) in [
        (
            0,
            "capchroot DIR/none sh",
            &[
                "cannot make /tmp/capchroot/wall/root/none the root",
                "no such directory",
            ][..],
        ),
        (0, "capchroot DIR/mark sh", &["it is not a directory"]),
        (
            USER,
            "capchroot DIR sh",
            &["CAP_SYS_CHROOT is missing", "as root"],
        ),
        (
            0,
            "capchroot --suid someone DIR sh",
            &["there is no user \"someone\" in /etc/passwd of the new root"],
        ),
        (
            0,
            "reducecap --CAP_SETUID capchroot --suid user DIR sh",
            &["cannot become the user user", "CAP_SETUID"],
        ),
        (
            0,
            "reducecap --CAP_SETGID capchroot --suid user DIR sh",
            &["cannot become the user user"],
        ),
    ] {
        let script = ["-c", ">/ran"];
        let text = text.replace("DIR", ROOT);
        let text: Vec<&str> = text.split(' ').chain(script).collect();
        run_words(user, &text)?
            .complained(125, &[&["capchroot: "], parts].concat())
            .map_err(|error| format!("{text:?}: {error}"))?;
    }
    // The command is looked for inside.
    let outside = format!("{PLACE}/program");
    fs::copy("/bin/busybox", &outside).map_err(words)?;
    line(&format!("capchroot DIR {outside} true"))?.complained(127, &["command not found"])?;
    line("capchroot DIR vserver")?.complained(127, &["vserver: command not found"])?;
    line("capchroot --nochroot --suid user DIR /etc/passwd")?
        .complained(126, &["not executable"])?;
    ensure("nothing ran", !Path::new(&ran_file).exists())?;
    // That it would have shown.
    shell("exec capchroot DIR sh -c '>/ran'")?.printed("")?;
    ensure("it ran", Path::new(&ran_file).exists())
}
