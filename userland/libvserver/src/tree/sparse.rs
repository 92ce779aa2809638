// SPDX-License-Identifier: GPL-2.0

//! The content of one file to another: shared where the file system can, holes kept.

use rustix::fs::{self, SeekFrom};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Seek, Write};

/// So much is read at a time, and told.
const PIECE: usize = 1 << 20;

/// What is all zero is a hole, in such blocks.
const BLOCK: usize = 4096;

/// Copies a file; `step` is told how many bytes were copied.
pub(super) fn copy(
    from: &File,
    to: &mut File,
    step: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<()> {
    let length = from.metadata()?.len();
    if length == 0 {
        // What the kernel makes as it is read says that it is empty; it is no part of a tree.
        return Ok(());
    }
    if fs::ioctl_ficlone(&*to, from).is_ok() {
        return step(length);
    }
    let mut at = 0;
    while at < length {
        let start = match fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
            Err(errno) => return Err(errno.into()),
        };
        let end = match fs::seek(from, SeekFrom::Hole(start)) {
            Ok(end) if end > start => end,
            _ => length,
        };
        at = start;
        while at < end {
            let copied = piece(from, to, at, end - at)?;
            if copied == 0 {
                // It has become shorter.
                return to.set_len(at);
            }
            at += copied;
            step(copied)?;
        }
    }
    to.set_len(at.max(length))
}

/// Copies some bytes at a place.
fn piece(from: &File, to: &mut File, at: u64, wanted: u64) -> io::Result<u64> {
    let (mut source, mut target) = (at, at);
    let size = usize::try_from(wanted).unwrap_or(PIECE).min(PIECE);
    match fs::copy_file_range(from, Some(&mut source), &*to, Some(&mut target), size) {
        Ok(copied) if copied > 0 => return Ok(copied as u64),
        Ok(_)
        | Err(
            Errno::XDEV
            | Errno::INVAL
            | Errno::OPNOTSUPP
            | Errno::NOSYS
            | Errno::IO
            | Errno::PERM
            | Errno::BADF,
        ) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut buffer = vec![0; size.min(1 << 17)];
    let read = rustix::io::pread(from, &mut buffer, at)?;
    to.seek(io::SeekFrom::Start(at))?;
    to.write_all(&buffer[..read])?;
    Ok(read as u64)
}

/// Writes what a reader has; blocks of zeros become holes.
pub(super) fn fill(
    from: &mut impl Read,
    to: &mut File,
    step: &mut dyn FnMut(u64) -> io::Result<()>,
) -> io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        if filled == 0 {
            break;
        }
        let mut written = 0;
        for block in buffer[..filled].chunks(BLOCK) {
            if block.iter().all(|byte| *byte == 0) {
                to.seek(io::SeekFrom::Current(block.len() as i64))?;
            } else {
                to.write_all(block)?;
                written += block.len() as u64;
            }
        }
        length += filled as u64;
        step(written)?;
    }
    to.set_len(length)?;
    Ok(length)
}
