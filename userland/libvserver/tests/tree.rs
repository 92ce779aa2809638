// SPDX-License-Identifier: GPL-2.0

//! Trees made by strangers: archives and directories that try to have something written, read or removed outside.

use libvserver::tree;
use libvserver::tree::{Archive, Choice, Compression, Folder, Options, Packer, Statistics};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use tar::{EntryType, Header};

struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let place =
            std::env::temp_dir().join(format!("vserver-tree-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&place);
        for folder in ["root", "source", "outside"] {
            fs::create_dir_all(place.join(folder)).unwrap();
        }
        fs::write(place.join("outside/secret"), "outside").unwrap();
        Self(place)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    fn unpack(&self, archive: &[u8]) -> Result<Statistics, String> {
        let root = Folder::open(&self.path("root")).unwrap();
        tree::unpack(archive, &root, &mut Archive::default(), &mut |_, _| Ok(()))
            .map_err(|fault| fault.to_string())
    }

    fn copy(&self, choice: Choice) -> Result<Statistics, String> {
        let source = Folder::open(&self.path("source")).unwrap();
        let root = Folder::open(&self.path("root")).unwrap();
        let options = Options {
            choose: &|_, _| choice,
            never: &[],
        };
        tree::copy(&source, &root, &options, &mut |_, _| Ok(())).map_err(|fault| fault.to_string())
    }

    /// Outside it is as it was.
    fn is_whole(&self) {
        let names: Vec<_> = fs::read_dir(self.path("outside"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read(self.path("outside/secret")).unwrap(), b"outside");
        assert_eq!(
            fs::metadata(self.path("outside/secret")).unwrap().nlink(),
            1
        );
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["outside", "root", "source"]);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An entry whose names are as they are: no builder would write some of them.
fn entry(kind: EntryType, path: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let bytes = header.as_mut_bytes();
    bytes[..path.len()].copy_from_slice(path.as_bytes());
    bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(rustix::process::getuid().as_raw().into());
    header.set_gid(rustix::process::getgid().as_raw().into());
    header.set_mtime(1);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut all = header.as_bytes().to_vec();
    all.extend_from_slice(content);
    all.resize(all.len().div_ceil(512) * 512, 0);
    all
}

fn archive(entries: &[(EntryType, &str, &str, &str)]) -> Vec<u8> {
    let mut all: Vec<u8> = entries
        .iter()
        .flat_map(|(kind, path, link, content)| entry(*kind, path, link, content.as_bytes()))
        .collect();
    all.resize(all.len() + 1024, 0);
    all
}

use EntryType::{Directory, Link, Regular, Symlink};

#[test]
fn names_that_lead_out_are_refused_by_name() {
    for (kind, path, link) in [
        (Regular, "../outside/secret", ""),
        (Regular, "a/../../outside/new", ""),
        (Directory, "..", ""),
        (Symlink, "../outside/link", "x"),
        (Link, "stolen", "../outside/secret"),
        (Link, "stolen", "/outside/secret"),
        (Link, "stolen", ""),
    ] {
        let place = Place::new();
        let error = place
            .unpack(&archive(&[(kind, path, link, "")]))
            .unwrap_err();
        assert!(
            error.contains(path) && error.starts_with("cannot unpack"),
            "{error}"
        );
        place.is_whole();
    }
}

#[test]
fn links_in_the_archive_are_followed_inside_only() {
    let place = Place::new();
    let outside = place.path("outside");
    let outside = outside.to_str().unwrap();
    let result = place.unpack(&archive(&[
        (Symlink, "abs", outside, ""),
        (Symlink, "up", "../../../../../../../..", ""),
        (Symlink, "file", &format!("{outside}/secret"), ""),
        (Regular, "up/planted", "", "inside"),
        // Replaced, not followed.
        (Regular, "file", "", "inside"),
        (Regular, "/absolute", "", "inside"),
    ]));
    result.unwrap();
    for name in ["planted", "absolute", "file"] {
        assert_eq!(fs::read(place.path("root").join(name)).unwrap(), b"inside");
    }
    // A link to what is not inside: the directory would have to be made behind it.
    let error = place
        .unpack(&archive(&[(Regular, "abs/planted", "", "x")]))
        .unwrap_err();
    assert!(error.contains("abs/planted"), "{error}");
    // A hard link to a symbolic link is one to the link itself.
    place
        .unpack(&archive(&[
            (Symlink, "link", outside, ""),
            (Link, "again", "link", ""),
        ]))
        .unwrap();
    assert!(place.path("root/again").is_symlink());
    // What takes the place of a link to a directory is a directory of its own.
    place
        .unpack(&archive(&[
            (Symlink, "d", outside, ""),
            (Directory, "d", "", ""),
            (Regular, "d/x", "", "x"),
        ]))
        .unwrap();
    assert!(!place.path("root/d").is_symlink());
    place.is_whole();
}

#[test]
fn devices_and_unknown_kinds() {
    let place = Place::new();
    let mut sda = Header::new_gnu();
    sda.set_path("dev/sda").unwrap();
    sda.set_entry_type(EntryType::Block);
    sda.set_mode(0o666);
    sda.set_uid(0);
    sda.set_gid(0);
    sda.set_mtime(0);
    sda.set_size(0);
    sda.set_device_major(8).unwrap();
    sda.set_device_minor(0).unwrap();
    sda.set_cksum();
    let mut bytes = sda.as_bytes().to_vec();
    bytes.resize(512 + 1024, 0);
    let statistics = place.unpack(&bytes).unwrap();
    assert_eq!((statistics.skipped, statistics.special), (1, 0));
    assert!(!place.path("root/dev/sda").exists());
    let error = place
        .unpack(&archive(&[(EntryType::new(b'Z'), "what", "", "")]))
        .unwrap_err();
    assert!(error.contains("what") && error.contains("'Z'"), "{error}");
}

#[test]
fn what_ends_too_early_is_an_error() {
    let whole = archive(&[(Regular, "a", "", "content"), (Regular, "b", "", "content")]);
    for length in [0, 100, 512, 600, 1024, 1500, 2048] {
        let place = Place::new();
        let error = place.unpack(&whole[..length]).unwrap_err();
        assert!(error.contains("ends too early"), "{length}: {error}");
    }
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let mut writer = compression.writer(Vec::new()).unwrap();
        writer.write_all(&whole).unwrap();
        let bytes = writer.finish().unwrap();
        Place::new().unpack(&bytes).unwrap();
        assert!(
            Place::new().unpack(&bytes[..bytes.len() - 3]).is_err(),
            "{compression}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever an archive says, nothing happens outside.
    #[test]
    fn no_archive_gets_out(entries in prop::collection::vec(
        (0..5_usize, 0..8_usize, 0..8_usize), 1..12,
    )) {
        let place = Place::new();
        let outside = place.path("outside").to_str().unwrap().to_owned();
        let secret = format!("{outside}/secret");
        let paths = ["a", "a/b", "b", "b/a", "../outside/x", "a/../../outside/x", "/a/b/c", "b/secret"];
        let links = ["..", "/", "a", "../outside", &outside, &secret, "b/secret", "../outside/secret"];
        let kinds = [Regular, Directory, Symlink, Link, EntryType::Fifo];
        let entries: Vec<_> = entries
            .iter()
            .map(|(kind, path, link)| (kinds[*kind], paths[*path], links[*link], ""))
            .collect();
        let _ = place.unpack(&archive(&entries));
        place.is_whole();
    }

    /// Names and content come through an archive as they are.
    #[test]
    fn packed_and_unpacked_is_the_same(files in prop::collection::btree_map(
        "[^/\0]{1,120}", prop::collection::vec(any::<u8>(), 0..2000), 0..8,
    )) {
        let place = Place::new();
        let files: Vec<_> = files.iter().filter(|(name, _)| *name != "." && *name != ".." && name.len() < 255).collect();
        for (name, content) in &files {
            fs::write(place.path("source").join(name), content).unwrap();
        }
        let mut packer = Packer::new(Vec::new());
        let source = Folder::open(&place.path("source")).unwrap();
        packer.tree(Path::new("."), &source, &mut |_, _| Ok(())).unwrap();
        let (bytes, _) = packer.finish().unwrap();
        place.unpack(&bytes).unwrap();
        for (name, content) in &files {
            prop_assert_eq!(&fs::read(place.path("root").join(name)).unwrap(), *content);
        }
        prop_assert_eq!(fs::read_dir(place.path("root")).unwrap().count(), files.len());
    }
}

#[test]
fn a_copy_is_the_same() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(source.join("d")).unwrap();
    fs::write(source.join("d/file"), "content").unwrap();
    fs::hard_link(source.join("d/file"), source.join("again")).unwrap();
    fs::set_permissions(source.join("d/file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::set_permissions(source.join("d"), fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("/outside", source.join("link")).unwrap();
    rustix::fs::setxattr(
        source.join("d/file"),
        "user.test",
        b"a\nb\0",
        rustix::fs::XattrFlags::empty(),
    )
    .unwrap();
    let mut sparse = fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(32 << 20).unwrap();
    sparse.write_all(b"start").unwrap();
    drop(sparse);
    let _socket = std::os::unix::net::UnixListener::bind(source.join("socket")).unwrap();
    let statistics = place.copy(Choice::Copy).unwrap();
    assert_eq!(
        (
            statistics.directories,
            statistics.files,
            statistics.linked,
            statistics.symlinks,
            statistics.skipped
        ),
        (1, 2, 1, 1, 1)
    );
    let root = place.path("root");
    let (one, other) = (
        fs::metadata(root.join("d/file")).unwrap(),
        fs::metadata(root.join("again")).unwrap(),
    );
    assert_eq!((one.ino(), one.mode() & 0o7777), (other.ino(), 0o4751));
    assert_eq!(
        one.mtime_nsec(),
        fs::metadata(source.join("again")).unwrap().mtime_nsec()
    );
    let folder = fs::metadata(root.join("d")).unwrap();
    assert_eq!(folder.mode() & 0o7777, 0o1777);
    assert_eq!(
        folder.mtime_nsec(),
        fs::metadata(source.join("d")).unwrap().mtime_nsec()
    );
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(root.join("again"), "user.test", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"a\nb\0");
    let sparse = fs::metadata(root.join("sparse")).unwrap();
    assert!(sparse.len() == 32 << 20 && sparse.blocks() < 1000);
    assert_eq!(
        fs::read_link(root.join("link")).unwrap(),
        Path::new("/outside")
    );
}

/// The guest turns a directory into a link to outside and back all the time, while it is copied.
#[test]
fn a_tree_that_changes_leads_nowhere() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(source.join("real")).unwrap();
    fs::write(source.join("real/inside"), "inside").unwrap();
    symlink(place.path("outside"), source.join("link")).unwrap();
    fs::create_dir(source.join("d")).unwrap();
    let stop = AtomicBool::new(false);
    let mut wrong = false;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let spare = source.join("spare");
            while !stop.load(Ordering::Relaxed) {
                for name in ["link", "real"] {
                    let _ = fs::rename(source.join("d"), &spare);
                    let _ = fs::rename(source.join(name), source.join("d"));
                    let _ = fs::rename(source.join("d"), source.join(name));
                    let _ = fs::rename(&spare, source.join("d"));
                }
            }
        });
        for _ in 0..300 {
            let _ = place.copy(Choice::Copy);
            // A link may have been copied as one; what it leads to never was.
            for name in ["d", "link", "real", "spare"] {
                let there = place.path("root").join(name);
                wrong |= !there.is_symlink() && there.join("secret").exists();
            }
            wrong |= tree::remove(&place.path("root"), &mut || Ok(())).is_err();
            let _ = fs::create_dir(place.path("root"));
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(!wrong);
    place.is_whole();
}

#[test]
fn removing_follows_nothing_and_any_depth_goes() {
    let place = Place::new();
    let root = place.path("root");
    symlink(place.path("outside"), root.join("link")).unwrap();
    symlink("/", root.join("top")).unwrap();
    // Deeper than a path can name, and than descriptors may be open.
    let mut folder = rustix::fs::open(
        &root,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
        rustix::fs::Mode::empty(),
    )
    .unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&folder, "deep", rustix::fs::Mode::RWXU).unwrap();
        folder = rustix::fs::openat(
            &folder,
            "deep",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
    }
    drop(folder);
    fs::create_dir(root.join(".removed.0")).unwrap();
    let error = {
        fs::rename(&root, place.path("source/tree")).unwrap();
        fs::create_dir(&root).unwrap();
        place.copy(Choice::Copy).unwrap_err()
    };
    assert!(
        error.contains("directories within one another"),
        "{}",
        &error[..80]
    );
    for folder in ["source", "root"] {
        tree::remove(&place.path(folder), &mut || Ok(())).unwrap();
        assert!(!place.path(folder).exists());
        fs::create_dir(place.path(folder)).unwrap();
    }
    // A link itself, and nothing.
    symlink(place.path("outside"), place.path("root/x")).unwrap();
    tree::remove(&place.path("root/x"), &mut || Ok(())).unwrap();
    tree::remove(&place.path("root/x"), &mut || Ok(())).unwrap();
    place.is_whole();
}

#[test]
fn changes_of_a_guest_stay_inside() {
    let place = Place::new();
    let root = place.path("root");
    symlink(place.path("outside"), root.join("etc")).unwrap();
    symlink(place.path("outside"), root.join("dev")).unwrap();
    let folder = Folder::open(&root).unwrap();
    match tree::adapt(&folder, Some(b"nameserver 10.0.0.1\n")) {
        Ok(_) => assert!(!root.join("dev").is_symlink()),
        // This user may make no devices.
        Err(fault) => assert!(fault.to_string().contains("dev"), "{fault}"),
    }
    place.is_whole();
    // /etc is there, and what is in it leads out.
    fs::remove_file(root.join("etc")).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    for name in ["inittab", "fstab", "resolv.conf", "mtab", "machine-id"] {
        symlink(place.path("outside/secret"), root.join("etc").join(name)).unwrap();
    }
    symlink(place.path("outside"), root.join("etc/systemd")).unwrap();
    symlink(place.path("outside"), root.join("etc/service")).unwrap();
    let _ = tree::adapt(&folder, Some(b"nameserver 10.0.0.1\n"));
    let _ = tree::make_distinct(&folder);
    place.is_whole();
}
