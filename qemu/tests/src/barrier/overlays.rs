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
    // Below the root of the file system, as all of it cannot be given to an overlay.
    let around = format!("{TOP}/around");
    let wall = format!("{around}/wall");
    fs::create_dir_all(format!("{wall}/one")).map_err(words)?;
    fs::set_permissions(&wall, Permissions::from_mode(0o000)).map_err(words)?;
    inside(100, || {
        for name in ["work", "index"] {
            let to = format!("{around}/{name}");
            refused(name, fs::rename(&wall, &to))?;
            fs::create_dir(&to).map_err(words)?;
            denied(name, exchange(&wall, &to))?;
            denied(name, exchange(&to, &wall))?;
            fs::remove_dir(&to).map_err(words)?;
        }
        // What happens to a directory of this name that is there already.
        let named = Path::new(&around).join("work").join("one");
        fs::create_dir_all(&named).map_err(words)?;
        let upper = format!("{TOP}/upper");
        fs::create_dir(&upper).map_err(words)?;
        let layers = format!("lowerdir={PLACE}/lower,upperdir={upper},workdir={around}");
        let target = format!("{PLACE}/upper");
        mounted(Some("overlay"), &target, None, MsFlags::empty(), &layers)?;
        equal("cleared", named.exists(), false)?;
        umount2(target.as_str(), MntFlags::MNT_DETACH).map_err(words)?;
        // Another name does not matter.
        let other = format!("{around}/other");
        fs::rename(&wall, &other).map_err(words)?;
        refused("renamed", fs::read_dir(&other))
    })
}

/// renameat2 with RENAME_EXCHANGE.
fn exchange(from: &str, to: &str) -> Result<(), Errno> {
    let here = nix::fcntl::AT_FDCWD;
    let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
    nix::fcntl::renameat2(here, from, here, to, flags)
}
