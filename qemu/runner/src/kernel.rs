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

/// What Debian's kernels for one release of Debian are called after their version and before their flavour.
const STAMP: &str = "+deb13";

/// Debian's kernel for virtual machines.
const FLAVOUR: &str = "cloud-amd64";

/// The value of a variable that `make` has passed on.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The end of what `uname -r` says.
fn local_version() -> String {
    let flavour = variable("KERNEL_FLAVOUR");
    format!("{STAMP}-{}", flavour.as_deref().unwrap_or(FLAVOUR))
}

/// How the module attaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Lane {
    /// An unmodified Debian kernel.
    Stock,
    /// Debian's source with `patches/`.
    Patched,
}

impl Lane {
    /// The name on the command line and in the guest.
    pub fn name(self) -> &'static str {
        match self {
            Lane::Stock => "stock",
            Lane::Patched => "patched",
        }
    }
}

/// What a boot is for. It matters in the patched lane, whose kernel is of our own configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// With the kernel's own checks: lockdep, sleeping in atomic context, kmemleak.
    Test,
    /// Without them.
    Measure,
}

/// What a kernel consists of for us.
pub struct Kernel {
    /// The bootable image.
    pub image: PathBuf,
    /// The product in which `build` is the tree that modules build against, when it is seen at [`PLACE`].
    folder: PathBuf,
}

/// Where a kernel's product is seen while something is built in it or against it. Kbuild writes
/// absolute paths into its trees, and the compiler cache goes by them.
pub const PLACE: &str = "/kernel";

/// Runs a script that sees `product` at [`PLACE`].
fn at_place(what: &str, log_name: &str, product: &Path, folder: &Path, script: &str) -> Result<()> {
    step::run(
        what,
        log_name,
        Command::new("unshare")
            .args(["--mount", "--propagation", "unchanged", "bash", "-ec"])
            .arg(format!(
                "mount --bind {product} {PLACE}\n{script}",
                product = product.display()
            ))
            .current_dir(folder),
    )
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

/// What `uname -r` says of it.
fn abi(version: &str) -> String {
    format!("{}{}", upstream(version), local_version())
}

/// The upstream part: "7.3.4" of "7.3.4-1~bpo13+1".
fn upstream(version: &str) -> &str {
    version.split('-').next().unwrap_or(version)
}

/// Downloads Debian's packages of the pinned kernel; the newest of its series when that is gone.
fn packages() -> Result<(PathBuf, String)> {
    let pinned = match variable("KERNEL_VERSION") {
        Some(version) => version,
        None => fs::read_to_string("/src/qemu/kernel-version")?
            .trim()
            .to_string(),
    };
    let key = Key::new("kernel-packages 4").text(&abi(&pinned));
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
        // A series alone asks for its newest.
        if version != pinned && pinned != series(&pinned) {
            eprintln!("    {pinned} is not in the archive any more: taking {version}");
        }
        let abi = abi(&version);
        step::shell(
            &format!("download of Linux {version}"),
            "kernel-download",
            folder,
            &format!(
                "apt-get -o APT::Sandbox::User=root download {source}={version} \
                 linux-binary-unsigned-{abi}={version} linux-headers-{abi}={version} \
                 linux-modules-{abi}={version}
                 for deb in *.deb; do dpkg-deb -x $deb .; done
                 mkdir debs; mv *.deb debs
                 echo {version} >version"
            ),
        )
    })?;
    let version = fs::read_to_string(folder.join("version"))?
        .trim()
        .to_string();
    Ok((folder, version))
}

/// What a Debian system with that kernel has to have for its modules, and to build one: the packages by name and version,
/// and a folder with those of them that have been downloaded.
pub fn for_modules() -> Result<(Vec<String>, PathBuf)> {
    let (packages, version) = packages()?;
    let abi = abi(&version);
    let names = [
        format!("linux-headers-{abi}={version}"),
        format!("linux-modules-{abi}={version}"),
        format!("linux-source-{}={version}", series(&version)),
    ];
    Ok((names.into(), packages.join("debs")))
}

/// What Debian's kernel calls itself.
pub fn release() -> Result<String> {
    Ok(abi(&packages()?.1))
}

/// The folder with Debian's own modules, in the lane that has any: in the other all is built in.
pub fn distribution_modules(lane: Lane) -> Result<Option<PathBuf>> {
    if lane == Lane::Patched {
        return Ok(None);
    }
    let (packages, version) = packages()?;
    let abi = abi(&version);
    Ok(Some(packages.join("usr/lib/modules").join(abi)))
}

/// Debian's kernel source, as it is.
pub fn source() -> Result<PathBuf> {
    let (packages, version) = packages()?;
    let key = Key::new("kernel-source 1").text(&version);
    product("kernel-source", key, |folder| {
        step::shell(
            "kernel source",
            "kernel-source",
            folder,
            &format!(
                "tar -xf {}/usr/src/linux-source-{}.tar.xz --strip-components=1",
                packages.display(),
                series(&version)
            ),
        )
    })
}

/// A lane's kernel.
pub fn kernel(lane: Lane, purpose: Purpose) -> Result<Kernel> {
    match lane {
        Lane::Stock => stock(),
        Lane::Patched => patched(purpose),
    }
}

/// Debian's image, and a build tree with the Rust metadata that Debian does not ship: regenerated
/// from the source of the same version with the same configuration and compiler.
fn stock() -> Result<Kernel> {
    let (packages, version) = packages()?;
    let source = source()?;
    let abi = abi(&version);
    let key = Key::new("kernel-stock 2")
        .text(&abi)
        .tree(Path::new("/src/qemu/root.packages"))?;
    let folder = product("kernel-stock", key, |folder| {
        at_place(
            "Rust metadata of the stock kernel (about 2 minutes)",
            "kernel-stock",
            folder,
            folder,
            &format!(
                "headers={packages}/usr/src/linux-headers-{abi}
                 mkdir {PLACE}/build; cd {PLACE}/build
                 cp $headers/.config .config
                 {source}/scripts/config --file .config --set-str SYSTEM_TRUSTED_KEYS '' --set-str MODULE_SIG_KEY ''
                 make -C {source} O=$PWD LOCALVERSION={local} olddefconfig
                 make -C {source} O=$PWD LOCALVERSION={local} -j$(nproc) modules_prepare
                 cp $headers/Module.symvers .",
                packages = packages.display(),
                source = source.display(),
                local = local_version(),
            ),
        )
    })?;
    Ok(Kernel {
        image: stock_image()?,
        folder,
    })
}

/// Debian's image.
pub fn stock_image() -> Result<PathBuf> {
    let (packages, version) = packages()?;
    let image = packages.join(format!(
        "usr/lib/modules/{}/vmlinuz.unsigned",
        abi(&version)
    ));
    if !image.is_file() {
        bail!("the kernel package has no image at {}", image.display());
    }
    Ok(image)
}

/// The names of the patches, in their order.
pub fn patches() -> Result<Vec<String>> {
    Ok(fs::read_to_string("/src/patches/series")?
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_string)
        .collect())
}

/// A kernel of Debian's source, `patches/` and a small configuration of ours.
fn patched(purpose: Purpose) -> Result<Kernel> {
    let (what, fragments): (_, &[&str]) = match purpose {
        Purpose::Test => (
            "patched kernel with checks (about 15 minutes)",
            &["patched.config", "debug.config"],
        ),
        Purpose::Measure => ("patched kernel (about 12 minutes)", &["patched.config"]),
    };
    let folder = build_patched("kernel-patched", what, &[], fragments)?;
    Ok(Kernel {
        image: folder.join("bzImage"),
        folder,
    })
}

/// Builds the kernel after each patch, and returns the image of the last one with the patches'
/// option switched off.
pub fn steps() -> Result<PathBuf> {
    let folder = build_patched(
        "kernel-steps",
        "a kernel after each patch (about 30 minutes)",
        &["--steps"],
        &["patched.config"],
    )?;
    Ok(folder.join("bzImage"))
}

fn build_patched(name: &str, what: &str, options: &[&str], fragments: &[&str]) -> Result<PathBuf> {
    let source = source()?;
    let (_, version) = packages()?;
    let script = Path::new("/src/qemu/kernel/patched.sh");
    let mut key = Key::new("kernel-patched 2")
        .text(&version)
        .text(&fragments.join(" "))
        .tree(Path::new("/src/qemu/root.packages"))?
        .tree(script)?;
    for fragment in fragments {
        key = key.tree(&Path::new("/src/qemu/kernel").join(fragment))?;
    }
    for patch in patches()? {
        key = key.tree(&Path::new("/src/patches").join(patch))?;
    }
    product(name, key, |folder| {
        at_place(
            what,
            name,
            folder,
            folder,
            &format!(
                "{} {} {} {}",
                script.display(),
                options.join(" "),
                source.display(),
                fragments.join(" "),
            ),
        )
    })
}

/// Builds the module for a lane, warnings refused, and returns the path of `vserver.ko`.
pub fn module(lane: Lane, purpose: Purpose) -> Result<PathBuf> {
    Ok(build_module(lane, purpose, "")?.join("vserver.ko"))
}

/// What `make analyzer` reads.
pub struct Analyzed {
    /// A copy of the module's sources, with the `rust-project.json` that the kernel's script has made for it.
    pub module: PathBuf,
    /// What is seen at [`PLACE`] in there.
    pub kernel: PathBuf,
    /// The bindings of a build of the module.
    pub bindings: PathBuf,
}

/// Has the kernel's own script describe the module, in the stock lane.
pub fn analyzer() -> Result<Analyzed> {
    let (lane, purpose) = (Lane::Stock, Purpose::Test);
    let built = module(lane, purpose)?;
    let kernel = kernel(lane, purpose)?.folder;
    let key = Key::new("analyzer 1")
        .text(&kernel.display().to_string())
        .tree(Path::new("/src/kmod"))?;
    let module = product("analyzer", key, |folder| {
        at_place(
            "description of the module for rust-analyzer",
            "analyzer",
            &kernel,
            folder,
            &format!(
                "cp -r /src/kmod/. .
                 make -C {PLACE}/build M=$PWD rust-analyzer
                 [ -f rust-project.json ] || mv {PLACE}/build/rust-project.json ."
            ),
        )
    })?;
    Ok(Analyzed {
        module,
        kernel,
        bindings: built.with_file_name("bindings_generated.rs"),
    })
}

/// The same with clippy's lints and what else is looked at without running it; returns the folder that it is built in.
pub fn lint_module(lane: Lane, purpose: Purpose) -> Result<PathBuf> {
    build_module(lane, purpose, "CLIPPY=1 VSERVER_CHECK=y")
}

/// How clang reads the C of a module that [`lint_module`] has built: a command that writes its tree as JSON.
pub fn clang_tree(lane: Lane, purpose: Purpose, folder: &Path) -> Result<Command> {
    let kernel = kernel(lane, purpose)?;
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "unchanged", "bash", "-ec"])
        .arg(format!(
            "mount --bind {} {PLACE}
             eval set -- \"$(cat inline.flags)\"
             exec clang \"$@\" -Wp,-MD,/dev/null -fsyntax-only -Xclang -ast-dump=json inline.c",
            kernel.folder.display()
        ))
        .current_dir(folder);
    Ok(command)
}

/// Where a lane's kernel says of what types its functions are: the module's build compares. Ours are without it.
fn btf_image(lane: Lane) -> Result<String> {
    Ok(match lane {
        Lane::Stock => format!("VSERVER_BTF={}", stock_image()?.display()),
        Lane::Patched => String::new(),
    })
}

fn build_module(lane: Lane, purpose: Purpose, extra: &str) -> Result<PathBuf> {
    let kernel = kernel(lane, purpose)?;
    let btf = btf_image(lane)?;
    let key = Key::new("kmod 5")
        .text(extra)
        .text(&btf)
        .text(&kernel.folder.display().to_string())
        .tree(Path::new("/src/kmod"))?;
    let name = if extra.is_empty() {
        "kmod"
    } else {
        "kmod-lint"
    };
    product(name, key, |folder| {
        make_module(lane, &kernel, name, &format!("{extra} {btf}"), folder)
    })
}

/// Builds the module in a folder, whether or not that has been done before; returns the path of `vserver.ko`.
pub fn module_anew(lane: Lane, purpose: Purpose, folder: &Path) -> Result<PathBuf> {
    let kernel = kernel(lane, purpose)?;
    make_module(lane, &kernel, "kmod-anew", &btf_image(lane)?, folder)?;
    Ok(folder.join("vserver.ko"))
}

fn make_module(lane: Lane, kernel: &Kernel, name: &str, extra: &str, folder: &Path) -> Result<()> {
    at_place(
        format!("kernel module ({} lane) {extra}", lane.name()).trim_end(),
        &format!("{name}-{}", lane.name()),
        &kernel.folder,
        folder,
        &format!(
            "cp -r /src/kmod/. .
             make -C {PLACE}/build M=$PWD {extra} modules 2>&1 | tee build.log
             test ${{PIPESTATUS[0]}} = 0
             if grep -E '(warning|error)(\\[|:)' build.log; then
                 echo 'the module must build without warnings'; exit 1
             fi",
        ),
    )
}
