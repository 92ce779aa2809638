// SPDX-License-Identifier: GPL-2.0

//! Debian file systems for the guest: a small one, and copies of it with what each is for on top.

use crate::{
    cache::{product, Key},
    kernel, step,
};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// What all of them have. The programs of systemd that packages want when they are installed come alone here.
const BASE: [&str; 5] = [
    "cron",
    "login",
    "procps",
    "systemd-standalone-sysusers",
    "systemd-standalone-tmpfiles",
];

/// The base, with the lists of packages that it was made from: the others need fetch only what is new.
fn base() -> Result<PathBuf> {
    let packages = BASE.join(",");
    let key = Key::new("debian 3").text(&packages);
    product("debian", key, |folder| {
        step::shell(
            "Debian file system for the vservers (about a minute)",
            "debian",
            folder,
            &format!(
                "mmdebstrap --variant=minbase --include={packages} --skip=cleanup/apt/lists trixie tree
                 mv tree/var/lib/apt/lists lists
                 mkdir -p tree/var/lib/apt/lists/partial"
            ),
        )
    })
}

/// A plain Debian file system, for vservers to be made from.
pub fn debian() -> Result<PathBuf> {
    Ok(base()?.join("tree"))
}

/// A shell function, `tree NAME PACKAGES [OTHERS]`: a copy of the base with these, too, and without those.
fn function(base: &Path) -> String {
    format!(
        "tree() {{
             mmdebstrap --variant=custom --include=$2 trixie $1 \\
                 --setup-hook='cp -a --reflink=auto {base}/tree/. \"$1\"' \\
                 --setup-hook='cp -a {base}/lists/. \"$1/var/lib/apt/lists\"' \\
                 --setup-hook=\": ${{3:+; dpkg --root=\\$1 --force-depends --purge $3}}\"
         }}\n",
        base = base.display(),
    )
}

/// What runs in contexts in the tests, as Debian packages it.
const SERVERS: [&str; 14] = [
    "bind9-dnsutils",
    "btrfs-progs",
    "curl",
    "dnsmasq-base",
    "e2fsprogs",
    "iperf3",
    "nginx",
    "openssh-client",
    "openssh-server",
    "postgresql",
    "python3",
    "redis-server",
    "redis-tools",
    "xfsprogs",
];

/// A Debian file system with them.
pub fn servers() -> Result<PathBuf> {
    let packages = SERVERS.join(",");
    let key = Key::new("servers 2").text(&packages).text(&BASE.join(","));
    let folder = product("servers", key, |folder| {
        let function = function(&base()?);
        step::shell(
            "Debian file system with servers (about a minute)",
            "servers",
            folder,
            &format!("{function} tree tree {packages}"),
        )
    })?;
    Ok(folder.join("tree"))
}

/// What `make starts` compares with.
const RIVALS: [&str; 2] = ["lxc", "systemd-container"];

/// A Debian file system with it.
pub fn rivals() -> Result<PathBuf> {
    let packages = RIVALS.join(",");
    let key = Key::new("rivals 1").text(&packages);
    let folder = product("rivals", key, |folder| {
        step::shell(
            "Debian file system with systemd-nspawn and lxc (about a minute)",
            "rivals",
            folder,
            &format!("mmdebstrap --variant=minbase --include={packages} trixie tree"),
        )
    })?;
    Ok(folder.join("tree"))
}

/// The init systems, each with services to be started, as Debian packages them; and what they replace.
const INITS: [(&str, &[&str], &str); 4] = [
    (
        "sysvinit",
        &[
            "sysvinit-core",
            "nginx-light",
            "openssh-server",
            "orphan-sysvinit-scripts",
            "psmisc",
            "rsyslog",
        ],
        "",
    ),
    ("openrc", &["sysvinit-core", "openrc"], ""),
    ("runit", &["runit-init", "runit-services"], ""),
    (
        "systemd",
        &["cron", "dbus", "systemd-sysv"],
        "cron cron-daemon-common systemd-standalone-sysusers systemd-standalone-tmpfiles",
    ),
];

/// What an administrator does to such a system, and no package: a getty on the console, as the comments of Debian's
/// inittab have it for a system without other terminals; no password for root. And busybox, which has no
/// system around it but what its inittab says.
const SET_UP: &str = r#"
    for name in sysvinit openrc; do
        sed -i -e 's/^#C0:/C0:/' -e '/^[1-6]:[0-9]*:respawn:.*tty[1-6]$/d' $name/etc/inittab
        grep -q '^C0:2345:respawn:.*console' $name/etc/inittab
    done
    getty=etc/sv/getty-console
    mkdir runit/$getty
    printf '#!/bin/sh\nexec chpst -P /sbin/getty --noclear console\n' >runit/$getty/run
    chmod +x runit/$getty/run
    ln -s /$getty runit/etc/runit/runsvdir/default
    for name in sysvinit openrc runit systemd; do
        sed -i 's/^root:[^:]*:/root::/' $name/etc/shadow
        echo $name >$name/etc/hostname
        printf '127.0.0.1 localhost %s\n::1 localhost\n' $name >$name/etc/hosts
        echo 'nameserver 127.0.0.1' >$name/etc/resolv.conf
    done
    mkdir busybox; cd busybox
    mkdir -p bin dev etc/init.d proc root run sbin sys tmp usr/bin usr/sbin var/log var/spool/cron/crontabs
    ln -s ../run var/run
    cp /bin/busybox bin/busybox
    for applet in $(/bin/busybox --list-full); do [ -e $applet ] || ln -s /bin/busybox $applet; done
    echo busybox >etc/hostname
    printf 'root::0:0:root:/root:/bin/sh\n' >etc/passwd
    printf 'root:x:0:\n' >etc/group
    cat >etc/inittab <<'X'
::sysinit:/etc/init.d/rcS
::respawn:/sbin/getty 38400 console
::respawn:/usr/sbin/crond -f
::shutdown:/bin/echo going down
X
    printf '#!/bin/sh\necho this is rcS\n' >etc/init.d/rcS
    chmod +x etc/init.d/rcS
"#;

/// A folder with a Debian file system for each init system, and a small one for busybox.
pub fn inits() -> Result<PathBuf> {
    let mut script = String::new();
    let mut names = Vec::new();
    for (name, packages, others) in INITS {
        let packages = packages.join(",");
        script += &format!("tree {name} {packages} '{others}' >{name}.log 2>&1 &\n");
        names.push(name);
    }
    // Half of it is waiting for the network and the disk.
    script += "failed=; for job in $(jobs -p); do wait $job || failed=yes; done\n";
    script += &format!("for name in {}; do\n", names.join(" "));
    script += "    cat $name.log; rm $name.log\ndone\n[ -z \"$failed\" ]\n";
    script += SET_UP;
    let key = Key::new("inits 1").text(&script).text(&BASE.join(","));
    product("inits", key, |folder| {
        let function = function(&base()?);
        step::shell(
            "Debian file systems with init systems (about a minute)",
            "inits",
            folder,
            &format!("{function}{script}"),
        )
    })
}

/// What a plain Debian machine has.
const MACHINE: [&str; 3] = ["dbus", "systemd-sysv", "udev"];

/// A Debian system with systemd and its kernel's modules, and with these packages.
pub fn machine(depends: &[String]) -> Result<PathBuf> {
    let (kernel, debs) = kernel::for_modules()?;
    let mut packages: Vec<&str> = MACHINE.into();
    packages.extend(kernel.iter().map(String::as_str));
    for name in depends {
        // That one has its version already.
        let known = |package: &&str| package.split('=').next() == Some(name.as_str());
        if !packages.iter().any(known) {
            packages.push(name);
        }
    }
    let packages = packages.join(",");
    let key = Key::new("machine 1").text(&packages);
    let folder = product("machine", key, |folder| {
        step::shell(
            "Debian system that builds modules (about a minute)",
            "machine",
            folder,
            &format!(
                "mmdebstrap --variant=minbase --include={packages} \\
                     --setup-hook='mkdir -p \"$1/var/cache/apt/archives\"; cp {debs}/*.deb \"$1/var/cache/apt/archives\"' \\
                     trixie tree /etc/apt/sources.list /etc/apt/sources.list.d/backports.list",
                debs = debs.display(),
            ),
        )
    })?;
    Ok(folder.join("tree"))
}
