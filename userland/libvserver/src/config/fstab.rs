// SPDX-License-Identifier: GPL-2.0

//! `/etc/vservers/NAME.fstab`: what is mounted for a vserver besides what every one gets, written as in fstab(5).

use nix::mount::MsFlags;
use std::path::{Component, Path, PathBuf};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: a path of the host for `bind` and disks, any word for the others.
    pub source: PathBuf,
    /// Where, as it is called inside, without the first slash.
    pub target: String,
    /// How.
    pub kind: Kind,
    /// As for mount(2).
    pub flags: MsFlags,
    /// Options of the file system itself.
    pub data: String,
    /// Where it is written.
    pub line: usize,
}

/// What kind of mount it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory or file of the host; with what is mounted below it.
    Bind {
        /// `rbind`
        recursive: bool,
    },
    /// A file system of this type.
    Type(String),
}

/// The options that are flags: name, flag, whether it is set.
const FLAGS: [(&str, MsFlags, bool); 14] = [
    ("ro", MsFlags::MS_RDONLY, true),
    ("rw", MsFlags::MS_RDONLY, false),
    ("nosuid", MsFlags::MS_NOSUID, true),
    ("suid", MsFlags::MS_NOSUID, false),
    ("nodev", MsFlags::MS_NODEV, true),
    ("noexec", MsFlags::MS_NOEXEC, true),
    ("exec", MsFlags::MS_NOEXEC, false),
    ("noatime", MsFlags::MS_NOATIME, true),
    ("atime", MsFlags::MS_NOATIME, false),
    ("nodiratime", MsFlags::MS_NODIRATIME, true),
    ("relatime", MsFlags::MS_RELATIME, true),
    ("strictatime", MsFlags::MS_STRICTATIME, true),
    ("sync", MsFlags::MS_SYNCHRONOUS, true),
    ("async", MsFlags::MS_SYNCHRONOUS, false),
];

/// Options that mean something to mount(8) alone.
const IGNORED: [&str; 3] = ["defaults", "auto", "_netdev"];

/// Types that mount(2) alone cannot mount.
const HELPED: [&str; 5] = ["nfs", "nfs4", "cifs", "glusterfs", "ceph"];

/// Reads a whole file; the error has its line.
pub(super) fn parse(text: &str) -> Result<Vec<Mount>, (usize, String)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| one(line, number).map_err(|what| (number, what)))
        .collect()
}

fn one(line: &str, number: usize) -> Result<Mount, String> {
    let fields: Vec<String> = line
        .split_ascii_whitespace()
        .map(unescaped)
        .collect::<Result<_, _>>()?;
    let (source, target, kind, options) =
        match fields.as_slice() {
            [source, target, kind] => (source, target, kind, ""),
            [source, target, kind, options] => (source, target, kind, options.as_str()),
            [source, target, kind, options, rest @ ..]
                if rest.len() <= 2 && rest.iter().all(|word| word.parse::<u32>().is_ok()) =>
            {
                (source, target, kind, options.as_str())
            }
            _ => return Err(
                "a line is SOURCE TARGET TYPE OPTIONS, such as \"/srv/data /data none bind,ro\""
                    .to_owned(),
            ),
        };
    let target = inside(target)?;
    let mut flags = MsFlags::MS_NODEV;
    let mut data = Vec::new();
    let mut bind = (kind == "bind").then_some(false);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "bind" => bind = Some(bind.unwrap_or(false)),
            "rbind" => bind = Some(true),
            "dev" => {
                return Err("\"dev\" would give the vserver devices of the host".to_owned());
            }
            "noauto" => return Err("\"noauto\" means nothing here: remove the line".to_owned()),
            option if IGNORED.contains(&option) => {}
            option => match FLAGS.iter().find(|(name, ..)| *name == option) {
                Some((_, flag, true)) => flags |= *flag,
                Some((_, flag, false)) => flags -= *flag,
                None => data.push(option),
            },
        }
    }
    let kind = match bind {
        Some(recursive) => {
            if !source.starts_with('/') {
                return Err(format!(
                    "\"{source}\" is not a path of the host from its root, as \"bind\" needs"
                ));
            }
            if let Some(option) = data.first() {
                return Err(format!("\"{option}\" is no option of \"bind\""));
            }
            Kind::Bind { recursive }
        }
        None if kind == "none" || kind == "auto" => {
            return Err(format!(
                "the type \"{kind}\" is only for \"bind\" and \"rbind\" in the options"
            ));
        }
        None if kind == "swap" => {
            return Err("swap is the host's: add it to the host's /etc/fstab".to_owned());
        }
        None if HELPED.contains(&kind.as_str()) => {
            return Err(format!(
                "{kind} needs the host's mount program: mount it on the host, and bind it here"
            ));
        }
        None => Kind::Type(kind.clone()),
    };
    Ok(Mount {
        source: source.into(),
        target,
        kind,
        flags,
        data: data.join(","),
        line: number,
    })
}

/// `\040` and the like.
fn unescaped(word: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'\\' {
            bytes.push(byte);
            rest = after;
            continue;
        }
        let code = after
            .get(..3)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok())
            .filter(|code| *code != 0)
            .ok_or_else(|| {
                format!(
                    "\"{word}\": a \"\\\" is followed by three octal digits, such as \\040 for a blank"
                )
            })?;
        bytes.push(code);
        rest = &after[3..];
    }
    String::from_utf8(bytes).map_err(|_| format!("\"{word}\" is not text in UTF-8"))
}

/// A place inside, without its first slash.
fn inside(target: &str) -> Result<String, String> {
    let bad = |what: &str| Err(format!("\"{target}\" cannot be mounted on: {what}"));
    let Some(rest) = target.strip_prefix('/') else {
        return bad("write it from the root of the vserver, such as /data");
    };
    let mut parts = Vec::new();
    for part in Path::new(rest).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::CurDir => {}
            _ => return bad("it has \"..\" in it"),
        }
    }
    if parts.is_empty() {
        return bad("it is the root of the vserver");
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_fstab_is_written() {
        let all = parse(
            "# comment\n\n\
             /srv/data /data none bind,ro\n\
             /srv/a\\040b /x/./y/ none rbind,noexec 0 0\n\
             tmpfs /tmp tmpfs size=64m,mode=1777,nosuid\n\
             /dev/vdb1 /var/lib ext4 defaults,noatime 0 2\n\
             /etc/hosts /etc/hosts bind\n",
        )
        .unwrap();
        let nodev = MsFlags::MS_NODEV;
        let of = |source: &str, target: &str, kind, flags, data: &str, line| Mount {
            source: source.into(),
            target: target.to_owned(),
            kind,
            flags,
            data: data.to_owned(),
            line,
        };
        let bind = |recursive| Kind::Bind { recursive };
        let kind = |name: &str| Kind::Type(name.to_owned());
        assert_eq!(
            all,
            [
                of(
                    "/srv/data",
                    "data",
                    bind(false),
                    nodev | MsFlags::MS_RDONLY,
                    "",
                    3
                ),
                of(
                    "/srv/a b",
                    "x/y",
                    bind(true),
                    nodev | MsFlags::MS_NOEXEC,
                    "",
                    4
                ),
                of(
                    "tmpfs",
                    "tmp",
                    kind("tmpfs"),
                    nodev | MsFlags::MS_NOSUID,
                    "size=64m,mode=1777",
                    5
                ),
                of(
                    "/dev/vdb1",
                    "var/lib",
                    kind("ext4"),
                    nodev | MsFlags::MS_NOATIME,
                    "",
                    6
                ),
                of("/etc/hosts", "etc/hosts", bind(false), nodev, "", 7),
            ]
        );
    }

    #[test]
    fn what_is_not_right_says_why() {
        for (line, said) in [
            ("/a", "SOURCE TARGET"),
            ("/a /b none bind 0 x", "SOURCE TARGET"),
            ("/a b none bind", "from the root"),
            ("/a /../b none bind", "\"..\""),
            ("/a / none bind", "the root of the vserver"),
            ("a /b none bind", "path of the host"),
            ("/a /b none ro", "only for \"bind\""),
            ("/a /b none bind,size=3", "no option"),
            ("/a /b none bind,dev", "devices"),
            ("x /b nfs rw", "bind it here"),
            ("x none swap sw", "from the root"),
            ("/a\\9 /b none bind", "octal"),
            ("/a\\000 /b none bind", "octal"),
        ] {
            let (number, what) = parse(&format!("\n{line}")).unwrap_err();
            assert_eq!(number, 2);
            assert!(what.contains(said), "{line}: {what}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC*") {
            let _ = parse(&text);
        }

        #[test]
        fn no_target_leads_up(target in "/[./a\\\\0-7]{0,20}") {
            if let Ok(found) = parse(&format!("/x {target} none bind")) {
                for one in found {
                    proptest::prop_assert!(!one.target.split('/').any(|part| part.is_empty() || part == ".."));
                }
            }
        }
    }
}
