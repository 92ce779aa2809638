// SPDX-License-Identifier: GPL-2.0

//! `showattr` and `setattr`: the flags of files that nobody in a vserver can take off.

use super::Verb;
use crate::exit_codes;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use rustix::fs::IFlags;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

/// Show which files cannot be changed
///
/// For each file: whether it is immutable, and whether it can only grow. Files that are linked between vservers have no mark
/// of their own on this kernel.
#[derive(Debug, Parser)]
#[command(name = "showattr", max_term_width = 100)]
pub(crate) struct Showattr {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Have files that cannot be changed
///
/// An immutable file can be neither written, renamed, removed nor linked to. Who lacks CAP_LINUX_IMMUTABLE, as everybody in
/// a vserver does, cannot make it mutable again.
#[derive(Debug, Parser)]
#[command(name = "setattr", max_term_width = 100)]
pub(crate) struct Setattr {
    /// Make them immutable
    #[arg(long, required_unless_present_any = ["mutable", "immulink"])]
    immutable: bool,

    /// Make them mutable again
    #[arg(long, conflicts_with = "immutable")]
    mutable: bool,

    /// Let a file that is immutable be replaced: this kernel has no such mark, so it is refused
    #[arg(long, conflicts_with = "mutable")]
    immulink: bool,

    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// A file of its own: neither what a link leads to nor what waits when it is opened, as a FIFO does.
fn open(path: &Path) -> anyhow::Result<File> {
    let shown = path.display();
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let data =
        std::fs::symlink_metadata(path).with_context(|| format!("cannot look at {shown}"))?;
    // Opening a device can already do something.
    if !data.is_file() && !data.is_dir() {
        bail!("{shown} is neither a file nor a directory, so it has no such flags; name others");
    }
    let file = rustix::fs::open(path, flags, Mode::empty())
        .with_context(|| format!("cannot open {shown}"))?;
    let file = File::from(file);
    let data = file
        .metadata()
        .with_context(|| format!("cannot look at {shown}"))?;
    if !data.is_file() && !data.is_dir() {
        bail!("{shown} has been replaced meanwhile; try again");
    }
    Ok(file)
}

fn flags_of(file: &File, path: &Path) -> anyhow::Result<IFlags> {
    rustix::fs::ioctl_getflags(file).with_context(|| {
        format!(
            "the file system of {} has no flags of files; ext4, xfs and btrfs have",
            path.display()
        )
    })
}

/// In words.
fn words(flags: IFlags) -> String {
    let known = [
        (IFlags::IMMUTABLE, "immutable"),
        (IFlags::APPEND, "append-only"),
    ];
    let set: Vec<&str> = known
        .iter()
        .filter(|(flag, _)| flags.contains(*flag))
        .map(|(_, word)| *word)
        .collect();
    match set.is_empty() {
        true => "-".to_owned(),
        false => set.join(","),
    }
}

/// Does something with each file. One that fails does not spare the others; the code tells of it.
fn each(
    program: &str,
    files: &[PathBuf],
    mut act: impl FnMut(&File, &Path) -> anyhow::Result<()>,
) -> u8 {
    let mut code = exit_codes::SUCCESS;
    for path in files {
        if let Err(error) = open(path).and_then(|file| act(&file, path)) {
            eprintln!("{program}: {error:#}");
            code = exit_codes::FAILURE;
        }
    }
    code
}

impl Verb for Showattr {
    fn run(&self) -> anyhow::Result<u8> {
        let mut out = io::stdout().lock();
        let code = each("showattr", &self.files, |file, path| {
            let words = words(flags_of(file, path)?);
            writeln!(out, "{words:<21} no unification mark  {}", path.display())?;
            Ok(())
        });
        Ok(code)
    }
}

impl Verb for Setattr {
    fn run(&self) -> anyhow::Result<u8> {
        if self.immulink {
            bail!(
                "--immulink: this kernel has no mark for files that may be replaced though they are immutable; nothing was \
                 changed; use --immutable alone"
            );
        }
        Ok(each("setattr", &self.files, |file, path| {
            let before = flags_of(file, path)?;
            let mut wanted = before;
            wanted.set(IFlags::IMMUTABLE, self.immutable);
            if wanted != before {
                rustix::fs::ioctl_setflags(file, wanted).with_context(|| {
                    format!(
                        "cannot change the flags of {}; it takes root with CAP_LINUX_IMMUTABLE",
                        path.display()
                    )
                })?;
            }
            Ok(())
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_in_words() {
        assert_eq!(words(IFlags::empty()), "-");
        assert_eq!(words(IFlags::NOATIME), "-");
        assert_eq!(
            words(IFlags::IMMUTABLE | IFlags::APPEND),
            "immutable,append-only"
        );
    }

    #[test]
    fn only_files_and_directories_are_opened() {
        let error = open(Path::new("/dev/null")).unwrap_err().to_string();
        assert!(error.starts_with("/dev/null is neither"), "{error}");
        let error = open(Path::new("/proc/self/exe")).unwrap_err().to_string();
        assert!(error.starts_with("/proc/self/exe is neither"), "{error}");
        assert!(open(Path::new("/tmp")).is_ok());
    }

    #[test]
    fn what_there_is_no_mark_for_is_refused() {
        let parse = |line: &str| Setattr::try_parse_from(line.split(' '));
        let verb = parse("setattr --immutable --immulink /nowhere").unwrap();
        let error = verb.run().unwrap_err().to_string();
        assert!(error.contains("nothing was changed"), "{error}");
        assert!(parse("setattr /tmp").is_err());
        assert!(parse("setattr --immutable --mutable /tmp").is_err());
        assert!(parse("setattr --immutable").is_err());
    }
}
