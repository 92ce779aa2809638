// SPDX-License-Identifier: GPL-2.0

//! How an archive is compressed: recognised by its first bytes when read, by the name's ending when written.

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use liblzma::read::XzDecoder;
use liblzma::write::XzEncoder;
use std::fmt;
use std::io::{self, Chain, Cursor, Read, Write};
use std::path::Path;

/// How it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// The first bytes that tell.
const MAGIC: [(&[u8], Compression); 3] = [
    (&[0x1f, 0x8b], Compression::Gzip),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0], Compression::Xz),
    (&[0x28, 0xb5, 0x2f, 0xfd], Compression::Zstd),
];

impl Compression {
    /// By the ending of a name; `None`: it says nothing.
    pub fn of_name(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "tar" => Some(Self::None),
            "gz" | "tgz" => Some(Self::Gzip),
            "xz" | "txz" => Some(Self::Xz),
            "zst" | "tzst" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// A writer that compresses.
    pub fn writer<W: Write>(self, out: W) -> io::Result<Compressor<W>> {
        Ok(match self {
            Self::None => Compressor::None(out),
            Self::Gzip => Compressor::Gzip(GzEncoder::new(out, flate2::Compression::default())),
            Self::Xz => Compressor::Xz(XzEncoder::new(out, 6)),
            Self::Zstd => {
                let mut encoder = zstd::Encoder::new(out, 3)?;
                encoder.include_checksum(true)?;
                Compressor::Zstd(encoder)
            }
        })
    }
}

/// Compresses what is written.
pub enum Compressor<W: Write> {
    /// As it is.
    None(W),
    /// gzip.
    Gzip(GzEncoder<W>),
    /// xz.
    Xz(XzEncoder<W>),
    /// Zstandard.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Writes the end of it.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(out) => out.finish(),
            Self::Xz(out) => out.finish(),
            Self::Zstd(out) => out.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Xz(out) => out.write(bytes),
            Self::Zstd(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::None(out) => out.flush(),
            Self::Gzip(out) => out.flush(),
            Self::Xz(out) => out.flush(),
            Self::Zstd(out) => out.flush(),
        }
    }
}

/// What is read after it was looked at.
type Peeked<R> = Chain<Cursor<Vec<u8>>, R>;

/// A reader of what is compressed in another one.
pub(super) fn open<'a, R: Read + 'a>(mut from: R) -> io::Result<Box<dyn Read + 'a>> {
    let mut start = Vec::new();
    from.by_ref().take(6).read_to_end(&mut start)?;
    if start.starts_with(b"BZh") {
        return Err(io::Error::other(
            "it is compressed by bzip2; give it without, or by gzip, xz or zstd",
        ));
    }
    let found = MAGIC.iter().find(|(magic, _)| start.starts_with(magic));
    let whole: Peeked<R> = Cursor::new(start).chain(from);
    Ok(match found.map(|(_, compression)| compression) {
        Some(Compression::Gzip) => Box::new(MultiGzDecoder::new(whole)),
        Some(Compression::Xz) => Box::new(XzDecoder::new_multi_decoder(whole)),
        Some(Compression::Zstd) => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}
