// SPDX-License-Identifier: GPL-2.0

//! Manual pages and completions, written by this program itself when it is built for that (the feature `pages`), so
//! that they say what `--help` says. What is installed has none of this.

mod called;
mod completions;
mod configuration;
mod manual;

use anyhow::Context;
use called::Written;
use std::fs;
use std::path::Path;

/// What asks for them; the directory that they are written to follows.
#[cfg(feature = "pages")]
pub(crate) const ARGUMENT: &str = "--internal-pages";

fn all() -> anyhow::Result<Vec<Written>> {
    let mut files = manual::all()?;
    files.push(("man/vserver.conf.5".to_owned(), configuration::page()));
    files.extend(completions::all());
    Ok(files)
}

/// Writes all of them below a directory.
pub(crate) fn write(directory: &Path) -> anyhow::Result<()> {
    for (name, content) in all()? {
        let path = directory.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("cannot make {}", parent.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::called::commands;
    use super::called::programs;
    use super::called::Kind;
    use super::*;
    use crate::cli;
    use crate::commands::server;
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::process;

    fn files() -> BTreeMap<String, String> {
        all()
            .unwrap()
            .into_iter()
            .map(|(name, content)| (name, String::from_utf8(content).unwrap()))
            .collect()
    }

    /// A directory with all of them, which goes at the end.
    struct Directory(std::path::PathBuf);

    impl Directory {
        fn new(test: &str) -> Self {
            let path = std::env::temp_dir().join(format!("vserver-{test}-{}", process::id()));
            write(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn each_program_is_found_by_its_name() {
        for name in programs() {
            // "vps" hands most of its arguments on.
            let help = if name == "vps" {
                "--help"
            } else {
                "--no-such-option"
            };
            let args = [name, help].map(OsString::from).to_vec();
            let text = match cli::parse(args) {
                Err(error) => error.to_string(),
                Ok(command) => panic!("{name} {help}: {command:?}"),
            };
            assert!(text.contains(&format!("Usage: {name}")), "{name}: {text}");
        }
    }

    #[test]
    fn each_command_has_a_page_and_is_completed() {
        let files = files();
        let main = &files["man/vserver.8"];
        for (kind, command) in commands() {
            let page = command.get_display_name().unwrap();
            let text = files
                .get(&format!("man/{page}.8"))
                .unwrap_or_else(|| panic!("{page} has no page"));
            for heading in [
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
                ".SH \"SEE ALSO\"",
            ] {
                assert!(text.contains(heading), "{page}: {heading}");
            }
            assert!(main.contains(&page.replace('-', "\\-")), "{page}");
            let own = if kind == Kind::Program {
                page
            } else {
                "vserver"
            };
            for file in [
                format!("bash/{own}"),
                format!("zsh/_{own}"),
                format!("fish/{own}.fish"),
            ] {
                assert!(files[&file].contains(command.get_name()), "{file}: {page}");
            }
        }
        for verb in server::VERBS {
            assert!(
                files.contains_key(&format!("man/vserver-{verb}.8")),
                "{verb}"
            );
        }
    }

    #[test]
    fn the_name_stands_before_the_verb() {
        let files = files();
        for verb in server::VERBS {
            let text = &files[&format!("man/vserver-{verb}.8")];
            let synopsis = text
                .split(".SH SYNOPSIS\n")
                .nth(1)
                .and_then(|rest| rest.split(".SH").next())
                .unwrap();
            let name = synopsis
                .find("\\fINAME\\fR")
                .unwrap_or_else(|| panic!("{synopsis}"));
            let at = synopsis
                .find(&format!("\\fB{verb}\\fR"))
                .unwrap_or_else(|| panic!("{synopsis}"));
            assert!(name < at, "{synopsis}");
        }
    }

    #[test]
    fn each_variable_is_in_the_page_of_the_file() {
        let page = &files()["man/vserver.conf.5"];
        for variable in &libvserver::config::VARIABLES {
            assert!(
                page.contains(&format!("\\fB{}\\fR", variable.name)),
                "{}",
                variable.name
            );
        }
    }

    /// Runs a program; `None` when it is not installed.
    fn run(program: &str, args: &[&str]) -> Option<String> {
        let ran = process::Command::new(program).args(args).output().ok()?;
        let text = [ran.stdout, ran.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(ran.status.success(), "{program} {args:?}: {text}");
        Some(text)
    }

    #[test]
    fn bash_completes_names_then_verbs() {
        let directory = Directory::new("bash");
        let root = directory.0.display();
        for entry in fs::read_dir(directory.0.join("bash")).unwrap() {
            let path = entry.unwrap().path();
            run("bash", &["-n", path.to_str().unwrap()]).expect("bash is there");
        }
        let servers = directory.0.join("servers");
        fs::create_dir(&servers).unwrap();
        for name in ["web.conf", "db.one.conf", "web.sh", ".hidden.conf"] {
            fs::write(servers.join(name), "").unwrap();
        }
        let completed = |words: &[&str]| -> Vec<String> {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            let script = format!(
                ". <(sed 's,/etc/vservers,{root}/servers,' {root}/bash/vserver)
                 compopt() {{ :; }}
                 COMP_WORDS=({words}); COMP_CWORD={at}
                 _vserver_by_name vserver \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"
                 printf '%s\\n' \"${{COMPREPLY[@]}}\"",
                words = quoted.join(" "),
                at = words.len() - 1,
            );
            let text = run("bash", &["-c", &script]).unwrap();
            text.lines().map(str::to_owned).collect()
        };
        let has = |words: &[&str], there: &[&str], not: &[&str]| {
            let found = completed(words);
            for word in there {
                assert!(
                    found.iter().any(|it| it == word),
                    "{words:?}: {word} is not in {found:?}"
                );
            }
            for word in not {
                assert!(
                    found.iter().all(|it| it != word),
                    "{words:?}: {word} is in {found:?}"
                );
            }
        };
        has(
            &["vserver", ""],
            &["web", "db.one", "list", "chcontext"],
            &[".hidden", "start"],
        );
        has(&["vserver", "d"], &["db.one"], &["web", "list"]);
        has(
            &["vserver", "web", ""],
            &["start", "stop", "db.one"],
            &["list"],
        );
        has(&["vserver", "web", "sta"], &["start", "status"], &["stop"]);
        has(&["vserver", "web", "db.one", "sto"], &["stop"], &["start"]);
        has(
            &["vserver", "web", "status", "--"],
            &["--json"],
            &["--silent"],
        );
        has(
            &["vserver", "--silent", "web", "start", "--"],
            &["--nodev"],
            &["--json"],
        );
        has(&["vserver", "list", "--"], &["--json"], &["web"]);
        has(&["vserver", "new", "build", "--"], &["--oci", "--set"], &[]);
        has(
            &["vserver", "new", "build", "--copy", ""],
            &["web", "db.one"],
            &["start"],
        );
    }

    #[test]
    fn other_shells_take_the_completions() {
        let directory = Directory::new("shells");
        for (folder, shell) in [("zsh", "zsh"), ("fish", "fish")] {
            for entry in fs::read_dir(directory.0.join(folder)).unwrap() {
                let path = entry.unwrap().path();
                if run(shell, &["-n", path.to_str().unwrap()]).is_none() {
                    eprintln!("{shell} is not installed here: make deb asks it");
                }
            }
        }
    }
}
