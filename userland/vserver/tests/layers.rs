// SPDX-License-Identifier: GPL-2.0

//! The files of both userland crates form no circle, and of the floors below none names one above it.
//!
//! A file names another one where it has its path: `crate::a::b::X`, `super::X`, or `b::X` of a module that it declares.
//! What a module only passes on (`pub use`) counts as named where it is used, not where it is passed on. Tests may name
//! what they like.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The floors of `vserver`, lowest first: files and folders beside `main.rs`. A new one belongs on one of them.
const VSERVER: &[&[&str]] = &[
    &["announce", "columns", "duration", "exit_codes", "report"],
    &["exec", "ipv4root", "output", "processes", "wildcard_binds"],
    &["server"],
    &["commands"],
    &["cli"],
    &["pages"],
    &["main"],
];

/// The floors of `libvserver`.
const LIBVSERVER: &[&[&str]] = &[
    &[
        "fault",
        "dev_nodes",
        "syscall",
        "ioctl",
        "beneath",
        "lane",
        "module",
        "names",
        "rtnetlink",
    ],
    &["error"],
    &[
        "account",
        "addresses",
        "alias",
        "capability",
        "context",
        "context_fd",
        "flags",
        "handover",
        "interface",
        "process",
        "root",
    ],
    &["config", "device"],
    &["guest", "spectator"],
    &["helper", "init_system", "tree"],
    &["lib", "fuzz"],
];

/// The sources of a crate: what a module is called, with its text.
type Sources = BTreeMap<String, String>;

/// Which files each file names.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Reads a crate's `src`. The file at the top is called as it is: `main` or `lib`.
fn sources(directory: &Path) -> Sources {
    fn read(directory: &Path, above: &str, all: &mut Sources) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let name = format!("{above}{stem}");
            if path.is_dir() {
                read(&path, &format!("{name}::"), all);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
                all.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    let mut all = Sources::new();
    read(directory, "", &mut all);
    all
}

/// Goes behind the end of a string or letter.
fn skip_to(end: char, chars: &mut impl Iterator<Item = char>) {
    while let Some(char) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            _ if char == end => break,
            _ => {}
        }
    }
}

/// The words and signs of a text, without comments, strings and the module of tests at its end.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut found = Vec::new();
    let mut chars = text.chars().collect::<Vec<_>>().into_iter().peekable();
    let mut before = ' ';
    while let Some(char) = chars.next() {
        match char {
            '/' if chars.peek() == Some(&'/') => {
                while chars.next_if(|char| *char != '\n').is_some() {}
            }
            '"' => skip_to('"', &mut chars),
            // A letter, not a lifetime.
            '\'' if chars.peek() == Some(&'\\') || chars.clone().nth(1) == Some('\'') => {
                if chars.next() == Some('\\') {
                    chars.next();
                }
                skip_to('\'', &mut chars);
            }
            // A raw string.
            'r' if !before.is_alphanumeric()
                && chars.clone().find(|char| *char != '#') == Some('"') =>
            {
                let marks = chars.by_ref().take_while(|char| *char == '#').count();
                let end = format!("\"{}", "#".repeat(marks));
                let rest: String = chars.clone().collect();
                let length = rest.find(&end).map_or(rest.len(), |at| at + end.len());
                chars = rest[length..]
                    .chars()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .peekable();
            }
            ':' if chars.next_if_eq(&':').is_some() => found.push("::".to_owned()),
            _ if char.is_alphanumeric() || char == '_' => {
                let mut word = String::from(char);
                while let Some(next) = chars.next_if(|char| char.is_alphanumeric() || *char == '_')
                {
                    word.push(next);
                }
                found.push(word);
            }
            _ if char.is_whitespace() => {}
            _ => found.push(char.to_string()),
        }
        before = char;
    }
    found
}

/// A path as it is written, and what it stands behind: `Some(name)` when a `pub use` passes it on under that name.
struct Written {
    words: Vec<String>,
    passed_on_as: Option<String>,
}

/// All paths of a file, those of a group `a::{b, c}` one by one.
fn paths(tokens: &[String]) -> Vec<Written> {
    let is_word = |token: &str| {
        token
            .chars()
            .all(|char| char.is_alphanumeric() || char == '_')
    };
    let mut found = Vec::new();
    // What is before each brace that is open, for groups.
    let mut groups: Vec<Vec<String>> = vec![Vec::new()];
    let mut passes_on = false;
    let mut at = 0;
    while at < tokens.len() {
        let token = tokens[at].as_str();
        if token == "use" {
            let start = tokens[..at]
                .iter()
                .rposition(|token| [";", "}", "]"].contains(&token.as_str()));
            passes_on = tokens[start.map_or(0, |start| start + 1)..at]
                .iter()
                .any(|token| token == "pub");
        }
        if token == ";" {
            passes_on = false;
        }
        if token == "{" {
            groups.push(Vec::new());
        } else if token == "}" && groups.len() > 1 {
            groups.pop();
        }
        if !is_word(token) {
            at += 1;
            continue;
        }
        let mut words = groups.last().cloned().unwrap_or_default();
        words.push(token.to_owned());
        let goes_on = |next: &String| next == "*" || is_word(next);
        while tokens.get(at + 1).is_some_and(|next| next == "::")
            && tokens.get(at + 2).is_some_and(goes_on)
        {
            words.push(tokens[at + 2].clone());
            at += 2;
        }
        if tokens.get(at + 1).is_some_and(|next| next == "::")
            && tokens.get(at + 2).is_some_and(|next| next == "{")
        {
            groups.push(words);
            at += 3;
            continue;
        }
        let renamed = tokens.get(at + 1).is_some_and(|next| next == "as");
        let last = if renamed {
            tokens.get(at + 2)
        } else {
            words.last()
        };
        let passed_on_as = last.filter(|_| passes_on).cloned();
        found.push(Written {
            words,
            passed_on_as,
        });
        at += if renamed { 3 } else { 1 };
    }
    found
}

/// Where a path begins that is written in a module, or nothing when it is no path into this crate.
fn absolute(all: &Sources, module: &str, words: &[String]) -> Option<Vec<String>> {
    // A word alone is no path: `pub(crate)`, or a name.
    if words.len() < 2 {
        return None;
    }
    let top = module == "main" || module == "lib";
    let own: Vec<String> = if top {
        Vec::new()
    } else {
        module.split("::").map(str::to_owned).collect()
    };
    let mut from = own.clone();
    let mut rest = words;
    match words[0].as_str() {
        "crate" => {
            from.clear();
            rest = &words[1..];
        }
        "self" => rest = &words[1..],
        "super" => {
            while rest.first().is_some_and(|word| word == "super") {
                from.pop()?;
                rest = &rest[1..];
            }
        }
        // A module that this one declares.
        first => {
            let child = [from.as_slice(), &[first.to_owned()]].concat().join("::");
            if !all.contains_key(&child) {
                return None;
            }
        }
    }
    from.extend(rest.iter().cloned());
    Some(from)
}

fn graph(all: &Sources) -> Graph {
    let top = if all.contains_key("lib") {
        "lib"
    } else {
        "main"
    };
    let written: BTreeMap<&String, Vec<Written>> = all
        .iter()
        .map(|(module, text)| (module, paths(&tokens(text))))
        .collect();
    // What is passed on, by the path that others have for it.
    let mut passed_on = BTreeMap::new();
    for (module, paths) in &written {
        for path in paths {
            if let (Some(name), Some(target)) =
                (&path.passed_on_as, absolute(all, module, &path.words))
            {
                let place = if *module == top {
                    name.clone()
                } else {
                    format!("{module}::{name}")
                };
                passed_on.insert(place, target);
            }
        }
    }
    let owner = |mut path: Vec<String>| -> String {
        // What is passed on may be passed on again.
        for _ in 0..8 {
            let again = (1..=path.len()).rev().find_map(|length| {
                let target = passed_on.get(&path[..length].join("::"))?;
                Some([target.as_slice(), &path[length..]].concat())
            });
            match again {
                Some(target) if target != path => path = target,
                _ => break,
            }
        }
        let file = (1..=path.len())
            .rev()
            .map(|length| path[..length].join("::"))
            .find(|file| all.contains_key(file));
        file.unwrap_or_else(|| top.to_owned())
    };
    let mut graph = Graph::new();
    for (module, paths) in &written {
        let named = paths.iter().filter(|path| path.passed_on_as.is_none());
        let named = named
            .filter_map(|path| absolute(all, module, &path.words))
            .map(owner);
        graph.insert(
            (*module).clone(),
            named.filter(|other| other != *module).collect(),
        );
    }
    graph
}

/// A way from a file back to itself, if there is one.
fn circle(graph: &Graph) -> Option<Vec<String>> {
    // Files that name nothing, and those that name only such files, are in no circle.
    let mut left = graph.clone();
    loop {
        let inside: BTreeSet<String> = left.keys().cloned().collect();
        let before = left.len();
        left.retain(|_, named| named.iter().any(|other| inside.contains(other)));
        if left.len() == before {
            break;
        }
    }
    let mut way = vec![left.keys().next()?.clone()];
    loop {
        let next = left[way.last()?]
            .iter()
            .find(|other| left.contains_key(*other))?
            .clone();
        if let Some(start) = way.iter().position(|file| *file == next) {
            way.drain(..start);
            way.push(next);
            return Some(way);
        }
        way.push(next);
    }
}

/// What is wrong with a crate, in words.
fn faults(all: &Sources, floors: &[&[&str]]) -> Vec<String> {
    let graph = graph(all);
    let mut faults = Vec::new();
    if let Some(way) = circle(&graph) {
        faults.push(format!("a circle: {}", way.join(" -> ")));
    }
    let floor = |file: &str| {
        let first = file.split("::").next().unwrap_or(file);
        floors.iter().position(|floor| floor.contains(&first))
    };
    for (file, named) in &graph {
        let Some(own) = floor(file) else {
            faults.push(format!(
                "{file} is on no floor; say in tests/layers.rs on which it is"
            ));
            continue;
        };
        for other in named
            .iter()
            .filter(|other| floor(other).is_some_and(|floor| floor > own))
        {
            faults.push(format!("{file} names {other}, which is above it"));
        }
    }
    faults
}

fn check(source: &str, floors: &[&[&str]]) {
    let all = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source));
    let found = faults(&all, floors);
    assert!(found.is_empty(), "{source}:\n  {}", found.join("\n  "));
}

#[test]
fn vserver_has_floors_and_no_circle() {
    check("src", VSERVER);
}

#[test]
fn libvserver_has_floors_and_no_circle() {
    check("../libvserver/src", LIBVSERVER);
}

/// A crate of these files.
fn planted(files: &[(&str, &str)]) -> Sources {
    files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

#[test]
fn what_is_planted_is_found() {
    const FLOORS: &[&[&str]] = &[&["low"], &["high"], &["main"]];
    let main = ("main", "mod high;\nmod low;\nfn main() { high::run() }");
    let found = |files: &[(&str, &str)]| {
        let mut files = files.to_vec();
        files.push(main);
        faults(&planted(&files), FLOORS)
    };
    let clean = "use crate::low::X; pub(crate) fn run() {}";
    assert!(found(&[
        ("high", clean),
        (
            "low",
            "// crate::high\nconst A: &str = \"crate::high::run\";"
        )
    ])
    .is_empty());
    // Upwards, in each way to write it.
    for text in [
        "use crate::high::run;",
        "use crate::{high, low};",
        "fn f() { crate::high::run() }",
        "use super::high::run as it;",
    ] {
        let said = found(&[("high", "pub(crate) fn run() {}"), ("low", text)]);
        assert_eq!(said, ["low names high, which is above it"], "{text}");
    }
    // A circle within a folder, by what its top passes on; only the tests of a file are free.
    let folder = |text| {
        [
            ("high", "mod a;\nmod b;\npub(crate) use a::A;"),
            ("high::a", "use super::b::B;"),
            ("high::b", text),
        ]
    };
    let said = found(&folder("use super::A;"));
    assert_eq!(said, ["a circle: high::a -> high::b -> high::a"]);
    assert!(found(&folder("#[cfg(test)]\nmod tests {\n use crate::high::A; }")).is_empty());
    // A folder's own file that uses what is in the folder, and is used there.
    let said = found(&[
        ("high", "mod a;\nuse a::A;"),
        ("high::a", "use super::Above;"),
    ]);
    assert_eq!(said, ["a circle: high -> high::a -> high"]);
    let said = found(&[("high", ""), ("low", ""), ("new", "")]);
    assert_eq!(
        said,
        ["new is on no floor; say in tests/layers.rs on which it is"]
    );
}
