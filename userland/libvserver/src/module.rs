// SPDX-License-Identifier: GPL-2.0

//! The file of the module that the next load takes, beside the module that is loaded.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What identifies the build of the loaded module, as the linker has put it into its file too.
const NOTE: &str = "/sys/module/vserver/notes/.note.gnu.build-id";

/// What the module says of itself in its file.
const TAG: &[u8] = b"vserver_abi=";

/// No module is larger.
const LIMIT: u64 = 64 << 20;

/// The module that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its file.
    pub path: PathBuf,
    /// The version of its ABI, if it says so.
    pub abi_version: Option<u32>,
    /// Whether it is the one that is loaded; `None`: that cannot be known.
    pub is_loaded: Option<bool>,
}

/// Looks for it, as `modprobe` does; `None`: there is none, or it cannot be read.
pub fn installed() -> Option<Installed> {
    let said = Command::new("modinfo")
        .args(["-n", "vserver"])
        .output()
        .ok()?;
    let path = String::from_utf8(said.stdout).ok()?;
    let path = PathBuf::from(path.trim());
    let file = content(&path)?;
    let note = fs::read(NOTE).ok();
    Some(Installed {
        abi_version: abi_version(&file),
        is_loaded: note.map(|note| contains(&file, &note)),
        path,
    })
}

/// The content of a file that may be compressed.
fn content(path: &Path) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    let mut plain: Box<dyn Read> = match path.extension()?.to_str()? {
        "xz" => Box::new(liblzma::read::XzDecoder::new(file)),
        "gz" => Box::new(flate2::read::GzDecoder::new(file)),
        "zst" => Box::new(zstd::stream::read::Decoder::new(file).ok()?),
        _ => Box::new(file),
    };
    let mut content = Vec::new();
    plain.by_ref().take(LIMIT).read_to_end(&mut content).ok()?;
    Some(content)
}

fn position(file: &[u8], part: &[u8]) -> Option<usize> {
    file.windows(part.len()).position(|window| window == part)
}

fn contains(file: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && position(file, part).is_some()
}

fn abi_version(file: &[u8]) -> Option<u32> {
    let value = &file[position(file, TAG)? + TAG.len()..];
    let end = value.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&value[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says() {
        assert_eq!(
            abi_version(b"\x7fELF\0license=GPL\0vserver_abi=2\0x"),
            Some(2)
        );
        for file in [
            &b""[..],
            b"vserver_abi=",
            b"vserver_abi=2",
            b"vserver_abi=x\0",
        ] {
            assert_eq!(abi_version(file), None);
        }
        assert!(contains(b"abcd", b"bc") && !contains(b"abcd", b"bd"));
        assert!(!contains(b"abcd", b""));
    }
}
