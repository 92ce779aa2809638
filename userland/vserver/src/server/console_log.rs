// SPDX-License-Identifier: GPL-2.0

//! What a console has shown, in a file of bounded size and one older one.

use std::ffi::OsString;
use std::fs;
use std::fs::File;
use std::io;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::path::PathBuf;

/// How much of the end is kept at hand for who attaches, and for messages.
const TAIL: usize = 16 << 10;

/// The log.
#[derive(Debug)]
pub(crate) struct ConsoleLog {
    path: PathBuf,
    file: File,
    size: u64,
    most: u64,
    tail: Vec<u8>,
}

impl ConsoleLog {
    /// Goes on with the file; a full one is put aside.
    pub(crate) fn open(path: &Path, most: u64) -> io::Result<Self> {
        let file = open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
            most,
            tail: Vec::new(),
        })
    }

    /// Adds what was shown. A full disk costs the log, not the vserver.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        if self.size + bytes.len() as u64 > self.most {
            let _ = self.rotate();
        }
        if self.file.write_all(bytes).is_ok() {
            self.size += bytes.len() as u64;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, older(&self.path))?;
        self.file = open(&self.path)?;
        self.size = 0;
        Ok(())
    }

    /// The end of what was shown since the log was opened.
    pub(crate) fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The last lines of it, as text.
    pub(crate) fn last_lines(&self, count: usize) -> Vec<String> {
        let text: String = String::from_utf8_lossy(&self.tail)
            .chars()
            .filter(|char| !char.is_control() || *char == '\n')
            .collect();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let first = lines.len().saturating_sub(count);
        lines[first..].iter().map(ToString::to_string).collect()
    }
}

/// Where the older one is.
pub(crate) fn older(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn open(path: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_with_one_older() {
        let path = std::env::temp_dir().join(format!("vserver-log-{}", std::process::id()));
        let old = older(&path);
        let mut log = ConsoleLog::open(&path, 100).unwrap();
        for number in 0..50 {
            log.add(format!("line {number:02}\r\n").as_bytes());
            assert!(fs::metadata(&path).unwrap().len() <= 100);
        }
        assert!(fs::metadata(&old).unwrap().len() <= 100);
        assert_eq!(log.last_lines(2), ["line 48", "line 49"]);
        drop(log);
        let log = ConsoleLog::open(&path, 100).unwrap();
        assert!(log.size > 0 && log.tail().is_empty());
        fs::remove_file(&path).unwrap();
        fs::remove_file(&old).unwrap();
    }
}
