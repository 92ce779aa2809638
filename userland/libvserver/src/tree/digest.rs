// SPDX-License-Identifier: GPL-2.0

//! Digests as images have them: `sha256:` and hexadecimal digits.

use super::Fault;
use sha2::{Digest, Sha256, Sha512};
use std::io::Read;

/// Which one, and its digits, as a path has them.
pub(super) fn split(digest: &str) -> Result<(&str, &str), Fault> {
    let parts = digest.split_once(':');
    let right = |(kind, digits): &(&str, &str)| {
        let length = match *kind {
            "sha256" => 64,
            "sha512" => 128,
            _ => 0,
        };
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        length > 0 && digits.len() == length && digits.bytes().all(is_digit)
    };
    parts.filter(right).ok_or_else(|| {
        Fault::said(
            format!("use the digest {digest:?}"),
            "it is not sha256: or sha512: and digits",
        )
    })
}

/// Checks what a reader has; `step` is called now and then.
pub(super) fn check(
    from: &mut impl Read,
    digest: &str,
    step: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<(), Fault> {
    let (kind, digits) = split(digest)?;
    let found = match kind {
        "sha512" => hash::<Sha512>(from, step)?,
        _ => hash::<Sha256>(from, step)?,
    };
    if found == digits {
        return Ok(());
    }
    Err(Fault::said(
        format!("use the blob {digest}"),
        format!("its content is {kind}:{found}; the image is damaged, fetch it again"),
    ))
}

fn hash<D: Digest>(
    from: &mut impl Read,
    step: &mut dyn FnMut() -> Result<(), Fault>,
) -> Result<String, Fault> {
    let mut hash = D::new();
    let mut buffer = vec![0; 1 << 18];
    loop {
        let read = from
            .read(&mut buffer)
            .map_err(|error| Fault::new("read a blob of the image", error))?;
        if read == 0 {
            break;
        }
        hash.update(&buffer[..read]);
        step()?;
    }
    let digits: Vec<String> = hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(digits.concat())
}
