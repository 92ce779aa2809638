// SPDX-License-Identifier: GPL-2.0

//! Where the files of a new vserver come from.

use crate::server::Server;
use crate::server::ROOTS;
use anyhow::bail;
use anyhow::Context;
use clap::Args;
use libvserver::tree::Choice;
use libvserver::tree::Folder;
use libvserver::tree::Packages;
use rustix::fs::FileType;
use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;

/// The options; one of them, or none for the host itself.
#[derive(Args, Clone, Debug, Default)]
#[group(id = "source", multiple = false)]
pub(crate) struct SourceArguments {
    /// From the files of a directory
    #[arg(long, value_name = "DIR", help_heading = "Source", group = "source")]
    pub(crate) dir: Option<PathBuf>,

    /// From a tar archive, plain or compressed by gzip, xz or zstd; "-": the standard input
    #[arg(long, value_name = "FILE", help_heading = "Source", group = "source")]
    pub(crate) tar: Option<PathBuf>,

    /// From an OCI image, its layout as a directory or an archive
    #[arg(
        long,
        value_name = "PATH[:TAG]",
        help_heading = "Source",
        group = "source"
    )]
    pub(crate) oci: Option<String>,

    /// By debootstrap, which has to be installed
    #[arg(long, value_name = "SUITE", help_heading = "Source", group = "source")]
    pub(crate) debootstrap: Option<String>,

    /// By mmdebstrap, which has to be installed
    #[arg(long, value_name = "SUITE", help_heading = "Source", group = "source")]
    pub(crate) mmdebstrap: Option<String>,

    /// From a copy of another vserver
    #[arg(
        long,
        value_name = "VSERVER",
        help_heading = "Source",
        group = "source"
    )]
    pub(crate) copy: Option<String>,

    /// The same, with one file on the disk for both where it is no configuration or data
    #[arg(
        long,
        value_name = "VSERVER",
        help_heading = "Source",
        group = "source"
    )]
    pub(crate) link: Option<String>,

    /// From the host itself, which is what is done without a source
    #[arg(long, help_heading = "Source", group = "source")]
    pub(crate) host: bool,
}

/// Where the files come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Directory(PathBuf),
    /// `None`: the standard input.
    Tar(Option<PathBuf>),
    Oci {
        path: PathBuf,
        tag: Option<String>,
    },
    /// By a program that makes a system of Debian.
    Bootstrap {
        program: &'static str,
        suite: String,
        mirror: Option<String>,
    },
    Vserver {
        name: String,
        link: bool,
    },
    Host,
}

impl SourceArguments {
    /// Whether one is given.
    pub(crate) fn is_given(&self) -> bool {
        self.host
            || self.dir.is_some()
            || self.tar.is_some()
            || [
                &self.oci,
                &self.debootstrap,
                &self.mmdebstrap,
                &self.copy,
                &self.link,
            ]
            .iter()
            .any(|given| given.is_some())
    }

    /// As somebody has answered: the option and its value.
    pub(crate) fn of_words(text: &str) -> anyhow::Result<Self> {
        let (kind, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let value = value.trim();
        let some = || match value.is_empty() {
            true => bail!("\"{kind}\" needs something behind it"),
            false => Ok(Some(value.to_owned())),
        };
        let mut source = Self::default();
        match kind {
            "host" => source.host = true,
            "copy" => source.copy = some()?,
            "link" => source.link = some()?,
            "dir" => source.dir = some()?.map(PathBuf::from),
            "tar" => source.tar = some()?.map(PathBuf::from),
            "oci" => source.oci = some()?,
            "debootstrap" => source.debootstrap = some()?,
            "mmdebstrap" => source.mmdebstrap = some()?,
            other => bail!("there is no source \"{other}\""),
        }
        Ok(source)
    }

    /// The source, looked at before anything is made.
    pub(crate) fn source(&self, mirror: Option<&str>) -> anyhow::Result<Source> {
        let there = |path: &Path| {
            fs::metadata(path).with_context(|| {
                format!(
                    "cannot use {}: name what the files of a system are in",
                    path.display()
                )
            })
        };
        let bootstrap = |program: &'static str, suite: &str| {
            if !is_installed(program) {
                bail!("there is no {program}; install it, or choose another source");
            }
            if suite.starts_with('-') || mirror.is_some_and(|mirror| mirror.starts_with('-')) {
                bail!("neither a suite nor a mirror begins with \"-\"");
            }
            Ok(Source::Bootstrap {
                program,
                suite: suite.to_owned(),
                mirror: mirror.map(str::to_owned),
            })
        };
        if mirror.is_some() && self.debootstrap.is_none() && self.mmdebstrap.is_none() {
            bail!("--mirror goes with --debootstrap and --mmdebstrap only");
        }
        if let Some(dir) = &self.dir {
            if !there(dir)?.is_dir() {
                bail!(
                    "{} is not a directory; give an archive with --tar",
                    dir.display()
                );
            }
            if same(dir, Path::new(ROOTS)) {
                bail!("{ROOTS} is where vservers are; give the directory of a system");
            }
            return Ok(Source::Directory(dir.clone()));
        }
        if let Some(tar) = &self.tar {
            if tar == Path::new("-") {
                return Ok(Source::Tar(None));
            }
            if there(tar)?.is_dir() {
                bail!("{} is a directory; give it with --dir", tar.display());
            }
            return Ok(Source::Tar(Some(tar.clone())));
        }
        if let Some(oci) = &self.oci {
            let (path, tag) = match oci.rsplit_once(':') {
                Some((path, tag)) if !Path::new(oci).exists() && !tag.contains('/') => {
                    (path, Some(tag.to_owned()))
                }
                _ => (oci.as_str(), None),
            };
            let path = PathBuf::from(path);
            if there(&path)?.is_dir() && !path.join("index.json").is_file() {
                bail!(
                    "{} is no layout of an OCI image: it has no index.json",
                    path.display()
                );
            }
            return Ok(Source::Oci { path, tag });
        }
        if let Some(suite) = &self.debootstrap {
            return bootstrap("debootstrap", suite);
        }
        if let Some(suite) = &self.mmdebstrap {
            return bootstrap("mmdebstrap", suite);
        }
        for (name, link) in [(&self.copy, false), (&self.link, true)] {
            if let Some(name) = name {
                Server::existing(name)?;
                return Ok(Source::Vserver {
                    name: name.clone(),
                    link,
                });
            }
        }
        Ok(Source::Host)
    }
}

fn same(one: &Path, other: &Path) -> bool {
    match (fs::metadata(one), fs::metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Whether a program is found.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    })
}

/// What a copy of a vserver does with each path.
pub(crate) fn of_vserver(link: bool) -> impl Fn(&Path, FileType) -> Choice {
    move |path, kind| match link && kind == FileType::RegularFile && !is_changed(path) {
        true => Choice::Link,
        false => Choice::Copy,
    }
}

/// Whether a vserver changes files there: its configuration and data.
fn is_changed(path: &Path) -> bool {
    let top = path.components().next();
    ["etc", "var", "root", "home", "srv", "tmp", "run", "dev"]
        .iter()
        .any(|name| top == Some(Component::Normal(name.as_ref())))
}

/// What the copy of the host does with each path.
pub(crate) struct Host {
    /// What packages own, where that is known.
    owned: Option<HashSet<PathBuf>>,
}

/// Directories that are made empty.
const EMPTY: [&str; 13] = [
    "proc", "sys", "dev", "run", "tmp", "mnt", "media", "home", "srv", "root", "boot", "var/tmp",
    "var/run",
];

/// What is left out.
const OUT: [&str; 18] = [
    "vservers",
    "lost+found",
    "lib/modules",
    "lib/firmware",
    "usr/lib/modules",
    "usr/lib/firmware",
    "etc/vservers",
    "etc/vservers.conf",
    "etc/.pwd.lock",
    "etc/udev/rules.d/70-persistent-net.rules",
    "var/lock",
    "var/lib/docker",
    "var/lib/containerd",
    "var/lib/containers",
    "var/lib/lxc",
    "var/lib/machines",
    "var/lib/libvirt",
    "var/lib/systemd/random-seed",
];

/// Directories whose own directories are made, and no file in them.
const HOLLOW: [&str; 4] = ["var/log", "var/cache", "var/spool", "var/backups"];

/// What is copied whole though no package owns it.
const WHOLE: [&str; 8] = [
    "etc",
    "var/lib/dpkg",
    "var/lib/pam",
    "var/lib/ucf",
    "var/lib/insserv",
    "var/lib/initscripts",
    "var/lib/systemd/deb-systemd-helper-enabled",
    "usr/lib/locale",
];

/// What is copied whole where no package says what it owns.
const PLACES: [&str; 10] = [
    "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "usr", "opt", "var",
];

impl Host {
    /// Looks at the packages of the host.
    pub(crate) fn look(root: &Folder) -> anyhow::Result<Self> {
        if Packages::find(root) != Packages::Dpkg {
            return Ok(Self { owned: None });
        }
        let place = "/var/lib/dpkg/info";
        let mut owned = HashSet::new();
        for entry in fs::read_dir(place).with_context(|| format!("cannot read {place}"))? {
            let path = entry?.path();
            if path.extension().is_none_or(|ending| ending != "list") {
                continue;
            }
            let text =
                fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            for line in String::from_utf8_lossy(&text).lines() {
                let path = Path::new(line.trim_start_matches('/'));
                // dpkg knows /bin/sh by that name also where /bin is a link to usr/bin.
                let first = path.components().next();
                let is_moved = |name: &str| {
                    first == Some(Component::Normal(name.as_ref()))
                        && fs::symlink_metadata(format!("/{name}"))
                            .is_ok_and(|data| data.is_symlink())
                };
                if ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]
                    .iter()
                    .any(|name| is_moved(name))
                {
                    owned.insert(Path::new("usr").join(path));
                }
                owned.insert(path.to_owned());
            }
        }
        Ok(Self { owned: Some(owned) })
    }

    /// In words.
    pub(crate) fn describe(&self) -> &'static str {
        match self.owned {
            Some(_) => "what packages own, and /etc",
            None => "the directories of the system, and /etc",
        }
    }

    pub(crate) fn choose(&self, path: &Path, kind: FileType) -> Choice {
        let within = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        let at = |places: &[&str]| places.iter().any(|place| path == Path::new(place));
        let is_directory = kind == FileType::Directory;
        if at(&OUT) || is_key(path) {
            return Choice::Skip;
        }
        if at(&EMPTY) {
            return match is_directory {
                true => Choice::Empty,
                false => Choice::Copy,
            };
        }
        if within(&HOLLOW) {
            return match is_directory {
                true => Choice::Copy,
                false => Choice::Skip,
            };
        }
        let Some(owned) = &self.owned else {
            return match within(&PLACES) {
                true => Choice::Copy,
                false => Choice::Skip,
            };
        };
        let leads_to_whole = WHOLE.iter().any(|place| Path::new(place).starts_with(path));
        match within(&WHOLE) || owned.contains(path) || leads_to_whole {
            true => Choice::Copy,
            // Of alternatives and of what scripts of packages make.
            false if kind == FileType::Symlink => Choice::Copy,
            false => Choice::Skip,
        }
    }
}

/// What tells one machine from another.
fn is_key(path: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("");
    path.parent() == Some(Path::new("etc/ssh"))
        && name.starts_with("ssh_host_")
        && name.contains("key")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_of_a_host() {
        let owned = ["usr", "usr/bin", "usr/bin/ls", "var", "var/lib"];
        let dpkg = Host {
            owned: Some(owned.iter().map(PathBuf::from).collect()),
        };
        let other = Host { owned: None };
        let (file, folder, link) = (
            FileType::RegularFile,
            FileType::Directory,
            FileType::Symlink,
        );
        for (path, kind, of_dpkg, of_other) in [
            ("usr/bin/ls", file, Choice::Copy, Choice::Copy),
            ("usr/bin/mine", file, Choice::Skip, Choice::Copy),
            ("usr/bin/awk", link, Choice::Copy, Choice::Copy),
            ("etc/passwd", file, Choice::Copy, Choice::Copy),
            ("etc/ssh/ssh_host_rsa_key", file, Choice::Skip, Choice::Skip),
            ("etc/vservers", folder, Choice::Skip, Choice::Skip),
            ("vservers", folder, Choice::Skip, Choice::Skip),
            ("data", folder, Choice::Skip, Choice::Skip),
            ("proc", folder, Choice::Empty, Choice::Empty),
            ("home", folder, Choice::Empty, Choice::Empty),
            ("bin", link, Choice::Copy, Choice::Copy),
            ("var/log/apt", folder, Choice::Copy, Choice::Copy),
            ("var/log/syslog", file, Choice::Skip, Choice::Skip),
            ("var/lib/dpkg/status", file, Choice::Copy, Choice::Copy),
        ] {
            assert_eq!(dpkg.choose(Path::new(path), kind), of_dpkg, "{path}");
            assert_eq!(other.choose(Path::new(path), kind), of_other, "{path}");
        }
    }

    #[test]
    fn what_a_vserver_changes_is_its_own() {
        let choose = of_vserver(true);
        let file = FileType::RegularFile;
        assert_eq!(choose(Path::new("usr/bin/ls"), file), Choice::Link);
        assert_eq!(choose(Path::new("etc/passwd"), file), Choice::Copy);
        assert_eq!(choose(Path::new("usr"), FileType::Directory), Choice::Copy);
        assert_eq!(
            of_vserver(false)(Path::new("usr/bin/ls"), file),
            Choice::Copy
        );
    }
}
