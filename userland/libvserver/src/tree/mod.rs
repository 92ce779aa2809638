// SPDX-License-Identifier: GPL-2.0

//! Trees of files: made from another tree, from a tar archive or an image, written as an archive, and removed.
//!
//! Whoever made the source is not trusted, and may change it at the same time. Every directory is held by its
//! descriptor, every name in it is one component, and no link is followed out of the tree.

mod adapt;
mod attributes;
mod compression;
mod copy;
mod digest;
mod folder;
mod measure;
mod oci;
mod pack;
mod places;
mod reader;
mod remove;
mod sparse;
mod unpack;

pub use adapt::adapt;
pub use adapt::make_distinct;
pub use adapt::system_name;
pub use adapt::Packages;
pub use compression::Compression;
pub use copy::copy;
pub use copy::Choice;
pub use copy::Options;
pub use folder::Folder;
pub use measure::alone;
pub use measure::free;
pub use measure::measure;
pub use measure::Size;
pub use oci::unpack_image;
pub use pack::Packer;
pub use places::is_allowed_device;
pub use places::make_devices;
pub use remove::remove;
pub use unpack::unpack;
pub use unpack::Archive;
pub use unpack::Others;

use std::fmt;
use std::io;
use std::path::Path;

/// What went wrong.
#[derive(Debug)]
pub struct Fault {
    /// What could not be done.
    pub what: String,
    /// Why.
    pub source: io::Error,
}

impl Fault {
    fn new(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self {
            what: what.into(),
            source: source.into(),
        }
    }

    /// One that is not the kernel's.
    fn said(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(what, io::Error::other(why.into()))
    }

    /// Somebody wants it to end.
    pub fn interrupted() -> Self {
        Self::new("go on", io::Error::from(io::ErrorKind::Interrupted))
    }

    /// Whether it is that.
    pub fn is_interrupted(&self) -> bool {
        self.source.kind() == io::ErrorKind::Interrupted
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_interrupted() {
            return f.write_str("interrupted");
        }
        write!(f, "cannot {}: {}", self.what, self.source)
    }
}

impl std::error::Error for Fault {}

/// What has been made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Statistics {
    /// Directories created.
    pub directories: u64,
    /// Files copied.
    pub files: u64,
    /// Bytes of them that are not holes.
    pub bytes: u64,
    /// Files linked, also those with several names in the source.
    pub linked: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Pipes and the devices that a vserver may have.
    pub special: u64,
    /// Devices that it may not have, and sockets, which were left out.
    pub skipped: u64,
    /// Extended attributes that the file system does not keep, or that are not for a vserver.
    pub attributes_lost: u64,
}

/// Is told what has been made so far and what is next; an error ends it all.
pub type Observer<'a> = dyn FnMut(&Statistics, &Path) -> Result<(), Fault> + 'a;

/// Directories within directories: no more are gone into.
const DEPTH_MAX: usize = 250;

/// A path in a message.
fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}
