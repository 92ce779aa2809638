// SPDX-License-Identifier: GPL-2.0

//! Kernels and the module for them.

use crate::{
    cache::{product, Key},
    step,
};
use anyhow::{bail, Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The kernel's build stamp in Debian's cloud flavour.
const FLAVOUR: &str = "+deb13-cloud-amd64";

/// How the module attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lane {
    /// An unmodified Debian kernel.
    Stock,
}

impl Lane {
    /// The name on the command line and in the guest.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Stock => "stock",
        }
    }
}

/// What a kernel consists of for us.
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// The tree that modules build against.
    pub build: PathBuf,
}

fn available(package: &str) -> Result<Vec<String>> {
    let output = Command::new("apt-cache")
        .args(["madison", package])
        .output()
        .context("cannot start apt-cache")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_string()))
        .collect())
}

/// The series of a Debian version: "7.3" of "7.3.4-1~bpo13+1".
fn series(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The upstream part: "7.3.4" of "7.3.4-1~bpo13+1".
fn upstream(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}

/// Downloads Debian's packages of the pinned kernel; the newest of its series when that is gone.
fn packages() -> Result<(PathBuf, String)> {
    let pinned = match std::env::var("KERNEL_VERSION") {
        Ok(version) if !version.is_empty() => version,
        _ => fs::read_to_string("/src/qemu/kernel-version")?
            .trim()
            .to_string(),
    };
    let key = Key::new("kernel-packages 1").text(&pinned);
    let folder = product("kernel-packages", key, |folder| {
        step::run(
            "list of Debian's packages",
            "apt-update",
            Command::new("apt-get").arg("update"),
        )?;
        let source = format!("linux-source-{}", series(&pinned));
        let versions = available(&source)?;
        let version = if versions.contains(&pinned) {
            pinned.clone()
        } else {
            versions.first().cloned().with_context(|| {
                format!(
                    "the archive has neither {source} {pinned} nor any other version of {source}; \
                     name another one with KERNEL_VERSION=VERSION (see: apt-cache madison)"
                )
            })?
        };
        if version != pinned {
            eprintln!("    {pinned} is not in the archive any more: taking {version}");
        }
        let abi = format!("{}{FLAVOUR}", upstream(&version));
        step::shell(
            &format!("download of Linux {version}"),
            "kernel-download",
            folder,
            &format!(
                "apt-get -o APT::Sandbox::User=root download {source}={version} \
                 linux-binary-unsigned-{abi}={version} linux-headers-{abi}={version}
                 for deb in *.deb; do dpkg-deb -x $deb .; rm $deb; done
                 echo {version} >version"
            ),
        )
    })?;
    let version = fs::read_to_string(folder.join("version"))?
        .trim()
        .to_string();
    Ok((folder, version))
}

fn source(packages: &Path, version: &str) -> Result<PathBuf> {
    let key = Key::new("kernel-source 1").text(version);
    product("kernel-source", key, |folder| {
        step::shell(
            "kernel source",
            "kernel-source",
            folder,
            &format!(
                "tar -xf {}/usr/src/linux-source-{}.tar.xz --strip-components=1",
                packages.display(),
                series(version)
            ),
        )
    })
}

/// A lane's kernel.
pub fn kernel(lane: Lane) -> Result<Kernel> {
    match lane {
        Lane::Stock => stock(),
    }
}

/// Debian's image, and a build tree with the Rust metadata that Debian does not ship: regenerated
/// from the source of the same version with the same configuration and compiler.
fn stock() -> Result<Kernel> {
    let (packages, version) = packages()?;
    let source = source(&packages, &version)?;
    let abi = format!("{}{FLAVOUR}", upstream(&version));
    let key = Key::new("kernel-stock 1")
        .text(&version)
        .tree(Path::new("/src/qemu/root.packages"))?;
    // Kbuild writes absolute paths into the tree, so it is made where it stays.
    let build = Path::new("/cache").join(format!("kernel-stock-tree-{}", key_name(&version)));
    product("kernel-stock", key, |folder| {
        step::shell(
            "Rust metadata of the stock kernel (about 3 minutes)",
            "kernel-stock",
            folder,
            &format!(
                "headers={packages}/usr/src/linux-headers-{abi}
                 rm -rf {build}; mkdir -p {build}
                 cp $headers/.config {build}/.config
                 {source}/scripts/config --file {build}/.config --set-str SYSTEM_TRUSTED_KEYS '' --set-str MODULE_SIG_KEY ''
                 make -C {source} O={build} LOCALVERSION={FLAVOUR} olddefconfig
                 make -C {source} O={build} LOCALVERSION={FLAVOUR} -j$(nproc) modules_prepare
                 cp $headers/Module.symvers {build}/
                 touch complete",
                packages = packages.display(),
                source = source.display(),
                build = build.display(),
            ),
        )
    })?;
    let image = packages.join(format!("usr/lib/modules/{abi}/vmlinuz.unsigned"));
    if !image.is_file() {
        bail!("the kernel package has no image at {}", image.display());
    }
    if !build.is_dir() {
        bail!(
            "{} is missing although it was built: remove the kernel-stock-* folders of the cache and run again",
            step::on_host(&build)
        );
    }
    Ok(Kernel { image, build })
}

fn key_name(version: &str) -> String {
    version.replace(['~', '+'], "-")
}

/// Builds the module for a lane, warnings refused, and returns the path of `vserver.ko`.
pub fn module(lane: Lane) -> Result<PathBuf> {
    build_module(lane, "")
}

/// The same with clippy's lints.
pub fn lint_module(lane: Lane) -> Result<()> {
    build_module(lane, "CLIPPY=1").map(drop)
}

fn build_module(lane: Lane, extra: &str) -> Result<PathBuf> {
    let kernel = kernel(lane)?;
    let key = Key::new("kmod 3")
        .text(lane.name())
        .text(extra)
        .text(&kernel.build.display().to_string())
        // The compiler comes from there, and the build tree's path does not change with it.
        .tree(Path::new("/src/qemu/root.packages"))?
        .tree(Path::new("/src/kmod"))?;
    let name = if extra.is_empty() {
        "kmod"
    } else {
        "kmod-lint"
    };
    let folder = product(name, key, |folder| {
        step::shell(
            &format!("kernel module ({} lane) {extra}", lane.name()),
            &format!("{name}-{}", lane.name()),
            folder,
            &format!(
                "cp -r /src/kmod/. .
                 make -C {build} M=$PWD {extra} modules 2>&1 | tee build.log
                 test ${{PIPESTATUS[0]}} = 0
                 if grep -E '(warning|error)(\\[|:)' build.log; then
                     echo 'the module must build without warnings'; exit 1
                 fi",
                build = kernel.build.display(),
            ),
        )
    })?;
    Ok(folder.join("vserver.ko"))
}
