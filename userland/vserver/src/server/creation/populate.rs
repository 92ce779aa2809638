// SPDX-License-Identifier: GPL-2.0

//! The files of a new vserver: from a source into the place where it is made.

use super::source::is_installed;
use super::source::of_vserver;
use super::source::Host;
use super::source::Source;
use super::Staging;
use super::Work;
use crate::server::Server;
use crate::server::ROOTS;
use anyhow::bail;
use anyhow::Context;
use indicatif::HumanBytes;
use libvserver::tree;
use libvserver::tree::Archive;
use libvserver::tree::Choice;
use libvserver::tree::Fault;
use libvserver::tree::Folder;
use libvserver::tree::Options;
use libvserver::tree::Packages;
use libvserver::tree::Size;
use libvserver::tree::Statistics;
use libvserver::Guest;
use libvserver::InitSystem;
use nix::sys::signal::kill;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::fs::FileType;
use std::fs;
use std::fs::DirBuilder;
use std::fs::File;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Room that is left for what comes later.
const SPARE: u64 = 16 << 20;

/// Fills the root directory of a new vserver.
pub(crate) fn populate(
    source: &Source,
    staging: &Staging,
    work: &mut Work,
) -> anyhow::Result<Statistics> {
    let statistics = match source {
        Source::Directory(path) => {
            work.say(&format!("copying {}", path.display()))?;
            copy(path, &|_, _| Choice::Copy, staging, work)?
        }
        Source::Vserver { name, link } => {
            let server = Server::new(name)?;
            copy(&server.root(), &of_vserver(*link), staging, work)?
        }
        Source::Host => {
            let root = Path::new("/");
            let host = Host::look(&Folder::open(root)?)?;
            work.say(&format!("copying the host: {}", host.describe()))?;
            let choose = |path: &Path, kind| host.choose(path, kind);
            copy(root, &choose, staging, work)?
        }
        Source::Tar(Some(path)) => {
            let file =
                File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
            room_for_archive(&file, staging)?;
            work.say(&format!("unpacking {}", path.display()))?;
            tar(file, staging, work)?
        }
        Source::Tar(None) => {
            work.say("unpacking the standard input")?;
            tar(File::from(rustix::io::dup(io::stdin())?), staging, work)?
        }
        Source::Oci { path, tag } => image(path, tag.as_deref(), staging, work)?,
        Source::Bootstrap {
            program,
            suite,
            mirror,
        } => bootstrap(program, suite, mirror.as_deref(), staging, work)?,
    };
    work.hide();
    Ok(statistics)
}

/// Takes out of the new vserver what is for hardware, and tells each change. Returns whether an init that is known is
/// in it.
pub(crate) fn adapt(staging: &Staging, work: &mut Work) -> anyhow::Result<bool> {
    let root = staging.open()?;
    let packages = Packages::find(&root);
    let name = tree::system_name(&root).unwrap_or_else(|| "a system without a name".to_owned());
    let guest = Guest::open(&staging.root())?;
    let init = InitSystem::find(&guest, Path::new("/sbin/init"));
    let told = init.map_or_else(
        || "no init that is known".to_owned(),
        |init| init.to_string(),
    );
    work.say(&format!("{name}: {packages}, {told}"))?;
    let resolver = fs::read("/etc/resolv.conf").ok();
    for line in tree::adapt(&root, resolver.as_deref())? {
        work.say(&line)?;
    }
    Ok(init.is_some())
}

/// What makes a vserver a machine of its own.
pub(crate) fn make_distinct(staging: &Staging, work: &mut Work) -> anyhow::Result<()> {
    for line in tree::make_distinct(&staging.open()?)? {
        work.say(&line)?;
    }
    Ok(())
}

fn copy(
    from: &Path,
    choose: &dyn Fn(&Path, FileType) -> Choice,
    staging: &Staging,
    work: &mut Work,
) -> anyhow::Result<Statistics> {
    let source = Folder::open(from)?;
    let target = staging.open()?;
    // Where vservers are is never a part of one, be it also what is copied at this time.
    let roots = fs::metadata(ROOTS)?;
    let never = [(roots.dev(), roots.ino())];
    let options = Options {
        choose,
        never: &never,
    };
    let size = tree::measure(&source, &options)?;
    room(size.bytes, &target)?;
    work.show(Some(size));
    Ok(tree::copy(
        &source,
        &target,
        &options,
        &mut |statistics, path| work.step(statistics, path),
    )?)
}

/// Whether there is room.
pub(crate) fn room(bytes: u64, target: &Folder) -> anyhow::Result<()> {
    let free = tree::free(target)?;
    if bytes.saturating_add(SPARE) > free {
        bail!(
            "there is not enough room in {ROOTS}: {} are needed and {} are free",
            HumanBytes(bytes.saturating_add(SPARE)),
            HumanBytes(free)
        );
    }
    Ok(())
}

/// The same for what is in an archive: at least what it has itself.
fn room_for_archive(file: &File, staging: &Staging) -> anyhow::Result<()> {
    let data = file.metadata()?;
    match data.file_type().is_fifo() || data.file_type().is_char_device() {
        true => Ok(()),
        false => room(data.len(), &staging.open()?),
    }
}

fn tar(file: File, staging: &Staging, work: &mut Work) -> anyhow::Result<Statistics> {
    let reader = work.reader(file);
    work.show(None);
    let result = tree::unpack(
        reader,
        &staging.open()?,
        &mut Archive::default(),
        &mut |statistics, path| work.step(statistics, path),
    );
    Ok(result.map_err(as_interruption)?)
}

/// A reader that was ended by a signal tells so in its own way.
pub(crate) fn as_interruption(fault: Fault) -> Fault {
    match fault.source.kind() {
        io::ErrorKind::ConnectionAborted => Fault::interrupted(),
        _ => fault,
    }
}

fn image(
    path: &Path,
    tag: Option<&str>,
    staging: &Staging,
    work: &mut Work,
) -> anyhow::Result<Statistics> {
    work.say(&format!("unpacking the image {}", path.display()))?;
    let layout = if path.is_dir() {
        Folder::open(path)?
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        room_for_archive(&file, staging)?;
        let place = staging.folder().join("image");
        DirBuilder::new().mode(0o700).create(&place)?;
        let folder = Folder::open_itself(&place)?;
        let reader = work.reader(file);
        tree::unpack(
            reader,
            &folder,
            &mut Archive::default(),
            &mut |statistics, path| work.step(statistics, path),
        )
        .map_err(as_interruption)?;
        folder
    };
    work.show(None);
    let root = staging.open()?;
    let result = tree::unpack_image(&layout, tag, &root, &mut |statistics, path| {
        work.step(statistics, path)
    });
    Ok(result?)
}

/// Has a program make a system. Its mounts are in a namespace of its own, and go with it.
fn bootstrap(
    program: &str,
    suite: &str,
    mirror: Option<&str>,
    staging: &Staging,
    work: &mut Work,
) -> anyhow::Result<Statistics> {
    work.say(&format!("running {program}"))?;
    let mut words = Vec::new();
    if is_installed("unshare") {
        words.extend(["unshare", "--mount", "--"]);
    }
    words.push(program);
    // debootstrap looks whether the place has devices of its own; a directory that all may enter is what both want.
    fs::set_permissions(
        staging.root(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )?;
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .arg(suite)
        .arg(staging.root())
        .args(mirror);
    command.stdin(std::process::Stdio::null());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if let Err(fault) = work.check() {
            if let Ok(pid) = i32::try_from(child.id()) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            }
            child.wait()?;
            return Err(fault.into());
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    if !status.success() {
        bail!("{program} failed ({status}); what it says is above");
    }
    // It makes more devices than a vserver may have.
    tree::remove(&staging.root().join("dev"), &mut || Ok(()))?;
    let Size { entries, bytes } = tree::measure(
        &staging.open()?,
        &Options {
            choose: &|_, _| Choice::Copy,
            never: &[],
        },
    )?;
    work.say(&format!(
        "{program} made {entries} files, {}",
        HumanBytes(bytes)
    ))?;
    Ok(Statistics {
        files: entries,
        bytes,
        ..Statistics::default()
    })
}
