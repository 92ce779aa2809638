// SPDX-License-Identifier: GPL-2.0

//! `vserver NAME NAME… VERB`: the same with several vservers, some of them named by wildcards.

use super::server;
use super::vservers::Action;
use super::vservers::Vservers;
use super::Verb;
use crate::announce::announce;
use crate::exit_codes;
use crate::server::names::expand;
use crate::server::names::has_wildcard;
use clap::error::ErrorKind;
use clap::ValueEnum;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Several vservers, and what is done with each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Several {
    /// What stood before the names.
    options: Vec<OsString>,
    names: Vec<String>,
    verb: String,
    /// What stood after the verb.
    rest: Vec<OsString>,
}

impl Several {
    /// Whether the arguments are for several: all up to the first verb are names then. `is_command` knows the words that
    /// are commands, not names.
    pub(crate) fn find(
        args: &[OsString],
        is_command: impl Fn(&str) -> bool,
    ) -> Result<Option<Self>, clap::Error> {
        let is_option = |arg: &&OsString| arg.to_string_lossy().starts_with("--");
        let is_verb = |arg: &OsString| server::VERBS.iter().any(|verb| arg == verb);
        let options = args.iter().take_while(is_option).count();
        let Some(count) = args[options..].iter().skip(1).position(is_verb) else {
            return Ok(None);
        };
        // The verb's own place; a first word that is a verb is one, and no name.
        let at = options + 1 + count;
        let first = args[options].to_string_lossy();
        if is_verb(&args[options]) || is_command(&first) {
            return Ok(None);
        }
        let mut names = Vec::new();
        for name in &args[options..at] {
            match name.to_str() {
                Some(name) if !name.starts_with('-') => names.push(name.to_owned()),
                _ => return Ok(None),
            }
        }
        if names.len() < 2 && !has_wildcard(&names[0]) {
            return Ok(None);
        }
        let verb = args[at].to_string_lossy().into_owned();
        if server::SINGLE.contains(&verb.as_str()) {
            return Err(clap::Error::raw(
                ErrorKind::ValueValidation,
                format!("\"{verb}\" is for one vserver at a time; write \"vserver NAME {verb}\"\n"),
            ));
        }
        Ok(Some(Self {
            options: args[..options].to_vec(),
            names,
            verb,
            rest: args[at + 1..].to_vec(),
        }))
    }

    fn one(&self, name: &str) -> anyhow::Result<u8> {
        let status = Command::new("/proc/self/exe")
            .arg0("vserver")
            .args(&self.options)
            .args([name, &self.verb])
            .args(&self.rest)
            .status()?;
        Ok(server::exec::code(status))
    }
}

impl Verb for Several {
    fn run(&self) -> anyhow::Result<u8> {
        let silent = self.options.iter().any(|option| option == "--silent");
        // Side by side, where nobody has to read along.
        let together = Action::from_str(&self.verb, false)
            .ok()
            .filter(|action| *action != Action::Status);
        if let (Some(action), true) = (together, self.rest.is_empty()) {
            return Vservers::of(action, silent, self.names.clone()).run();
        }
        let mut worst = exit_codes::SUCCESS;
        for (index, server) in expand(&self.names)?.iter().enumerate() {
            if self.verb != "running" {
                let gap = if index > 0 { "\n" } else { "" };
                announce(format_args!("{gap}== {}", server.name))?;
            }
            worst = worst.max(self.one(&server.name)?);
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(line: &str) -> Option<(Vec<String>, String, usize)> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let found = Several::find(&args, |word| word == "chcontext").unwrap()?;
        Some((found.names, found.verb, found.rest.len()))
    }

    #[test]
    fn names_stand_before_the_verb() {
        let expected = |names: &[&str], verb: &str, rest| {
            let names = names.iter().map(ToString::to_string).collect();
            Some((names, verb.to_owned(), rest))
        };
        for (line, found) in [
            ("web db start", expected(&["web", "db"], "start", 0)),
            ("--silent web* stop", expected(&["web*"], "stop", 0)),
            ("w?b exec ls start", expected(&["w?b"], "exec", 2)),
            ("web start", None),
            ("web exec start db", None),
            ("start stop", None),
            ("start web db", None),
            ("chcontext --ctx 5 start", None),
            ("chcontext sh start", None),
            ("web", None),
            ("", None),
        ] {
            assert_eq!(find(line), found, "{line}");
        }
        let args: Vec<OsString> = ["a", "b", "enter"].iter().map(OsString::from).collect();
        assert!(Several::find(&args, |_| false)
            .unwrap_err()
            .to_string()
            .contains("one vserver at a time"));
    }
}
