// SPDX-License-Identifier: GPL-2.0

//! `make deb`: the Debian packages, by the definitions in `userland/packaging/`, which lintian must have nothing to
//! say about.

use crate::{
    cache::{self, product, Key},
    guest, step,
};
use anyhow::{bail, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The version of the workspace, and of the packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const CHANGELOG: &str = "/src/userland/packaging/debian/changelog";

/// The packages.
pub struct Packages {
    /// The programs.
    pub vserver: PathBuf,
    /// The source of the module.
    pub dkms: PathBuf,
}

/// Builds them and prints where they are.
pub fn run() -> Result<ExitCode> {
    let packages = packages()?;
    for package in [packages.vserver, packages.dkms] {
        println!("{}", step::on_host(&package));
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds them.
pub fn packages() -> Result<Packages> {
    let folder = build(Release::This)?;
    Ok(Packages {
        vserver: folder.join(format!("vserver_{VERSION}_amd64.deb")),
        dkms: folder.join(format!("vserver-dkms_{VERSION}_all.deb")),
    })
}

/// The programs once more, as the package of a later version.
pub fn upgrade() -> Result<PathBuf> {
    let version = Release::Later.version();
    Ok(build(Release::Later)?.join(format!("vserver_{version}_amd64.deb")))
}

/// The source of the module, as the package of an earlier version whose ABI is the one before.
pub fn earlier_module() -> Result<PathBuf> {
    let version = Release::Earlier.version();
    Ok(build(Release::Earlier)?.join(format!("vserver-dkms_{version}_all.deb")))
}

/// Which packages are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// Both, as they are.
    This,
    /// The programs only.
    Later,
    /// The module only.
    Earlier,
}

impl Release {
    fn version(self) -> String {
        match self {
            Self::This => VERSION.to_string(),
            Self::Later => format!("{VERSION}+later"),
            Self::Earlier => format!("{VERSION}~earlier"),
        }
    }

    /// What dpkg-buildpackage calls it.
    fn kind(self) -> &'static str {
        match self {
            Self::This => "binary",
            Self::Later => "any",
            Self::Earlier => "all",
        }
    }

    /// What is done with the sources.
    fn prepared(self) -> String {
        let version = self.version();
        match self {
            Self::This => String::new(),
            // Lintian wants it to have a date after that of the entry before it.
            Self::Later => format!(
                "last=$(grep -m 1 '^ -- ' {CHANGELOG})
                 {{ echo 'vserver ({version}) unstable; urgency=medium'; echo; echo '  * A later version.'; echo
                   echo \"${{last%%>*}}>  $(date -R -u -d \"${{last##*>  }} + 1 day\")\"; echo; cat {CHANGELOG}; }} >debian/changelog"
            ),
            Self::Earlier => format!(
                "sed -i '1s/(.*)/({version})/' debian/changelog
                 abi='pub const ABI_VERSION: u32 ='
                 now=$(sed -n \"s/^$abi \\([0-9]*\\);/\\1/p\" kmod/uapi/mod.rs)
                 sed -i \"s/^$abi $now;/$abi $((now - 1));/\" kmod/uapi/mod.rs
                 ! cmp -s kmod/uapi/mod.rs /src/kmod/uapi/mod.rs"
            ),
        }
    }
}

/// The version of the first entry of a changelog.
fn changelog_version(text: &str) -> Option<&str> {
    text.strip_prefix("vserver (")?.split(')').next()
}

/// Manual pages and completions, which the program writes when it is built for that.
fn pages(program: &Path) -> Result<PathBuf> {
    let key = Key::new("pages 1").text(&program.display().to_string());
    product("pages", key, |folder| {
        step::run(
            "manual pages and completions",
            "pages",
            cache::cargo(&["run", "--quiet", "--locked", "-p", "vserver"])?
                .args(["--features", "pages", "--", "--internal-pages"])
                .arg(folder),
        )
    })
}

/// A folder with the packages.
fn build(release: Release) -> Result<PathBuf> {
    let changelog = fs::read_to_string(CHANGELOG)?;
    let said = changelog_version(&changelog)
        .with_context(|| format!("{CHANGELOG} does not begin with \"vserver (VERSION)\""))?;
    if said != VERSION {
        bail!(
            "Cargo.toml says version {VERSION}, but the first entry of \
             userland/packaging/debian/changelog is for {said}: make them the same"
        );
    }
    let program = guest::programs()?.vserver;
    let pages = pages(&program)?;
    let mut key = Key::new("deb 2")
        .text(&release.version())
        .text(&program.display().to_string())
        .text(&pages.display().to_string());
    for path in [
        "README.md",
        "docs",
        "kmod",
        "qemu/root.packages",
        "userland/packaging",
    ] {
        key = key.tree(&Path::new("/src").join(path))?;
    }
    let (prepared, kind) = (release.prepared(), release.kind());
    product("deb", key, |folder| {
        step::shell(
            "Debian packages",
            "deb",
            folder,
            &format!(
                "mkdir -p vserver/built vserver/userland; cd vserver
                 cp -r /src/kmod /src/docs /src/README.md .
                 cp -r /src/userland/packaging userland
                 cp -r userland/packaging/debian debian
                 cp userland/packaging/sysvinit/vservers debian/vserver.vservers.init
                 for unit in userland/packaging/systemd/*.service userland/packaging/systemd/*.target; do
                     cp $unit debian/vserver.$(basename $unit)
                 done
                 cp {program} built/vserver
                 cp -r {pages} built/pages
                 {prepared}
                 dpkg-buildpackage --build={kind} --no-sign --no-check-builddeps
                 cd ..; rm -r vserver
                 lintian --display-info --pedantic --fail-on error,warning,info,pedantic *.changes",
                program = program.display(),
                pages = pages.display(),
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_a_changelog() {
        let text = "vserver (0.1.0) unstable; urgency=medium\n\n  * First (0.0.1).\n";
        assert_eq!(changelog_version(text), Some("0.1.0"));
        assert_eq!(changelog_version("vserver 0.1.0"), None);
    }
}
