// SPDX-License-Identifier: GPL-2.0

//! Which command is meant, its options, and what its errors look like.

use crate::commands::all::Command;
use crate::commands::attributes::Setattr;
use crate::commands::attributes::Showattr;
use crate::commands::capchroot::Capchroot;
use crate::commands::chbind::Chbind;
use crate::commands::chcontext::Chcontext;
use crate::commands::newvserver::Newvserver;
use crate::commands::reducecap::Reducecap;
use crate::commands::server;
use crate::commands::several::Several;
use crate::commands::vdu::Vdu;
use crate::commands::vkill::Vkill;
use crate::commands::vps::Vps;
use crate::commands::vpstree::Vpstree;
use crate::commands::vserver_stat::VserverStat;
use crate::commands::vservers::Vservers;
use crate::commands::vtop::Vtop;
use crate::exit_codes;
use crate::report::message;
use clap::error::ErrorKind;
use clap::CommandFactory;
use clap::Parser;
use std::ffi::OsString;
use std::path::Path;

/// Virtual servers on one kernel
///
/// The verbs that are for vservers come after the name: "vserver NAME start". Several names, or one with the wildcards *
/// and ?, can stand there too where that makes sense. The commands from vservers to vserver-stat also have names of their
/// own: a link of that name to this program is the command.
#[derive(Debug, Parser)]
#[command(
    name = "vserver",
    version,
    max_term_width = 100,
    after_help = "Exit codes:\n  \
        0    done\n  \
        1    failed\n  \
        2    wrong usage\n  \
        3    the kernel module is not loaded\n  \
        4    not permitted\n  \
        125  capchroot, chbind, chcontext, reducecap, enter and exec themselves failed\n  \
        126  the command was found but cannot be executed\n  \
        127  the command was not found"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The command for these arguments, the program's name included. Called by its own name, a command
/// is parsed alone: that is less to build on the path of every `chcontext`.
pub(crate) fn parse(mut args: Vec<OsString>) -> Result<Command, clap::Error> {
    match program(&args).as_str() {
        "capchroot" => Capchroot::try_parse_from(args).map(Command::Capchroot),
        "chbind" => Chbind::try_parse_from(args).map(Command::Chbind),
        "chcontext" => Chcontext::try_parse_from(args).map(Command::Chcontext),
        "reducecap" => {
            Reducecap::try_parse_from(Reducecap::normalise(args)).map(Command::Reducecap)
        }
        "vps" => Vps::try_parse_from(args).map(Command::Vps),
        "showattr" => Showattr::try_parse_from(args).map(Command::Showattr),
        "setattr" => Setattr::try_parse_from(args).map(Command::Setattr),
        "vtop" => Vtop::try_parse_from(args).map(Command::Vtop),
        "vpstree" => Vpstree::try_parse_from(args).map(Command::Vpstree),
        "vkill" => Vkill::try_parse_from(Vkill::normalise(args)).map(Command::Vkill),
        "vserver-stat" => VserverStat::try_parse_from(args).map(Command::VserverStat),
        "newvserver" => Newvserver::try_parse_from(args).map(Command::Newvserver),
        "vdu" => Vdu::try_parse_from(args).map(Command::Vdu),
        "vservers" => Vservers::try_parse_from(args).map(Command::Vservers),
        _ => {
            if args.len() > 1 {
                let rest = args.split_off(1);
                if let Some(several) = Several::find(&rest, is_command)? {
                    return Ok(Command::Several(several));
                }
                let rest = match rest[0].to_str() {
                    Some("reducecap") => Reducecap::normalise(rest),
                    Some("vkill") => Vkill::normalise(rest),
                    _ => verb_first(rest),
                };
                without_verb(&rest)?;
                args.extend(rest);
            }
            Cli::try_parse_from(args).map(|cli| cli.command)
        }
    }
}

/// Whether a word is a command, and so no name of a vserver.
fn is_command(word: &str) -> bool {
    Cli::command().find_subcommand(word).is_some()
}

/// Turn `[--silent] NAME VERB ...` into `VERB [--silent] NAME ...`. Of a vserver that is called like a verb, the verb
/// comes first. A verb that prints nothing of its own is silent already, and one that adds no address to a device needs no
/// leave to do without.
fn verb_first(mut rest: Vec<OsString>) -> Vec<OsString> {
    let among = |verbs: &[&str], arg: &OsString| verbs.iter().any(|verb| arg == verb);
    let is_verb = |arg: &OsString| among(&server::VERBS, arg);
    let options = rest
        .iter()
        .take_while(|arg| arg.to_string_lossy().starts_with("--"))
        .count();
    if rest.len() > options + 1 && !is_verb(&rest[options]) && is_verb(&rest[options + 1]) {
        let verb = rest.remove(options + 1);
        let mut before: Vec<OsString> = rest.drain(..options).collect();
        if !among(&server::TALKING, &verb) {
            before.retain(|option| option != "--silent");
        }
        if !among(&server::ADDING, &verb) {
            before.retain(|option| option != "--nodev");
        }
        before.insert(0, verb);
        rest.splice(0..0, before);
    }
    rest
}

/// Refuses what begins with a name, and has no verb after it.
fn without_verb(rest: &[OsString]) -> Result<(), clap::Error> {
    let mut words = rest.iter().map(|arg| arg.to_string_lossy());
    let Some(name) = words.find(|word| !word.starts_with('-')) else {
        return Ok(());
    };
    if name == "help" || is_command(&name) {
        return Ok(());
    }
    let verbs = server::VERBS.join(" ");
    let text = match words.next() {
        Some(word) => format!(
            "\"{word}\" cannot be done with a vserver; what can be done with {name} is: {verbs}\n"
        ),
        None => format!(
            "what is to be done with {name}? Write \"vserver {name} VERB\"; the verbs are: {verbs}\n"
        ),
    };
    Err(clap::Error::raw(ErrorKind::InvalidSubcommand, text))
}

/// The name that the program was called by, without its directory.
fn program(args: &[OsString]) -> String {
    args.first()
        .and_then(|path| Path::new(path).file_name())
        .map_or_else(
            || "vserver".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
}

/// Do what the arguments say; returns the exit code.
pub(crate) fn run(args: Vec<OsString>) -> u8 {
    let program = program(&args);
    let command = match parse(args) {
        Ok(command) => command,
        Err(error) => {
            // Help and version are "errors" as well, with code 0. Nobody may be there to read them.
            let _ = error.print();
            return u8::try_from(error.exit_code()).unwrap_or(exit_codes::USAGE);
        }
    };
    let verb = command.verb();
    match verb.run() {
        Ok(code) => code,
        Err(error) => {
            if !exit_codes::is_closed_output(&error) {
                eprintln!("{program}: {}", message(&error));
            }
            exit_codes::of_error(&error, verb.style())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
        for command in commands() {
            command.debug_assert();
        }
    }

    /// Each as it is when it is called by its own name.
    fn commands() -> Vec<clap::Command> {
        let cli = Cli::command();
        cli.get_subcommands().cloned().collect()
    }

    #[test]
    fn a_command_is_found_by_either_name() {
        for line in [
            "chcontext --ctx -2 true",
            "/usr/sbin/chcontext true",
            "vserver chcontext true",
        ] {
            assert!(
                matches!(parse(args(line)), Ok(Command::Chcontext(_))),
                "{line}"
            );
        }
        for line in [
            "vserver-stat --json",
            "vserver vserver-stat",
            "./vserver vserver-stat -o ctx",
        ] {
            assert!(
                matches!(parse(args(line)), Ok(Command::VserverStat(_))),
                "{line}"
            );
        }
        for line in [
            "chbind --ip eth0 true",
            "vserver chbind --who 80",
            "/usr/sbin/chbind --ip 10.0.0.5/24 --bcast eth0 -- true",
        ] {
            assert!(
                matches!(parse(args(line)), Ok(Command::Chbind(_))),
                "{line}"
            );
        }
        for line in [
            "capchroot /vservers/one true",
            "/usr/lib/vserver/capchroot --nochroot --suid bob . true --suid",
            "vserver capchroot --suid 1000 -- . -x",
        ] {
            assert!(
                matches!(parse(args(line)), Ok(Command::Capchroot(_))),
                "{line}"
            );
        }
        for line in ["vkill -9 1", "vserver vkill -KILL 1 2", "vkill -s hup 3"] {
            assert!(matches!(parse(args(line)), Ok(Command::Vkill(_))), "{line}");
        }
        for line in [
            "reducecap --Cap_Net_Raw true",
            "vserver reducecap --CAP_NET_RAW -- true",
        ] {
            assert!(
                matches!(parse(args(line)), Ok(Command::Reducecap(_))),
                "{line}"
            );
        }
        for line in [
            "vps -ef",
            "vps aux",
            "vserver vps -o pid,comm --no-headers",
            "vps -h",
        ] {
            assert!(matches!(parse(args(line)), Ok(Command::Vps(_))), "{line}");
        }
        assert!(matches!(
            parse(args("vserver barrier --set /srv/vservers")),
            Ok(Command::Barrier(_))
        ));
        assert!(matches!(
            parse(args("vserver info --json")),
            Ok(Command::Info(_))
        ));
    }

    #[test]
    fn a_name_stands_before_its_verb() {
        let turned = |line: &str| -> String {
            let words: Vec<String> = verb_first(args(line))
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect();
            words.join(" ")
        };
        for (line, expected) in [
            ("web start", "start web"),
            ("--silent web start", "start --silent web"),
            ("--silent web running", "running --silent web"),
            // Nothing to be silent about.
            ("--silent web exec ls --silent", "exec web ls --silent"),
            ("--silent web status --json", "status web --json"),
            ("--nodev --silent web start", "start --nodev --silent web"),
            ("--nodev --silent web stop", "stop --silent web"),
            ("web exec start web", "exec web start web"),
            // A vserver that is called like a verb, or a command.
            ("start stop", "start stop"),
            ("stop start", "stop start"),
            ("info start", "start info"),
            ("info --json", "info --json"),
            ("web", "web"),
            ("--silent", "--silent"),
            ("", ""),
        ] {
            assert_eq!(turned(line), expected, "{line}");
        }
    }

    #[test]
    fn a_name_needs_a_verb() {
        let said = |line: &str| parse(args(line)).unwrap_err().to_string();
        assert!(said("vserver web begin").starts_with(
            "error: \"begin\" cannot be done with a vserver; what can be done with web is: build "
        ));
        assert!(said("vserver --silent web")
            .starts_with("error: what is to be done with web? Write \"vserver web VERB\""));
        assert!(said("vserver --nonsense").contains("--nonsense"));
    }

    #[test]
    fn each_verb_of_a_vserver_is_found() {
        let is = |line: &str, right: fn(&Command) -> bool| {
            assert!(
                parse(args(line)).is_ok_and(|command| right(&command)),
                "{line}"
            );
        };
        is("vserver web start", |it| matches!(it, Command::Start(_)));
        is("vserver --silent web stop", |it| {
            matches!(it, Command::Stop(_))
        });
        is("vserver web restart", |it| {
            matches!(it, Command::Restart(_))
        });
        is("vserver --silent web running", |it| {
            matches!(it, Command::Running(_))
        });
        is("vserver web status --json", |it| {
            matches!(it, Command::Status(_))
        });
        is("vserver --silent web enter", |it| {
            matches!(it, Command::Enter(_))
        });
        is("vserver web enter --user bob", |it| {
            matches!(it, Command::Enter(_))
        });
        is("vserver web console --last 0", |it| {
            matches!(it, Command::Console(_))
        });
        for (line, user, command) in [
            ("vserver web exec ls", None, "ls"),
            (
                "vserver web exec ls -l --help --user x",
                None,
                "ls -l --help --user x",
            ),
            ("vserver web exec --user bob id -u", Some("bob"), "id -u"),
            ("vserver --silent web exec -- --odd -x", None, "--odd -x"),
        ] {
            let Ok(Command::Exec(exec)) = parse(args(line)) else {
                panic!("{line}");
            };
            assert_eq!(exec.user.as_deref(), user, "{line}");
            assert_eq!(exec.command, args(command), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_its_code() {
        for line in [
            "chcontext",
            "chcontext --ctx 100",
            "chcontext --ctx 65536 true",
            "chcontext --ctx -3 true",
            "chcontext --flag big true",
            "chcontext --cap CAP_FOO true",
            "chcontext --cap !NET_RAW true",
            "reducecap",
            "chcontext --secrue true",
            "chcontext --bcast 10.0.0.255 true",
            "chcontext --ip 10.0.0.300 true",
            "chbind true",
            "capchroot",
            "capchroot /vservers/one",
            "capchroot --suid bob",
            "capchroot --suid bob /vservers/one",
            "capchroot --chroot /vservers/one true",
            "reducecap --secrue true",
            "reducecap --CAP_FOO true",
            "reducecap --json true",
            "vkill",
            "vkill 0",
            "vkill -1",
            "vkill -s NOPE 1",
            "vserver",
            "vserver barrier /a /b",
            "vserver frobnicate",
            "vserver web frobnicate",
            "vserver start",
            "vserver web exec",
            "vserver web start now",
            "vserver --loud web start",
            "vserver web running --json",
        ] {
            let error = parse(args(line)).expect_err(line);
            assert_eq!(error.exit_code(), i32::from(exit_codes::USAGE), "{line}");
        }
    }

    #[test]
    fn help_texts() {
        let mut text = String::new();
        let mut cli = Cli::command().term_width(100);
        for help in std::iter::once(cli.render_long_help()).chain(
            commands()
                .into_iter()
                .map(|command| command.term_width(100).render_long_help()),
        ) {
            text.push_str(&format!("{help}\n{}\n", "=".repeat(80)));
        }
        insta::assert_snapshot!(text);
    }
}
