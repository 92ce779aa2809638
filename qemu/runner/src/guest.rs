// SPDX-License-Identifier: GPL-2.0

//! What goes into the guest: static programs, the initramfs.

use crate::{
    cache::{self, product, Key},
    kernel::{self, Lane, Purpose},
    step,
};
use anyhow::{ensure, Context, Result};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The names under which the one binary is called, one a line.
const COMMANDS: &str = include_str!("../../../userland/packaging/programs");

/// Statically linked programs.
pub struct Programs {
    /// The userland.
    pub vserver: PathBuf,
    init: PathBuf,
    tests: PathBuf,
    probe: PathBuf,
    nothing: PathBuf,
}

/// How they are linked: static, and at a fixed address, so that they start fast. Every `chcontext` pays for the
/// start of a program, and pages with pointers to be relocated would be copied first. One segment for
/// all that is only read or run means fewer mappings, to be made and undone.
///
/// Without relocation the C library's start would register the unwind tables and read through all of
/// them, if there is something to register them with. Unwinding finds them by the program headers as well.
const RUSTFLAGS: [&str; 5] = [
    "-Ctarget-feature=+crt-static",
    "-Crelocation-model=static",
    "-Clink-arg=-Wl,--defsym=__register_frame_info=0",
    "-Clink-arg=-Wl,--defsym=__deregister_frame_info=0",
    "-Clink-arg=-Wl,-z,noseparate-code",
];

/// Builds some of them with a profile of `Cargo.toml`, from these folders.
fn build(
    product_name: &str,
    profile: &str,
    folders: &[&str],
    packages: &[&str],
    programs: &[&str],
) -> Result<PathBuf> {
    let source = Path::new("/src");
    let flags = RUSTFLAGS.join(" ");
    let mut key = Key::new("programs 3")
        .text(&flags)
        .text(profile)
        .tree(&source.join("qemu/root.packages"))?
        .tree(&source.join("Cargo.toml"))?
        .tree(&source.join("Cargo.lock"))?;
    for folder in folders {
        key = key.tree(&source.join(folder))?;
    }
    product(product_name, key, |folder| {
        let packages = packages.iter().flat_map(|package| ["-p", package]);
        step::run(
            product_name,
            "cargo-build",
            cache::cargo(&["build", "--profile", profile, "--locked"])?
                .args(["--target", "x86_64-unknown-linux-gnu"])
                .args(packages)
                .env("RUSTFLAGS", &flags),
        )?;
        let built = Path::new("/cache/target/x86_64-unknown-linux-gnu").join(profile);
        for program in programs {
            fs::copy(built.join(program), folder.join(program))?;
        }
        Ok(())
    })
}

/// Builds them.
pub fn programs() -> Result<Programs> {
    let measured = build(
        "programs",
        "release",
        &["kmod/uapi", "kmod/policy", "userland", "qemu/probe"],
        &["vserver", "vserver-probe"],
        &["vserver", "probe", "nothing"],
    )?;
    let tests = build(
        "test-programs",
        "guest",
        &["kmod/uapi", "qemu/init", "qemu/tests"],
        &["vserver-guest-init", "vserver-guest-tests"],
        &["guest-init", "guest-tests"],
    )?;
    Ok(Programs {
        vserver: measured.join("vserver"),
        init: tests.join("guest-init"),
        tests: tests.join("guest-tests"),
        probe: measured.join("probe"),
        nothing: measured.join("nothing"),
    })
}

/// The names of all guest tests.
pub fn test_names() -> Result<BTreeSet<String>> {
    let program = programs()?.tests;
    let output = Command::new(&program)
        .arg("--list")
        .output()
        .with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(
        output.status.success(),
        "guest-tests --list: {}",
        output.status
    );
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| Some(line.split_once(' ')?.0.to_string()))
        .collect())
}

/// Modules of Debian's kernel that tests load, by name or through the kernel when it needs one.
const MODULES: [&str; 28] = [
    "binfmt_misc",
    "overlay",
    "loop",
    "xfs",
    "btrfs",
    "xor",
    "raid6_pq",
    "libblake2b",
    "dummy",
    "veth",
    "llc",
    "stp",
    "bridge",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
    "raw_diag",
    "unix_diag",
    "netlink_diag",
    "af_packet_diag",
    "udp_tunnel",
    "ip6_udp_tunnel",
    "sctp",
    "sctp_diag",
    "tls",
    "gcm",
    "kcm",
    "mptcp_diag",
];

/// The same of what is built into the kernels of some of Debian's flavours.
const MODULES_OF_SOME: [&str; 4] = ["crc16", "mbcache", "jbd2", "ext4"];

/// Puts them where modprobe looks, into an initramfs's `tree`.
fn module_script(lane: Lane) -> Result<String> {
    let Some(folder) = kernel::distribution_modules(lane)? else {
        return Ok(String::new());
    };
    let folder = folder.display();
    Ok(format!(
        "release=$(basename {folder}); mkdir -p lib/modules/$release/kernel
         for name in {names}; do
             file=$(find {folder}/ -name $name.ko.xz -o -name $name.ko)
             [ -n \"$file\" ] || {{ echo \"the kernel's packages have no module $name\"; exit 1; }}
             cp $file lib/modules/$release/kernel
         done
         for name in {some}; do
             find {folder}/ -name $name.ko.xz -exec cp {{}} lib/modules/$release/kernel ';'
         done
         find lib/modules -name '*.xz' -exec xz -d {{}} +
         depmod -b . $release",
        names = MODULES.join(" "),
        some = MODULES_OF_SOME.join(" "),
    ))
}

/// The initramfs of a lane, without the job (see [`job_archive`]).
pub fn initramfs(lane: Lane, purpose: Purpose) -> Result<PathBuf> {
    let programs = programs()?;
    let module = kernel::module(lane, purpose)?;
    let key = Key::new("initramfs 8")
        .text(lane.name())
        .tree(&programs.vserver)?
        .tree(&programs.init)?
        .tree(&programs.tests)?
        .tree(&programs.probe)?
        .tree(&programs.nothing)?
        .tree(&module)?
        .text(&module_script(lane)?)
        .text(COMMANDS)
        .tree(Path::new("/src/qemu/tour.sh"))?;
    let folder = product("initramfs", key, |folder| {
        let names = COMMANDS.replace('\n', " ");
        step::shell(
            "initramfs",
            "initramfs",
            folder,
            &format!(
                "mkdir tree; cd tree
                 mkdir -p bin sbin usr/bin usr/sbin lib etc proc sys dev tmp root servers inits share vservers var/run/vservers run
                 cp /bin/busybox bin/busybox
                 for applet in $(/bin/busybox --list); do [ $applet = busybox ] || ln -s busybox bin/$applet; done
                 cp {vserver} usr/sbin/vserver; for name in {names}; do ln -s vserver usr/sbin/$name; done
                 cp {init} init; cp {tests} bin/guest-tests; cp {probe} usr/sbin/probe; cp {nothing} usr/sbin/nothing; cp {module} lib/vserver.ko
                 strip --strip-debug lib/vserver.ko
                 ln -s ../bin/busybox sbin/modprobe
                 {modules}
                 cp /src/qemu/tour.sh bin/tour
                 echo {lane} >etc/vserver-lane
                 printf 'root:x:0:0:root:/root:/bin/sh\\nuser:x:1000:1000::/tmp:/bin/sh\\nnobody:x:65534:65534::/:/bin/false\\n' >etc/passwd
                 printf 'root:x:0:\\nuser:x:1000:\\nnogroup:x:65534:\\n' >etc/group
                 find . | cpio -o -H newc --quiet | gzip -1 >../initramfs
                 cd ..; rm -rf tree",
                vserver = programs.vserver.display(),
                init = programs.init.display(),
                tests = programs.tests.display(),
                probe = programs.probe.display(),
                nothing = programs.nothing.display(),
                module = module.display(),
                lane = lane.name(),
                modules = module_script(lane)?,
            ),
        )
    })?;
    Ok(folder.join("initramfs"))
}

/// An initramfs with a job for the guest's init: what to do, as shell-free lines.
pub fn with_job(lane: Lane, purpose: Purpose, work: &Path, job: &str) -> Result<PathBuf> {
    let base = initramfs(lane, purpose)?;
    let folder = work.join("job");
    fs::create_dir_all(folder.join("etc"))?;
    fs::write(folder.join("etc/vserver-job"), job)?;
    let whole = work.join("initramfs");
    // The kernel takes several archives one after the other, each at a multiple of four bytes.
    let script = format!(
        "cp {base} {whole}; truncate -s %4 {whole}; cd {folder}; find etc | cpio -o -H newc --quiet >>{whole}",
        base = base.display(),
        whole = whole.display(),
        folder = folder.display(),
    );
    anyhow::ensure!(
        Command::new("bash")
            .args(["-ec", &script])
            .status()?
            .success(),
        "the initramfs with the job could not be written"
    );
    Ok(whole)
}
