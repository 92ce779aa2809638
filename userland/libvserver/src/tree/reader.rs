// SPDX-License-Identifier: GPL-2.0

//! Reading a tar archive entry by entry: ustar, GNU and PAX, with values of PAX that are not text.

use std::collections::BTreeMap;
use std::io::{self, Read};
use tar::{EntryType, Header};

/// The size of a block.
const BLOCK: u64 = 512;

/// No record of names and attributes is longer.
const RECORDS_MAX: u64 = 1 << 20;

/// One entry. Its content is read by [`Reader::content`].
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: EntryType,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, u32),
    pub(super) device: (u32, u32),
    pub(super) attributes: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the file, and where its parts are when it has holes.
    pub(super) length: u64,
    pub(super) parts: Option<Vec<(u64, u64)>>,
}

/// The archive.
pub(super) struct Reader<R> {
    from: R,
    /// What is left of the present entry, with what fills its last block.
    left: u64,
    fill: u64,
    shared: BTreeMap<Vec<u8>, Vec<u8>>,
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            left: 0,
            fill: 0,
            shared: BTreeMap::new(),
        }
    }

    fn block(&mut self) -> io::Result<[u8; BLOCK as usize]> {
        let mut block = [0; BLOCK as usize];
        self.from
            .read_exact(&mut block)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => wrong("the archive ends too early"),
                _ => error,
            })?;
        Ok(block)
    }

    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left + self.fill;
        (self.left, self.fill) = (0, 0);
        match io::copy(&mut (&mut self.from).take(rest), &mut io::sink())? == rest {
            true => Ok(()),
            false => Err(wrong("the archive ends too early")),
        }
    }

    fn begin(&mut self, length: u64) {
        self.left = length;
        self.fill = (BLOCK - length % BLOCK) % BLOCK;
    }

    fn records(&mut self, length: u64) -> io::Result<Vec<u8>> {
        if length > RECORDS_MAX {
            return Err(wrong("a name or the attributes of an entry are too long"));
        }
        self.begin(length);
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes)?;
        match bytes.len() as u64 == length {
            true => Ok(bytes),
            false => Err(wrong("the archive ends too early")),
        }
    }

    /// The content of the present entry.
    pub(super) fn content(&mut self) -> Content<'_, R> {
        Content(self)
    }

    /// The next entry; `None` after the last one. The rest of what the reader has is read then.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut own = BTreeMap::new();
        let (mut path, mut link) = (None, None);
        loop {
            self.skip()?;
            let block = self.block()?;
            if block.iter().all(|byte| *byte == 0) {
                // The end; whoever writes to a pipe must not be left alone with the rest.
                io::copy(&mut self.from, &mut io::sink())?;
                return Ok(None);
            }
            let header = Header::from_byte_slice(&block);
            if header.cksum().ok() != Some(checksum(&block)) {
                return Err(wrong("it is no tar archive, neither plain nor by gzip, xz or zstd, or is damaged; \"file\" tells what it is"));
            }
            let length = header.entry_size()?;
            match header.entry_type() {
                EntryType::XGlobalHeader => {
                    let records = self.records(length)?;
                    parse_records(&records, &mut self.shared)?;
                }
                EntryType::XHeader => {
                    let records = self.records(length)?;
                    parse_records(&records, &mut own)?;
                }
                EntryType::GNULongName => path = Some(text(self.records(length)?)),
                EntryType::GNULongLink => link = Some(text(self.records(length)?)),
                _ => {
                    let mut all = self.shared.clone();
                    all.append(&mut own);
                    return self.entry(header, path, link, &all).map(Some);
                }
            }
        }
    }

    fn entry(
        &mut self,
        header: &Header,
        path: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
        records: &BTreeMap<Vec<u8>, Vec<u8>>,
    ) -> io::Result<Entry> {
        let record = |name: &str| records.get(name.as_bytes());
        let number = |name: &str| -> io::Result<Option<u64>> {
            let Some(value) = record(name) else {
                return Ok(None);
            };
            let text = std::str::from_utf8(value).ok();
            match text.and_then(|text| text.parse().ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong("a number in the archive is none")),
            }
        };
        if records.keys().any(|key| key.starts_with(b"GNU.sparse.")) {
            return Err(wrong(
                "it has files with holes in the way of PAX; make it with --format=gnu, or without --sparse",
            ));
        }
        let path = record("path").cloned().or(path);
        let link = record("linkpath").cloned().or(link);
        let id = |value: u64| u32::try_from(value).map_err(|_| wrong("an owner is out of range"));
        let stored = number("size")?.map_or_else(|| header.entry_size(), Ok)?;
        let modified = match record("mtime").and_then(|value| time(value)) {
            Some(time) => time,
            None => (i64::try_from(header.mtime()?).unwrap_or(0), 0),
        };
        let kind = header.entry_type();
        let mut entry = Entry {
            kind,
            path: path.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: link
                .or_else(|| header.link_name_bytes().map(|name| name.into_owned()))
                .unwrap_or_default(),
            mode: header.mode()? & 0o7777,
            owner: id(number("uid")?.map_or_else(|| header.uid(), Ok)?)?,
            group: id(number("gid")?.map_or_else(|| header.gid(), Ok)?)?,
            modified,
            device: (
                header.device_major().ok().flatten().unwrap_or(0),
                header.device_minor().ok().flatten().unwrap_or(0),
            ),
            attributes: records
                .iter()
                .filter_map(|(name, value)| {
                    Some((name.strip_prefix(b"SCHILY.xattr.")?.to_vec(), value.clone()))
                })
                .collect(),
            length: stored,
            parts: None,
        };
        if kind == EntryType::GNUSparse {
            let parts = self.parts(header, stored)?;
            let gnu = header
                .as_gnu()
                .ok_or_else(|| wrong("a file with holes is damaged"))?;
            entry.length = gnu.real_size()?;
            if parts
                .iter()
                .any(|(at, size)| at.saturating_add(*size) > entry.length)
            {
                return Err(wrong("a file with holes is damaged"));
            }
            entry.parts = Some(parts);
        }
        // Of the others, old archives give the size of what a link leads to, though nothing follows.
        let has_content = matches!(
            kind,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse
        ) || !matches!(
            kind,
            EntryType::Link
                | EntryType::Symlink
                | EntryType::Char
                | EntryType::Block
                | EntryType::Directory
                | EntryType::Fifo
        );
        self.begin(if has_content { stored } else { 0 });
        Ok(entry)
    }

    /// Where the parts of a file with holes are.
    fn parts(&mut self, header: &Header, stored: u64) -> io::Result<Vec<(u64, u64)>> {
        let damaged = || wrong("a file with holes is damaged");
        let gnu = header.as_gnu().ok_or_else(damaged)?;
        let mut parts = Vec::new();
        let take = |parts: &mut Vec<(u64, u64)>, sparse: &[tar::GnuSparseHeader]| {
            for one in sparse.iter().filter(|one| !one.is_empty()) {
                parts.push((one.offset()?, one.length()?));
            }
            io::Result::Ok(())
        };
        take(&mut parts, &gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut next = tar::GnuExtSparseHeader::new();
            next.as_mut_bytes().copy_from_slice(&self.block()?);
            take(&mut parts, next.sparse())?;
            more = next.is_extended();
            if parts.len() > 1 << 20 {
                return Err(damaged());
            }
        }
        let mut end = 0_u64;
        let mut sum = 0_u64;
        for (at, size) in &parts {
            if *at < end {
                return Err(damaged());
            }
            end = at.checked_add(*size).ok_or_else(damaged)?;
            sum += size;
        }
        match sum == stored {
            true => Ok(parts),
            false => Err(damaged()),
        }
    }
}

/// Reads the content of the present entry.
pub(super) struct Content<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.0.left)
            .unwrap_or(buffer.len())
            .min(buffer.len());
        // A decompressor that is asked for nothing makes no progress, which it calls an error.
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.0.from.read(&mut buffer[..wanted])?;
        if read == 0 {
            return Err(wrong("the archive ends too early"));
        }
        self.0.left -= read as u64;
        Ok(read)
    }
}

/// The sum of the bytes of a header, its own field taken as blanks.
fn checksum(block: &[u8]) -> u32 {
    block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..=155 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum()
}

/// Up to the zero byte that ends it.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

/// `LENGTH NAME=VALUE\n`, one after the other. The length counts, not what the value has in it.
fn parse_records(mut bytes: &[u8], into: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> io::Result<()> {
    let damaged = || wrong("the attributes of an entry are damaged");
    while !bytes.is_empty() {
        let blank = bytes
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(damaged)?;
        let length: usize = std::str::from_utf8(&bytes[..blank])
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(damaged)?;
        if length > bytes.len() || length < blank + 3 || bytes[length - 1] != b'\n' {
            return Err(damaged());
        }
        let record = &bytes[blank + 1..length - 1];
        let equals = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or_else(damaged)?;
        into.insert(record[..equals].to_vec(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Ok(())
}

/// Seconds with a fraction.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    // -1.5 is half a second before -1.
    match text.starts_with('-') && nanoseconds > 0 {
        true => Some((seconds - 1, 1_000_000_000 - nanoseconds)),
        false => Some((seconds, nanoseconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_anything() {
        let mut all = BTreeMap::new();
        parse_records(b"12 path=a\nb\n8 a=\n\xff\0\n", &mut all).unwrap();
        assert_eq!(all[&b"path"[..]], b"a\nb");
        assert_eq!(all[&b"a"[..]], b"\n\xff\0");
        for bytes in [
            &b"x a=b\n"[..],
            b"99 a=b\n",
            b"0 a=b\n",
            b"6 a=bc\n",
            b"6 abc\n",
        ] {
            assert!(parse_records(bytes, &mut BTreeMap::new()).is_err());
        }
    }

    #[test]
    fn times_have_fractions() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"x"), None);
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_an_error_and_no_panic(
            mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 512..4096),
            sound: bool,
        ) {
            if sound {
                let sum = checksum(&bytes[..512]);
                bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
            let mut reader = Reader::new(&bytes[..]);
            while let Ok(Some(_)) = reader.next() {
                let _ = io::copy(&mut reader.content(), &mut io::sink());
            }
        }
    }
}
