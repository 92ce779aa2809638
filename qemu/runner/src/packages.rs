// SPDX-License-Identifier: GPL-2.0

//! The tests of the Debian packages: dkms builds the module on a plain Debian system, and that system is booted to
//! install, use, upgrade and remove the rest (`qemu/packages.sh`).

use crate::{
    cache::{product, Key},
    deb::{self, Packages},
    kernel::{self, Lane, Purpose},
    machine::{self, Boot, Outcome, Work},
    step, trees,
};
use anyhow::{ensure, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// What begins their names.
pub const PREFIX: &str = "packages::";

const SCRIPT: &str = "/src/qemu/packages.sh";
const PROGRAMS: &str = "/src/userland/packaging/programs";

/// Whether any of them has a name that contains the filter: each needs those before it, so all are run then.
pub fn wanted(filter: &str, lane: Option<Lane>) -> bool {
    lane != Some(Lane::Patched) && (PREFIX.contains(filter) || filter.starts_with(PREFIX))
}

/// The names of the packages that a package depends on.
fn depends(package: &Path) -> Result<Vec<String>> {
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(package)
        .arg("Depends")
        .output()
        .context("cannot start dpkg-deb")?;
    ensure!(
        output.status.success(),
        "dpkg-deb: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(names(&String::from_utf8_lossy(&output.stdout)))
}

/// The first choice of each, without versions.
fn names(depends: &str) -> Vec<String> {
    depends
        .split(',')
        .filter_map(|one| one.split_ascii_whitespace().next())
        .map(str::to_string)
        .collect()
}

/// What starts the tests on the machine.
const UNIT: &str = "\
[Unit]
Description=Tests of the Debian packages

[Service]
Type=exec
ExecStart=/bin/sh -c 'mkdir -p /run/packages /run/inits && mount -t virtiofs servers /run/packages && \
mount -t virtiofs inits /run/inits && \
exec bash /run/packages/packages.sh /run/packages/first.deb /run/packages/later.deb /run/inits/busybox'

[Install]
WantedBy=multi-user.target
";

/// A disk with a Debian system on which the package with the module's source has been installed, and what it was built
/// with taken out again.
fn disk(package: &Path) -> Result<PathBuf> {
    let tree = trees::machine(&depends(package)?)?;
    let release = kernel::release()?;
    let key = Key::new("packages-disk 1")
        .text(&tree.display().to_string())
        .text(&blake3::hash(&fs::read(package)?).to_hex())
        .text(UNIT);
    let folder = product("packages-disk", key, |folder| {
        fs::write(folder.join("packages-test.service"), UNIT)?;
        step::run(
            "the module by dkms, on a Debian system (about 3 minutes)",
            "dkms",
            Command::new("unshare")
                .args(["--mount", "--propagation", "private", "bash", "-ec"])
                .arg(format!(
                    "cp -a --reflink=auto {tree} tree
                     for place in proc sys dev; do mount --rbind /$place tree/$place; done
                     cp {package} tree/root/vserver-dkms.deb
                     run() {{ chroot tree env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
                         DEBIAN_FRONTEND=noninteractive \"$@\"; }}
                     run dpkg -i /root/vserver-dkms.deb || {{ cat tree/var/lib/dkms/vserver/*/build/make.log; exit 1; }}
                     run modinfo -k {release} vserver
                     run dkms status vserver | grep installed
                     du -sh tree/var/cache/vserver-dkms/{release}
                     for place in proc sys dev; do umount -l tree/$place; done
                     cd tree
                     rm -rf root/vserver-dkms.deb var/cache/vserver-dkms/{release}/*/ usr/src/linux-* usr/src/rustc-* \
                         usr/lib/rustlib usr/lib/gcc usr/lib/llvm-* usr/share/doc usr/share/locale \
                         usr/lib/x86_64-linux-gnu/{{libLLVM,libclang,librustc_driver}}*
                     mv ../packages-test.service etc/systemd/system
                     mkdir -p etc/systemd/system/multi-user.target.wants
                     ln -s ../packages-test.service etc/systemd/system/multi-user.target.wants
                     echo packages >etc/hostname
                     cd ..
                     mke2fs -q -t ext4 -d tree disk 3G
                     rm -r tree",
                    tree = tree.display(),
                    package = package.display(),
                ))
                .current_dir(folder),
        )
    })?;
    Ok(folder.join("disk"))
}

/// Boots and runs the tests; each line of their KTAP is handed on.
pub fn run(packages: &Packages, later: &Path, on_result: &mut dyn FnMut(&str)) -> Result<Outcome> {
    // The machine begins with the module of the release before.
    let disk = disk(&deb::earlier_module()?)?;
    let module = kernel::module(Lane::Stock, Purpose::Test)?;
    let inits = trees::inits()?;
    let work = Work::new()?;
    let folder = work.path().join("packages");
    fs::create_dir(&folder)?;
    for (from, to) in [
        (Path::new(SCRIPT), "packages.sh"),
        (Path::new(PROGRAMS), "programs"),
        (&packages.vserver, "first.deb"),
        (later, "later.deb"),
        (&module, "vserver.ko"),
    ] {
        fs::copy(from, folder.join(to))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    eprintln!("==> tests of the packages ...");
    machine::boot(
        &Boot {
            lane: Lane::Stock,
            name: "packages",
            image: Some(&kernel::stock_image()?),
            disk: Some(&disk),
            job: "",
            parameters: "",
            icount: false,
            vservers: None,
            servers: Some(&folder),
            inits: Some(&inits),
            share: false,
            interactive: false,
            parallel: false,
            limit: Duration::from_secs(2400),
        },
        work.path(),
        on_result,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_field() {
        let text = "dkms, bc (>= 1.0), sysvinit-utils (>= 3.05) | other,\n rustc\n";
        assert_eq!(names(text), ["dkms", "bc", "sysvinit-utils", "rustc"]);
    }

    #[test]
    fn filters() {
        assert!(wanted("", None));
        assert!(wanted("packages::upgrade", Some(Lane::Stock)));
        assert!(!wanted("", Some(Lane::Patched)));
        assert!(!wanted("init::", None));
    }
}
