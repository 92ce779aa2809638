// SPDX-License-Identifier: GPL-2.0

//! What of a system is for hardware is taken out of a new vserver: only there, and each change is told.

use super::folder::Folder;
use super::places::make_devices;
use super::Fault;
use crate::beneath::{self, Scope};
use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

/// No file that is changed is larger.
const SIZE_MAX: u64 = 1 << 20;

/// Services of scripts and of OpenRC that are for hardware, the network devices or the kernel.
const SERVICES: &[&str] = &[
    "acpid",
    "apmd",
    "bootlogd",
    "checkfs.sh",
    "checkroot.sh",
    "checkroot-bootclean.sh",
    "console-setup.sh",
    "consolefont",
    "cryptdisks",
    "cryptdisks-early",
    "dmcrypt",
    "dmesg",
    "eudev",
    "fsck",
    "gpm",
    "hdparm",
    "hwclock",
    "hwclock.sh",
    "hwclockfirst.sh",
    "hwdrivers",
    "ifupdown",
    "ifupdown-clean",
    "irqbalance",
    "keyboard-setup.sh",
    "keymap",
    "keymap.sh",
    "keymaps",
    "klogd",
    "kmod",
    "kudzu",
    "lm-sensors",
    "lvm",
    "lvm2",
    "mdadm",
    "mdadm-raid",
    "mdev",
    "mdraid",
    "modloop",
    "module-init-tools",
    "modules",
    "modutils",
    "netmount",
    "network",
    "network-manager",
    "networking",
    "NetworkManager",
    "numlock",
    "pcmcia",
    "procps",
    "root",
    "smartd",
    "smartmontools",
    "swap",
    "sysctl",
    "sysfs",
    "udev",
    "udev-finish",
    "udev-mtab",
    "udev-postmount",
    "udev-settle",
    "udev-trigger",
];

/// The same of runit: those with these names, or with one and something behind it.
const SUPERVISED: &[&str] = &[
    "agetty-",
    "getty-",
    "udevd",
    "klogd",
    "dhcpcd",
    "NetworkManager",
    "acpid",
];

/// The same of systemd.
const UNITS: &[&str] = &[
    "getty@.service",
    "serial-getty@.service",
    "hwclock.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "systemd-udev-settle.service",
    "systemd-hwdb-update.service",
    "systemd-modules-load.service",
    "kmod-static-nodes.service",
    "systemd-remount-fs.service",
    "systemd-fsck-root.service",
    "systemd-timesyncd.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-networkd-wait-online.service",
    "networking.service",
    "NetworkManager.service",
    "NetworkManager-wait-online.service",
    "network.service",
    "wpa_supplicant.service",
    "swap.target",
    "dev-hugepages.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "sys-fs-fuse-connections.mount",
    "proc-sys-fs-binfmt_misc.automount",
    "proc-sys-fs-binfmt_misc.mount",
];

/// What a system is managed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packages {
    /// dpkg: Debian and its like.
    Dpkg,
    /// apk: Alpine.
    Apk,
    /// rpm: Fedora and its like.
    Rpm,
    /// pacman: Arch and its like.
    Pacman,
    /// None that is known.
    Unknown,
}

/// Where each keeps its records.
const RECORDS: [(&str, Packages); 7] = [
    ("var/lib/dpkg/status", Packages::Dpkg),
    ("lib/apk/db/installed", Packages::Apk),
    ("usr/lib/apk/db/installed", Packages::Apk),
    ("var/lib/rpm", Packages::Rpm),
    ("usr/lib/sysimage/rpm", Packages::Rpm),
    ("var/lib/pacman/local", Packages::Pacman),
    ("usr/lib/pacman/local", Packages::Pacman),
];

impl fmt::Display for Packages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dpkg => "dpkg",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Pacman => "pacman",
            Self::Unknown => "no package manager that is known",
        })
    }
}

impl Packages {
    /// Which one, by its records.
    pub fn find(root: &Folder) -> Self {
        let there = |(path, _): &&(&str, Self)| root.has(path);
        RECORDS
            .iter()
            .find(there)
            .map_or(Self::Unknown, |(_, packages)| *packages)
    }
}

/// How a system calls itself.
pub fn system_name(root: &Folder) -> Option<String> {
    let text = ["etc/os-release", "usr/lib/os-release"]
        .iter()
        .find_map(|path| root.content(path))?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let value = line.trim().trim_matches(['"', '\'']);
        let clean: String = value
            .chars()
            .filter(|char| !char.is_control())
            .take(80)
            .collect();
        Some(clean).filter(|value| !value.is_empty())
    };
    value("PRETTY_NAME=").or_else(|| value("NAME="))
}

impl Folder {
    /// Whether there is something at a path, links followed inside.
    fn has(&self, path: &str) -> bool {
        beneath::open(self, Path::new(path), OFlags::PATH, Scope::AsRoot).is_ok()
    }

    /// The content of a regular file, links followed inside.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        let place = beneath::open(self, Path::new(path), OFlags::PATH, Scope::AsRoot);
        let place = File::from(place.ok()?);
        if !place.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(crate::guest::path(&place))
            .ok()?
            .take(SIZE_MAX)
            .read_to_end(&mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// Puts a file in the place of another one, links on the way to it followed inside. It gets the owner and mode of
    /// what was there; what had several names there keeps them elsewhere.
    pub fn replace(&self, path: &str, content: &[u8]) -> Result<(), Fault> {
        let failed =
            |error: std::io::Error| Fault::new(format!("write /{path} of the new vserver"), error);
        let kernel = |errno: Errno| failed(errno.into());
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.inside(Path::new(parent)).map_err(kernel)?;
        let new = OsString::from(format!(".{name}.vserver"));
        match fs::unlinkat(&parent, &new, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(kernel(errno)),
        }
        let mut file = parent.new_file(&new).map_err(kernel)?;
        file.write_all(content).map_err(failed)?;
        let (mode, owner) = match parent.stat(OsStr::new(name)) {
            Ok(old) if super::folder::kind(&old) == fs::FileType::RegularFile => {
                (old.st_mode & 0o777, Some((old.st_uid, old.st_gid)))
            }
            _ => (0o644, None),
        };
        if let Some((owner, group)) = owner {
            let (owner, group) = (Uid::from_raw(owner), Gid::from_raw(group));
            fs::fchown(&file, Some(owner), Some(group)).map_err(kernel)?;
        }
        fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(kernel)?;
        fs::renameat(&parent, &new, &parent, name).map_err(kernel)
    }

    fn names_inside(&self, path: &str) -> Vec<String> {
        let names = self
            .inside(Path::new(path))
            .and_then(|folder| folder.names());
        names
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect()
    }
}

/// Takes out of a new vserver what is for hardware. Returns what was done, a line for each.
pub fn adapt(root: &Folder, resolver: Option<&[u8]>) -> Result<Vec<String>, Fault> {
    let mut lines = Vec::new();
    inittab(root, &mut lines)?;
    scripts(root, &mut lines)?;
    supervised(root, &mut lines)?;
    units(root, &mut lines)?;
    fstab(root, &mut lines)?;
    mounts(root, &mut lines)?;
    if let Some(content) = resolver {
        let there = root
            .inside(Path::new("etc"))
            .is_ok_and(|etc| etc.stat(OsStr::new("resolv.conf")).is_ok());
        if !there && root.has("etc") {
            root.replace("etc/resolv.conf", content)?;
            lines.push("/etc/resolv.conf: that of the host".to_owned());
        }
    }
    let made = make_devices(root)?;
    if made > 0 {
        lines.push(format!("/dev: {made} devices made"));
    }
    Ok(lines)
}

/// A terminal that is hardware: `tty1`, `ttyS0`, `hvc0`; not `tty` and `console`.
fn is_hardware(word: &str) -> bool {
    let word = word.strip_prefix("/dev/").unwrap_or(word);
    ["ttyS", "ttyAMA", "ttyUSB", "hvc", "vc/", "xvc", "tty"]
        .iter()
        .any(|prefix| {
            word.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit()))
        })
}

/// Lines that start something on hardware.
fn is_for_hardware(line: &str) -> bool {
    let mut fields = line.splitn(4, ':');
    let (Some(id), Some(_), Some(action), Some(process)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    if id.starts_with('#') || !["respawn", "askfirst", "once", "wait"].contains(&action) {
        return false;
    }
    let getty = process.contains("getty") && process.split_whitespace().any(is_hardware);
    getty || is_hardware(id)
}

fn inittab(root: &Folder, lines: &mut Vec<String>) -> Result<(), Fault> {
    let Some(text) = root.content("etc/inittab") else {
        return Ok(());
    };
    let Ok(text) = String::from_utf8(text) else {
        return Ok(());
    };
    let mut new = String::new();
    let mut count = 0;
    for line in text.split_inclusive('\n') {
        if is_for_hardware(line) {
            new.push_str("#vserver# ");
            count += 1;
        }
        new.push_str(line);
    }
    if count > 0 {
        root.replace("etc/inittab", new.as_bytes())?;
        lines.push(format!(
            "/etc/inittab: {count} lines for hardware terminals commented out"
        ));
    }
    Ok(())
}

/// Links to scripts of run levels, those of OpenRC too.
fn scripts(root: &Folder, lines: &mut Vec<String>) -> Result<(), Fault> {
    let mut folders: Vec<(String, bool)> = Vec::new();
    for level in "S0123456".chars() {
        folders.push((format!("etc/rc{level}.d"), true));
        folders.push((format!("etc/rc.d/rc{level}.d"), true));
    }
    for level in root.names_inside("etc/runlevels") {
        folders.push((format!("etc/runlevels/{level}"), false));
    }
    for (folder, numbered) in folders {
        for name in root.names_inside(&folder) {
            let service = match numbered {
                true => match name.get(3..) {
                    Some(rest) if name.starts_with('S') => rest,
                    _ => continue,
                },
                false => &name,
            };
            let is_meant = SERVICES.contains(&service)
                || (!numbered && (service.starts_with("net.") && service != "net.lo"))
                || (!numbered && service.strip_prefix("agetty.").is_some_and(is_hardware));
            if !is_meant {
                continue;
            }
            let failed = |errno| Fault::new(format!("take out /{folder}/{name}"), errno);
            let place = root.inside(Path::new(&folder)).map_err(failed)?;
            match fs::unlinkat(&place, &name, AtFlags::empty()) {
                Ok(()) => lines.push(format!("/{folder}/{name}: taken out")),
                // etc/rc.d/rc3.d and etc/rc3.d may be the same.
                Err(Errno::NOENT | Errno::ISDIR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }
    Ok(())
}

fn supervised(root: &Folder, lines: &mut Vec<String>) -> Result<(), Fault> {
    for folder in ["etc/service", "etc/runit/runsvdir/default", "var/service"] {
        for name in root.names_inside(folder) {
            let is_meant = SUPERVISED.iter().any(|known| match known.ends_with('-') {
                true => name.strip_prefix(known).is_some_and(is_hardware),
                false => name == *known,
            });
            let path = format!("{folder}/{name}");
            if is_meant
                && root.inside(Path::new(&path)).is_ok()
                && !root.has(&format!("{path}/down"))
            {
                root.replace(&format!("{path}/down"), b"")?;
                lines.push(format!("/{path}: not started any more"));
            }
        }
    }
    Ok(())
}

fn units(root: &Folder, lines: &mut Vec<String>) -> Result<(), Fault> {
    let places = ["usr/lib/systemd/system", "lib/systemd/system"];
    let known: Vec<&str> = UNITS
        .iter()
        .filter(|unit| {
            places
                .iter()
                .any(|place| root.has(&format!("{place}/{unit}")))
        })
        .copied()
        .collect();
    if known.is_empty() {
        return Ok(());
    }
    let failed = |errno| Fault::new("write /etc/systemd/system of the new vserver", errno);
    let folder = root.inside(Path::new("etc/systemd/system"));
    let folder = match folder {
        Err(Errno::NOENT) => {
            let mut folder = root.inside(Path::new("etc")).map_err(failed)?;
            for name in ["systemd", "system"] {
                match fs::mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                folder = folder.child(OsStr::new(name)).map_err(failed)?;
            }
            folder
        }
        folder => folder.map_err(failed)?,
    };
    for unit in known {
        match fs::symlinkat("/dev/null", &folder, unit) {
            Ok(()) => lines.push(format!("{unit}: masked")),
            // The administrator's own.
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

fn fstab(root: &Folder, lines: &mut Vec<String>) -> Result<(), Fault> {
    let Some(text) = root.content("etc/fstab") else {
        return Ok(());
    };
    let is_entry = |line: &[u8]| {
        let line = line.trim_ascii();
        !line.is_empty() && !line.starts_with(b"#")
    };
    if !text.split(|byte| *byte == b'\n').any(is_entry) {
        return Ok(());
    }
    root.replace("etc/fstab.host", &text)?;
    root.replace(
        "etc/fstab",
        b"# A vserver mounts nothing itself: see NAME.fstab of the host. What was here is in fstab.host.\n",
    )?;
    lines.push("/etc/fstab: emptied, what was there is in /etc/fstab.host".to_owned());
    Ok(())
}

/// What is mounted is what the kernel says.
fn mounts(root: &Folder, lines: &mut Vec<String>) -> Result<(), Fault> {
    let Ok(etc) = root.inside(Path::new("etc")) else {
        return Ok(());
    };
    let name = OsStr::new("mtab");
    let is_link = |stat: &fs::Stat| super::folder::kind(stat) == fs::FileType::Symlink;
    if etc.stat(name).is_ok_and(|stat| is_link(&stat)) {
        return Ok(());
    }
    let _ = fs::unlinkat(&etc, name, AtFlags::empty());
    match fs::symlinkat("/proc/self/mounts", &etc, name) {
        Ok(()) => {
            lines.push("/etc/mtab: a link to /proc/self/mounts".to_owned());
            Ok(())
        }
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(Fault::new("write /etc/mtab of the new vserver", errno)),
    }
}

/// What must not be the same in two vservers is taken out of a copy: what systemd and D-Bus know a machine by, and the
/// keys of the SSH server. Returns what was done, a line for each.
pub fn make_distinct(root: &Folder) -> Result<Vec<String>, Fault> {
    let mut lines = Vec::new();
    if root
        .content("etc/machine-id")
        .is_some_and(|id| !id.is_empty())
    {
        root.replace("etc/machine-id", b"")?;
        lines.push("/etc/machine-id: emptied, a new one is made at the start".to_owned());
    }
    for name in root.names_inside("etc/ssh") {
        if !name.starts_with("ssh_host_") || !name.contains("key") {
            continue;
        }
        let failed = |errno| Fault::new(format!("take out /etc/ssh/{name}"), errno);
        let folder = root.inside(Path::new("etc/ssh")).map_err(failed)?;
        match fs::unlinkat(&folder, &name, AtFlags::empty()) {
            Ok(()) => lines.push(format!(
                "/etc/ssh/{name}: taken out, make a new one with \"ssh-keygen -A\""
            )),
            Err(Errno::NOENT | Errno::ISDIR) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals() {
        for line in [
            "1:2345:respawn:/sbin/getty 38400 tty1",
            "T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100",
            "tty1::respawn:/sbin/getty 38400 tty1",
            "tty2::askfirst:-/bin/sh",
            "c1:12345:respawn:/sbin/agetty --noclear 38400 /dev/tty1 linux",
        ] {
            assert!(is_for_hardware(line), "{line}");
        }
        for line in [
            "co:2345:respawn:/sbin/getty 38400 console",
            "#1:2345:respawn:/sbin/getty 38400 tty1",
            "l2:2:wait:/etc/init.d/rc 2",
            "::sysinit:/etc/rc",
            "",
        ] {
            assert!(!is_for_hardware(line), "{line}");
        }
    }
}
