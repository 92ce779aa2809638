// SPDX-License-Identifier: GPL-2.0

//! What `make check` asks of the built module: a hook that only mediates goes on into the kernel's function by a jump, so that
//! nothing of the module is on the stack while that runs. The compiler promises that for none that is a function of Rust
//! (`mediate_anyone`, `relay`), so it is looked for in what it has made.

use anyhow::{ensure, Context, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};
use walkdir::WalkDir;

/// Kinds of hooks that end in a jump to the kernel's function.
const KINDS: [&str; 7] = [
    "mediate",
    "mediate_anyone",
    "redirect",
    "answer",
    "instead",
    "relay",
    "wrap_inside",
];

/// Those of them that may also call it before, with other arguments.
const MAY_CALL: [&str; 2] = ["relay", "instead"];

/// The hooks that are declared in a text, with their kinds: `KIND fn NAME(` or `KIND(original) fn NAME(`.
fn declared(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let Some((before, after)) = line.trim_start().split_once(" fn ") else {
            continue;
        };
        let kind = before.split('(').next().unwrap_or_default().trim();
        if KINDS.contains(&kind) {
            let name = after.split('(').next().unwrap_or_default();
            found.insert(name.to_string(), kind.to_string());
        }
    }
    found
}

/// How the entries of hooks go to `vserver_orig_NAME`, by its relocations: in what function, by which instruction.
fn ways(disassembly: &str) -> BTreeMap<String, BTreeSet<(String, String)>> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let (mut function, mut instruction) = ("", "");
    for line in disassembly.lines() {
        if let Some((_, rest)) = line.split_once("R_X86_64_") {
            let target = rest.split_whitespace().nth(1).unwrap_or_default();
            let target = target.split(['-', '+']).next().unwrap_or_default();
            if let Some(name) = target.strip_prefix("vserver_orig_") {
                let way = (function.to_string(), instruction.to_string());
                found.entry(name.to_string()).or_default().insert(way);
            }
        } else if let Some(name) = line
            .strip_suffix(">:")
            .and_then(|rest| rest.split_once('<'))
        {
            function = name.1;
        } else if let Some((_, rest)) = line.split_once(":\t") {
            instruction = rest.split_whitespace().next().unwrap_or_default();
        }
    }
    found
}

/// Says how many hooks go on by a jump; fails with those that do not.
fn judge(hooks: &BTreeMap<String, String>, disassembly: &str) -> Result<usize> {
    let ways = ways(disassembly);
    let (mut good, mut bad) = (0, Vec::new());
    for (name, kind) in hooks {
        // Not in this configuration; or a member of the patched kernel's operations, which stands in front of no function.
        if !disassembly.contains(&format!("<vserver_wrap_{name}>:"))
            || !disassembly.contains(&format!("<vserver_orig_{name}>:"))
        {
            continue;
        }
        let entry = format!("vserver_wrap_{name}");
        let own: Vec<&str> = ways
            .get(name)
            .into_iter()
            .flatten()
            .filter(|(function, _)| *function == entry)
            .map(|(_, instruction)| instruction.as_str())
            .collect();
        if !own.iter().any(|instruction| instruction.starts_with('j')) {
            bad.push(format!("{name} ({kind}): no jump to the kernel's function"));
        } else if own
            .iter()
            .any(|instruction| instruction.starts_with("call"))
            && !MAY_CALL.contains(&kind.as_str())
        {
            bad.push(format!("{name} ({kind}): calls the kernel's function"));
        } else {
            good += 1;
        }
    }
    ensure!(
        bad.is_empty(),
        "hooks that do not go on by a jump:\n  {}",
        bad.join("\n  ")
    );
    ensure!(good > 0, "no hook is found in the object");
    Ok(good)
}

/// Of the object that the module is linked from, for the sources in `kmod`.
pub fn check(kmod: &Path, object: &Path) -> Result<usize> {
    let mut hooks = BTreeMap::new();
    for entry in WalkDir::new(kmod) {
        let entry = entry?;
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            hooks.append(&mut declared(&fs::read_to_string(entry.path())?));
        }
    }
    let output = Command::new("objdump")
        .args(["-dr", "--no-show-raw-insn"])
        .arg(object)
        .output()
        .context("cannot start objdump")?;
    ensure!(
        output.status.success(),
        "objdump cannot read {}",
        object.display()
    );
    judge(&hooks, &String::from_utf8_lossy(&output.stdout))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOOKS: &str = "    mediate_anyone fn tty_open(inode: &Inode) -> c_int {\n    relay(original) fn readdir() -> c_int {\n\
                         pub(crate) fn other() {\n    //! mediate fn not_one(\n";

    fn disassembly(way: &str) -> String {
        format!(
            "0000000000000010 <vserver_wrap_tty_open>:\n  10:\tcall   15 <x>\n\t\t\t11: R_X86_64_PLT32\tcheck-0x4\n  \
             15:\t{way}    1a <next>\n\t\t\t16: R_X86_64_PLT32\tvserver_orig_tty_open-0x4\n\
             0000000000000020 <vserver_orig_tty_open>:\n"
        )
    }

    #[test]
    fn declarations() {
        let found = declared(HOOKS);
        assert_eq!(
            found.get("tty_open").map(String::as_str),
            Some("mediate_anyone")
        );
        assert_eq!(found.get("readdir").map(String::as_str), Some("relay"));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn ends_of_entries() {
        let hooks = declared(HOOKS);
        assert_eq!(judge(&hooks, &disassembly("jmp")).expect("a jump"), 1);
        assert_eq!(judge(&hooks, &disassembly("je")).expect("a jump"), 1);
        assert!(judge(&hooks, &disassembly("call")).is_err());
        let both = disassembly("jmp") + &disassembly("call");
        assert!(judge(&hooks, &both).is_err());
        assert!(judge(&hooks, "").is_err());
    }
}
