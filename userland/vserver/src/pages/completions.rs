// SPDX-License-Identifier: GPL-2.0

//! Completions for bash, zsh and fish, from the definitions of the options. Of `vserver` they know the verb first; what
//! is added here looks for the names before it, takes them out, and completes names and verbs.

use super::called::commands;
use super::called::Kind;
use super::called::Written;
use crate::commands::server;
use clap::builder::PossibleValuesParser;
use clap::Arg;
use clap::Command;
use clap_complete::generate;
use clap_complete::Generator;
use clap_complete::Shell;

/// What stands for the names of vservers in the text that is generated, until the shell's own way to get them is put
/// there.
const NAMES: &str = "VSERVERS-OF-THIS-HOST";

const BASH: &str = r#"__vserver_names() {
    local file
    for file in /etc/vservers/[[:alnum:]]*.conf; do
        [ -e "$file" ] || continue
        file=${file##*/}
        printf '%s\n' "${file%.conf}"
    done
}
"#;

const BASH_BY_NAME: &str = r#"
_vserver_by_name() {
    local verbs=" @VERBS@ " commands=" @COMMANDS@ " verb=0 names=0 i word
    for ((i = 1; i < COMP_CWORD && verb == 0; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == -* ]]; then
            continue
        elif [[ $verbs == *" $word "* || ($names -eq 0 && $commands == *" $word "*) ]]; then
            verb=$i
        else
            names=$((names + 1))
        fi
    done
    if [[ $verb -gt 0 ]]; then
        COMP_WORDS=("${COMP_WORDS[0]}" "${COMP_WORDS[@]:verb}")
        COMP_CWORD=$((COMP_CWORD - verb + 1))
        _vserver "$@"
    elif [[ $2 == -* ]]; then
        COMPREPLY=($(compgen -W "--silent --nodev --help --version" -- "$2"))
    elif [[ $names -gt 0 ]]; then
        COMPREPLY=($(compgen -W "$verbs $(__vserver_names)" -- "$2"))
    else
        COMPREPLY=($(compgen -W "$(__vserver_names) $commands" -- "$2"))
    fi
}

complete -F _vserver_by_name -o bashdefault -o default vserver
"#;

const ZSH: &str = r#"
__vserver_names() {
    local -a names
    names=(/etc/vservers/[[:alnum:]]*.conf(N:t:r))
    _describe -t vservers vserver names
}
"#;

const ZSH_BY_NAME: &str = r#"
_vserver() {
    local -a verbs commands
    verbs=(@VERBS@)
    commands=(@COMMANDS@)
    local -i i verb=0 names=0
    for ((i = 2; i < CURRENT && verb == 0; i++)); do
        if [[ $words[i] == -* ]]; then
            continue
        elif (( ${verbs[(Ie)$words[i]]} || (names == 0 && ${commands[(Ie)$words[i]]}) )); then
            verb=i
        else
            names+=1
        fi
    done
    if (( verb > 0 )); then
        words=("$words[1]" "${(@)words[verb,-1]}")
        (( CURRENT -= verb - 2 ))
        _vserver_verb_first "$@"
    elif [[ $PREFIX == -* ]]; then
        compadd -- --silent --nodev --help --version
    elif (( names > 0 )); then
        _describe -t verbs verb verbs
        __vserver_names
    else
        __vserver_names
        _describe -t commands command commands
    fi
}
"#;

const FISH: &str = r#"function __vserver_names
    for file in /etc/vservers/*.conf
        string replace -r '^.*/(.*)\.conf$' '$1' -- $file
    end
end

"#;

const FISH_BY_NAME: &str = r#"
function __fish_vserver_names_before
    # How many names there are, and the verb or command behind them.
    set -l verbs @VERBS@
    set -l commands @COMMANDS@
    set -l words (commandline -opc)
    set -l names 0
    for word in $words[2..-1]
        if string match -q -- '-*' $word
            continue
        else if contains -- $word $verbs
            echo $names $word
            return
        else if test $names -eq 0; and contains -- $word $commands
            echo $names $word
            return
        end
        set names (math $names + 1)
    end
    echo $names
end

function __fish_vserver_needs_command
    set -l found (string split ' ' -- (__fish_vserver_names_before))
    if set -q found[2]
        echo $found[2]
        return 1
    end
end

function __fish_vserver_has_name
    set -l found (string split ' ' -- (__fish_vserver_names_before))
    test (count $found) -eq 1; and test $found[1] -gt 0
end

function __fish_vserver_has_no_name
    set -l found (string split ' ' -- (__fish_vserver_names_before))
    test (count $found) -eq 1; and test $found[1] -eq 0
end

complete -c vserver -n __fish_vserver_needs_command -f -a "(__vserver_names)" -d vserver
"#;

/// Those of all commands, for all shells.
pub(super) fn all() -> Vec<Written> {
    let mut files = Vec::new();
    for (kind, command) in commands() {
        if kind == Kind::Program {
            let command = prepared(&command, |_| true);
            let name = command.get_name().to_owned();
            let bash = written(Shell::Bash, &command);
            let zsh = written(Shell::Zsh, &command);
            let mut fish = written(Shell::Fish, &command);
            if command.get_positionals().any(is_vserver) {
                fish += &format!("complete -c {name} -f -a \"{NAMES}\" -d vserver\n");
            }
            files.extend(in_place(&name, bash, zsh, fish));
        }
    }
    let root = whole();
    let fill = |text: &str| {
        let names = |verbs| {
            let mut all = Vec::new();
            for (kind, command) in commands() {
                if (kind == Kind::Verb) == verbs {
                    all.push(command.get_name().to_owned());
                }
            }
            all.join(" ")
        };
        text.replace("@VERBS@", &names(true))
            .replace("@COMMANDS@", &names(false))
    };
    let bash = written(Shell::Bash, &root) + &fill(BASH_BY_NAME);
    let zsh = written(Shell::Zsh, &root).replacen(
        "\n_vserver() {",
        &format!("{}\n_vserver_verb_first() {{", fill(ZSH_BY_NAME)),
        1,
    );
    let fish = fish_by_name(&written(Shell::Fish, &root)) + &fill(FISH_BY_NAME);
    files.extend(in_place("vserver", bash, zsh, fish));
    files
}

/// With what they call in front.
fn in_place(name: &str, bash: String, zsh: String, fish: String) -> [Written; 3] {
    let bash = BASH.to_owned() + &bash.replace(NAMES, "$(__vserver_names)");
    let zsh = zsh
        .replace(&format!("({NAMES})"), "__vserver_names")
        // Behind its first line, by which zsh finds it.
        .replacen('\n', &format!("\n{ZSH}"), 1);
    let fish = FISH.to_owned() + &fish.replace(NAMES, "(__vserver_names)");
    [
        (format!("bash/{name}"), bash.into_bytes()),
        (format!("zsh/_{name}"), zsh.into_bytes()),
        (format!("fish/{name}.fish"), fish.into_bytes()),
    ]
}

/// Verbs are offered behind a name, commands where there is none.
fn fish_by_name(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let offered = line
            .split(" -a \"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .filter(|_| line.contains("__fish_vserver_needs_command"));
        let line = match offered {
            Some(word) => {
                let condition = match server::VERBS.contains(&word) {
                    true => "__fish_vserver_has_name",
                    false => "__fish_vserver_has_no_name",
                };
                line.replace("__fish_vserver_needs_command", condition)
            }
            None => line.to_owned(),
        };
        out += &line;
        out.push('\n');
    }
    out
}

fn written(shell: impl Generator, command: &Command) -> String {
    let mut bytes = Vec::new();
    let mut command = command.clone();
    let name = command.get_name().to_owned();
    generate(shell, &mut command, name, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `vserver` with all that can follow it. The names in front of a verb have been taken out.
fn whole() -> Command {
    let mut root = Command::new("vserver")
        .version(env!("CARGO_PKG_VERSION"))
        .disable_help_subcommand(true);
    for (kind, command) in commands() {
        let is_left = |argument: &&Arg| kind != Kind::Verb || argument.get_id() != "name";
        root = root.subcommand(prepared(&command, is_left));
    }
    root
}

/// A copy of a command with some of its arguments; those that are vservers have their names as values.
fn prepared(command: &Command, is_left: impl Fn(&&Arg) -> bool) -> Command {
    // The names of commands live as long as the program, which clap does not tell.
    let name: &'static str = Box::leak(command.get_name().to_owned().into_boxed_str());
    let mut copy = Command::new(name)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .disable_help_subcommand(true);
    if let Some(about) = command.get_about() {
        copy = copy.about(about.clone());
    }
    let mut positionals = 0;
    for argument in command.get_arguments().filter(is_left) {
        let mut argument = argument.clone();
        if argument.is_positional() {
            positionals += 1;
            argument = argument.index(positionals);
        }
        copy = copy.arg(match is_vserver(&argument) {
            true => argument.value_parser(PossibleValuesParser::new([NAMES])),
            false => argument,
        });
    }
    copy
}

/// Whether the values of an argument are vservers that are there.
fn is_vserver(argument: &Arg) -> bool {
    let called = |name: &str| {
        argument
            .get_value_names()
            .is_some_and(|names| names.iter().any(|it| it == name))
    };
    let is_name = called("NAME") || called("NAMES");
    called("VSERVER")
        || (argument.is_positional() && is_name)
        || argument.get_long() == Some("server")
}
