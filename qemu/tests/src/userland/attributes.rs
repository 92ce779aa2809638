// SPDX-License-Identifier: GPL-2.0

//! `setattr` and `showattr` on files that have such flags.

use super::*;
use crate::{
    filesystem::{mounted, private_mounts},
    fixture::child,
    init::contains,
};
use nix::mount::MsFlags;

pub const TESTS: &[Test] = &[test("userland::attributes", 60, attributes)];

const PLACE: &str = "/tmp/attributes";

fn said(line: &[&str], code: i32) -> Result<String, String> {
    let ran = Command::new(line[0])
        .args(&line[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(words)?;
    let text = String::from_utf8_lossy(&[&ran.stdout[..], &ran.stderr[..]].concat()).into_owned();
    equal(&format!("{line:?}: {text}"), ran.status.code(), Some(code))?;
    Ok(text)
}

fn attributes() -> Outcome {
    until_empty()?;
    let all = || {
        private_mounts()?;
        fs::create_dir_all(PLACE).map_err(words)?;
        mounted(Some("tmpfs"), PLACE, None, MsFlags::empty(), "")?;
        let file = format!("{PLACE}/file");
        let other = format!("{PLACE}/other");
        for path in [&file, &other] {
            fs::write(path, "before").map_err(words)?;
        }
        let shown = said(&["showattr", &file], 0)?;
        ensure(&shown, shown.starts_with("- "))?;
        said(&["setattr", "--immutable", &file], 0)?;
        let shown = said(&["showattr", &file, &other], 0)?;
        contains(&shown, &["immutable "])?;
        equal("one of two", shown.matches("immutable").count(), 1)?;
        ensure("it cannot be written", fs::write(&file, "after").is_err())?;
        ensure("it cannot be removed", fs::remove_file(&file).is_err())?;
        // Nor by root in a context, who cannot make it mutable.
        let inside = ["chcontext", "--silent", "--secure"];
        let line = [&inside[..], &["setattr", "--mutable", &file]].concat();
        contains(&said(&line, 1)?, &[&file])?;
        let line = [&inside[..], &["rm", "-f", &file]].concat();
        said(&line, 1)?;
        contains(&said(&["showattr", &file], 0)?, &["immutable "])?;
        // One that fails does not spare the others, and what is no file is named.
        let shown = said(&["setattr", "--mutable", "/dev/null", "/nowhere", &file], 1)?;
        contains(&shown, &["/dev/null is neither", "/nowhere"])?;
        fs::write(&file, "after").map_err(words)?;
        said(&["setattr", "--immulink", &file], 1)?;
        // What a link leads to stays as it is.
        std::os::unix::fs::symlink(&file, format!("{PLACE}/link")).map_err(words)?;
        said(&["setattr", "--immutable", &format!("{PLACE}/link")], 1)?;
        fs::remove_file(&file).map_err(words)?;
        Ok(String::new())
    };
    child(all).map(drop)
}
