// SPDX-License-Identifier: GPL-2.0

//! Vservers are made from a directory, an archive and an image, cloned, renamed, exported, imported and deleted, and run
//! each time; a build that is killed leaves nothing that looks like a vserver.

use crate::{
    fixture::{ensure, equal, words, Outcome},
    init::{contains, with_vservers, CONFIGURATION, VSERVERS},
    test, Test,
};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

pub const TESTS: &[Test] = &[
    test("trees::life", 900, life),
    test("trees::image", 600, image),
    test("trees::killed", 900, killed),
    test("trees::refused", 600, refused),
];

/// A small system.
const SOURCE: &str = "/inits/busybox";

/// So many points in the time of a build.
const POINTS: u32 = 20;

fn run(line: &str) -> Result<(i32, String), String> {
    let mut words = line.split(' ');
    let ran = Command::new(words.next().unwrap_or_default())
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{line}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = ran.status.code().unwrap_or(-1);
    Ok((code, text(&ran.stdout) + &text(&ran.stderr)))
}

fn good(line: &str) -> Result<String, String> {
    let (code, said) = run(line)?;
    ensure(&format!("{line} ends with {code}: {said}"), code == 0)?;
    Ok(said)
}

fn bad(line: &str, shown: &str) -> Outcome {
    let (code, said) = run(line)?;
    ensure(&format!("{line} ends with 0: {said}"), code != 0)?;
    contains(&said, &[shown])
}

fn shell(script: &str) -> Outcome {
    let ran = Command::new("sh")
        .args(["-ec", script])
        .output()
        .map_err(words)?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    ensure(&format!("{script}: {said}"), ran.status.success())
}

/// What is there under names that no vserver has.
fn hidden() -> Vec<String> {
    [VSERVERS, CONFIGURATION]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with('.'))
        .collect()
}

/// It starts, does something, and stops.
fn lives(name: &str) -> Outcome {
    good(&format!("vserver --silent {name} start"))?;
    let said = good(&format!("vserver {name} exec cat /proc/1/comm"))?;
    ensure(
        &format!("process 1 of {name} is {said}"),
        said.contains("init"),
    )?;
    good(&format!("vserver --silent {name} stop")).map(drop)
}

fn life() -> Outcome {
    with_vservers(|| {
        let said = good(&format!(
            "vserver one build --dir {SOURCE} --hostname one --set START_TIMEOUT=600"
        ))?;
        contains(&said, &["busybox", "files copied:", "one is made"])?;
        let text = fs::read_to_string(format!("{CONFIGURATION}/one.conf")).map_err(words)?;
        contains(
            &text,
            &["S_FLAGS=\"lock nproc fakeinit\"", "S_HOSTNAME=one"],
        )?;
        lives("one")?;
        bad(
            &format!("vserver one build --dir {SOURCE}"),
            "exists already",
        )?;

        shell(&format!("tar -C {SOURCE} -czf /tmp/system.tar.gz ."))?;
        good("vserver --silent two build --tar /tmp/system.tar.gz")?;
        lives("two")?;

        // Nothing of one that runs is taken away or renamed.
        good("vserver --silent one start")?;
        bad("vserver one delete --yes", "is running; stop it first")?;
        bad("vserver one rename three", "is running; stop it first")?;
        let said = good("vserver one clone three --hostname three")?;
        contains(&said, &["one is running"])?;
        good("vserver --silent one stop")?;
        lives("three")?;

        good("vserver one rename four")?;
        lives("four")?;
        bad("vserver one start", "there is no vserver one")?;
        good("vserver --silent four export /tmp/four.tar.zst")?;
        good("vserver four delete --yes")?;
        good("vserver --silent five import /tmp/four.tar.zst")?;
        lives("five")?;
        for name in ["two", "three", "five"] {
            good(&format!("vserver {name} delete --yes"))?;
        }
        let left = fs::read_dir(VSERVERS).map_err(words)?.count();
        equal("root directories", left, 0)?;
        equal("hidden", hidden(), Vec::new())?;
        shell("rm -f /tmp/system.tar.gz /tmp/four.tar.zst")
    })
}

/// A layout of two layers, whose second takes a file away.
fn image() -> Outcome {
    with_vservers(|| {
        shell(&format!(
            "mkdir -p /tmp/image/blobs/sha256 /tmp/layer/etc; cd /tmp/image
             blob() {{ d=$(sha256sum $1 | cut -d' ' -f1); mv $1 blobs/sha256/$d; echo sha256:$d; }}
             tar -C {SOURCE} -czf /tmp/one.layer .
             : >/tmp/layer/etc/.wh.inittab; echo hello >/tmp/layer/etc/new
             tar -C /tmp/layer -cf /tmp/two.layer etc
             a=$(blob /tmp/one.layer); b=$(blob /tmp/two.layer)
             echo '{{\"layers\":[{{\"digest\":\"'$a'\"}},{{\"digest\":\"'$b'\"}}]}}' >/tmp/manifest
             m=$(blob /tmp/manifest)
             echo '{{\"manifests\":[{{\"digest\":\"'$m'\",\"annotations\":{{\"org.opencontainers.image.ref.name\":\"v1\"}}}}]}}' >index.json"
        ))?;
        good("vserver --silent image build --oci /tmp/image:v1")?;
        let root = Path::new(VSERVERS).join("image");
        let new = fs::read_to_string(root.join("etc/new")).map_err(words)?;
        equal("the second layer", new.as_str(), "hello\n")?;
        ensure(
            "what it takes away is gone",
            !root.join("etc/inittab").exists(),
        )?;
        bad(
            "vserver other build --oci /tmp/image:v2",
            "there is none called v2",
        )?;
        good("vserver image delete --yes")?;
        equal("hidden", hidden(), Vec::new())?;
        shell("rm -rf /tmp/image /tmp/layer")
    })
}

fn killed() -> Outcome {
    with_vservers(|| {
        let line = format!("vserver --silent one build --dir {SOURCE}");
        let begun = Instant::now();
        good(&line)?;
        let whole = begun.elapsed();
        let made = fs::read_dir(Path::new(VSERVERS).join("one"))
            .map_err(words)?
            .count();
        good("vserver one delete --yes")?;
        for point in 0..POINTS {
            let mut child = Command::new("vserver")
                .args(["--silent", "one", "build", "--dir", SOURCE])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .map_err(words)?;
            sleep(whole * point / POINTS + Duration::from_micros(u64::from(point) * 37));
            child.kill().map_err(words)?;
            child.wait().map_err(words)?;
            let is_there = Path::new(CONFIGURATION).join("one.conf").exists();
            let has_root = Path::new(VSERVERS).join("one").exists();
            ensure("no vserver is without a root", has_root || !is_there)?;
            if !is_there {
                bad("vserver one start", "there is no vserver one")?;
                good(&line)?;
                equal("hidden", hidden(), Vec::new())?;
            }
            let count = fs::read_dir(Path::new(VSERVERS).join("one"))
                .map_err(words)?
                .count();
            equal("what is in it", count, made)?;
            good("vserver one delete --yes")?;
            equal("hidden", hidden(), Vec::new())?;
        }
        Ok(())
    })
}

fn refused() -> Outcome {
    with_vservers(|| {
        shell("mkdir -p /tmp/bad; ln -sfn / /tmp/bad/out; mkdir -p /tmp/bad2/out; echo x >/tmp/bad2/out/planted; tar -C /tmp/bad -cf /tmp/bad.tar out; tar -C /tmp/bad2 -cf /tmp/bad2.tar out/planted; head -c 1024 /tmp/bad.tar | head -c 512 >/tmp/both.tar; cat /tmp/bad2.tar >>/tmp/both.tar")?;
        good("vserver --silent one build --tar /tmp/both.tar")?;
        ensure(
            "nothing is written outside",
            !Path::new("/planted").exists(),
        )?;
        ensure(
            "it is inside",
            Path::new(VSERVERS).join("one/planted").is_file(),
        )?;
        good("vserver one delete --yes")?;
        bad("vserver one build --dir /nowhere", "cannot use /nowhere")?;
        bad(
            "vserver one build --tar /bin/busybox",
            "cannot read the archive",
        )?;
        bad("vserver one build --dir /inits/busybox --ip 1.2.3", "1.2.3")?;
        bad("vserver one delete", "there is no vserver one")?;
        equal("hidden", hidden(), Vec::new())?;
        shell("rm -rf /tmp/bad /tmp/bad2 /tmp/bad.tar /tmp/bad2.tar /tmp/both.tar")
    })
}
