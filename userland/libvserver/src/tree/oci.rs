// SPDX-License-Identifier: GPL-2.0

//! An image layout of the Open Container Initiative to a tree: a directory with `index.json` and blobs that are called
//! by their digests.

use super::folder::{kind, Folder};
use super::remove::remove_name;
use super::unpack::{paths, unpack_more, Archive};
use super::{digest, Fault, Observer, Statistics};
use rustix::fs::FileType;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// No index, manifest or other text is longer.
const TEXT_MAX: u64 = 4 << 20;

/// Indexes within indexes.
const DEPTH_MAX: usize = 4;

/// The name that an image has in an index.
const NAME: &str = "org.opencontainers.image.ref.name";

/// What an index or manifest points to.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    digest: String,
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Default, Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Debug, Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// Unpacks the image of this machine's kind from a layout, the one with this name when there are several.
pub fn unpack_image(
    layout: &Folder,
    name: Option<&str>,
    root: &Folder,
    observer: &mut Observer<'_>,
) -> Result<Statistics, Fault> {
    let index = text(layout, OsStr::new("index.json"), "index.json")?;
    let index: Index = parse(&index, "index.json")?;
    let manifest = choose(layout, index, name, 0)?;
    let manifest: Manifest = parse(&verified(layout, &manifest)?, "the manifest")?;
    let mut statistics = Statistics::default();
    for layer in &manifest.layers {
        let mut file = blob(layout, &layer.digest)?;
        digest::check(&mut file, &layer.digest, &mut || {
            observer(&statistics, Path::new("an image layer"))
        })?;
        // What is not there any more goes first: an entry of the same layer may follow or come before.
        let again = |file: &mut File| {
            file.rewind()
                .map_err(|error| Fault::new("read a layer again", error))
        };
        again(&mut file)?;
        paths(&file, &mut |path| {
            observer(&statistics, path)?;
            whiteout(root, path)
        })?;
        again(&mut file)?;
        let mut archive = Archive {
            whiteouts: true,
            ..Archive::default()
        };
        unpack_more(&file, root, &mut archive, &mut statistics, observer)?;
    }
    Ok(statistics)
}

/// Takes away what a path of a layer says is not there.
fn whiteout(root: &Folder, path: &Path) -> Result<(), Fault> {
    let Some(rest) = path
        .file_name()
        .and_then(|name| name.as_bytes().strip_prefix(b".wh."))
    else {
        return Ok(());
    };
    let Ok(folder) = root.inside(path.parent().unwrap_or(Path::new(""))) else {
        return Ok(());
    };
    if rest == b".wh..opq" {
        let names = folder
            .names()
            .map_err(|errno| Fault::new(format!("read {}", super::shown(path)), errno))?;
        return names.iter().try_for_each(|name| remove_name(&folder, name));
    }
    if rest.is_empty() || rest == b"." || rest == b".." {
        return Err(Fault::said(
            format!("use the layer's {}", super::shown(path)),
            "it names no file",
        ));
    }
    match folder.stat(OsStr::from_bytes(rest)) {
        Ok(_) => remove_name(&folder, OsStr::from_bytes(rest)),
        Err(_) => Ok(()),
    }
}

/// The manifest that is meant.
fn choose(
    layout: &Folder,
    index: Index,
    name: Option<&str>,
    depth: usize,
) -> Result<Descriptor, Fault> {
    let wrong = |why: String| Fault::said("choose an image", why);
    if depth > DEPTH_MAX {
        return Err(wrong("the indexes lead nowhere".to_owned()));
    }
    let mut found = index.manifests;
    if let Some(name) = name {
        let is_named = |one: &Descriptor| {
            one.annotations.get(NAME).is_some_and(|there| {
                there == name || there.rsplit_once(':').is_some_and(|(_, tag)| tag == name)
            })
        };
        let names = known(&found);
        found.retain(is_named);
        if found.is_empty() {
            return Err(wrong(format!(
                "there is none called {name}; there are {names}"
            )));
        }
    }
    let fits = |one: &Descriptor| {
        one.platform
            .as_ref()
            .is_none_or(|platform| platform.os == "linux" && platform.architecture == machine())
    };
    found.retain(fits);
    let chosen = match &found[..] {
        [] => {
            return Err(wrong(format!("there is none for linux/{}", machine())));
        }
        [one] => one.clone(),
        several => {
            return Err(wrong(format!(
                "there are several; name one with PATH:TAG: {}",
                known(several)
            )));
        }
    };
    if chosen.media_type.contains("index") || chosen.media_type.contains("manifest.list") {
        let nested = parse(&verified(layout, &chosen)?, "an index")?;
        return choose(layout, nested, None, depth + 1);
    }
    Ok(chosen)
}

fn known(all: &[Descriptor]) -> String {
    let names: Vec<&str> = all
        .iter()
        .filter_map(|one| one.annotations.get(NAME).map(String::as_str))
        .collect();
    match names.is_empty() {
        true => "no names".to_owned(),
        false => names.join(", "),
    }
}

/// This machine, as images call it.
fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

fn parse<T: for<'a> Deserialize<'a>>(text: &[u8], what: &str) -> Result<T, Fault> {
    serde_json::from_slice(text)
        .map_err(|error| Fault::said(format!("read {what} of the image"), error.to_string()))
}

/// A file of the layout.
fn open(folder: &Folder, name: &OsStr, what: &str) -> Result<File, Fault> {
    let failed = |errno: rustix::io::Errno| Fault::new(format!("open {what} of the image"), errno);
    let stat = folder.stat(name).map_err(failed)?;
    if kind(&stat) != FileType::RegularFile {
        return Err(failed(rustix::io::Errno::INVAL));
    }
    folder.file(name, &stat).map_err(failed)
}

fn blob(layout: &Folder, digest: &str) -> Result<File, Fault> {
    let (kind, digits) = digest::split(digest)?;
    let folder = layout
        .strictly(&Path::new("blobs").join(kind))
        .map_err(|errno| Fault::new(format!("open the blobs/{kind} of the image"), errno))?;
    open(&folder, OsStr::new(digits), &format!("the blob {digest}"))
}

fn text(folder: &Folder, name: &OsStr, what: &str) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    open(folder, name, what)?
        .take(TEXT_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::new(format!("read {what} of the image"), error))?;
    Ok(bytes)
}

/// The text of a blob, which is what its digest says.
fn verified(layout: &Folder, of: &Descriptor) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    blob(layout, &of.digest)?
        .take(TEXT_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Fault::new("read a blob of the image", error))?;
    digest::check(&mut &bytes[..], &of.digest, &mut || Ok(()))?;
    Ok(bytes)
}
