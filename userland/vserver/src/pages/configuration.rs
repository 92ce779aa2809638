// SPDX-License-Identifier: GPL-2.0

//! The manual page of the configuration, section 5, from the table of its variables.

use super::manual::begin;
use super::manual::item;
use super::manual::paragraphs;
use super::manual::see_also;
use clap_mangen::roff::bold;
use clap_mangen::roff::italic;
use clap_mangen::roff::roman;
use clap_mangen::roff::Roff;
use libvserver::config::VARIABLES;

const SYNTAX: &str = "A vserver called NAME is a directory with the files of a system, /vservers/NAME, and a \
    configuration, /etc/vservers/NAME.conf. In it are assignments, NAME=value, and comments, as a shell would read \
    them; nothing is executed. No blanks stand around the =. '...' is taken as it stands; in \"...\" and outside of \
    quotes a backslash takes the special meaning of the next character, and $NAME is the value of a line before. A # at \
    the beginning of a line, or after a blank, begins a comment.\n\n\
    Anything else is an error that names the file, the line and the column. An unknown variable has no effect but a \
    warning. All is checked before anything is touched.\n\n\
    /etc/vservers.conf, which need not be there, is written the same way and counts for every vserver that does not say \
    otherwise. A comment that begins with \"Description:\" is shown by vserver-list(8); vserver-show(8) tells \
    what counts and where each value comes from, and vserver-edit(8) lets no wrong configuration take the place of a right one.";

const SCRIPT: &str = "/etc/vservers/NAME.sh is called by /bin/sh on the host, as root, with what happens and NAME. In its \
    environment are VSERVER_NAME, VSERVER_ROOT, VSERVER_CONTEXT, VSERVER_ADDRESSES and PROFILE.";

const CALLS: [(&str, &str); 4] = [
    (
        "pre-start",
        "Before anything is mounted or started. When it fails, the vserver is not started.",
    ),
    ("post-start", "When the boot is done."),
    ("pre-stop", "Before the vserver is told to stop."),
    (
        "post-stop",
        "When no process is left, also after a start that failed.",
    ),
];

const MOUNTS: &str = "/etc/vservers/NAME.fstab has what else is mounted for the vserver, in the form of fstab(5): source, \
    target, type and options. bind and rbind as options give it a directory or a file of the host. The target is \
    from the root of the vserver, without \"..\"; no link is followed there. nodev always holds.";

const EXAMPLE: [&str; 5] = [
    "# Description: the web server",
    "IPROOT=\"eth0:10.0.0.5/24\"",
    "S_HOSTNAME=web.example.org",
    "S_FLAGS=\"lock nproc fakeinit\"",
    "ONBOOT=yes",
];

/// The page.
pub(super) fn page() -> Vec<u8> {
    let mut roff = Roff::new();
    begin(
        &mut roff,
        "vserver.conf",
        "5",
        "configuration of virtual servers",
    );
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([italic("/etc/vservers/NAME.conf")]);
    roff.control("br", []);
    roff.text([italic("/etc/vservers.conf")]);
    roff.control("SH", ["DESCRIPTION"]);
    paragraphs(&mut roff, SYNTAX);
    roff.control("SH", ["VARIABLES"]);
    for variable in &VARIABLES {
        let mut text = variable.help.to_owned();
        if !variable.default.is_empty() {
            text += &format!(" Without it: {}.", variable.default);
        }
        if !variable.shared {
            text += " Not in /etc/vservers.conf.";
        }
        let head = vec![bold(variable.name), roman("="), italic(variable.value)];
        item(&mut roff, head, &text);
    }
    roff.control("SH", ["SCRIPT"]);
    paragraphs(&mut roff, SCRIPT);
    for (word, text) in CALLS {
        item(&mut roff, vec![bold(word)], text);
    }
    roff.control("SH", ["MOUNTS"]);
    paragraphs(&mut roff, MOUNTS);
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for line in EXAMPLE {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    see_also(
        &mut roff,
        &[
            ("vserver", "8"),
            ("vserver-show", "8"),
            ("vserver-edit", "8"),
            ("vservers", "8"),
        ],
    );
    roff.render().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::EXAMPLE;
    use libvserver::Config;

    #[test]
    fn the_example_is_right() {
        let text = EXAMPLE.map(|line| format!("{line}\n")).concat();
        let loaded = Config::check("web.conf", &text).unwrap();
        assert!(loaded.config.onboot);
    }
}
