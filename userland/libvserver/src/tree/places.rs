// SPDX-License-Identifier: GPL-2.0

//! What of `/dev` a vserver has.

use super::folder::Folder;
use super::Fault;
use crate::dev_nodes::{Node, LINKS, NODES, PTMX};
use rustix::fs::{self, FileType, Mode};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::path::Path;

/// The devices that a tree on disk may have.
fn nodes() -> impl Iterator<Item = Node> {
    NODES.into_iter().chain([PTMX])
}

/// Whether a vserver may have this device at this place.
pub fn is_allowed_device(path: &Path, kind: FileType, device: u64) -> bool {
    kind == FileType::CharacterDevice
        && nodes().any(|node| path == Path::new("dev").join(node.name) && node.number() == device)
}

/// Makes the directory `/dev` of a tree with the few devices that a vserver has. What is there in the place of one is
/// taken away. Returns how many were made.
pub fn make_devices(root: &Folder) -> Result<u64, Fault> {
    let failed = |what: &str| {
        let what = format!("make /{what} of the new vserver");
        move |errno: Errno| Fault::new(what.clone(), errno)
    };
    let name = OsStr::new("dev");
    let dev = match root.child(name) {
        Ok(dev) => dev,
        Err(Errno::NOENT) => root.new_folder(name).map_err(failed("dev"))?,
        // A link or a file.
        Err(Errno::NOTDIR | Errno::LOOP) => {
            fs::unlinkat(root, name, fs::AtFlags::empty()).map_err(failed("dev"))?;
            root.new_folder(name).map_err(failed("dev"))?
        }
        Err(errno) => return Err(failed("dev")(errno)),
    };
    fs::fchmod(&dev, Mode::from_raw_mode(0o755)).map_err(failed("dev"))?;
    for below in ["pts", "shm"] {
        match fs::mkdirat(&dev, below, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed(&format!("dev/{below}"))(errno)),
        }
    }
    let mut made = 0;
    for node in nodes() {
        let name = node.name;
        let error = failed(&format!("dev/{name}"));
        let number = node.number();
        match dev.stat(OsStr::new(name)) {
            Ok(seen)
                if FileType::from_raw_mode(seen.st_mode) == FileType::CharacterDevice
                    && seen.st_rdev == number =>
            {
                continue
            }
            Ok(_) => super::remove::remove_name(&dev, OsStr::new(name))?,
            Err(_) => {}
        }
        let mode = Mode::from_raw_mode(0o666);
        fs::mknodat(&dev, name, FileType::CharacterDevice, mode, number).map_err(&error)?;
        // Whatever the umask is.
        fs::chmodat(&dev, name, mode, fs::AtFlags::empty()).map_err(&error)?;
        made += 1;
    }
    for (name, target) in LINKS {
        if dev.stat(OsStr::new(name)).is_err() {
            fs::symlinkat(target, &dev, name).map_err(failed(&format!("dev/{name}")))?;
        }
    }
    Ok(made)
}
