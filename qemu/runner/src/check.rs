// SPDX-License-Identifier: GPL-2.0

//! `make check`: what can be said about the sources without running them.

use crate::{
    c_bodies, cache, guest, jumps,
    kernel::{self, Lane, Purpose},
    layers, patches, step,
};
use anyhow::{bail, ensure, Context, Result};
use clap::ValueEnum;
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::BufReader,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};
use walkdir::WalkDir;

const HEADER: &str = "/src/include/vserver_ioctl.h";

/// Runs all checks; the first that fails ends it with its reason.
pub fn run() -> Result<ExitCode> {
    format(true)?;
    step::run(
        "clippy on the programs",
        "clippy",
        cache::cargo(&["clippy", "--workspace", "--all-targets", "--locked"])?
            .args(["--", "-D", "warnings"]),
    )?;
    step::run(
        "layers of the userland",
        "layers",
        &mut cache::cargo(&["test", "--locked", "-p", "vserver", "--test", "layers"])?,
    )?;
    let tests = guest::test_names()?;
    cache::cargo_done()?;
    documented_tests(&tests)?;
    let count = unsafe_by_folder()?;
    eprintln!("    {count} times `unsafe`, all in kmod/linux/ and kmod/attach/");
    prototypes_by_hand()?;
    c_bodies::check(Path::new("/src/kmod"))?;
    layers::check(Path::new("/src/kmod"))?;
    header_drift()?;
    patches::check()?;
    for lane in Lane::value_variants() {
        let folder = kernel::lint_module(*lane, Purpose::Test)?;
        c_of(*lane, &folder)?;
        let jumps = jumps::check(&folder, &folder.join("vserver_main.o"))?;
        eprintln!("    {jumps} hooks go on into the kernel's function by a jump");
    }
    eprintln!("==> all checks passed");
    Ok(ExitCode::SUCCESS)
}

/// The C of the module as clang reads it in a lane, and what its build has compared with the kernel.
fn c_of(lane: Lane, folder: &Path) -> Result<()> {
    let mut clang = kernel::clang_tree(lane, Purpose::Test, folder)?
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start clang")?;
    let tree = BufReader::new(clang.stdout.take().context("clang writes nothing")?);
    let functions = c_bodies::tree(folder, tree)?;
    let status = clang.wait()?;
    ensure!(status.success(), "clang on kmod/inline.c: {status}");
    eprintln!("    {functions} functions of C are one call or macro each");
    for line in fs::read_to_string(folder.join("prototypes.checked"))?.lines() {
        eprintln!("    {line}");
    }
    Ok(())
}

fn kernel_sources() -> Vec<PathBuf> {
    WalkDir::new("/src/kmod")
        .sort_by_file_name()
        .into_iter()
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// rustfmt on everything, checking or writing.
pub fn format(check: bool) -> Result<ExitCode> {
    let what = if check {
        "formatting"
    } else {
        "format the sources"
    };
    let mut cargo = Command::new("cargo");
    cargo.args(["fmt", "--all"]).current_dir("/src");
    let mut rustfmt = Command::new("rustfmt");
    rustfmt
        .args([
            "--edition",
            "2021",
            "--config",
            "skip_children=true",
            "--config-path",
            "/src",
        ])
        .args(kernel_sources().iter().filter(|path| !in_crates(path)))
        .current_dir("/src");
    if check {
        cargo.arg("--check");
        rustfmt.arg("--check");
    }
    step::run(what, "fmt", &mut cargo)?;
    step::run(&format!("{what} (kernel side)"), "fmt-kmod", &mut rustfmt)?;
    Ok(ExitCode::SUCCESS)
}

/// The crates that cargo formats.
fn in_crates(path: &Path) -> bool {
    path.starts_with("/src/kmod/policy") || path.starts_with("/src/kmod/uapi")
}

/// `unsafe` belongs into these folders of the module. No other file contains it.
const UNSAFE_FOLDERS: [&str; 2] = ["attach/", "linux/"];

/// Fails with each `unsafe` that is elsewhere; returns how many there are where they belong, before macros.
fn unsafe_by_folder() -> Result<usize> {
    let mut count = 0;
    let mut elsewhere = String::new();
    for path in kernel_sources() {
        let name = path.strip_prefix("/src/kmod")?.display().to_string();
        let lines = unsafe_lines(&fs::read_to_string(&path)?);
        if may_be_unsafe(&name) {
            count += lines.len();
        } else {
            for line in lines {
                writeln!(elsewhere, "  kmod/{name}:{line}")?;
            }
        }
    }
    ensure!(
        elsewhere.is_empty(),
        "`unsafe` outside of kmod/linux/ and kmod/attach/:\n{elsewhere}"
    );
    Ok(count)
}

fn may_be_unsafe(name: &str) -> bool {
    UNSAFE_FOLDERS.iter().any(|folder| name.starts_with(folder))
}

/// The lines of a text with `unsafe` as a word, outside of comments and strings.
fn unsafe_lines(text: &str) -> Vec<usize> {
    layers::words(text)
        .into_iter()
        .filter_map(|(line, word)| (word == "unsafe").then_some(line))
        .collect()
}

/// The names of tests in a text: what is in backquotes, lower case and has `::` in it.
fn named_tests(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|word| {
        let mut parts = word.split("::");
        let is_name = |part: &str| {
            !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        word.contains("::") && parts.all(is_name)
    })
}

/// A promise names the test that shows it, so every test that the documentation names has to exist: guest tests, and
/// those of the packages.
fn documented_tests(tests: &BTreeSet<String>) -> Result<()> {
    let packages = fs::read_to_string("/src/qemu/packages.sh")?;
    let mut files = vec![PathBuf::from("/src/SECURITY.md")];
    for entry in fs::read_dir("/src/docs")? {
        files.push(entry?.path());
    }
    files.sort();
    let mut missing = String::new();
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        for name in named_tests(&text) {
            let is_function = name
                .strip_prefix("packages::")
                .is_some_and(|name| packages.contains(&format!("\n{name}() {{")));
            if !tests.contains(name) && !is_function {
                writeln!(missing, "  {}: {name}", file.display())?;
            }
        }
    }
    if !missing.is_empty() {
        bail!("the documentation names tests that do not exist:\n{missing}");
    }
    Ok(())
}

/// Prototypes of the kernel's functions come from its headers by bindgen. Only the macros in `kmod/attach/` declare others: code
/// and statics of the module itself.
fn prototypes_by_hand() -> Result<()> {
    let mut found = String::new();
    for path in kernel_sources() {
        let name = path.strip_prefix("/src/kmod")?.display().to_string();
        let text = fs::read_to_string(&path)?;
        if !name.starts_with("attach/") && declares_by_hand(&text) {
            writeln!(found, "  kmod/{name}")?;
        }
    }
    if !found.is_empty() {
        bail!("prototypes are written by hand, use bindgen or `original!`:\n{found}");
    }
    Ok(())
}

fn declares_by_hand(text: &str) -> bool {
    text.lines()
        .any(|line| line.trim_end().ends_with("extern \"C\" {"))
}

/// The C header from the ABI's Rust source: constants, then structures.
fn header() -> Result<String> {
    let source = fs::read_to_string("/src/kmod/uapi/mod.rs")?;
    let mut out = String::from(
        "/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */\n\
         /* Generated from kmod/uapi/mod.rs by `make header`. Do not edit. */\n\
         #ifndef VSERVER_IOCTL_H\n#define VSERVER_IOCTL_H\n\n\
         #include <linux/ioctl.h>\n#include <linux/types.h>\n\n",
    );
    for line in source.lines() {
        let Some((name, value)) = line
            .strip_prefix("pub const ")
            .and_then(|rest| rest.strip_suffix(';'))
            .and_then(|rest| rest.split_once(" = "))
        else {
            continue;
        };
        let name = name.split(':').next().unwrap_or(name);
        if !name.starts_with("IOC_") {
            // A sign must not fuse with what stands before the macro.
            let value = if value.starts_with('-') {
                format!("({value})")
            } else {
                value.to_string()
            };
            writeln!(out, "#define VSERVER_{name} {value}")?;
        }
    }
    let c_type = |rust: &str| match rust {
        "u8" => "__u8".to_string(),
        "u16" => "__u16".to_string(),
        "u32" => "__u32".to_string(),
        "i32" => "__s32".to_string(),
        "u64" => "__u64".to_string(),
        other => format!("struct vserver_{}", snake(other)),
    };
    let mut inside = false;
    for line in source.lines() {
        if let Some(name) = line
            .strip_prefix("pub struct ")
            .and_then(|rest| rest.strip_suffix(" {"))
        {
            writeln!(out, "\nstruct vserver_{} {{", snake(name))?;
            inside = true;
        } else if inside && line == "}" {
            out += "};\n";
            inside = false;
        } else if let Some((name, rust)) = line
            .trim()
            .strip_prefix("pub ")
            .and_then(|rest| rest.strip_suffix(','))
            .and_then(|rest| rest.split_once(": "))
            .filter(|_| inside)
        {
            match rust.trim_matches(['[', ']']).split_once("; ") {
                Some((element, length)) => {
                    let prefix = match length.starts_with(char::is_alphabetic) {
                        true => "VSERVER_",
                        false => "",
                    };
                    writeln!(out, "\t{} {name}[{prefix}{length}];", c_type(element))?;
                }
                None => writeln!(out, "\t{} {name};", c_type(rust))?,
            }
        }
    }
    out += "\n";
    for (name, macro_name, number, structure) in [
        ("INFO", "_IOR", vserver_uapi::IOC_INFO, "info"),
        ("ENTER", "_IOWR", vserver_uapi::IOC_ENTER, "enter"),
        ("GET", "_IOWR", vserver_uapi::IOC_GET, "get"),
        ("LIST", "_IOWR", vserver_uapi::IOC_LIST, "list"),
        ("OPEN", "_IOWR", vserver_uapi::IOC_OPEN, "open"),
        (
            "SET_ADDRESSES",
            "_IOWR",
            vserver_uapi::IOC_SET_ADDRESSES,
            "addresses",
        ),
        (
            "GET_ADDRESSES",
            "_IOWR",
            vserver_uapi::IOC_GET_ADDRESSES,
            "addresses",
        ),
        ("SIGNAL", "_IOWR", vserver_uapi::IOC_SIGNAL, "signal"),
        ("STATUS", "_IOR", vserver_uapi::IOC_STATUS, "status"),
        (
            "LIST_HOOKS",
            "_IOWR",
            vserver_uapi::IOC_LIST_HOOKS,
            "list_hooks",
        ),
    ] {
        writeln!(
            out,
            "#define VSERVER_IOC_{name} {macro_name}({:#x}, {}, struct vserver_{structure})",
            vserver_uapi::IOC_TYPE,
            number & 0xff,
        )?;
    }
    out += "\n#endif\n";
    Ok(out)
}

/// `ContextInfo` to `context_info`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (index, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

fn header_drift() -> Result<()> {
    if fs::read_to_string(HEADER).unwrap_or_default() != header()? {
        bail!("include/vserver_ioctl.h does not match kmod/uapi/mod.rs: run `make header` and commit it");
    }
    Ok(())
}

/// Writes the header anew.
pub fn write_header() -> Result<ExitCode> {
    fs::create_dir_all("/src/include")?;
    fs::write(HEADER, header()?)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_outside_of_its_folders() {
        let planted = "// unsafe\nfn f(p: *const u8) -> u8 {\n    let _ = \"unsafe\"; // unsafe\n    /* unsafe */ unsafe { *p }\n}\n\
                       unsafe impl Send for A {}\nunsafe extern \"C\" fn g() {}\ntype H = Option<unsafe fn()>;";
        assert_eq!(unsafe_lines(planted), [4, 6, 7, 8]);
        assert!(unsafe_lines("fn not_unsafe() { unsafe_lines(\"\\\"unsafe\") }").is_empty());
        for name in [
            "hooks/task.rs",
            "context/linux/a.rs",
            "linux.rs",
            "device/node.rs",
        ] {
            assert!(!may_be_unsafe(name), "{name}");
        }
        for name in ["linux/task_map.rs", "attach/engine.rs"] {
            assert!(may_be_unsafe(name), "{name}");
        }
    }

    #[test]
    fn prototypes() {
        assert!(declares_by_hand("mod a {\n    unsafe extern \"C\" {\n"));
        assert!(!declares_by_hand("extern \"C\" fn entry() {\n}"));
    }

    #[test]
    fn names_of_tests_in_a_text() {
        let text = "`inet::tcp_bind`, `make test T=escape::`, `a::B`, `escape::`, inet::bare, `make`\n`task::one` \
                    `two::three_4::five`";
        let names: Vec<&str> = named_tests(text).collect();
        assert_eq!(names, ["inet::tcp_bind", "task::one", "two::three_4::five"]);
    }
}
