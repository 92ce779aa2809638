// SPDX-License-Identifier: GPL-2.0

//! `vserver barrier`: whether the directory of the vservers is closed to whoever is in a context, and
//! close it.

use super::Verb;
use crate::announce::announce;
use crate::exit_codes;
use anyhow::bail;
use anyhow::Context;
use clap::Parser;
use std::fs;
use std::fs::DirBuilder;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;

/// The permission bits.
const MODE: u32 = 0o7777;

/// Check, or set, the barrier around the vservers
///
/// A directory with the permission bits 000 cannot be entered, listed or walked through by anybody
/// in a context, whatever his capabilities; the host is not concerned. The exit code is 0 when
/// the directory is such a barrier, and 1 when it is not.
#[derive(Debug, Parser)]
#[command(name = "barrier", max_term_width = 100)]
pub(crate) struct Barrier {
    /// Make it one, and make the directory first when there is none
    #[arg(long)]
    set: bool,

    /// The directory
    #[arg(default_value = "/vservers")]
    directory: PathBuf,
}

impl Verb for Barrier {
    fn run(&self) -> anyhow::Result<u8> {
        let shown = self.directory.display();
        if self.set {
            set(&self.directory).with_context(|| format!("cannot make {shown} a barrier"))?;
        }
        match mode(&self.directory)? {
            0 => {
                announce(format_args!("{shown} is a barrier (mode 000)"))?;
                Ok(exit_codes::SUCCESS)
            }
            mode => bail!(
                "{shown} has mode {mode:03o}: whoever gets out of the directory of a vserver \
                 reaches all others; close it with \"vserver barrier --set {shown}\""
            ),
        }
    }
}

/// The permission bits of a directory, and not of what a link leads to.
fn mode(directory: &Path) -> anyhow::Result<u32> {
    let shown = directory.display();
    match fs::symlink_metadata(directory) {
        Ok(data) if data.is_dir() => Ok(data.permissions().mode() & MODE),
        Ok(_) => bail!("{shown} is not a directory; name the directory of the vservers"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "there is no {shown}; make it with \"vserver barrier --set {shown}\", or name another"
        ),
        Err(error) => Err(error).with_context(|| format!("cannot look at {shown}")),
    }
}

fn set(directory: &Path) -> io::Result<()> {
    match fs::symlink_metadata(directory) {
        Ok(data) if data.is_dir() => fs::set_permissions(directory, Permissions::from_mode(0o000)),
        Ok(_) => Err(io::ErrorKind::NotADirectory.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Never open, not even for a moment.
            DirBuilder::new().mode(0o000).create(directory)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_and_found() {
        let place = std::env::temp_dir().join(format!("vserver-barrier-{}", std::process::id()));
        let error = mode(&place).unwrap_err().to_string();
        assert!(error.starts_with("there is no "), "{error}");
        set(&place).unwrap();
        assert_eq!(mode(&place).unwrap(), 0);
        fs::set_permissions(&place, Permissions::from_mode(0o755)).unwrap();
        assert_eq!(mode(&place).unwrap(), 0o755);
        set(&place).unwrap();
        assert_eq!(mode(&place).unwrap(), 0);
        fs::remove_dir(&place).unwrap();
        fs::write(&place, "").unwrap();
        let error = mode(&place).unwrap_err().to_string();
        assert!(error.contains("is not a directory"), "{error}");
        assert!(set(&place).is_err());
        fs::remove_file(&place).unwrap();
    }
}
