// SPDX-License-Identifier: GPL-2.0

//! The commands that make, copy and remove the trees of vservers, in a root directory of their own.

use std::fs;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::os::unix::fs::symlink;
use std::os::unix::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;
use std::time::Duration;

/// A root directory with the programs of the host in it, and directories for vservers that are its own.
struct Place(PathBuf);

const PREPARE: &str = r#"
set -e
mount --make-rprivate /
for d in usr proc; do mount --rbind /$d $0/$d; done
for d in bin lib lib64; do
    if [ -L /$d ]; then [ -L $0/$d ] || { rmdir $0/$d; ln -s $(readlink /$d) $0/$d; }
    elif [ -d /$d ]; then mount --rbind /$d $0/$d; fi
done
mount --bind $(dirname $1) $0/t
program=$(basename $1)
shift
exec chroot $0 /t/$program "$@"
"#;

impl Place {
    /// `None`: this user may not have mounts of its own.
    fn new(name: &str) -> Option<Self> {
        let root =
            std::env::temp_dir().join(format!("vserver-trees-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for folder in [
            "usr", "proc", "bin", "lib", "lib64", "t", "etc", "tmp", "var/run", "var/log", "src",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let place = Self(root);
        if place.vserver(&["--version"]).status.success() {
            return Some(place);
        }
        eprintln!("skipped: no mounts");
        None
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["-m", "bash", "-c", PREPARE])
            .arg(&self.0)
            .arg(env!("CARGO_BIN_EXE_vserver"))
            .args(words)
            .stdin(Stdio::null());
        command
    }

    fn vserver(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn good(&self, line: &str) -> String {
        let output = self.vserver(&line.split(' ').collect::<Vec<_>>());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{line}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn bad(&self, line: &str) -> String {
        let output = self.vserver(&line.split(' ').collect::<Vec<_>>());
        assert!(!output.status.success(), "{line}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{line}: {error}");
        error
    }

    fn file(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A small system with what is difficult.
    fn system(&self, files: usize) {
        self.file(
            "src/etc/inittab",
            "1:2:respawn:/sbin/getty 38400 tty1\nco:2:respawn:/sbin/getty 0 console\n",
        );
        self.file("src/etc/fstab", "/dev/sda1 / ext4 defaults 0 1\n");
        self.file("src/etc/os-release", "PRETTY_NAME=\"Test 1\"\n");
        self.file("src/etc/machine-id", "0123\n");
        self.file("src/etc/ssh/ssh_host_rsa_key", "secret");
        self.file("src/bin/a b\nc", "x");
        self.file("src/usr/share/data", "shared");
        fs::create_dir_all(self.path("src/etc/rc2.d")).unwrap();
        symlink("../init.d/udev", self.path("src/etc/rc2.d/S01udev")).unwrap();
        symlink("../init.d/cron", self.path("src/etc/rc2.d/S02cron")).unwrap();
        symlink("/", self.path("src/out")).unwrap();
        fs::hard_link(self.path("src/usr/share/data"), self.path("src/usr/other")).unwrap();
        fs::set_permissions(
            self.path("src/usr/share/data"),
            fs::Permissions::from_mode(0o4755),
        )
        .unwrap();
        let sparse = fs::File::create(self.path("src/sparse")).unwrap();
        sparse.set_len(64 << 20).unwrap();
        for index in 0..files {
            self.file(
                &format!("src/many/{}/{index}", index % 10),
                &"z".repeat(3000),
            );
        }
    }

    /// The names of vservers, by what is there; what is half made has none.
    fn vservers(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .names("etc/vservers")
            .iter()
            .filter(|name| !name.starts_with('.'))
            .filter_map(|name| name.strip_suffix(".conf").map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn nothing_hidden(&self) {
        for path in ["vservers", "etc/vservers"] {
            let hidden: Vec<String> = self
                .names(path)
                .into_iter()
                .filter(|name| name.starts_with('.'))
                .collect();
            assert!(hidden.is_empty(), "{path}: {hidden:?}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every file below, with what it is but for its times.
fn without_times(root: &Path) -> Vec<String> {
    contents(root)
        .into_iter()
        .map(|line| {
            line.split_once(" @")
                .map_or(line.clone(), |(start, _)| start.to_owned())
        })
        .collect()
}

/// Every file below, with what it is.
fn contents(root: &Path) -> Vec<String> {
    fn walk(top: &Path, path: &Path, all: &mut Vec<String>) {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::symlink_metadata(&path).unwrap();
            let shown = path.strip_prefix(top).unwrap().display().to_string();
            let what = if data.is_symlink() {
                format!("{:?}", fs::read_link(&path).unwrap())
            } else if data.is_file() && data.len() < 1 << 20 {
                {
                    let mut hash = DefaultHasher::new();
                    fs::read(&path).unwrap().hash(&mut hash);
                    hash.finish().to_string()
                }
            } else {
                String::new()
            };
            let links = if data.is_file() { data.nlink() } else { 0 };
            let size = if data.is_dir() { 0 } else { data.len() };
            all.push(format!(
                "{shown} {:o} {}:{} {size} {links} {what} @{}",
                data.mode(),
                data.uid(),
                data.gid(),
                if data.is_symlink() {
                    0
                } else {
                    data.mtime_nsec()
                }
            ));
            if data.is_dir() {
                walk(top, &path, all);
            }
        }
    }
    let mut all = Vec::new();
    walk(root, root, &mut all);
    all.sort();
    all
}

#[test]
fn a_life() {
    let Some(place) = Place::new("life") else {
        return;
    };
    place.system(10);
    let told = place.good("web build --dir /src --hostname web.example.org --onboot");
    for line in [
        "Test 1: no package manager that is known, no init that is known",
        "/etc/inittab: 1 lines for hardware terminals commented out",
        "/etc/rc2.d/S01udev: taken out",
        "/etc/fstab: emptied, what was there is in /etc/fstab.host",
        "files linked:                 1",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    // Only in the copy.
    assert!(place.path("src/etc/rc2.d/S01udev").is_symlink());
    assert!(!place.path("vservers/web/etc/rc2.d/S01udev").is_symlink());
    assert!(place.path("vservers/web/etc/rc2.d/S02cron").is_symlink());
    assert_eq!(
        fs::read_to_string(place.path("etc/vservers/web.conf")).unwrap(),
        "S_HOSTNAME=web.example.org\nONBOOT=yes\nS_FLAGS=\"lock nproc\"\n"
    );
    let sparse = fs::metadata(place.path("vservers/web/sparse")).unwrap();
    assert!(sparse.len() == 64 << 20 && sparse.blocks() < 1000);
    let data = fs::metadata(place.path("vservers/web/usr/other")).unwrap();
    assert!(data.mode() & 0o7777 == 0o4755 && data.nlink() == 2);
    assert!(place.bad("web build --dir /src").contains("exists already"));

    // The same through a file, under another name.
    place.file("etc/vservers/web.sh", "#!/bin/sh\n");
    let web = contents(&place.path("vservers/web"));
    for ending in ["tar", "tar.gz", "tar.xz", "tar.zst"] {
        place.good(&format!("--silent web export /tmp/x.{ending}"));
        place.good(&format!(
            "--silent copy import /tmp/x.{ending} --hostname copy"
        ));
        assert_eq!(contents(&place.path("vservers/copy")), web, "{ending}");
        let text = fs::read_to_string(place.path("etc/vservers/copy.conf")).unwrap();
        assert!(
            text.contains("S_HOSTNAME=copy\n") && !text.contains("web.example"),
            "{text}"
        );
        assert!(place.path("etc/vservers/copy.sh").exists());
        place.good("copy delete --yes");
        assert_eq!(place.vservers(), ["web"]);
        assert_eq!(place.names("etc/vservers"), ["web.conf", "web.sh"]);
    }

    place.good("web clone two --link --description two");
    let id = |path: &str| fs::metadata(place.path(path)).unwrap().ino();
    assert_eq!(id("vservers/web/usr/other"), id("vservers/two/usr/other"));
    assert_ne!(id("vservers/web/etc/fstab"), id("vservers/two/etc/fstab"));
    assert_eq!(
        fs::read(place.path("vservers/two/etc/machine-id")).unwrap(),
        b""
    );
    assert!(place.names("vservers/two/etc/ssh").is_empty());
    assert!(place.bad("two delete").contains("--yes"));
    assert!(place.bad("two rename web").contains("exists already"));
    place.good("web rename three");
    assert_eq!(contents(&place.path("vservers/three")).len(), web.len());
    assert_eq!(
        place.names("etc/vservers"),
        ["three.conf", "three.sh", "two.conf", "two.sh"]
    );
    place.good("three delete --yes");
    place.good("two delete --yes");
    assert!(place.names("vservers").is_empty() && place.names("etc/vservers").is_empty());
    place.nothing_hidden();
}

#[test]
fn what_is_wrong_leaves_nothing() {
    let Some(place) = Place::new("wrong") else {
        return;
    };
    place.system(0);
    place.file("src/tar", "rubbish");
    for (line, said) in [
        ("x build --dir /nowhere", "cannot use /nowhere"),
        ("x build --dir /src/tar", "is not a directory"),
        ("x build --tar /src", "give it with --dir"),
        ("x build --tar /src/tar", "cannot read the archive"),
        ("x build --oci /src", "no index.json"),
        ("x build --copy nobody", "there is no vserver nobody"),
        ("x build --dir /src --set NICE=1", "NICE"),
        ("x build --dir /src --ip 10.0.0.300", "10.0.0.300"),
        ("x import /src/tar", "cannot read the archive"),
        ("x delete --yes", "there is no vserver x"),
        ("x rename y", "there is no vserver x"),
        (".x build --dir /src", "cannot be the name"),
    ] {
        let error = place.bad(line);
        assert!(error.contains(said), "{line}: {error}");
        assert!(place.names("vservers").is_empty(), "{line}");
        assert!(place.names("etc/vservers").is_empty(), "{line}");
    }
    // What somebody else has put there stays.
    place.file("vservers/x/file", "mine");
    assert!(place
        .bad("x build --dir /src")
        .contains("without a configuration"));
    assert_eq!(fs::read(place.path("vservers/x/file")).unwrap(), b"mine");
}

#[test]
fn newvserver_and_vdu() {
    let Some(place) = Place::new("new") else {
        return;
    };
    place.system(0);
    let bad = |line: &str, said: &str| {
        let error = place.bad(line);
        assert!(error.contains(said), "{line}: {error}");
        assert!(place.vservers().is_empty());
    };
    bad("newvserver --dir /src", "--name is needed");
    bad(
        "newvserver --name web --dir /src --ip nosuch0:10.9.9.9",
        "no network device nosuch0",
    );
    bad(
        "newvserver --name web --dir /src --ip 127.0.0.1",
        "address of this machine already",
    );
    let told =
        place.good("newvserver --name web --dir /src --ip 10.9.9.9 --device nosuch0 --force");
    assert!(
        told.contains("directories created:") && told.contains("time:"),
        "{told}"
    );
    let text = fs::read_to_string(place.path("etc/vservers/web.conf")).unwrap();
    assert_eq!(
        text,
        "IPROOT=10.9.9.9\nIPROOTDEV=nosuch0\nS_FLAGS=\"lock nproc\"\n"
    );
    assert!(place
        .bad("newvserver --name web --dir /src")
        .contains("is taken"));
    assert!(place
        .bad("newvserver --name two --dir /src --ip 10.9.9.9")
        .contains("of the vserver web too"));
    // A file with two names is not counted.
    fs::create_dir(place.path("tmp/d")).unwrap();
    let before = place.good("vdu /tmp/d");
    place.file("tmp/d/file", &"x".repeat(40960));
    let with: u64 = kilobytes(&place.good("vdu /tmp/d"));
    assert!(with >= kilobytes(&before) + 40);
    fs::hard_link(place.path("tmp/d/file"), place.path("tmp/other")).unwrap();
    assert_eq!(place.good("vdu /tmp/d"), before);
    assert!(place.good("vdu --json /tmp/d").contains("\"bytes\""));
    assert!(!place.vserver(&["vdu", "/nowhere"]).status.success());
}

/// Of a line `DIR\tNUMBERK`.
fn kilobytes(line: &str) -> u64 {
    let (_, size) = line.trim_end().split_once('\t').unwrap();
    size.strip_suffix('K').unwrap().parse().unwrap()
}

#[test]
fn a_configuration_that_is_there_is_kept() {
    let Some(place) = Place::new("kept") else {
        return;
    };
    place.system(0);
    place.file("etc/vservers/web.conf", "S_NICE=5\n");
    assert!(place
        .bad("--silent web build --dir /src --onboot")
        .contains("leave out"));
    place.good("web build --dir /src");
    assert_eq!(
        fs::read(place.path("etc/vservers/web.conf")).unwrap(),
        b"S_NICE=5\n"
    );
    place.nothing_hidden();
}

/// A layout with two layers; the second takes away a file and all of a directory.
#[test]
fn an_image() {
    let Some(place) = Place::new("image") else {
        return;
    };
    let script = r#"
set -e
cd $0
blob() { d=$(sha256sum < $1 | cut -d' ' -f1); mv $1 img/blobs/sha256/$d; echo sha256:$d; }
mkdir -p img/blobs/sha256 one/etc one/dir two/dir two/usr/lib two/lib-link
echo one > one/etc/gone; echo old > one/dir/old; echo keep > one/etc/keep; mkdir -p one/usr/lib; ln -s usr/lib one/lib
: > two/dir/.wh..wh..opq; echo new > two/dir/new; mkdir two/etc; : > two/etc/.wh.gone
mkdir two/lib.d; echo so > two/lib.d/so
tar -C one -czf l1 . ; tar -C two --transform 's,lib.d/,lib/,' -cf l2 dir etc lib.d/so
a=$(blob l1); b=$(blob l2)
case $(uname -m) in x86_64) m=amd64;; aarch64) m=arm64;; *) m=$(uname -m);; esac
echo "{\"schemaVersion\":2,\"layers\":[{\"digest\":\"$a\",\"size\":1},{\"digest\":\"$b\",\"size\":1}]}" > m
c=$(blob m)
echo "{\"manifests\":[{\"digest\":\"$c\",\"platform\":{\"os\":\"linux\",\"architecture\":\"$m\"},\"annotations\":{\"org.opencontainers.image.ref.name\":\"v1\"}},{\"digest\":\"sha256:00\",\"platform\":{\"os\":\"linux\",\"architecture\":\"none\"}}]}" > img/index.json
echo '{"imageLayoutVersion":"1.0.0"}' > img/oci-layout
tar -C img -cf img.tar .
"#;
    let made = Command::new("bash")
        .args(["-c", script])
        .arg(place.path("tmp"))
        .status()
        .unwrap();
    assert!(made.success());
    for source in ["/tmp/img", "/tmp/img:v1", "/tmp/img.tar", "/tmp/img.tar:v1"] {
        place.good(&format!("--silent img build --oci {source}"));
        let root = place.path("vservers/img");
        assert_eq!(fs::read(root.join("dir/new")).unwrap(), b"new\n");
        assert_eq!(fs::read(root.join("usr/lib/so")).unwrap(), b"so\n");
        assert!(root.join("etc/keep").exists() && !root.join("etc/gone").exists());
        assert!(!root.join("dir/old").exists() && root.join("lib").is_symlink());
        assert!(!contents(&root).iter().any(|line| line.contains(".wh.")));
        place.good("--silent img delete --yes");
    }
    assert!(place
        .bad("--silent img build --oci /tmp/img:v2")
        .contains("v1"));
    // A blob that is not what its name says.
    for blob in place.names("tmp/img/blobs/sha256") {
        let path = place.path(&format!("tmp/img/blobs/sha256/{blob}"));
        let mut bytes = fs::read(&path).unwrap();
        bytes.push(b'\n');
        fs::write(&path, bytes).unwrap();
    }
    assert!(place
        .bad("--silent img build --oci /tmp/img")
        .contains("damaged"));
    assert!(place.names("vservers").is_empty());
}

/// Random enough: no two runs are the same, and a failure tells the time.
fn after(child: &mut Child, microseconds: u64) {
    std::thread::sleep(Duration::from_micros(microseconds));
    let _ = child.kill();
    child.wait().unwrap();
}

#[test]
fn killed_at_any_time_nothing_half_made_is_a_vserver() {
    let Some(place) = Place::new("killed") else {
        return;
    };
    place.system(400);
    let run = |line: &str, time: u64| {
        let words: Vec<&str> = line.split(' ').collect();
        let mut child = place
            .command(&words)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        after(&mut child, time);
    };
    let begun = std::time::Instant::now();
    place.good("--silent a build --dir /src");
    let whole = begun.elapsed().as_micros() as u64 + 2000;
    let reference = without_times(&place.path("vservers/a"));
    place.good("--silent a delete --yes");
    let seed = u64::from(std::process::id());
    let time = |index: u64| (index.wrapping_mul(7919).wrapping_add(seed) % 97) * whole / 97;
    for index in 0..15 {
        let at = time(index);
        run("--silent a build --dir /src", at);
        match place.vservers().as_slice() {
            [] => {
                place.good("--silent a build --dir /src");
                place.nothing_hidden();
            }
            names => assert_eq!(names, ["a"], "{at}"),
        }
        assert_eq!(
            without_times(&place.path("vservers/a")),
            reference,
            "build, {at}"
        );

        run("a rename b", time(index + 100) / 3);
        // Whatever name it has, it is whole under the new one afterwards.
        let output = place.vserver(&["a", "rename", "b"]);
        assert_eq!(place.vservers(), ["b"], "rename, {output:?}");
        assert_eq!(
            without_times(&place.path("vservers/b")),
            reference,
            "rename, {at}"
        );
        place.nothing_hidden();

        run("--silent b export /tmp/e.tar", time(index + 200));
        place.good("--silent b export /tmp/e.tar");
        run("--silent c import /tmp/e.tar", time(index + 300));
        if !place.vservers().contains(&"c".to_owned()) {
            place.good("--silent c import /tmp/e.tar");
        }
        assert_eq!(
            without_times(&place.path("vservers/c")),
            reference,
            "import, {at}"
        );
        for name in ["b", "c"] {
            run(&format!("{name} delete --yes"), time(index + 400));
            if place.vservers().contains(&name.to_owned()) {
                assert_eq!(
                    without_times(&place.path(&format!("vservers/{name}"))),
                    reference
                );
                place.good(&format!("{name} delete --yes"));
            } else if place.path(&format!("vservers/{name}")).exists()
                || place.path(&format!("vservers/.{name}.delete")).exists()
                || place
                    .path(&format!("etc/vservers/.{name}.conf.delete"))
                    .exists()
            {
                place.good(&format!("{name} delete --yes"));
            }
        }
        place.nothing_hidden();
        assert!(
            place.names("vservers").is_empty() && place.vservers().is_empty(),
            "delete, {at}"
        );
    }
}

#[test]
fn a_signal_cleans_up() {
    let Some(place) = Place::new("signal") else {
        return;
    };
    place.system(2000);
    // From a pipe that brings nothing: it would wait for ever.
    let mut child = place
        .command(&["--silent", "a", "build", "--tar", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let staging = place.path("vservers/.a.build/root");
    while !staging.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    let kill = Command::new("kill")
        .arg(child.id().to_string())
        .status()
        .unwrap();
    assert!(kill.success());
    let input = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(input);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "vserver: interrupted\n"
    );
    assert!(place.names("vservers").is_empty());
    place.nothing_hidden();
}
