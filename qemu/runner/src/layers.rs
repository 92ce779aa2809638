// SPDX-License-Identifier: GPL-2.0

//! The layers of the module: what a file names lies on a floor below its own, or on the same floor without a circle.
//!
//! This reads the text, without what a compiler knows of it: paths that begin with `crate::`, `super::` or `self::`, also in
//! macros and groups of `use`. A name that a `mod.rs` passes on belongs to the file that defines it.

use anyhow::{ensure, Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

/// The floors, from the ground up: folders and files of kmod/.
const FLOORS: [&[&str]; 9] = [
    &["uapi"],
    &["policy"],
    &["bindings.rs"],
    &["attach"],
    &["linux"],
    &["context"],
    &["hooks"],
    &["device"],
    &["vserver_main.rs"],
];

/// What `module!` puts at the root of the crate: nobody's.
const MADE_BY_MODULE: &str = "LocalModule";

/// The roots of crates for programs and their tests: no files of the module.
const OTHER_CRATES: [&str; 6] = [
    "btf.rs",
    "policy/lib.rs",
    "policy/tests.rs",
    "policy/tests/address.rs",
    "policy/tests/files.rs",
    "uapi/lib.rs",
];

/// Fails with all arrows that go up and one circle of what is left.
pub fn check(kmod: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    read(kmod, "", &mut files)?;
    let complaints = complaints(&files);
    ensure!(
        complaints.is_empty(),
        "the layers of kmod/ (ARCHITECTURE.md) are broken:\n{}",
        complaints.join("\n")
    );
    Ok(())
}

/// All files of the module below a folder, by their names.
fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read(&entry.path(), &format!("{name}/"), files)?;
        } else if name.ends_with(".rs")
            && !name.ends_with("_generated.rs")
            && !OTHER_CRATES.contains(&name.as_str())
        {
            files.insert(name, fs::read_to_string(entry.path())?);
        }
    }
    Ok(())
}

/// One file names another.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    from: String,
    to: String,
    line: usize,
    path: String,
}

/// The floor of a file.
fn floor(file: &str) -> Option<usize> {
    let top = file.split('/').next().unwrap_or(file);
    FLOORS.iter().position(|floor| floor.contains(&top))
}

/// What is wrong with these files.
fn complaints(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut found: Vec<String> = files
        .keys()
        .filter(|file| floor(file).is_none())
        .map(|file| format!("  kmod/{file} is on no floor"))
        .collect();
    let arrows = arrows(files);
    let (up, mut left): (Vec<&Arrow>, Vec<&Arrow>) = arrows
        .iter()
        .partition(|arrow| floor(&arrow.to) > floor(&arrow.from));
    for arrow in up {
        found.push(format!("{}: an arrow up", describe(arrow)));
    }
    while let Some(circle) = circle(&left) {
        let mut text = String::from("  a circle:");
        for arrow in &circle {
            let _ = write!(text, "\n  {}", describe(arrow));
        }
        found.push(text);
        // The next one is another one.
        left.retain(|arrow| !std::ptr::eq(*arrow, circle[0]));
    }
    found
}

fn describe(arrow: &Arrow) -> String {
    format!(
        "  kmod/{}:{}: {} (kmod/{})",
        arrow.from, arrow.line, arrow.path, arrow.to
    )
}

/// The shortest way along arrows from one file to another.
fn way<'a>(arrows: &[&'a Arrow], from: &str, to: &str) -> Option<Vec<&'a Arrow>> {
    let mut came: BTreeMap<&str, &Arrow> = BTreeMap::new();
    let mut at = vec![from];
    while !at.is_empty() && !came.contains_key(to) {
        let mut next = Vec::new();
        for arrow in arrows
            .iter()
            .copied()
            .filter(|arrow| at.contains(&arrow.from.as_str()))
        {
            if !came.contains_key(arrow.to.as_str()) {
                came.insert(&arrow.to, arrow);
                next.push(arrow.to.as_str());
            }
        }
        at = next;
    }
    let mut ways = vec![*came.get(to)?];
    while ways[0].from != from {
        ways.insert(0, came[ways[0].from.as_str()]);
    }
    Some(ways)
}

/// The shortest circle.
fn circle<'a>(arrows: &[&'a Arrow]) -> Option<Vec<&'a Arrow>> {
    let from: BTreeSet<&str> = arrows.iter().map(|arrow| arrow.from.as_str()).collect();
    from.iter()
        .filter_map(|file| way(arrows, file, file))
        .min_by_key(Vec::len)
}

/// All arrows between files, each once, at the first line that makes it.
fn arrows(files: &BTreeMap<String, String>) -> Vec<Arrow> {
    let modules: BTreeMap<Vec<&str>, &str> = files
        .keys()
        .map(|file| (module(file), file.as_str()))
        .collect();
    let code: BTreeMap<&str, Vec<(usize, String)>> = files
        .iter()
        .map(|(file, text)| (file.as_str(), words(text)))
        .collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (file, code) in &code {
        for (line, path) in paths(code, module(file), file.ends_with("/mod.rs")) {
            if path.first().is_some_and(|first| first == MADE_BY_MODULE) {
                continue;
            }
            let to = target(&path, &modules, files);
            if let Some(to) = to.filter(|to| to != file && seen.insert((*file, *to))) {
                found.push(Arrow {
                    from: (*file).to_string(),
                    to: to.to_string(),
                    line,
                    path: path.join("::"),
                });
            }
        }
    }
    found
}

/// The module that a file is.
fn module(file: &str) -> Vec<&str> {
    let stem = file.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "vserver_main" {
        Vec::new()
    } else {
        stem.split('/').collect()
    }
}

/// The file in which lies what a path names.
fn target<'a>(
    path: &[String],
    modules: &BTreeMap<Vec<&str>, &'a str>,
    files: &BTreeMap<String, String>,
) -> Option<&'a str> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let length = (0..=path.len())
        .rev()
        .find(|length| modules.contains_key(&path[..*length]))?;
    let file = modules[&path[..length]];
    let Some(name) = path.get(length).filter(|_| file.ends_with("/mod.rs")) else {
        return Some(file);
    };
    // What a mod.rs does not define itself it passes on.
    if defines(&files[file], name) {
        return Some(file);
    }
    let inside = modules
        .iter()
        .filter(|(module, _)| module.len() == length + 1 && module.starts_with(&path[..length]))
        .find(|(_, file)| defines(&files[**file], name));
    Some(inside.map_or(file, |(_, file)| file))
}

/// Whether a text defines a name: by a keyword, or in `kernel_types!`.
fn defines(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let after = &text[at + name.len()..];
        let before = &text[..at];
        if after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return false;
        }
        let line = before.rsplit('\n').next().unwrap_or(before);
        [
            "fn ",
            "struct ",
            "enum ",
            "union ",
            "trait ",
            "type ",
            "const ",
            "static ",
            "mod ",
            "macro_rules! ",
        ]
        .iter()
        .any(|keyword| {
            line.strip_suffix(keyword)
                .is_some_and(|line| line.ends_with([' ', '(']) || line.is_empty())
        }) || (line.trim().is_empty()
            && after.starts_with(" = ")
            && before.contains("kernel_types!"))
            || line.ends_with(" as ")
    })
}

/// The words and signs of a text, with their lines: no comments, no contents of strings.
pub fn words(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if first == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            end.map_or(rest.len(), |at| at + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            found.push((line, rest[..length].to_string()));
            length
        } else if rest.starts_with("::") {
            found.push((line, "::".to_string()));
            2
        } else {
            if !first.is_whitespace() {
                found.push((line, first.to_string()));
            }
            first.len_utf8()
        };
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// All paths of a file that begin in this crate, from its root, with their lines. What a `mod.rs` passes on from below
/// itself is none.
fn paths(
    code: &[(usize, String)],
    module: Vec<&str>,
    is_folder: bool,
) -> Vec<(usize, Vec<String>)> {
    let word = |at: usize| code.get(at).map_or("", |(_, word)| word.as_str());
    let mut children = BTreeSet::new();
    for at in 0..code.len() {
        if word(at) == "mod" && word(at + 2) == ";" {
            children.insert(word(at + 1));
        }
    }
    let mut found = Vec::new();
    // What `use` has brought into the file: a path may begin with it.
    let mut names: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    // Modules inside the file: their names, and the depth of braces in which each was opened.
    let mut inner: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while at < code.len() {
        match word(at) {
            "{" => depth += 1,
            "}" => {
                depth -= 1;
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
            }
            "mod" if word(at + 2) == "{" => inner.push(depth),
            _ => (),
        }
        let begins = at == 0 || word(at - 1) != "::";
        let is_child = children.contains(word(at)) && inner.is_empty();
        let starts = matches!(word(at), "crate" | "super" | "self") || is_child;
        if !begins || !starts || word(at + 1) != "::" {
            at += 1;
            continue;
        }
        let mut base: Vec<String> = module.iter().map(ToString::to_string).collect();
        let mut nested = inner.len();
        let is_reexport = is_folder && word(at) == "self" && word(at - 1) == "use";
        let mut to = at;
        loop {
            match word(to) {
                "crate" => {
                    base.clear();
                    nested = 0;
                }
                "self" => (),
                "super" if nested > 0 => nested -= 1,
                "super" => {
                    base.pop();
                }
                _ => break,
            }
            to += 1;
            if word(to) != "::" {
                break;
            }
            to += 1;
        }
        let is_use = word(at - 1) == "use";
        let end = tree(code, to, &base, &mut |line, path, name| {
            if nested == 0 && !is_reexport {
                if is_use {
                    names.insert(name, path.clone());
                }
                found.push((line, path));
            }
        });
        at = end.max(at + 1);
    }
    for at in 0..code.len() {
        let begins = at == 0 || !["::", "use", "mod"].contains(&word(at - 1));
        if let Some(path) = names
            .get(word(at))
            .filter(|_| begins && word(at + 1) == "::")
        {
            tree(code, at + 2, path, &mut |line, path, _| {
                found.push((line, path))
            });
        }
    }
    found
}

/// The paths of a tree of `use`, or of a single path, from behind a `::`, each with the name that it brings. Returns where
/// it ends.
fn tree<'a>(
    code: &'a [(usize, String)],
    mut at: usize,
    base: &[String],
    found: &mut dyn FnMut(usize, Vec<String>, &'a str),
) -> usize {
    let word = |at: usize| code.get(at).map_or("", |(_, word)| word.as_str());
    let mut name = "";
    let mut path = base.to_vec();
    let line = code.get(at).map_or(0, |(line, _)| *line);
    loop {
        if word(at) == "{" {
            at += 1;
            while at < code.len() && word(at) != "}" {
                at = tree(code, at, &path, found);
                while at < code.len() && word(at) != "," && word(at) != "}" {
                    at += 1;
                }
                if word(at) == "," {
                    at += 1;
                }
            }
            return at + 1;
        }
        let is_name = word(at).starts_with(|c: char| c.is_alphabetic() || c == '_');
        if is_name && word(at) != "self" {
            path.push(word(at).to_string());
            name = word(at);
        }
        at += 1;
        if word(at) != "::" {
            break;
        }
        at += 1;
    }
    if word(at) == "as" {
        name = word(at + 1);
    }
    found(line, path, name);
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter()
            .map(|(name, text)| ((*name).to_string(), (*text).to_string()))
            .collect()
    }

    fn complaints_of(all: &[(&str, &str)]) -> String {
        complaints(&files(all)).join("\n")
    }

    #[test]
    fn down_is_fine() {
        let all = [
            (
                "vserver_main.rs",
                "mod hooks; mod linux; fn a() { hooks::init() }",
            ),
            ("hooks/mod.rs", "pub(crate) mod fs; const A: B = fs::HOOKS;"),
            ("hooks/fs/mod.rs", "pub(crate) mod barrier;"),
            ("hooks/fs/barrier.rs", "use crate::linux::{self, Inode};"),
            ("linux/mod.rs", "mod fs;\npub(crate) use self::fs::*;"),
            (
                "linux/fs.rs",
                "// crate::hooks::fs\nconst TEXT: &str = \"crate::hooks\";",
            ),
        ];
        assert_eq!(complaints_of(&all), "");
    }

    #[test]
    fn up_is_found_in_use_macros_and_paths() {
        for text in [
            "use crate::hooks::net::bind;",
            "use crate::{bindings, hooks::{net::bind, fs}};",
            "macro_rules! m { () => { $crate::hooks::net::bind() } }",
            "fn f() {\n crate::hooks::net::bind()\n}",
            "use super::super::hooks::net::bind;",
        ] {
            let found = complaints_of(&[("linux/a.rs", text), ("hooks/net/bind.rs", "")]);
            assert!(found.contains("kmod/linux/a.rs:"), "{text}: {found}");
            assert!(found.contains("hooks::net::bind (kmod/hooks/net/bind.rs)"));
        }
    }

    #[test]
    fn lines_and_modules_inside() {
        let found = complaints_of(&[
            (
                "linux/a.rs",
                "mod inner {\n use super::*;\n use crate::{\n bindings,\n context::task,\n};\n}\nfn f() {}",
            ),
            ("context/task.rs", ""),
            ("bindings.rs", ""),
        ]);
        assert_eq!(
            found,
            "  kmod/linux/a.rs:5: context::task (kmod/context/task.rs): an arrow up"
        );
    }

    #[test]
    fn circles() {
        let all = [
            (
                "hooks/mod.rs",
                "mod a; mod b; pub(crate) use self::{a::*, b::*};",
            ),
            ("hooks/a.rs", "use super::b;\nfn one() { b::two() }"),
            ("hooks/b.rs", "fn two() { super::one() }"),
        ];
        let found = complaints_of(&all);
        assert!(found.contains("a circle"), "{found}");
        assert!(found.contains("kmod/hooks/a.rs:1: hooks::b (kmod/hooks/b.rs)"));
        assert!(found.contains("kmod/hooks/b.rs:1: hooks::one (kmod/hooks/a.rs)"));
    }

    #[test]
    fn circles_through_a_module_that_is_imported() {
        let all = [
            ("hooks/pid/mod.rs", "pub(crate) mod look;"),
            ("hooks/pid/look.rs", "use crate::hooks::owner;"),
            (
                "hooks/owner.rs",
                "use super::pid;\nfn f() { pid::look::g() }",
            ),
        ];
        let found = complaints_of(&all);
        assert!(
            found.contains("kmod/hooks/owner.rs:2: hooks::pid::look::g"),
            "{found}"
        );
    }

    #[test]
    fn a_file_on_no_floor() {
        assert!(complaints_of(&[("barrier.rs", "")]).contains("kmod/barrier.rs is on no floor"));
    }

    #[test]
    fn names_that_a_folder_passes_on() {
        let text = "kernel_types! {\n    /// One.\n    Inode = inode;\n}\npub(crate) struct Dentry;\nfn open() {}";
        for name in ["Inode", "Dentry", "open"] {
            assert!(defines(text, name), "{name}");
        }
        for name in ["inode", "One", "Den"] {
            assert!(!defines(text, name), "{name}");
        }
    }

    #[test]
    fn the_module() {
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../kmod")).unwrap();
    }
}
