// SPDX-License-Identifier: GPL-2.0

//! Overlays: they have a directory of that mode themselves.

use super::*;

/// An overlay has a directory of that mode for itself: who is inside writes to it as ever.
pub fn writable() -> Outcome {
    child(|| {
        place("overlay", || {
            fs::create_dir(format!("{PLACE}/lower/folder")).map_err(words)?;
            for file in ["file", "gone", "folder/file"] {
                fs::write(format!("{PLACE}/lower/{file}"), "x").map_err(words)?;
            }
            Ok(())
        })?;
        inside(100, || {
            fs::write(format!("{TOP}/file"), "copied up").map_err(words)?;
            fs::write(format!("{TOP}/folder/file"), "too").map_err(words)?;
            fs::remove_file(format!("{TOP}/gone")).map_err(words)?;
            fs::write(format!("{TOP}/gone"), "back").map_err(words)?;
            fs::create_dir(format!("{TOP}/folder/new")).map_err(words)?;
            // By its own path it is a barrier like any other.
            refused(
                "the work",
                fs::read_dir(Path::new(PLACE).join("work").join("work")),
            )
        })?;
        Ok(String::new())
    })
    .map(drop)
}

/// The overlay's own directory of that mode is told by its name and place. So nobody inside gives a barrier
/// that name: an overlay that is made around it would walk into it, and clear it out.
pub fn not_their_work() -> Outcome {
    inside(100, || {
        let (named, upper) = (format!("{TOP}/work"), format!("{TOP}/upper"));
        fs::create_dir(&upper).map_err(words)?;
        for name in ["work", "index"] {
            let to = format!("{TOP}/{name}");
            refused(name, fs::rename(WALL, &to))?;
            fs::create_dir(&to).map_err(words)?;
            denied(name, exchange(WALL, &to))?;
            denied(name, exchange(&to, WALL))?;
            fs::remove_dir(&to).map_err(words)?;
        }
        // What an overlay does to a directory of this name that is there already.
        fs::create_dir_all(format!("{named}/x")).map_err(words)?;
        fs::write(format!("{named}/x/file"), "x").map_err(words)?;
        let layers = format!("lowerdir={PLACE}/lower,upperdir={upper},workdir={TOP}");
        let free = format!("{PLACE}/lower");
        mounted(Some("overlay"), &free, None, MsFlags::empty(), &layers)?;
        equal("cleared", Path::new(&named).join("x").exists(), false)?;
        // Another name does not matter.
        let other = format!("{TOP}/other");
        fs::rename(WALL, &other).map_err(words)?;
        refused("renamed", fs::read_dir(&other))?;
        fs::rename(&other, WALL).map_err(words)
    })
}

/// renameat2 with RENAME_EXCHANGE.
fn exchange(from: &str, to: &str) -> Result<(), Errno> {
    let here = nix::fcntl::AT_FDCWD;
    let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
    nix::fcntl::renameat2(here, from, here, to, flags)
}
