// SPDX-License-Identifier: GPL-2.0

//! `vpstree`: the processes of every context as a tree.

use super::Verb;
use crate::exit_codes;
use crate::processes::Process;
use crate::processes::Reader;
use anyhow::Context;
use clap::Parser;
use libvserver::uapi::CONTEXT_ROOT;
use libvserver::Device;
use libvserver::Spectator;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io;
use std::io::Write;

/// Show the processes of every context as a tree
///
/// Where the context changes, its number and the name of the vserver follow in brackets. Only root in context 0 may.
#[derive(Debug, Parser)]
#[command(name = "vpstree", max_term_width = 100)]
pub(crate) struct Vpstree {
    /// Show the number of each process
    #[arg(short = 'p', long)]
    pids: bool,

    /// Draw with ASCII characters
    #[arg(long)]
    ascii: bool,

    /// Print JSON: processes with their children
    #[arg(long, conflicts_with_all = ["pids", "ascii"])]
    json: bool,

    /// Only the processes of this vserver
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Verb for Vpstree {
    fn run(&self) -> anyhow::Result<u8> {
        let reader = Reader::new();
        let spectator = Spectator::enter(Device::open()?)?;
        let mut processes = reader.all(&spectator)?;
        if let Some(name) = &self.name {
            let context = reader.names().context(name).with_context(|| {
                format!("there is no running vserver \"{name}\"; see \"vserver list\"")
            })?;
            processes.retain(|process| process.context == context);
        }
        let mut out = io::BufWriter::new(io::stdout().lock());
        if self.json {
            write_json(&mut out, &processes)?;
        } else {
            let unicode = !self.ascii && is_unicode(|name| std::env::var(name).ok());
            write_text(&mut out, &processes, self.pids, unicode)?;
        }
        out.flush()?;
        Ok(exit_codes::SUCCESS)
    }
}

/// Whether the terminal is said to know more than ASCII.
fn is_unicode(variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &&str| variable(name).filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(set);
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_uppercase();
        locale.contains("UTF-8") || locale.contains("UTF8")
    })
}

/// What happens on the way through the tree.
enum Step<'a> {
    Enter {
        process: &'a Process,
        /// Of its parent.
        context: i32,
        /// For it and each of those above it: whether it is the last child.
        last: &'a [bool],
    },
    Leave,
}

/// Walks through the tree. How deep it is, is up to whoever makes processes, so this does not call itself. Those
/// whose parent is not among them stand at the root.
fn walk(processes: &[Process], mut step: impl FnMut(Step<'_>) -> io::Result<()>) -> io::Result<()> {
    let known: BTreeSet<i32> = processes.iter().map(|process| process.pid).collect();
    let mut children: BTreeMap<i32, Vec<&Process>> = BTreeMap::new();
    for process in processes {
        let parent = process.details.parent;
        let parent = if known.contains(&parent) { parent } else { 0 };
        children.entry(parent).or_default().push(process);
    }
    let mut last = Vec::new();
    // Each level: whose children they are, and those that are left, the next one last.
    let mut levels = vec![(CONTEXT_ROOT, reversed(children.remove(&0)))];
    while let Some((context, left)) = levels.last_mut() {
        let Some(process) = left.pop() else {
            levels.pop();
            if last.pop().is_some() {
                step(Step::Leave)?;
            }
            continue;
        };
        last.push(left.is_empty());
        let context = *context;
        step(Step::Enter {
            process,
            context,
            last: &last,
        })?;
        levels.push((process.context, reversed(children.remove(&process.pid))));
    }
    Ok(())
}

fn reversed(list: Option<Vec<&Process>>) -> Vec<&Process> {
    let mut list = list.unwrap_or_default();
    list.reverse();
    list
}

fn write_text(
    out: &mut impl Write,
    processes: &[Process],
    pids: bool,
    unicode: bool,
) -> io::Result<()> {
    let [branch, corner, bar] = match unicode {
        true => ["├─", "└─", "│ "],
        false => ["|-", "`-", "| "],
    };
    walk(processes, |step| {
        let Step::Enter {
            process,
            context,
            last,
        } = step
        else {
            return Ok(());
        };
        // The roots are not connected.
        if let [_, above @ .., own] = last {
            for last in above {
                out.write_all(if *last { "  " } else { bar }.as_bytes())?;
            }
            out.write_all(if *own { corner } else { branch }.as_bytes())?;
        }
        write!(out, "{}", process.details.name)?;
        if pids {
            write!(out, "({})", process.pid)?;
        }
        if process.context != context {
            let both = format!("{} {}", process.context, process.vserver);
            write!(out, " [{}]", both.trim_end())?;
        }
        writeln!(out)
    })
}

fn write_json(out: &mut impl Write, processes: &[Process]) -> io::Result<()> {
    write!(out, "{{\"processes\":[")?;
    let mut comma = false;
    walk(processes, |step| {
        match step {
            Step::Enter { process, .. } => {
                if comma {
                    write!(out, ",")?;
                }
                let fields = json!({
                    "pid": process.pid,
                    "ctx": process.context,
                    "name": process.vserver,
                    "comm": process.details.name,
                    "command": process.details.command,
                });
                let fields = fields.to_string();
                let open = fields.strip_suffix('}').unwrap_or(&fields);
                write!(out, "{open},\"children\":[")?;
                comma = false;
            }
            Step::Leave => {
                write!(out, "]}}")?;
                comma = true;
            }
        }
        Ok(())
    })?;
    writeln!(out, "]}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, parent: i32, context: i32, name: &str) -> Process {
        let mut process = Process {
            pid,
            context,
            ..Process::default()
        };
        process.details.parent = parent;
        process.details.name = name.to_owned();
        process.details.command = format!("{name} {{}}");
        if context == 100 {
            process.vserver = "web".to_owned();
        }
        process
    }

    fn some() -> Vec<Process> {
        vec![
            process(1, 0, 0, "init"),
            process(2, 0, 0, "kthreadd"),
            process(3, 2, 0, "kworker"),
            process(5, 1, 0, "keeper"),
            process(6, 5, 100, "init"),
            process(7, 6, 100, "sshd"),
            process(8, 1, 0, "sh"),
            process(9, 8, 1, "vps"),
            // Its parent has ended meanwhile.
            process(20, 19, 0, "orphan"),
        ]
    }

    #[test]
    fn brackets_where_the_context_changes() {
        let mut out = Vec::new();
        write_text(&mut out, &some(), true, true).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\
init(1)
├─keeper(5)
│ └─init(6) [100 web]
│   └─sshd(7)
└─sh(8)
  └─vps(9) [1]
kthreadd(2)
└─kworker(3)
orphan(20)
"
        );
    }

    #[test]
    fn json_is_nested() {
        let mut out = Vec::new();
        write_json(&mut out, &some()).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let init = &value["processes"][0];
        assert_eq!(init["children"][0]["children"][0]["name"], "web");
        assert_eq!(init["children"][1]["comm"], "sh");
        assert_eq!(init["children"][1]["command"], "sh {}");
        assert_eq!(value["processes"].as_array().unwrap().len(), 3);
        let mut out = Vec::new();
        write_json(&mut out, &[]).unwrap();
        assert_eq!(out, b"{\"processes\":[]}\n");
    }

    #[test]
    fn neither_depth_nor_a_ring_does_harm() {
        let deep: Vec<Process> = (1..20_000)
            .map(|pid| process(pid, pid - 1, 0, "x"))
            .collect();
        let mut out = Vec::new();
        write_json(&mut out, &deep).unwrap();
        assert_eq!(out.iter().filter(|&&byte| byte == b'[').count(), 20_000);
        let mut out = Vec::new();
        write_text(
            &mut out,
            &[process(5, 6, 0, "a"), process(6, 5, 0, "b")],
            false,
            false,
        )
        .unwrap();
        assert!(out.is_empty());
    }

    #[test]
    fn the_locale_says_what_can_be_drawn() {
        let of =
            |wanted: &'static str| move |name: &str| (name == "LANG").then(|| wanted.to_owned());
        assert!(is_unicode(of("de_DE.utf8")));
        assert!(is_unicode(of("C.UTF-8")));
        assert!(!is_unicode(of("C")));
        assert!(!is_unicode(|_| None));
    }
}
