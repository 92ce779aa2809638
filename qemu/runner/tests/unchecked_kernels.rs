// SPDX-License-Identifier: GPL-2.0

//! For which kernels without BTF the module is built: `kmod/btf.sh`, with an object that hooks nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A version that is in the table.
fn checked() -> String {
    let table = fs::read_to_string(kmod().join("checked-kernels")).expect("the table");
    let mut lines = table.lines().filter(|line| !line.starts_with('#'));
    lines.next().expect("a version").to_string()
}

fn kmod() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kmod")
}

/// Whether it goes on for a release, and what it says.
fn build(release: &str, variables: &[(&str, &str)]) -> (bool, String) {
    let folder = TempDir::new().expect("a directory");
    let place = folder.path();
    let table = kmod().join("checked-kernels");
    let out = place.join("prototypes.checked");
    let output = Command::new("sh")
        .arg(kmod().join("btf.sh"))
        .arg(&out)
        // Neither is asked where there is nothing to compare with.
        .args(["/bin/false", release])
        .args([place, place])
        .arg(table)
        .args([place.join("module.o"), place.join("bindings.rs")])
        .env("NM", "true")
        .env_remove("VSERVER_BTF")
        .env_remove("VSERVER_UNCHECKED")
        .envs(variables.iter().copied())
        .output()
        .expect("sh");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.success(), out.exists(), "{words}");
    (output.status.success(), words)
}

#[test]
fn one_that_was_checked() {
    let version = checked();
    assert_eq!(
        build(&format!("{version}+deb15-amd64"), &[]),
        (true, String::new())
    );
    assert_eq!(build(&version, &[]), (true, String::new()));
}

#[test]
fn one_that_was_not() {
    // A version of which a checked one is the beginning is another one.
    for release in ["0.1.2-amd64".to_string(), format!("{}9-amd64", checked())] {
        let (goes_on, words) = build(&release, &[]);
        assert!(!goes_on, "{release}");
        assert!(words.contains(&release), "{words}");
        assert!(words.contains("checked-kernels"), "{words}");
        assert!(words.contains("VSERVER_UNCHECKED=1"), "{words}");
    }
}

#[test]
fn one_that_is_wanted_all_the_same() {
    let (goes_on, words) = build("0.1.2-amd64", &[("VSERVER_UNCHECKED", "1")]);
    assert!(goes_on, "{words}");
    assert!(words.contains("unchecked"), "{words}");
    for value in ["", "0", "yes"] {
        assert!(!build("0.1.2-amd64", &[("VSERVER_UNCHECKED", value)]).0);
    }
}

#[test]
fn an_image_that_is_not_there() {
    let (goes_on, words) = build(&checked(), &[("VSERVER_BTF", "/nowhere/vmlinuz")]);
    assert!(!goes_on);
    assert!(words.contains("/nowhere/vmlinuz"), "{words}");
}
